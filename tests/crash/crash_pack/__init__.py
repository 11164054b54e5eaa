"""Nodes for a server that is killed: quick and slow, async and plain, one that counts and one that kills."""

import asyncio
import os
import signal
import time
import uuid
from pathlib import Path

FOLDER = Path(os.environ.get("CRASH_FOLDER", "."))


def note(tag):
    """Leave a mark that outlives the process: one file for each call."""
    folder = FOLDER / "calls"
    folder.mkdir(exist_ok=True)
    (folder / f"{tag}.{uuid.uuid4().hex}").touch()


class Node:
    RETURN_TYPES = ("*",)
    FUNCTION = "run"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}, "optional": {"value": ("*", {}), "seconds": ("FLOAT", {"default": 0.0}),
                                             "tag": ("STRING", {"default": ""})}}


class CrashAsync(Node):
    async def run(self, value=None, seconds=0.0, tag=""):
        await asyncio.sleep(seconds)
        return (value,)


class CrashPlain(Node):
    def run(self, value=None, seconds=0.0, tag=""):
        time.sleep(seconds)
        return (value,)


class CrashCount(Node):
    async def run(self, value=None, seconds=0.0, tag=""):
        await asyncio.to_thread(note, tag)
        await asyncio.sleep(seconds)
        return (value,)


class CrashKill(Node):
    """Ends the process as long as the file is there."""

    def run(self, value=None, seconds=0.0, tag=""):
        note(tag)
        time.sleep(seconds)
        if (FOLDER / "kill").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return (value,)


class CrashJudge(Node):
    """Its validator ends the process as long as the file is there, and leaves a mark each time that it is asked."""

    @classmethod
    def VALIDATE_INPUTS(cls, tag):
        note(tag)
        if (FOLDER / "kill").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return True

    def run(self, value=None, seconds=0.0, tag=""):
        return (value,)


class CrashShow(Node):
    OUTPUT_NODE = True

    async def run(self, value=None, seconds=0.0, tag=""):
        return {"ui": {"shown": [str(value)]}, "result": (value,)}


NODE_CLASS_MAPPINGS = {one.__name__: one for one in (CrashAsync, CrashPlain, CrashCount, CrashKill, CrashJudge,
                                                   CrashShow)}
