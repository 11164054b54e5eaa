"""The types of the contract under its names, and the words that clients are told."""

from __future__ import annotations

from typing import Any

import pytest

from execution import EveryType
from nodes.packs.class_nodes import compile_input, engine_type, output_types
from nodes.packs.schema import io_words as io
from nodes.packs.schema.io_types import TypeName

SPELLED = {
    "Image": "IMAGE", "Mask": "MASK", "Latent": "LATENT", "ControlNet": "CONTROL_NET", "UpscaleModel": "UPSCALE_MODEL",
    "LoraModel": "LORA_MODEL", "LossMap": "LOSS_MAP", "FlowControl": "FLOW_CONTROL", "Load3DCamera": "LOAD3D_CAMERA",
    "Load3D": "LOAD_3D", "AnyType": "*", "Int": "INT", "Float": "FLOAT", "String": "STRING", "Boolean": "BOOLEAN",
    "Combo": "COMBO", "BackgroundRemoval": "BACKGROUND_REMOVAL", "LatentUpscaleModel": "LATENT_UPSCALE_MODEL",
    "Splat": "SPLAT", "File3DAny": "FILE_3D", "Tracks": "TRACKS", "Dict": "DICT", "Array": "ARRAY", "Layers": "LAYERS",
    "Histogram": "HISTOGRAM", "Color": "COLOR", "BoundingBox": "BOUNDING_BOX", "Curve": "CURVE", "Range": "RANGE",
    "MatchType": "COMFY_MATCHTYPE_V3", "SVG": "SVG",
}
"""Those whose word the contract gives."""

NAMED = """
    Conditioning Sampler Sigmas Noise Guider Clip Vae Model ClipVision ClipVisionOutput StyleModel Gligen Audio Video
    Voxel Mesh Hooks HookKeyframes TimestepsRange LatentOperation Accumulation Load3DAnimation Photomaker Point
    FaceAnalysis BBOX SEGS MODEL_PATCH AudioEncoder AudioEncoderOutput WanCameraEmbedding Webcam Load3DModelInfo Colors
    BoundingBoxes ImageCompare VideoEdit ResolutionPreview Compositor CameraInfoState
"""
"""Those that it only names."""

ENDINGS = "GLB GLTF FBX OBJ STL USDZ PLY SPLAT SPZ KSPLAT SPLAT_ANY POINT_CLOUD_ANY"


@pytest.mark.parametrize(("name", "word"), SPELLED.items())
def test_a_type_is_told_to_clients_by_its_word(name: str, word: str) -> None:
    kind: Any = getattr(io, name)
    assert kind.io_type == word
    assert isinstance(kind.io_type, str)


@pytest.mark.parametrize("ending", ENDINGS.split())
def test_a_model_in_space_has_a_type_for_each_kind_of_file(ending: str) -> None:
    words = {getattr(io, name).io_type for name in dir(io) if name.startswith("File3D")}
    assert f"FILE_3D_{ending}" in words


@pytest.mark.parametrize("name", NAMED.split())
def test_a_type_is_there_and_links_to_itself_alone(name: str) -> None:
    kind: Any = getattr(io, name)
    given, taken = kind.Output(), kind.Input("a")
    assert given.io_type == kind.io_type
    word, _ = taken.as_declared()
    assert word == kind.io_type
    assert kind.io_type == kind.io_type.upper()
    assert kind.io_type != "OF_SOMEBODY_ELSE"


def test_no_two_of_them_are_the_same() -> None:
    words = [getattr(io, name).io_type for name in (*SPELLED, *NAMED.split())]
    assert sorted({word for word in words if words.count(word) > 1}) == []


@pytest.mark.parametrize(("enum", "members"), [
    ("Hidden", {"unique_id": "UNIQUE_ID", "prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO",
                "dynprompt": "DYNPROMPT", "auth_token_studio_org": "AUTH_TOKEN_STUDIO_ORG",
                "api_key_studio_org": "API_KEY_STUDIO_ORG", "auth_token_comfy_org": "AUTH_TOKEN_COMFY_ORG",
                "api_key_comfy_org": "API_KEY_COMFY_ORG",
                "comfy_usage_source": "COMFY_USAGE_SOURCE", "execution_list": "EXECUTION_LIST"}),
    ("FolderType", {"input": "input", "output": "output", "temp": "temp"}),
    ("UploadType", {"image": "image_upload", "audio": "audio_upload", "video": "video_upload", "model": "file_upload"}),
    ("NumberDisplay", {"number": "number", "slider": "slider", "gradient_slider": "gradientslider"}),
    ("ControlAfterGenerate", {word: word for word in ("fixed", "increment", "decrement", "randomize")}),
])
def test_constants_are_the_words_that_they_stand_for(enum: str, members: dict[str, str]) -> None:
    assert {name: one.value for name, one in getattr(io, enum).__members__.items()} == members


@pytest.mark.parametrize(("declared", "fits_all"), [
    ("COMFY_MATCHTYPE_V3", True), ("IMAGE, COMFY_MATCHTYPE_V3", True), (TypeName("COMFY_MATCHTYPE_V3"), True),
    ("IMAGE", False), ("COMFY_MATCHTYPE_V3X", False), (["COMFY_MATCHTYPE_V3"], False)])
def test_what_clients_match_by_a_template_fits_every_type(declared: Any, fits_all: bool) -> None:
    taken = engine_type(declared)
    assert isinstance(taken, EveryType) is fits_all
    assert taken == declared, "it is shown under its name"
    spec = compile_input("x", (declared, {}), True)
    assert isinstance(spec.type, EveryType) is fits_all
    assert spec.declared == [declared, {}]


def test_types_of_outputs_stay_in_what_keeps_them_unless_one_fits_every_type() -> None:
    class Endless(tuple[str, ...]):
        """A tuple with an opinion of its own."""

        __slots__ = ()

    declared = Endless(["IMAGE"])
    assert output_types(declared) is declared
    first, second = output_types(("INT", "COMFY_MATCHTYPE_V3"))
    assert (type(first), type(second), second) == (str, EveryType, "COMFY_MATCHTYPE_V3")
