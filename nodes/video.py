"""Nodes of videos: made of images, loaded, taken apart, saved."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nodes.audio import Audio, media_file_names
from nodes.declared_inputs import combo
from nodes.environment import environment
from nodes.media_streams import saved_values
from nodes.saved_files import BATCH_NUMBER, annotated_path, is_readable_name, plan_save
from nodes.video_values import (
    VideoCodec,
    VideoComponents,
    VideoContainer,
    VideoFromComponents,
    VideoFromFile,
    VideoInput,
)
from nodes.whole_files import write_new_whole_file

if TYPE_CHECKING:
    import torch


class CreateVideo:
    """Images and perhaps sound as a VIDEO. Nothing is encoded before it is saved."""

    DESCRIPTION = "Makes a video of images."
    CATEGORY = "image/video"
    RETURN_TYPES = ("VIDEO",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "images": ("IMAGE", {}),
                "fps": ("FLOAT", {"default": 30.0, "min": 1.0, "max": 120.0, "step": 1.0}),
            },
            "optional": {"audio": ("AUDIO", {})},
        }

    @classmethod
    def execute(cls, images: torch.Tensor, fps: float, audio: Audio | None = None) -> tuple[VideoInput]:
        return (VideoFromComponents(VideoComponents(images, Fraction(fps), audio)),)


class LoadVideo:
    """A file of the input folder as a VIDEO, which is decoded only where its frames are asked for."""

    DESCRIPTION = "Loads a video file."
    CATEGORY = "image/video"
    RETURN_TYPES = ("VIDEO",)
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        names = media_file_names(environment.input_directory, "video")
        return {"required": {"file": combo(names, video_upload=True)}}

    @classmethod
    def execute(cls, file: str) -> tuple[VideoInput]:
        return (VideoFromFile(annotated_path(file)),)

    @classmethod
    def IS_CHANGED(cls, file: str | None) -> float:
        # A linked name is not known yet; NaN equals nothing, so the file is read again.
        return float("nan") if file is None else annotated_path(file).stat().st_mtime

    @classmethod
    def VALIDATE_INPUTS(cls, file: Any) -> bool | str:
        if file is None:  # linked: known when the node runs
            return True
        return (isinstance(file, str) and is_readable_name(file)) or f"Invalid video file: {file}"


class GetVideoComponents:
    """Images, sound (or None) and frames a second of a VIDEO."""

    DESCRIPTION = "Takes a video apart: its images, its sound and its frame rate."
    CATEGORY = "image/video"
    RETURN_TYPES = ("IMAGE", "AUDIO", "FLOAT")
    RETURN_NAMES = ("images", "audio", "fps")
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"video": ("VIDEO", {})}}

    @classmethod
    def execute(cls, video: VideoInput) -> tuple[torch.Tensor, Audio | None, float]:
        components = video.get_components()
        return components.images, components.audio, float(components.frame_rate)


class SaveVideo:
    """A VIDEO as a file in the output folder, with workflow and prompt in its tags; see `VideoInput.save_to`."""

    DESCRIPTION = "Saves a video to the output folder."
    CATEGORY = "image/video"
    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "execute"
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "video": ("VIDEO", {}),
                "filename_prefix": ("STRING", {"default": "video/ComfyUI", "multiline": False}),
                "format": combo(VideoContainer.as_input(), default="auto"),
                "codec": combo(VideoCodec.as_input(), default="auto"),
            },
            "hidden": {"prompt": ("PROMPT",), "extra_pnginfo": ("EXTRA_PNGINFO",)},
        }

    @classmethod
    def execute(cls, video: VideoInput, filename_prefix: str, format: str = "auto", codec: str = "auto",
                prompt: Any = None, extra_pnginfo: Any = None) -> dict[str, Any]:
        extension = VideoContainer.get_extension(format)
        width, height = video.get_dimensions()
        place = plan_save(filename_prefix, environment.output_directory, width, height)
        values = saved_values(prompt, extra_pnginfo)
        if "prompt" in values:
            values["prompt"] = values.pop("prompt")  # it comes last in a video

        def write(path: Path) -> None:
            video.save_to(str(path), format=VideoContainer(format), codec=VideoCodec(codec), metadata=values or None)

        name = place.name.replace(BATCH_NUMBER, "0")
        file_name, _ = write_new_whole_file(place.folder, name, place.counter, extension, write)
        saved = {"filename": file_name, "subfolder": place.subfolder, "type": "output"}
        return {"ui": {"images": [saved], "animated": (True,)}}
