"""Calls what packs put in place of names of the host, at the moments that these names stand for.

The engine has one path and knows nothing of this: here its events are listened to, and submissions pass through a
gate. While nothing was replaced, nothing is called.
"""

import asyncio
import contextlib
import logging
import threading
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import CancelledError, Future
from contextvars import copy_context
from operator import is_not
from queue import SimpleQueue
from typing import Any, NamedTuple

import nodes
from execution import (
    Accepted,
    CurrentNodeContext,
    Engine,
    Event,
    HistoryEntry,
    NodeError,
    NodeFinished,
    NodeProgressed,
    NodeStarted,
    Outcome,
    PromptDropped,
    PromptFinished,
    PromptId,
    PromptQueued,
    PromptRejected,
    PromptStarted,
    PromptSubmission,
)

from . import prompt_executor
from .dynamic_prompt import DynamicPrompt
from .progress_keeper import ProgressKeeper
from .prompt_executor import PromptExecutor
from .prompt_queue import Item, PromptQueue, collecting, submission_of
from .prompt_server import PromptServer, told_already
from .replaced_names import ReplacedNames

logger = logging.getLogger(__name__)

_REPLACEABLE = {
    PromptServer: ("send_sync", "send", "send_json", "send_bytes", "send_image", "send_progress_text",
                   "add_on_prompt_handler", "trigger_on_prompt", "queue_updated", "get_queue_info"),
    PromptQueue: ("put", "get_current_queue", "get_current_queue_volatile", "get_tasks_remaining", "get_history",
                  "delete_queue_item", "wipe_queue", "wipe_history", "delete_history_item", "set_flag", "get_flags",
                  "interrupt_if_running", "get", "task_done"),
    PromptExecutor: ("__init__", "execute", "execute_async", "handle_execution_error", "reset", "add_message"),
}
ORIGINALS = {owner: {name: owner.__dict__[name] for name in names} for owner, names in _REPLACEABLE.items()}
_OF_A_RUN = ("__init__", "execute", "execute_async", "handle_execution_error", "reset", "add_message")
_ORIGINALS_OF_A_RUN = tuple(ORIGINALS[PromptExecutor][name] for name in _OF_A_RUN)
SECONDS_BETWEEN_LOOKS = 0.1
_OF_A_NODE = frozenset({NodeStarted, NodeProgressed, NodeFinished})


def is_replaced(owner: type, name: str, instance: Any = None) -> bool:
    """Whether a pack has put something else in place of a method, on its class, on a class below it, or on the one
    object there is."""
    if instance is not None and name in vars(instance):
        return True
    originals = ORIGINALS.get(owner) or next(ORIGINALS[one] for one in owner.__mro__ if one in ORIGINALS)
    return getattr(owner, name) is not originals[name]


def restore_originals() -> None:
    """Take back what packs replaced on our classes."""
    for owner, names in ORIGINALS.items():
        for name, original in names.items():
            if owner.__dict__.get(name) is not original:
                setattr(owner, name, original)


class EndedRun(NamedTuple):
    """See `prompt_executor.Run`."""

    outputs: Mapping[str, Any]
    meta: Mapping[str, Any]
    messages: Sequence[Any]
    succeeded: bool
    executed: Sequence[str]
    error: Mapping[str, Any] | None
    raised: NodeError | None


class PackHooks:
    """Listens to an engine for as long as packs are there. Made on the loop.

    :param names: what packs see in `execution`.
    :param replaced: is asked to look at each prompt, since packs replace names whenever they like.
    """

    def __init__(self, engine: Engine, server: PromptServer, names: MutableMapping[str, Any],
                 replaced: ReplacedNames) -> None:
        self._engine = engine
        self._server = server
        self._names = names
        self._replaced = replaced
        self._items: dict[str, Item] = {}
        self._ends: dict[str, Future[PromptFinished]] = {}
        self._held: dict[str, Future[PromptFinished]] = {}
        """Ends for which a run of a pack may still ask, however quick the prompt was."""
        self._starting: set[asyncio.Task[None]] = set()
        self._handlers_turn = asyncio.Lock()
        self._watcher = _Watcher()
        self._progress = ProgressKeeper(engine, server, self._submitted, self._watcher.do)
        self._shows = False
        """Whether a pack replaced `send_sync`, as of the last prompt that came or started."""
        self._asks = False
        """The same for `get_input_data`."""
        self._looked_at = 0.0
        PromptExecutor.runs = self
        engine.add_arrival_listener(self._arrived)
        engine.add_listener(self.take)

    def close(self) -> None:
        self._engine.remove_listener(self.take)
        self._engine.remove_arrival_listener(self._arrived)
        self._progress.close()
        self._watcher.stop()
        for future in self._ends.values():
            future.cancel()
        self._ends.clear()
        if PromptExecutor.runs is self:
            PromptExecutor.runs = None

    def _submitted(self, prompt_id: str) -> Mapping[str, Any] | None:
        item = self._items.get(prompt_id)
        return None if item is None else item[2]

    # -- events -----------------------------------------------------------------------------------------------------

    def take(self, event: Event) -> None:
        """On the loop, for every event: so it only looks whether there is something to do."""
        kind = event.__class__
        if kind in _OF_A_NODE:
            if not (self._shows or self._asks or self._progress.is_asked):
                return
            self._progress.take(event)  # type: ignore[arg-type]
        else:
            self._take_rare(event)
            if kind is PromptQueued or kind is PromptStarted:  # not with every event
                self._look_for_hooks()
        item = self._items.get(getattr(event, "prompt_id", ""))
        if kind is NodeStarted and item is not None and self._asks:
            self._watcher.do(self._ask_for_inputs, event, item)
        if self._shows:
            client_id = None if item is None else item[3].get("client_id")
            self._watcher.do(self._show, event, client_id)
        if kind is PromptFinished:
            self._items.pop(event.prompt_id, None)  # type: ignore[attr-defined]

    def _arrived(self, event: PromptQueued) -> None:
        """A prompt is queued, and nothing of it has run."""
        self._look_at_names()
        self._items[event.prompt_id] = (event.number, event.prompt_id, event.prompt, dict(event.extra_data),
                                        list(event.outputs), {})
        self._server.number = max(self._server.number, abs(event.number) + 1)

    def _look_for_hooks(self) -> None:
        self._shows = is_replaced(type(self._server), "send_sync", self._server)
        self._asks = self._asks_for_inputs() is not None

    def _take_rare(self, event: Event) -> None:
        match event:
            case PromptStarted():
                executor = self._names.get("PromptExecutor", PromptExecutor)
                if _runs_otherwise(executor):
                    end = self._ends[event.prompt_id] = self._held[event.prompt_id] = Future()
                    _RunOfPack(executor, self._server, self._items[event.prompt_id],
                               lambda: self._let_go(event.prompt_id, end)).start()
            case PromptFinished():
                self._progress.take_end(event)
                ended = self._ends.get(event.prompt_id)
                if ended is None:
                    return
                if event.prompt_id not in self._held:
                    del self._ends[event.prompt_id]
                if not ended.done():
                    ended.set_result(event)
            case PromptDropped():
                self._items.pop(event.prompt_id, None)
                dropped = self._ends.pop(event.prompt_id, None)
                if dropped is not None:
                    dropped.cancel()

    def _look_at_names(self) -> None:
        """Packs replace names whenever they like, and are told what that does; not for each of a thousand prompts."""
        now = self._server.loop.time()
        if now - self._looked_at >= SECONDS_BETWEEN_LOOKS:
            self._looked_at = now
            self._replaced.look()

    def _asks_for_inputs(self) -> Callable[..., Any] | None:
        function = self._names.get("get_input_data")
        return function if callable(function) and function is not prompt_executor.get_input_data else None

    def _ask_for_inputs(self, event: NodeStarted, item: Item) -> None:
        """Show a replaced `get_input_data` a node that is about to be called: what it is in the submitted prompt."""
        function, node = self._asks_for_inputs(), item[2].get(event.place.node_id)
        if function is None or node is None:
            return  # taken back meanwhile; or a node of an expansion
        node_class = nodes.NODE_CLASS_MAPPINGS.get(node["class_type"])  # type: ignore[attr-defined]
        if node_class is not None:
            function(node["inputs"], node_class, event.place.node_id, prompt_executor.KeptResults(),
                     DynamicPrompt(item[2]), item[3])

    def _show(self, event: Event, client_id: str | None) -> None:
        """Tell a replaced `send_sync` what clients are told. What it passes on has been sent."""
        for kind, data, sid in self._server.messenger.messages_of(event, client_id):
            token = told_already.set(kind)
            try:
                self._server.send_sync(kind, data, sid)
            finally:
                told_already.reset(token)

    # -- runs ---------------------------------------------------------------------------------------------------------

    def end_of(self, item: Item) -> "Future[PromptFinished]":
        """The end of a prompt; one that is not queued yet is queued. From any thread."""
        return self._server.messenger.on_loop(lambda: self._end_or_start(item))

    def _end_or_start(self, item: Item) -> "Future[PromptFinished]":
        prompt_id = str(item[1])
        end = self._end(prompt_id)
        if prompt_id not in self._items and not end.done():
            starting = self._server.loop.create_task(self._start(item, end))
            self._starting.add(starting)
            starting.add_done_callback(self._starting.discard)
        return end

    def _end(self, prompt_id: str) -> "Future[PromptFinished]":
        return self._ends.setdefault(prompt_id, Future())

    def _let_go(self, prompt_id: str, end: "Future[PromptFinished]") -> None:
        """A run of a pack is over. From its thread."""
        def forget() -> None:
            if self._held.get(prompt_id) is end:
                del self._held[prompt_id]
            if self._ends.get(prompt_id) is end and end.done():
                del self._ends[prompt_id]

        with contextlib.suppress(RuntimeError):  # the loop is closed already
            self._server.loop.call_soon_threadsafe(forget)

    async def _start(self, item: Item, end: "Future[PromptFinished]") -> None:
        try:
            await self._engine.submit(submission_of(item))
        except Exception as error:
            self._ends.pop(str(item[1]), None)
            if not end.done():
                end.set_exception(error)

    def ended_run(self, event: PromptFinished) -> EndedRun:
        """What became of a prompt. Takes as long as the prompt is large: not on the loop."""
        entry = next(iter(self._engine.history.history_now(event.prompt_id)), None)
        shown = self._server.messenger.history(event.prompt_id).get(event.prompt_id, {})
        failure = None if entry is None else entry.failure
        return EndedRun(
            outputs=shown.get("outputs", {}), meta=shown.get("meta", {}),
            messages=shown.get("status", {}).get("messages", ()), succeeded=event.outcome is Outcome.SUCCEEDED,
            executed=event.executed, error=None if entry is None else _error_of(entry),
            raised=failure.error if failure is not None else None)

    async def check(self, submission: PromptSubmission) -> tuple[Sequence[str], Mapping[str, Any]]:
        """See `prompt_executor.Runs`."""
        verdict = await self._engine.check(submission)
        return verdict.outputs, verdict.node_errors

    # -- submissions ----------------------------------------------------------------------------------------------

    @property
    def wants_bodies(self) -> bool:
        """Whether packs have to see submissions before they are read."""
        server = self._server
        return bool(server.on_prompt_handlers) or is_replaced(type(server), "trigger_on_prompt", server)

    async def change_body(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body of a submission as the handlers of packs leave it. They are plain code: called on a thread, one
        submission after the other."""
        async with self._handlers_turn:
            try:
                changed = await self._engine.ask_nodes(lambda: self._server.trigger_on_prompt(body))
            except TimeoutError:
                logger.error("the handlers of prompts did not answer in time, and are passed over")
                return body
        return changed if isinstance(changed, dict) else body

    async def submit(self, submission: PromptSubmission,
                     submit: Callable[[PromptSubmission], Awaitable[Accepted]]) -> Accepted:
        """Hand a submission to the engine, by way of `validate_prompt` and `PromptQueue.put` if packs replaced them.

        :raises PromptRejected: a replaced `validate_prompt` refused it, or the engine did.
        """
        validate = self._names.get("validate_prompt", prompt_executor.validate_prompt)
        queue = self._server.prompt_queue
        node_errors: Mapping[str, Any] = {}
        checks, puts = validate is not prompt_executor.validate_prompt, is_replaced(type(queue), "put", queue)
        if not checks and not puts:
            return await submit(submission)
        if submission.prompt_id is None:
            submission.prompt_id = PromptId(str(uuid.uuid4()))
        if checks:
            valid, error, outputs, node_errors = await validate(submission.prompt_id, submission.prompt,
                                                                submission.targets)
            if not valid:
                raise PromptRejected(error or {"type": "invalid_prompt", "message": "a pack refused the prompt",
                                               "details": "", "extra_info": {}}, node_errors)
            submission.targets = [str(one) for one in outputs] or submission.targets
        accepted = await (self._put(submission, submit) if puts else submit(submission))
        return Accepted(prompt_id=accepted.prompt_id, number=accepted.number,
                        node_errors={**node_errors, **accepted.node_errors})

    async def _put(self, submission: PromptSubmission,
                   submit: Callable[[PromptSubmission], Awaitable[Accepted]]) -> Accepted:
        """What a replaced `put` passes on is queued: the prompt itself, changed perhaps, and others."""
        outputs, _ = await self.check(submission)
        if submission.number is None:
            counted = self._engine.take_number()
            submission.number = -counted if submission.front else counted
        item: Item = (submission.number, submission.prompt_id, submission.prompt, submission.extra_data,
                      list(outputs), dict(submission.secrets))
        with collecting() as items:
            context = copy_context()
        await self._engine.ask_nodes(lambda: context.run(self._server.prompt_queue.put, item))
        accepted = Accepted(prompt_id=PromptId(str(submission.prompt_id)), number=submission.number)
        for one in items:
            put = submission_of(one)
            if put.prompt_id == submission.prompt_id:
                put.content_key = submission.content_key
                accepted = await submit(put)
            else:
                await self._server.prompt_queue._queue(put)
        return accepted


def _runs_otherwise(executor: Any) -> bool:
    """Whether something of what packs see as the executor was replaced: they may have put a class of their own there,
    or anything."""
    if executor is PromptExecutor:  # by far the most frequent case
        return any(map(is_not, map(executor.__dict__.get, _OF_A_RUN), _ORIGINALS_OF_A_RUN))
    if isinstance(executor, type) and issubclass(executor, PromptExecutor):
        return any(is_replaced(executor, name) for name in _OF_A_RUN)
    return callable(executor)


def _error_of(entry: HistoryEntry) -> dict[str, Any] | None:
    if entry.failure is not None:
        error = entry.failure.error
        return {"prompt_id": entry.prompt_id, "node_id": entry.failure.place.real_id,
                "node_type": entry.failure.node_type, "executed": list(entry.executed),
                "exception_message": error.exception_message, "exception_type": error.exception_type,
                "traceback": list(error.traceback), "current_inputs": error.current_inputs,
                "current_outputs": list(entry.failure.known)}
    if entry.interrupted is not None:
        return {"prompt_id": entry.prompt_id, "node_id": entry.interrupted.real_id,
                "node_type": entry.interrupted_type, "executed": list(entry.executed)}
    return None


class _RunOfPack(threading.Thread):
    """Calls `execute` of an executor in which a pack replaced something, while the engine runs the prompt."""

    def __init__(self, executor: Callable[..., Any], server: PromptServer, item: Item,
                 is_over: Callable[[], None]) -> None:
        super().__init__(name=f"execute {item[1]}", daemon=True)
        self._is_over = is_over
        self._executor = executor
        self._server = server
        self._item = item

    def run(self) -> None:
        _, prompt_id, prompt, extra_data, outputs = self._item[:5]
        try:
            with CurrentNodeContext(prompt_id, ""):
                self._executor(self._server).execute(prompt, prompt_id, extra_data, outputs)
        except CancelledError:
            logger.info("the server stopped before prompt %s had ended", prompt_id)
        except BaseException:
            logger.exception("what a pack put in place of PromptExecutor failed for prompt %s; the prompt itself "
                             "runs all the same", prompt_id)
        finally:
            self._is_over()


class _Watcher:
    """One thread on which packs watch what happens, in order. It starts with the first thing to do."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def do(self, function: Callable[..., None], *arguments: Any) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="watching packs", daemon=True)
            self._thread.start()
        self._jobs.put((function, arguments))

    def stop(self) -> None:
        if self._thread is not None:
            self._jobs.put(None)
            self._thread = None

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            function, arguments = job
            event = arguments[0]
            try:
                with CurrentNodeContext(getattr(event, "prompt_id", ""), getattr(
                        getattr(event, "place", None), "node_id", "")):
                    function(*arguments)
            except BaseException:
                logger.exception("what a pack put in place of a name of the host failed, and is passed over")


