"""What nodes show to people, by the names that packs know."""

from nodes.packs.schema.shown_results import (
    AudioSaveHelper,
    ImageSaveHelper,
    PreviewAudio,
    PreviewImage,
    PreviewMask,
    PreviewText,
    PreviewUI3D,
    PreviewVideo,
    SavedAudios,
    SavedImages,
    SavedResult,
    UIOutput,
)

__all__ = ["AudioSaveHelper", "ImageSaveHelper", "PreviewAudio", "PreviewImage", "PreviewMask", "PreviewText",
           "PreviewUI3D", "PreviewVideo", "SavedAudios", "SavedImages", "SavedResult", "UIOutput"]
