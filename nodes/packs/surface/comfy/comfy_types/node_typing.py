"""Types for authors of class-attribute nodes: names of types, and what declarations are made of."""

from abc import ABC, abstractmethod
from enum import Enum
from typing import Any, NotRequired, TypedDict


class StrEnum(str, Enum):  # noqa: UP042 - packs look for these two bases
    """Members are texts, and print as such."""

    def __str__(self) -> str:
        return str(self.value)


class IO(StrEnum):
    """Names of types. Two differ unless one of them is `*`, or one union of names holds all of the other."""

    STRING = "STRING"
    IMAGE = "IMAGE"
    MASK = "MASK"
    LATENT = "LATENT"
    BOOLEAN = "BOOLEAN"
    INT = "INT"
    FLOAT = "FLOAT"
    COMBO = "COMBO"
    CONDITIONING = "CONDITIONING"
    SAMPLER = "SAMPLER"
    SIGMAS = "SIGMAS"
    GUIDER = "GUIDER"
    NOISE = "NOISE"
    CLIP = "CLIP"
    CONTROL_NET = "CONTROL_NET"
    VAE = "VAE"
    MODEL = "MODEL"
    LORA_MODEL = "LORA_MODEL"
    LOSS_MAP = "LOSS_MAP"
    CLIP_VISION = "CLIP_VISION"
    CLIP_VISION_OUTPUT = "CLIP_VISION_OUTPUT"
    STYLE_MODEL = "STYLE_MODEL"
    GLIGEN = "GLIGEN"
    UPSCALE_MODEL = "UPSCALE_MODEL"
    AUDIO = "AUDIO"
    WEBCAM = "WEBCAM"
    POINT = "POINT"
    FACE_ANALYSIS = "FACE_ANALYSIS"
    BBOX = "BBOX"
    SEGS = "SEGS"
    VIDEO = "VIDEO"

    ANY = "*"
    """Every type."""
    NUMBER = "FLOAT,INT"
    PRIMITIVE = "STRING,FLOAT,INT,BOOLEAN"

    def __ne__(self, value: object) -> bool:
        if self.value == "*" or value == "*":
            return False
        if not isinstance(value, str):
            return True
        ours, theirs = (set(str(one).split(",")) for one in (self.value, value))
        return not (ours <= theirs or theirs <= ours)

    __hash__ = str.__hash__


class RemoteInputOptions(TypedDict):
    """Where the choices of an input come from."""

    route: str
    refresh_button: NotRequired[bool]
    control_after_refresh: NotRequired[str]
    timeout: NotRequired[int]
    max_retries: NotRequired[int]
    refresh: NotRequired[int]


class MultiSelectOptions(TypedDict):
    """How an input with several choices looks."""

    placeholder: NotRequired[str]
    chip: NotRequired[bool]


class InputTypeOptions(TypedDict):
    """The second part of a declaration of an input."""

    default: NotRequired[Any]
    defaultInput: NotRequired[bool]
    forceInput: NotRequired[bool]
    lazy: NotRequired[bool]
    rawLink: NotRequired[bool]
    tooltip: NotRequired[str]
    socketless: NotRequired[bool]
    widgetType: NotRequired[str]
    min: NotRequired[float]
    max: NotRequired[float]
    step: NotRequired[float]
    round: NotRequired[float]
    label_on: NotRequired[str]
    label_off: NotRequired[str]
    multiline: NotRequired[bool]
    placeholder: NotRequired[str]
    dynamicPrompts: NotRequired[bool]
    image_upload: NotRequired[bool]
    image_folder: NotRequired[str]
    remote: NotRequired[RemoteInputOptions]
    control_after_generate: NotRequired[bool]
    options: NotRequired[list[Any]]
    multi_select: NotRequired[MultiSelectOptions]


class HiddenInputTypeDict(TypedDict):
    """Hidden inputs, by the name of the parameter."""

    node_id: NotRequired[str]
    unique_id: NotRequired[str]
    prompt: NotRequired[str]
    extra_pnginfo: NotRequired[str]
    dynprompt: NotRequired[str]


class InputTypeDict(TypedDict):
    """What `INPUT_TYPES` returns."""

    required: NotRequired[dict[str, tuple[Any, ...]]]
    optional: NotRequired[dict[str, tuple[Any, ...]]]
    hidden: NotRequired[HiddenInputTypeDict]


class ComfyNodeABC(ABC):
    """A base for class-attribute nodes. Says what the attributes are, and adds nothing."""

    DESCRIPTION: str
    CATEGORY: str
    EXPERIMENTAL: bool
    DEPRECATED: bool
    API_NODE: bool | None
    RETURN_TYPES: tuple[Any, ...]
    RETURN_NAMES: tuple[str, ...]
    OUTPUT_IS_LIST: tuple[bool, ...]
    OUTPUT_TOOLTIPS: tuple[str, ...]
    INPUT_IS_LIST: bool
    OUTPUT_NODE: bool
    FUNCTION: str

    @classmethod
    @abstractmethod
    def INPUT_TYPES(cls) -> InputTypeDict:
        """The inputs of the node."""
        return {"required": {}}


class CheckLazyMixin:
    """Has a node take all its lazy inputs, one call of it, as soon as it is asked."""

    def check_lazy_status(self, **kwargs: Any) -> list[str]:
        """Names of the lazy inputs whose values are not there yet."""
        return [name for name, value in kwargs.items() if value is None]


class FileLocator(TypedDict):
    """A file that a node shows."""

    filename: str
    subfolder: str
    type: str
