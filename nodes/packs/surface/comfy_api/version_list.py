"""The sets of names that there are."""

from nodes.packs.schema import api

supported_versions = [api.ComfyAPI, api.ComfyAPI_0_0_2, api.ComfyAPI_0_0_1]

__all__ = ["supported_versions"]
