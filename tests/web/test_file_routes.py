"""Files over HTTP: each row of the contract, odd names, pixels, and what is on the disk afterwards."""

import asyncio
import errno
import gzip
import io
import json
import os
import stat
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from web import file_names, image_variants
from web.app_keys import SETTINGS, WebSettings
from web.file_routes import routes

Client = TestClient[web.Request, web.Application]
SECRET = b"outside"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The three folders, and beside them a file that no client may ever see or change."""
    for kind in ("input", "output", "temp"):
        (tmp_path / kind).mkdir()
    (tmp_path / "secret.txt").write_bytes(SECRET)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.txt").write_bytes(SECRET)
    return tmp_path


def application(root: Path, max_upload_size: float = 2**20) -> web.Application:
    app = web.Application()
    app[SETTINGS] = WebSettings(
        directory_of=lambda kind: root / kind if kind in ("input", "output", "temp") else None,
        max_upload_size=max_upload_size,
        system_facts=dict,
    )
    app.add_routes(routes)
    return app


@pytest.fixture
async def client(root: Path, aiohttp_client: Callable[[web.Application], Awaitable[Client]]) -> Client:
    return await aiohttp_client(application(root))


@pytest.fixture
async def strict_client(root: Path, aiohttp_client: Callable[[web.Application], Awaitable[Client]]) -> Client:
    """A server that takes 1000 bytes."""
    return await aiohttp_client(application(root, 1000.4))


def png(mode: str = "RGB", size: tuple[int, int] = (8, 6), color: Any = (200, 100, 50), **options: Any) -> bytes:
    written = io.BytesIO()
    Image.new(mode, size, color).save(written, "png", **options)
    return written.getvalue()


def picture(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def is_close(left: Any, right: Any, by: int = 6) -> bool:
    return all(abs(one - other) <= by for one, other in zip(left, right, strict=True))


def form(content: bytes | None = b"content", filename: str = "pic.png", **fields: str) -> aiohttp.FormData:
    data = aiohttp.FormData(quote_fields=False)
    if content is not None:
        data.add_field("image", content, filename=filename)
    for name, value in fields.items():
        data.add_field(name, value)
    return data


def raw_part(disposition: bytes, content: bytes = b"content", more: bytes = b"") -> bytes:
    return b"--XX\r\nContent-Disposition: form-data; " + disposition + b"\r\n" + more + b"\r\n" + content + b"\r\n"


async def upload(client: Client, content: bytes | None = b"content", filename: str = "pic.png",
                 to: str = "/upload/image", **fields: str) -> tuple[int, Any]:
    async with client.post(to, data=form(content, filename, **fields)) as response:
        return response.status, await response.json()


async def upload_raw(client: Client, body: Any, content_type: str = "multipart/form-data; boundary=XX",
                     **headers: str) -> tuple[int, Any]:
    async with client.post("/upload/image", data=body, headers={"Content-Type": content_type, **headers}) as response:
        return response.status, await (response.json() if response.status != 413 else response.text())


async def status_of(client: Client, **query: str) -> int:
    async with client.get("/view", params=query) as response:
        if response.status >= 400:
            assert isinstance((await response.json())["error"], str)
        return response.status


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def nothing_left_over(root: Path) -> bool:
    return not list((root / "temp").iterdir()) and not list(root.rglob(".upload-*"))


# --- GET /view: which file -------------------------------------------------------------------------------


@pytest.mark.parametrize(("query", "status"), [
    ({}, 404),
    ({"filename": ""}, 400),
    ({"filename": " [input]"}, 400),
    ({"filename": "/etc/passwd"}, 400),
    ({"filename": "../secret.txt"}, 400),
    ({"filename": "..\\secret.txt"}, 400),
    ({"filename": "a..b.png"}, 400),
    ({"filename": "a\0b.png"}, 400),
    ({"filename": "x" * 256}, 400),
    ({"filename": "s.png", "type": "secret"}, 400),
    ({"filename": "s.png", "type": ""}, 400),
    ({"filename": "s.png", "type": "../elsewhere"}, 400),
    ({"filename": "s.png", "subfolder": "a\0b"}, 400),
    ({"filename": "secret.txt", "subfolder": ".."}, 403),
    ({"filename": "secret.txt", "subfolder": "sub/../.."}, 403),
    ({"filename": "secret.txt", "subfolder": "../.."}, 403),
    ({"filename": "secret.txt", "subfolder": "..\\.."}, 403),
    ({"filename": "secret.txt", "subfolder": "../output-2"}, 403),
    ({"filename": "passwd", "subfolder": "/etc"}, 403),
    ({"filename": "sub/t.png"}, 404),
    ({"filename": "sub/s.png"}, 200),
    ({"filename": "sub"}, 404),
    ({"filename": "s.png/"}, 404),
    ({"filename": "none.png"}, 404),
    ({"filename": "blake3:abc"}, 404),
    ({"filename": "t.png", "subfolder": "x" * 200 + "/" + "y" * 200}, 404),
    ({"filename": "t.png", "subfolder": "/".join(["x" * 200] * 30)}, 404),
    ({"filename": "s.png"}, 200),
    ({"filename": "s.png", "rand": "0.1", "channel": "rgba"}, 200),
    ({"filename": "s.png", "channel": "unknown"}, 200),
    ({"filename": "s.png", "channel": ""}, 200),
    ({"filename": "t.png", "subfolder": "sub"}, 200),
    ({"filename": "t.png", "subfolder": "sub/../sub/"}, 200),
    ({"filename": "i.png [input]"}, 200),
    ({"filename": "i.png [input]", "type": "output"}, 200),
    ({"filename": "i.png", "type": "input"}, 200),
    ({"filename": "j.png [input]", "subfolder": "sub"}, 200),
    ({"filename": "i.png"}, 404),
])
async def test_which_file_a_query_means(client: Client, root: Path, query: dict[str, str], status: int) -> None:
    (root / "output/sub").mkdir()
    (root / "input/sub").mkdir()
    (root / "output-2").mkdir()
    (root / "output-2/secret.txt").write_bytes(SECRET)
    for name in ("output/s.png", "output/sub/t.png", "input/i.png", "input/sub/j.png"):
        (root / name).write_bytes(png())
    assert await status_of(client, **query) == status


async def test_links_are_followed_inside_the_folder_and_never_out_of_it(client: Client, root: Path) -> None:
    (root / "output/real").mkdir()
    (root / "output/real/in.png").write_bytes(png())
    (root / "output/alias").symlink_to("real")
    (root / "output/alias.png").symlink_to("real/in.png")
    (root / "output/out").symlink_to(root / "elsewhere")
    (root / "output/out.txt").symlink_to(root / "secret.txt")
    (root / "output/again.txt").symlink_to("out.txt")
    (root / "output/loop").symlink_to("loop")
    (root / "output/dangling").symlink_to(root / "nowhere")
    assert await status_of(client, filename="in.png", subfolder="alias") == 200
    assert await status_of(client, filename="alias.png") == 200
    assert await status_of(client, filename="secret.txt", subfolder="out") == 403
    assert await status_of(client, filename="secret.txt", subfolder="alias/../out") == 403
    for name in ("out.txt", "again.txt", "dangling"):
        assert await status_of(client, filename=name) == 403
    assert await status_of(client, filename="loop") == 404


async def test_the_folder_itself_may_be_a_link(client: Client, root: Path) -> None:
    (root / "output").rmdir()
    (root / "big-disk").mkdir()
    (root / "big-disk/s.png").write_bytes(png())
    (root / "output").symlink_to("big-disk")
    assert await status_of(client, filename="s.png") == 200


async def test_a_pipe_is_no_file(client: Client, root: Path) -> None:
    os.mkfifo(root / "output/pipe")
    assert await status_of(client, filename="pipe") == 404


# --- GET /view: the file itself --------------------------------------------------------------------------


async def test_the_file_comes_with_its_headers(client: Client, root: Path) -> None:
    (root / "output/pic.png").write_bytes(png())
    async with client.get("/view?filename=pic.png") as response:
        assert response.status == 200
        assert await response.read() == png()
        assert response.headers["Content-Disposition"] == 'filename="pic.png"'
        assert response.headers["Content-Type"] == "image/png"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Accept-Ranges"] == "bytes"
        assert "Last-Modified" in response.headers
        etag = response.headers["Etag"]
    async with client.get("/view?filename=pic.png", headers={"If-None-Match": etag}) as response:
        assert response.status == 304
    async with client.head("/view?filename=pic.png") as response:
        assert response.status == 200
        assert response.headers["Content-Length"] == str(len(png()))


@pytest.mark.parametrize(("asked", "status", "content", "content_range"), [
    ("bytes=2-4", 206, b"cde", "bytes 2-4/10"),
    ("bytes=7-", 206, b"hij", "bytes 7-9/10"),
    ("bytes=-2", 206, b"ij", "bytes 8-9/10"),
    ("bytes=5-99", 206, b"fghij", "bytes 5-9/10"),
    ("bytes=10-", 416, b"", "bytes */10"),
    ("bytes=4-2", 416, b"", "bytes */10"),
    ("bytes=0-1,4-5", 416, b"", "bytes */10"),
    ("lines=1-2", 416, b"", "bytes */10"),
])
async def test_ranges(client: Client, root: Path, asked: str, status: int, content: bytes, content_range: str) -> None:
    (root / "output/clip.mp4").write_bytes(b"abcdefghij")
    async with client.get("/view?filename=clip.mp4", headers={"Range": asked}) as response:
        assert response.status == status
        assert response.headers["Content-Range"] == content_range
        if status == 206:
            assert await response.read() == content


async def test_a_compressed_file_beside_it_is_another_file(client: Client, root: Path) -> None:
    (root / "output/notes.txt").write_bytes(b"notes")
    (root / "output/notes.txt.gz").write_bytes(gzip.compress(b"something else"))
    async with client.get("/view?filename=notes.txt", headers={"Accept-Encoding": "gzip, br"}) as response:
        assert await response.read() == b"notes"


@pytest.mark.parametrize(("name", "content_type"), [
    ("a.json", "application/json"), ("a.txt", "text/plain"), ("a.pdf", "application/pdf"), ("a.mp4", "video/mp4"),
    ("a.webp", "image/webp"), ("a.avif", "image/avif"), ("a.PNG", "image/png"), ("a", "application/octet-stream"),
    ("a.strange", "application/octet-stream"), ("a.svg.gz", "application/octet-stream"),
    ("data:text,x.png", "image/png"),
])
async def test_types_that_nothing_runs(client: Client, root: Path, name: str, content_type: str) -> None:
    (root / "output" / name).write_bytes(b"content")
    async with client.get("/view", params={"filename": name}) as response:
        assert response.headers["Content-Type"] == content_type
        assert response.headers["Content-Disposition"] == f'filename="{name}"'
        assert "Vary" not in response.headers


@pytest.mark.parametrize("extension", ["html", "HTM", "xhtml", "css", "mjs", "js", "svg", "xml", "xsl", "rdf", "eml",
                                       "mht", "svgz"])
@pytest.mark.parametrize("destination", ["document", "image", None])
async def test_what_a_browser_would_run_is_a_download(client: Client, root: Path, extension: str,
                                                      destination: str | None) -> None:
    name = f"a.{extension}"
    (root / "output" / name).write_bytes(b"<svg/>")
    headers = {"Sec-Fetch-Dest": destination} if destination else {}
    async with client.get("/view", params={"filename": name}, headers=headers) as response:
        if extension == "svgz":  # compressed: just bytes
            assert response.headers["Content-Type"] == "application/octet-stream"
            return
        assert response.headers["Vary"] == "Sec-Fetch-Dest"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        if extension == "svg" and destination == "image":
            assert response.headers["Content-Type"] == "image/svg+xml"
            assert response.headers["Content-Disposition"] == f'filename="{name}"'
        else:
            assert response.headers["Content-Type"] == "application/octet-stream"
            assert response.headers["Content-Disposition"] == f'attachment; filename="{name}"'


@pytest.mark.parametrize(("name", "shown"), [
    ('say "hi".png', 'filename="say \\"hi\\".png"'),
    ("back\\slash.png", 'filename="back\\\\slash.png"'),
    ("two\r\nX-Evil: lines.png", 'filename="two__X-Evil: lines.png"'),
    ("naïve 图.png", 'filename="naïve 图.png"'),
])
async def test_a_name_cannot_leave_its_quotes(client: Client, root: Path, name: str, shown: str) -> None:
    (root / "output" / name).write_bytes(png())
    for query in ({}, {"preview": "webp"}):
        async with client.get("/view", params={"filename": name, **query}) as response:
            assert response.status == 200
            assert response.headers["Content-Disposition"] == shown
            assert "X-Evil" not in response.headers


# --- GET /view: variants ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("query", "content_type", "mode"), [
    ({"preview": "webp"}, "image/webp", "RGBA"),
    ({"preview": "webp;50"}, "image/webp", "RGBA"),
    ({"preview": "50"}, "image/webp", "RGBA"),
    ({"preview": ""}, "image/webp", "RGBA"),
    ({"preview": "gif;nonsense"}, "image/webp", "RGBA"),
    ({"preview": "webp;100"}, "image/webp", "RGBA"),
    ({"preview": "webp;0"}, "image/webp", "RGBA"),
    ({"preview": "webp;²"}, "image/webp", "RGBA"),
    ({"preview": "jpeg"}, "image/jpeg", "RGB"),
    ({"preview": "jpeg;20"}, "image/jpeg", "RGB"),
    ({"preview": "jpeg", "channel": "rgba"}, "image/webp", "RGBA"),
    ({"preview": "jpeg", "channel": "a"}, "image/webp", "RGBA"),
    ({"preview": "webp", "channel": "rgb"}, "image/webp", "RGB"),
    ({"preview": "jpeg", "channel": "rgb"}, "image/jpeg", "RGB"),
    ({"channel": "rgb"}, "image/png", "RGB"),
    ({"channel": "a"}, "image/png", "RGBA"),
    ({"res": "4", "channel": "a"}, "image/png", "RGBA"),
])
async def test_variants(client: Client, root: Path, query: dict[str, str], content_type: str, mode: str) -> None:
    (root / "output/pic.png").write_bytes(png("RGBA", color=(200, 100, 50, 128)))
    async with client.get("/view", params={"filename": "pic.png", **query}) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == content_type
        assert response.headers["Content-Disposition"] == 'filename="pic.png"'
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        image = picture(await response.read())
    assert (image.mode, image.size) == (mode, (8, 6))
    colour = image.getpixel((3, 3))
    if content_type == "image/png":
        assert colour == ((200, 100, 50) if mode == "RGB" else (0, 0, 0, 128))
    else:
        expected = (200, 100, 50) if mode == "RGB" else (200, 100, 50, 128)
        assert is_close(colour, expected, 40 if "0" in query["preview"] else 10)


@pytest.mark.parametrize("quality", ["webp;101", "jpeg;" + "9" * 5000])
async def test_a_quality_above_100(client: Client, root: Path, quality: str) -> None:
    (root / "output/pic.png").write_bytes(png())
    assert await status_of(client, filename="pic.png", preview=quality) == 400


async def test_alpha_of_an_opaque_image_is_255(client: Client, root: Path) -> None:
    (root / "output/pic.png").write_bytes(png())
    async with client.get("/view?filename=pic.png&channel=a") as response:
        assert picture(await response.read()).getpixel((0, 0)) == (0, 0, 0, 255)


async def test_colours_stay_where_a_palette_or_one_colour_is_transparent(client: Client, root: Path) -> None:
    (root / "output/key.png").write_bytes(png(transparency=(200, 100, 50)))
    (root / "output/grey.png").write_bytes(png("I;16", color=0x8040))
    async with client.get("/view?filename=key.png&channel=rgb") as response:
        image = picture(await response.read())
        assert (image.mode, image.has_transparency_data, image.getpixel((0, 0))) == ("RGB", False, (200, 100, 50))
    async with client.get("/view?filename=key.png&channel=a") as response:
        assert picture(await response.read()).getpixel((0, 0)) == (0, 0, 0, 0)
    async with client.get("/view?filename=grey.png&channel=rgb") as response:
        assert picture(await response.read()).getpixel((0, 0)) == (0x80, 0x80, 0x80)


@pytest.mark.parametrize("query", ["preview=webp", "preview=jpeg", "channel=rgb", "channel=a"])
@pytest.mark.parametrize("content", [b"", b"not an image", png()[:50], b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<svg/>"])
async def test_a_broken_image(client: Client, root: Path, query: str, content: bytes) -> None:
    (root / "output/pic.png").write_bytes(content)
    async with client.get(f"/view?filename=pic.png&{query}") as response:
        assert response.status == 415
        assert "error" in await response.json()


async def test_a_decompression_bomb(client: Client, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "output/pic.png").write_bytes(png(size=(100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert await status_of(client, filename="pic.png", preview="webp") == 415
    assert await status_of(client, filename="pic.png", channel="a") == 415
    assert await status_of(client, filename="pic.png") == 200


async def test_a_side_that_webp_cannot_hold_is_made_smaller(client: Client, root: Path) -> None:
    (root / "output/long.png").write_bytes(png(size=(20_000, 4)))
    async with client.get("/view?filename=long.png&preview=webp") as response:
        assert picture(await response.read()).width == 16383


async def test_each_variant_has_its_own_etag_and_is_not_made_twice(client: Client, root: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "output/pic.png").write_bytes(png("RGBA", color=(200, 100, 50, 128)))
    wishes = ["", "&preview=webp", "&preview=webp;50", "&preview=jpeg", "&preview=webp&channel=rgb", "&channel=rgb",
              "&channel=a", "&res=4", "&res=5"]
    etags: dict[str, str] = {}
    for wish in wishes:
        async with client.get(f"/view?filename=pic.png{wish}") as response:
            etags[wish] = response.headers["Etag"]
    assert len(set(etags.values())) == len(wishes)

    def not_again(path: Path, variant: object) -> bytes:
        raise AssertionError("decoded again")

    monkeypatch.setattr("web.file_routes.encode_variant", not_again)
    for wish in wishes:
        for etag in (etags[wish], f'"other", W/{etags[wish]}', "*"):
            async with client.get(f"/view?filename=pic.png{wish}", headers={"If-None-Match": etag}) as response:
                assert (response.status, response.headers["Etag"]) == (304, etags[wish])
                assert await response.read() == b""


async def test_a_changed_file_has_other_etags(client: Client, root: Path) -> None:
    (root / "output/pic.png").write_bytes(png())
    async with client.get("/view?filename=pic.png&preview=webp") as response:
        etag = response.headers["Etag"]
    (root / "output/pic.png").write_bytes(png(size=(9, 9)))
    async with client.get("/view?filename=pic.png&preview=webp", headers={"If-None-Match": etag}) as response:
        assert response.status == 200


async def test_head_of_a_variant(client: Client, root: Path) -> None:
    (root / "output/pic.png").write_bytes(png())
    async with client.head("/view?filename=pic.png&preview=webp") as response:
        assert (response.status, response.headers["Content-Type"]) == (200, "image/webp")
        assert int(response.headers["Content-Length"]) > 0


async def test_variants_are_made_off_the_loop(client: Client, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "output/pic.png").write_bytes(png())
    threads: list[threading.Thread] = []
    encode = image_variants.encode_variant

    def watched(path: Path, variant: image_variants.Variant) -> bytes:
        threads.append(threading.current_thread())
        return encode(path, variant)

    monkeypatch.setattr("web.file_routes.encode_variant", watched)
    assert await status_of(client, filename="pic.png", preview="webp") == 200
    assert threads
    assert threading.main_thread() not in threads


# --- GET /view: res --------------------------------------------------------------------------------------


async def fitted(client: Client, name: str, res: str, **more: str) -> tuple[str, bytes]:
    async with client.get("/view", params={"filename": name, "res": res, **more}) as response:
        assert response.status == 200
        return response.headers["Content-Type"], await response.read()


async def test_res_fits_a_square_and_wins_over_preview(client: Client, root: Path) -> None:
    (root / "output/pic.png").write_bytes(png("RGBA", (80, 40), (200, 100, 50, 0)))
    content_type, content = await fitted(client, "pic.png", "20", preview="webp")
    assert content_type == "image/jpeg"
    assert picture(content).size == (20, 10)
    assert is_close(picture(content).getpixel((5, 5)), (0, 0, 0))  # transparent: the black behind it
    assert picture((await fitted(client, "pic.png", "9" * 5000))[1]).size == (80, 40)  # never enlarged


@pytest.mark.parametrize("side", [30, 400])
async def test_res_turns_upright(client: Client, root: Path, side: int) -> None:
    image = Image.new("RGB", (80, 40), (0, 0, 0))
    image.paste((255, 255, 255), (0, 0, 40, 40))  # left half white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise: left becomes top
    image.save(root / "output/photo.jpg", exif=exif, quality=95)
    upright = picture((await fitted(client, "photo.jpg", str(side)))[1])
    assert upright.size == ((15, 30) if side == 30 else (40, 80))
    assert is_close(upright.getpixel((5, 5)), (255, 255, 255), 20)
    assert is_close(upright.getpixel((5, upright.height - 5)), (0, 0, 0), 20)
    assert 0x0112 not in upright.getexif()


@pytest.mark.parametrize("res", ["0", "-5", "", "x", "1.5", "+5"])
async def test_res_that_is_none(client: Client, root: Path, res: str) -> None:
    (root / "output/pic.png").write_bytes(png())
    assert await fitted(client, "pic.png", res) == ("image/png", png())


async def test_res_gives_the_original_where_it_cannot_do_better(client: Client, root: Path) -> None:
    (root / "output/broken.png").write_bytes(b"no image")
    (root / "output/notes.txt").write_bytes(b"notes")
    Image.new("RGB", (8, 8)).save(root / "output/pic.webp")
    (root / "output/really-webp.png").write_bytes((root / "output/pic.webp").read_bytes())
    assert await fitted(client, "broken.png", "4", preview="webp") == ("image/png", b"no image")
    assert await fitted(client, "notes.txt", "4") == ("text/plain", b"notes")
    assert (await fitted(client, "pic.webp", "4"))[1] == (root / "output/pic.webp").read_bytes()
    assert (await fitted(client, "really-webp.png", "4"))[1] == (root / "output/pic.webp").read_bytes()


# --- POST /upload/image ----------------------------------------------------------------------------------


async def test_an_upload_is_kept_whatever_it_is(client: Client, root: Path) -> None:
    assert await upload(client, b"A") == (200, {"name": "pic.png", "subfolder": "", "type": "input"})
    assert await upload(client, b"", "empty.bin") == (200, {"name": "empty.bin", "subfolder": "", "type": "input"})
    status, answer = await upload(client, b"B", "x.txt", type="output", subfolder="a/b/")
    assert (status, answer) == (200, {"name": "x.txt", "subfolder": "a/b/", "type": "output"})
    assert files_below(root / "input") == {"pic.png": b"A", "empty.bin": b""}
    assert files_below(root / "output") == {"a/b/x.txt": b"B"}
    assert nothing_left_over(root)


async def test_an_upload_has_the_permissions_of_any_new_file(client: Client, root: Path) -> None:
    (root / "usual").write_bytes(b"")
    await upload(client)
    assert stat.S_IMODE((root / "input/pic.png").stat().st_mode) == stat.S_IMODE((root / "usual").stat().st_mode)


async def test_names_of_uploads_that_collide(client: Client, root: Path) -> None:
    names = [(await upload(client, content))[1]["name"] for content in (b"A", b"A", b"B", b"C", b"B", b"longer")]
    assert names == ["pic.png", "pic.png", "pic (1).png", "pic (2).png", "pic (1).png", "pic (3).png"]
    (root / "input/dir.png").mkdir()
    assert (await upload(client, b"A", "dir.png"))[1]["name"] == "dir (1).png"
    assert nothing_left_over(root)


@pytest.mark.parametrize("overwrite", ["true", "1"])
async def test_overwrite(client: Client, root: Path, overwrite: str) -> None:
    await upload(client, b"A")
    assert (await upload(client, b"B", overwrite=overwrite))[1]["name"] == "pic.png"
    assert files_below(root / "input") == {"pic.png": b"B"}


@pytest.mark.parametrize("overwrite", ["TRUE", "yes", "0", "false", ""])
async def test_anything_else_does_not_overwrite(client: Client, root: Path, overwrite: str) -> None:
    await upload(client, b"A")
    assert (await upload(client, b"B", overwrite=overwrite))[1]["name"] == "pic (1).png"


@pytest.mark.parametrize("filename", [
    "..", ".", " ", "../../x.png", "zz/x.png", "sub/../ok.png", "x\\y.png", "a\nb.png", "a\x7fb", "x" * 256,
    "é" * 128, "x.png [output]",
])
async def test_names_that_no_upload_gets(client: Client, root: Path, filename: str) -> None:
    disposition = f"name=\"image\"; filename*=utf-8''{quote(filename, safe='')}"
    status, answer = await upload_raw(client, raw_part(disposition.encode()) + b"--XX--\r\n")
    assert (status, type(answer["error"])) == (400, str)
    assert files_below(root / "input") == {}
    assert nothing_left_over(root)


async def test_names_that_are_just_unusual(client: Client, root: Path) -> None:
    for name in ("x" * 255, "na%C3%AFve.png", "naïve 图.png", ".hidden", "a..b.png", "x;y=z.png", "  spaced .png"):
        assert await upload(client, b"A", name) == (200, {"name": name, "subfolder": "", "type": "input"})
    assert (await upload(client, b"B", "x" * 255))[0] == 400  # no room for a number
    assert nothing_left_over(root)


@pytest.mark.parametrize(("disposition", "name"), [
    (b'name="image"; filename="/abs.png"', "abs.png"),
    (b'name="image"; filename="C:\\x.png"', "C:x.png"),
    (b"name=\"image\"; filename*=utf-8''%E5%9B%BE.png", "图.png"),
])
async def test_names_as_the_form_parser_reads_them(client: Client, disposition: bytes, name: str) -> None:
    assert (await upload_raw(client, raw_part(disposition) + b"--XX--\r\n"))[1]["name"] == name


@pytest.mark.parametrize("fields", [
    {"subfolder": "../.."}, {"subfolder": ".."}, {"subfolder": "/etc"}, {"subfolder": "a/../../x"},
    {"subfolder": "..\\x"}, {"subfolder": "\\x"}, {"subfolder": "a\\b"}, {"subfolder": "a\0b"},
    {"subfolder": "x" * 256}, {"subfolder": "/".join(["x" * 200] * 30)}, {"subfolder": "taken"},
    {"subfolder": "taken/deeper"}, {"subfolder": "link"}, {"subfolder": "link/new"}, {"subfolder": "loop"},
    {"type": "secret"}, {"type": ""}, {"type": "../elsewhere"}, {"type": "x" * 70_000},
])
async def test_places_where_no_upload_goes(client: Client, root: Path, fields: dict[str, str]) -> None:
    (root / "input/taken").write_bytes(b"a file")
    (root / "input/link").symlink_to(root / "elsewhere")
    (root / "input/loop").symlink_to("loop")
    before = files_below(root)
    status, answer = await upload(client, b"A", "x.png", **fields)
    assert (status, type(answer["error"])) == (400, str)
    assert files_below(root) == before
    assert nothing_left_over(root)


async def test_overwriting_a_folder(client: Client, root: Path) -> None:
    (root / "input/pic.png").mkdir()
    assert (await upload(client, b"A", overwrite="1"))[0] == 400
    assert nothing_left_over(root)


async def test_an_upload_never_goes_through_a_link(client: Client, root: Path) -> None:
    (root / "input/pic.png").symlink_to(root / "secret.txt")
    (root / "input/new.png").symlink_to(root / "not-there")
    assert (await upload(client, SECRET))[1]["name"] == "pic (1).png"  # and says nothing of what is there
    assert (await upload(client, b"A", "new.png"))[1]["name"] == "new (1).png"
    assert (await upload(client, b"A", overwrite="true"))[1]["name"] == "pic.png"
    assert (root / "secret.txt").read_bytes() == SECRET
    assert not (root / "not-there").exists()
    assert not (root / "input/pic.png").is_symlink()


PART = raw_part(b'name="image"; filename="x.png"')


@pytest.mark.parametrize("body", [
    b"", b"garbage", b"--XX--\r\n", b"--XX\r\n", PART[:-20], PART,
    raw_part(b'name="other"; filename="x.png"') + b"--XX--\r\n",
    raw_part(b'name="image"') + b"--XX--\r\n",
    raw_part(b'name="image"; filename=""') + b"--XX--\r\n",
    raw_part(b'name="image"; filename="x"; filename="y"') + b"--XX--\r\n",
    raw_part(b'name="image"; filename*=nothing\'\'%41.png') + b"--XX--\r\n",
    raw_part(b'name="image"; filename="\xff.png"') + b"--XX--\r\n",
    raw_part(b'name="image"; filename="x.png"', more=b"Content-Transfer-Encoding: base64\r\n") + b"--XX--\r\n",
    raw_part(b'name="image"; filename="x.png"', more=b"Content-Encoding: gzip\r\n") + b"--XX--\r\n",
    raw_part(b'name="image"; filename="x.png"', more=b"Content-Type: multipart/mixed; boundary=Y\r\n") + b"--XX--\r\n",
    raw_part(b'name="image"; filename="x.png"', more=b"no header\r\n") + b"--XX--\r\n",
    raw_part(b'name="_charset_"', b"x" * 100) + PART + b"--XX--\r\n",
    raw_part(b'name="subfolder"', b"\xff\xfe") + PART + b"--XX--\r\n",
    raw_part(b'name="nothing"') * 65 + PART + b"--XX--\r\n",
])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
async def test_bodies_that_are_no_form(client: Client, root: Path, body: bytes) -> None:
    status, answer = await upload_raw(client, body)
    assert (status, type(answer["error"])) == (400, str)
    assert files_below(root / "input") == {}
    assert nothing_left_over(root)


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded",
                                          "multipart/form-data", "multipart/mixed; boundary=XX",
                                          "multipart/form-data; boundary=" + "X" * 100])
async def test_other_content_types(client: Client, content_type: str) -> None:
    assert (await upload_raw(client, b"{}", content_type))[0] == 400


async def test_the_fields_may_come_in_any_order_and_the_first_counts(client: Client, root: Path) -> None:
    body = (raw_part(b'name="overwrite"', b"1") + PART + raw_part(b'name="image"; filename="y.png"', b"other")
            + raw_part(b'name="subfolder"', b"a") + raw_part(b'name="subfolder"', b"b")
            + raw_part(b'name="unknown"', b"z" * 100_000) + raw_part(b'name="type"', b"temp") + b"--XX--\r\n")
    assert await upload_raw(client, body) == (200, {"name": "x.png", "subfolder": "a", "type": "temp"})
    assert files_below(root / "temp") == {"a/x.png": b"content"}


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("excess", [0, 1, 5_000_000])
async def test_the_limit_is_that_of_the_whole_body(strict_client: Client, root: Path, is_chunked: bool,
                                                   excess: int) -> None:
    frame = raw_part(b'name="image"; filename="x.png"', b"") + b"--XX--\r\n"
    body = raw_part(b'name="image"; filename="x.png"', b"x" * (1000 - len(frame) + excess)) + b"--XX--\r\n"

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    status, answer = await upload_raw(strict_client, pieces() if is_chunked else body)
    if excess:
        assert (status, answer) == (413, "Maximum request body size 1000 exceeded.")
    else:
        assert status == 200
    assert len(files_below(root / "input")) == (not excess)
    assert nothing_left_over(root)


async def test_parts_that_nobody_asked_for_count_too(strict_client: Client) -> None:
    body = raw_part(b'name="unknown"', b"z" * 2000) + PART + b"--XX--\r\n"

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    assert (await upload_raw(strict_client, pieces()))[0] == 413


async def answer_to(client: Client, request: bytes, closes: bool = True) -> bytes:
    """What the server says to these bytes, after which the client says nothing more."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(request)
    if closes:
        writer.write_eof()
    answer = await reader.read() if not closes else b""
    writer.close()
    return answer


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_client_that_breaks_off(client: Client, root: Path, is_chunked: bool,
                                        caplog: pytest.LogCaptureFixture) -> None:
    length = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: 100000"
    start = b"fffff\r\n" if is_chunked else b""
    await answer_to(client, b"POST /upload/image HTTP/1.1\r\nHost: x\r\n"
                    b"Content-Type: multipart/form-data; boundary=XX\r\n" + length + b"\r\n\r\n" + start + PART[:-5])
    for _ in range(500):
        if nothing_left_over(root) and await status_of(client, filename="none") == 404:
            break
    assert files_below(root / "input") == {}
    assert nothing_left_over(root)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_content_length_that_is_too_small(client: Client, root: Path) -> None:
    answer = await answer_to(client, b"POST /upload/image HTTP/1.1\r\nHost: x\r\n"
                             b"Content-Type: multipart/form-data; boundary=XX\r\nContent-Length: 50\r\n\r\n"
                             + PART + b"--XX--\r\n", closes=False)
    assert answer.split()[1] == b"400"
    assert files_below(root / "input") == {}


async def test_equal_names_at_once_never_clobber(client: Client, root: Path) -> None:
    contents = [f"content {number % 12}".encode() for number in range(24)]
    answers = await asyncio.gather(*(upload(client, content) for content in contents))
    kept = files_below(root / "input")
    assert [kept[answer["name"]] for _, answer in answers] == contents
    assert len(kept) == 12
    assert set(kept) == {"pic.png", *(f"pic ({number}).png" for number in range(1, 12))}
    assert nothing_left_over(root)


@pytest.mark.parametrize("has_links", [True, False])
def test_names_are_claimed_by_many_threads(root: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool) -> None:
    if not has_links:
        def no_links(source: object, target: object) -> None:
            raise OSError(errno.EPERM, "no hard links on this file system")

        monkeypatch.setattr(os, "link", no_links)
    names: dict[bytes, str] = {}

    def keep(content: bytes) -> None:
        written = file_names.unused_path(root / "temp")
        written.write_bytes(content)
        names[content] = file_names.keep_file(written, root / "input", "pic.png", overwrite=False)

    threads = [threading.Thread(target=keep, args=(f"content {number}".encode(),)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names) == 16
    assert files_below(root / "input") == {name: content for content, name in names.items()}
    assert nothing_left_over(root)


def test_what_arrives_after_it_was_discarded(root: Path) -> None:
    for is_started in (False, True):
        image = file_names.ArrivingFile(file_names.unused_path(root / "temp"))
        if is_started:
            image.write(b"A")
        image.discard()
        image.write(b"B")  # by a thread that was late
        assert nothing_left_over(root)


async def test_large_uploads_arrive_whole(root: Path, aiohttp_client: Callable[..., Awaitable[Client]]) -> None:
    client = await aiohttp_client(application(root, 100 * 2**20))
    content = os.urandom(5_000_000) + b"\r\n--XX\r\n"
    assert (await upload(client, content))[1]["name"] == "pic.png"
    assert (await upload(client, content[:-1] + b"!"))[1]["name"] == "pic (1).png"
    assert (await upload(client, content))[1]["name"] == "pic.png"
    assert (root / "input/pic.png").read_bytes() == content
    assert nothing_left_over(root)


async def test_a_full_disk(client: Client, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> str:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("web.file_routes.keep_file", full)
    assert (await upload(client))[0] == 507
    assert nothing_left_over(root)


# --- POST /upload/mask -----------------------------------------------------------------------------------


def mask_png(size: tuple[int, int] = (8, 6), alpha: int = 77) -> bytes:
    image = Image.new("RGBA", size, (1, 2, 3, alpha))
    image.putpixel((0, 0), (9, 9, 9, 255))
    written = io.BytesIO()
    image.save(written, "png")
    return written.getvalue()


async def upload_mask(client: Client, ref: Any = None, mask: bytes | None = None, **fields: str) -> tuple[int, Any]:
    if ref is not None:
        fields["original_ref"] = ref if isinstance(ref, str) else json.dumps(ref)
    return await upload(client, mask_png() if mask is None else mask, "masked.png", "/upload/mask", **fields)


@pytest.fixture
def original(root: Path) -> Path:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("prompt", '{"1": {}}')
    chunks.add_text("workflow", '{"name": "图"}')
    chunks.add_itxt("note", "hé", "fr", "bemerkung")
    (root / "input/sub").mkdir()
    for name in ("output/orig.png", "input/orig.png", "input/sub/deep.png"):
        (root / name).write_bytes(png("RGBA", color=(200, 100, 50, 10), pnginfo=chunks))
    return root / "output/orig.png"


@pytest.mark.parametrize("ref", [
    {"filename": "orig.png"},
    {"filename": "orig.png", "type": "input", "subfolder": ""},
    {"filename": "orig.png [input]"},
    {"filename": "deep.png", "type": "input", "subfolder": "sub"},
    {"filename": "orig.png", "type": None, "subfolder": None, "more": [1, 2]},
])
async def test_a_mask_is_put_into_its_original(client: Client, root: Path, original: Path, ref: Any) -> None:
    status, answer = await upload_mask(client, ref, subfolder="clipspace")
    assert (status, answer) == (200, {"name": "masked.png", "subfolder": "clipspace", "type": "input"})
    image = Image.open(root / "input/clipspace/masked.png")
    assert isinstance(image, PngImagePlugin.PngImageFile)
    assert (image.mode, image.size) == ("RGBA", (8, 6))
    assert image.getpixel((4, 4)) == (200, 100, 50, 77)
    assert image.getpixel((0, 0)) == (200, 100, 50, 255)
    assert image.text == {"prompt": '{"1": {}}', "workflow": '{"name": "图"}', "note": "hé"}
    assert nothing_left_over(root)


async def test_a_mask_again_gets_another_name_unless_it_overwrites(client: Client, root: Path, original: Path) -> None:
    ref = {"filename": "orig.png"}
    answers = [await upload_mask(client, ref), await upload_mask(client, ref),
               await upload_mask(client, ref, overwrite="true")]
    assert [answer["name"] for _, answer in answers] == ["masked.png", "masked (1).png", "masked.png"]
    (root / "input/masked (2).png").write_bytes(mask_png())
    assert (await upload_mask(client, ref))[1]["name"] == "masked (2).png"  # compared by what was uploaded


async def test_a_mask_for_a_photo_that_lies_on_its_side(client: Client, root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 8), (200, 100, 50)).save(root / "output/photo.jpg", exif=exif, quality=95)
    assert (await upload_mask(client, {"filename": "photo.jpg"}))[0] == 200
    masked = picture((root / "input/masked.png").read_bytes())
    assert masked.size == (8, 6)
    assert 0x0112 not in masked.getexif()


async def test_a_mask_without_alpha_is_opaque(client: Client, root: Path, original: Path) -> None:
    assert (await upload_mask(client, {"filename": "orig.png"}, png()))[0] == 200
    assert picture((root / "input/masked.png").read_bytes()).getpixel((1, 1)) == (200, 100, 50, 255)


@pytest.mark.parametrize(("ref", "status"), [
    (None, 400), ("", 400), ("no JSON", 400), ("[]", 400), ("{}", 400), ("null", 400), ('{"filename": 5}', 400),
    ('{"filename": "orig.png", "subfolder": 5}', 400), ('{"filename": "\\ud800"}', 400), ("[" * 60_000, 400),
    ('{"x": ' + "[" * 60_000, 400),
    ({"filename": ""}, 400), ({"filename": "../secret.txt"}, 400), ({"filename": "/etc/passwd"}, 400),
    ({"filename": "orig.png", "type": "secret"}, 400), ({"filename": "orig.png", "subfolder": ".."}, 400),
    ({"filename": "orig.png", "subfolder": "/etc"}, 400), ({"filename": "none.png"}, 404),
    ({"filename": "orig.png", "subfolder": "none"}, 404), ({"filename": "notes.txt"}, 400),
    ({"filename": "link.png"}, 400),
])
async def test_originals_that_are_none(client: Client, root: Path, original: Path, ref: Any, status: int) -> None:
    (root / "output/notes.txt").write_bytes(b"notes")
    (root / "output/link.png").symlink_to(root / "secret.txt")
    before = files_below(root)
    answered, answer = await upload_mask(client, ref)
    assert (answered, type(answer["error"])) == (status, str)
    assert files_below(root) == before


@pytest.mark.parametrize("mask", [b"", b"no image", mask_png()[:60], mask_png((9, 6))])
async def test_masks_that_are_none(client: Client, root: Path, original: Path, mask: bytes) -> None:
    assert (await upload_mask(client, {"filename": "orig.png"}, mask))[0] == 400
    assert not (root / "input/masked.png").exists()
    assert nothing_left_over(root)


async def test_a_mask_needs_an_image(client: Client, original: Path) -> None:
    data = form(None, original_ref=json.dumps({"filename": "orig.png"}))
    data.add_field("other", b"x", filename="x.png")
    async with client.post("/upload/mask", data=data) as response:
        assert response.status == 400


# --- any name at all -------------------------------------------------------------------------------------

names = st.one_of(
    st.text(max_size=30),
    st.text("./\\ab\0 []~:%\n", max_size=12),
    st.lists(st.sampled_from(["..", ".", "", "a", "out", "elsewhere", "secret.txt", "pic.png", "\\", "[input]", "é",
                              "\ud800", "\udcff", "C:", "x" * 254]), max_size=6).map("/".join),
)  # fmt: skip


def with_client(test: Callable[[Client, Path], Awaitable[None]]) -> None:
    """Run one example against a server of its own, with links that lead out of each folder."""

    async def run() -> None:
        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory)
            for kind in ("input", "output", "temp", "elsewhere"):
                (root / kind / "a").mkdir(parents=True)
            (root / "secret.txt").write_bytes(SECRET)
            (root / "elsewhere/secret.txt").write_bytes(SECRET)
            for kind in ("input", "output", "temp"):
                (root / kind / "out").symlink_to(root / "elsewhere")
                (root / kind / "a/secret.txt").symlink_to(root / "secret.txt")
                (root / kind / "pic.png").write_bytes(png())
            async with TestClient(TestServer(application(root))) as client:
                await test(client, root)

    asyncio.run(run())


def sendable(text: str) -> str:
    """Without the halves of surrogate pairs, which no URL can hold."""
    return text.encode("utf-8", "replace").decode()


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.fixed_dictionaries(
    {"filename": names.map(sendable)},
    optional={"subfolder": names.map(sendable), "type": st.sampled_from(["input", "output", "temp", "x"]),
              "preview": names.map(sendable), "channel": st.sampled_from(["", "a", "rgb", "rgba", "x"]),
              "res": names.map(sendable)},
), min_size=8, max_size=8))  # fmt: skip
@example([{"filename": "secret.txt", "subfolder": "out"}, {"filename": "secret.txt", "subfolder": "a"}])
def test_no_query_shows_a_file_of_another_folder(queries: list[dict[str, str]]) -> None:
    async def test(client: Client, root: Path) -> None:
        for query in queries:
            async with client.get("/view", params=query) as response:
                assert response.status < 500
                assert SECRET not in await response.read()

    with_client(test)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(names, names, st.sampled_from(["", "true"])), min_size=6, max_size=6),
       st.sampled_from(["/upload/image", "/upload/mask"]))
@example([("pic.png", "out", "true"), ("secret.txt", "a", "true"), ("\ud800.png", "\ud800", "")], "/upload/image")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_upload_leaves_its_folder(uploads: list[tuple[str, str, str]], route: str) -> None:
    def quoted(name: str) -> bytes:
        text = name.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "").replace("\n", "").replace("\0", "")
        return b'name="image"; filename="' + text.encode("utf-8", "surrogatepass") + b'"'

    async def test(client: Client, root: Path) -> None:
        outside = {path: content for path, content in files_below(root).items() if not path.startswith("input")}
        for filename, subfolder, overwrite in uploads:
            body = (raw_part(quoted(filename), png())
                    + raw_part(b'name="subfolder"', subfolder.encode("utf-8", "surrogatepass"))
                    + raw_part(b'name="overwrite"', overwrite.encode())
                    + raw_part(b'name="original_ref"', b'{"filename": "pic.png"}') + b"--XX--\r\n")
            headers = {"Content-Type": "multipart/form-data; boundary=XX"}
            async with client.post(route, data=body, headers=headers) as response:
                assert response.status in (200, 400)
                answer = await response.json()
                if response.status == 200:
                    folder = Path(os.path.realpath(root / "input" / answer["subfolder"]))
                    assert folder.is_relative_to(root.resolve() / "input")
                    assert (folder / answer["name"]).is_file()
        assert outside == {path: content for path, content in files_below(root).items()
                           if not path.startswith("input")}
        assert not list(root.rglob(".upload-*"))

    with_client(test)


@given(name=names, subfolder=names)
@example("secret.txt", "out")
def test_a_name_means_a_file_inside_or_nothing(tmp_path_factory: pytest.TempPathFactory, name: str,
                                               subfolder: str) -> None:
    root = tmp_path_factory.getbasetemp() / "names"
    (root / "output/a").mkdir(parents=True, exist_ok=True)
    if not (root / "output/out").is_symlink():
        (root / "output/out").symlink_to(root)
    (root / "secret.txt").write_bytes(SECRET)
    try:
        file = file_names.existing_file(lambda kind: root / kind, name, "output", subfolder)
    except file_names.FileRefused:
        return
    assert file.path.is_relative_to((root / "output").resolve())
