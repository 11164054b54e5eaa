"""All names of `io` together: what authors write `io.` in front of."""

from . import io_types, widgets
from .dynamic_inputs import (
    Autogrow,
    AutogrowDynamic,
    ComboDynamic,
    DynamicCombo,
    DynamicSlot,
    MatchType,
    MultiType,
    _DynamicGroup,
)
from .io_types import ComfyType, ComfyTypeI, ComfyTypeIO, Custom, Input, Output, WidgetInput, comfytype
from .node_class import ComfyNode
from .schema import DependsOn, Hidden, HiddenHolder, NodeOutput, NodeReplace, PriceBadge, Schema
from .widgets import (
    Boolean,
    Color,
    Combo,
    ControlAfterGenerate,
    Curve,
    Float,
    FolderType,
    Int,
    MultiCombo,
    NumberDisplay,
    RemoteComboOptions,
    RemoteItemSchema,
    RemoteOptions,
    String,
    UploadType,
    Webcam,
)

PriceBadgeDepends = DependsOn

_GENERATED = {**dict(io_types.plain_types()), **dict(widgets.drawn_types())}
globals().update(_GENERATED)

__all__ = [
    "Autogrow",
    "AutogrowDynamic",
    "Boolean",
    "Color",
    "Combo",
    "ComboDynamic",
    "ComfyNode",
    "ComfyType",
    "ComfyTypeI",
    "ComfyTypeIO",
    "ControlAfterGenerate",
    "Curve",
    "Custom",
    "DynamicCombo",
    "DynamicSlot",
    "Float",
    "FolderType",
    "Hidden",
    "HiddenHolder",
    "Input",
    "Int",
    "MatchType",
    "MultiCombo",
    "MultiType",
    "NodeOutput",
    "NodeReplace",
    "NumberDisplay",
    "Output",
    "PriceBadge",
    "PriceBadgeDepends",
    "RemoteComboOptions",
    "RemoteItemSchema",
    "RemoteOptions",
    "Schema",
    "String",
    "UploadType",
    "Webcam",
    "WidgetInput",
    "_DynamicGroup",
    "comfytype",
    *_GENERATED,
]
