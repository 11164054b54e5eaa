"""A node that takes its time to be cancelled."""

import asyncio
import os
import uuid
from pathlib import Path

FOLDER = Path(os.environ.get("CRASH_FOLDER", "."))


def note(tag):
    """Leave a mark that outlives the process: one file for each call."""
    folder = FOLDER / "calls"
    folder.mkdir(exist_ok=True)
    (folder / f"{tag}.{uuid.uuid4().hex}").touch()


class StubbornAsync:
    RETURN_TYPES = ("*",)
    FUNCTION = "run"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"tag": ("STRING", {})}}

    async def run(self, tag):
        await asyncio.to_thread(note, tag)
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(60)


NODE_CLASS_MAPPINGS = {"StubbornAsync": StubbornAsync}
