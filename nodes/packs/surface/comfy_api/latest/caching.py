"""Caches of packs, by the names that packs know."""

from nodes.packs.cache_providers import CacheContext, CacheProvider, CacheValue

__all__ = ["CacheContext", "CacheProvider", "CacheValue"]
