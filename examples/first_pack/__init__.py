"""A pack that shows each kind of node in the fewest lines. Copy it into `custom_nodes/` and change it.

Only TEXT travels between these nodes, so that nothing but the pack itself has to be understood.
"""

import asyncio
import hashlib
import time
from pathlib import Path

from execution import ExecutionBlocker, GraphBuilder, ProgressBar, check_interrupted

TEXT = ("STRING", {"default": "hello"})
COUNT = ("INT", {"default": 3, "min": 1, "max": 1000})
SECONDS = ("FLOAT", {"default": 1.0, "min": 0.0, "max": 60.0, "step": 0.1})


class Shout:
    """A plain node: what it needs, what it gives, and the method that is called. It runs on a thread."""

    CATEGORY, FUNCTION, RETURN_TYPES = "first pack", "run", ("STRING",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"text": TEXT}}

    def run(self, text):
        return (text.upper() + "!",)  # always a tuple, one value for each of RETURN_TYPES


class WaitABit:
    """An async node runs on the server's event loop: while it awaits, everything else goes on."""

    CATEGORY, FUNCTION, RETURN_TYPES = "first pack", "run", ("STRING",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"text": TEXT, "seconds": SECONDS}}

    async def run(self, text, seconds):
        await asyncio.sleep(seconds)
        return (text,)


class CountSlowly:
    """Progress: each update moves the bar of this node, and stops the node if its prompt was interrupted."""

    CATEGORY, FUNCTION, RETURN_TYPES = "first pack", "run", ("INT",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"count": COUNT}}

    def run(self, count):
        progress = ProgressBar(count)
        for _ in range(count):
            time.sleep(0.05)
            progress.update(1)
        return (count,)


class SplitWords:
    """A list output: the nodes behind it are called once for each item."""

    CATEGORY, FUNCTION, RETURN_TYPES = "first pack", "run", ("STRING",)
    OUTPUT_IS_LIST = (True,)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"text": TEXT}}

    def run(self, text):
        return (text.split(),)


class JoinWords:
    """A list input: one call with all items. Then *every* input is a list, constants too."""

    CATEGORY, FUNCTION, RETURN_TYPES = "first pack", "run", ("STRING",)
    INPUT_IS_LIST = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"words": TEXT, "separator": ("STRING", {"default": " "})}}

    def run(self, words, separator):
        return (separator[0].join(words),)


class Choose:
    """Lazy inputs: what is not asked for is not even computed."""

    CATEGORY, FUNCTION, RETURN_TYPES = "first pack", "run", ("STRING",)

    @classmethod
    def INPUT_TYPES(cls):
        lazy = ("STRING", {"lazy": True})
        return {"required": {"first_one": ("BOOLEAN", {"default": True}), "first": lazy, "second": lazy}}

    def check_lazy_status(self, first_one, first=None, second=None):
        return ["first"] if first_one else ["second"]

    def run(self, first_one, first=None, second=None):
        return (first if first_one else second,)


class ShowText:
    """An output node: a prompt runs whatever such a node needs. `ui` goes to the client, always as lists."""

    CATEGORY, FUNCTION, RETURN_TYPES = "first pack", "run", ()
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"text": TEXT}}

    def run(self, text):
        return {"ui": {"text": [text]}}


class ShoutTwice:
    """An expansion: the node is replaced by a graph, whose result is its own."""

    CATEGORY, FUNCTION, RETURN_TYPES = "first pack", "run", ("STRING",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"text": TEXT}}

    def run(self, text):
        graph = GraphBuilder()
        once = graph.node("Shout", text=text)
        twice = graph.node("Shout", text=once.out(0))
        return {"result": (twice.out(0),), "expand": graph.finalize()}


class EvenNumber:
    """Validation: True, or a sentence that the client is shown. Nothing runs before all of them agree."""

    CATEGORY, FUNCTION, RETURN_TYPES = "first pack", "run", ("INT",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"number": COUNT}}

    @classmethod
    def VALIDATE_INPUTS(cls, number):
        return True if number % 2 == 0 else f"{number} is odd"

    def run(self, number):
        return (number,)


class KnownHost:
    """Validation may be async, as may every other hook."""

    CATEGORY, FUNCTION, RETURN_TYPES = "first pack", "run", ("STRING",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"host": ("STRING", {"default": "localhost"})}}

    @classmethod
    async def VALIDATE_INPUTS(cls, host):
        try:
            await asyncio.get_running_loop().getaddrinfo(host, None)
        except OSError:
            return f"no such host: {host}"
        return True

    def run(self, host):
        return (host,)


class ReadTextFile:
    """A change check: the node runs again when what this returns is no longer what it was."""

    CATEGORY, FUNCTION, RETURN_TYPES = "first pack", "run", ("STRING",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"path": ("STRING", {"default": "notes.txt"})}}

    @classmethod
    def IS_CHANGED(cls, path):
        return Path(path).stat().st_mtime_ns

    def run(self, path):
        return (Path(path).read_text(),)


class HashText:
    """Resources: this plain node needs one `cpu` token, so several of its kind may run side by side.

    A plain node that declares nothing needs the only `gpu` token, and runs alone.
    """

    CATEGORY, FUNCTION, RETURN_TYPES = "first pack", "run", ("STRING",)
    RESOURCES = {"cpu": 1}

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"text": TEXT, "rounds": COUNT}}

    def run(self, text, rounds):
        digest = text.encode()
        for _ in range(rounds):
            check_interrupted()  # raises if the prompt was interrupted
            digest = hashlib.sha256(digest).digest()
        return (digest.hex(),)


class HoldTheDoor:
    """Cancellation: an interrupt ends the `await`, and what stands under `finally` still runs."""

    CATEGORY, FUNCTION, RETURN_TYPES = "first pack", "run", ("STRING",)
    doors_open = 0

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"text": TEXT, "seconds": SECONDS}}

    async def run(self, text, seconds):
        HoldTheDoor.doors_open += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            HoldTheDoor.doors_open -= 1
        return (text,)


class OnlyIf:
    """A blocker: what comes after it does not run, and the prompt succeeds all the same."""

    CATEGORY, FUNCTION, RETURN_TYPES = "first pack", "run", ("STRING",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"text": TEXT, "condition": ("BOOLEAN", {"default": True})}}

    def run(self, text, condition):
        return (text if condition else ExecutionBlocker(None),)  # with a message, the client is shown it


NODE_CLASS_MAPPINGS = {
    node.__name__: node
    for node in (
        Shout, WaitABit, CountSlowly, SplitWords, JoinWords, Choose, ShowText, ShoutTwice,
        EvenNumber, KnownHost, ReadTextFile, HashText, HoldTheDoor, OnlyIf,
    )
}
NODE_DISPLAY_NAME_MAPPINGS = {"WaitABit": "Wait a Bit", "OnlyIf": "Only If"}
