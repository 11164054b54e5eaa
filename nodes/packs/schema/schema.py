"""What a node says of itself (`Schema`), and what it returns (`NodeOutput`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from execution import ExecutionBlocker

from .dynamic_inputs import declared_by_category
from .io_types import FlatDeclarations, Input, Output
from .widgets import Word


class Hidden(Word):
    """What a node may know beside its inputs: it is on `cls.hidden` under the same name."""

    unique_id = "UNIQUE_ID"
    prompt = "PROMPT"
    extra_pnginfo = "EXTRA_PNGINFO"
    dynprompt = "DYNPROMPT"
    auth_token_comfy_org = "AUTH_TOKEN_COMFY_ORG"
    api_key_comfy_org = "API_KEY_COMFY_ORG"
    auth_token_studio_org = "AUTH_TOKEN_STUDIO_ORG"
    api_key_studio_org = "API_KEY_STUDIO_ORG"
    comfy_usage_source = "COMFY_USAGE_SOURCE"
    execution_list = "EXECUTION_LIST"


class HiddenHolder:
    """The hidden values of one call. What was not asked for, and any unknown name, reads as None."""

    def __init__(self, values: Mapping[str, Any] | None = None, **named: Any) -> None:
        self.__dict__.update(values or {}, **named)

    @classmethod
    def from_dict(cls, values: Mapping[Any, Any] | None) -> HiddenHolder:
        """:param values: by member of `Hidden`, by its name or by its selector."""
        return cls({_hidden_name(key): value for key, value in (values or {}).items()})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python itself looks for is not hidden, but absent
            raise AttributeError(name)
        return None


def _hidden_name(key: Any) -> str:
    if isinstance(key, Hidden):
        return key.name
    return next((one.name for one in Hidden if one.value == key), str(key))


NO_HIDDEN = HiddenHolder()


class DependsOn:
    """Which inputs a price is computed from."""

    def __init__(self, widgets: Sequence[str] = (), inputs: Sequence[str] = (),
                 input_groups: Sequence[str] = ()) -> None:
        self.widgets = list(widgets)
        self.inputs = list(inputs)
        self.input_groups = list(input_groups)


class PriceBadge:
    """What a run costs, as an expression that clients evaluate."""

    def __init__(self, expr: str, depends_on: DependsOn | None = None, engine: str = "jsonata") -> None:
        self.expr = expr
        self.depends_on = depends_on or DependsOn()
        self.engine = engine

    def as_dict(self, inputs: Sequence[Input]) -> dict[str, Any]:
        """:param inputs: of the node: fields are named with their types."""
        types = {one.id: str(one.get_io_type()) for one in inputs}
        needed = self.depends_on
        return {"engine": self.engine, "expr": self.expr, "depends_on": {
            "widgets": [{"name": name, "type": types.get(name, "*")} for name in needed.widgets],
            "inputs": needed.inputs, "input_groups": needed.input_groups}}


@dataclass
class Schema:
    """All that a node says of itself.

    :param node_id: the name of its class in prompts.
    :param is_input_list: it is called once, with lists.
    :param not_idempotent: two nodes that look alike do not share a result.
    :param enable_expand: it may return a subgraph.
    :param accept_all_inputs: constants that it does not declare are passed, too.
    :param has_intermediate_output: what it shows is kept though it is no output node.
    """

    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    hidden: list[Hidden] = field(default_factory=list)
    description: str = ""
    is_input_list: bool = False
    is_output_node: bool = False
    is_deprecated: bool = False
    is_experimental: bool = False
    is_api_node: bool = False
    not_idempotent: bool = False
    enable_expand: bool = False
    # From here on what came later, so that the places of the others stay.
    search_aliases: list[str] | None = None
    has_intermediate_output: bool = False
    is_dev_only: bool = False
    price_badge: PriceBadge | None = None
    accept_all_inputs: bool = False
    essentials_category: str | None = None
    loop_boundary: str | None = None

    def __post_init__(self) -> None:
        self.inputs = list(self.inputs or ())
        self.outputs = list(self.outputs or ())
        self.hidden = list(self.hidden or ())

    def validate(self) -> None:
        """:raises ValueError: an id occurs twice, or an input can never work."""
        for one in self.inputs:
            one.validate()
        names = [one.id for one in self.all_inputs()]
        outputs = [one.id for one in self.outputs if one.id is not None]
        for what, ids in (("input", names), ("output", outputs)):
            if twice := sorted({one for one in ids if ids.count(one) > 1}):
                raise ValueError(f"ids of {what}s of {self.node_id!r} occur twice: {', '.join(twice)}")
        if both := sorted(set(names) & set(outputs)):
            raise ValueError(f"inputs and outputs of {self.node_id!r} share ids: {', '.join(both)}")

    def finalize(self) -> None:
        """Add what follows from the rest: hidden values that some nodes always get, and ids of outputs."""
        wanted = list(self.hidden)
        if self.is_api_node:
            wanted += [Hidden.auth_token_comfy_org, Hidden.api_key_comfy_org, Hidden.comfy_usage_source]
        if self.is_output_node:
            wanted += [Hidden.prompt, Hidden.extra_pnginfo]
        self.hidden = list(dict.fromkeys(wanted))
        for index, one in enumerate(self.outputs):
            if one.id is None:
                one.id = f"_{index}_{one.get_io_type()}_"

    def all_inputs(self) -> list[Input]:
        """The inputs, those that stand for several plain ones taken apart."""
        return [single for one in self.inputs for single in one.get_all()]

    def flat_declarations(self, given_inputs: Mapping[str, Any]) -> FlatDeclarations:
        """What is declared for a node that is given these inputs, under flat names."""
        found = FlatDeclarations()
        for one in self.all_inputs():
            one.declare_at(one.id, given_inputs, found)
        return found

    def declared_inputs(self, include_hidden: bool = True) -> dict[str, Any]:
        """Inputs by category, as clients read them."""
        found: dict[str, Any] = declared_by_category(self.inputs)
        if self.hidden and include_hidden:
            found["hidden"] = {one.name: (one.value,) for one in self.hidden}
        return found


class NodeOutput:
    """What a node gives out.

    :param args: one value for each output. A single tuple is the value of the first output.
    :param ui: what is shown to people: a dict of lists, or one of the classes of `ui`.
    :param expand: a subgraph that takes the place of the node.
    :param block_execution: nothing is given out, and consumers are told why.
    """

    def __init__(self, *args: Any, ui: Any = None, expand: dict[str, Any] | None = None,
                 block_execution: str | None = None) -> None:
        self.args = args
        self.ui = ui
        self.expand = expand
        self.block_execution = block_execution
        self._blocker: ExecutionBlocker | None = None

    @property
    def result(self) -> tuple[Any, ...] | None:
        return self.args or None

    @property
    def blocker(self) -> ExecutionBlocker | None:
        """What stands in the place of every output."""
        return self._blocker if self.block_execution is None else ExecutionBlocker(self.block_execution)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NodeOutput:
        """From `{result, ui, expand}`, all of which may be absent. A blocker as `result` blocks.

        :raises TypeError: `result` is no tuple or list.
        """
        result, output = data.get("result"), cls(ui=data.get("ui"), expand=data.get("expand"))
        if isinstance(result, ExecutionBlocker):
            output._blocker = result
        elif result is not None and not isinstance(result, (tuple, list)):
            raise TypeError(f"the result of a node is a tuple, not {type(result).__name__}")
        else:
            output.args = tuple(result or ())
        return output

    def __getitem__(self, index: int) -> Any:
        return self.args[index]


@dataclass
class NodeReplace:
    """A class of nodes that took the place of an older one.

    :param input_mapping: entries `{new_id, old_id}` or `{new_id, set_value}`.
    :param output_mapping: entries `{old_idx, new_idx}`.
    """

    new_node_id: str
    old_node_id: str
    old_widget_ids: list[str] | None = None
    input_mapping: list[dict[str, Any]] | None = None
    output_mapping: list[dict[str, Any]] | None = None

    def as_dict(self) -> dict[str, Any]:
        return {"new_node_id": self.new_node_id, "old_node_id": self.old_node_id,
                "old_widget_ids": self.old_widget_ids, "input_mapping": self.input_mapping,
                "output_mapping": self.output_mapping}
