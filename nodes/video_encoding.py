"""Videos written to files: encoded from pictures and sound, or copied packet by packet as they are."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from nodes.audio import AAC_RATES, Sound, audio_frame, layout_for, rate_for
from nodes.media_streams import NotMedia, own_tags

if TYPE_CHECKING:
    import av
    import numpy
    from av.container import InputContainer, OutputContainer

Target = str | io.BytesIO
"""The path of a file to write, or memory to write it to."""


class NotCopied(ValueError):
    """The packets of a file do not fit into the container that they were to be copied into."""


def encode_mp4(target: Target, pictures: Iterable[av.VideoFrame], size: tuple[int, int], frame_rate: Fraction,
               sound: Sound | None, tags: dict[str, str]) -> None:
    """Encode as H.264 (yuv420p) and AAC in an MP4 file. Sound ends with the last picture, or before.

    :param size: width and height in pixels.
    :param frame_rate: pictures a second; the file has it rounded to thousandths.
    :raises ValueError: odd sides, a rate that cannot be written, or no picture at all.
    """
    import av

    width, height = size
    if width % 2 or height % 2:
        raise ValueError(f"a video in H.264 needs even sides, and this one is {width}x{height}: crop or resize it")
    rate = Fraction(round(1000 * frame_rate), 1000)
    if rate <= 0:
        raise ValueError(f"a video cannot have {float(frame_rate)} frames a second")
    with av.open(target, "w", format="mp4", container_options=_container_options("mp4")) as output:
        output.metadata.update(tags)
        video = output.add_stream("h264", rate=rate)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        track = None if sound is None else _SoundTrack(output, sound)
        shown = 0
        for picture in pictures:
            picture.pts, picture.time_base = shown, 1 / rate
            picture.pict_type = 0  # else a decoded picture would be encoded as the kind that it was
            shown += 1
            output.mux(video.encode(picture))
            if track is not None:
                track.write_until(math.ceil(track.sound.sample_rate * shown / frame_rate))
        if not shown:
            raise ValueError("there is no video to save: it has no frames")
        output.mux(video.encode(None))
        if track is not None:
            track.end()


class _SoundTrack:
    """The sound of a file that is being written. It is written along with the pictures, so that a player finds
    what belongs together in one place."""

    def __init__(self, output: OutputContainer, sound: Sound) -> None:
        self.sound = sound
        self._output = output
        self._stream = output.add_stream("aac", rate=rate_for(sound.sample_rate, AAC_RATES),
                                         layout=layout_for(sound.channels))
        self._pending: numpy.ndarray | None = next(sound.chunks, None)
        self._position = 0

    def write_until(self, position: int) -> None:
        """Write what comes before the sample at `position`."""
        while self._pending is not None and self._position < position:
            taken = self._pending[:, : position - self._position]
            rest = self._pending[:, taken.shape[1] :]
            frame = audio_frame(taken, self.sound.sample_rate, self._position)
            self._output.mux(self._stream.encode(frame))
            self._position += taken.shape[1]
            self._pending = rest if rest.shape[1] else next(self.sound.chunks, None)

    def end(self) -> None:
        self._output.mux(self._stream.encode(None))


def copy_packets(container: InputContainer, target: Target, file_format: str, tags: dict[str, str]) -> None:
    """Write the streams of an open file as they are; its own metadata stay, unless `tags` name them again.

    Streams that are neither pictures nor sound come along where the new container can hold them.

    :param file_format: libav's name of the container.
    :raises NotCopied: the container cannot hold a stream.
    """
    import av

    from execution import ProgressBar, check_interrupted

    bar = ProgressBar(container.size) if container.size > 0 else None
    copied = 0
    try:
        with av.open(target, "w", format=file_format, container_options=_container_options(file_format)) as output:
            output.metadata.update(own_tags(container) | tags)
            streams = _streams_for(container, output)
            for packet in container.demux(*(container.streams[index] for index in streams)):
                check_interrupted()
                copied += packet.size
                if packet.size:  # the last one of a stream is empty
                    packet.stream = streams[packet.stream.index]
                    output.mux(packet)
                if bar is not None:
                    bar.update_absolute(copied)
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):  # a full disk, say
            raise
        raise NotCopied(f"its streams cannot be copied to {file_format}: {error.strerror}") from error


def _container_options(file_format: str) -> dict[str, str]:
    # Else MP4 files keep none but a few tags whose names are known.
    return {"movflags": "use_metadata_tags"} if file_format in ("mp4", "mov") else {}


def _streams_for(container: InputContainer, output: OutputContainer) -> dict[int, Any]:
    """New streams by the index of what is copied into them."""
    import av

    streams = {}
    for stream in container.streams:
        if stream.type not in ("video", "audio") and (
                stream.type != "subtitle" or stream.codec_context.name not in output.supported_codecs):
            continue
        copy = streams[stream.index] = output.add_stream_from_template(stream)
        if stream.type == "video" and stream.disposition & av.stream.Disposition.attached_pic:
            copy.disposition = stream.disposition
    if not streams:
        raise NotMedia("there is neither video nor sound in it")
    return streams
