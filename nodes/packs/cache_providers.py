"""Caches that packs bring: what they are made of, and which are registered. `provider_tier` asks them."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


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


class Registered:
    """A cache that is registered, and how it has done so far."""

    def __init__(self, provider: CacheProvider) -> None:
        self.provider = provider
        self.has_failed = False
        """Which was logged: once is enough."""
        self.is_late = False
        """It did not answer in time, and is not asked any more."""

    def hook(self, name: str) -> Callable[..., Any] | None:
        """A hook that does something; None for the one that every cache has."""
        found: Callable[..., Any] | None = getattr(self.provider, name, None)
        return None if getattr(found, "__func__", None) is getattr(CacheProvider, name) else found


CACHE_PROVIDERS: list[Registered] = []
"""In the order in which they came."""

watchers: list[Callable[[], None]] = []
"""Called after each change, on the thread of whoever made it."""


def register_provider(provider: CacheProvider) -> None:
    """:raises TypeError: it cannot be asked."""
    for name in ("on_lookup", "on_store"):
        if not inspect.iscoroutinefunction(getattr(provider, name, None)):
            raise TypeError(f"a cache needs an async {name}, and {type(provider).__name__} has none")
    if not any(one.provider is provider for one in CACHE_PROVIDERS):
        CACHE_PROVIDERS.append(Registered(provider))
        _tell()


def unregister_provider(provider: CacheProvider) -> None:
    CACHE_PROVIDERS[:] = [one for one in CACHE_PROVIDERS if one.provider is not provider]
    _tell()


def _tell() -> None:
    for watcher in list(watchers):
        watcher()
