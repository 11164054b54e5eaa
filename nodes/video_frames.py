"""The pictures of a video file: which stream they are, when each appears, and how they become images.

Times are in seconds from the first frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from nodes.media_streams import TOLERANCE, NotMedia, Span, counted, decoded_frames, refuse_beyond_memory

if TYPE_CHECKING:
    import av
    import numpy
    import torch
    from av.container import InputContainer
    from av.video.stream import VideoStream

SEEKABLE = {"mov", "matroska"}
"""Formats with an index: after a seek the pictures begin where they were asked for, or before."""


def frames_of(span: Span, frame_rate: Fraction, count: int) -> slice:
    """Which of `count` frames are shown in a span; a frame belongs to the moment at which it appears."""

    def first_at(seconds: float) -> int:
        return min(count, max(0, math.ceil((seconds - TOLERANCE) * frame_rate)))

    return slice(first_at(span.start), count if span.stop is None else first_at(span.stop))


def video_stream(container: InputContainer) -> VideoStream:
    """The first that is no cover picture. Raises NotMedia without any."""
    import av

    cover = av.stream.Disposition.attached_pic
    moving = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not moving:
        raise NotMedia("there is no video in it")
    return moving[0]


def rate_of(stream: VideoStream) -> Fraction:
    return Fraction(stream.average_rate or stream.guessed_rate or 1)


def origin_of(stream: VideoStream) -> Fraction:
    """The time of the first frame, in seconds."""
    return Fraction((stream.start_time or 0) * (stream.time_base or 0))


def seconds_of(container: InputContainer, stream: VideoStream) -> Fraction | None:
    if stream.duration and stream.time_base:
        return Fraction(stream.duration * stream.time_base)
    return Fraction(container.duration, 1_000_000) if container.duration else None


def expected_frames(container: InputContainer, stream: VideoStream, span: Span) -> int:
    """About how many frames a span has; 0 if nobody knows."""
    seconds = seconds_of(container, stream)
    count = stream.frames or (0 if seconds is None else round(seconds * rate_of(stream)))
    kept = frames_of(span, rate_of(stream), count)
    return max(0, kept.stop - kept.start)


class _Clock:
    """Times of frames or packets of a stream, in seconds from its beginning."""

    def __init__(self, stream: VideoStream) -> None:
        self._origin, self._rate, self._base = origin_of(stream), rate_of(stream), stream.time_base
        self._count = 0

    def time_of(self, item: Any) -> Fraction:
        """Of the next one; where a file does not say, counted by the rate."""
        at = self._count / self._rate
        self._count += 1
        return at if item.pts is None else item.pts * (item.time_base or self._base) - self._origin


def frames_in(container: InputContainer, stream: VideoStream, span: Span) -> Iterator[av.VideoFrame]:
    """The frames that appear in a span."""
    clock = _Clock(stream)
    if span.start and stream.time_base and SEEKABLE & set(container.format.name.split(",")):
        container.seek(round((origin_of(stream) + Fraction(span.start)) / stream.time_base), stream=stream)
    for frame in decoded_frames(container, stream):
        time = clock.time_of(frame)
        if span.stop is not None and time >= span.stop - TOLERANCE:
            return
        if time >= span.start - TOLERANCE:
            yield frame


def count_frames(container: InputContainer, stream: VideoStream, span: Span) -> int:
    """How many frames appear in a span, by the packets, without decoding any."""
    from execution import check_interrupted

    clock = _Clock(stream)
    count = 0
    for packet in container.demux(stream):
        check_interrupted()
        if packet.size and not packet.is_discard:
            time = clock.time_of(packet)
            count += time >= span.start - TOLERANCE and (span.stop is None or time < span.stop - TOLERANCE)
    return count


def first_frame(container: InputContainer) -> av.VideoFrame:
    frame = next(decoded_frames(container, video_stream(container)), None)
    if frame is None:
        raise NotMedia("there are no frames in it")
    return frame


def _quarter_turns(frame: av.VideoFrame) -> int:
    """How often the picture has to be turned, counter-clockwise, to be upright: telephones only note it."""
    return round(frame.rotation / 90) % 4


def upright_size(frame: av.VideoFrame) -> tuple[int, int]:
    size = frame.width, frame.height
    return size[::-1] if _quarter_turns(frame) % 2 else size


def _pixels_of(frame: av.VideoFrame, first: av.VideoFrame) -> numpy.ndarray:
    """uint8 [H,W,3], upright, with the size of the first frame."""
    import numpy

    pixels = frame.to_ndarray(format="rgb24", width=first.width, height=first.height)
    turns = _quarter_turns(first)
    return numpy.ascontiguousarray(numpy.rot90(pixels, turns)) if turns else pixels


def upright_picture(frame: av.VideoFrame, first: av.VideoFrame) -> av.VideoFrame:
    """The frame as it is to be encoded, without a way through other colours where it is upright already."""
    import av

    if _quarter_turns(first):
        return av.VideoFrame.from_ndarray(_pixels_of(frame, first), "rgb24")
    return frame.reformat(first.width, first.height, "yuv420p")


def decoded_pictures(container: InputContainer, stream: VideoStream, span: Span) -> list[numpy.ndarray]:
    first = None
    pictures: list[numpy.ndarray] = []
    held = 0
    for frame in counted(frames_in(container, stream, span), expected_frames(container, stream, span)):
        first = first or frame
        pictures.append(_pixels_of(frame, first))
        held += pictures[-1].nbytes
        refuse_beyond_memory(5 * held)  # these bytes, and the same as floats of four bytes
    if not pictures:
        raise NotMedia("there are no frames in it")
    return pictures


def as_images(pictures: list[numpy.ndarray]) -> torch.Tensor:
    """float32 [F,H,W,3]. Empties the list, so that not everything is held twice."""
    import torch

    images = torch.empty((len(pictures), *pictures[0].shape), dtype=torch.float32)
    for index in reversed(range(len(pictures))):
        images[index] = torch.from_numpy(pictures.pop())
    return images.div_(255.0)
