"""Lists of models, what their headers say, and their pictures."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yarl
from PIL import Image

from tests.web.live_server import Answer, Live
from web.file_names import FileMissing
from web.model_files import LARGEST_HEADER, read_metadata


def picture(form: str = "PNG") -> bytes:
    written = BytesIO()
    Image.new("RGB", (4, 3), (255, 0, 0)).save(written, form)
    return written.getvalue()


def safetensors(metadata: Any = None, header: bytes | None = None) -> bytes:
    said = {} if metadata is None else {"__metadata__": metadata}
    text = json.dumps(said).encode() if header is None else header
    return len(text).to_bytes(8, "little") + text + b"\0" * 16


def place(live: Live, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = live.running.base_directory / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


async def placed(live: Live, **files: bytes) -> None:
    await asyncio.to_thread(place, live, files)


async def raw(live: Live, path: str) -> Answer:
    return await live.get(yarl.URL(live.running.url + path, encoded=True))  # type: ignore[arg-type]


# -- lists -------------------------------------------------------------------------------------------------------


async def test_the_usual_categories_come_in_the_usual_order(live: Live) -> None:
    said = (await live.get("/models")).json()
    assert said[:5] == ["checkpoints", "configs", "loras", "vae", "text_encoders"]
    assert {"embeddings", "custom_nodes", "fonts", "latent_upscale_models", "detection"} <= set(said)
    browsed = (await live.get("/api/experiment/models")).json()
    assert {"configs", "custom_nodes"} == set(said) - {one["name"] for one in browsed}
    loras = next(one for one in browsed if one["name"] == "loras")
    assert loras == {"name": "loras", "folders": [str(live.running.base_directory / "models" / "loras")],
                     "extensions": sorted([".ckpt", ".pt", ".pt2", ".bin", ".pth", ".safetensors", ".pkl", ".sft"])}
    paths = (await live.get("/internal/folder_paths")).json()
    assert paths["loras"] == loras["folders"]
    assert set(paths) == set(said)


async def test_files_of_a_category(live: Live) -> None:
    assert (await live.get("/models/loras")).json() == []
    await placed(live, **{"loras/b.safetensors": b"1", "loras/sub/a.PT": b"12", "loras/text.txt": b"",
                          "loras/.hidden.pt": b"", "loras/.dot/c.pt": b"", "loras/.git/d.pt": b"",
                          "embeddings/e1.pt": b"", "embeddings/sub/e2.safetensors": b""})
    assert {"b.safetensors", "sub/a.PT"} <= set((await live.get("/models/loras")).json())
    assert (await live.get("/api/embeddings")).json() == ["e1", "sub/e2"]
    said = (await live.get("/experiment/models/loras")).json()
    shown = [(one["name"], one["pathIndex"], one["size"]) for one in said]
    assert shown == [("b.safetensors", 0, 1), ("sub/a.PT", 0, 2)]
    assert all(isinstance(one[key], float) for one in said for key in ("modified", "created"))


@pytest.mark.parametrize("name", ["nope", "unet", "clip", "..", "%2e%2e", "loras%2F..", "__class__"])
async def test_a_category_that_does_not_exist(live: Live, name: str) -> None:
    for path in (f"/models/{name}", f"/experiment/models/{name}", f"/view_metadata/{name}?filename=a.safetensors"):
        assert (await raw(live, path)).status == 404, path


# -- headers -----------------------------------------------------------------------------------------------------


async def test_what_the_header_says(live: Live) -> None:
    await placed(live, **{"loras/sub/a.safetensors": safetensors({"format": "pt", "ss_x": "1"}),
                          "loras/none.safetensors": safetensors(), "loras/a.pt": safetensors({"a": "b"})})
    for name in ("sub/a.safetensors", "../../loras/../sub/a.safetensors", "/sub/a.safetensors"):
        answer = await live.get("/view_metadata/loras", params={"filename": name})
        assert (answer.status, answer.json()) == (200, {"format": "pt", "ss_x": "1"}), name
    too_long = "x" * 300 + ".safetensors"
    for name in ("none.safetensors", "a.pt", "nope.safetensors", "", "sub", "a\0.safetensors", too_long):
        answer = await live.get("/view_metadata/loras", params={"filename": name})
        assert answer.status == 404, name
        assert answer.error["type"] == "model_refused"
    assert (await live.get("/api/view_metadata/loras")).status == 404


@pytest.mark.parametrize("content", [
    b"", b"\x01", safetensors(header=b"{"), safetensors(header=b"[]"), safetensors(header=b"[" * 5000),
    (2**63).to_bytes(8, "little"), (LARGEST_HEADER + 1).to_bytes(8, "little") + b"{}", safetensors("text"),
    (100).to_bytes(8, "little") + b'{"__metadata__": {}}', safetensors(header=b'{"__metadata__": null}')])
def test_a_header_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(FileMissing):
        read_metadata(path)


# -- pictures ----------------------------------------------------------------------------------------------------


async def cover(live: Live, name: str, category: str = "loras", index: str = "0") -> Answer:
    return await raw(live, f"/experiment/models/preview/{category}/{index}/{name}")


async def test_the_picture_beside_a_model(live: Live) -> None:
    await placed(live, **{
        "loras/sub/a.safetensors": safetensors(), "loras/sub/a.PNG": picture(), "loras/b.safetensors": safetensors(),
        "loras/b.preview.jpg": picture("JPEG"), "loras/broken.safetensors": b"", "loras/broken.png": b"no picture",
        "loras/bare.safetensors": safetensors(),
        "loras/c.safetensors": safetensors({"ssmd_cover_images": json.dumps([base64.b64encode(picture()).decode()])}),
        "loras/d.safetensors": safetensors(
            {"modelspec.thumbnail": f"data:image/png;base64,{base64.b64encode(picture()).decode()}"}),
        "loras/e.safetensors": safetensors({"ssmd_cover_images": "[]"}),
        "loras/f.safetensors": safetensors({"ssmd_cover_images": '["no base 64"]'})})
    for name in ("sub/a.safetensors", "sub%2Fa.safetensors", "b.safetensors", "c.safetensors", "d.safetensors"):
        answer = await cover(live, name)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "image/webp"), name
        with Image.open(BytesIO(answer.body)) as image:
            assert (image.format, image.size) == ("WEBP", (4, 3))
    for name in ("bare.safetensors", "broken.safetensors", "e.safetensors", "f.safetensors", "nope.safetensors"):
        assert (await cover(live, name)).status == 404, name


async def test_a_picture_that_cannot_be_asked_for(live: Live) -> None:
    await placed(live, **{"loras/a.png": picture()})
    for name, category, index, status in (("a.pt", "loras", "x", 400), ("a.pt", "loras", "1.5", 400),
                                          ("a.pt", "loras", "7", 404), ("a.pt", "loras", "-1", 404),
                                          ("a.pt", "nope", "0", 404), ("", "loras", "0", 400),
                                          ("..%2F..%2Fa.pt", "loras", "0", 403), ("%2Fetc%2Fpasswd", "loras", "0", 403),
                                          ("a%00.pt", "loras", "0", 400)):
        answer = await cover(live, name, category, index)
        assert (answer.status, bool(answer.error)) == (status, True), (name, category, index)


async def test_no_link_leads_out_of_the_folder(live: Live) -> None:
    base = live.running.base_directory

    def prepare() -> None:
        outside = base / "outside"
        outside.mkdir()
        (outside / "secret.safetensors").write_bytes(safetensors({"secret": "1"}))
        (outside / "secret.png").write_bytes(picture())
        loras = base / "models" / "loras"
        loras.mkdir(parents=True)
        (loras / "link.safetensors").symlink_to(outside / "secret.safetensors")
        (loras / "link.png").symlink_to(outside / "secret.png")
        (loras / "folder").symlink_to(outside)
        (loras / "circle").symlink_to(loras)
        os.mkfifo(loras / "pipe.safetensors")

    await asyncio.to_thread(prepare)
    for name in ("link.safetensors", "folder/secret.safetensors", "pipe.safetensors"):
        assert (await live.get("/view_metadata/loras", params={"filename": name})).status == 404, name
    for name in ("link.safetensors", "folder/secret.safetensors"):
        assert (await cover(live, name)).status == 403, name
    listed = [one["name"] for one in (await live.get("/experiment/models/loras")).json()]
    assert "folder/secret.safetensors" in listed  # nodes can load it; nothing of it is read for clients
    assert not [name for name in listed if name.startswith("circle")]
