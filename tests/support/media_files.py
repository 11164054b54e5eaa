"""Small videos and sounds, written with PyAV alone and with none of our code."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from fractions import Fraction

import av
import numpy

SHADES = 16
"""How far apart, of 255, the grey of two following frames is."""


def grey_frames(count: int, width: int = 32, height: int = 16) -> list[numpy.ndarray]:
    """Frames [H,W,3] that can be told apart after any encoding: frame i is grey of (16 i + 8) modulo 256."""
    return [numpy.full((height, width, 3), (SHADES * index + 8) % 256, numpy.uint8) for index in range(count)]


def frame_numbers(images: Sequence[numpy.ndarray]) -> list[int]:
    """Which of `grey_frames` these are, modulo 16; images are [H,W,3] in 0 to 1."""
    return [round((float(image.mean()) * 255 - 8) / SHADES) % 16 for image in images]


def sine(samples: int, channels: int = 2, rate: int = 44100, pitch: float = 441.0) -> numpy.ndarray:
    """float32 [C,n], half of full scale; every channel half as loud as the one before."""
    wave = 0.5 * numpy.sin(2 * numpy.pi * pitch * numpy.arange(samples) / rate)
    return numpy.stack([wave / 2**channel for channel in range(channels)]).astype(numpy.float32)


def video_file(
    frames: Sequence[numpy.ndarray],
    *,
    sound: numpy.ndarray | None = None,
    rate: Fraction | int = 25,
    sound_rate: int = 44100,
    container: str = "mp4",
    codec: str = "h264",
    sound_codec: str = "aac",
    pixels: str = "yuv420p",
    tags: Mapping[str, str] = {},
    rotation: int = 0,
    options: Mapping[str, str] = {"g": "5"},
    times: Sequence[int] | None = None,
) -> bytes:
    """A file of these frames, and of `sound`, float32 [C,n].

    :param rotation: what a player has to turn it by, in degrees, counter-clockwise.
    :param times: when each frame appears, in frames; by default one after the other.
    """
    stream = io.BytesIO()
    flags = {"movflags": "use_metadata_tags"} if container in ("mp4", "mov") else {}
    with av.open(stream, "w", format=container, container_options=flags) as output:
        output.metadata.update(tags)
        video = output.add_stream(codec, rate=Fraction(rate), options=dict(options))
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = pixels
        if rotation:
            video.set_display_rotation(rotation)
        if sound is not None:
            layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(sound)]
            audio = output.add_stream(sound_codec, rate=sound_rate, layout=layout)
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, "rgb24")
            picture.pts, picture.time_base = index if times is None else times[index], 1 / Fraction(rate)
            output.mux(video.encode(picture))
        output.mux(video.encode(None))
        if sound is not None:
            heard = av.AudioFrame.from_ndarray(numpy.ascontiguousarray(sound), "fltp", layout)
            heard.sample_rate, heard.pts, heard.time_base = sound_rate, 0, Fraction(1, sound_rate)
            output.mux(audio.encode(heard))
            output.mux(audio.encode(None))
    return stream.getvalue()


def sound_file(
    samples: numpy.ndarray, *, rate: int = 44100, container: str = "wav", codec: str = "pcm_s16le", kind: str = "s16"
) -> bytes:
    """A file of samples [C,n], whose dtype is that of `kind`, libav's name of a sample type."""
    stream = io.BytesIO()
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(samples)]
    with av.open(stream, "w", format=container) as output:
        audio = output.add_stream(codec, rate=rate, layout=layout)
        packed = samples if kind.endswith("p") else samples.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(numpy.ascontiguousarray(packed), kind, layout)
        frame.sample_rate = rate
        output.mux(audio.encode(frame))
        output.mux(audio.encode(None))
    return stream.getvalue()


def packets_of(content: bytes) -> list[tuple[str, bytes]]:
    """Kind of stream and bytes of every packet, in each stream's order."""
    with av.open(io.BytesIO(content)) as container:
        packets = [(packet.stream.type, bytes(packet)) for packet in container.demux() if packet.size]
    return sorted(packets, key=lambda packet: packet[0])


def described(content: bytes) -> dict:
    """What a file says of itself: format, codecs, sizes, rates, tags."""
    with av.open(io.BytesIO(content)) as container:
        facts = {"format": container.format.name, "tags": dict(container.metadata)}
        for stream in container.streams.video:
            facts["video"] = (stream.codec.canonical_name, stream.codec_context.pix_fmt, stream.width, stream.height)
            facts["rate"], facts["frames"] = stream.average_rate, stream.frames
        for stream in container.streams.audio:
            facts["audio"] = (stream.codec.canonical_name, stream.rate, stream.layout.name)
        return facts


def decoded_sound(content: bytes) -> numpy.ndarray:
    """Samples as they are stored: [C,n]."""
    with av.open(io.BytesIO(content)) as container:
        frames = list(container.decode(audio=0))
    arrays = [
        frame.to_ndarray() if frame.format.is_planar
        else frame.to_ndarray().reshape(-1, frame.layout.nb_channels).T for frame in frames
    ]  # fmt: skip
    return numpy.concatenate(arrays, axis=1)


def decoded_pictures(content: bytes) -> list[numpy.ndarray]:
    """Frames [H,W,3], uint8."""
    with av.open(io.BytesIO(content)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
