"""Sound: read from files, written to files, and the nodes that do so.

An AUDIO is a dict of `waveform`, float32 [B,C,T] in -1..1, and `sample_rate`, in samples a second.
"""

from __future__ import annotations

import io
import mimetypes
import os
import re
import secrets
import string
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from nodes.environment import environment
from nodes.image_files import file_digest
from nodes.media_streams import (
    WHOLE,
    MediaSource,
    NotMedia,
    Span,
    as_tags,
    counted,
    decoded_frames,
    open_media,
    refuse_beyond_memory,
    saved_values,
)
from nodes.saved_files import BATCH_NUMBER, annotated_path, file_names, is_readable_name, plan_save
from nodes.whole_files import write_new_whole_file

if TYPE_CHECKING:
    import av
    import numpy
    import torch
    from av.container import InputContainer


class Audio(TypedDict):
    waveform: torch.Tensor
    sample_rate: int


# --- decoding --------------------------------------------------------------------------------------------

FULL_SCALE = {"u8": 2**7, "s16": 2**15, "s32": 2**31, "flt": 1, "dbl": 1}
"""What a sample of each type is divided by."""
JUMP = 0.05
"""Seconds. Times of frames that differ less from where the one before ended are rounded, and not a gap."""
LOADED_TYPES = ("s16", "s32", "flt", "dbl")


def decode_audio(source: MediaSource) -> Audio:
    """The first audio stream of a file, waveform [1,C,T].

    :raises NotMedia: it has none, or one without a sample, or with samples of a type that is not loaded.
    """
    with open_media(source) as container:
        if not container.streams.audio:
            raise NotMedia("there is no sound in it")
        kind = _sample_type(container.streams.audio[0].format)
        if kind not in LOADED_TYPES:
            raise NotMedia(f"samples of type {kind} are not loaded; there are {', '.join(LOADED_TYPES)}")
        audio = audio_in(container, reports=True)
    if audio is None:
        raise NotMedia("its audio stream has no samples")
    return audio


def audio_in(container: InputContainer, span: Span = WHOLE, origin: Fraction | None = None,
             reports: bool = False) -> Audio | None:
    """A part of the first audio stream, waveform [1,C,T]; None without one, or if there is no sample in it.

    :param origin: the time of the file, in seconds, that `span` counts from; by default where the sound begins.
    :param reports: tell the node's progress.
    """
    import numpy
    import torch

    sound = sound_in(container, span, origin)
    if sound is None:
        return None
    seconds = max(0, container.duration or 0) // 1_000_000
    chunks = []
    held = 0
    for chunk in counted(sound.chunks, seconds if reports else 0):
        held += chunk.nbytes
        refuse_beyond_memory(2 * held)  # twice, as the chunks are joined at the end
        chunks.append(chunk)
    waveform = torch.from_numpy(numpy.concatenate(chunks, axis=1)).unsqueeze(0)
    return {"waveform": waveform, "sample_rate": sound.sample_rate}


class Sound(NamedTuple):
    """Sound that comes piece by piece."""

    sample_rate: int
    channels: int
    chunks: Iterator[numpy.ndarray]
    """float32 [C,n] each, at least one sample."""


def sound_in(container: InputContainer, span: Span = WHOLE, origin: Fraction | None = None) -> Sound | None:
    """The same, decoded about a second at a time as it is asked for; the file has to stay open."""
    if not container.streams.audio:
        return None
    frames = decoded_frames(container, container.streams.audio[0])
    first = next(frames, None)
    if first is None:
        return None
    # Told by the frame: the stream's own rate is half of it for some kinds of AAC, and may change midway.
    rate = first.sample_rate
    samples = _samples_within(_alike(chain([first], frames)), rate, span, origin)
    chunks = _about_a_second(samples, rate)
    first_chunk = next(chunks, None)
    return None if first_chunk is None else Sound(rate, first_chunk.shape[0], chain([first_chunk], chunks))


def _about_a_second(samples: Iterator[numpy.ndarray], rate: int) -> Iterator[numpy.ndarray]:
    import numpy

    chunk: list[numpy.ndarray] = []
    length = 0
    for part in samples:
        chunk.append(part)
        length += part.shape[1]
        if length >= rate:
            yield numpy.concatenate(chunk, axis=1)
            chunk, length = [], 0
    if chunk:
        yield numpy.concatenate(chunk, axis=1)


def _samples_within(frames: Iterator[av.AudioFrame], rate: int, span: Span,
                    origin: Fraction | None) -> Iterator[numpy.ndarray]:
    begin = round(span.start * rate)
    end = None if span.stop is None else round(span.stop * rate)
    position: int | None = None
    for frame in frames:
        if frame.pts is not None:
            seconds = Fraction(frame.pts * (frame.time_base or 0))
            origin = seconds if origin is None else origin
            told = round((seconds - origin) * rate)
            if position is None or abs(told - position) > JUMP * rate:
                position = told
        position = position or 0
        samples = as_floats(frame)
        if span != WHOLE:
            last = samples.shape[1] if end is None else max(0, end - position)
            if last == 0:
                return
            samples = samples[:, max(0, begin - position) : last]
        position += frame.samples
        if samples.shape[1]:
            yield samples


def _alike(frames: Iterator[av.AudioFrame]) -> Iterator[av.AudioFrame]:
    """All frames with the format, the channels and the rate of the first: joined recordings may change midway."""
    import av

    resampler = first = None
    for frame in frames:
        first = first or frame
        if (frame.format.name, frame.layout.name, frame.sample_rate) == \
                (first.format.name, first.layout.name, first.sample_rate):
            yield frame
            continue
        resampler = resampler or av.AudioResampler(first.format, first.layout, first.sample_rate)
        try:
            yield from resampler.resample(frame)
        except ValueError:  # it changed once more
            resampler = av.AudioResampler(first.format, first.layout, first.sample_rate)
            yield from resampler.resample(frame)


def as_floats(frame: av.AudioFrame) -> numpy.ndarray:
    """The samples of a frame: float32 [C,n] in -1..1. Raises NotMedia for a sample type that is not known."""
    import numpy

    kind = _sample_type(frame.format)
    if kind not in FULL_SCALE:
        raise NotMedia(f"samples of type {kind} cannot be read; there are {', '.join(FULL_SCALE)}")
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    floats = samples.astype(numpy.float32)
    if kind == "u8":
        floats -= 128
    if FULL_SCALE[kind] != 1:
        floats /= FULL_SCALE[kind]
    return floats


def _sample_type(sample_format: av.AudioFormat) -> str:
    """How a sample is stored, whether the channels stand one by one or mixed."""
    return sample_format.name.removesuffix("p")


# --- encoding --------------------------------------------------------------------------------------------


class AudioFile(NamedTuple):
    """How libav names what a format of files needs."""

    container: str
    codec: str
    rates: Sequence[int]
    """Samples a second that the codec knows; empty for any."""


AUDIO_FILES = {
    "flac": AudioFile("flac", "flac", ()),
    "mp3": AudioFile("mp3", "libmp3lame", (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)),
    "opus": AudioFile("opus", "libopus", (8000, 12000, 16000, 24000, 48000)),
}
"""By the extension."""
AAC_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)

LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
OPUS_MOST_PER_CHANNEL = 256_000
"""Bits a second."""


def layout_for(channels: int) -> str:
    """What libav calls so many channels. Raises ValueError for none, or more than it has a name for."""
    if channels not in LAYOUTS:
        raise ValueError(f"sound has 1 to {len(LAYOUTS)} channels, and this one has {channels}")
    return LAYOUTS[channels]


def rate_for(sample_rate: int, known: Sequence[int]) -> int:
    """The rate to encode with: the next higher that the codec knows, or its highest."""
    return next((rate for rate in known if rate >= sample_rate), known[-1]) if known else sample_rate


def checked_audio(audio: Any) -> tuple[torch.Tensor, int]:
    """Waveform, float [B,C,T] on the CPU, and rate of an AUDIO. Raises ValueError, with a sentence, for others."""
    import torch

    waveform = audio.get("waveform") if isinstance(audio, Mapping) else None
    if not isinstance(waveform, torch.Tensor) or waveform.ndim != 3:
        raise ValueError("AUDIO is a dict with a waveform [batch, channels, samples] and a sample_rate")
    sample_rate = int(audio.get("sample_rate") or 0)
    if sample_rate <= 0:
        raise ValueError(f"the sample_rate of an AUDIO must be above 0, and this one is {audio.get('sample_rate')!r}")
    layout_for(waveform.shape[1])
    full_scale = 1 if waveform.is_floating_point() else -torch.iinfo(waveform.dtype).min
    floats = waveform.detach().cpu().float()
    return (floats / full_scale if full_scale > 1 else floats), sample_rate


def audio_frame(samples: numpy.ndarray, sample_rate: int, position: int) -> av.AudioFrame:
    """Samples, float32 [C,n], as what an encoder takes; `position` is that of the first one, in samples."""
    import av
    import numpy

    frame = av.AudioFrame.from_ndarray(numpy.ascontiguousarray(samples), "fltp", layout_for(samples.shape[0]))
    frame.sample_rate, frame.pts, frame.time_base = sample_rate, position, Fraction(1, sample_rate)
    return frame


def resampled(waveform: torch.Tensor, sample_rate: int, new_rate: int, channels: int) -> torch.Tensor:
    """Sound [C,T] with another rate and number of channels, as long as before: float32 [channels, ...]."""
    import av
    import numpy
    import torch

    # One channel becomes several by repeating it: libav would make it softer.
    mixed = waveform.shape[0] if waveform.shape[0] == 1 else channels
    if waveform.shape[1] and (sample_rate, waveform.shape[0]) != (new_rate, mixed):
        resampler = av.AudioResampler("fltp", layout_for(mixed), new_rate)
        parts = [frame.to_ndarray() for start in range(0, waveform.shape[1], sample_rate)
                 for frame in resampler.resample(audio_frame(waveform[:, start : start + sample_rate].numpy(),
                                                             sample_rate, start))]
        parts += [frame.to_ndarray() for frame in resampler.resample(None)]
        waveform = torch.from_numpy(numpy.concatenate(parts, axis=1))
    return waveform.expand(channels, -1)


def _integer_frame(samples: numpy.ndarray, sample_rate: int, position: int) -> av.AudioFrame:
    """The same in 16 bits, rounded here: what was loaded from 16 bits is saved unchanged."""
    import av
    import numpy

    scaled = numpy.rint(numpy.nan_to_num(numpy.clip(samples, -1, 1)) * 2.0**15).clip(-(2**15), 2**15 - 1)
    packed = numpy.ascontiguousarray(scaled.astype(numpy.int16).T).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed, "s16", layout_for(samples.shape[0]))
    frame.sample_rate, frame.pts, frame.time_base = sample_rate, position, Fraction(1, sample_rate)
    return frame


def write_audio(target: str | io.BytesIO, waveform: torch.Tensor, sample_rate: int, tags: Mapping[str, str],
                file_format: str = "flac", quality: str = "128k") -> None:
    """Encode sound, float [C,T], as one file: mono, or stereo for more channels than one.

    :param file_format: `flac` (16 bits, without loss), `mp3` or `opus`; the last two have rates of their own, to
        which other sound is resampled.
    :param quality: bits a second like `128k`, or `V0`, the best with a variable rate, for `mp3`; of no use for `flac`.
    :raises ValueError: an unknown format or quality, or no sound at all.
    """
    import av

    if file_format not in AUDIO_FILES:
        raise ValueError(f"unknown audio format {file_format!r}; there are {', '.join(AUDIO_FILES)}")
    if waveform.shape[-1] == 0:
        raise ValueError("there is no sound to save: it has no samples")
    kind = AUDIO_FILES[file_format]
    options, bit_rate = _quality_options(file_format, quality)
    make_frame = _integer_frame if file_format == "flac" else audio_frame
    layout = "mono" if waveform.shape[0] == 1 else "stereo"
    with av.open(target, "w", format=kind.container) as output:
        output.metadata.update(tags)
        stream = output.add_stream(kind.codec, rate=rate_for(sample_rate, kind.rates), layout=layout, options=options)
        if kind.container == "opus":  # the one container that keeps tags with its stream
            stream.metadata.update(tags)
        if bit_rate is not None:
            most = OPUS_MOST_PER_CHANNEL * min(2, waveform.shape[0]) if file_format == "opus" else bit_rate
            stream.bit_rate = min(bit_rate, most)
        starts = range(0, waveform.shape[1], sample_rate)
        for start in counted(starts, len(starts)):
            samples = waveform[:, start : start + sample_rate].numpy()
            output.mux(stream.encode(make_frame(samples, sample_rate, start)))
        output.mux(stream.encode(None))


def _quality_options(file_format: str, quality: str) -> tuple[dict[str, str], int | None]:
    """Options of the codec, and bits a second."""
    if file_format == "flac":
        return {}, None
    if file_format == "mp3" and quality == "V0":
        return {"flags": "+qscale", "global_quality": "0"}, None
    kilobits = re.fullmatch("([0-9]{1,3})k", quality)
    if not kilobits or not 8 <= int(kilobits[1]) <= 512:
        raise ValueError(f"unknown quality {quality!r}: it is like 128k" + ", or V0" * (file_format == "mp3"))
    return {}, 1000 * int(kilobits[1])


def save_audio(audio: Any, filename_prefix: str, folder_type: str, values: Mapping[str, Any],
               file_format: str = "flac", quality: str = "128k",
               base: str | os.PathLike[str] | None = None) -> list[dict[str, str]]:
    """Write each item of an AUDIO as a file of its own.

    :param folder_type: `output`, `temp` or `input`; `base` is another folder to use in its place.
    :param values: metadata, by name; see `saved_values`.
    :returns: what `ui` shows, an object of `filename`, `subfolder` and `type` for each.
    :raises ValueError: no sound that can be saved, an unknown format, or a prefix that leads out of the folder.
    """
    waveform, sample_rate = checked_audio(audio)
    folder = base or environment.directory_of(folder_type)
    if folder is None:
        raise ValueError(f"unknown folder {folder_type!r}; there are input, output, temp")
    place = plan_save(filename_prefix, folder)
    tags = as_tags(values)
    counter = place.counter
    saved = []
    for index, item in enumerate(waveform):

        def write(path: Path, item: torch.Tensor = item) -> None:
            write_audio(str(path), item, sample_rate, tags, file_format, quality)

        name = place.name.replace(BATCH_NUMBER, str(index))
        file_name, counter = write_new_whole_file(place.folder, name, counter, file_format, write)
        saved.append({"filename": file_name, "subfolder": place.subfolder, "type": folder_type})
        counter += 1
    return saved


def temporary_letters() -> str:
    """`_temp_` and five letters, which keep the previews of two nodes apart."""
    return "_temp_" + "".join(secrets.choice(string.ascii_lowercase) for _ in range(5))


def preview_audio(audio: Any, values: Mapping[str, Any]) -> list[dict[str, str]]:
    """`save_audio` to the temp folder as FLAC, under a name of its own."""
    return save_audio(audio, "ComfyUI" + temporary_letters(), "temp", values)


# --- nodes -----------------------------------------------------------------------------------------------


KINDS_BY_EXTENSION = {
    ".aif": "audio", ".aiff": "audio", ".flac": "audio", ".m4a": "audio", ".oga": "audio", ".ogg": "audio",
    ".opus": "audio", ".weba": "audio", ".wma": "audio",
    ".avi": "video", ".flv": "video", ".m2ts": "video", ".m4v": "video", ".mkv": "video", ".mts": "video",
    ".ogv": "video", ".ts": "video", ".webm": "video", ".wmv": "video",
}  # fmt: skip
"""What Python knows only where the system's tables do, or takes for something else."""


def media_file_names(folder: str | os.PathLike[str], *kinds: str) -> list[str]:
    """Names of the files of a folder whose extension is that of `audio` or `video`, sorted."""
    return [name for name in file_names(folder) if _media_kind(name) in kinds]


def _media_kind(name: str) -> str:
    known = KINDS_BY_EXTENSION.get(os.path.splitext(name)[1].lower())
    return known or (mimetypes.guess_type(name)[0] or "").split("/")[0]


class LoadAudio:
    """The first audio stream of a file of the input folder, be it sound or a video."""

    DESCRIPTION = "Loads the sound of an audio or video file."
    CATEGORY = "audio"
    RETURN_TYPES = ("AUDIO",)
    FUNCTION = "load"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        names = media_file_names(environment.input_directory, "audio", "video")
        return {"required": {"audio": (names, {"audio_upload": True})}}

    def load(self, audio: str) -> tuple[Audio]:
        return (decode_audio(annotated_path(audio)),)

    @classmethod
    def IS_CHANGED(cls, audio: str | None) -> str | float:
        # A linked name is not known yet; NaN equals nothing, so the file is read again.
        return float("nan") if audio is None else file_digest(audio)

    @classmethod
    def VALIDATE_INPUTS(cls, audio: Any) -> bool | str:
        if audio is None:  # linked: known when the node runs
            return True
        return (isinstance(audio, str) and is_readable_name(audio)) or f"Invalid audio file: {audio}"


class SaveAudio:
    """Each item of a batch as a FLAC of 16 bits in the output folder, with prompt and workflow in its comments.

    Packs subclass it and set `output_dir`, `type` and `prefix_append`.
    """

    DESCRIPTION = "Saves sound to the output folder, as FLAC."
    CATEGORY = "audio"
    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "save_flac"
    RESOURCES = {"cpu": 1}

    def __init__(self) -> None:
        self.output_dir = str(environment.output_directory)
        self.type = "output"
        self.prefix_append = ""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {"audio": ("AUDIO",), "filename_prefix": ("STRING", {"default": "audio/ComfyUI"})},
            "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"},
        }

    def save_flac(self, audio: Audio, filename_prefix: str = "ComfyUI", prompt: Any = None,
                  extra_pnginfo: Any = None) -> dict[str, Any]:
        prefix = filename_prefix + self.prefix_append
        values = saved_values(prompt, extra_pnginfo)
        return {"ui": {"audio": save_audio(audio, prefix, self.type, values, base=self.output_dir)}}


class PreviewAudio(SaveAudio):
    """SaveAudio into the temp folder, under letters of its own for each instance."""

    DESCRIPTION = "Plays sound without keeping it."
    # Said again, as the engine heeds only what a class says itself: a pack's subclass may not bear company.
    RESOURCES = {"cpu": 1}

    def __init__(self) -> None:
        super().__init__()
        self.output_dir = str(environment.temp_directory)
        self.type = "temp"
        self.prefix_append = temporary_letters()

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {"audio": ("AUDIO",)},
            "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"},
        }
