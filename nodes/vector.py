"""Vector graphics as files."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable
from typing import Any

from nodes.environment import environment
from nodes.saved_files import BATCH_NUMBER, plan_save, saved_metadata, write_new_file

# What lies between is no `<` either, as XML wants it: so a file of nothing but beginnings is read once, not from each.
OPENING_TAG = re.compile(rb"<svg(?=[\s/>])[^<>]*>")


class SVG:
    """What flows under the type `SVG`: `data` is a list of files in memory, of one drawing each."""

    def __init__(self, data: list[io.BytesIO]) -> None:
        self.data = data

    def combine(self, other: SVG) -> SVG:
        """The drawings of both."""
        return SVG(self.data + other.data)

    @staticmethod
    def combine_all(svgs: Iterable[SVG]) -> SVG:
        """The drawings of all, in order."""
        return SVG([drawing for svg in svgs for drawing in svg.data])


def with_metadata(svg: bytes, metadata: dict[str, Any]) -> bytes:
    """The file with a `metadata` element after every opening `svg` tag, that holds JSON; as it is without metadata."""
    if not metadata:
        return svg
    text = json.dumps(metadata, indent=2, default=str)
    # The end of the section may only occur in a text, where JSON has another way to write it.
    section = "<![CDATA[\n" + text.replace("]]>", "]]\\u003e") + "\n]]>"
    element = f"\n<metadata>{section}</metadata>".encode()
    return OPENING_TAG.sub(lambda tag: tag[0] + element, svg)


class SaveSVGNode:
    """Each drawing as a file in the output folder, with prompt and workflow in it, --disable-metadata or not.

    Packs subclass it and set `output_dir`, `type` and `prefix_append`.
    """

    DESCRIPTION = "Saves vector graphics to the output folder."
    CATEGORY = "image/save"
    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "save_svg"
    RESOURCES = {"cpu": 1}

    def __init__(self) -> None:
        self.output_dir = str(environment.output_directory)
        self.type = "output"
        self.prefix_append = ""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {"svg": ("SVG",), "filename_prefix": ("STRING", {"default": "svg/ComfyUI"})},
            "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"},
        }

    def save_svg(
        self, svg: SVG, filename_prefix: str = "svg/ComfyUI", prompt: Any = None, extra_pnginfo: Any = None
    ) -> dict[str, Any]:
        from execution import check_interrupted

        place = plan_save(filename_prefix + self.prefix_append, self.output_dir)
        metadata = saved_metadata(prompt, extra_pnginfo)
        counter = place.counter
        saved = []
        for index, drawing in enumerate(svg.data):
            check_interrupted()
            content = with_metadata(drawing.getvalue(), metadata)
            name = place.name.replace(BATCH_NUMBER, str(index))
            file_name, counter = write_new_file(place.folder, name, counter, "svg", content)
            saved.append({"filename": file_name, "subfolder": place.subfolder, "type": self.type})
            counter += 1
        return {"ui": {"images": saved}}
