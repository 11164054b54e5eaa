"""A pack that replaces methods of its host: what it put there is called when the host comes to it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from execution import PromptFinished
from tests.support.studio import RunningStudio, running_studio

PACK = Path(__file__).resolve().parents[1] / "packs" / "hooking_pack"


class Host:
    """A server with the pack, and a client of it."""

    def __init__(self, studio: RunningStudio, session: aiohttp.ClientSession) -> None:
        self.studio = studio
        self.session = session

    @property
    def pack(self) -> Any:
        import sys

        return sys.modules[str(self.studio.base_directory / "custom_nodes" / PACK.name).replace(".", "_x_")]

    async def replace(self, *names: str) -> None:
        async with self.session.post("/hooking/replace", json=names) as answer:
            assert answer.status == 200

    async def post(self, prompt: dict[str, Any], **rest: Any) -> tuple[int, dict[str, Any]]:
        async with self.session.post("/prompt", json={"prompt": prompt, **rest}) as answer:
            return answer.status, await answer.json()

    async def run(self, prompt: dict[str, Any], **rest: Any) -> str:
        """Post a prompt and wait for its end."""
        events = self.studio.engine.subscribe()
        status, answer = await self.post(prompt, **rest)
        assert status == 200, answer
        async for event in events:
            if isinstance(event, PromptFinished) and event.prompt_id == answer["prompt_id"]:
                break
        events.close()
        return answer["prompt_id"]

    async def seen(self, *kinds: str, until: Callable[[list[Any]], Any] = bool) -> list[Any]:
        """What hooks of these kinds saw, as soon as that is enough: they watch from threads of their own."""
        while True:
            found = [one for one in list(self.pack.SEEN) if one[0] in kinds]
            if until(found):
                return found
            await asyncio.sleep(0)


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with running_studio(packs=[PACK]) as studio, aiohttp.ClientSession(studio.url) as session:
        yield Host(studio, session)


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


TELLS = {"1": node("HookingTells", text="hello")}


async def test_nothing_is_called_while_nothing_was_replaced(host: Host) -> None:
    await host.run(TELLS)
    assert [one[0] for one in host.pack.SEEN] == ["on_prompt"]


async def test_the_pack_had_the_loop_at_its_import_and_its_task_has_run(host: Host) -> None:
    assert host.pack.LOOP_AT_IMPORT is asyncio.get_running_loop()
    await host.pack.TASK
    assert host.pack.TICKS == [1]


async def test_handlers_see_and_change_a_prompt_and_one_that_fails_is_passed_over(host: Host) -> None:
    prompt_id = await host.run({"1": node("HookingTells", text="change me")}, client_id="me")
    entry = await host.studio.engine.history.get(prompt_id)
    assert entry.outputs["1"] == {"text": ["changed"]}
    assert host.pack.SEEN == [["on_prompt", ["client_id", "prompt"]]]


async def test_what_handlers_are_shown_is_still_checked(host: Host) -> None:
    for body in (b"[]", b"{", b'{"prompt": {"1": 5}}'):
        async with host.session.post("/prompt", data=body) as answer:
            assert answer.status == 400
            assert "error" in await answer.json()


async def test_a_node_sends_to_the_client_of_its_prompt_from_a_thread_of_its_own(host: Host) -> None:
    async with host.session.ws_connect("/ws?clientId=me") as socket:
        prompt_id = await host.run(TELLS, client_id="me")
        while (said := (await socket.receive_json()))["type"] != "hooking.told":
            pass
    assert said["data"] == {"text": "hello", "node": "1", "prompt": prompt_id}


async def test_a_replaced_execute_lasts_as_long_as_the_run_and_is_told_how_it_ended(host: Host) -> None:
    await host.replace("execute")
    prompt_id = await host.run(TELLS, client_id="me")
    seen = await host.seen("execute", "executed", until=lambda found: len(found) == 2)
    assert seen == [["execute", prompt_id, ["1"], ["1"], False, "me"],
                    ["executed", prompt_id, True, ["1"], ["execution_start", "execution_cached", "execution_success"]]]


async def test_a_replaced_execute_async_runs_on_the_servers_loop(host: Host) -> None:
    await host.replace("execute_async")
    await host.run(TELLS)
    assert await host.seen("execute_async", "executed_async", until=lambda found: len(found) == 2) == [
        ["execute_async", True], ["executed_async", True]]


async def test_a_replaced_error_handler_is_told_which_node_failed_and_of_what(host: Host) -> None:
    await host.replace("handle_execution_error")
    await host.run({"7": node("HookingFails", why="so")})
    assert await host.seen("error") == [["error", "7", "HookingFails", "ValueError", "so"]]
    await host.run(TELLS)
    await host.run({"8": node("HookingFails", why="again")})
    assert [one[1] for one in await host.seen("error", until=lambda found: len(found) > 1)] == ["7", "8"]


async def test_several_executors_run_at_once(host: Host) -> None:
    await host.replace("execute", "handle_execution_error")
    ids = await asyncio.gather(*(host.run({f"{number}": node("HookingTells", text=f"{number}")})
                                 for number in range(5)))
    ended = await host.seen("executed", until=lambda found: len(found) == 5)
    assert {one[1] for one in ended} == set(ids)
    assert all(one[2] for one in ended)


async def test_a_replaced_put_sees_valid_prompts_and_what_it_changes_counts(host: Host) -> None:
    await host.replace("put")
    prompt_id = await host.run(TELLS)
    assert (await host.studio.engine.history.get(prompt_id)).extra_data["put"] == "here"
    assert await host.seen("put") == [["put", prompt_id, 6, ["1"]]]
    status, _ = await host.post({"1": node("HookingTells")})
    assert status == 400
    assert len(await host.seen("put")) == 1


async def test_a_replaced_put_may_queue_more_or_nothing(host: Host) -> None:
    await host.replace("put")
    events = host.studio.engine.subscribe()
    await host.post(TELLS, prompt_id="p", extra_data={"twice": True})
    ended = set()
    async for event in events:
        if isinstance(event, PromptFinished):
            ended.add(event.prompt_id)
            if len(ended) == 2:
                break
    events.close()
    assert ended == {"p", "p-again"}
    status, answer = await host.post(TELLS, prompt_id="q", extra_data={"swallow": True})
    assert (status, answer["prompt_id"]) == (200, "q")
    assert host.studio.engine.remaining == 0
    assert (await host.studio.engine.history.get("q")) is None


async def test_a_replaced_validate_prompt_sees_the_answer_and_may_refuse(host: Host) -> None:
    await host.replace("validate_prompt")
    await host.run({**TELLS, "2": node("HookingTells")})
    status, answer = await host.post({"1": node("HookingTells", text="forbidden")})
    assert (status, answer["error"]["type"]) == (400, "forbidden")
    status, answer = await host.post({"1": node("HookingTells")})
    assert (status, sorted(answer["node_errors"])) == (400, ["1"])
    assert [one[1:] for one in await host.seen("validate")] == [
        [True, ["1"], ["2"]], [True, ["1"], []], [False, [], ["1"]]]


async def test_a_replaced_send_sync_is_told_all_that_clients_are_told_and_nothing_comes_twice(host: Host) -> None:
    await host.replace("send_sync")
    async with host.session.ws_connect("/ws?clientId=me") as socket:
        await host.run(TELLS, client_id="me")
        kinds = []
        while not kinds or kinds[-1] != ("executing", None):
            said = await socket.receive_json()
            kinds.append((said["type"], said["data"].get("node")))
        async with host.session.get("/api/hooking/seen") as answer:
            assert answer.status == 200
    told = [one for one in kinds if one[0] in ("executing", "executed", "hooking.told", "execution_start")]
    assert sorted(told, key=str) == sorted([("execution_start", None), ("executing", "1"), ("executed", "1"),
                                            ("hooking.told", "1"), ("executing", None)], key=str)
    seen = await host.seen("send", until=lambda found: ["send", "executing", "me", None] in found)
    assert ["send", "executing", "me", "1"] in seen
    assert ["send", "executed", "me", "1"] in seen
    assert ["send", "hooking.told", "me", "1"] in seen


async def test_a_pack_queues_a_prompt_by_way_of_the_queue(host: Host) -> None:
    events = host.studio.engine.subscribe()
    async with host.session.post("/hooking/queue", json={
            "number": 3, "prompt_id": "mine", "prompt": TELLS, "extra_data": {"client_id": "me"},
            "outputs": ["1"]}) as answer:
        assert answer.status == 200
    async for event in events:
        if isinstance(event, PromptFinished):
            break
    events.close()
    entry = await host.studio.engine.history.get("mine")
    assert (entry.client_id, entry.number, entry.outputs) == ("me", 3, {"1": {"text": ["hello"]}})


async def test_subclasses_and_wrapped_nodes_of_the_host_run(host: Host) -> None:
    image = node("EmptyImage", width=4, height=4, batch_size=1, color=0)
    await host.run({"1": image, "2": node("CountedInvert", image=["1", 0]), "3": node("SaveLoudly", images=["2", 0])})
    import nodes

    assert nodes.NODE_CLASS_MAPPINGS["CountedInvert"].CALLS == [["image"]]
    saved = await asyncio.to_thread(lambda: [one.name for one in (host.studio.base_directory / "output").iterdir()])
    assert saved == ["LOUD_00001_.png"]


async def test_a_replaced_get_input_data_is_shown_each_node_that_is_called(host: Host) -> None:
    await host.replace("get_input_data")
    await host.run({"1": node("EmptyImage", width=4, height=4, batch_size=1, color=0),
                    "2": node("SaveLoudly", images=["1", 0])})
    assert await host.seen("inputs", until=lambda found: len(found) == 2) == [
        ["inputs", "1", "EmptyImage", ["batch_size", "color", "height", "width"], []],
        ["inputs", "2", "SaveLoudly", ["extra_pnginfo", "prompt"], ["images"]]]


async def test_a_handler_of_progress_is_told_of_its_prompt_until_that_ends(host: Host) -> None:
    await host.run({"1": node("HookingWatched", steps=3),
                    "2": node("PreviewAny", source=["1", 0])})
    await host.run(TELLS)
    seen = [one[1:] for one in await host.seen("progress", until=lambda found: found[-1:] == [["progress", "reset"]])]
    if seen[0] == ["start", "1", "running"]:  # the node itself adds the handler, perhaps before its start is told
        del seen[0]
    assert seen == [["update", "1", 3, 3], ["finish", "1", "finished"], ["start", "2", "running"],
                    ["finish", "2", "finished"], ["reset"]]


async def test_a_pack_runs_a_prompt_through_an_executor_of_its_own(host: Host) -> None:
    import execution
    from server import PromptServer

    executor = execution.PromptExecutor(PromptServer.instance)
    await asyncio.to_thread(executor.execute, {"1": node("HookingFails", why="so")}, "own", {}, ["1"])
    assert (executor.success, [one[0] for one in executor.status_messages][-1]) == (False, "execution_error")
    await executor.execute_async(TELLS, "own too", {"client_id": "me"}, ["1"])
    assert (executor.success, executor.history_result["outputs"]) == (True, {"1": {"text": ["hello"]}})
    with pytest.raises(RuntimeError, match="await execute_async"):
        executor.execute(TELLS, "third", {}, ["1"])


async def test_the_queue_of_packs_is_a_view_of_ours(host: Host) -> None:
    from server import PromptServer

    queue = PromptServer.instance.prompt_queue
    prompt_id = await host.run(TELLS, client_id="me", extra_data={"api_key_comfy_org": "secret"})
    [(known, entry)] = (await asyncio.to_thread(queue.get_history)).items()
    assert known == prompt_id
    assert (entry["prompt"][1], entry["outputs"], entry["status"]["completed"]) == (
        prompt_id, {"1": {"text": ["hello"]}}, True)
    assert "secret" not in str(entry)
    assert queue.get_history(prompt_id, map_function=lambda one: one["status"]["status_str"]) == {prompt_id: "success"}
    assert queue.get_history("unknown") == {}
    second = await host.run(TELLS)
    assert list(queue.get_history(max_items=1)) == [second]
    assert list(queue.get_history(max_items=1, offset=0)) == [prompt_id]
    assert (queue.get_tasks_remaining(), queue.get_current_queue(), queue.currently_running) == (0, ([], []), {})
    assert queue.interrupt_if_running(prompt_id) is False
    assert queue.delete_queue_item(lambda item: True) is False
    queue.set_flag("free_memory", True)
    assert (queue.get_flags(reset=False), queue.get_flags(), queue.get_flags()) == (
        {"free_memory": True}, {"free_memory": True}, {})
    queue.delete_history_item(second)
    assert list(queue.history) == [prompt_id]
    queue.wipe_history()
    assert queue.history == {}
    with pytest.raises(ValueError, match="an item of the queue is"):
        queue.put((1, "x"))


async def test_what_waits_is_seen_and_taken_out_by_packs() -> None:
    async with running_studio(packs=[PACK], max_running_prompts=1) as studio:
        from server import PromptServer

        queue = PromptServer.instance.prompt_queue
        sleeps = {"1": node("Sleep", value=1, seconds=30.0), "2": node("PreviewAny", source=["1", 0])}
        for prompt_id in ("running", "first", "second", "third"):
            await asyncio.to_thread(queue.put, (1, prompt_id, sleeps, {}, ["2"], {"api_key_comfy_org": "secret"}))
        running, pending = queue.get_current_queue()
        assert [item[1] for item in running] == ["running"]
        assert [item[1] for item in pending] == ["first", "second", "third"] == [item[1] for item in queue.queue]
        assert all(len(item) == 6 and item[4] == ["2"] for item in pending)
        assert "secret" not in str(pending)
        assert queue.delete_queue_item(lambda item: item[1] == "second") is True
        assert [item[1] for item in queue.queue] == ["first", "third"]
        await asyncio.to_thread(queue.wipe_queue)
        assert (queue.queue, queue.get_tasks_remaining()) == ([], 1)
        events = studio.engine.subscribe()
        assert await asyncio.to_thread(queue.interrupt_if_running, "running") is True
        async for event in events:
            if isinstance(event, PromptFinished):
                break
        assert studio.engine.remaining == 0


async def test_a_prompt_put_on_the_loop_is_queued_soon_and_a_bad_one_is_logged(
        host: Host, caplog: pytest.LogCaptureFixture) -> None:
    from server import PromptServer

    events = host.studio.engine.subscribe()
    PromptServer.instance.prompt_queue.put((1, "bad", {"1": node("NoSuchNode")}, {}, ["1"]))
    PromptServer.instance.prompt_queue.put([2, "good", TELLS, {}, ["1"]])
    async for event in events:
        if isinstance(event, PromptFinished):
            break
    events.close()
    assert event.prompt_id == "good"
    assert "a pack queued prompt bad, which was refused" in caplog.text
    assert PromptServer.instance.number == 3


@pytest.mark.parametrize(("sender", "kind", "number"), [
    ("HookingSendsPicture", "PNG", 2), ("HookingSendsPicture", "JPEG", 1), ("HookingSendsPictureLater", "PNG", 2)])
async def test_a_picture_that_is_sent_as_it_is_arrives_as_a_preview(host: Host, sender: str, kind: str,
                                                                    number: int) -> None:
    async with host.session.ws_connect("/ws?clientId=watcher") as socket, \
            host.session.ws_connect("/ws?clientId=other") as other:
        await host.run({"1": node("EmptyImage", width=24, height=16, batch_size=1, color=255),
                        "2": node(sender, image=["1", 0], format=kind)}, client_id="watcher")
        frame = await socket.receive()
        while frame.type is not aiohttp.WSMsgType.BINARY:
            frame = await socket.receive()
        await host.run({"1": node("HookingTells", text="to all")})
        seen = await other.receive()
        while seen.type is aiohttp.WSMsgType.TEXT and "hooking.told" not in seen.data:
            seen = await other.receive()
    assert seen.type is aiohttp.WSMsgType.TEXT  # no picture came before it
    assert frame.data[:8] == (1).to_bytes(4, "big") + number.to_bytes(4, "big")
    picture = Image.open(BytesIO(frame.data[8:]))
    assert (picture.format, picture.size) == (kind, (24, 16))
