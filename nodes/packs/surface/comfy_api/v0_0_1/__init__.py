"""The first set of names that stays as it is: there are no schemas in it."""

from comfy_api.latest import Input, InputImpl, Types
from nodes.packs.schema import api

ComfyAPI = api.ComfyAPI_0_0_1
ComfyAPISync = api.ComfyAPISync_0_0_1

__all__ = ["ComfyAPI", "ComfyAPISync", "Input", "InputImpl", "Types"]
