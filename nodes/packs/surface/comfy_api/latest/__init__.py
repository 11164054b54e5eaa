"""The newest names for nodes that describe themselves by a schema."""

from nodes.packs.schema.api import ComfyAPI, ComfyAPISync
from nodes.packs.schema.extension import ComfyExtension
from nodes.packs.schema.values import Input, InputImpl, Types

from . import caching as Caching
from . import io, ui

IO = comfy_io = io
UI = ui

__all__ = ["IO", "UI", "Caching", "ComfyAPI", "ComfyAPISync", "ComfyExtension", "Input", "InputImpl", "Types",
           "comfy_io", "io", "ui"]
