"""Two nodes that take their time and write down each of their calls, so that one can see afterwards what was repeated.

The first gives out what a crash should not cost; the second shows how far it is, with previews.
"""

import asyncio
import os

import folder_paths

from execution import ProgressBar

CALLS = "calls.txt"
"""In the output folder: a line for each call, which node and of which picture. Not in the pack's own folder, where each
file counts as code: outputs of other code are not used again."""
STEPS_A_SECOND = 10
SIZE = (320, 240)

NAME = ("STRING", {"default": "a picture"})
SECONDS = ("FLOAT", {"default": 3.0, "min": 0.0, "max": 600.0, "step": 0.1})


def write_down(call: str) -> None:
    """In one write, which outlives the process, however it ends."""
    file = os.open(os.path.join(folder_paths.get_output_directory(), CALLS), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(file, f"{call}\n".encode())
    finally:
        os.close(file)


def painted(colours, share):
    """A PIL picture of SIZE: as much of it as was painted, stripe by stripe."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", SIZE, "#202226")
    draw = ImageDraw.Draw(picture)
    width, height = SIZE
    for stripe, colour in enumerate(colours):
        left, right = (width * each // len(colours) for each in (stripe, stripe + 1))
        end = left + (right - left) * min(max(share * len(colours) - stripe, 0), 1)
        if end > left:
            draw.rectangle((left, 0, end, height), fill=colour)
    return picture


class MixColours:
    """Colours for a picture, as text. Slow, and no output node: just what is worth keeping over a crash."""

    CATEGORY, FUNCTION, RETURN_TYPES = "painting", "mix", ("STRING",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"name": NAME, "seconds": SECONDS}}

    async def mix(self, name, seconds):
        await asyncio.to_thread(write_down, f"mix {name}")
        progress = ProgressBar(100)
        steps = max(1, round(seconds * STEPS_A_SECOND))
        for step in range(steps):
            await asyncio.sleep(seconds / steps)
            progress.update_absolute(100 * (step + 1) / steps)
        hues = (sum(name.encode()) * 29 % 360 + turn for turn in (0, 25, 50, 190, 215))
        return (" ".join(f"hsl({hue % 360},60%,55%)" for hue in hues),)


class PaintPicture:
    """A picture in these colours, with a preview at each step."""

    CATEGORY, FUNCTION, RETURN_TYPES = "painting", "paint", ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"name": NAME, "colours": ("STRING", {"forceInput": True}), "seconds": SECONDS}}

    async def paint(self, name, colours, seconds):
        await asyncio.to_thread(write_down, f"paint {name}")
        progress = ProgressBar(100)
        steps = max(1, round(seconds * STEPS_A_SECOND))
        for step in range(steps):
            await asyncio.sleep(seconds / steps)
            share = (step + 1) / steps
            progress.update_absolute(100 * share, preview=("JPEG", painted(colours.split(), share), None))
        return (await asyncio.to_thread(as_image, painted(colours.split(), 1.0)),)


def as_image(picture):
    """IMAGE: float32, [1, height, width, 3], 0 to 1."""
    import numpy
    import torch

    return torch.from_numpy(numpy.asarray(picture, dtype=numpy.float32) / 255)[None]


NODE_CLASS_MAPPINGS = {"MixColours": MixColours, "PaintPicture": PaintPicture}
NODE_DISPLAY_NAME_MAPPINGS = {"MixColours": "Mix colours", "PaintPicture": "Paint picture"}
