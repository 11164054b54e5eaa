"""Nodes that wait: on the loop, or blocking their thread."""

import asyncio
import time

from comfy.utils import ProgressBar


class TestSleep:
    """Waits on the loop, reporting the seconds gone by about every 10 ms."""

    CATEGORY = "Testing/Async"
    RETURN_TYPES = ("*",)
    FUNCTION = "sleep"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "value": ("*", {}),
                "seconds": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 9999.0, "step": 0.01}),
            },
            "hidden": {"unique_id": "UNIQUE_ID"},
        }

    async def sleep(self, value, seconds, unique_id):
        progress = ProgressBar(seconds, node_id=unique_id)
        start = time.perf_counter()
        elapsed = 0.0
        while elapsed < seconds:
            elapsed = time.perf_counter() - start
            progress.update_absolute(elapsed)
            await asyncio.sleep(0.01)
        return (value,)


class ProtoSyncPass:
    """Blocks its thread and never looks up."""

    CATEGORY = "proto"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "block"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "image": ("IMAGE",),
                "seconds": ("FLOAT", {"default": 0.1, "min": 0.0, "max": 60.0, "step": 0.01}),
            }
        }

    def block(self, image, seconds):
        time.sleep(seconds)
        return (image,)


class ProtoSyncSleepOut:
    """Blocks its thread, then shows its tag."""

    CATEGORY = "proto"
    RETURN_TYPES = ()
    FUNCTION = "block"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "seconds": ("FLOAT", {"default": 0.1, "min": 0.0, "max": 60.0, "step": 0.01}),
                "tag": ("STRING", {"default": ""}),
            }
        }

    def block(self, seconds, tag):
        time.sleep(seconds)
        return {"ui": {"text": [tag]}}


NODES = (TestSleep, ProtoSyncPass, ProtoSyncSleepOut)
