"""Nodes that tell how far they are: bars, previews, text."""

import asyncio
import time

from comfy.utils import ProgressBar
from PIL import Image

STEPS = {"default": 3, "min": 0, "max": 10000}


def small_picture():
    return Image.new("RGB", (64, 48), (40, 120, 200))


class ProtoProgress:
    CATEGORY = "proto"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "report"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "steps": ("INT", dict(STEPS))}}

    def report(self, image, steps):
        progress = ProgressBar(steps)
        for _ in range(steps):
            time.sleep(0.05)
            progress.update(1)
        return (image,)


class ProtoPreview:
    CATEGORY = "proto"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "report"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "image": ("IMAGE",),
                "steps": ("INT", dict(STEPS)),
                "fmt": (["JPEG", "PNG"],),
                "limit": ("INT", {"default": 512, "min": 1, "max": 4096}),
            }
        }

    def report(self, image, steps, fmt, limit):
        progress = ProgressBar(steps)
        for step in range(1, steps + 1):
            time.sleep(0.05)
            progress.update_absolute(step, steps, (fmt, small_picture(), limit))
        return (image,)


class ProtoApiPreview:
    """Reports to the progress registry alone: a state and a preview, but no `progress` message."""

    CATEGORY = "proto"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "report"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {"image": ("IMAGE",), "steps": ("INT", dict(STEPS))},
            "hidden": {"unique_id": "UNIQUE_ID"},
        }

    async def report(self, image, steps, unique_id):
        from comfy_execution.progress import get_progress_state

        for step in range(1, steps + 1):
            await asyncio.sleep(0.03)
            get_progress_state().update_progress(unique_id, step, steps, ("JPEG", small_picture(), 512))
        return (image,)


class ProtoText:
    """Sends a line of text for its node, to the prompt's own client or to all sockets."""

    CATEGORY = "proto"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "tell"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "image": ("IMAGE",),
                "text": ("STRING", {"default": "", "multiline": True}),
                "own": ("BOOLEAN", {"default": False}),
            },
            "hidden": {"unique_id": "UNIQUE_ID"},
        }

    def tell(self, image, text, own, unique_id):
        from server import PromptServer

        server = PromptServer.instance
        server.send_progress_text(text, unique_id, server.client_id if own else None)
        return (image,)


NODES = (ProtoProgress, ProtoPreview, ProtoApiPreview, ProtoText)
