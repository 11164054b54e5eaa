"""Whatever clients send to jobs, `/view` and uploads: never a 500, a refusal that says why, and nothing left behind."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.web.live_server import Answer, Live, echo, shared_loop

many = settings(max_examples=60, suppress_health_check=list(HealthCheck))

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=12)


def said_why(answer: Answer) -> str:
    """The sentence of a refusal."""
    assert 400 <= answer.status < 500, (answer.status, answer.body[:300])
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    text = answer.json()["error"]
    assert isinstance(text, str)
    assert len(text) > 5
    assert len(answer.body) < 50_000
    return text


# -- jobs ------------------------------------------------------------------------------------------------------


@shared_loop
@settings(many, max_examples=120)
@given(st.dictionaries(
    st.sampled_from(["status", "outcome", "client_id", "workflow_id", "sort_by", "sort_order", "limit", "offset",
                     "after", "x"]),
    TEXT | st.integers().map(str) | st.floats().map(str)
    | st.sampled_from(["pending", "completed,failed", "succeeded", ",", "asc",
                       "DESC", "created_at", "execution_time", "-0", "1_0", "٣"]),
    max_size=5))
@example({"limit": "9" * 4301})
@example({"offset": "-" + "9" * 4301})
@example({"limit": "1", "offset": "9" * 4000})
@example({"status": "pending\x00"})
async def test_any_query_of_jobs(shared: Live, query: dict[str, str]) -> None:
    before = await shared.state()
    answer = await shared.get("/api/jobs", params=query)
    if answer.status == 200:
        assert set(answer.json()) == {"jobs", "pagination"}
    else:
        said_why(answer)
    assert await shared.state() == before


@shared_loop
@many
@given(st.binary(max_size=60) | ANY_JSON.map(lambda value: json.dumps(value).encode())
       | st.lists(ANY_JSON, max_size=5).map(lambda ids: json.dumps({"job_ids": ids}).encode()))
@example(b'{"job_ids": ["' + b"a" * 1001 + b'"]}')
@example(b'{"job_ids": ["\xff"]}')
@example(b'{"job_ids": [' + b'"a",' * 100_000 + b'"a"]}')
@example(b'{"job_ids": ' + b"[" * 10_000)
async def test_any_body_that_cancels(shared: Live, body: bytes) -> None:
    answer = await shared.post("/api/jobs/cancel", body)
    if answer.status == 200:
        assert answer.json() == {"cancelled": False}, "nothing waits or runs"
    else:
        said_why(answer)


@shared_loop
@many
@given(ANY_JSON, ANY_JSON)
@example({"workflow": {"id": "w"}}, None)
@example({"workflow": {"id": "\ud800"}}, "\ud800")
async def test_whatever_a_prompt_brings_its_job_can_be_told(shared: Live, pnginfo: Any, more: Any) -> None:
    body = json.dumps({"prompt": echo(1), "extra_data": {"extra_pnginfo": pnginfo, "more": more}}).encode()
    answer = await shared.post("/prompt", body)
    if answer.status != 200:
        assert answer.status == 400
        return
    prompt_id = answer.json()["prompt_id"]
    await shared.finished(prompt_id)
    assert (await shared.get("/api/jobs")).json()["jobs"][0]["status"] == "completed"
    assert (await shared.get(f"/api/jobs/{prompt_id}")).json()["workflow"]["prompt"] == echo(1)
    await shared.post("/history", {"clear": True})


async def test_cancelling_many_jobs_at_once_harms_nobody(serve: Any) -> None:
    async with serve(max_running_prompts=1) as live:
        await live.blocked()
        ids = [f"job-{number}" for number in range(30)]
        await asyncio.gather(*(live.accepted(echo(1), prompt_id=one) for one in ids))
        answers = await asyncio.gather(*(live.post(f"/api/jobs/{one}/cancel", b"\xff") for one in ids * 2))
        assert sum(answer.json()["cancelled"] for answer in answers) == len(ids)
        assert [item[1] for item in (await live.get("/queue")).json()["queue_pending"]] == []


# -- /view -----------------------------------------------------------------------------------------------------


def picture() -> bytes:
    written = io.BytesIO()
    Image.new("RGBA", (9, 7), (1, 2, 3, 4)).save(written, "png")
    return written.getvalue()


def form_of(content: bytes, **fields: str) -> aiohttp.FormData:
    form = aiohttp.FormData()
    form.add_field("image", content, filename=fields.pop("filename", "seen.png"))
    for name, value in fields.items():
        form.add_field(name, value)
    return form


VALUES = TEXT | st.integers().map(str) | st.sampled_from(
    ["webp", "jpeg;50", "webp;101", "jpeg;0", "rgb", "a", "rgba", "input", "temp", ";", ";;90", "50", "²", "9" * 400])


@shared_loop
@settings(many, max_examples=150)
@given(
    st.sampled_from(["seen.png", "seen.png [input]", "text.txt", "", "missing.png", ".", "..", "a/seen.png"]) | TEXT,
    st.dictionaries(st.sampled_from(["type", "subfolder", "preview", "channel", "res", "rand"]), VALUES, max_size=4),
    st.dictionaries(
        st.sampled_from(["Range", "If-None-Match", "If-Match", "If-Modified-Since", "If-Range", "Sec-Fetch-Dest"]),
        st.text("abc019-=,\"*/: W", max_size=12).map(str.strip), max_size=2))
@example("seen.png", {"type": "input", "preview": "webp;1e3", "channel": "a"}, {})
@example("seen.png", {"type": "input", "res": "0"}, {"Range": "bytes=-0"})
@example("text.txt", {"type": "input", "preview": ""}, {})
@example("seen.png", {"type": "input"}, {"Range": "bytes=5-2,1-"})
async def test_any_query_of_view(shared: Live, filename: str, query: dict[str, str], headers: dict[str, str]) -> None:
    for name, content in (("seen.png", picture()), ("text.txt", b"no picture")):
        path = Path(shared.running.base_directory) / "input" / name
        if not path.exists():
            path.write_bytes(content)
    answer = await shared.get("/view", params={"filename": filename, **query}, headers=headers)
    if answer.status in (200, 206, 304):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    elif answer.status not in (412, 416):  # answers of conditions, without words
        said_why(answer)


# -- uploads ---------------------------------------------------------------------------------------------------

DISPOSITIONS = st.builds(
    lambda kind, name, filename: f"Content-Disposition: {kind}" + (f'; name="{name}"' if name is not None else "")
    + (f'; filename="{filename}"' if filename is not None else ""),
    st.sampled_from(["form-data", "attachment", "", "FORM-DATA"]),
    st.none() | st.sampled_from(["image", "type", "subfolder", "overwrite", "original_ref", "x", "image\x00"]),
    st.none() | st.sampled_from(["a.png", "../a.png", "..", "", "a\x00.png", "x" * 300, "C:\\a.png", "é.png", "con"])
    | st.text("ab./\\\"; =%", max_size=10))
PARTS = st.builds(
    lambda headers, content: "\r\n".join(headers).encode() + b"\r\n\r\n" + content + b"\r\n",
    st.lists(DISPOSITIONS | st.sampled_from(
        ["Content-Type: image/png", "Content-Type: multipart/mixed; boundary=YY", "Content-Transfer-Encoding: base64",
         "Content-Encoding: gzip", "Content-Length: 5", "no header", ": empty", "X: " + "y" * 9000]), max_size=3),
    st.binary(max_size=40) | st.sampled_from(
        [b"input", b"secret", b"true", b"../..", b"/etc", b"a/b", b"--XX--", b'{"filename": "seen.png"}', b"\xff"]))


@shared_loop
@settings(many, max_examples=150)
@given(st.sampled_from(["/upload/image", "/upload/mask"]), st.lists(PARTS, max_size=4),
       st.sampled_from([b"--XX--\r\n", b"--XX--", b"", b"--XX", b"--YY--", b"\x00" * 50]),
       st.sampled_from(["multipart/form-data; boundary=XX", "multipart/form-data", "multipart/form-data; boundary=",
                        "multipart/mixed; boundary=XX", "application/json", "multipart/form-data; boundary=" + "b" * 99,
                        'multipart/form-data; boundary="XX']))
async def test_any_form(shared: Live, path: str, parts: list[bytes], end: bytes, content_type: str) -> None:
    base = Path(shared.running.base_directory)
    outside = {one for one in base.rglob("*") if one.relative_to(base).parts[0] not in ("input", "output", "temp")}
    body = b"".join(b"--XX\r\n" + part for part in parts) + end
    answer = await shared.ask("POST", path, data=body, headers={"Content-Type": content_type})
    if answer.status == 200:
        said = answer.json()
        assert (base / said["type"] / said["subfolder"] / said["name"]).is_file()
    else:
        said_why(answer)
    assert {one for one in base.rglob("*")
            if one.relative_to(base).parts[0] not in ("input", "output", "temp")} == outside
    assert not list(base.rglob(".upload-*")), "nothing half is left behind"


@shared_loop
@many
@given(st.text(max_size=40) | ANY_JSON.map(json.dumps)
       | st.fixed_dictionaries({"filename": TEXT | ANY_JSON}, optional={"subfolder": ANY_JSON, "type": ANY_JSON}).map(
           json.dumps))
@example('{"filename": "seen.png", "type": "secret"}')
@example('{"filename": "' + "a" * 70_000 + '"}')
async def test_any_original_of_a_mask(shared: Live, original_ref: str) -> None:
    clean = original_ref.encode("utf-8", "replace").decode()
    answer = await shared.ask("POST", "/upload/mask", data=form_of(picture(), original_ref=clean))
    assert said_why(answer)


@pytest.mark.parametrize("path", ["/upload/image", "/upload/mask", "/api/upload/image"])
@pytest.mark.parametrize("body", [b"", b"{}", b"--", b"\xff" * 100])
async def test_bodies_that_are_no_forms(live: Live, path: str, body: bytes) -> None:
    for content_type in ("application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense"):
        said_why(await live.ask("POST", path, data=body, headers={"Content-Type": content_type}))
