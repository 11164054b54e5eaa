"""A node class of either generation, turned into the one `NodeDefinition` that the engine knows."""

from typing import Any

from execution import NodeDefinition

from .class_nodes import define_class_node
from .core_modules import is_schema_node_there, module_of


def define_node(class_type: str, node_class: Any, origin: str, display_name: str | None = None) -> NodeDefinition:
    """What the engine has to know of a node class.

    :param origin: the module that it comes from.
    :raises TypeError: the class lacks something that every node needs.
    """
    if hasattr(node_class, "define_schema"):  # else this process need not load the words of such nodes
        from .schema.node_class import is_schema_node
        from .schema_nodes import define_schema_node

        if is_schema_node(node_class):
            return define_schema_node(class_type, node_class, origin, display_name)
    return define_class_node(class_type, node_class, origin, display_name)


def define_built_in_node(class_type: str, node_class: Any, display_name: str | None = None) -> NodeDefinition:
    """What the engine has to know of a node of the catalogue, shown as clients know it."""
    return define_class_node(class_type, node_class, module_of(class_type), display_name,
                             shown_as_schema=is_schema_node_there(class_type))
