"""Vector graphics as files, and what is written into them."""

import io
import json
from xml.etree import ElementTree

import pytest

from nodes.vector import SVG, SaveSVGNode, with_metadata

DRAWING = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="2">\n<g>\xc3\xa9</g></svg>\n'
METADATA = {"prompt": {"1": {"text": "é ]]> <b>"}}, "workflow": {"a": [[1]]}}


def drawings(*contents):
    return SVG([io.BytesIO(content) for content in contents])


def contents(svg):
    return [drawing.getvalue() for drawing in svg.data]


def save(svg, *arguments, **more):
    return SaveSVGNode().save_svg(svg, *arguments, **more)["ui"]["images"]


def test_values_are_combined_in_order():
    a, b, c = drawings(b"a"), drawings(b"b", b"c"), drawings()
    assert contents(a.combine(b)) == [b"a", b"b", b"c"]
    assert contents(SVG.combine_all([b, c, a])) == [b"b", b"c", b"a"]
    assert contents(SVG.combine_all([])) == []
    assert (contents(a), contents(b)) == ([b"a"], [b"b", b"c"])


def test_without_metadata_the_bytes_are_the_same(folders):
    odd = b"<svg>\xff\xfe not even text"
    svg = drawings(DRAWING, odd)
    svg.data[0].seek(7)
    assert save(svg) == [
        {"filename": "ComfyUI_00001_.svg", "subfolder": "svg", "type": "output"},
        {"filename": "ComfyUI_00002_.svg", "subfolder": "svg", "type": "output"},
    ]
    assert (folders.output_directory / "svg/ComfyUI_00001_.svg").read_bytes() == DRAWING
    assert (folders.output_directory / "svg/ComfyUI_00002_.svg").read_bytes() == odd
    assert svg.data[0].tell() == 7


@pytest.mark.parametrize("save_metadata", [True, False])
def test_metadata_are_an_element_at_the_beginning(folders, save_metadata):
    folders.save_metadata = save_metadata
    save(drawings(DRAWING), "x", METADATA["prompt"], {"workflow": METADATA["workflow"]})
    content = (folders.output_directory / "x_00001_.svg").read_bytes()
    root = ElementTree.fromstring(content)
    assert json.loads(root[0].text) == METADATA
    assert root[0].tag.rpartition("}")[2] == "metadata"
    assert root[1].text == "é"
    start, rest = content.split(b"<![CDATA[")
    text, end = rest.split(b"]]>")
    # But for the end of a section within a text, it is what JSON makes of it.
    assert text.strip().decode() == json.dumps(METADATA, indent=2).replace("]]>", "]]\\u003e")
    assert start.removesuffix(b"\n<metadata>") + end.removeprefix(b"</metadata>") == DRAWING


def test_every_opening_tag_gets_it():
    mark = b"<![CDATA[\n{\n  \"a\": 1\n}\n]]>"
    made = with_metadata(b"<svg><svg\n x='1'/></svg><svgs/><SVG/>< svg>", {"a": 1})
    assert made.count(mark) == 2
    assert made.replace(b"\n<metadata>" + mark + b"</metadata>", b"|") == (
        b"<svg>|<svg\n x='1'/>|</svg><svgs/><SVG/>< svg>"
    )


def test_odd_metadata_never_cost_the_file(folders):
    save(drawings(DRAWING, DRAWING), "x", None, {"thing": {1, }, "日本": "\ud800", 5: "\0"})
    root = ElementTree.fromstring((folders.output_directory / "x_00001_.svg").read_bytes())
    assert json.loads(root[0].text) == {"thing": "{1}", "日本": "\ud800", "5": "\0"}
    save(drawings(DRAWING), "y", None, ["no", "dict"])
    assert (folders.output_directory / "y_00001_.svg").read_bytes() == DRAWING


def test_names_have_no_size_and_count_on(folders):
    for _ in range(2):
        save(drawings(DRAWING, DRAWING), "%width%x%height%-%batch_num%")
    assert sorted(path.name for path in folders.output_directory.iterdir()) == [
        "0x0-0_00001_.svg", "0x0-0_00003_.svg", "0x0-1_00002_.svg", "0x0-1_00004_.svg",
    ]  # fmt: skip


def test_saving_stops_between_drawings_of_an_interrupted_prompt(folders, engine):
    engine.stop_after = 1
    with pytest.raises(engine.Interrupted):
        save(drawings(DRAWING, DRAWING), "x")
    assert [path.name for path in folders.output_directory.iterdir()] == ["x_00001_.svg"]
