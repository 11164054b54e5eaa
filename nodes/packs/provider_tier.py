"""Caches of packs as the engine sees them: one tier, which asks them in turn and tells each of what is new.

Their coroutines run on the loop, their plain hooks on threads, each for as long as any hook may take. What one of them
does wrong is logged once and passed over; one that does not answer in time is not asked any more.
"""

import asyncio
import copy
import inspect
import json
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar

from execution import (
    CodeOf,
    Engine,
    Event,
    ExecutionBlocker,
    OutputRecord,
    PromptFinished,
    PromptId,
    PromptStarted,
    SignedCall,
    measure,
)

from . import cache_providers
from .cache_providers import CACHE_PROVIDERS, CacheContext, CacheValue, Registered

logger = logging.getLogger(__name__)

MOST_WAITING = 2**29
"""Bytes of outputs that caches may be keeping at a time. One alone may be larger."""

T = TypeVar("T")


class _Late(Exception):
    """No answer in time."""


class _Wrong(Exception):
    """An answer that is none. Says what it was."""


class _RunningPrompt:
    """What caches are doing for a prompt.

    :param beginning: they are being told that it starts.
    """

    def __init__(self, beginning: "asyncio.Task[None]") -> None:
        self.beginning = beginning
        self.stores: set[asyncio.Task[None]] = set()


class ProviderTier:
    """An `OutsideTier`, in use while caches are registered. Made on the loop.

    :param code_of: as for an engine; asked if that has none.
    """

    def __init__(self, engine: Engine, code_of: CodeOf | None = None) -> None:
        self._engine = engine
        self._code_of = code_of
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._is_used = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._prompts: dict[PromptId, _RunningPrompt] = {}
        self._waiting = 0
        CACHE_PROVIDERS.clear()
        cache_providers.watchers.append(self._changed)

    def close(self) -> None:
        cache_providers.watchers.remove(self._changed)
        CACHE_PROVIDERS.clear()
        self._follow()
        for task in self._tasks:
            task.cancel()

    def _changed(self) -> None:
        """From any thread."""
        with suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._follow, context=self._context)

    def _follow(self) -> None:
        if self._is_used is bool(CACHE_PROVIDERS):
            return
        self._is_used = not self._is_used
        if self._is_used:
            self._engine.add_listener(self._take, (PromptStarted, PromptFinished))
            self._engine.use_outside_tier(self, self._code_of)
        else:
            self._engine.remove_listener(self._take)
            self._engine.use_outside_tier(None)
            self._prompts.clear()

    # -- what the engine asks -----------------------------------------------------------------------------------------

    async def look_up(self, call: SignedCall) -> OutputRecord | None:
        """See `OutsideTier`."""
        prompt = self._running(call.prompt_id)
        if not prompt.beginning.done():
            await asyncio.wait((prompt.beginning,))
        for one in list(CACHE_PROVIDERS):
            record = await self._passing_over(one, self._ask(one, call))
            if record is not None:
                return record
        return None

    def store(self, call: SignedCall, record: OutputRecord) -> None:
        """See `OutsideTier`."""
        if any(value.__class__ is ExecutionBlocker for values in record.outputs for value in values):
            return
        size = record.size.own_bytes + sum(record.size.shared.values())
        if self._waiting and self._waiting + size > MOST_WAITING:
            logger.debug("caches of packs are not told of outputs of %s: they are behind", call.class_type)
            return
        self._waiting += size
        prompt = self._running(call.prompt_id)
        task = self._begin(self._store(_context_of(call), record, size))
        prompt.stores.add(task)
        task.add_done_callback(prompt.stores.discard)

    # -- prompts ------------------------------------------------------------------------------------------------------

    def _running(self, prompt_id: PromptId) -> _RunningPrompt:
        """A prompt whose start caches have been told, or are told now: its nodes may run before its start is told."""
        found = self._prompts.get(prompt_id)
        if found is None:
            found = self._prompts[prompt_id] = _RunningPrompt(
                self._begin(self._tell_all("on_prompt_start", prompt_id)))
        return found

    def _take(self, event: Event) -> None:
        if isinstance(event, PromptStarted):
            self._running(event.prompt_id)
        elif isinstance(event, PromptFinished):
            prompt = self._prompts.pop(event.prompt_id, None)
            if prompt is not None:
                self._begin(self._end(event.prompt_id, prompt))

    async def _end(self, prompt_id: PromptId, prompt: _RunningPrompt) -> None:
        await asyncio.wait((prompt.beginning, *prompt.stores))
        await self._tell_all("on_prompt_end", prompt_id)

    async def _tell_all(self, name: str, prompt_id: PromptId) -> None:
        for one in list(CACHE_PROVIDERS):
            hook = one.hook(name)
            if hook is not None:
                await self._passing_over(one, self._call(hook, str(prompt_id)))

    # -- one cache ----------------------------------------------------------------------------------------------------

    async def _ask(self, one: Registered, call: SignedCall) -> OutputRecord | None:
        context = _context_of(call)
        if not await self._wants(one, context):
            return None
        found = await self._in_time(one.provider.on_lookup(context))
        return None if found is None else await self._on_a_thread(lambda: _record_of(found, call.output_is_list))

    async def _store(self, context: CacheContext, record: OutputRecord, size: int) -> None:
        try:
            for one in list(CACHE_PROVIDERS):
                await self._passing_over(one, self._give(one, context, record))
        finally:
            self._waiting -= size

    async def _give(self, one: Registered, context: CacheContext, record: OutputRecord) -> None:
        ui = None if record.ui is None else await self._on_a_thread(lambda: copy.deepcopy(record.ui))
        value = CacheValue([list(values) for values in record.outputs], ui)
        if await self._wants(one, context, value):
            await self._in_time(one.provider.on_store(context, value))

    async def _wants(self, one: Registered, context: CacheContext, *value: CacheValue) -> bool:
        hook = one.hook("should_cache")
        if hook is None:
            return True
        answer = await self._call(hook, context, *value)
        if not isinstance(answer, bool):
            raise _Wrong(f"should_cache answered {_shown(answer)}, which is neither True nor False")
        return answer

    async def _call(self, hook: Callable[..., Any], *arguments: Any) -> Any:
        if inspect.iscoroutinefunction(hook):
            return await self._in_time(hook(*arguments))
        return await self._on_a_thread(lambda: hook(*arguments))

    async def _passing_over(self, one: Registered, question: Coroutine[Any, Any, T]) -> T | None:
        """The answer of a cache, or None if it goes wrong."""
        if one.is_late:
            question.close()
            return None
        name = type(one.provider).__name__
        try:
            return await question
        except _Late:
            if not one.is_late:
                one.is_late = True
                logger.error("the cache %s of a pack did not answer within %g s, and is not asked any more", name,
                             self._engine.hook_timeout)
        except _Wrong as wrong:
            self._failed(one, f"{name}: {wrong}")
        except Exception as error:
            self._failed(one, f"{name} raised {type(error).__name__}: {error}", error)
        return None

    @staticmethod
    def _failed(one: Registered, sentence: str, error: Exception | None = None) -> None:
        level = logging.DEBUG if one.has_failed else logging.ERROR
        one.has_failed = True
        logger.log(level, "a cache of a pack is passed over: %s", sentence, exc_info=error)

    # -- their code ---------------------------------------------------------------------------------------------------

    async def _in_time(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns. It has a task of its own, so that one that will not stop holds up nobody.

        :raises _Late: it takes too long.
        """
        task = self._begin(coroutine)
        try:
            await asyncio.wait((task,), timeout=self._engine.hook_timeout)
        finally:
            if not task.done():
                task.cancel()
        if not task.done():
            raise _Late
        if task.cancelled():
            raise _Wrong("its coroutine was cancelled")
        return task.result()

    async def _on_a_thread(self, function: Callable[[], T]) -> T:
        """:raises _Late: it takes too long."""
        raised: list[BaseException] = []

        def contained() -> Any:
            try:
                return function()
            except BaseException as error:  # a TimeoutError of its own is no lateness
                raised.append(error)

        try:
            answer: T = await self._engine.ask_nodes(contained)
        except TimeoutError:
            raise _Late from None
        if raised:
            raise raised[0] if isinstance(raised[0], Exception) else _Wrong(f"it left by {type(raised[0]).__name__}")
        return answer

    def _begin(self, coroutine: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = self._loop.create_task(coroutine, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # of one that came late: nobody waits for it


def _context_of(call: SignedCall) -> CacheContext:
    return CacheContext(call.node_id, call.class_type, call.key)


def _record_of(found: Any, output_is_list: Sequence[bool]) -> OutputRecord:
    """:raises _Wrong: these are no outputs of a node that has so many."""
    if not isinstance(found, CacheValue):
        raise _Wrong(f"on_lookup returned {_shown(found)}, which is no CacheValue")
    outputs, ui = found.outputs, found.ui
    if not isinstance(outputs, (list, tuple)) or not all(isinstance(one, (list, tuple)) for one in outputs):
        raise _Wrong(f"on_lookup returned outputs that are no lists of values, one for each output: {_shown(outputs)}")
    if len(outputs) != len(output_is_list):
        raise _Wrong(f"on_lookup returned {len(outputs)} outputs for a node with {len(output_is_list)}")
    taken = tuple(list(values) for values in outputs)
    if not all(values or is_list for values, is_list in zip(taken, output_is_list, strict=True)):
        raise _Wrong("on_lookup returned an output without a value")
    return OutputRecord(taken, None if ui is None else _plain_ui(ui), measure(taken))


def _plain_ui(ui: Any) -> Mapping[str, Any]:
    """A copy of what a node shows, which goes to clients and into the history."""
    try:
        plain: Any = json.loads(json.dumps(ui))
    except (TypeError, ValueError, RecursionError):
        plain = None
    if not isinstance(plain, dict):
        raise _Wrong(f"on_lookup returned a ui that is no dict of what JSON knows: {_shown(ui)}")
    return plain


def _shown(value: Any) -> str:
    try:
        return f"{value!r:.100}"
    except BaseException:
        return f"a {type(value).__name__}"
