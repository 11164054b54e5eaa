"""Whatever clients send to settings, users, their files, models and logs: never a 500, a refusal in JSON, and nothing
outside of the folder that it is about."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import yarl
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.web.live_server import Answer, Live, shared_loop

many = settings(max_examples=80, suppress_health_check=list(HealthCheck))

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=12)
BODIES = st.binary(max_size=60) | ANY_JSON.map(lambda value: json.dumps(value).encode())
SEGMENTS = st.sampled_from(
    ["..", ".", "%2e%2e", "%2F", "%5C", "%00", "%ff", "%25", "%252e%252e", "a", "b.json", "", "~", "C:", "%0a",
     "x" * 300, "workflows", "loras", "0", "-1", "9" * 30, "%F0%9F%98%80", "con", "%20", "*", "default", "__system"])
PARTS = st.lists(SEGMENTS, min_size=1, max_size=4)
NO_ERROR_BODY = {401, 403, 404, 405, 412, 413, 416}
"""Statuses that may come without words."""


def judged(answer: Answer, asked: object) -> None:
    assert answer.status < 500, (asked, answer.status, answer.body[:300])
    if answer.status == 400 or (answer.status > 400 and answer.status not in NO_ERROR_BODY):
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8", (asked, answer.body[:200])
        assert answer.json()["error"], asked
    assert len(answer.body) < 60_000, asked


async def files_of(live: Live) -> set[str]:
    """All that there is in the base directory but what belongs to the user."""
    base = Path(live.running.base_directory)
    return await asyncio.to_thread(lambda: {
        path.relative_to(base).as_posix() for path in base.rglob("*") if path.relative_to(base).parts[0] != "user"})


def url_of(live: Live, path: str) -> Any:
    return yarl.URL(live.running.url + path, encoded=True)


@shared_loop
@many
@given(st.sampled_from(["/settings", "/settings/a.b", "/settings/%00", "/settings/" + "x" * 300, "/users"]), BODIES)
@example("/settings", b'{"a": NaN}')
@example("/settings/a", b"1e400")
@example("/settings", b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}")
@example("/settings/a", b'"\\ud800"')
@example("/users", b'{"username": "__system"}')
@example("/users", b'{"username": ' + b'"' + b"u" * 100_000 + b'"}')
async def test_any_body_of_settings_and_users(shared: Live, path: str, body: bytes) -> None:
    before = (await shared.get("/settings")).json()
    answer = await shared.post(path, body)
    judged(answer, (path, body))
    after = await shared.get("/settings")
    assert after.status == 200
    if answer.status != 200:
        assert after.json() == before, "what was refused changed nothing"
    if len(after.body) > 20_000:  # so that the last example is as quick as the first
        await shared.ask("DELETE", "/userdata/comfy.settings.json")


@shared_loop
@many
@given(PARTS.map("/".join), st.sampled_from(["GET", "POST", "DELETE"]), st.binary(max_size=40),
       st.dictionaries(st.sampled_from(["overwrite", "full_info", "x"]), st.sampled_from(["true", "1", "", "%00"]),
                       max_size=2))
@example("..%2F..%2Fescaped.json", "POST", b"x", {})
@example("%252e%252e%252f%252e%252e%252fescaped.json", "POST", b"x", {})
@example("a%00.json", "POST", b"x", {})
@example(".", "DELETE", b"", {})
async def test_any_file_of_the_user(shared: Live, path: str, method: str, body: bytes, query: dict[str, str]) -> None:
    before = await files_of(shared)
    asked = f"/userdata/{path}?" + "&".join(f"{name}={value}" for name, value in query.items())
    answer = await shared.ask(method, url_of(shared, asked), data=body if method == "POST" else None)
    judged(answer, (method, asked))
    assert await files_of(shared) == before
    assert (await shared.get("/userdata?dir=.")).status == 200


@shared_loop
@many
@given(PARTS.map("%2F".join), PARTS.map("%2F".join))
@example("a.json", "..%2F..%2Fescaped.json")
@example("..%2F..%2Finput%2Fexample.png", "taken.png")
async def test_any_move(shared: Live, source: str, target: str) -> None:
    await shared.post("/userdata/a.json", b"{}")
    before = await files_of(shared)
    judged(await shared.ask("POST", url_of(shared, f"/userdata/{source}/move/{target}")), (source, target))
    assert await files_of(shared) == before


@shared_loop
@many
@given(st.sampled_from(["/userdata", "/v2/userdata", "/view_metadata/loras", "/view_metadata/%2e%2e", "/models/loras"]),
       st.dictionaries(st.sampled_from(["dir", "path", "recurse", "split", "full_info", "filename"]),
                       st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
                       | st.sampled_from(["..", "../..", "/etc", ".", "true", "a\x00", "~", "a" * 500]), max_size=4))
async def test_any_query_of_lists(shared: Live, path: str, query: dict[str, str]) -> None:
    answer = await shared.get(path, params=query)
    judged(answer, (path, query))
    assert b"root:" not in answer.body


@shared_loop
@many
@given(PARTS.map("/".join), st.sampled_from(["/models/", "/experiment/models/", "/experiment/models/preview/",
                                             "/view_metadata/", "/global_subgraphs/", "/internal/files/",
                                             "/extensions/", "/templates/", "/docs/", "/api/workflow_templates/"]))
@example("loras/0/..%2F..%2F..%2Fetc%2Fpasswd", "/experiment/models/preview/")
@example("loras/" + "9" * 5000 + "/x", "/experiment/models/preview/")
async def test_any_path_below_what_lists_and_serves(shared: Live, path: str, folder: str) -> None:
    answer = await shared.get(url_of(shared, folder + path))
    judged(answer, folder + path)
    assert b"root:" not in answer.body


@shared_loop
@many
@given(BODIES | st.fixed_dictionaries({"clientId": ANY_JSON, "enabled": ANY_JSON}).map(
    lambda value: json.dumps(value).encode()))
@example(b'{"clientId": "' + b"c" * 100_000 + b'", "enabled": true}')
@example(b'{"clientId": "\\ud800", "enabled": true}')
async def test_any_subscription_to_logs(shared: Live, body: bytes) -> None:
    judged(await shared.ask("PATCH", "/internal/logs/subscribe", data=body), body)
    assert (await shared.get("/internal/logs/raw")).status == 200


@shared_loop
@many
@given(PARTS.map("%2F".join), BODIES)
async def test_any_name_of_a_pack_to_load_anew(shared: Live, name: str, body: bytes) -> None:
    answer = await shared.ask("POST", url_of(shared, f"/packs/{name}/reload"), data=body)
    judged(answer, name)
    assert answer.status >= 400, "there is none"


@shared_loop
@many
@given(st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40).map(
           str.strip),
       st.sampled_from(["/settings", "/users", "/userdata?dir=.", "/v2/userdata", "/userdata/a.json"]))
async def test_any_name_of_a_user(shared: Live, user: str, path: str) -> None:
    judged(await shared.get(path, headers={"comfy-user": user}), (user, path))
