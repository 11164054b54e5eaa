"""What nodes show to people (`ui`): pictures, sounds and texts, and the files that these are saved in.

Saving takes its time: an async node does it on a thread (`await asyncio.to_thread(ui.PreviewImage, image, cls=cls)`).
"""

from __future__ import annotations

import secrets
import string
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from nodes.environment import environment

from .widgets import FolderType

TEMP_PREFIX = "ComfyUI_temp_"


class SavedResult(dict[str, Any]):
    """A file that was saved."""

    def __init__(self, filename: str, subfolder: str, type: FolderType | str) -> None:
        super().__init__(filename=filename, subfolder=subfolder, type=str(type))

    @property
    def filename(self) -> str:
        return str(self["filename"])

    @property
    def subfolder(self) -> str:
        return str(self["subfolder"])

    @property
    def type(self) -> FolderType:
        return FolderType(self["type"])


class UIOutput(ABC):
    """Something that a node shows."""

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """Lists by what they are lists of, as clients get them."""


def _hidden_of(cls: Any) -> tuple[Any, Any]:
    """(prompt, extra_pnginfo) that the class of a call knows; without a class nothing goes into files."""
    hidden = getattr(cls, "hidden", None)
    return getattr(hidden, "prompt", None), getattr(hidden, "extra_pnginfo", None)


def _folder(folder_type: FolderType | str) -> str:
    directory = environment.directory_of(str(folder_type))
    if directory is None:
        raise ValueError(f"there is no folder {str(folder_type)!r} to save in")
    return str(directory)


def _batch(images: Any) -> Any:
    """An IMAGE [B,H,W,C]; a single [H,W,C] becomes a batch of one."""
    return images.unsqueeze(0) if images.ndim == 3 else images


def temporary_prefix() -> str:
    return TEMP_PREFIX + "".join(secrets.choice(string.ascii_lowercase) for _ in range(5))


# --- pictures ----------------------------------------------------------------------------------------------


class ImageSaveHelper:
    """Saves images [B,H,W,3 or 4] of floats in 0..1 in the folder of a type. `cls` is the class of the call: the
    prompt and the workflow that it knows go into the files.

    All raise ValueError for other channels, and PathOutsideFolder for a prefix that leads out of the folder.
    """

    @staticmethod
    def save_images(images: Any, filename_prefix: str, folder_type: FolderType | str, cls: Any,
                    compress_level: int = 4) -> list[SavedResult]:
        """Each image as a PNG."""
        from nodes.image_files import SaveImage

        saver = SaveImage()
        saver.output_dir, saver.type = _folder(folder_type), str(folder_type)
        saver.prefix_append, saver.compress_level = "", compress_level
        prompt, extra = _hidden_of(cls)
        return _saved(saver.save_images(_batch(images), filename_prefix, prompt, extra))

    @staticmethod
    def get_save_images_ui(images: Any, filename_prefix: str, cls: Any, compress_level: int = 4) -> SavedImages:
        return SavedImages(ImageSaveHelper.save_images(images, filename_prefix, FolderType.output, cls,
                                                       compress_level))

    @staticmethod
    def save_animated_png(images: Any, filename_prefix: str, folder_type: FolderType | str, cls: Any, fps: float,
                          compress_level: int) -> SavedResult:
        """The batch as one animated PNG."""
        from nodes.animation import SaveAnimatedPNG

        saver = SaveAnimatedPNG()
        saver.output_dir, saver.type, saver.prefix_append = _folder(folder_type), str(folder_type), ""
        prompt, extra = _hidden_of(cls)
        [saved] = _saved(saver.save_images(_batch(images), fps, compress_level, filename_prefix, prompt, extra))
        return saved

    @staticmethod
    def get_save_animated_png_ui(images: Any, filename_prefix: str, cls: Any, fps: float,
                                 compress_level: int) -> SavedImages:
        return SavedImages([ImageSaveHelper.save_animated_png(images, filename_prefix, FolderType.output, cls, fps,
                                                              compress_level)], is_animated=len(images) > 1)

    @staticmethod
    def save_animated_webp(images: Any, filename_prefix: str, folder_type: FolderType | str, cls: Any, fps: float,
                           lossless: bool, quality: int, method: int | str) -> SavedResult:
        """The batch as one animated WebP.

        :param quality: 0 to 100.
        :param method: how hard the encoder tries, 0 to 6, or a word for it. There are three steps; the next one counts.
        """
        from nodes.animation import WEBP_METHODS, webp_bytes, webp_metadata
        from nodes.saved_files import BATCH_NUMBER, plan_save, write_new_file

        images = _batch(images)
        place = plan_save(filename_prefix, _folder(folder_type), images.shape[2], images.shape[1])
        effort = method
        if isinstance(method, int):
            effort = min(WEBP_METHODS, key=lambda one: abs(WEBP_METHODS[one] - method))
        content = webp_bytes(images, fps, webp_metadata(*_hidden_of(cls)), lossless, quality, effort)
        name = place.name.replace(BATCH_NUMBER, "0")
        file_name, _ = write_new_file(place.folder, name, place.counter, "webp", content)
        return SavedResult(file_name, place.subfolder, folder_type)

    @staticmethod
    def get_save_animated_webp_ui(images: Any, filename_prefix: str, cls: Any, fps: float, lossless: bool,
                                  quality: int, method: int | str) -> SavedImages:
        return SavedImages([ImageSaveHelper.save_animated_webp(images, filename_prefix, FolderType.output, cls, fps,
                                                               lossless, quality, method)],
                           is_animated=len(images) > 1)


def _saved(returned: Mapping[str, Any], key: str = "images") -> list[SavedResult]:
    return [SavedResult(**one) for one in returned["ui"][key]]


class SavedImages(UIOutput):
    def __init__(self, results: Sequence[SavedResult], is_animated: bool = False) -> None:
        self.results = list(results)
        self.is_animated = is_animated

    def as_dict(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"images": self.results}
        return {**shown, "animated": (True,)} if self.is_animated else shown


class PreviewImage(UIOutput):
    """Images [B,H,W,3 or 4], saved as PNGs in the temp folder."""

    def __init__(self, image: Any, animated: bool = False, cls: Any = None, **_: Any) -> None:
        self.animated = animated
        self.values = ImageSaveHelper.save_images(image, temporary_prefix(), FolderType.temp, cls, compress_level=1)

    def as_dict(self) -> dict[str, Any]:
        return {"images": self.values, "animated": (self.animated,)}


class PreviewMask(PreviewImage):
    """Masks [B,H,W] or [H,W], shown grey."""

    def __init__(self, mask: Any, animated: bool = False, cls: Any = None, **_: Any) -> None:
        grey = mask.reshape((-1, 1, mask.shape[-2], mask.shape[-1])).movedim(1, -1).expand(-1, -1, -1, 3)
        super().__init__(grey, animated, cls)


class PreviewVideo(UIOutput):
    """Files of videos that were saved before."""

    def __init__(self, values: Sequence[SavedResult | dict[str, Any]], **_: Any) -> None:
        self.values = values

    def as_dict(self) -> dict[str, Any]:
        return {"images": self.values, "animated": (True,)}


# --- sounds ------------------------------------------------------------------------------------------------


class AudioSaveHelper:
    """Saves AUDIO (`waveform` [B,C,T], `sample_rate` in Hz) in the folder of a type, a file for each of the batch.

    :param format: `flac`, `mp3` or `opus`. :param quality: a bit rate such as `128k`, or `V0`; flac has none.
    """

    @staticmethod
    def save_audio(audio: Any, filename_prefix: str, folder_type: FolderType | str, cls: Any, format: str = "flac",
                   quality: str = "128k") -> list[SavedResult]:
        from nodes.audio import save_audio
        from nodes.media_streams import saved_values

        return [SavedResult(**one) for one in save_audio(audio, filename_prefix, str(folder_type),
                                                         saved_values(*_hidden_of(cls)), format, quality)]

    @staticmethod
    def get_save_audio_ui(audio: Any, filename_prefix: str, cls: Any, format: str = "flac",
                          quality: str = "128k") -> SavedAudios:
        return SavedAudios(AudioSaveHelper.save_audio(audio, filename_prefix, FolderType.output, cls, format,
                                                      quality))


class SavedAudios(UIOutput):
    def __init__(self, results: Sequence[SavedResult]) -> None:
        self.results = list(results)

    def as_dict(self) -> dict[str, Any]:
        return {"audio": self.results}


class PreviewAudio(UIOutput):
    """AUDIO, saved as FLAC in the temp folder."""

    def __init__(self, audio: Any, cls: Any = None, **_: Any) -> None:
        self.values = AudioSaveHelper.save_audio(audio, temporary_prefix(), FolderType.temp, cls)

    def as_dict(self) -> dict[str, Any]:
        return {"audio": self.values}


# --- the rest ----------------------------------------------------------------------------------------------


class PreviewUI3D(UIOutput):
    """A file of a 3-D model, and from where it is looked at."""

    def __init__(self, model_file: Any, camera_info: Any, **_: Any) -> None:
        self.model_file = model_file
        self.camera_info = camera_info

    def as_dict(self) -> dict[str, Any]:
        return {"result": [self.model_file, self.camera_info]}


class PreviewText(UIOutput):
    def __init__(self, value: str, **_: Any) -> None:
        self.value = value

    def as_dict(self) -> dict[str, Any]:
        return {"text": (self.value,)}
