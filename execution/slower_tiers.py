"""Where outputs are looked for that are not in memory: on the disk, then outside.

What is outside is somebody else's: it does not say what it has, so it is asked, and given all that may outlive its
prompt. The engine knows nothing of it but `OutsideTier`.
"""

import asyncio
import logging
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Protocol

from .commands import LookUpOutputs, SignedCall
from .disk_tier import DiskTier
from .identifiers import CallId
from .node_values import OutputRecord

log = logging.getLogger("studio.cache")

Found = Callable[[CallId, OutputRecord | None], None]


class OutsideTier(Protocol):
    """Keeps outputs for other prompts and other processes. Called on the loop."""

    async def look_up(self, call: SignedCall) -> OutputRecord | None:
        """The outputs of a call, or None if they are not there. May be cancelled."""
        ...

    def store(self, call: SignedCall, record: OutputRecord) -> None:
        """Take the outputs of a call that has run. Nobody waits for it."""
        ...


class SlowerTiers:
    """Lookups that are open, each until it is answered or forgotten.

    :param found: told on the loop of what was looked up; None stands for nothing.
    """

    def __init__(self, disk: DiskTier | None, found: Found) -> None:
        self.outside: OutsideTier | None = None
        self._disk = disk
        self._found = found
        self._open: dict[CallId, asyncio.Task[None] | None] = {}
        self._forgotten: set[asyncio.Task[None]] = set()

    def open(self, context: Context) -> None:
        """:param context: in which outside code is called: that of no node."""
        self._loop = asyncio.get_running_loop()
        self._context = context

    async def close(self, grace: float) -> None:
        """Wait until lookups that were forgotten have ended, or their grace is over."""
        if self._forgotten:
            await asyncio.wait(self._forgotten, timeout=grace)

    def look_up(self, asked: LookUpOutputs) -> None:
        self._open[asked.call_id] = None
        if self._disk is not None:
            self._disk.look_up(asked.signature, partial(self._disk_answered, asked))
        else:
            self._ask_outside(asked)

    def forget(self, call_id: CallId) -> bool:
        """What is found is for nobody. Answers whether it was being looked up."""
        if call_id not in self._open:
            return False
        task = self._open.pop(call_id)
        if task is not None:
            self._forgotten.add(task)
            task.add_done_callback(self._forgotten.discard)
            task.cancel()
        return True

    def store(self, call: SignedCall, record: OutputRecord) -> None:
        if self.outside is not None:
            self.outside.store(call, record)

    def _disk_answered(self, asked: LookUpOutputs, record: OutputRecord | None) -> None:
        if asked.call_id not in self._open:
            return
        if record is None:
            self._ask_outside(asked)
        else:
            self._answer(asked.call_id, record)

    def _ask_outside(self, asked: LookUpOutputs) -> None:
        if self.outside is None or asked.outside is None:
            self._answer(asked.call_id, None)
            return
        self._open[asked.call_id] = self._loop.create_task(
            self._outside_answers(asked.call_id, self.outside, asked.outside), context=self._context.copy())

    async def _outside_answers(self, call_id: CallId, tier: OutsideTier, call: SignedCall) -> None:
        record = None
        try:
            record = await tier.look_up(call)
        except Exception:
            log.exception("outputs of %s cannot be looked up", call.class_type)
        self._answer(call_id, record)

    def _answer(self, call_id: CallId, record: OutputRecord | None) -> None:
        if call_id in self._open:
            del self._open[call_id]
            self._found(call_id, record)
