"""The threads that run what is not `async def`: one for life for each gpu token, a bounded group for any other pool.

They are daemon threads of our own, since executors of the standard library join theirs at exit, so that one stuck
node would make Ctrl-C hang.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context
from queue import SimpleQueue
from typing import Any, TypeVar

log = logging.getLogger("studio.nodes")

T = TypeVar("T")


class CallTimedOut(TimeoutError):
    """A function did not return in time. Unlike a TimeoutError that the function itself raised."""


class StepClock:
    """Times a call on a lane, which restarts it before each of its steps if it has several.

    A step is ended once: by the thread that runs it, or by the loop that gives it up.
    """

    step: Any = None
    """What the present step is for, as its function said."""

    def __init__(self) -> None:
        self._running: tuple[list[None], float | None] = ([None], None)

    def restart(self, step: Any = None) -> None:
        """The next step begins.

        :raises CallTimedOut: nobody waits for the call any more, since the step before it took too long.
        """
        if not self.end():
            raise CallTimedOut
        self.step = step
        self._running = ([None], time.monotonic())

    def end(self) -> bool:
        """The present step is over. Returns whether it was in time."""
        return _taken_from(self._running[0])

    def give_up(self, timeout: float) -> float:
        """End the present step if it has taken so long. Returns the seconds that it has left, none if it was ended."""
        mark, began_at = self._running
        left = timeout if began_at is None else began_at + timeout - time.monotonic()
        if left > 0:
            return left
        return 0.0 if _taken_from(mark) else timeout  # else the next one has begun


class LoopMailbox:
    """Brings calls from any thread to the loop: many that come together cost one wake-up."""

    def __init__(self, loop: asyncio.AbstractEventLoop, context: Context) -> None:
        self._loop = loop
        self._context = context
        self._letters: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._is_called = False

    def post(self, function: Callable[[Any], None], argument: Any) -> None:
        """Have `function(argument)` called on the loop, after all that was posted before. Lost if it is closed."""
        self._letters.append((function, argument))
        if not self._is_called:
            self._is_called = True
            try:
                self._loop.call_soon_threadsafe(self._deliver, context=self._context)
            except RuntimeError:
                self._letters.clear()

    def _deliver(self) -> None:
        self._is_called = False  # first: what is posted from here on may come once too often, never too late
        letters = self._letters
        try:
            while letters:
                function, argument = letters.popleft()
                function(argument)
        finally:
            if letters:  # one of them failed: the others have to arrive all the same
                self._loop.call_soon(self._deliver, context=self._context)


class ThreadLane:
    """A queue of jobs and up to `size` threads that take them. Threads are started when there is work for them.

    No lock: a thread that holds one while it waits for the interpreter would make the loop wait for both.
    """

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self._size = size
        self._jobs: SimpleQueue[Callable[[], bool | None] | None] = SimpleQueue()
        self._idle: list[None] = []
        """One mark for each thread that waits for a job, as long as there are fewer threads than there may be."""
        self._threads = 0

    def submit(self, job: Callable[[], bool | None]) -> None:
        """Have a job run on a thread of this lane. It must not raise; True means that its thread was written off.
        To be called on one thread only: the loop's."""
        self._jobs.put(job)
        try:
            self._idle.pop()
        except IndexError:
            self._start_thread()

    def write_off_thread(self) -> None:
        """A job hangs and will not be waited for: its thread does not count any more, and ends when the job returns.
        What is queued goes on."""
        self._threads -= 1
        self._idle.clear()  # there are marks from when there were as many threads as there may be: nobody counted
        if not self._jobs.empty():
            self._start_thread()

    def close(self) -> None:
        """Let the threads end once they have done what is queued; a stuck one is left behind."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _start_thread(self) -> None:
        if self._threads >= self._size:
            return
        thread = threading.Thread(target=self._work, name=f"studio-{self.name}-{self._threads + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self._threads:  # nobody else will take the job: there may be room for a thread later
                log.error("no thread can be started for %s; tried again in a second", self.name)
                asyncio.get_running_loop().call_later(1, self._start_thread)
            return
        self._threads += 1

    def _work(self) -> None:
        jobs, idle = self._jobs, self._idle
        while (job := jobs.get()) is not None:  # for the first one it was started: no mark
            if job():
                return
            del job  # a job holds the inputs of a node
            idle.append(None)

    async def call(self, function: Callable[[], T], *, timeout: float | None = None,
                   clock: StepClock | None = None) -> T:
        """Run a function on this lane and wait for what it returns or raises.

        :param timeout: seconds from when the function is called, not counting the time in the queue.
        :param clock: restarted by the function before each of its steps: then the seconds are those of a step.
        :raises CallTimedOut: it did not return in time. Its thread is written off.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        clock = clock or StepClock()

        def job() -> bool:
            clock.restart()
            try:
                result = function()
            except BaseException as error:
                # A future takes no StopIteration.
                failure = error if not isinstance(error, StopIteration) else RuntimeError("StopIteration raised")
                deliver: tuple[Callable[..., None], Any] = (_fail, failure)
            else:
                deliver = (_succeed, result)
            if not clock.end():
                return True
            try:
                loop.call_soon_threadsafe(deliver[0], answer, deliver[1])
            except RuntimeError:
                pass  # the loop is closed: nobody waits
            return False

        self.submit(job)
        if timeout is None:
            return await answer
        timer = loop.call_later(timeout, lambda: look())

        def look() -> None:
            nonlocal timer
            left = clock.give_up(timeout)
            if left:
                timer = loop.call_later(left, look)
            else:
                self.write_off_thread()
                answer.set_exception(CallTimedOut())

        try:
            return await answer
        finally:
            timer.cancel()


def _taken_from(marks: list[None]) -> bool:
    try:
        marks.pop()
    except IndexError:
        return False
    return True


def _succeed(answer: "asyncio.Future[T]", result: T) -> None:
    if not answer.done():
        answer.set_result(result)


def _fail(answer: "asyncio.Future[Any]", error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)


class NodeLanes:
    """The lane of each pool, made when it is first used.

    :param capacity: tokens of a pool, which bounds the threads of its lane.
    """

    def __init__(self, capacity: Callable[[str], int]) -> None:
        self._capacity = capacity
        self._lanes: dict[str, ThreadLane] = {}

    def lane_for(self, needs: Iterable[tuple[str, int]]) -> ThreadLane:
        """Where a call with these needs runs: on a gpu thread if it holds a gpu token."""
        pools = [pool for pool, _ in needs]
        name = "gpu" if "gpu" in pools else pools[0] if pools else "blocking"
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = ThreadLane(name, self._capacity(name))
        return lane

    def close(self) -> None:
        for lane in self._lanes.values():
            lane.close()
