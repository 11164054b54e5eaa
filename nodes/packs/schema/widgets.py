"""Types that clients show a field for: numbers, texts, choices, colours and what is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from enum import Enum, StrEnum
from typing import Any

from .io_types import ComfyTypeIO, WidgetInput, comfytype, given
from .io_types import Output as PlainOutput

DEFAULT_CURVE = {"points": [[0, 0], [1, 1]], "interpolation": "monotone_cubic"}


class Word(StrEnum):
    """A constant that is the text it stands for."""


class FolderType(Word):
    input = "input"
    output = "output"
    temp = "temp"


class UploadType(Word):
    """What an upload button takes; the value is the option that asks for it."""

    image = "image_upload"
    audio = "audio_upload"
    video = "video_upload"
    model = "file_upload"


class NumberDisplay(Word):
    number = "number"
    slider = "slider"
    gradient_slider = "gradientslider"


class ControlAfterGenerate(Word):
    """What clients do to a value after each run."""

    fixed = "fixed"
    increment = "increment"
    decrement = "decrement"
    randomize = "randomize"


class _Options:
    """A group of options of an input; those that are None count as not said."""

    def as_dict(self) -> dict[str, Any]:
        values = {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]
        return given(**{name: value.as_dict() if isinstance(value, _Options) else value
                        for name, value in values.items()})


@dataclass
class RemoteOptions(_Options):
    """Choices that clients fetch from a route. Times are in milliseconds."""

    route: str
    refresh_button: bool
    control_after_refresh: str = "first"
    timeout: int | None = None
    max_retries: int | None = None
    refresh: int | None = None


@dataclass
class RemoteItemSchema(_Options):
    """Where the value and the label are in an item of a route's answer."""

    value_field: str
    label_field: str
    preview_url_field: str | None = None
    preview_type: str | None = None
    description_field: str | None = None
    search_fields: list[str] | None = None


@dataclass
class RemoteComboOptions(_Options):
    """Choices with labels that clients fetch from a route. Times are in milliseconds."""

    route: str
    item_schema: RemoteItemSchema | None = None
    refresh_button: bool | None = None
    auto_select: str | None = None
    timeout: int | None = None
    max_retries: int | None = None
    refresh: int | None = None
    response_key: str | None = None


def _word(value: Any) -> Any:
    """What an enum member stands for."""
    return value.value if isinstance(value, Enum) else value


@comfytype("BOOLEAN")
class Boolean(ComfyTypeIO):
    Type = bool

    class Input(WidgetInput):
        def __init__(self, id: str, display_name: str | None = None, optional: bool = False,
                     tooltip: str | None = None, lazy: bool | None = None, default: bool | None = None,
                     label_on: str | None = None, label_off: str | None = None, socketless: bool | None = None,
                     force_input: bool | None = None, extra_dict: dict[str, Any] | None = None,
                     raw_link: bool | None = None, advanced: bool | None = None) -> None:
            super().__init__(id, display_name, optional, tooltip, lazy, default, socketless, None, force_input,
                             extra_dict, raw_link, advanced)
            self.label_on = label_on
            self.label_off = label_off

        def _own_options(self) -> dict[str, Any]:
            return {**super()._own_options(), **given(label_on=self.label_on, label_off=self.label_off)}


@comfytype("INT")
class Int(ComfyTypeIO):
    Type = int

    class Input(WidgetInput):
        def __init__(self, id: str, display_name: str | None = None, optional: bool = False,
                     tooltip: str | None = None, lazy: bool | None = None, default: int | None = None,
                     min: int | None = None, max: int | None = None, step: int | None = None,
                     control_after_generate: bool | ControlAfterGenerate | None = None,
                     display_mode: NumberDisplay | None = None, socketless: bool | None = None,
                     force_input: bool | None = None, extra_dict: dict[str, Any] | None = None,
                     raw_link: bool | None = None, advanced: bool | None = None) -> None:
            super().__init__(id, display_name, optional, tooltip, lazy, default, socketless, None, force_input,
                             extra_dict, raw_link, advanced)
            self.min = min
            self.max = max
            self.step = step
            self.control_after_generate = control_after_generate
            self.display_mode = display_mode

        def _own_options(self) -> dict[str, Any]:
            return {**super()._own_options(), **given(
                min=self.min, max=self.max, step=self.step,
                control_after_generate=_word(self.control_after_generate), display=_word(self.display_mode))}


@comfytype("FLOAT")
class Float(ComfyTypeIO):
    Type = float

    class Input(WidgetInput):
        def __init__(self, id: str, display_name: str | None = None, optional: bool = False,
                     tooltip: str | None = None, lazy: bool | None = None, default: float | None = None,
                     min: float | None = None, max: float | None = None, step: float | None = None,
                     round: float | bool | None = None, display_mode: NumberDisplay | None = None,
                     gradient_stops: Sequence[Any] | None = None, socketless: bool | None = None,
                     force_input: bool | None = None, extra_dict: dict[str, Any] | None = None,
                     raw_link: bool | None = None, advanced: bool | None = None) -> None:
            super().__init__(id, display_name, optional, tooltip, lazy, default, socketless, None, force_input,
                             extra_dict, raw_link, advanced)
            self.min = min
            self.max = max
            self.step = step
            self.round = round
            self.display_mode = display_mode
            self.gradient_stops = gradient_stops

        def _own_options(self) -> dict[str, Any]:
            return {**super()._own_options(), **given(
                min=self.min, max=self.max, step=self.step, round=self.round, display=_word(self.display_mode),
                gradient_stops=self.gradient_stops)}


@comfytype("STRING")
class String(ComfyTypeIO):
    Type = str

    class Input(WidgetInput):
        def __init__(self, id: str, display_name: str | None = None, optional: bool = False,
                     tooltip: str | None = None, lazy: bool | None = None, multiline: bool = False,
                     placeholder: str | None = None, default: str | None = None,
                     dynamic_prompts: bool | None = None, socketless: bool | None = None,
                     force_input: bool | None = None, extra_dict: dict[str, Any] | None = None,
                     raw_link: bool | None = None, advanced: bool | None = None) -> None:
            super().__init__(id, display_name, optional, tooltip, lazy, default, socketless, None, force_input,
                             extra_dict, raw_link, advanced)
            self.multiline = multiline
            self.placeholder = placeholder
            self.dynamic_prompts = dynamic_prompts

        def _own_options(self) -> dict[str, Any]:
            return {**super()._own_options(), **given(multiline=self.multiline, placeholder=self.placeholder,
                                                      dynamicPrompts=self.dynamic_prompts)}


def _choices(options: type[Enum] | Iterable[Any] | None) -> list[Any] | None:
    """The values of an enum class, or the members of a list with enum members as what they stand for."""
    if options is None:
        return None
    if isinstance(options, type) and issubclass(options, Enum):
        return [member.value for member in options]
    return [_word(one) for one in options]


@comfytype("COMBO")
class Combo(ComfyTypeIO):
    Type = str

    class Input(WidgetInput):
        """One of a list of choices."""

        def __init__(self, id: str, options: type[Enum] | Sequence[Any] | None = None,
                     display_name: str | None = None, optional: bool = False, tooltip: str | None = None,
                     lazy: bool | None = None, default: Any = None,
                     control_after_generate: bool | ControlAfterGenerate | None = None,
                     upload: UploadType | None = None, image_folder: FolderType | None = None,
                     remote: RemoteOptions | None = None, socketless: bool | None = None,
                     extra_dict: dict[str, Any] | None = None, raw_link: bool | None = None,
                     advanced: bool | None = None, remote_combo: RemoteComboOptions | None = None,
                     force_input: bool | None = None) -> None:
            super().__init__(id, display_name, optional, tooltip, lazy, _word(default), socketless, None, force_input,
                             extra_dict, raw_link, advanced)
            if remote_combo is not None and (remote is not None or options is not None):
                raise ValueError(f"combo input {id!r} takes its choices from remote_combo, so it can have neither "
                                 "options nor remote")
            self.multiselect = False
            self.options = _choices(options)
            self.control_after_generate = control_after_generate
            self.upload = upload
            self.image_folder = image_folder
            self.remote = remote
            self.remote_combo = remote_combo

        def _own_options(self) -> dict[str, Any]:
            upload = {} if self.upload is None else {_word(self.upload): True}
            return {**super()._own_options(), **given(
                multiselect=self.multiselect, options=self.options,
                control_after_generate=_word(self.control_after_generate), image_folder=_word(self.image_folder),
                remote=None if self.remote is None else self.remote.as_dict(),
                remote_combo=None if self.remote_combo is None else self.remote_combo.as_dict()), **upload}

    class Output(PlainOutput):
        def __init__(self, id: str | None = None, display_name: str | None = None,
                     options: type[Enum] | Sequence[Any] | None = None, tooltip: str | None = None,
                     is_output_list: bool = False) -> None:
            super().__init__(id, display_name, tooltip, is_output_list)
            self.options = _choices(options) or []


@comfytype("COMBO")
class MultiCombo(ComfyTypeIO):
    Type = list[str]

    class Input(Combo.Input):
        """Any number of a list of choices. In a prompt the list is written as `{"__value__": [...]}`."""

        def __init__(self, id: str, options: type[Enum] | Sequence[Any], display_name: str | None = None,
                     optional: bool = False, tooltip: str | None = None, lazy: bool | None = None,
                     default: list[Any] | None = None, placeholder: str | None = None, chip: bool | None = None,
                     control_after_generate: bool | ControlAfterGenerate | None = None,
                     socketless: bool | None = None, extra_dict: dict[str, Any] | None = None,
                     raw_link: bool | None = None, advanced: bool | None = None,
                     force_input: bool | None = None) -> None:
            super().__init__(id, options, display_name, optional, tooltip, lazy, default, control_after_generate,
                             socketless=socketless, extra_dict=extra_dict, raw_link=raw_link, advanced=advanced,
                             force_input=force_input)
            self.multiselect = True
            self.placeholder = placeholder
            self.chip = chip

        def _own_options(self) -> dict[str, Any]:
            return {**super()._own_options(),
                    "multi_select": given(placeholder=self.placeholder, chip=self.chip)}


class _WithDefault(WidgetInput):
    """A field whose value is plain data: nothing of it is checked here."""

    def __init__(self, id: str, display_name: str | None = None, optional: bool = False, tooltip: str | None = None,
                 lazy: bool | None = None, default: Any = None, socketless: bool | None = None,
                 extra_dict: dict[str, Any] | None = None, raw_link: bool | None = None,
                 advanced: bool | None = None, **options: Any) -> None:
        super().__init__(id, display_name, optional, tooltip, lazy, default, socketless, None,
                         options.pop("force_input", None), extra_dict, raw_link, advanced)
        self._further = options

    def _own_options(self) -> dict[str, Any]:
        return {**super()._own_options(), **given(**self._further)}


@comfytype("WEBCAM")
class Webcam(ComfyTypeIO):
    Type = str
    Input = type("Input", (_WithDefault,), {})


@comfytype("COLOR")
class Color(ComfyTypeIO):
    """`#rrggbb`."""

    Type = str

    class Input(_WithDefault):
        def __init__(self, id: str, *positional: Any, default: str = "#ffffff", **named: Any) -> None:
            super().__init__(id, *positional, default=default, **named)


@comfytype("CURVE")
class Curve(ComfyTypeIO):
    """`{points: [[x, y]], interpolation}`."""

    Type = dict

    class Input(_WithDefault):
        def __init__(self, id: str, *positional: Any, default: dict[str, Any] | None = None, **named: Any) -> None:
            super().__init__(id, *positional, default=DEFAULT_CURVE if default is None else default, **named)


DRAWN_TYPES = {
    "Colors": "COLORS", "BoundingBox": "BOUNDING_BOX", "BoundingBoxes": "BOUNDING_BOXES", "Range": "RANGE",
    "ImageCompare": "IMAGECOMPARE", "VideoEdit": "VIDEO_EDIT", "ResolutionPreview": "RESOLUTION_PREVIEW",
    "Compositor": "COMPOSITOR",
}
"""Types with a field of the client's own, by their name in `io`. Their values are plain data."""


def drawn_types() -> Iterable[tuple[str, Any]]:
    """Each type of DRAWN_TYPES with its name."""
    for name, io_type in DRAWN_TYPES.items():
        members = {"__module__": __name__, "__qualname__": name, "Input": type("Input", (_WithDefault,), {})}
        yield name, comfytype(io_type)(type(name, (ComfyTypeIO,), members))
