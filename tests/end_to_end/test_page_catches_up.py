"""What the page learns after its line was broken or its tab was reloaded; what it says of pauses, busy pools, branches.

The server is in this process, so that nodes stop at doors of the tests.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from execution import ProgressBar, TransientError
from tests.end_to_end.test_page import OF_A_BROKEN_LINE, Relay
from tests.inference.made_nodes import Door, Shown, make_node, studio_with
from tests.inference.studio_client import StudioClient, node
from tests.support.browser import Page, open_page, running_chromium
from tests.support.studio import RunningStudio

CLIENT = "client-a"
"""That of `studio_with`. The page shows its runs under `?clientId=`."""
RUNS = "[...document.querySelectorAll('.run')].map((run) => run.dataset.state).join(' ')"
CONNECTED = "document.getElementById('connection').dataset.state === 'connected'"
RECONNECTING = "document.getElementById('connection').dataset.state === 'reconnecting'"
CAUGHT_UP = "sessionStorage.getItem('studio.since') !== null"
FIGURES = "[...document.querySelectorAll('.bar-figure')].map((figure) => figure.textContent).join(' ')"


@pytest.fixture(scope="module")
def chromium() -> Iterator[str]:
    with running_chromium() as address:
        yield address


@contextlib.asynccontextmanager
async def page_on(chromium: str, settings: dict[str, Any] | None = None,
                  **classes: type) -> AsyncIterator[tuple[RunningStudio, StudioClient, Relay, Page]]:
    """A server with these nodes, and its page, whose line can be cut. The client's own socket is not the page's."""
    async with studio_with(settings, **classes) as (studio, client), open_page(chromium) as page:
        relay = Relay(studio.url)
        await relay.listen()
        await go(page, relay)
        yield studio, client, relay, page
        relay.cut()


async def go(page: Page, relay: Relay) -> None:
    await page.go(f"http://127.0.0.1:{relay.port}/?clientId={CLIENT}")
    await page.until(f"{CONNECTED} && !document.getElementById('run').disabled")


def works_until(door: Door) -> type:
    """A node that is at 4 of 10 in front of the door, and shows what it was given behind it."""
    async def work(a: Any) -> dict[str, Any]:
        bar = ProgressBar(10)
        bar.update_absolute(4)
        await door.stop()
        return {"ui": {"worked": [str(a)]}, "result": (a,)}

    return make_node(work, output=True)


async def no_trouble(page: Page) -> None:
    assert [one for one in page.complaints if not any(word in one for word in OF_A_BROKEN_LINE)] == []


# --- a broken line -------------------------------------------------------------------------------------------------


async def test_what_was_missed_is_told_in_full_and_the_run_goes_on(chromium: str) -> None:
    first, second = Door(), Door()
    classes = {"Show": Shown().node(), "First": works_until(first), "Second": works_until(second)}
    async with page_on(chromium, **classes) as (_, client, relay, page):
        prompt_id = await client.submit({"1": node("First", a="x"), "2": node("Show", a=["1", 0]),
                                         "3": node("Second", a=["1", 0])})
        await page.until(f"{RUNS} === 'running' && {FIGURES} === '40 %'")
        await page.until(CAUGHT_UP)
        relay.cut()
        await page.until(RECONNECTING)
        first.open()
        await second.reached()
        assert await page.evaluate(FIGURES) == "40 %", "it was told in spite of the cut"
        await relay.listen()
        await page.until(CONNECTED)
        # `executed` of both comes by the replay alone: a listing tells of no outputs of what runs.
        await page.until("[...document.querySelectorAll('.texts pre')].map((each) => each.innerText).sort().join() "
                         "=== 'x,x'")
        await page.until("document.querySelector('.run-state').textContent === 'running, 2 of 3 nodes'")
        await page.until("document.querySelector('.bar[data-state=running] .bar-figure').textContent === '40 %'")
        second.open()
        await page.until(f"{RUNS} === 'succeeded'")
        assert len(await page.texts(".run")) == 1
        assert await client.history(prompt_id)
        since = [url for url in page.requests if "since=" in url]
        assert since[0].endswith("since=now")
        assert since[-1].rpartition("=")[2].isdigit()
        await no_trouble(page)


async def test_where_events_cannot_be_told_again_everything_is_read_anew(chromium: str) -> None:
    first, second = Door(), Door()
    classes = {"First": works_until(first), "Second": works_until(second), "Show": Shown().node()}
    async with page_on(chromium, {"store": "memory"}, **classes) as (_, client, relay, page):
        await client.submit({"1": node("First", a="x"), "2": node("Second", a=["1", 0])})
        await page.until(f"{RUNS} === 'running' && {FIGURES} === '40 %'")
        relay.cut()
        await page.until(RECONNECTING)
        first.open()
        await second.reached()
        ended = await client.submit({"1": node("Show", a="meanwhile")})
        await client.end_of(ended)
        await relay.listen()
        await page.until(f"{CONNECTED} && {RUNS} === 'succeeded running'")
        await page.until("document.querySelector('.run-state').textContent.startsWith('done') && "
                         "[...document.querySelectorAll('.run-state')][1].textContent === 'running, 1 of 2 nodes'")
        await page.until("document.querySelector('.texts pre')?.innerText === 'meanwhile'")
        second.open()
        await page.until(f"{RUNS} === 'succeeded succeeded'")
        await page.until("[...document.querySelectorAll('.texts pre')].map((each) => each.innerText).join() "
                         "=== 'meanwhile,x,x'")
        await no_trouble(page)


async def test_a_line_that_is_dead_without_saying_so_is_given_up(chromium: str) -> None:
    """A listing that does not come is what tells; its time limit is made short."""
    door = Door()
    async with page_on(chromium, Work=works_until(door)) as (_, client, _relay, page):
        await client.submit({"1": node("Work", a="x")})
        await page.until(f"{RUNS} === 'running'")
        await page.evaluate("window.limit = AbortSignal.timeout; AbortSignal.timeout = () => AbortSignal.abort()")
        await page.until(RECONNECTING)
        await page.evaluate("AbortSignal.timeout = window.limit")
        await page.until(CONNECTED)
        door.open()
        await page.until(f"{RUNS} === 'succeeded'")
        assert len([url for url in page.requests if "since=" in url]) >= 2
        await no_trouble(page)


# --- a reload ------------------------------------------------------------------------------------------------------


async def test_a_reloaded_tab_knows_what_was_shown_before_of_a_run_that_goes_on(chromium: str) -> None:
    door = Door()
    async with page_on(chromium, Show=Shown().node(), Work=works_until(door)) as (_, client, relay, page):
        await client.submit({"1": node("Show", a="early"), "2": node("Work", a="late")},
                            extra_data={"title": "Both"})
        await page.until(f"{RUNS} === 'running' && document.querySelector('.texts pre')?.innerText === 'early'")
        await page.until(f"{FIGURES} === '40 %'")
        for _ in range(2):
            await page.until("Number(sessionStorage.getItem('studio.since')) >= 0")
            await go(page, relay)
            await page.until(f"{RUNS} === 'running' && document.querySelector('.texts pre')?.innerText === 'early'")
            await page.until(f"{FIGURES} === '40 %'")
            assert await page.text(".run-title") == "Both"
            assert await page.text(".run-state") == "running, 1 of 2 nodes"
        door.open()
        await page.until(f"{RUNS} === 'succeeded'")
        await page.until("document.querySelectorAll('.texts pre').length === 2")
        await no_trouble(page)


async def test_the_tab_remembers_the_last_event_once_nothing_runs(chromium: str) -> None:
    async with page_on(chromium, Show=Shown().node()) as (studio, client, _, page):
        prompt_id = await client.submit({"1": node("Show", a="x")})
        await client.end_of(prompt_id)
        await page.until(f"{RUNS} === 'succeeded'")
        last = studio.engine.last_told
        await page.until("document.getElementById('queue-summary').textContent === 'Empty'")
        kept = await page.evaluate("new Promise((resolve) => { const look = () => "
                                   f"sessionStorage.getItem('studio.since') === '{last}' ? resolve(true) "
                                   ": setTimeout(look, 20); look(); })")
        assert kept


# --- the queue -----------------------------------------------------------------------------------------------------


async def test_the_queue_is_paused_and_resumed_by_a_button(chromium: str) -> None:
    async with page_on(chromium, Show=Shown().node()) as (studio, client, relay, page):
        assert await page.text("#pause-queue") == "Pause"
        assert await page.evaluate("document.getElementById('queue-paused').hidden")
        await page.click("#pause-queue")
        await page.until("!document.getElementById('queue-paused').hidden")
        assert studio.engine.is_paused
        await client.submit({"1": node("Show", a="x")})
        await page.until(f"{RUNS} === 'queued'")
        await go(page, relay)
        await page.until("!document.getElementById('queue-paused').hidden "
                         "&& document.getElementById('pause-queue').textContent === 'Resume'")
        assert studio.engine.remaining == 1
        await page.click("#pause-queue")
        await page.until(f"{RUNS} === 'succeeded' && document.getElementById('queue-paused').hidden")
        assert not studio.engine.is_paused
        assert await page.text("#pause-queue") == "Pause"
        studio.engine.pause()  # by somebody else
        await page.until("!document.getElementById('queue-paused').hidden")
        await no_trouble(page)


async def test_a_pool_that_an_abandoned_node_keeps_is_named_with_its_seconds(chromium: str) -> None:
    let_go, came = threading.Event(), threading.Event()

    def hang(a: Any) -> tuple[Any]:
        came.set()
        let_go.wait(40)
        return (a,)

    async with page_on(chromium, Stuck=make_node(hang, output=True)) as (_, client, _relay, page):
        try:
            await client.submit({"1": node("Stuck", a=1)})
            assert await asyncio.to_thread(came.wait, 10)
            await page.until(f"{RUNS} === 'running'")
            await page.until("document.querySelector('#queue-items button')")
            await page.click("#queue-items button")
            line = "document.querySelector('#queue-busy li')?.textContent"
            await page.until(f"/^gpu busy with an abandoned node Stuck \\(1\\), \\d+ s$/.test({line})")
            await page.until(f"{RUNS} === 'interrupted'")
            seconds = f"Number({line}.match(/(\\d+) s$/)[1])"
            before = await page.evaluate(seconds)
            await page.until(f"{seconds} > {before}")
            let_go.set()
            await page.until("!document.querySelector('#queue-busy li')")
            await no_trouble(page)
        finally:
            let_go.set()


async def test_a_pool_that_is_paused_for_want_of_memory_says_so_and_is_resumed(chromium: str) -> None:
    is_short = threading.Event()

    def hungry(a: Any) -> dict[str, Any]:
        if is_short.is_set():
            raise MemoryError("no room")
        return {"ui": {"ate": [str(a)]}, "result": (a,)}

    is_short.set()
    async with page_on(chromium, Hungry=make_node(hungry, output=True)) as (_, client, _relay, page):
        for number in range(3):
            await client.end_of(await client.submit({"1": node("Hungry", a=number)}))
        await page.until("document.querySelector('#queue-busy li')?.textContent.startsWith('gpu paused: ')")
        assert await page.text("#pause-queue") == "Resume"
        is_short.clear()
        await client.submit({"1": node("Hungry", a="last")})
        await page.until("document.getElementById('queue-summary').textContent === '1 running, 0 pending'")
        await page.click("#pause-queue")
        await page.until(f"{RUNS} === 'succeeded failed failed failed'")
        await page.until("!document.querySelector('#queue-busy li')")
        await page.until("document.getElementById('pause-queue').textContent === 'Pause'")


# --- failures, and retries -----------------------------------------------------------------------------------------


async def test_a_run_that_goes_on_after_an_error_is_not_shown_as_ended(chromium: str) -> None:
    door = Door()

    def fail(a: Any) -> tuple[Any]:
        raise ValueError(f"no good: {a}")

    classes = {"Fail": make_node(fail, output=True), "Work": works_until(door)}
    async with page_on(chromium, **classes) as (_, client, _relay, page):
        await client.submit({"1": node("Fail", a="one"), "2": node("Fail", a="two"), "3": node("Work", a="x")},
                            on_error="continue_independent")
        await page.until("document.querySelectorAll('.trouble .notice').length === 2")
        assert await page.evaluate(RUNS) == "running"
        await page.until("document.querySelector('.run-state').textContent === 'running, 0 of 3 nodes, 2 failed'")
        await page.until("document.querySelector('.bar[data-state=running] .bar-figure')?.textContent === '40 %'")
        door.open()
        await page.until(f"{RUNS} === 'partly'")
        assert await page.text(".run-state") == "done in part, 1 of 3 nodes, 2 failed"
        assert await page.text(".texts pre") == "x"
        told = await page.texts(".trouble .error-message")
        assert [one.strip() for one in told] == ["no good: one", "no good: two"]
        await no_trouble(page)


async def test_both_errors_of_a_run_are_there_after_a_reload(chromium: str) -> None:
    def fail(a: Any) -> tuple[Any]:
        raise ValueError(f"no good: {a}")

    classes = {"Fail": make_node(fail, output=True), "Show": Shown().node()}
    async with page_on(chromium, **classes) as (_, client, relay, page):
        prompt_id = await client.submit({"1": node("Fail", a="one"), "2": node("Fail", a="two"),
                                         "3": node("Show", a="x")}, on_error="continue_independent")
        await client.end_of(prompt_id)
        whole = await client.submit({"1": node("Fail", a="three")})
        await client.end_of(whole)
        await go(page, relay)
        await page.until(f"{RUNS} === 'failed partly'")
        await page.until("document.querySelectorAll('.trouble .notice').length === 3")
        told = await page.texts(".trouble .error-message")
        assert [one.strip() for one in told] == ["no good: three", "no good: one", "no good: two"]


async def test_why_a_node_is_tried_again_is_said_until_it_is(chromium: str) -> None:
    door, tries = Door(), []

    async def fetch(a: Any) -> tuple[Any]:
        tries.append(a)
        if len(tries) == 1:
            raise TransientError("the service is busy")
        await door.stop()
        return (a,)

    async with page_on(chromium, Fetch=make_node(fetch, output=True)) as (_, client, _relay, page):
        await client.submit({"1": node("Fetch", a="x")})
        await page.until("document.querySelector('.bar[data-state=running] .bar-text:not([hidden])')?.textContent "
                         "=== 'Trying again in 1 s (2 of 4): the service is busy'")
        assert await page.evaluate(RUNS) == "running"
        await door.reached()
        await page.until("document.querySelector('.bar[data-state=running] .bar-text').hidden")
        door.open()
        await page.until(f"{RUNS} === 'succeeded'")
        await no_trouble(page)
