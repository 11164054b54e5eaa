"""A tier of the output cache on disk: what took long is not made again when the process has ended in between."""

from .disk_tier import DiskTier
from .plain_records import Leaf, PlainForms

__all__ = ["DiskTier", "Leaf", "PlainForms"]
