"""Sound and moving pictures as libav reads them, and what saved ones tell of their making.

A file comes from a stranger, so it is opened in a way that nothing but the file itself is read: playlists and the
like, which name other files or addresses, are refused. All of it blocks: it runs on a thread, never on the loop.
"""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

from nodes.environment import environment
from nodes.saved_files import saved_metadata

if TYPE_CHECKING:
    from av.container import InputContainer

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

MediaSource = str | os.PathLike[str] | io.BytesIO
"""The path of a file, or a whole file in memory."""

READ_AT_ONCE = 256 * 1024
"""Bytes."""

FORMATS = (
    "3dostr,aac,ac3,aiff,amr,amrnb,amrwb,ape,apng,asf,au,av1,avi,caf,dts,dtshd,dv,eac3,flac,flv,gif,gxf,h261,h263,h264,"
    "hevc,ivf,loas,m4v,matroska,mjpeg,mlp,mov,mp3,mpc,mpc8,mpeg,mpegts,mpegvideo,mxf,nsv,nut,obu,ogg,oma,qoa,rm,shn,"
    "smk,sox,tak,truehd,tta,vc1,vivo,voc,vvc,w64,wav,wsd,wtv,wv,xwma,yuv4mpegpipe"
)
"""What libav may take a file for: formats that have all they need in one file."""




class Span(NamedTuple):
    """A part of a video, in seconds from its beginning. Float times are good to `TOLERANCE`."""

    start: float = 0.0
    stop: float | None = None
    """None: to the end."""


WHOLE = Span()
TOLERANCE = 0.001
"""Seconds. Some containers round times to a thousandth."""


class NotMedia(ValueError):
    """What was given cannot be read as sound or as a video."""


class TooLarge(ValueError):
    """What was given would not fit into memory once it is decoded."""


# --- reading ---------------------------------------------------------------------------------------------


@contextmanager
def open_media(source: MediaSource) -> Iterator[InputContainer]:
    """The file, open for reading.

    :raises NotMedia: it is of no format that is known.
    :raises FileNotFoundError: there is no such file.
    """
    import av

    with _reader(source) as stream:
        try:
            container = av.open(
                stream, "r", container_options={"format_whitelist": FORMATS}, metadata_errors="replace",
                buffer_size=READ_AT_ONCE, io_open=_refuse_other_file,
            )  # fmt: skip
        except av.error.FFmpegError as error:
            raise NotMedia(f"cannot read it as sound or video: {error.strerror}") from error
        with container:
            yield container


def _reader(source: MediaSource) -> IO[bytes]:
    if isinstance(source, io.BytesIO):
        # Its position belongs to whoever reads: several prompts may read it at once. The bytes are shared.
        return io.BytesIO(source.getvalue())
    return Path(source).open("rb")


def _refuse_other_file(url: str, flags: int, options: Any) -> NoReturn:
    raise NotMedia("it names another file, and only the file itself is read")


def decoded_frames(container: InputContainer, stream: Any) -> Iterator[Any]:
    """Every frame of one stream, in the order of showing. Damaged parts are left out, and logged.

    :raises NotMedia: nothing of it can be decoded.
    :raises InterruptProcessing: the prompt was cancelled.
    """
    import av

    from execution import check_interrupted

    stream.thread_type = "AUTO"
    decoded = damaged = 0
    packets = container.demux(stream)
    while True:
        check_interrupted()
        try:
            packet = next(packets, None)
            frames = [] if packet is None else packet.decode()
        except av.error.EOFError:
            packet, frames = None, []
        except av.error.InvalidDataError:
            damaged += 1
            continue
        yield from frames
        decoded += len(frames)
        if packet is None:
            break
    if damaged and not decoded:
        raise NotMedia(f"none of its {stream.type} can be decoded")
    if damaged:
        logger.warning("left out %d damaged parts of a file's %s", damaged, stream.type)


def refuse_beyond_memory(held: int) -> None:
    """Refuse what a small file can decode into.

    :param held: bytes of what is decoded so far, and of what will be made of it.
    :raises TooLarge: it is more than this process may have.
    """
    from nodes.machine_facts import memory_limit

    limit = memory_limit()
    if held > limit:
        raise TooLarge(f"decoded it takes more than the {limit / 2**30:.1f} GiB of memory that there are")


def counted(items: Iterable[Item], total: int) -> Iterator[Item]:
    """The items, with the node's progress told after each, and an end when its prompt is cancelled.

    :param total: how many there will be; 0 if nobody knows, and then nothing is told.
    """
    from execution import ProgressBar, check_interrupted

    bar = ProgressBar(total) if total else None
    for done, item in enumerate(items, 1):
        check_interrupted()
        yield item
        if bar is not None:
            bar.update_absolute(done)


# --- metadata --------------------------------------------------------------------------------------------

TAGS_OF_THE_FORMAT = {"major_brand", "minor_version", "compatible_brands", "encoder"}



def own_tags(container: InputContainer) -> dict[str, str]:
    """What a file tells of itself, without what its format alone says and a new file says anew."""
    return {key: value for key, value in container.metadata.items() if key.lower() not in TAGS_OF_THE_FORMAT}


def saved_values(prompt: Any, extra_pnginfo: Any) -> dict[str, Any]:
    """`prompt`, then the keys of `extra_pnginfo`: what a saved file carries. {} with --disable-metadata."""
    return saved_metadata(prompt, extra_pnginfo) if environment.save_metadata else {}


def as_tags(values: Mapping[str, Any]) -> dict[str, str]:
    """The values as JSON. What cannot be the name of a tag in every format is left out, and logged."""
    tags = {}
    for key, value in values.items():
        if isinstance(key, str) and key and key.isascii() and key.isprintable() and "=" not in key:
            # A pack may leave any object among the fingerprints in the prompt: it must not cost the file.
            tags[key] = json.dumps(value, default=str)
        else:
            logger.warning("not saved: metadata under %r, which cannot be the name of a tag", str(key)[:100])
    return tags
