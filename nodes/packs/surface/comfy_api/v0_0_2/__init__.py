"""The second set of names that stays as it is."""

from comfy_api.latest import ComfyExtension, Input, InputImpl, Types, io, ui
from nodes.packs.schema import api

ComfyAPI = api.ComfyAPI_0_0_2
ComfyAPISync = api.ComfyAPISync_0_0_2

__all__ = ["ComfyAPI", "ComfyAPISync", "ComfyExtension", "Input", "InputImpl", "Types", "io", "ui"]
