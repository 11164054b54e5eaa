"""Inputs, outputs and schemas of nodes, by the names that packs know."""

from nodes.packs.schema.io_words import *  # noqa: F403 (its __all__ is the list)
