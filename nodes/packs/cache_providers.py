"""Caches that packs bring, to be asked when ours has no output for a node, and told when it has a new one.

They are noted here; the engine has no question for them yet.
"""

from __future__ import annotations

import inspect
import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CacheContext:
    """Whose output it is."""

    node_id: str
    class_type: str
    cache_key_hash: str
    """Hex SHA-256, the same in every process for the same call."""


@dataclass
class CacheValue:
    outputs: list[Any]
    """A list of values for each output."""
    ui: Any = None


class CacheProvider(ABC):
    """A cache of a pack. What it raises is logged, and counts as no answer."""

    @abstractmethod
    async def on_lookup(self, context: CacheContext) -> CacheValue | None:
        """The outputs of a call, if they are here."""

    @abstractmethod
    async def on_store(self, context: CacheContext, value: CacheValue) -> None:
        """Keep the outputs of a call."""

    def should_cache(self, context: CacheContext, value: CacheValue | None = None) -> bool:
        """Whether to look up (without a value) or to store at all."""
        return True

    def on_prompt_start(self, prompt_id: str) -> None:  # noqa: B027 (most have nothing to do here)
        """A prompt begins."""

    def on_prompt_end(self, prompt_id: str) -> None:  # noqa: B027
        """A prompt has ended."""


CACHE_PROVIDERS: list[CacheProvider] = []
"""In the order in which they came."""


def register_provider(provider: CacheProvider) -> None:
    """:raises TypeError: it cannot be asked."""
    for name in ("on_lookup", "on_store"):
        if not inspect.iscoroutinefunction(getattr(provider, name, None)):
            raise TypeError(f"a cache needs an async {name}, and {type(provider).__name__} has none")
    if not any(one is provider for one in CACHE_PROVIDERS):
        CACHE_PROVIDERS.append(provider)
        logger.warning("the cache %s of a pack is noted, but Hanzo Studio asks no other caches than its own",
                       type(provider).__name__)


def unregister_provider(provider: CacheProvider) -> None:
    CACHE_PROVIDERS[:] = [one for one in CACHE_PROVIDERS if one is not provider]
