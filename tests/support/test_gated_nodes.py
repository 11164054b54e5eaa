import asyncio
import threading

import pytest

from tests.support.gated_nodes import GatedNode


async def test_an_async_call_stops_at_the_door_until_it_is_let_go() -> None:
    gate = GatedNode("Gate")
    task = asyncio.create_task(gate.definition.function(None)(a=1))
    (call,) = await gate.arrived()
    assert call.arguments == {"a": 1}
    assert not task.done()
    call.let_go("result")
    assert await task == "result"
    assert call.has_ended


async def test_a_plain_call_blocks_its_thread_and_no_other() -> None:
    gate = GatedNode("Gate", plain=True)
    task = asyncio.create_task(asyncio.to_thread(gate.definition.function(None), a=1))
    (call,) = await gate.arrived()
    assert call.thread != threading.get_ident()
    assert not call.has_ended
    call.let_go("result")
    assert await task == "result"
    await gate.ended()


@pytest.mark.parametrize("plain", [False, True])
async def test_a_call_can_be_made_to_fail(plain: bool) -> None:
    gate = GatedNode("Gate", plain=plain)
    function = gate.definition.function(None)
    task = asyncio.create_task(asyncio.to_thread(function) if plain else function())
    (call,) = await gate.arrived()
    call.fail(ValueError("as told"))
    with pytest.raises(ValueError, match="as told"):
        await task
    assert not call.was_cancelled


async def test_an_open_door_lets_through_who_stands_there_and_who_comes_later() -> None:
    gate = GatedNode("Gate")
    function = gate.definition.function(None)
    first = asyncio.create_task(function())
    await gate.arrived()
    gate.open("outcome")
    assert [await first, await function()] == ["outcome", "outcome"]
    assert len(await gate.ended(2)) == 2


async def test_a_cancelled_call_cleans_up_as_long_as_it_is_told_to() -> None:
    gate = GatedNode("Gate")
    gate.cleans_up = asyncio.Event()
    task = asyncio.create_task(gate.definition.function(None)())
    (call,) = await gate.arrived()
    task.cancel()
    await asyncio.sleep(0)
    assert call.was_cancelled
    assert not call.has_ended
    gate.cleans_up.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert call.has_ended
