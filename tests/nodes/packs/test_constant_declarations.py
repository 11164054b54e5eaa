"""Classes that need not be asked again: which those are, and what makes them one that has to be asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from execution import (
    Engine,
    NodeDefinition,
    NodeInterface,
    NodeRegistry,
    PromptFinished,
    PromptRejected,
    PromptSubmission,
)
from nodes.packs.class_nodes import define_class_node

LARGEST = 7
NAMES = ["a", "b"]
SURPRISING = object()


class _Node:
    RETURN_TYPES: Any = ("INT",)
    FUNCTION = "run"
    OUTPUT_NODE = True
    COMMON = {"required": {"value": ("INT", {"default": 1, "max": LARGEST})}}

    async def run(self, **inputs: Any) -> tuple[int]:
        return (0,)


class Literal(_Node):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        whole = {"default": 1, "min": -(2**53), "max": 2**53}
        return {"required": {"value": ("INT", whole), "word": (["x", "y", "z", "w"], {"default": "x"})},
                "optional": {}}


class OfStaticMethod(_Node):
    @staticmethod
    def INPUT_TYPES() -> dict[str, Any]:
        return {"required": {"value": ("INT",)}}


class WithGlobals(_Node):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"value": ("INT", {"max": LARGEST}), "word": (NAMES,)}}


class WithAttribute(_Node):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return cls.COMMON


class Inheriting(WithAttribute):
    pass


class Calling(_Node):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"value": ("INT", {"max": max(1, 2)})}}


class Branching(_Node):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        if LARGEST:
            return {"required": {}}
        return {}


class Remembering(_Node):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        cls.asked = True
        return {"required": {}}


class LookingInto(_Node):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": NAMES[0]}


class WithObject(_Node):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"value": ("INT", {"default": SURPRISING})}}


class OfGenerator(_Node):
    @classmethod
    def INPUT_TYPES(cls) -> Any:
        yield {}


class ClassOfItsOwn(type):
    pass


class Curious(_Node, metaclass=ClassOfItsOwn):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {}}


class Anything(str):
    def __ne__(self, other: object) -> bool:
        raise AssertionError("a type of a pack was asked on the loop")


class GivingAnything(_Node):
    RETURN_TYPES = (Anything("*"),)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {}}


def _defined(node_class: type) -> tuple[NodeDefinition, Callable[[], NodeInterface | None]]:
    definition = define_class_node(node_class.__name__, node_class, "custom_nodes.test")
    return definition, definition.describe_in_place or (lambda: None)


@pytest.mark.parametrize("node_class", [Literal, OfStaticMethod, WithGlobals, WithAttribute, Inheriting])
def test_what_would_be_answered_again_is_known(node_class: type) -> None:
    definition, in_place = _defined(node_class)
    assert in_place() is None, "nobody has asked it yet"
    interface = definition.describe()
    assert in_place() is interface
    assert interface.spec("value") is not None


@pytest.mark.parametrize("node_class", [
    Calling, Branching, Remembering, LookingInto, WithObject, OfGenerator, Curious, GivingAnything])
def test_whoever_does_more_is_asked_each_time(node_class: type) -> None:
    definition, in_place = _defined(node_class)
    try:
        definition.describe()
    except (AttributeError, TypeError):  # they answer nonsense
        pass
    assert in_place() is None


@pytest.fixture
def module() -> Iterator[dict[str, Any]]:
    names = globals()
    before = dict(names)
    yield names
    names.update(before)


def test_a_global_that_changes_is_noticed(module: dict[str, Any]) -> None:
    definition, in_place = _defined(WithGlobals)
    definition.describe()
    module["LARGEST"] = 8
    assert in_place() is None
    spec = definition.describe().spec("value")
    assert spec is not None
    assert spec.maximum == 8
    assert in_place() is not None


def test_a_value_that_is_changed_in_place_is_noticed() -> None:
    definition, in_place = _defined(WithGlobals)
    definition.describe()
    NAMES.append("c")
    try:
        assert in_place() is None
    finally:
        NAMES.remove("c")
    assert in_place() is None, "it has to be asked again"
    again = definition.describe()
    assert in_place() is again


def test_one_is_not_true(module: dict[str, Any]) -> None:
    definition, in_place = _defined(WithGlobals)
    module["LARGEST"] = 1
    definition.describe()
    module["LARGEST"] = True
    assert in_place() is None


@pytest.mark.parametrize("change", ["attribute", "function", "code", "identity", "order"])
def test_a_class_that_changes_is_noticed(change: str) -> None:
    class Changing(_Node):
        COMMON = {"required": {"value": ("INT",), "other": ("INT",)}}

        @classmethod
        def INPUT_TYPES(cls) -> dict[str, Any]:
            return cls.COMMON

    definition, in_place = _defined(Changing)
    definition.describe()
    assert in_place() is not None
    match change:
        case "attribute":
            Changing.COMMON = {"required": {"other": ("INT",)}}
        case "function":
            Changing.INPUT_TYPES = classmethod(lambda cls: {"required": {}})  # type: ignore[method-assign, assignment]
        case "code":
            Changing.__dict__["INPUT_TYPES"].__func__.__code__ = (lambda cls: {"required": {}}).__code__
        case "identity":
            Changing.NOT_IDEMPOTENT = True  # type: ignore[attr-defined]
        case "order":
            Changing.COMMON = {"required": {"other": ("INT",), "value": ("INT",)}}
    assert in_place() is None
    changed = definition.describe()
    assert in_place() is changed


def test_a_property_of_a_class_is_not_run() -> None:
    class Lazy(_Node):
        @classmethod
        def INPUT_TYPES(cls) -> Any:
            return cls.COMPUTED

        @classmethod
        @property
        def COMPUTED(cls) -> Any:
            return {"required": {}}

    definition, in_place = _defined(Lazy)
    try:
        definition.describe()
    except AttributeError:  # later versions of Python have no such properties
        pass
    assert in_place() is None


def test_what_takes_long_to_compare_is_asked() -> None:
    class Long(_Node):
        COMMON = {"required": {"word": ([f"name {number}" for number in range(3000)],)}}

        @classmethod
        def INPUT_TYPES(cls) -> Any:
            return cls.COMMON

    definition, in_place = _defined(Long)
    definition.describe()
    assert in_place() is None


# -- what the engine makes of it ---------------------------------------------------------------------------------------


async def _run(engine: Engine, prompt: dict[str, Any], is_small: bool) -> None:
    events = engine.subscribe()
    await engine.submit(PromptSubmission(prompt=prompt, is_small=is_small))
    async for event in events:
        if isinstance(event, PromptFinished):
            break
    events.close()


async def test_a_small_prompt_of_known_classes_takes_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = NodeRegistry()
    registry.add(_defined(Literal)[0])
    prompt = {"1": {"class_type": "Literal", "inputs": {"value": 1, "word": "x"}}}
    async with Engine(registry) as engine:
        hops: list[str] = []
        hooks = engine._caller.hooks
        on_lane = hooks.on_validation_lane

        async def counted(function: Any, clock: Any = None) -> Any:
            hops.append(threading.current_thread().name)
            return await on_lane(function, clock)

        monkeypatch.setattr(hooks, "on_validation_lane", counted)
        await _run(engine, prompt, True)  # nobody has asked the class yet
        assert len(hops) == 1
        await _run(engine, prompt, True)
        assert len(hops) == 1
        await _run(engine, prompt, False)
        assert len(hops) == 2


async def test_what_is_wrong_is_found_in_place_too() -> None:
    registry = NodeRegistry()
    definition = _defined(Literal)[0]
    registry.add(definition)
    definition.describe()
    prompt = {"1": {"class_type": "Literal", "inputs": {"value": "no number", "word": "v", "unknown": 1}}}
    async with Engine(registry) as engine:
        found = []
        for is_small in (True, False):
            with pytest.raises(PromptRejected) as refused:
                await engine.submit(PromptSubmission(prompt=dict(prompt), is_small=is_small))
            found.append((refused.value.error, refused.value.node_errors))
    assert found[0] == found[1]
    assert {error["type"] for error in found[0][1]["1"]["errors"]} == {"invalid_input_type", "value_not_in_list"}


async def test_names_that_clients_make_up_are_not_kept() -> None:
    registry = NodeRegistry()
    definition = _defined(Literal)[0]
    registry.add(definition)
    interface = definition.describe()
    async with Engine(registry) as engine:
        for number in range(3):
            await _run(engine, {"1": {"class_type": "Literal", "inputs": {"value": 1, "word": "x", f"u{number}": 1}}},
                       True)
    assert set(interface.specs) <= {"value", "word"}
