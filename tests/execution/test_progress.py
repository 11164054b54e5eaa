"""Progress by a manual clock: a desk that is told of it, and what it passes on when."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import pytest

from execution import (
    CurrentNodeContext,
    Event,
    InterruptProcessing,
    NodeError,
    NodeFailed,
    NodeFinished,
    NodeId,
    NodePlace,
    NodeProgressed,
    NodeSaid,
    NodeStarted,
    Outcome,
    ProgressBar,
    ProgressTabled,
    PromptFinished,
    PromptId,
    progress,
    report_progress,
    report_text,
)
from execution.identifiers import CallId
from execution.node_context import NodeCall
from execution.progress import INTERVAL, ProgressDesk, ProgressTables
from tests.support.manual_clock import ManualClock
from tests.support.node_definitions import show

PROMPT = PromptId("p")


def place_of(prompt_id: PromptId, node_id: NodeId) -> NodePlace | None:
    """Nodes of the prompt p, all but `ghost`."""
    return NodePlace(node_id, node_id, None, node_id) if prompt_id == PROMPT and node_id != "ghost" else None


class Mailbox:
    """Letters to the loop, which are delivered when the test says so."""

    def __init__(self) -> None:
        self.letters: list[tuple[Callable[[Any], None], Any]] = []

    def post(self, function: Callable[[Any], None], argument: Any) -> None:
        self.letters.append((function, argument))

    def deliver(self) -> None:
        while self.letters:
            function, argument = self.letters.pop(0)
            function(argument)


class Lane:
    """Jobs of the encoder, which are done when the test says so."""

    def __init__(self, *_: Any) -> None:
        self.jobs: list[Callable[[], None]] = []

    def submit(self, job: Callable[[], None]) -> None:
        self.jobs.append(job)

    def work(self) -> None:
        while self.jobs:
            self.jobs.pop(0)()

    def close(self) -> None: ...


class Scene:
    """A desk on a loop that stands still."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.events: list[NodeProgressed] = []
        self.mailbox = Mailbox()
        self.desk = ProgressDesk(clock, self.publish, place_of, self.encode)
        self.desk.use(self.mailbox)  # type: ignore[arg-type]
        self.lane: Lane = self.desk._lane  # type: ignore[assignment]
        self._ids = 0

    def publish(self, event: Event) -> None:
        assert isinstance(event, (NodeProgressed, NodeSaid))
        self.events.append(event)

    @staticmethod
    def encode(preview: Any) -> tuple[str, bytes]:
        kind, picture, _ = preview
        if picture == "broken":
            raise ValueError("no picture")
        return kind, picture.encode()

    def call(self, node_id: str = "1") -> NodeCall:
        self._ids += 1
        return NodeCall(CallId(self._ids), PROMPT, NodeId(node_id), show(), self.desk)

    def end(self, call: NodeCall) -> list[str]:
        """End a call, as the caller does. Returns a list that says so once its end may be told."""
        told: list[str] = []
        call.has_ended = True
        self.desk.settle(call, lambda: told.append("ended"))
        return told

    def values(self) -> list[float]:
        return [event.value for event in self.events]

    def from_thread(self, function: Callable[[], None]) -> None:
        thread = threading.Thread(target=function)
        thread.start()
        thread.join(30)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    clock = ManualClock()
    monkeypatch.setattr(progress.asyncio, "get_running_loop", lambda: clock)
    monkeypatch.setattr(progress, "ThreadLane", Lane)
    return Scene(clock)


def report(call: NodeCall, value: float, *, node_id: str | None = None, preview: Any = None) -> None:
    call.desk.report(call, NodeId(node_id or call.node_id), value, 10, preview, False)


def test_the_first_report_goes_out_at_once(scene: Scene) -> None:
    report(scene.call(), 1)
    (event,) = scene.events
    assert (event.prompt_id, event.place.node_id, event.value, event.maximum) == (PROMPT, "1", 1, 10)


def test_reports_that_come_too_fast_replace_each_other_and_the_last_goes_out(scene: Scene) -> None:
    call = scene.call()
    for value in range(5):
        report(call, value)
    assert scene.values() == [0]
    scene.clock.advance(INTERVAL)
    assert scene.values() == [0, 4]
    scene.clock.advance(10 * INTERVAL)
    assert scene.values() == [0, 4], "nothing new, nothing told"


def test_a_node_is_told_of_at_most_twenty_times_a_second(scene: Scene) -> None:
    call = scene.call()
    for value in range(1000):
        report(call, value)
        scene.clock.advance(0.001)
    scene.clock.advance(INTERVAL)
    assert 19 <= len(scene.events) <= 21
    assert scene.values()[-1] == 999


def test_nodes_do_not_slow_each_other_down(scene: Scene) -> None:
    call = scene.call()
    report(call, 1)
    report(call, 2, node_id="2")
    report(scene.call("3"), 3)
    assert scene.values() == [1, 2, 3]


def test_the_last_report_goes_out_before_the_end_of_the_call(scene: Scene) -> None:
    call = scene.call()
    report(call, 1)
    report(call, 2)
    assert scene.end(call) == ["ended"]
    assert scene.values() == [1, 2]
    assert scene.clock.waiting == 0


def test_a_cancelled_call_tells_nothing_more(scene: Scene) -> None:
    call = scene.call()
    report(call, 1)
    report(call, 2)
    call.is_cancelled = True
    assert scene.end(call) == ["ended"]
    assert scene.values() == [1]


def test_a_report_after_the_end_is_dropped_and_leaves_nothing(scene: Scene) -> None:
    call = scene.call()
    report(call, 1)
    scene.end(call)
    report(call, 2)
    scene.from_thread(lambda: report(call, 3))
    scene.mailbox.deliver()
    scene.clock.advance(1)
    assert scene.values() == [1]
    assert scene.desk._tracks == {}


def test_a_report_on_its_way_while_the_call_ends_goes_out_before_the_end(scene: Scene) -> None:
    call = scene.call()
    scene.from_thread(lambda: report(call, 5))
    assert scene.events == [], "it is on its way to the loop"
    assert scene.end(call) == ["ended"]
    assert scene.values() == [5]
    scene.mailbox.deliver()
    assert scene.values() == [5]
    assert scene.desk._tracks == {}


def test_a_node_that_is_not_of_the_prompt_is_told_of_to_nobody(scene: Scene) -> None:
    call = scene.call()
    report(call, 1, node_id="ghost")
    assert scene.events == []


def test_reports_from_a_thread_come_over_the_loop_and_cost_one_letter(scene: Scene) -> None:
    call = scene.call()
    scene.from_thread(lambda: [report(call, value) for value in range(100)] and None)
    assert scene.events == []
    assert len(scene.mailbox.letters) == 1
    scene.mailbox.deliver()
    assert scene.values() == [99]


def test_a_preview_is_encoded_elsewhere_and_goes_out_with_its_tick(scene: Scene) -> None:
    call = scene.call()
    report(call, 1, preview=("PNG", "picture", None))
    assert scene.events == []
    scene.lane.work()
    scene.mailbox.deliver()
    (event,) = scene.events
    assert (event.value, event.preview_format, event.preview) == (1, "PNG", b"picture")


def test_the_end_of_a_call_waits_for_its_last_preview(scene: Scene) -> None:
    call = scene.call()
    report(call, 1, preview=("PNG", "picture", None))
    told = scene.end(call)
    assert told == []
    scene.lane.work()
    scene.mailbox.deliver()
    assert told == ["ended"]
    assert [event.preview for event in scene.events] == [b"picture"]


def test_the_newest_report_is_the_last_even_if_a_preview_is_late(scene: Scene) -> None:
    call = scene.call()
    report(call, 1, preview=("PNG", "picture", None))
    report(call, 2)
    told = scene.end(call)
    scene.lane.work()
    scene.mailbox.deliver()
    assert scene.values() == [1, 2]
    assert told == ["ended"]


def test_of_two_previews_at_the_end_both_go_out_in_order(scene: Scene) -> None:
    call = scene.call()
    report(call, 1, preview=("PNG", "first", None))
    report(call, 2, preview=("PNG", "second", None))
    told = scene.end(call)
    for _ in range(2):
        scene.lane.work()
        scene.mailbox.deliver()
    assert [event.preview for event in scene.events] == [b"first", b"second"]
    assert told == ["ended"]


def test_a_preview_that_cannot_be_encoded_costs_only_the_picture(scene: Scene,
                                                                 caplog: pytest.LogCaptureFixture) -> None:
    call = scene.call()
    report(call, 1, preview=("PNG", "broken", None))
    told = scene.end(call)
    scene.lane.work()
    scene.mailbox.deliver()
    assert [(event.value, event.preview) for event in scene.events] == [(1, None)]
    assert told == ["ended"]
    assert "cannot be encoded" in caplog.text


def in_node(call: NodeCall, function: Callable[[], Any]) -> Any:
    """Run as code of a node."""
    def run() -> Any:
        with CurrentNodeContext("", "", None, call=call):
            return function()

    return copy_context().run(run)


def test_a_bar_tells_of_the_node_that_is_being_called(scene: Scene) -> None:
    def work() -> None:
        bar = ProgressBar(8)
        bar.update(3)
        scene.clock.advance(INTERVAL)
        bar.update(3)
        scene.clock.advance(INTERVAL)
        bar.update(3)
        scene.clock.advance(INTERVAL)
        bar.update_absolute(5, total=6)

    in_node(scene.call("4"), work)
    assert [(event.place.node_id, event.value, event.maximum) for event in scene.events] == [
        ("4", 3, 8), ("4", 6, 8), ("4", 8, 8), ("4", 5, 6)]


def test_a_bar_may_name_its_node(scene: Scene) -> None:
    in_node(scene.call("4"), lambda: ProgressBar(2, node_id="5").update(1))
    assert [event.place.node_id for event in scene.events] == ["5"]


def test_a_bar_stops_a_cancelled_node(scene: Scene) -> None:
    call = scene.call()
    bar = in_node(call, lambda: ProgressBar(2))
    call.is_cancelled = True
    with pytest.raises(InterruptProcessing):
        bar.update(1)
    assert scene.events == []


def test_a_bar_outside_of_any_node_does_nothing() -> None:
    bar = ProgressBar(2)
    bar.update(1)
    assert bar.current == 1


def test_progress_without_a_bar_is_marked_and_stops_nobody(scene: Scene) -> None:
    call = scene.call()
    in_node(call, lambda: report_progress(1, 4))
    assert [(event.value, event.maximum, event.registry_only) for event in scene.events] == [(1, 4, True)]
    call.is_cancelled = True
    in_node(call, lambda: report_progress(2, 4))
    with pytest.raises(ValueError, match="name one"):
        report_progress(1, 2)


def test_every_text_is_told_in_order_until_the_call_ends(scene: Scene) -> None:
    call = scene.call("4")
    for text in ("one", "two", "two"):
        in_node(call, lambda text=text: report_text(text))
    in_node(call, lambda: report_text("of another", node_id="5"))
    call.has_ended = True
    in_node(call, lambda: report_text("too late"))
    assert [(event.place.node_id, event.text) for event in scene.events] == [
        ("4", "one"), ("4", "two"), ("4", "two"), ("5", "of another")]
    with pytest.raises(ValueError, match="name one"):
        report_text("from nowhere")
    report_text("to nobody", node_id="4")


# -- tables ---------------------------------------------------------------------------------------------------------


def place(node_id: str) -> NodePlace:
    return NodePlace(NodeId(node_id), NodeId(node_id), None, NodeId(node_id))


class Tables:
    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.told: list[tuple[PromptId, dict[str, tuple[float, float, str]]]] = []
        self.tables = ProgressTables(self.publish)

    def publish(self, event: Event) -> None:
        assert isinstance(event, ProgressTabled)
        self.told.append((event.prompt_id, {
            node_id: (row.value, row.max, row.state) for node_id, row in event.rows.items()}))

    def note(self, kind: type[Event], node_id: str, prompt_id: PromptId = PROMPT, **fields: Any) -> None:
        self.tables.note(kind(prompt_id=prompt_id, place=place(node_id), **fields))


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Tables:
    clock = ManualClock()
    monkeypatch.setattr(progress.asyncio, "get_running_loop", lambda: clock)
    return Tables(clock)


def test_a_table_has_all_nodes_that_started_and_comes_once_an_interval(tables: Tables) -> None:
    tables.note(NodeStarted, "1")
    tables.note(NodeStarted, "2")
    tables.note(NodeProgressed, "2", value=3, maximum=9)
    tables.note(NodeFinished, "1", ui=None, is_output=False)
    assert tables.told == []
    tables.clock.advance(INTERVAL)
    assert tables.told == [(PROMPT, {"1": (1, 1, "finished"), "2": (3, 9, "running")})]
    tables.clock.advance(1)
    assert len(tables.told) == 1


def test_a_finished_node_keeps_the_maximum_that_it_told(tables: Tables) -> None:
    tables.note(NodeStarted, "1")
    tables.note(NodeProgressed, "1", value=3, maximum=9)
    tables.note(NodeFinished, "1", ui=None, is_output=False)
    tables.clock.advance(INTERVAL)
    assert tables.told[0][1] == {"1": (9, 9, "finished")}


def test_of_cached_nodes_only_outputs_are_in_the_table(tables: Tables) -> None:
    tables.note(NodeFinished, "1", ui=None, is_output=True, from_cache=True)
    tables.note(NodeFinished, "2", ui=None, is_output=False, from_cache=True)
    tables.clock.advance(INTERVAL)
    assert tables.told[0][1] == {"1": (1, 1, "finished")}


def test_the_last_table_goes_out_before_the_end_of_the_prompt(tables: Tables) -> None:
    tables.note(NodeStarted, "1")
    tables.note(NodeStarted, "1", PromptId("other"))
    tables.tables.note(PromptFinished(prompt_id=PROMPT, outcome=Outcome.SUCCEEDED, remaining=0))
    assert [prompt_id for prompt_id, _ in tables.told] == [PROMPT]
    tables.clock.advance(1)
    assert [prompt_id for prompt_id, _ in tables.told] == [PROMPT, "other"]


def test_a_prompt_that_ends_without_news_has_no_further_table(tables: Tables) -> None:
    tables.note(NodeStarted, "1")
    tables.clock.advance(INTERVAL)
    tables.tables.note(PromptFinished(prompt_id=PROMPT, outcome=Outcome.SUCCEEDED, remaining=0))
    tables.clock.advance(1)
    assert len(tables.told) == 1


def test_what_ran_beside_a_node_that_failed_is_not_in_the_last_table(tables: Tables) -> None:
    for node_id in ("1", "2", "3"):
        tables.note(NodeStarted, node_id)
    tables.note(NodeFinished, "1", ui=None, is_output=False)
    tables.clock.advance(INTERVAL)
    tables.note(NodeFailed, "2", node_type="Fails", executed=["1"], known=["1", "2", "3"],
                error=NodeError(exception_type="ValueError", exception_message="no"))
    tables.tables.note(PromptFinished(prompt_id=PROMPT, outcome=Outcome.FAILED, remaining=0))
    assert tables.told[-1] == (PROMPT, {"1": (1, 1, "finished"), "2": (0, 1, "running")})
    tables.clock.advance(1)
    assert len(tables.told) == 2


def test_closing_leaves_no_timer(tables: Tables) -> None:
    tables.note(NodeStarted, "1")
    tables.tables.close()
    assert tables.clock.waiting == 0
