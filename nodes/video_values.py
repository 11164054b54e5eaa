"""What a VIDEO is: pictures, perhaps with sound, in memory or in a file. None is read before somebody asks.

All methods block while they read, decode or encode; inside of a node they tell its progress and stop when its
prompt is cancelled. Packs make these values, and derive their own from `VideoInput`.
"""

from __future__ import annotations

import io
import logging
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, Any

from nodes.audio import Audio, Sound, audio_in, checked_audio, resampled, sound_in
from nodes.media_streams import (
    TOLERANCE,
    WHOLE,
    MediaSource,
    NotMedia,
    Span,
    as_tags,
    counted,
    open_media,
    own_tags,
)
from nodes.video_encoding import NotCopied, Target, copy_packets, encode_mp4
from nodes.video_frames import (
    as_images,
    count_frames,
    decoded_pictures,
    expected_frames,
    first_frame,
    frames_in,
    frames_of,
    origin_of,
    rate_of,
    seconds_of,
    upright_picture,
    upright_size,
    video_stream,
)
from nodes.whole_files import write_whole_file

if TYPE_CHECKING:
    import av
    import torch

logger = logging.getLogger(__name__)

SaveTarget = str | os.PathLike[str] | io.BytesIO


class _Choices(StrEnum):
    @classmethod
    def as_input(cls) -> list[str]:
        """The values, as an input's choices."""
        return [member.value for member in cls]


class VideoContainer(_Choices):
    """In which format a video is saved; AUTO keeps that of a file."""

    AUTO = "auto"
    MP4 = "mp4"

    @classmethod
    def get_extension(cls, value: str | VideoContainer) -> str:
        """Of the file's name, without a dot. Raises ValueError for an unknown container."""
        cls(value)
        return "mp4"


class VideoCodec(_Choices):
    """How the pictures of a saved video are encoded; AUTO keeps what a file has."""

    AUTO = "auto"
    H264 = "h264"


@dataclass
class VideoComponents:
    """A video, decoded."""

    images: torch.Tensor
    """float32 [F,H,W,3], 0 to 1."""
    frame_rate: Fraction
    """Frames a second."""
    audio: Audio | None = None
    metadata: dict[str, Any] | None = None
    """Tags of the file that it comes from, or will be saved to."""


# --- any video -------------------------------------------------------------------------------------------


class VideoInput(ABC):
    """A video. Whoever derives one writes `get_components` and `save_to`; the rest follows from these."""

    @abstractmethod
    def get_components(self) -> VideoComponents:
        """Pictures and sound, decoded."""

    @abstractmethod
    def save_to(self, path: SaveTarget, format: VideoContainer = VideoContainer.AUTO,
                codec: VideoCodec = VideoCodec.AUTO, metadata: Mapping[str, Any] | None = None) -> None:
        """Write it as a file, which is there when it is whole and not before, or into memory.

        :param metadata: values by name, which the file carries as JSON.
        """

    def get_stream_source(self) -> str | io.BytesIO:
        """A file that has it: the path of one that exists, or one in memory."""
        stream = io.BytesIO()
        self.save_to(stream)
        stream.seek(0)
        return stream

    def get_dimensions(self) -> tuple[int, int]:
        """Width and height in pixels."""
        height, width = self.get_components().images.shape[1:3]
        return width, height

    def get_frame_count(self) -> int:
        return len(self.get_components().images)

    def get_frame_rate(self) -> Fraction:
        """Frames a second."""
        return Fraction(self.get_components().frame_rate)

    def get_duration(self) -> float:
        """Seconds."""
        return float(self.get_frame_count() / self.get_frame_rate())

    def get_container_format(self) -> str:
        """libav's name of the format of the file that `get_stream_source` gives."""
        with open_media(self.get_stream_source()) as container:
            return container.format.name

    def as_trimmed(self, start_time: float = 0.0, duration: float = 0.0,
                   strict_duration: bool = False) -> VideoInput | None:
        """A part of it.

        :param start_time: seconds to leave out at the beginning; below 0, seconds to keep at the end.
        :param duration: seconds to keep from there; 0: all the rest.
        :param strict_duration: rather none than a part that is shorter than `duration`.
        :returns: None if nothing is left.
        """
        span = _span_within(self.get_duration(), start_time, duration, strict_duration)
        return None if span is None else self._part(span)

    def _part(self, span: Span) -> VideoInput:
        return VideoFromComponents(_cut(self.get_components(), span))


def _span_within(whole: float, start_time: float | None, duration: float | None, strict: bool) -> Span | None:
    start, wanted = float(start_time or 0.0), float(duration or 0.0)
    if not (math.isfinite(start) and math.isfinite(wanted)) or wanted < 0:
        raise ValueError(f"a video cannot be trimmed to {wanted} seconds from {start}")
    start = max(0.0, whole + start) if start < 0 else start
    if start > whole - TOLERANCE or (strict and wanted > whole - start + TOLERANCE):
        return None
    return Span(start, start + wanted if wanted else None)


def _cut(components: VideoComponents, span: Span) -> VideoComponents:
    rate = Fraction(components.frame_rate)
    kept = frames_of(span, rate, len(components.images))
    audio = components.audio
    if audio is not None:
        samples = slice(round(span.start * audio["sample_rate"]),
                        None if span.stop is None else round(span.stop * audio["sample_rate"]))
        audio = {**audio, "waveform": audio["waveform"][..., samples]}
    return VideoComponents(components.images[kept], rate, audio, components.metadata)


def _tags_to_save(metadata: Mapping[str, Any] | None) -> dict[str, str]:
    return as_tags(metadata or {})


def _write(path: SaveTarget, write: Any) -> None:
    """Have a whole file written: `write` gets a path beside its place, or the memory itself."""
    if isinstance(path, io.BytesIO):
        write(path)
    else:
        write_whole_file(path, lambda part: write(str(part)))


# --- in memory -------------------------------------------------------------------------------------------


class VideoFromComponents(VideoInput):
    """A video of images, a rate and perhaps sound. Nothing is encoded before it is saved."""

    def __init__(self, components: VideoComponents) -> None:
        self._components = components

    def get_components(self) -> VideoComponents:
        return VideoComponents(self._components.images, Fraction(self._components.frame_rate),
                               self._components.audio, self._components.metadata)

    def get_container_format(self) -> str:
        """That of the MP4 file that it will be."""
        return "mov,mp4,m4a,3gp,3g2,mj2"

    def save_to(self, path: SaveTarget, format: VideoContainer = VideoContainer.AUTO,
                codec: VideoCodec = VideoCodec.AUTO, metadata: Mapping[str, Any] | None = None) -> None:
        """Encode it as H.264 and AAC in an MP4 file: there is no other format.

        :raises ValueError: odd sides, images without exactly three channels, or none at all; an unknown format.
        """
        VideoContainer(format), VideoCodec(codec)
        images, rate = self._components.images, Fraction(self._components.frame_rate)
        if images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(f"a video needs images [frames, height, width, 3], and these are {list(images.shape)}")
        height, width = images.shape[1:3]
        kept = {key: value for key, value in (self._components.metadata or {}).items() if isinstance(value, str)}
        made = {key: value for key, value in (self._components.metadata or {}).items() if key not in kept}
        tags = kept | _tags_to_save(made) | _tags_to_save(metadata)

        def encode(target: Target) -> None:
            pictures = counted(map(_picture_of, images), len(images))
            encode_mp4(target, pictures, (width, height), rate, _sound_of(self._components.audio), tags)

        _write(path, encode)

    def _comfy_cache_tensors(self) -> list[Any]:
        """What it holds, for the cache to count."""
        return [self._components.images, self._components.audio]


def _picture_of(image: torch.Tensor) -> av.VideoFrame:
    """An image [H,W,3], as 8 bits, cut off and not rounded."""
    import av

    from nodes.resampling import to_bytes

    return av.VideoFrame.from_ndarray(to_bytes(image.detach()).cpu().contiguous().numpy(), "rgb24")


def _sound_of(audio: Audio | None) -> Sound | None:
    """The first item of an AUDIO."""
    if audio is None:
        return None
    waveform, sample_rate = checked_audio(audio)
    if not len(waveform) or not waveform.shape[-1]:
        return None
    return Sound(sample_rate, waveform.shape[1], iter([waveform[0].numpy()]))


# --- in a file -------------------------------------------------------------------------------------------

COPY_FORMATS = {".avi": "avi", ".m4v": "mp4", ".mkv": "matroska", ".mov": "mov", ".mp4": "mp4", ".webm": "webm"}
"""libav's name of the container, by the extension of a file that packets are copied into."""


class VideoFromFile(VideoInput):
    """A video in a file, or in memory as a file has it; or a part of one."""

    def __init__(self, file: MediaSource, *, start_time: float = 0.0, duration: float = 0.0) -> None:
        """`start_time` and `duration` are in seconds; a duration of 0 means to the end."""
        if not (0 <= start_time < math.inf and 0 <= duration < math.inf):
            raise ValueError(f"a video cannot have {duration} seconds from {start_time}")
        self._file = file if isinstance(file, io.BytesIO) else os.fspath(file)
        self._span = Span(float(start_time), start_time + duration if duration else None)

    def get_stream_source(self) -> str | io.BytesIO:
        if self._span != WHOLE:
            return super().get_stream_source()
        return io.BytesIO(self._file.getvalue()) if isinstance(self._file, io.BytesIO) else self._file

    def get_dimensions(self) -> tuple[int, int]:
        with open_media(self._file) as container:
            return upright_size(first_frame(container))

    def get_frame_rate(self) -> Fraction:
        with open_media(self._file) as container:
            return rate_of(video_stream(container))

    def get_duration(self) -> float:
        with open_media(self._file) as container:
            stream = video_stream(container)
            whole = seconds_of(container, stream)
            if whole is None:
                whole = count_frames(container, stream, WHOLE) / rate_of(stream)
        stop = float(whole) if self._span.stop is None else min(float(whole), self._span.stop)
        return max(0.0, stop - self._span.start)

    def get_frame_count(self) -> int:
        with open_media(self._file) as container:
            stream = video_stream(container)
            # Only there it is the length of a table of frames; the header of an AVI file counts otherwise.
            is_exact = self._span == WHOLE and "mov" in container.format.name.split(",")
            return (stream.frames if is_exact else 0) or count_frames(container, stream, self._span)

    def get_container_format(self) -> str:
        if self._span != WHOLE:
            return super().get_container_format()
        with open_media(self._file) as container:
            return container.format.name

    def _part(self, span: Span) -> VideoInput:
        stops = [] if self._span.stop is None else [self._span.stop]
        stops += [] if span.stop is None else [self._span.start + span.stop]
        part = VideoFromFile(self._file)
        part._span = Span(self._span.start + span.start, min(stops, default=None))
        return part

    def get_components(self) -> VideoComponents:
        """Pictures, upright and all of the size of the first, and the first audio stream.

        :raises NotMedia: it has no video that can be decoded.
        :raises TooLarge: decoded it does not fit into memory.
        """
        with open_media(self._file) as container:
            stream = video_stream(container)
            pictures = decoded_pictures(container, stream, self._span)
            rate, tags, origin = rate_of(stream), own_tags(container), origin_of(stream)
        with open_media(self._file) as container:
            audio = audio_in(container, self._span, origin)
        return VideoComponents(as_images(pictures), rate, audio, tags)

    def save_to(self, path: SaveTarget, format: VideoContainer = VideoContainer.AUTO,
                codec: VideoCodec = VideoCodec.AUTO, metadata: Mapping[str, Any] | None = None) -> None:
        """Copy it as it is where format and codec are what is wanted; else decode and encode it, to MP4.

        Its own metadata stay, unless `metadata` names them again.

        :raises ValueError: it has to be encoded and its sides are odd; an unknown format.
        """
        format, codec = VideoContainer(format), VideoCodec(codec)
        tags = _tags_to_save(metadata)

        def write(target: Target) -> None:
            if self._span == WHOLE and self._copies(target, path, format, codec, tags):
                return
            self._encode(target, tags)

        _write(path, write)

    def _copies(self, target: Target, path: SaveTarget, format: VideoContainer, codec: VideoCodec,
                tags: dict[str, str]) -> bool:
        """Copy its packets, if they are what is wanted and the new file can hold them."""
        with open_media(self._file) as container:
            names = container.format.name.split(",")
            pictures = video_stream(container).codec.canonical_name
            if format.value not in ("auto", *names) or codec.value not in ("auto", pictures):
                return False
            extension = "" if isinstance(path, io.BytesIO) else os.path.splitext(path)[1].lower()
            own = "mp4" if "mp4" in names else names[0]
            try:
                copy_packets(container, target, COPY_FORMATS.get(extension, own), tags)
            except NotCopied as error:
                logger.info("encoded anew: %s", error)
                if isinstance(target, io.BytesIO):
                    target.seek(0)
                    target.truncate()
                return False
            return True

    def _encode(self, target: Target, tags: dict[str, str]) -> None:
        with open_media(self._file) as container, open_media(self._file) as second:
            stream = video_stream(container)
            frames = frames_in(container, stream, self._span)
            first = next(frames, None)
            if first is None:
                raise NotMedia("there are no frames in it")
            size = upright_size(first)
            pictures = (upright_picture(frame, first) for frame in chain([first], frames))
            sound = sound_in(second, self._span, origin_of(stream))
            encode_mp4(target, counted(pictures, expected_frames(container, stream, self._span)), size,
                       rate_of(stream), sound, own_tags(container) | tags)

    def _comfy_cache_tensors(self) -> list[Any]:
        """What it holds, for the cache to count."""
        return [self._file.getvalue()] if isinstance(self._file, io.BytesIO) else []


# --- several ---------------------------------------------------------------------------------------------


class VideoFromList(VideoInput):
    """Videos of one size and rate, one after the other. Parts without sound are silent."""

    def __init__(self, videos: Sequence[VideoInput]) -> None:
        if not videos:
            raise ValueError("a list of videos needs at least one")
        self._videos = list(videos)

    def get_components(self) -> VideoComponents:
        """All frames and all sound. Raises ValueError where sizes or rates differ."""
        import torch

        parts = [video.get_components() for video in self._videos]
        alike = {(tuple(part.images.shape[1:]), Fraction(part.frame_rate)) for part in parts}
        if len(alike) > 1:
            found = ", ".join(sorted(f"{shape[1]}x{shape[0]} at {float(rate):g} fps" for shape, rate in alike))
            raise ValueError(f"videos are joined only if sizes and rates are the same, and there are {found}")
        return VideoComponents(torch.cat([part.images for part in parts]), Fraction(parts[0].frame_rate),
                               _joined_audio(parts), parts[0].metadata)

    def save_to(self, path: SaveTarget, format: VideoContainer = VideoContainer.AUTO,
                codec: VideoCodec = VideoCodec.AUTO, metadata: Mapping[str, Any] | None = None) -> None:
        VideoFromComponents(self.get_components()).save_to(path, format, codec, metadata)

    def get_dimensions(self) -> tuple[int, int]:
        return self._videos[0].get_dimensions()

    def get_frame_count(self) -> int:
        return sum(video.get_frame_count() for video in self._videos)

    def get_frame_rate(self) -> Fraction:
        return self._videos[0].get_frame_rate()

    def get_duration(self) -> float:
        return sum(video.get_duration() for video in self._videos)

    def _comfy_cache_tensors(self) -> list[Any]:
        """What it holds, for the cache to count."""
        return self._videos


def _joined_audio(parts: Sequence[VideoComponents]) -> Audio | None:
    """The sound of each part, cut or filled up to the length of its pictures, with the rate of the first."""
    import torch

    checked = [None if part.audio is None else checked_audio(part.audio) for part in parts]
    heard = [one for one in checked if one is not None and len(one[0])]
    if not heard:
        return None
    rate = heard[0][1]
    channels = max(waveform.shape[1] for waveform, _ in heard)
    joined = []
    frames = position = 0
    for part, one in zip(parts, checked, strict=True):
        frames += len(part.images)
        end = round(rate * frames / Fraction(part.frame_rate))
        space = torch.zeros(channels, end - position)
        if one is not None and len(one[0]):
            sound = resampled(one[0][0], one[1], rate, channels)[:, : end - position]
            space[:, : sound.shape[1]] = sound
        joined.append(space)
        position = end
    return {"waveform": torch.cat(joined, dim=1).unsqueeze(0), "sample_rate": rate}
