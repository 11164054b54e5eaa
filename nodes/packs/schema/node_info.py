"""How clients are told of a node that is described by a schema: every key is there, null included."""

from typing import Any

from .node_class import output_names
from .schema import Schema


def node_info(class_type: str, schema: Schema, origin: str, display_name: str | None = None) -> dict[str, Any]:
    """The record of `/object_info`.

    :param display_name: what a person reads, where a pack says it apart from the schema.
    """
    inputs = schema.declared_inputs()
    outputs = schema.outputs
    templates = [one.match_template for one in outputs]
    return {
        "input": inputs, "input_order": {category: list(names) for category, names in inputs.items()},
        "is_input_list": schema.is_input_list, "output": [one.get_io_type() for one in outputs],
        "output_is_list": [one.is_output_list for one in outputs], "output_name": output_names(schema),
        "output_tooltips": [one.tooltip for one in outputs],
        "output_matchtypes": templates if any(one is not None for one in templates) else None,
        "name": class_type, "display_name": schema.display_name if display_name is None else display_name,
        "description": schema.description, "python_module": origin, "category": schema.category,
        "output_node": schema.is_output_node, "has_intermediate_output": schema.has_intermediate_output,
        "deprecated": schema.is_deprecated, "experimental": schema.is_experimental, "dev_only": schema.is_dev_only,
        "api_node": schema.is_api_node,
        "price_badge": None if schema.price_badge is None else schema.price_badge.as_dict(schema.all_inputs()),
        "search_aliases": schema.search_aliases, "essentials_category": schema.essentials_category,
    }
