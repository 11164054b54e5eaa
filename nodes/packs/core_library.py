"""Built-in nodes under the modules and class names by which packs import them as a library.

Nodes that are schema classes there are schema classes under these names, around ours (`core_schemas`): packs call
`execute`, read the schema, and subclass them. The classes are looked up in the catalogue when a module is imported: one
that is not there yet is absent.
"""

import functools
import inspect
from typing import Any

from nodes import CATALOGUE

from .absent_names import ABSENT_BESIDE, names_of
from .core_modules import PLAIN_MODULES, SCHEMA_MODULES
from .not_offered import absent_class

_NOT_HERE = "this server does not have the node yet"


def names_of_module(module: str) -> dict[str, Any]:
    """What a module of CORE_MODULES holds."""
    plain = {name: CATALOGUE.get(name) for name in PLAIN_MODULES.get(module, ())}
    wrapped = {name: library_class(module, name, node)
               for name, node in SCHEMA_MODULES.get(module, {}).items()}
    names = {name: found or absent_class(f"{module}.{name}", _NOT_HERE) for name, found in {**plain, **wrapped}.items()}
    if module == "comfy_extras.nodes_mask":
        from nodes.compositing import composite

        names["composite"] = composite
    if module == "comfy_extras.nodes_latent" and "LatentBatch" not in CATALOGUE:
        names["LatentBatch"] = LatentBatch
    return {**(names_of(module) if module in ABSENT_BESIDE else {}), **names}


def class_mappings() -> dict[str, Any]:
    """All built-in nodes by name as packs look them up: each the same class as in its module."""
    schema = {node: library_class(module, name, node)
              for module, classes in SCHEMA_MODULES.items() for name, node in classes.items()}
    return {name: schema.get(name) or node_class for name, node_class in CATALOGUE.items()}


def is_built_in(node_class: Any) -> bool:
    """Whether a class is one of ours, by whatever name a pack found it."""
    return any(node_class is one for one in (*CATALOGUE.values(), *class_mappings().values()))


@functools.cache
def library_class(module: str, name: str, node_name: str) -> Any:
    """A schema class of a node, which is a subclass of ours, too; None without such a node."""
    node = CATALOGUE.get(node_name)
    if node is None or not inspect.ismethod(getattr(node, node.FUNCTION)):
        return node
    from .core_schemas import members_of
    from .schema.node_class import ComfyNode

    # What is called is still ours, so it needs no more tokens than it says.
    return type(name, (ComfyNode, node), {
        **members_of(node_name, node), "__module__": module, "__doc__": node.__doc__, "RELATIVE_PYTHON_MODULE": module,
        **{key: node.__dict__[key] for key in ("RESOURCES",) if key in node.__dict__}})


class LatentBatch:
    """Two latents as one batch; the second is resized to the first where they differ."""

    RETURN_TYPES = ("LATENT",)
    FUNCTION = "batch"
    CATEGORY = "latent/batch"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"samples1": ("LATENT",), "samples2": ("LATENT",)}}

    def batch(self, samples1: dict[str, Any], samples2: dict[str, Any]) -> tuple[dict[str, Any]]:
        """Latents are dicts with `samples` [B,C,H,W] and perhaps `batch_index`, a number for each item."""
        import torch

        from nodes.resampling import common_upscale

        first, second = samples1["samples"], samples2["samples"]
        if first.shape[1:] != second.shape[1:]:
            second = common_upscale(second, first.shape[-1], first.shape[-2], "bilinear", "center")
        numbers = [number for latent in (samples1, samples2)
                   for number in latent.get("batch_index", range(latent["samples"].shape[0]))]
        return ({**samples1, "samples": torch.cat((first, second)), "batch_index": numbers},)
