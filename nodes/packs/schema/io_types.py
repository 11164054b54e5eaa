"""Types of inputs and outputs: `IMAGE`, `INT` … each a class that has an `Input` and an `Output`.

What an input declares here becomes `(type, options)` by `as_declared`, the words that every client reads. Inputs that
stand for several (see `dynamic_inputs`) override the four methods that say what is found under which flat name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

Declared = tuple[Any, dict[str, Any]]
"""A type name and the options of an input."""

Leaf = Callable[[str, Any], Any]
"""What a value under a flat name is handed over as."""

ABSENT = object()
"""Stands for an input that a node was not given."""


class TypeName(str):
    """The name of a type, or several with commas between them. It differs from a name with which it shares none."""

    __slots__ = ()

    def __ne__(self, other: object) -> bool:
        if not isinstance(other, str):
            return True
        mine, others = _members(self), _members(other)
        return not (mine & others or "*" in mine or "*" in others)

    __eq__ = str.__eq__
    __hash__ = str.__hash__


def _members(name: str) -> set[str]:
    return {one.strip() for one in str.split(name, ",")}


def given(**options: Any) -> dict[str, Any]:
    """Options without those that are None: they count as not said."""
    return {name: value for name, value in options.items() if value is not None}


class FlatDeclarations:
    """Inputs under their flat names, as one prompt's node has them."""

    def __init__(self) -> None:
        self.required: dict[str, Declared] = {}
        self.optional: dict[str, Declared] = {}
        self.misfits: list[str] = []
        """Names that no declaration has a place for, though their group is strict about it."""


class Input:
    """One input of a node.

    :param id: its name in prompts and as a parameter.
    :param lazy: its link is followed only when the node asks for it.
    :param extra_dict: further options, shown to clients as they are.
    :param raw_link: the function gets the link instead of the value behind it.
    :param advanced: clients may fold it away.
    """

    Parent: ClassVar[type]
    """The type that it is an input of."""
    is_dynamic = False
    """It stands for several inputs under dotted names."""

    def __init__(self, id: str, display_name: str | None = None, optional: bool = False, tooltip: str | None = None,
                 lazy: bool | None = None, extra_dict: dict[str, Any] | None = None, raw_link: bool | None = None,
                 advanced: bool | None = None) -> None:
        self.id = id
        self.display_name = display_name
        self.optional = optional
        self.tooltip = tooltip
        self.lazy = lazy
        self.extra_dict = extra_dict if extra_dict is not None else {}
        self.rawLink = raw_link
        self.advanced = advanced

    @property
    def io_type(self) -> str:
        kind: str = self.Parent.io_type  # type: ignore[attr-defined]
        return kind

    def get_io_type(self) -> str:
        return self.io_type

    def as_dict(self) -> dict[str, Any]:
        """The options that clients are shown; those that were not given are left out."""
        return {**given(display_name=self.display_name, tooltip=self.tooltip, lazy=self.lazy, rawLink=self.rawLink,
                        advanced=self.advanced), **self._own_options(), **given(**self.extra_dict)}

    def as_declared(self) -> Declared:
        return self.get_io_type(), self.as_dict()

    def get_all(self) -> list[Input]:
        """It and the inputs within it, for whoever walks a schema."""
        return [self]

    def validate(self) -> None:
        """Complain of what can never work.

        :raises ValueError: with a sentence for the author of the node.
        """

    def _own_options(self) -> dict[str, Any]:
        return {}

    # -- flat names -----------------------------------------------------------------------------------------------

    def declare_at(self, path: str, given_inputs: Mapping[str, Any], into: FlatDeclarations,
                   is_needed: bool = True) -> None:
        """Say which flat names stand for this input when a node is given these.

        :param path: the flat name of this input.
        :param is_needed: an optional group around it makes it optional, too.
        """
        part = into.required if is_needed and not self.optional else into.optional
        part[path] = self.as_declared()

    def find(self, path: str, name: str) -> Declared | None:
        """What a flat name may be declared as, whatever else the node is given; None if it is not of this input."""
        return self.as_declared() if name == path else None

    def nested_at(self, path: str, flat: Mapping[str, Any], leaf: Leaf) -> Any:
        """The value as the function gets it, or ABSENT."""
        return leaf(path, flat[path]) if path in flat else ABSENT

    def default_value(self) -> Any:
        """What the schema says for an input that is not given; ABSENT if nothing."""
        return ABSENT


class WidgetInput(Input):
    """An input that clients show a field for.

    :param socketless: it cannot be linked.
    :param force_input: clients show a socket only.
    :param widget_type: the field to show, where it is not the one of the type.
    """

    def __init__(self, id: str, display_name: str | None = None, optional: bool = False, tooltip: str | None = None,
                 lazy: bool | None = None, default: Any = None, socketless: bool | None = None,
                 widget_type: str | None = None, force_input: bool | None = None,
                 extra_dict: dict[str, Any] | None = None, raw_link: bool | None = None,
                 advanced: bool | None = None) -> None:
        super().__init__(id, display_name, optional, tooltip, lazy, extra_dict, raw_link, advanced)
        self.default = default
        self.socketless = socketless
        self.widget_type = widget_type
        self.force_input = force_input

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), **given(forceInput=self.force_input), **given(**self.extra_dict)}

    def _own_options(self) -> dict[str, Any]:
        return given(default=self.default, socketless=self.socketless, widgetType=self.widget_type)

    def default_value(self) -> Any:
        return ABSENT if self.default is None else self.default


class Output:
    """One output of a node.

    :param is_output_list: it gives a list, whose items consumers go through.
    """

    Parent: ClassVar[type]

    def __init__(self, id: str | None = None, display_name: str | None = None, tooltip: str | None = None,
                 is_output_list: bool = False) -> None:
        self.id = id
        self.display_name = display_name
        self.tooltip = tooltip
        self.is_output_list = is_output_list

    @property
    def io_type(self) -> str:
        kind: str = self.Parent.io_type  # type: ignore[attr-defined]
        return kind

    def get_io_type(self) -> str:
        return self.io_type

    @property
    def match_template(self) -> str | None:
        """The id of the template whose type it takes, if there is one."""
        return None


class ComfyType:
    """Base of all types. `Type` is what values are, for type checkers."""

    Type: Any = Any
    io_type: ClassVar[str]
    Input: ClassVar[Any]
    Output: ClassVar[Any]


class ComfyTypeIO(ComfyType):
    """A type whose input and output need nothing of their own."""


class ComfyTypeI(ComfyType):
    """A type that only inputs have."""


def comfytype(io_type: str, **_: Any) -> Callable[[type], type]:
    """Make a type of a class. An `Input` or `Output` that it lacks is added."""

    def make(kind: type) -> type:
        kind.io_type = TypeName(io_type)  # type: ignore[attr-defined]
        for name, base in (("Input", Input), ("Output", Output)):
            own = kind.__dict__.get(name)
            if own is None:
                inherited = getattr(kind, name, base)
                own = type(name, (inherited,), {"__module__": kind.__module__,
                                                "__qualname__": f"{kind.__qualname__}.{name}"})
                setattr(kind, name, own)
            own.Parent = kind
        if not hasattr(kind, "Type"):
            kind.Type = Any  # type: ignore[attr-defined]
        return kind

    return make


def Custom(io_type: str) -> Any:
    """A type of this name with an ordinary input and output."""
    return comfytype(io_type)(type("Custom", (ComfyTypeIO,), {"__module__": __name__}))


PLAIN_TYPES: Mapping[str, str] = {
    "Image": "IMAGE", "Mask": "MASK", "Latent": "LATENT", "Conditioning": "CONDITIONING", "Sampler": "SAMPLER",
    "Sigmas": "SIGMAS", "Noise": "NOISE", "Guider": "GUIDER", "Clip": "CLIP", "ControlNet": "CONTROL_NET",
    "Vae": "VAE", "Model": "MODEL", "ClipVision": "CLIP_VISION", "ClipVisionOutput": "CLIP_VISION_OUTPUT",
    "StyleModel": "STYLE_MODEL", "Gligen": "GLIGEN", "UpscaleModel": "UPSCALE_MODEL", "Audio": "AUDIO",
    "Video": "VIDEO", "SVG": "SVG", "LoraModel": "LORA_MODEL", "LossMap": "LOSS_MAP", "Voxel": "VOXEL",
    "Mesh": "MESH", "Hooks": "HOOKS", "HookKeyframes": "HOOK_KEYFRAMES", "TimestepsRange": "TIMESTEPS_RANGE",
    "LatentOperation": "LATENT_OPERATION", "FlowControl": "FLOW_CONTROL", "Accumulation": "ACCUMULATION",
    "Load3DCamera": "LOAD3D_CAMERA", "Load3D": "LOAD_3D", "Load3DAnimation": "LOAD_3D_ANIMATION",
    "Load3DModelInfo": "LOAD3D_MODEL_INFO", "Photomaker": "PHOTOMAKER", "Point": "POINT",
    "FaceAnalysis": "FACE_ANALYSIS", "BBOX": "BBOX", "SEGS": "SEGS", "AnyType": "*", "MODEL_PATCH": "MODEL_PATCH",
    "AudioEncoder": "AUDIO_ENCODER", "AudioEncoderOutput": "AUDIO_ENCODER_OUTPUT",
    "WanCameraEmbedding": "WAN_CAMERA_EMBEDDING", "BackgroundRemoval": "BACKGROUND_REMOVAL",
    "LatentUpscaleModel": "LATENT_UPSCALE_MODEL", "Splat": "SPLAT", "File3DAny": "FILE_3D",
    "File3DGLB": "FILE_3D_GLB", "File3DGLTF": "FILE_3D_GLTF", "File3DFBX": "FILE_3D_FBX",
    "File3DOBJ": "FILE_3D_OBJ", "File3DSTL": "FILE_3D_STL", "File3DUSDZ": "FILE_3D_USDZ",
    "File3DPLY": "FILE_3D_PLY", "File3DSPLAT": "FILE_3D_SPLAT", "File3DSPZ": "FILE_3D_SPZ",
    "File3DKSPLAT": "FILE_3D_KSPLAT", "File3DSplatAny": "FILE_3D_SPLAT_ANY",
    "File3DPointCloudAny": "FILE_3D_POINT_CLOUD_ANY", "Tracks": "TRACKS", "Dict": "DICT", "Array": "ARRAY",
    "Layers": "LAYERS", "Histogram": "HISTOGRAM", "CameraInfoState": "CAMERA_INFO_STATE",
}
"""Types without a field, by their name in `io`."""


def plain_types() -> Iterator[tuple[str, Any]]:
    """Each type of PLAIN_TYPES with its name."""
    for name, io_type in PLAIN_TYPES.items():
        yield name, comfytype(io_type)(type(name, (ComfyTypeIO,), {"__module__": __name__, "__qualname__": name}))
