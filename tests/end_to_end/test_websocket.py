"""Sockets: greeting, flags, who is told what, coming back, and clients that do not read or talk nonsense."""

import asyncio
import contextlib
import io
import json
import re
import socket as sockets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from execution import ProgressBar, report_progress
from tests.inference.made_nodes import Door, Shown, add_nodes, make_node, source, studio_with
from tests.inference.studio_client import Binary, Frame, Message, Run, StudioClient, connect, node
from tests.support.studio import running_studio

TESTING_PACK = Path(__file__).parent.parent / "packs" / "testing_pack"
STATUS_0 = {"status": {"exec_info": {"queue_remaining": 0}}}


def kinds_of(frames: list[Frame]) -> set[str]:
    return {frame.kind for frame in frames if isinstance(frame, Message)}


async def rest_of(client: StudioClient) -> list[Frame]:
    """What a socket was sent so far. It is told of the answer to its flags last, so it must not have sent any."""
    await client.socket.send_json({"type": "feature_flags", "data": {}})
    return (await client.until("feature_flags"))[:-1]


# --- the first frames ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/ws", "/api/ws"])
async def test_the_first_frame_is_a_status_with_the_id(path: str) -> None:
    async with running_studio() as studio, aiohttp.ClientSession() as session:
        for client_id in ("client-a", "ünï cödé", "x" * 500):
            async with session.ws_connect(f"{studio.url}{path}", params={"clientId": client_id}) as socket:
                assert await socket.receive_json() == {"type": "status", "data": {**STATUS_0, "sid": client_id}}
        for query in ("", "?clientId="):
            async with session.ws_connect(f"{studio.url}{path}{query}") as socket:
                first = await socket.receive_json()
                assert re.fullmatch("[0-9a-f]{32}", first["data"]["sid"])


async def test_what_is_no_socket_is_refused() -> None:
    async with running_studio() as studio, aiohttp.ClientSession() as session:
        async with session.get(f"{studio.url}/ws") as response:
            assert response.status == 400
        for path, headers, status in (("/ws", {"Origin": "http://evil.example"}, 403),
                                      (f"/ws?clientId={'x' * 1001}", {}, 400)):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(f"{studio.url}{path}", headers=headers)
            assert refused.value.status == status


async def test_frames_are_not_compressed() -> None:
    """permessage-deflate doubles the cost of a frame (rulings 6)."""
    async with (running_studio() as studio, aiohttp.ClientSession() as session,
                session.ws_connect(f"{studio.url}/ws", compress=15) as socket):
        assert socket.compress == 0


FLAGS = {"type": "feature_flags", "data": {"supports_preview_metadata": True, "supports_manager_v4_ui": True}}


async def test_feature_flags_are_answered_in_the_first_object_alone() -> None:
    async with running_studio(max_upload_size=3.0) as studio:
        async with connect(studio.url) as client:
            for junk in ("not json", "[1]", "", "5", '"text"', "null", "{", "😀"):
                await client.socket.send_str(junk)
            await client.socket.send_json(FLAGS)
            answer = await client.receive()
            await client.socket.send_json(FLAGS)  # a second time: no answer
            await client.socket.ping()
            await client.send("/queue", {"clear": True})
            assert await client.receive() == Message("status", STATUS_0)
        assert isinstance(answer, Message)
        assert answer.kind == "feature_flags"
        assert answer.data["supports_preview_metadata"] is True
        assert answer.data["max_upload_size"] == 3 * 2**20
        async with connect(studio.url) as client:
            assert answer.data == await client.get("/features")
            await client.socket.send_json({"type": "x"})  # an object that is none: nothing is answered any more
            await client.socket.send_json(FLAGS)
            await client.send("/queue", {"clear": True})
            assert await client.receive() == Message("status", STATUS_0)


@pytest.mark.parametrize("data", [None, 5, "text", [1], {}, {"supports_preview_metadata": "yes"}])
async def test_feature_flags_of_any_type_are_taken(data: Any) -> None:
    async with running_studio() as studio, connect(studio.url) as client:
        await client.socket.send_json({"type": "feature_flags", "data": data})
        assert isinstance(await client.receive(), Message)
        add_nodes(studio, Show=Shown().node())
        assert (await client.run({"1": node("Show", a=1)})).succeeded


# --- coming and going ----------------------------------------------------------------------------------------------


async def test_a_socket_that_joins_a_running_prompt_is_told_of_its_node() -> None:
    door = Door()

    async def wait(a: Any) -> tuple[Any]:
        await door.stop()
        return (a,)

    async with studio_with(Wait=make_node(wait, output=True)) as (studio, client):
        prompt_id = await client.submit({"2": node("Wait", a=1)})
        await door.reached()
        await client.socket.close()
        async with connect(studio.url, "somebody") as other:
            first = await client.open_socket()
            assert first == {"status": {"exec_info": {"queue_remaining": 1}}, "sid": "client-a"}
            assert await client.receive() == Message("executing", {"node": "2"})
            door.open()
            run = await client.end_of(prompt_id)
            assert run.succeeded
            # Nobody else is told of the node.
            assert kinds_of(await other.until("status", **STATUS_0)) == {"status"}


async def test_a_client_that_comes_back_is_told_the_ends_that_it_missed() -> None:
    """Its scripts would wait for ever otherwise (rulings 6)."""
    door = Door()

    async def wait(a: Any) -> tuple[Any]:
        await door.stop()
        if a == "bad":
            raise ValueError("while away")
        return (a,)

    async with studio_with(Wait=make_node(wait, output=True)) as (studio, client), connect(studio.url, "b") as other:
        good, bad, stopped = [await client.submit({"1": node("Wait", a=a)}) for a in ("good", "bad", "stopped")]
        await door.reached(3)
        await client.socket.close()
        await client.send("/interrupt", {"prompt_id": stopped})
        door.open()
        await other.until("status", **STATUS_0)
        for prompt_id in (good, bad, stopped):
            assert await client.history(prompt_id)
        assert (await client.open_socket())["sid"] == "client-a"
        frames = await rest_of(client)
        ends = {prompt_id: [frame for frame in frames if isinstance(frame, Message)
                            and frame.data["prompt_id"] == prompt_id] for prompt_id in (good, bad, stopped)}
        assert [frame.kind for frame in ends[good]] == ["execution_success", "executing"]
        assert [frame.kind for frame in ends[bad]] == ["execution_error", "executing"]
        assert ends[bad][0].data["exception_message"] == "while away\n"
        assert [frame.kind for frame in ends[stopped]] == ["execution_interrupted", "executing"]
        assert all(end[-1].data["node"] is None for end in ends.values())
        assert len(frames) == 6
        # Told once: not to the next socket, and not to others.
        async with connect(studio.url) as again:
            assert await rest_of(again) == []
        assert await rest_of(other) == []


async def test_an_error_while_away_is_told_though_the_prompt_goes_on() -> None:
    """The client comes back between the error and the end: it is told both, in order and once."""
    failed, clean_up = Door(), Door()

    async def fail(a: Any) -> tuple[Any]:
        await failed.stop()
        raise ValueError("first")

    async def slow_to_stop(a: Any) -> tuple[Any]:
        try:
            await asyncio.Event().wait()
        finally:
            await clean_up.stop()
        return (a,)

    prompt = {"1": node("Fail", a=1), "2": node("Slow", a=2), "3": node("Show", a=["1", 0], b=["2", 0])}
    async with studio_with(Fail=make_node(fail), Slow=make_node(slow_to_stop), Show=Shown().node()) as (_, client):
        prompt_id = await client.submit(prompt)
        await failed.reached()
        await client.socket.close()
        failed.open()
        await clean_up.reached()
        await client.open_socket()
        clean_up.open()
        run = await client.end_of(prompt_id)
    assert run.error["node_id"] == "1"


async def test_two_sockets_with_one_id_both_get_everything() -> None:
    """Overrules the addendum: the older one is neither closed nor silent (rulings 6)."""
    async with studio_with(Show=Shown().node()) as (studio, client):
        async with connect(studio.url) as twin:
            run = await client.run({"1": node("Show", a=1)})
            same = await twin.end_of(run.prompt_id)
            state = [frame for frame in run.frames if isinstance(frame, Message) and frame.kind != "progress_state"]
            assert state == [frame for frame in same.frames
                             if isinstance(frame, Message) and frame.kind != "progress_state"]
            await client.socket.close()
            second = await twin.run({"1": node("Show", a=2)})  # the older one's end did not unregister the newer
            assert second.shown == {"1": {"shown": ["2"]}}
        await client.open_socket()
        assert (await client.run({"1": node("Show", a=3)})).succeeded


async def test_the_newer_of_two_sockets_may_go() -> None:
    async with studio_with(Show=Shown().node()) as (studio, client):
        async with connect(studio.url):
            pass
        assert (await client.run({"1": node("Show", a=1)})).succeeded


async def test_an_id_need_not_be_connected() -> None:
    shown = Shown()
    async with studio_with(Show=shown.node()) as (_, client):
        prompt_id = await client.submit({"1": node("Show", a=1)}, client_id="nobody")
        frames = await client.until("status", **STATUS_0)
        assert kinds_of(frames) == {"status"}
        assert (await client.history(prompt_id))["prompt"][3]["client_id"] == "nobody"
    assert shown.values == [1]


async def test_the_server_says_goodbye() -> None:
    async with aiohttp.ClientSession() as session:
        async with running_studio() as studio:
            socket = await session.ws_connect(f"{studio.url}/ws")
            await socket.receive_json()
            closing = asyncio.create_task(socket.receive())
        assert (await closing).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == aiohttp.WSCloseCode.GOING_AWAY


# --- who is told what ----------------------------------------------------------------------------------------------


def preview_node(image_format: str, size: int | None, count: int = 1, registry_only: bool = False) -> type:
    async def preview(a: Any, unique_id: str) -> dict[str, Any]:
        bar = ProgressBar(count, node_id=unique_id)
        for number in range(count):
            picture = (image_format, Image.new("RGB", (64, 48), (200, 100, 50)), size)
            if registry_only:
                report_progress(number + 1, count, unique_id, picture)
            else:
                bar.update_absolute(number + 1, preview=picture)
        return {"ui": {"done": [True]}}

    return make_node(preview, output=True)


def binaries(run: Run) -> list[Binary]:
    return [frame for frame in run.frames if isinstance(frame, Binary)]


@pytest.mark.parametrize(("image_format", "number"), [("JPEG", 1), ("PNG", 2)])
@pytest.mark.parametrize(("size", "expected"), [(32, (32, 24)), (128, (128, 96)), (None, (64, 48))])
async def test_previews_without_the_flag(image_format: str, number: int, size: int | None,
                                         expected: tuple[int, int]) -> None:
    async with studio_with(Preview=preview_node(image_format, size)) as (_, client):
        run = await client.run({"2": node("Preview", a=1)})
    (frame,) = binaries(run)
    assert frame.event == 1
    assert int.from_bytes(frame.payload[:4], "big") == number
    picture = Image.open(io.BytesIO(frame.payload[4:]))
    assert (picture.format, picture.size) == (image_format, expected)
    kinds = [message.kind if isinstance(message, Message) else "preview" for message in run.frames]
    assert kinds.index("progress") < kinds.index("preview") < kinds.index("executed")


async def test_previews_with_the_flag() -> None:
    async with (studio_with(Preview=preview_node("JPEG", 32)) as (studio, _),
                connect(studio.url, "flagged", supports_preview_metadata=True) as client):
        run = await client.run({"2": node("Preview", a=1)})
    (frame,) = binaries(run)
    assert frame.event == 4
    length = int.from_bytes(frame.payload[:4], "big")
    assert json.loads(frame.payload[4:4 + length]) == {
        "node_id": "2", "prompt_id": run.prompt_id, "display_node_id": "2", "parent_node_id": None,
        "real_node_id": "2", "image_type": "image/jpeg"}
    assert Image.open(io.BytesIO(frame.payload[4 + length:])).size == (32, 24)


@pytest.mark.parametrize("value", ["true", 1, False, None])
async def test_previews_with_the_flag_need_it_to_be_true(value: Any) -> None:
    async with (studio_with(Preview=preview_node("JPEG", 32)) as (studio, _),
                connect(studio.url, "flagged", supports_preview_metadata=value) as client):
        run = await client.run({"2": node("Preview", a=1)})
    assert [frame.event for frame in binaries(run)] == [1]


async def test_previews_of_the_registry_reach_flagged_clients_alone() -> None:
    async with studio_with(Preview=preview_node("PNG", 32, registry_only=True)) as (studio, client):
        run = await client.run({"2": node("Preview", a=1)})
        async with connect(studio.url, "flagged", supports_preview_metadata=True) as flagged:
            other = await flagged.run({"2": node("Preview", a=2)})
    assert binaries(run) == []
    assert [frame.event for frame in binaries(other)] == [4]
    assert run.of("progress") == other.of("progress") == []
    assert other.of("progress_state")[-1]["nodes"]["2"]["state"] == "finished"


async def test_flags_belong_to_the_socket() -> None:
    """Two sockets of one client: each gets the previews that it asked for."""
    async with (studio_with(Preview=preview_node("PNG", 32)) as (studio, plain),
                connect(studio.url, supports_preview_metadata=True) as flagged):
        run = await plain.run({"2": node("Preview", a=1)})
        other = await flagged.end_of(run.prompt_id)
    assert [frame.event for frame in binaries(run)] == [1]
    assert [frame.event for frame in binaries(other)] == [4]


async def test_a_prompt_without_a_client_is_broadcast_in_part() -> None:
    """`progress`, `progress_state`, previews and interrupts go to everybody, nothing else does."""
    door = Door()

    async def wait(a: Any) -> tuple[Any]:
        await door.stop()
        return (a,)

    async with (studio_with(Preview=preview_node("PNG", 32), Wait=make_node(wait, output=True)) as (studio, plain),
                connect(studio.url, "flagged", supports_preview_metadata=True) as flagged):
        prompt_id = await plain.submit({"2": node("Preview", a=1)}, client_id=None)
        for client in (plain, flagged):
            frames = await client.until("status", **STATUS_0)
            assert kinds_of(frames) == {"status", "progress", "progress_state"}
            assert {frame.event for frame in frames if isinstance(frame, Binary)} == {1}
        assert (await plain.history(prompt_id))["status"]["completed"] is True
        stopped = await plain.submit({"2": node("Wait", a=1)}, client_id=None)
        await door.reached()
        await plain.send("/interrupt")
        for client in (plain, flagged):
            frames = await client.until("status", **STATUS_0)
            (interrupted,) = [frame.data for frame in frames
                              if isinstance(frame, Message) and frame.kind == "execution_interrupted"]
            assert (interrupted["prompt_id"], interrupted["node_id"]) == (stopped, "2")


async def test_text_frames() -> None:
    prompt = {"1": node("StubImage", content="WHITE", height=8, width=8, batch_size=1),
              "2": node("ProtoText", image=["1", 0], text="héllo\nwörld", own=False),
              "3": node("PreviewImage", images=["2", 0])}
    mine = {**prompt, "2": node("ProtoText", image=["1", 0], text="mine", own=True)}
    async with (running_studio(packs=[TESTING_PACK]) as studio, connect(studio.url, "own") as client,
                connect(studio.url, "other") as other):
        run = await client.run(prompt)
        second = await client.run(mine)
        heard = [frame for frame in await rest_of(other) if isinstance(frame, Binary)]
    (frame,) = binaries(run)
    assert frame == Binary(3, b"\x00\x00\x00\x012" + "héllo\nwörld".encode())
    assert binaries(second) == [Binary(3, b"\x00\x00\x00\x012mine")]
    assert heard == [frame]
    kinds = [one.kind if isinstance(one, Message) else "text" for one in run.frames]
    started = next(index for index, one in enumerate(run.frames)
                   if isinstance(one, Message) and one.kind == "executing" and one.data["node"] == "3")
    assert kinds.index("text") < started


async def test_text_frames_keep_the_layout_that_clients_decode_by_what_the_server_announced() -> None:
    """A layout with the prompt's id exists; packs write frames of their own, so it is not announced and not used."""
    prompt = {"1": node("StubImage", content="WHITE", height=8, width=8, batch_size=1),
              "2": node("ProtoText", image=["1", 0], text="hi", own=True), "3": node("PreviewImage", images=["2", 0])}
    async with (running_studio(packs=[TESTING_PACK]) as studio, aiohttp.ClientSession(studio.url) as http,
                connect(studio.url, "asks", supports_progress_text_metadata=True) as client):
        async with http.get("/features") as response:
            assert "supports_progress_text_metadata" not in await response.json()
        assert binaries(await client.run(prompt)) == [Binary(3, b"\x00\x00\x00\x012hi")]


async def test_metadata_of_a_workflow_comes_back_with_the_messages_of_its_prompt() -> None:
    async with studio_with(Show=Shown().node()) as (_, client):
        run = await client.run({"1": node("Show", a=1)}, workflow_metadata={"tab": 3})
        other = await client.run({"1": node("Show", a=2)})
    about = [frame for frame in run.frames if isinstance(frame, Message) and "prompt_id" in frame.data]
    assert {frame.kind for frame in about} >= {"execution_start", "execution_cached", "executing", "progress_state",
                                               "execution_success"}
    assert all(frame.data["tab"] == 3 for frame in about)
    assert not any("tab" in frame.data for frame in other.frames if isinstance(frame, Message))


# --- progress ------------------------------------------------------------------------------------------------------


async def test_progress_is_thinned_out_and_its_last_value_always_told() -> None:
    seconds: list[float] = []

    async def work(a: Any, unique_id: str) -> dict[str, Any]:
        clock = asyncio.get_running_loop().time
        bar = ProgressBar(1_000_000, node_id=unique_id)
        began = clock()
        while clock() < began + 0.25:
            bar.update(1)
            await asyncio.sleep(0)
        bar.update_absolute(999_999)
        seconds.append(clock() - began)
        return {"ui": {"a": [a]}}

    prompt = {"1": node("Work", a=1), "2": node("Work", a=2)}
    async with studio_with(Work=make_node(work, output=True)) as (_, client):
        run = await client.run(prompt)
    most = max(seconds) / 0.05 + 2
    for node_id in prompt:
        ticks = [data for data in run.of("progress") if data["node"] == node_id]
        assert 2 <= len(ticks) <= most
        assert [tick["value"] for tick in ticks] == sorted(tick["value"] for tick in ticks)
        assert ticks[-1]["value"] == 999_999
        order = [message.kind for message in run.messages if message.data.get("node") == node_id]
        assert order[0] == "executing"
        assert order[-1] == "executed"
        assert set(order[1:-1]) == {"progress"}
    assert len(run.of("progress_state")) <= most + 1
    rows = run.of("progress_state")[-1]["nodes"]
    assert {(row["value"], row["max"], row["state"]) for row in rows.values()} == {(1_000_000, 1_000_000, "finished")}


async def test_progress_of_a_plain_node_is_thinned_out_too() -> None:
    def work(a: Any, unique_id: str) -> dict[str, Any]:
        bar = ProgressBar(20_000, node_id=unique_id)
        for _ in range(20_000):
            bar.update(1)
        return {"ui": {"a": [a]}}

    async with studio_with(Work=make_node(work, output=True)) as (_, client):
        began = asyncio.get_running_loop().time()
        run = await client.run({"1": node("Work", a=1)})
        seconds = asyncio.get_running_loop().time() - began
    ticks = run.of("progress")
    assert 1 <= len(ticks) <= seconds / 0.05 + 2
    assert ticks[-1]["value"] == 20_000
    kinds = [message.kind for message in run.messages]
    assert max(index for index, kind in enumerate(kinds) if kind == "progress") < kinds.index("executed")


async def test_the_last_preview_comes_before_the_end_of_its_node() -> None:
    """Also where it was replaced many times, and is still being encoded when the node returns."""
    async with studio_with(Preview=preview_node("PNG", 512, count=200)) as (_, client):
        run = await client.run({"1": node("Preview", a=1)})
    positions = [index for index, frame in enumerate(run.frames) if isinstance(frame, Binary)]
    executed = next(index for index, frame in enumerate(run.frames)
                    if isinstance(frame, Message) and frame.kind == "executed")
    assert positions
    assert positions[-1] < executed
    assert run.of("progress")[-1]["value"] == 200


# --- clients that do not read, or talk nonsense --------------------------------------------------------------------


@contextlib.asynccontextmanager
async def never_reading(url: str, client_id: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A socket with the small buffer whose owner looks away after the greeting."""
    def small(address: Any) -> sockets.socket:
        family, kind, protocol, _, _ = address
        one = sockets.socket(family, kind, protocol)
        one.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 65_536)
        return one

    connector = aiohttp.TCPConnector(socket_factory=small)
    async with aiohttp.ClientSession(connector=connector) as session:
        socket = await session.ws_connect(f"{url}/ws?clientId={client_id}", max_msg_size=0)
        await socket.receive_json()
        yield socket
        await socket.close()


@pytest.mark.parametrize(("bound", "most"), [("MOST_BYTES", 2**20), ("MOST_FRAMES", 60)])
async def test_a_client_that_never_reads_delays_nobody_and_is_closed(bound: str, most: int,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"web.websocket.{bound}", most)

    async def large(a: int) -> dict[str, Any]:
        return {"ui": {"text": ["x" * 400_000]}}

    async with studio_with(Large=make_node(large, output=True)) as (studio, client):
        async with never_reading(studio.url, client.client_id) as lazy, connect(studio.url, "b") as other:
            for number in range(30):  # 12 MB: more than the system keeps for a reader
                run = await client.run({"1": node("Large", a=number)})
                assert len(run.shown["1"]["text"][0]) == 400_000
            assert len([frame for frame in await rest_of(other) if isinstance(frame, Message)]) == 90
            # Now it looks: what it was sent before, and why there is nothing more.
            seen = 0
            while (frame := await lazy.receive()).type is aiohttp.WSMsgType.TEXT:
                seen += json.loads(frame.data)["type"] == "executed"
            assert frame.type is aiohttp.WSMsgType.CLOSE
            assert lazy.close_code == aiohttp.WSCloseCode.TRY_AGAIN_LATER
            assert seen < 30
        assert (await client.run({"1": node("Large", a=-1)})).succeeded


async def test_a_client_that_never_reads_loses_ticks_and_not_states() -> None:
    """What can be replaced waits in one place until it looks."""
    async def large(a: int) -> dict[str, Any]:
        return {"ui": {"text": ["x" * 400_000]}}

    async def ticks(a: int, unique_id: str) -> dict[str, Any]:
        clock = asyncio.get_running_loop().time
        bar = ProgressBar(10_000, node_id=unique_id)
        began = clock()
        while clock() < began + 0.2:
            bar.update(1)
            await asyncio.sleep(0)
        bar.update_absolute(9_999)
        return {"ui": {"a": [a]}}

    async with (studio_with(Large=make_node(large, output=True), Ticks=make_node(ticks, output=True))
                as (studio, client), never_reading(studio.url, client.client_id) as lazy):
        for number in range(30):
            await client.run({"1": node("Large", a=number)})
        run = await client.run({"1": node("Ticks", a=1)})
        assert len(run.of("progress")) >= 3
        last = {"type": "executing", "data": {"node": None, "prompt_id": run.prompt_id}}
        frames: list[Any] = []
        while not frames or frames[-1] != last:
            frames.append(await lazy.receive_json())
    assert [frame["type"] for frame in frames].count("executed") == 31
    own = [frame for frame in frames if frame["data"].get("prompt_id") == run.prompt_id]
    assert [frame["data"]["value"] for frame in own if frame["type"] == "progress"] == [9_999]
    assert [frame["type"] for frame in own if frame["type"] not in ("progress", "progress_state")] == [
        "execution_start", "execution_cached", "executing", "executed", "execution_success", "executing"]


async def test_malformed_frames_are_ignored() -> None:
    async with running_studio() as studio, connect(studio.url) as client:
        add_nodes(studio, Show=Shown().node(), Source=source(1))
        for text in ("", "{", "nul", "[" * 100_000, '{"a":' * 50_000, '{"type": NaN}', "\x00", '"\\ud800"', "1e999"):
            await client.socket.send_str(text)
        for content in (b"", b"\x00", b"\x00\x00\x00\x01" + b"x" * 100_000):
            await client.socket.send_bytes(content)
        await client.socket.send_json({"type": 5, "data": [1, {"a": None}]})
        await client.socket.ping(b"x")
        await client.socket.pong(b"y")
        assert (await client.run({"1": node("Source"), "2": node("Show", a=["1", 0])})).succeeded
        assert not client.socket.closed


async def test_a_frame_that_is_too_large_closes_its_socket_alone() -> None:
    async with studio_with(Show=Shown().node()) as (studio, client), connect(studio.url, "b") as other:
        await other.socket.send_str("x" * (4 * 2**20 - 10))  # as much as there may be
        with contextlib.suppress(ConnectionError):  # it may be refused before all of it was sent
            await client.socket.send_str("x" * (4 * 2**20 + 10))
        frame = await client.socket.receive()
        assert frame.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        assert client.socket.close_code in (aiohttp.WSCloseCode.MESSAGE_TOO_BIG,
                                            aiohttp.WSCloseCode.ABNORMAL_CLOSURE)
        assert (await other.run({"1": node("Show", a=1)})).succeeded
        await client.open_socket()
        assert (await client.run({"1": node("Show", a=2)})).succeeded


async def test_a_socket_that_breaks_off_leaves_nothing_behind() -> None:
    """Without a close frame, in the middle of a prompt of its own and of others'."""
    door = Door()

    async def wait(a: Any) -> tuple[Any]:
        await door.stop()
        return (a,)

    async with studio_with(Wait=make_node(wait, output=True)) as (studio, client):
        async with aiohttp.ClientSession() as session:
            socket = await session.ws_connect(f"{studio.url}/ws?clientId=broken")
            await socket.receive_json()
            broken = await client.submit({"1": node("Wait", a=1)}, client_id="broken")
            await door.reached()
            transport = socket._response.connection.transport
            transport.abort()
        door.open()
        assert (await client.run({"1": node("Wait", a=2)})).succeeded
        assert (await client.history(broken))["status"]["completed"] is True
