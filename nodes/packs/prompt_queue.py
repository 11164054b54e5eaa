"""`PromptQueue`: the queue of prompts as packs know it. A view of the engine's, which is the only queue there is."""

import asyncio
import contextlib
import copy
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from execution import ClientId, Engine, PromptConflict, PromptId, PromptRejected, PromptSubmission, QueueEntry

from .not_offered import NotOffered

if TYPE_CHECKING:
    from .prompt_server import PromptServer

logger = logging.getLogger(__name__)

Item = tuple[Any, ...]
"""(number, prompt id, prompt, extra_data, outputs to execute, secrets)."""

_collected: ContextVar[list[Item] | None] = ContextVar("collected", default=None)
_FREES = ("unload_models", "free_memory")


class ExecutionStatus(NamedTuple):
    """How a prompt ended, as a history entry says it."""

    status_str: str
    completed: bool
    messages: list[Any]


@contextlib.contextmanager
def collecting() -> Iterator[list[Item]]:
    """What is put meanwhile, by this code and the threads that it enters with its context, is noted, not queued."""
    items: list[Item] = []
    token = _collected.set(items)
    try:
        yield items
    finally:
        _collected.reset(token)


def item_of(entry: QueueEntry, secrets: Mapping[str, Any] | None = None) -> Item:
    """An entry of the engine's queue as packs read it."""
    return (entry.number, entry.prompt_id, entry.prompt, entry.extra_data, list(entry.outputs), dict(secrets or {}))


def submission_of(item: Sequence[Any]) -> PromptSubmission:
    """What an item of five or six members asks for.

    :raises ValueError: it is none.
    """
    if not isinstance(item, (tuple, list)) or not 5 <= len(item) <= 6:
        raise ValueError("an item of the queue is (number, prompt_id, prompt, extra_data, outputs_to_execute) "
                         "and perhaps a dict of secrets")
    number, prompt_id, prompt, extra_data, outputs = item[:5]
    extra_data = dict(extra_data or {})
    secrets = dict(item[5]) if len(item) == 6 and item[5] else {}
    client_id = extra_data.get("client_id")
    return PromptSubmission(
        prompt=copy.deepcopy(prompt), prompt_id=PromptId(str(prompt_id)), number=float(number),
        client_id=ClientId(client_id) if isinstance(client_id, str) else None, extra_data=extra_data,
        secrets=secrets, targets=[str(one) for one in outputs] if outputs else None)


class PromptQueue:
    """Every method can be called from any thread."""

    ExecutionStatus = ExecutionStatus

    def __init__(self, server: "PromptServer") -> None:
        self.server = server
        self.mutex = threading.RLock()
        """Of no use here, but packs take it."""
        self.flags: dict[str, Any] = {}
        self._puts: set[Any] = set()

    # -- what waits and runs --------------------------------------------------------------------------------------

    def put(self, item: Sequence[Any]) -> None:
        """Queue a prompt. From a thread this lasts until it is checked and queued; on the loop it is queued soon.

        :raises ValueError: it is no item of a queue.
        """
        items = _collected.get()
        if items is not None:
            items.append(tuple(item))
            return
        queued = self._queue(submission_of(item))
        loop = self.server.loop
        if _is_running_here(loop):
            task = loop.create_task(queued)
            self._puts.add(task)
            task.add_done_callback(self._puts.discard)
        else:
            asyncio.run_coroutine_threadsafe(queued, loop).result()

    async def _queue(self, submission: PromptSubmission) -> None:
        try:
            await self._engine.submit(submission)
        except (PromptRejected, PromptConflict) as refusal:
            logger.warning("a pack queued prompt %s, which was refused: %s", submission.prompt_id, refusal)

    def get_current_queue(self) -> tuple[list[Item], list[Item]]:
        """(running, pending), the next one first; copies."""
        snapshot = self._on_loop(self._engine.snapshot)
        return [item_of(entry) for entry in snapshot.running], [item_of(entry) for entry in snapshot.pending]

    get_current_queue_volatile = get_current_queue

    @property
    def currently_running(self) -> dict[int, Item]:
        return dict(enumerate(self.get_current_queue()[0]))

    @property
    def queue(self) -> list[Item]:
        """A copy: what is changed in it has no effect."""
        return self.get_current_queue()[1]

    def get_tasks_remaining(self) -> int:
        return self.server.messenger.remaining()

    def interrupt_if_running(self, prompt_id: str) -> bool:
        """Stop a prompt; False if it does not run."""
        return self._on_loop(lambda: self._engine.interrupt(PromptId(prompt_id)))

    def delete_queue_item(self, function: Callable[[Item], Any]) -> bool:
        """Take the first pending prompt from the queue of which a function says yes; False if there is none."""
        for item in self.get_current_queue()[1]:
            if function(item):
                self._on_loop(lambda found=item[1]: self._engine.remove_pending([PromptId(found)]))
                return True
        return False

    def wipe_queue(self) -> None:
        """Take all pending prompts from the queue."""
        self._on_loop(self._engine.remove_pending)

    def get(self, timeout: float | None = None) -> Any:
        raise NotOffered("PromptQueue.get", "the engine takes prompts itself; get_current_queue shows them")

    def task_done(self, *_: Any, **__: Any) -> None:
        raise NotOffered("PromptQueue.task_done", "the engine ends prompts itself; interrupt_if_running stops one")

    # -- what was -----------------------------------------------------------------------------------------------------

    def get_history(self, prompt_id: str | None = None, max_items: int | None = None, offset: int = -1,
                    map_function: Callable[[Any], Any] | None = None) -> dict[str, Any]:
        """Prompts that have ended by id, the oldest first: `prompt`, `outputs`, `status`, `meta`.

        :param max_items: so many; from `offset`, or the newest ones if that is negative.
        """
        found = self.server.messenger.history(prompt_id)
        if prompt_id is None:
            start = offset if offset >= 0 else 0 if max_items is None else max(0, len(found) - max_items)
            end = None if max_items is None else start + max_items
            found = dict(list(found.items())[start:end])
        return found if map_function is None else {one: map_function(entry) for one, entry in found.items()}

    @property
    def history(self) -> dict[str, Any]:
        """A copy: what is changed in it has no effect."""
        return self.get_history()

    def wipe_history(self) -> None:
        self._on_loop(self._engine.history.clear)

    def delete_history_item(self, id_to_delete: str) -> None:
        self._on_loop(lambda: self._engine.history.delete([PromptId(id_to_delete)]))

    # -- flags --------------------------------------------------------------------------------------------------------

    def set_flag(self, name: str, data: Any) -> None:
        """Keep a flag. `free_memory` and `unload_models` have that done at once, as far as no prompt holds it."""
        with self.mutex:
            self.flags[name] = data
        if name in _FREES and data:
            self._on_loop(self._engine.free_memory)

    def get_flags(self, reset: bool = True) -> dict[str, Any]:
        """Flags that were set since they were taken last."""
        with self.mutex:
            flags = dict(self.flags)
            if reset:
                self.flags.clear()
        return flags

    # -- the engine ---------------------------------------------------------------------------------------------------

    @property
    def _engine(self) -> Engine:
        engine = self.server.messenger.engine
        if engine is None:
            raise RuntimeError("the server is not running")
        return engine

    def _on_loop(self, function: Callable[[], Any]) -> Any:
        return self.server.messenger.on_loop(function)


def _is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
