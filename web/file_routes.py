"""Files over HTTP: what clients look at and what they upload.

A handler decodes, calls one function on a thread and encodes. Which file a name means is file_names' business,
pixels are image_variants'. A body is written to disk while it arrives, so an upload costs no memory.
"""

import asyncio
import errno
import functools
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from mimetypes import MimeTypes
from os import stat_result
from pathlib import Path

import msgspec
from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from .app_keys import SETTINGS
from .file_names import (
    ArrivingFile,
    BadFileName,
    DirectoryOf,
    ExistingFile,
    FileMissing,
    FileRefused,
    OutsideFolder,
    base_folder,
    existing_file,
    folder_inside,
    keep_file,
    new_file_name,
    refuse_unusable,
    unused_path,
)
from .image_variants import BadVariant, Fitted, ImageUnreadable, Variant, encode_variant, variant_of, write_masked

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

routes = web.RouteTableDef()

FORM_FIELDS = ("type", "subfolder", "overwrite", "original_ref")
LONGEST_FIELD = 64 * 1024
"""Bytes of a text field of a form."""
MOST_PARTS = 64
"""Parts of a form: each costs time whatever its size."""
READ_AT_ONCE = 256 * 1024
WRITTEN_AT_ONCE = 1 << 20
"""Bytes of an upload in memory, and on their way to the disk."""

ACTIVE_TYPES = {
    "text/html", "text/html-sandboxed", "application/xhtml+xml", "text/javascript", "application/javascript",
    "application/x-javascript", "application/ecmascript", "text/css", "image/svg+xml", "application/xml", "text/xml",
    "message/rfc822",
}
"""Types that a browser runs, or reads as something that can. Those that end in `+xml` or `/xml` are too."""

CONTENT_TYPES = MimeTypes()
for _type, _extension in (("image/webp", ".webp"), ("image/avif", ".avif"), ("image/jxl", ".jxl"),
                          ("audio/flac", ".flac"), ("audio/mp4", ".m4a"), ("video/x-matroska", ".mkv"),
                          ("application/xhtml+xml", ".xhtml"), ("application/xhtml+xml", ".xht"),
                          ("model/gltf-binary", ".glb"), ("model/gltf+json", ".gltf")):
    CONTENT_TYPES.add_type(_type, _extension)


class BadForm(FileRefused):
    """The body is not the form that it should be."""


class BodyTooLarge(FileRefused):
    """The body has more bytes than are taken."""


class OriginalRef(msgspec.Struct):
    """The image that a mask was drawn on."""

    filename: str
    subfolder: str | None = None
    type: str | None = None


class UploadForm(msgspec.Struct):
    """A form that has arrived, with the image in a file of its own."""

    image: Path
    filename: str
    kind: str
    subfolder: str
    overwrite: bool
    original_ref: str | None


# --- refusals --------------------------------------------------------------------------------------------

STATUS_OF: Mapping[type[FileRefused], int] = {
    BadFileName: 400, BadForm: 400, BadVariant: 400, OutsideFolder: 400, ImageUnreadable: 400,
    FileMissing: 404,
}
STATUS_OF_VIEW: Mapping[type[FileRefused], int] = {**STATUS_OF, OutsideFolder: 403, ImageUnreadable: 415}
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def answers_refusals(statuses: Mapping[type[FileRefused], int]) -> Callable[[Handler], Handler]:
    """Turn what a handler refuses into a JSON answer with the status that this route gives it."""

    def decorate(handler: Handler) -> Handler:
        @functools.wraps(handler)
        async def answered(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except BodyTooLarge as refusal:  # said as the library says it of every other body
                return web.Response(status=413, text=str(refusal))
            except FileRefused as refusal:
                return web.json_response({"error": str(refusal)}, status=statuses[type(refusal)])
            except OSError as error:
                if error.errno not in DISK_FULL:
                    raise
                return web.json_response({"error": "there is no room on the disk"}, status=507)

        return answered

    return decorate


# --- looking ---------------------------------------------------------------------------------------------


@routes.get("/view")
@answers_refusals(STATUS_OF_VIEW)
async def view(request: web.Request) -> web.StreamResponse:
    """A file, or with `preview`, `channel` or `res` an image made of it."""
    query = request.query
    if "filename" not in query:
        raise FileMissing("filename is missing")
    file = await asyncio.to_thread(existing_file, request.app[SETTINGS].directory_of, query["filename"],
                                   query.get("type", "output"), query.get("subfolder", ""))
    variant = variant_of(query, content_type_of(file.name))
    if variant is None:
        return FileItself(file.path, headers=headers_of_file(request, file.name))
    try:
        return await variant_response(request, file, variant)
    except ImageUnreadable:
        if not isinstance(variant, Fitted):
            raise
        return FileItself(file.path, headers=headers_of_file(request, file.name))


async def variant_response(request: web.Request, file: ExistingFile, variant: Variant) -> web.Response:
    """The image made of a file, or 304 without making it. Raises ImageUnreadable."""
    version = f"{file.version}-{variant.tag}"
    headers = {
        "Content-Disposition": content_disposition(file.name),
        "Cache-Control": "no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    if any(tag.value in ("*", version) for tag in request.if_none_match or ()):
        response = web.Response(status=304, headers=headers)
    else:
        body = await asyncio.to_thread(encode_variant, file.path, variant)
        response = web.Response(body=body, content_type=variant.content_type, headers=headers)
    response.etag = version
    response.last_modified = file.modified
    return response


class FileItself(web.FileResponse):
    """The file that was named, and never a `.gz` or `.br` beside it, which may be another file altogether."""

    def _get_file_path_stat_encoding(self, accept_encoding: str) -> tuple[Path | None, stat_result, str | None]:
        return super()._get_file_path_stat_encoding("")


def headers_of_file(request: web.Request, name: str) -> dict[str, str]:
    """Headers that say what a file is. What a browser would run becomes a download, but for an SVG as a picture."""
    content_type = content_type_of(name)
    headers = {"Content-Type": content_type, "X-Content-Type-Options": "nosniff"}
    if not is_active(content_type):
        return headers | {"Content-Disposition": content_disposition(name)}
    headers |= {"Vary": "Sec-Fetch-Dest", "Cache-Control": "no-store"}
    if content_type == "image/svg+xml" and request.headers.get("Sec-Fetch-Dest") == "image":
        return headers | {"Content-Disposition": content_disposition(name)}
    return headers | {"Content-Type": "application/octet-stream",
                      "Content-Disposition": f"attachment; {content_disposition(name)}"}


def content_type_of(name: str) -> str:
    """By the extension; a compressed file is just bytes."""
    guess, compression = CONTENT_TYPES.guess_type(f"/{name}", strict=False)
    return guess.lower() if guess and not compression else "application/octet-stream"


def is_active(content_type: str) -> bool:
    """Whether a browser may find something to run in it."""
    return content_type in ACTIVE_TYPES or content_type.endswith(("+xml", "/xml"))


def content_disposition(name: str) -> str:
    """`filename="…"` with what would end the quotes escaped and what would end the line replaced."""
    safe = "".join("_" if ord(letter) < 0x20 or ord(letter) == 0x7F else letter for letter in name)
    return 'filename="{}"'.format(safe.replace("\\", "\\\\").replace('"', '\\"'))


# --- uploading -------------------------------------------------------------------------------------------


@routes.post("/upload/image")
@answers_refusals(STATUS_OF)
async def upload_image(request: web.Request) -> web.StreamResponse:
    """Keep a file of any kind, whatever its name says."""
    async with received_form(request) as form:
        name = await asyncio.to_thread(keep_upload, request.app[SETTINGS].directory_of, form)
    return web.json_response({"name": name, "subfolder": form.subfolder, "type": form.kind})


@routes.post("/upload/mask")
@answers_refusals(STATUS_OF)
async def upload_mask(request: web.Request) -> web.StreamResponse:
    """Keep a PNG with the colours of `original_ref` and the transparency of the image that was sent."""
    async with received_form(request) as form:
        name = await asyncio.to_thread(keep_mask, request.app[SETTINGS].directory_of, form)
    return web.json_response({"name": name, "subfolder": form.subfolder, "type": form.kind})


def keep_upload(directory_of: DirectoryOf, form: UploadForm) -> str:
    """Put the image where the form says; answers its name. Raises FileRefused."""
    folder, name = destination(directory_of, form)
    return keep_file(form.image, folder, name, overwrite=form.overwrite)


def keep_mask(directory_of: DirectoryOf, form: UploadForm) -> str:
    """Put the masked original where the form says; answers its name. Raises FileRefused."""
    folder, name = destination(directory_of, form)
    original = original_of(directory_of, form.original_ref)
    masked = unused_path(form.image.parent)
    try:
        write_masked(original.path, form.image, masked)
        return keep_file(masked, folder, name, overwrite=form.overwrite, same_as=form.image)
    finally:
        masked.unlink(missing_ok=True)


def destination(directory_of: DirectoryOf, form: UploadForm) -> tuple[Path, str]:
    """Folder, not made yet, and name that a form asks for. Raises BadFileName and OutsideFolder."""
    name = new_file_name(form.filename)
    refuse_unusable(form.subfolder)
    return folder_inside(base_folder(directory_of, form.kind), form.subfolder), name


def original_of(directory_of: DirectoryOf, text: str | None) -> ExistingFile:
    """The file that the JSON of `original_ref` names. Raises BadForm and what existing_file raises."""
    try:
        ref = msgspec.json.decode(text or "", type=OriginalRef)
    except (ValueError, RecursionError):
        raise BadForm('original_ref must be JSON: {"filename": text, "subfolder": text, "type": text}') from None
    return existing_file(directory_of, ref.filename, "output" if ref.type is None else ref.type, ref.subfolder or "")


@asynccontextmanager
async def received_form(request: web.Request) -> AsyncIterator[UploadForm]:
    """The form of a request, whose image lies in a file until the end of the block, unless it was moved away.

    Raises BadForm and BodyTooLarge.
    """
    image = await asyncio.to_thread(arriving_file, request.app[SETTINGS].directory_of)
    try:
        yield await read_form(request, image)
    finally:
        await asyncio.to_thread(image.discard)


def arriving_file(directory_of: DirectoryOf) -> ArrivingFile:
    """Where an image is written while it arrives: the folder it belongs to may come last in the form."""
    return ArrivingFile(unused_path(directory_of("temp") or Path(tempfile.gettempdir())))


MALFORMED = (ValueError, LookupError, RuntimeError, AssertionError, HttpProcessingError, web.RequestPayloadError)
"""What aiohttp's reader of forms raises when the body is not one, or ends too early."""


async def read_form(request: web.Request, image: ArrivingFile) -> UploadForm:
    """Read the body to its end and write its image. Raises BadForm and BodyTooLarge."""
    refuse_large_body(request, request.content_length or 0)
    if request.content_type != "multipart/form-data":
        raise BadForm("the body must be multipart/form-data")
    try:
        filename, fields = await read_parts(request, image)
    except MALFORMED as error:
        raise BadForm("the body is not a whole multipart/form-data") from error
    if filename is None:
        raise BadForm("the form has no field image")
    return UploadForm(image.path, filename, fields.get("type", "input"), fields.get("subfolder", ""),
                      fields.get("overwrite") in ("true", "1"), fields.get("original_ref"))


async def read_parts(request: web.Request, image: ArrivingFile) -> tuple[str | None, dict[str, str]]:
    """Name of the image, None if there is none, and the text fields. The first of each name counts."""
    reader = await request.multipart()
    filename: str | None = None
    fields: dict[str, str] = {}
    count = 0
    while (part := await reader.next()) is not None:
        count += 1
        if count > MOST_PARTS:
            raise BadForm(f"the form has more than {MOST_PARTS} parts")
        if not isinstance(part, BodyPartReader) or is_encoded(part):
            raise BadForm("a part of the form is encoded or has parts itself")
        pieces = pieces_of(request, part)
        if part.name == "image" and filename is None:
            filename = part.filename
            if filename is None:
                raise BadForm("the field image must be a file with a name")
            await write_image(image, pieces)
        elif part.name in FORM_FIELDS:
            fields.setdefault(part.name, await read_text(pieces))
        else:
            async for _ in pieces:
                pass
    return filename, fields


def is_encoded(part: BodyPartReader) -> bool:
    """Whether the bytes of a part are not those of the file; no browser sends such."""
    transfer = part.headers.get("Content-Transfer-Encoding", "binary").strip().lower()
    return transfer not in ("binary", "8bit", "7bit") or "Content-Encoding" in part.headers


async def pieces_of(request: web.Request, part: BodyPartReader) -> AsyncIterator[bytes]:
    """The bytes of a part. Raises BodyTooLarge as soon as the whole body, part or not, is."""
    while piece := await part.read_chunk(READ_AT_ONCE):
        refuse_large_body(request, request.content.total_bytes)
        yield piece


def refuse_large_body(request: web.Request, size: int) -> None:
    """Raise BodyTooLarge when `size` bytes are more than the settings allow."""
    limit = round(request.app[SETTINGS].max_upload_size)
    if size > limit:
        raise BodyTooLarge(f"Maximum request body size {limit} exceeded.")


async def read_text(pieces: AsyncIterator[bytes]) -> str:
    """A text field. Raises BadForm when it is too long or not UTF-8."""
    text = bytearray()
    async for piece in pieces:
        text += piece
        if len(text) > LONGEST_FIELD:
            raise BadForm(f"a text field has more than {LONGEST_FIELD} bytes")
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise BadForm("a text field is not UTF-8") from None


async def write_image(image: ArrivingFile, pieces: AsyncIterator[bytes]) -> None:
    """Write the pieces, a megabyte at a time, each on a thread."""
    waiting = bytearray()
    async for piece in pieces:
        waiting += piece
        if len(waiting) >= WRITTEN_AT_ONCE:
            await asyncio.to_thread(image.write, waiting)
            waiting = bytearray()
    await asyncio.to_thread(image.write, waiting)
    await asyncio.to_thread(image.close)
