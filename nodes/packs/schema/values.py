"""What values of the types are, by the names that packs know: for annotations, and to make some.

torch and libav are imported by the first name that needs them.
"""

from __future__ import annotations

import io
import os
import shutil
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

VIDEO_NAMES = ("VideoInput", "VideoFromFile", "VideoFromComponents", "VideoFromList", "VideoComponents", "VideoCodec",
               "VideoContainer")


class AudioInput(TypedDict):
    """Sound: `waveform` [B,C,T], `sample_rate` in Hz."""

    waveform: Any
    sample_rate: int


class LatentInput(TypedDict):
    """`samples` [B,C,h,w]."""

    samples: Any
    noise_mask: NotRequired[Any]
    batch_index: NotRequired[list[int]]
    type: NotRequired[str]


@dataclass
class VOXEL:
    """`data` [B,D,H,W]."""

    data: Any


@dataclass
class MESH:
    """`vertices` [B,N,3], `faces` [B,M,3]; the rest as far as a mesh has it."""

    vertices: Any
    faces: Any
    uvs: Any = None
    vertex_colors: Any = None
    texture: Any = None


@dataclass
class SPLAT:
    """Gaussians: one row of each tensor for each of them."""

    positions: Any
    scales: Any = None
    rotations: Any = None
    opacities: Any = None
    colors: Any = None


class File3D:
    """A file of a 3-D model, on disk or in memory.

    :param file_format: its extension without a dot; by default that of the path.
    """

    def __init__(self, source: str | os.PathLike[str] | io.BytesIO, file_format: str = "") -> None:
        self.source = source
        extension = "" if isinstance(source, io.BytesIO) else os.path.splitext(os.fspath(source))[1]
        self.format = (file_format or extension).lower().lstrip(".")

    @property
    def is_disk_backed(self) -> bool:
        return not isinstance(self.source, io.BytesIO)

    def get_source(self) -> Any:
        return self.source

    def get_bytes(self) -> bytes:
        """All of it. Reads the file."""
        if isinstance(self.source, io.BytesIO):
            return self.source.getvalue()
        with open(self.source, "rb") as stream:
            return stream.read()

    def get_data(self) -> io.BytesIO:
        return io.BytesIO(self.get_bytes())

    def save_to(self, path: str | os.PathLike[str]) -> str:
        """Write it to a path, which is returned."""
        if isinstance(self.source, io.BytesIO):
            with open(path, "wb") as stream:
                stream.write(self.source.getvalue())
        else:
            shutil.copyfile(self.source, path)
        return os.fspath(path)


def __getattr__(name: str) -> Any:
    if name in ("ImageInput", "MaskInput"):
        import torch

        return torch.Tensor
    if name in VIDEO_NAMES:
        from nodes import video_values

        return getattr(video_values, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Names:
    """Attributes that stand for names of this module, looked up when they are read."""

    def __init__(self, title: str, names: dict[str, str]) -> None:
        self._title = title
        self._names = names

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._names:
            raise AttributeError(f"{self._title} has no {name!r}")
        import importlib

        return getattr(importlib.import_module(__name__), self._names[name])

    def __dir__(self) -> list[str]:
        return sorted(self._names)


Input = _Names("Input", {name: f"{name}Input" for name in ("Image", "Audio", "Mask", "Latent", "Video")})
InputImpl = _Names("InputImpl", {name: name for name in ("VideoFromFile", "VideoFromComponents", "VideoFromList")})
Types = _Names("Types", {name: name for name in ("VideoCodec", "VideoContainer", "VideoComponents", "MESH", "VOXEL",
                                                 "SPLAT", "File3D")})
