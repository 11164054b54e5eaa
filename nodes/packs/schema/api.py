"""`ComfyAPI`: what nodes and extensions may ask of the server, awaited or not."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from execution import check_interrupted, report_progress
from nodes.environment import environment
from nodes.packs import cache_providers, node_replacements

from .schema import NodeReplace


def _tell_progress(value: float, max_value: float, node_id: str | None, preview_image: Any,
                   ignore_size_limit: bool) -> None:
    preview = None
    if preview_image is not None:
        preview = ("JPEG", preview_image, None if ignore_size_limit else environment.preview_size)
    report_progress(value, max_value, node_id, preview)


class Execution:
    """The call that this code belongs to."""

    async def set_progress(self, value: float, max_value: float, node_id: str | None = None,
                           preview_image: Any = None, ignore_size_limit: bool = False) -> None:
        """Tell how far a node is, by default the one that is being called.

        :param preview_image: a PIL image, or an IMAGE of whose batch the first is taken.
        :param ignore_size_limit: the preview is sent as large as it is.
        :raises ValueError: no node is being called here, and none is named.
        """
        _tell_progress(value, max_value, node_id, preview_image, ignore_size_limit)


class ExecutionSync:
    """The same for plain nodes. Each call is a point where a cancelled node stops."""

    def set_progress(self, value: float, max_value: float, node_id: str | None = None, preview_image: Any = None,
                     ignore_size_limit: bool = False) -> None:
        """See `Execution.set_progress`.

        :raises InterruptProcessing: the prompt was cancelled.
        """
        check_interrupted()
        _tell_progress(value, max_value, node_id, preview_image, ignore_size_limit)


class NodeReplacement:
    """Classes of nodes that took the place of others."""

    async def register(self, replacement: NodeReplace) -> None:
        NodeReplacementSync().register(replacement)


class NodeReplacementSync:
    def register(self, replacement: NodeReplace) -> None:
        node_replacements.register_replacement(replacement.as_dict())


class Caching:
    """Caches of packs."""

    async def register_provider(self, provider: cache_providers.CacheProvider) -> None:
        cache_providers.register_provider(provider)

    async def unregister_provider(self, provider: cache_providers.CacheProvider) -> None:
        cache_providers.unregister_provider(provider)


class CachingSync:
    def register_provider(self, provider: cache_providers.CacheProvider) -> None:
        cache_providers.register_provider(provider)

    def unregister_provider(self, provider: cache_providers.CacheProvider) -> None:
        cache_providers.unregister_provider(provider)


class _OnlyOne:
    """Each class has one instance."""

    _instance: ClassVar[Any] = None

    def __new__(cls) -> Self:
        if "_instance" not in cls.__dict__ or cls._instance is None:
            cls._instance = super().__new__(cls)
        instance: Self = cls._instance
        return instance


class ComfyAPI(_OnlyOne):
    """What is awaited."""

    VERSION = "latest"
    STABLE = False

    execution = Execution()
    node_replacement = NodeReplacement()
    caching = Caching()


class ComfyAPISync(_OnlyOne):
    """The same without await, from any thread."""

    VERSION = "latest"
    STABLE = False

    execution = ExecutionSync()
    node_replacement = NodeReplacementSync()
    caching = CachingSync()


class ComfyAPI_0_0_2(ComfyAPI):
    VERSION = "0.0.2"


class ComfyAPISync_0_0_2(ComfyAPISync):
    VERSION = "0.0.2"


class ComfyAPI_0_0_1(ComfyAPI):
    VERSION = "0.0.1"
    STABLE = True


class ComfyAPISync_0_0_1(ComfyAPISync):
    VERSION = "0.0.1"
    STABLE = True
