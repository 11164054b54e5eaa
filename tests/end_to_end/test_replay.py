"""What was missed is told again: to sockets that say what they saw, as server-sent events, and to old clients."""

import contextlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from execution import ProgressBar
from tests.inference.made_nodes import Door, Shown, add_nodes, make_node, studio_with
from tests.inference.studio_client import StudioClient, connect, node
from tests.support.studio import running_studio


class NumberedSocket:
    """A socket that asked for numbers. Binary frames stand as their bytes."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.seen = 0

    async def receive(self) -> Any:
        frame = await self.socket.receive()
        if frame.type is aiohttp.WSMsgType.BINARY:
            return frame.data
        assert frame.type is aiohttp.WSMsgType.TEXT, frame
        message = json.loads(frame.data)
        if "seq" in message:
            assert message["seq"] >= self.seen, "numbers only grow"
            self.seen = message["seq"]
        return message

    async def until(self, kind: str, **data: Any) -> list[Any]:
        frames = []
        while True:
            frame = await self.receive()
            frames.append(frame)
            if isinstance(frame, dict) and frame["type"] == kind and frame["data"].items() >= data.items():
                return frames


@contextlib.asynccontextmanager
async def numbered(client: StudioClient, since: int | str) -> AsyncIterator[NumberedSocket]:
    url = f"{client.url}/ws?clientId={client.client_id}&since={since}"
    async with client.session.ws_connect(url, max_msg_size=0) as socket:
        yield NumberedSocket(socket)


def told_of(frames: list[Any], prompt_id: str) -> list[str]:
    """State messages of a prompt, in words."""
    return [f"{one['type']} {one['data'].get('node', '')}".strip() for one in frames
            if isinstance(one, dict) and one["data"].get("prompt_id") == prompt_id
            and one["type"] not in ("progress", "progress_state")]


STORY = ["execution_start", "execution_cached", "executing 1", "executed 1", "execution_success", "executing None"]


# -- sockets ----------------------------------------------------------------------------------------------------------


async def test_a_socket_that_asks_is_told_a_snapshot_and_then_numbers() -> None:
    async with studio_with(Show=Shown().node()) as (_, client), numbered(client, "now") as socket:
        first = await socket.receive()
        assert (first["type"], first["data"]["sid"]) == ("status", client.client_id)
        snapshot = await socket.receive()
        assert snapshot["type"] == "snapshot"
        assert snapshot["data"] == {"queue": {"running": [], "pending": [], "is_paused": False},
                                    "exec_info": {"queue_remaining": 0}, "prompts": {}}
        prompt_id = await client.submit({"1": node("Show", a=1)})
        frames = await socket.until("executing", node=None, prompt_id=prompt_id)
        assert told_of(frames, prompt_id) == STORY
        assert socket.seen > 0
        numbers = [one["seq"] for one in frames if isinstance(one, dict) and "seq" in one]
        assert numbers == sorted(set(numbers)), "one for each event, on its last message"
        assert "seq" not in (await client.until("executing", node=None, prompt_id=prompt_id))[-1].data


async def test_what_was_missed_is_told_again_once_and_in_order_then_how_things_are() -> None:
    async with studio_with(Show=Shown().node()) as (studio, client):
        async with numbered(client, "now") as socket:
            seen_all = await client.submit({"1": node("Show", a="seen")})
            await socket.until("executing", node=None, prompt_id=seen_all)
        missed = [await client.submit({"1": node("Show", a=tag)}) for tag in ("first", "second")]
        for prompt_id in missed:
            await client.until("executing", node=None, prompt_id=prompt_id)
        async with connect(studio.url, "somebody") as other:
            not_mine = await other.submit({"1": node("Show", a="other")})
            await other.until("executing", node=None, prompt_id=not_mine)
        async with numbered(client, socket.seen) as again:
            again.seen = socket.seen
            frames = await again.until("snapshot")
            for prompt_id in missed:
                assert told_of(frames, prompt_id) == STORY
            assert told_of(frames, seen_all) == []
            assert told_of(frames, not_mine) == []
            shown = [one["data"]["output"] for one in frames if one["type"] == "executed"]
            assert shown == [{"shown": ["first"]}, {"shown": ["second"]}]


async def test_the_snapshot_has_what_runs_how_far_it_is_and_its_last_preview() -> None:
    door = Door()

    async def works(a: Any) -> tuple[Any]:
        bar = ProgressBar(10)
        bar.update_absolute(4, preview=("PNG", Image.new("RGB", (8, 8), "red"), None))
        await door.stop()
        bar.update(6)
        return (a,)

    async with studio_with(Works=make_node(works, output=True)) as (_, client):
        prompt_id = await client.submit({"7": node("Works", a=1)})
        await door.reached()
        await client.until("progress")
        while True:  # the picture is encoded on a thread
            async with numbered(client, "now") as socket:
                (snapshot,) = (await socket.until("snapshot"))[1:]
                if snapshot["data"]["prompts"].get(prompt_id, {}).get("nodes"):
                    preview = await socket.receive()
                    break
        data = snapshot["data"]
        assert data["queue"]["running"] == [prompt_id]
        assert data["prompts"][prompt_id]["running_nodes"] == ["7"]
        row = data["prompts"][prompt_id]["nodes"]["7"]
        assert (row["value"], row["max"], row["state"]) == (4, 10, "running")
        assert isinstance(preview, bytes)
        assert int.from_bytes(preview[:4], "big") == 4, "with metadata: it says whose it is"
        length = int.from_bytes(preview[4:8], "big")
        assert json.loads(preview[8:8 + length])["node_id"] == "7"
        assert Image.open(io.BytesIO(preview[8 + length:])).size == (8, 8)
        door.open()
        await client.end_of(prompt_id)


async def test_what_happens_while_a_socket_catches_up_comes_after_the_snapshot_and_nothing_twice(
        monkeypatch: pytest.MonkeyPatch) -> None:
    from web import replay

    monkeypatch.setattr(replay, "EVENTS_AT_ONCE", 3)
    async with studio_with(Show=Shown().node()) as (_, client):
        early = [await client.submit({"1": node("Show", a=number)}) for number in range(5)]
        for prompt_id in early:
            await client.until("executing", node=None, prompt_id=prompt_id)
        async with numbered(client, 0) as socket:
            late = [await client.submit({"1": node("Show", a=number)}) for number in range(10, 15)]
            frames = await socket.until("executing", node=None, prompt_id=late[-1])
            for prompt_id in early + late:
                assert told_of(frames, prompt_id) == STORY


@pytest.mark.parametrize(("since", "reason"), [(10**12, "too_new"), (3, "too_old")])
async def test_a_gap_is_said_and_the_snapshot_follows(since: int, reason: str,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    async with studio_with(Show=Shown().node()) as (studio, client):
        run = await client.run({"1": node("Show", a=1)})
        if reason == "too_old":
            async def oldest() -> int:
                return 5

            monkeypatch.setattr(studio.engine.history, "oldest_event", oldest)
        async with numbered(client, since) as socket:
            await socket.receive()
            gap = await socket.receive()
            assert gap["type"] == "replay_gap"
            assert (gap["data"]["since"], gap["data"]["reason"]) == (since, reason)
            assert gap["data"]["last"] == studio.engine.last_told
            assert (await socket.receive())["type"] == "snapshot"
        assert run.succeeded


async def test_without_a_log_there_is_a_gap() -> None:
    async with studio_with({"store": "memory"}, Show=Shown().node()) as (_, client):
        await client.run({"1": node("Show", a=1)})
        async with numbered(client, 0) as socket:
            gap = (await socket.until("snapshot"))[1]
            assert gap["data"]["reason"] == "no_log"


@pytest.mark.parametrize("since", ["", "x", "-1", "1.5", "٣", "9" * 30])
async def test_nonsense_is_refused(since: str) -> None:
    async with studio_with() as (_, client):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with numbered(client, since):
                pass
        assert refused.value.status == 400
        async with client.session.get(f"{client.url}/api/jobs/x/events?since={since or 'x'}") as response:
            assert response.status == 400
            assert "since" in (await response.json())["error"]


async def test_two_sockets_with_one_id_one_of_which_counts() -> None:
    async with studio_with(Show=Shown().node()) as (_, client), numbered(client, "now") as socket:
        run = await client.run({"1": node("Show", a=1)})
        assert told_of(await socket.until("executing", node=None, prompt_id=run.prompt_id),
                       run.prompt_id) == STORY
        assert run.succeeded


# -- over a restart ---------------------------------------------------------------------------------------------------


async def test_numbers_go_on_and_a_replay_reaches_back_over_a_restart(tmp_path: Path) -> None:
    shown = Shown()
    async with running_studio(base_directory=tmp_path) as studio, connect(studio.url) as client:
        add_nodes(studio, Show=shown.node())
        async with numbered(client, "now") as socket:
            before = await client.submit({"1": node("Show", a=1)})
            await socket.until("executing", node=None, prompt_id=before)
            seen = socket.seen
            missed = await client.submit({"1": node("Show", a=2)})
            await client.until("executing", node=None, prompt_id=missed)
    async with running_studio(base_directory=tmp_path) as studio, connect(studio.url) as client:
        add_nodes(studio, Show=shown.node())
        async with numbered(client, seen) as socket:
            socket.seen = seen
            frames = await socket.until("snapshot")
            assert told_of(frames, missed) == STORY
            assert told_of(frames, before) == []
            after = await client.submit({"1": node("Show", a=3)})
            await socket.until("executing", node=None, prompt_id=after)
            assert socket.seen > seen + 1000, "far above anything that was told before"


async def test_an_old_client_is_told_the_end_that_was_on_record_when_the_process_ended(tmp_path: Path) -> None:
    """It may have heard of it already; without it, it may wait for ever."""
    async with running_studio(base_directory=tmp_path) as studio, connect(studio.url) as client:
        add_nodes(studio, Show=Shown().node())
        run = await client.run({"1": node("Show", a=1)})
    async with running_studio(base_directory=tmp_path) as studio, connect(studio.url) as client:
        frames = await client.until("executing", node=None, prompt_id=run.prompt_id)
        assert [frame.kind for frame in frames] == ["execution_success", "executing"]


# -- server-sent events -----------------------------------------------------------------------------------------------


def events_in(text: str) -> list[tuple[str, str, Any]]:
    """(id, name, data) of each event."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "event" in fields:
            found.append((fields.get("id", ""), fields["event"], json.loads(fields["data"])))
    return found


async def test_events_of_a_job_from_its_beginning_to_its_end_and_then_nothing() -> None:
    door = Door()

    async def wait(a: Any) -> dict[str, Any]:
        await door.stop()
        return {"ui": {"shown": [a]}, "result": ()}

    async with studio_with(Wait=make_node(wait, output=True)) as (_, client):
        prompt_id = await client.submit({"1": node("Wait", a="x")})
        await door.reached()
        async with client.session.get(f"{client.url}/api/jobs/{prompt_id}/events") as response:
            assert response.status == 200
            assert response.content_type == "text/event-stream"
            door.open()
            events = events_in((await response.read()).decode())
        told = [f"{name} {data.get('node', '')}".strip() for _, name, data in events
                if name not in ("status", "progress_state")]
        assert told == STORY
        numbers = [int(one) for one, _, _ in events if one]
        assert numbers == sorted(set(numbers))
        url = f"{client.url}/api/jobs/{prompt_id}/events"
        async with client.session.get(url, headers={"Last-Event-ID": str(numbers[-1])}) as response:
            assert response.status == 204, "it has ended, and all of it was told"
        async with client.session.get(f"{url}?since={numbers[-2]}") as response:
            rest = events_in((await response.read()).decode())
            assert [int(one) for one, _, _ in rest if one] == numbers[-1:]


async def test_events_of_an_unknown_job_and_of_others() -> None:
    async with studio_with(Show=Shown().node()) as (_, client):
        async with client.session.get(f"{client.url}/api/jobs/nobody/events") as response:
            assert response.status == 404
            assert await response.json() == {"error": "Job not found"}
        first, second = [(await client.run({"1": node("Show", a=tag)})).prompt_id for tag in (1, 2)]
        async with client.session.get(f"{client.url}/api/jobs/{first}/events") as response:
            events = events_in((await response.read()).decode())
        assert {data["prompt_id"] for _, _, data in events if "prompt_id" in data} == {first} != {second}


async def test_silence_is_broken_by_a_comment(monkeypatch: pytest.MonkeyPatch) -> None:
    from web import job_events

    monkeypatch.setattr(job_events, "HEARTBEAT", 0.01)
    door = Door()

    async def wait(a: Any) -> tuple[Any]:
        await door.stop()
        return (a,)

    async with studio_with(Wait=make_node(wait, output=True)) as (_, client):
        prompt_id = await client.submit({"1": node("Wait", a=1)})
        await door.reached()
        async with client.session.get(f"{client.url}/api/jobs/{prompt_id}/events") as response:
            async for line in response.content:
                if line.startswith(b":"):
                    break
            else:
                pytest.fail("the stream ended without a comment")
        door.open()
        await client.end_of(prompt_id)
