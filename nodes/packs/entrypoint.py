"""The other way in which packs offer nodes: a function that returns an extension, which has a list of them."""

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from msgspec import Struct, field

from .pack_reports import PackFailed

ENTRYPOINTS = ("comfy_entrypoint", "studio_entrypoint")


class EntrypointOffer(Struct):
    """What an extension offers."""

    classes: dict[str, Any] = field(default_factory=dict)
    """By the name that prompts use. A class that cannot say its name is here by its own."""
    shown: dict[str, str] = field(default_factory=dict)
    """What a person reads instead, where a class says so."""


async def offered_by_entrypoint(module: ModuleType) -> EntrypointOffer | None:
    """What a module offers through its entrypoint; None if it has none.

    :raises PackFailed: the entrypoint, or what it returns, is not what it should be.
    :raises Exception: what the pack's own code raises.
    """
    for name in ENTRYPOINTS:
        if hasattr(module, name):
            return await _offer_of(name, getattr(module, name))
    return None


async def _offer_of(name: str, entrypoint: Callable[[], Any]) -> EntrypointOffer:
    from .schema.extension import ComfyExtension
    from .schema.node_class import is_schema_node

    if not callable(entrypoint):
        raise PackFailed(f"its {name} is no function but a {type(entrypoint).__name__}")
    extension = entrypoint()
    if inspect.isawaitable(extension):
        extension = await extension
    if not isinstance(extension, ComfyExtension):
        raise PackFailed(f"its {name} returned a {type(extension).__name__}, which is no ComfyExtension")
    await extension.on_load()
    classes = await extension.get_node_list()
    if not isinstance(classes, list):
        raise PackFailed(f"get_node_list of its extension returned a {type(classes).__name__}, which is no list")
    offer = EntrypointOffer()
    for node_class in classes:
        if not is_schema_node(node_class):
            raise PackFailed(f"its extension lists {node_class!r}, which is no node class of this kind")
        _add(offer, node_class)
    return offer


def _add(offer: EntrypointOffer, node_class: Any) -> None:
    try:
        schema = node_class.GET_SCHEMA()
    except Exception:
        # It fails again where it is defined, which costs the pack this one node and tells why.
        offer.classes[node_class.__name__] = node_class
        return
    offer.classes[schema.node_id] = node_class
    if schema.display_name is not None:
        offer.shown[schema.node_id] = schema.display_name
