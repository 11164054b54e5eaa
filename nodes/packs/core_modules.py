"""Which module a built-in node belongs to for whoever knows ComfyUI's, and of which kind it is there.

Only names: neither importing this nor asking it imports a node.
"""

from collections.abc import Mapping

PLAIN_MODULES: Mapping[str, tuple[str, ...]] = {
    "comfy_extras.nodes_mask": (
        "CropMask", "FeatherMask", "GrowMask", "ImageColorToMask", "ImageCompositeMasked", "ImageToMask", "InvertMask",
        "MaskComposite", "MaskToImage", "SolidMask", "ThresholdMask"),
    "comfy_extras.nodes_images": (
        "GetImageSize", "ImageCrop", "ImageFlip", "ImageFromBatch", "ImageRotate", "ImageStitch", "RepeatImageBatch",
        "ResizeAndPadImage", "SaveAnimatedPNG", "SaveAnimatedWEBP", "SaveSVGNode"),
    "comfy_extras.nodes_audio": ("LoadAudio", "PreviewAudio", "SaveAudio"),
    "comfy_extras.nodes_preview_any": ("PreviewAny",),
}
"""Modules of class-attribute nodes, whose classes have the names of the nodes."""

SCHEMA_MODULES: Mapping[str, Mapping[str, str]] = {
    "comfy_extras.nodes_string": {name: name for name in (
        "CaseConverter", "RegexExtract", "RegexMatch", "RegexReplace", "StringCompare", "StringConcatenate",
        "StringContains", "StringLength", "StringReplace", "StringSubstring", "StringTrim")},
    "comfy_extras.nodes_video": {name: name for name in (
        "CreateVideo", "GetVideoComponents", "LoadVideo", "SaveVideo")},
    "comfy_extras.nodes_post_processing": {
        "Blend": "ImageBlend", "Blur": "ImageBlur", "Quantize": "ImageQuantize",
        "ImageScaleToTotalPixels": "ImageScaleToTotalPixels", "Sharpen": "ImageSharpen"},
    "comfy_extras.nodes_compositing": {name: name for name in (
        "JoinImageWithAlpha", "PorterDuffImageComposite", "SplitImageWithAlpha")},
    "comfy_extras.nodes_primitive": {
        "Boolean": "PrimitiveBoolean", "Float": "PrimitiveFloat", "Int": "PrimitiveInt", "String": "PrimitiveString",
        "StringMultiline": "PrimitiveStringMultiline"},
    "comfy_extras.nodes_rebatch": {"ImageRebatch": "RebatchImages"},
    "comfy_extras.nodes_latent": {"LatentBatch": "LatentBatch"},
}
"""Modules of schema nodes: class name -> name of the node."""

CORE_MODULES = frozenset({*PLAIN_MODULES, *SCHEMA_MODULES})

_PLACES: Mapping[str, str] = {
    node: module for module, nodes in PLAIN_MODULES.items() for node in nodes} | {
    node: module for module, nodes in SCHEMA_MODULES.items() for node in nodes.values()}


def module_of(node: str) -> str:
    """The module that clients are told of a built-in node: `comfy_extras.<file>` or `nodes`."""
    return _PLACES.get(node, "nodes")


def is_schema_node_there(node: str) -> bool:
    """Whether a built-in node describes itself by a schema there. Clients see more keys of such a node."""
    return module_of(node) in SCHEMA_MODULES
