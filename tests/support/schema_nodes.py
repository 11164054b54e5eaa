"""Nodes that describe themselves by a schema, in a line or two, and a server that has some."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from nodes.packs.node_definitions import define_node
from nodes.packs.schema import io_words as io
from tests.inference.studio_client import StudioClient, connect
from tests.support.studio import RunningStudio, running_studio

ANY = io.Custom("*")


def any_input(name: str, **options: Any) -> Any:
    return ANY.Input(name, **options)


def schema_node(execute: Callable[..., Any], *, inputs: Sequence[Any] = (), outputs: Sequence[Any] = (),
                validate: Callable[..., Any] | None = None, fingerprint: Callable[..., Any] | None = None,
                lazy_check: Callable[..., Any] | None = None, **schema: Any) -> type:
    """A node class around functions that take `cls` first.

    :param schema: further fields of the schema, `is_output_node=True`, say.
    """
    hooks = {"execute": execute, "validate_inputs": validate, "fingerprint_inputs": fingerprint,
             "check_lazy_status": lazy_check}

    def define_schema(cls: Any) -> Any:
        return io.Schema(node_id=execute.__name__, inputs=list(inputs), outputs=list(outputs), **schema)

    return type(execute.__name__, (io.ComfyNode,), {
        "define_schema": classmethod(define_schema),
        **{name: classmethod(hook) for name, hook in hooks.items() if hook is not None}})


class Shown:
    """What an output node was called with."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    @property
    def values(self) -> list[Any]:
        """The argument `a` of each call."""
        return [call["a"] for call in self.calls]

    def node(self, *inputs: Any, **schema: Any) -> type:
        """An output node that takes these inputs; by default `a`, and perhaps `b`."""
        def show(cls: Any, **values: Any) -> Any:
            self.calls.append(values)
            return io.NodeOutput(ui={"shown": [str(values)]})

        inputs = inputs or (any_input("a"), any_input("b", optional=True))
        return schema_node(show, inputs=inputs, is_output_node=True, **schema)


def source(*values: Any, as_list: bool = False) -> type:
    """A node without inputs that gives these outputs; with `as_list` each is a list to go through."""
    def give(cls: Any) -> Any:
        return io.NodeOutput(*values)

    return schema_node(give, outputs=[ANY.Output(is_output_list=as_list) for _ in values])


def add_nodes(studio: RunningStudio, **classes: type) -> None:
    for name, node_class in classes.items():
        studio.studio.registry.add(define_node(name, node_class, "tests"))


@contextlib.asynccontextmanager
async def studio_with(settings: dict[str, Any] | None = None,
                      **classes: type) -> AsyncIterator[tuple[RunningStudio, StudioClient]]:
    """A server with these nodes, of whatever generation, and a client."""
    async with running_studio(**(settings or {})) as studio, connect(studio.url) as client:
        add_nodes(studio, **classes)
        yield studio, client


def errors_of(refused: dict[str, Any], node_id: str = "1") -> list[tuple[str, str, Any]]:
    """(type, details, input) of each error of a node."""
    return [(error["type"], error["details"], error["extra_info"].get("input_name"))
            for error in refused["node_errors"][node_id]["errors"]]


