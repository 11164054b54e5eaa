"""Building subgraphs, by the names that packs know."""

from execution import ExecutionBlocker, GraphBuilder, graph_builder

Node = graph_builder.Node
add_graph_prefix = graph_builder.add_graph_prefix
is_link = graph_builder.is_link

__all__ = ["ExecutionBlocker", "GraphBuilder", "Node", "add_graph_prefix", "is_link"]
