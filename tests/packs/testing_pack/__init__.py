"""The nodes that the recorded transcripts use, in the class-attribute style that packs are written in.

They are written from `test-nodes.md` alone. One module per family; each lists its classes in `NODES`.
"""

from . import (
    expanding_nodes,
    failing_nodes,
    image_nodes,
    list_and_ui_nodes,
    loop_nodes,
    progress_nodes,
    sleeping_nodes,
    validating_nodes,
)

FAMILIES = (
    image_nodes,
    sleeping_nodes,
    failing_nodes,
    expanding_nodes,
    loop_nodes,
    validating_nodes,
    progress_nodes,
    list_and_ui_nodes,
)

NODE_CLASS_MAPPINGS = {node.__name__: node for family in FAMILIES for node in family.NODES}
NODE_DISPLAY_NAME_MAPPINGS = {"ProtoTypes": "Proto Types"}

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
