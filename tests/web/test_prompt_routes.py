"""POST /prompt and what belongs to it: fields, numbers, ids, secrets, refusals, and stopping."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import Any

import pytest

from execution import PromptFinished
from nodes.packs.class_nodes import define_class_node
from tests.web.live_server import DoesNotSay, Live, echo, shared_loop

SECRET = "sk-never-to-be-seen"
OUTPUT = "PreviewImage"


def image_into(**nodes: Any) -> dict[str, Any]:
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
        **nodes,
    }


async def test_what_is_left_of_the_queue_is_counted(serve: Any) -> None:
    async with serve(max_running_prompts=1) as live:
        assert (await live.get("/prompt")).json() == {"exec_info": {"queue_remaining": 0}}
        await live.blocked()
        await live.accepted(echo(1))
        assert (await live.get("/prompt")).json() == {"exec_info": {"queue_remaining": 2}}


async def test_an_answer_names_the_prompt(live: Live) -> None:
    said = await live.accepted(echo(1))
    assert uuid.UUID(said["prompt_id"])
    assert said["node_errors"] == {}


async def test_the_content_type_does_not_matter(live: Live) -> None:
    answer = await live.post("/prompt", {"prompt": echo(1)}, headers={"Content-Type": "text/plain"})
    assert answer.status == 200


# -- numbers -------------------------------------------------------------------------------------------------


async def test_numbers_count_from_zero_and_refusals_use_one_up(live: Live) -> None:
    numbers = [(await live.accepted(echo(1)))["number"]]
    assert (await live.submit({"1": {"class_type": "Nope", "inputs": {}}})).status == 400
    assert (await live.submit(echo(-1))).status == 400
    assert (await live.submit({})).status == 400
    numbers.append((await live.accepted(echo(1)))["number"])
    assert numbers == [0, 4]
    assert all(type(number) is int for number in numbers)


@pytest.mark.parametrize("body", [{}, [], {"prompt": {}, "prompt_id": 5}, {"prompt": {}, "front": 1}])
async def test_a_body_with_a_wrong_field_uses_a_number_up_as_well(live: Live, body: Any) -> None:
    assert (await live.post("/prompt", body)).status == 400
    assert (await live.accepted(echo(1)))["number"] == 1


@pytest.mark.parametrize("body", [{"number": 3}, {"number": "three", "prompt": {}}, {"number": 1, "prompt": {},
                                                                                    "prompt_id": 5}])
async def test_one_that_brings_its_number_uses_none_up(live: Live, body: Any) -> None:
    assert (await live.post("/prompt", body)).status == 400
    assert (await live.accepted(echo(1)))["number"] == 0


async def test_a_number_of_the_clients_own_leaves_the_counter_alone(live: Live) -> None:
    await live.accepted(echo(1), number=7)
    assert (await live.accepted(echo(1)))["number"] == 0


@shared_loop
@pytest.mark.parametrize(
    ("sent", "echoed"),
    [(5, b"5.0"), (3.5, b"3.5"), ("-2", b"-2.0"), ("1e2", b"100.0"), (-0.5, b"-0.5"), (0, b"0.0"), (" 7 ", b"7.0")],
)
async def test_a_number_is_echoed_as_a_float(shared: Live, sent: Any, echoed: bytes) -> None:
    answer = await shared.submit(echo(1), number=sent, front=True)
    assert answer.status == 200
    assert b'"number":' + echoed + b"," in answer.body.replace(b" ", b"")


@shared_loop
@pytest.mark.parametrize(
    "number", ["abc", "", "nan", "inf", "-Infinity", True, False, [], {}, [1], "1" * 400, "0x10", "\ud800"]
)
async def test_what_is_no_number_is_refused(shared: Live, number: Any) -> None:
    error = (await shared.submit(echo(1), number=number)).error
    assert (error["type"], error["details"]) == ("invalid_field", "number")


async def test_number_zero_is_a_number(live: Live) -> None:
    await live.accepted(echo(1))
    assert (await live.accepted(echo(1), number=0))["number"] == 0.0


async def test_front_is_minus_the_counter(live: Live) -> None:
    assert [(await live.accepted(echo(1), front=True))["number"] for _ in range(3)] == [0, -1, -2]
    assert (await live.accepted(echo(1), front=False))["number"] == 3


async def test_the_queue_is_run_by_number_then_arrival(serve: Any) -> None:
    async with serve(max_running_prompts=1) as live:
        await live.blocked()
        wanted = {
            "last": {"number": 9.5},
            "counted": {},
            "counted2": {},
            "first": {"number": -100},
            "front": {"front": True},
            "half": {"number": 0.5},
        }
        for index, (prompt_id, fields) in enumerate(wanted.items()):
            await live.accepted(echo(index), prompt_id=prompt_id, **fields)
        order = ["first", "front", "half", "counted", "counted2", "last"]
        pending = (await live.get("/queue")).json()["queue_pending"]
        assert [item[1] for item in pending] == order
        live.gate.opened.set()
        await live.finished("last")
        assert list((await live.get("/history")).json())[1:] == order


# -- ids -----------------------------------------------------------------------------------------------------


@shared_loop
@pytest.mark.parametrize("prompt_id", ["x", "not a uuid", "/", "a/b", "é☃", "None", "🦆" * 20, " ", "a" * 1000])
async def test_any_text_is_an_id(shared: Live, prompt_id: str) -> None:
    with contextlib.closing(shared.running.engine.subscribe()) as events:
        said = await shared.accepted(echo(1), prompt_id=prompt_id)
        assert said["prompt_id"] == prompt_id
        while not isinstance(await anext(events), PromptFinished):
            pass  # the next test looks at what runs


@shared_loop
@pytest.mark.parametrize("prompt_id", [17, 1.5, True, False, [], {}, ["x"], "", "a" * 1001])
async def test_what_is_no_text_is_no_id(shared: Live, prompt_id: Any) -> None:
    before = await shared.state()
    error = (await shared.submit(echo(1), prompt_id=prompt_id)).error
    assert error["type"] == "invalid_prompt_id"
    assert await shared.state() == before


async def test_half_a_character_is_replaced(live: Live) -> None:
    said = await live.accepted({"\ud800": echo(1)["1"]}, prompt_id="cut \ud83d", extra_data={"title": "\ud83d"})
    assert said["prompt_id"] == "cut \ufffd"
    entry = await live.finished("cut \ufffd")
    assert (entry["outputs"], entry["prompt"][3]["title"]) == ({"\ufffd": {"value": [1]}}, "\ufffd")


async def test_null_for_an_id_is_no_id(live: Live) -> None:
    assert uuid.UUID((await live.accepted(echo(1), prompt_id=None))["prompt_id"])


async def test_the_same_body_under_the_same_id_is_the_same_prompt(live: Live) -> None:
    fields = {"prompt_id": "twice", "client_id": "me", "extra_data": {"foo": 1}}
    first = await live.blocked(**fields)
    again = await live.accepted({"g": {"class_type": "Gate", "inputs": {}}}, **fields)
    assert again == first
    assert (await live.get("/prompt")).json()["exec_info"]["queue_remaining"] == 1


async def test_the_same_body_many_times_at_once_is_one_prompt(live: Live) -> None:
    graph = {"g": {"class_type": "Gate", "inputs": {}}}
    said = await asyncio.gather(*(live.accepted(graph, prompt_id="storm") for _ in range(20)))
    assert all(one == said[0] for one in said)
    assert (await live.get("/prompt")).json()["exec_info"]["queue_remaining"] == 1


async def test_the_same_refused_body_at_once_is_refused_each_time(live: Live) -> None:
    answers = await asyncio.gather(*(live.submit(echo(-1), prompt_id="bad") for _ in range(10)))
    assert {answer.status for answer in answers} == {400}
    assert (await live.accepted(echo(1), prompt_id="bad"))["prompt_id"] == "bad"  # a refused id is free


async def test_a_body_that_only_python_can_write_is_the_same_as_well(live: Live) -> None:
    graph = {"g": {"class_type": "Gate", "inputs": {"tag": "\ud800"}}}
    first = await live.accepted(graph, prompt_id="lone")
    assert await live.accepted(graph, prompt_id="lone") == first


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": {"g": {"class_type": "Gate", "inputs": {"tag": "other"}}}},
        {"client_id": "other"},
        {"extra_data": {"x": 1}},
        {"partial_execution_targets": ["g"]},
    ],
)
async def test_another_body_under_an_id_in_use_is_a_conflict(live: Live, change: dict[str, Any]) -> None:
    await live.blocked(prompt_id="mine")
    before = await live.state()
    body = {"prompt": {"g": {"class_type": "Gate", "inputs": {}}}, "prompt_id": "mine", **change}
    answer = await live.post("/prompt", body)
    assert answer.status == 409
    assert answer.error["type"] == "prompt_id_in_use"
    assert await live.state() == before


async def test_two_different_bodies_at_once_under_one_id_cannot_both_win(live: Live) -> None:
    answers = await asyncio.gather(
        *(
            live.submit({"g": {"class_type": "Gate", "inputs": {"tag": str(index)}}}, prompt_id="race")
            for index in range(8)
        )
    )
    assert sorted(answer.status for answer in answers) == [200] + [409] * 7
    assert (await live.get("/prompt")).json()["exec_info"]["queue_remaining"] == 1


async def test_an_id_that_the_server_made_is_in_use_too(live: Live) -> None:
    made = (await live.blocked())["prompt_id"]
    answer = await live.submit(echo(1), prompt_id=made)
    assert answer.status == 409


async def test_after_its_end_an_id_is_a_new_run(live: Live) -> None:
    await live.accepted(echo(1), prompt_id="again")
    first = await live.finished("again")
    said = await live.accepted(echo(2), prompt_id="again", number=50)
    assert said["number"] == 50.0
    entry = await live.finished("again", but=first)
    assert entry["outputs"] == {"1": {"value": [2]}}
    assert list((await live.get("/history")).json()) == ["again"]


async def test_an_id_taken_from_the_queue_is_free_again(serve: Any) -> None:
    async with serve(max_running_prompts=1) as live:
        await live.blocked()
        await live.accepted(echo(1), prompt_id="waiting")
        await live.post("/queue", {"delete": ["waiting"]})
        await live.accepted(echo(2), prompt_id="waiting")
        assert [item[2] for item in (await live.get("/queue")).json()["queue_pending"]] == [echo(2)]


# -- other fields --------------------------------------------------------------------------------------------


async def test_the_clients_name_is_kept_in_extra_data(live: Live) -> None:
    first = await live.run(1, client_id="body", extra_data={"client_id": "inner", "foo": 1})
    second = await live.run(2, extra_data={"client_id": "inner"})
    history = (await live.get("/history")).json()
    kept = history[first]["prompt"][3]
    assert (kept["client_id"], kept["foo"]) == ("body", 1)
    assert type(kept["create_time"]) is int
    assert history[second]["prompt"][3]["client_id"] == "inner"


async def test_a_client_cannot_choose_the_time(live: Live) -> None:
    prompt_id = await live.run(1, extra_data={"create_time": "never"})
    assert type((await live.finished(prompt_id))["prompt"][3]["create_time"]) is int


@shared_loop
@pytest.mark.parametrize(
    "extra_data",
    [
        None,
        {},
        {"extra_pnginfo": None},
        {"extra_pnginfo": [1]},
        {"client_id": 5},
        {"": {"": []}},
        {"preview_method": {}},
        {"comfy_usage_source": 3},
        {"api_key_comfy_org": {"not": "text"}},
        {"create_time": None},
    ],
)
async def test_extra_data_may_hold_anything(shared: Live, extra_data: Any) -> None:
    said = await shared.accepted(echo(1), extra_data=extra_data)
    assert (await shared.finished(said["prompt_id"]))["status"]["completed"]


@shared_loop
@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("extra_data", value) for value in ([], "x", 5, True, 1.5)),
        *(("client_id", value) for value in (5, [], {}, True)),
        *(("front", value) for value in (1, "true", [], {})),
        *(("partial_execution_targets", value) for value in ({}, "1", 1, True, [1], [None], [["1"]])),
    ],
)
async def test_a_field_of_another_type_is_refused(shared: Live, field: str, value: Any) -> None:
    before = await shared.state()
    error = (await shared.submit(echo(1), **{field: value})).error
    assert (error["type"], error["details"]) == ("invalid_field", field)
    assert await shared.state() == before


async def test_the_header_says_where_a_prompt_comes_from(live: Live) -> None:
    said = (await live.post("/prompt", {"prompt": echo(1)}, headers={"Comfy-Usage-Source": "my script"})).json()
    assert (await live.finished(said["prompt_id"]))["prompt"][3]["comfy_usage_source"] == "my script"
    body = {"prompt": echo(1), "extra_data": {"comfy_usage_source": "body"}}
    said = (await live.post("/prompt", body, headers={"Comfy-Usage-Source": "header"})).json()
    assert (await live.finished(said["prompt_id"]))["prompt"][3]["comfy_usage_source"] == "body"


async def test_only_what_is_targeted_runs(live: Live) -> None:
    graph = {"a": echo(1)["1"], "b": echo(2)["1"]}
    for targets, ran in ((["b"], {"b"}), (["b", "nowhere"], {"b"}), (None, {"a", "b"}), (["a", "a"], {"a"})):
        said = await live.accepted(graph, partial_execution_targets=targets)
        assert set((await live.finished(said["prompt_id"]))["outputs"]) == ran
    for targets in ([], ["nowhere"], [""], ["\ud800"]):
        assert (await live.submit(graph, partial_execution_targets=targets)).error["type"] == "prompt_no_outputs"


# -- secrets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("suffix", ["comfy_org", "studio_org"])
async def test_secrets_reach_nodes_and_nobody_else(serve: Any, suffix: str, fails: bool) -> None:
    async with serve(max_running_prompts=1) as live, live.http.ws_connect("/ws?clientId=me") as socket:
        await live.blocked()
        extra = {f"auth_token_{suffix}": SECRET, f"api_key_{suffix}": [SECRET], "open": 1}
        graph = {"1": {"class_type": "KeepsSecrets", "inputs": {"fails": fails}}}
        said = await live.submit(graph, extra_data=extra, client_id="me", prompt_id="p")
        assert SECRET not in said.body.decode()
        queue = await live.get("/queue")
        assert queue.json()["queue_pending"][0][3]["open"] == 1
        assert SECRET.encode() not in queue.body
        live.gate.opened.set()
        entry = await live.finished("p")
        assert entry["status"]["completed"] is not fails
        assert live.secrets.given == [(SECRET, [SECRET])]
        for path in ("/history", "/history/p", "/queue", "/prompt", "/system_stats", "/object_info/KeepsSecrets"):
            assert SECRET.encode() not in (await live.get(path)).body, path
        frames = []
        while not frames or frames[-1]["type"] != "executing" or frames[-1]["data"]["node"] is not None:
            frames.append(await socket.receive_json())
        assert SECRET not in str(frames)


async def test_a_refusal_does_not_show_secrets(live: Live) -> None:
    answer = await live.submit(echo(-1), extra_data={"api_key_comfy_org": SECRET})
    assert answer.status == 400
    assert SECRET.encode() not in answer.body


# -- what is refused -----------------------------------------------------------------------------------------


@shared_loop
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({}, "no_prompt"),
        ([], "no_prompt"),
        ("x", "no_prompt"),
        (5, "no_prompt"),
        (None, "no_prompt"),
        ({"prompt": None}, "no_prompt"),
        ({"prompt": "x"}, "invalid_prompt"),
        ({"prompt": 5}, "invalid_prompt"),
        ({"prompt": ["x"]}, "invalid_prompt"),
        ({"prompt": True}, "invalid_prompt"),
        ({"prompt": {}}, "prompt_no_outputs"),
        ({"prompt": []}, "prompt_no_outputs"),
        ({"prompt": image_into()}, "prompt_no_outputs"),
        ({"prompt": {"1": "x"}}, "missing_node_type"),
        ({"prompt": {"1": None}}, "missing_node_type"),
        ({"prompt": {"1": []}}, "missing_node_type"),
        ({"prompt": {"1": {}}}, "missing_node_type"),
        *(
            ({"prompt": {"1": {"class_type": odd}}}, "missing_node_type")
            for odd in (None, 5, True, [], {}, "", "Nope", ["Echo"], {"a": 1}, "\ud800", "echo", "Echo ", "x" * 100_000)
        ),
        *(
            ({"prompt": {"1": {"class_type": "Echo", **odd}}}, "prompt_outputs_failed_validation")
            for odd in ({}, {"inputs": None}, {"inputs": []}, {"inputs": "x"}, {"inputs": 5})
        ),
    ],
)
async def test_what_is_no_graph_is_refused(shared: Live, body: Any, kind: str) -> None:
    before = await shared.state()
    answer = await shared.post("/prompt", body)
    assert (answer.status, answer.error["type"]) == (400, kind)
    assert len(answer.body) < 20_000
    assert await shared.state() == before


async def test_all_missing_classes_are_named_with_their_titles(live: Live) -> None:
    graph = {
        "1": {"class_type": "A", "inputs": {}},
        "2": {"class_type": "B", "inputs": {}, "_meta": {"title": "My B"}},
        "3": {"inputs": {}},
        "4": {"class_type": "A"},
        "5": echo(1)["1"],
        "6": {"class_type": "C", "_meta": 5},
    }
    error = (await live.submit(graph)).error
    assert error["details"] == "Node ID '#1'"
    assert (error["extra_info"]["node_id"], error["extra_info"]["class_type"], error["extra_info"]["node_title"]) == (
        "1",
        "A",
        "A",
    )
    named = [(one["node_id"], one["class_type"], one["node_title"]) for one in error["extra_info"]["missing_nodes"]]
    assert named == [("1", "A", "A"), ("2", "B", "My B"), ("3", None, "ID #3"), ("4", "A", "A"), ("6", "C", "C")]
    assert all(name in error["message"] for name in ("'A'", "'My B'", "'C'"))


ON_OUTPUT = {
    "required_input_missing": ({}, "images", {"input_name": "images"}),
    "bad_linked_input": ({"images": ["1", 0, 0]}, "images", {"input_name": "images", "received_value": ["1", 0, 0]}),
    "return_type_mismatch": (
        {"images": ["2", 0]},
        "images, received_type(INT) mismatch input_type(IMAGE)",
        {"received_type": "INT", "linked_node": ["2", 0]},
    ),
}


@shared_loop
@pytest.mark.parametrize("kind", ON_OUTPUT)
async def test_errors_of_an_output_are_in_the_details_of_the_prompt(shared: Live, kind: str) -> None:
    inputs, details, extra_info = ON_OUTPUT[kind]
    graph = image_into(o={"class_type": OUTPUT, "inputs": inputs}, **{"2": echo(5)["1"]})
    answer = await shared.submit(graph, partial_execution_targets=["o"])
    assert answer.error["type"] == "prompt_outputs_failed_validation"
    said = answer.json()
    node = said["node_errors"]["o"]
    assert (node["dependent_outputs"], node["class_type"]) == (["o"], OUTPUT)
    assert (node["errors"][0]["type"], node["errors"][0]["details"]) == (kind, details)
    assert node["errors"][0]["extra_info"].items() >= extra_info.items()
    assert said["error"]["details"] == f"{node['errors'][0]['message']}: {details}"


@shared_loop
@pytest.mark.parametrize(
    ("link", "kind", "details"),
    [
        (["9", 0], "KeyError", "'9'"),
        (["1", 5], "IndexError", "tuple index out of range"),
        (["1", "x"], "TypeError", "tuple indices must be integers or slices, not str"),
        (["1", None], "TypeError", "tuple indices must be integers or slices, not NoneType"),
        (["1", True], "TypeError", "tuple indices must be integers or slices, not bool"),
        (["1", 0.5], "TypeError", "tuple indices must be integers or slices, not float"),
        (["1", -9], "IndexError", "tuple index out of range"),
        (["1", 10**30], "IndexError", "tuple index out of range"),
        ([1, 0], "KeyError", "1"),
        ([None, 0], "KeyError", "None"),
        ([["1"], 0], "KeyError", "['1']"),
        (["", 0], "KeyError", "''"),
        ([{}, {}], "KeyError", "{}"),
    ],
)
async def test_a_link_to_nowhere(shared: Live, link: Any, kind: str, details: str) -> None:
    graph = image_into(o={"class_type": OUTPUT, "inputs": {"images": link}})
    answer = await shared.submit(graph)
    assert answer.status == 400
    error = answer.json()["node_errors"]["o"]["errors"][0]
    assert error["type"] == "exception_during_validation"
    assert (error["extra_info"]["exception_type"], error["details"]) == (kind, details)


@shared_loop
@pytest.mark.parametrize(("link", "is_inner"), [(["9", 0], True), (["1", 7], True)])
async def test_the_same_upstream_names_the_input_that_led_there(shared: Live, link: Any, is_inner: bool) -> None:
    graph = image_into(
        m={"class_type": "ImageInvert", "inputs": {"image": link}},
        o={"class_type": OUTPUT, "inputs": {"images": ["m", 0]}},
    )
    said = (await shared.submit(graph)).json()
    assert said["error"]["details"] == ""
    assert list(said["node_errors"]) == ["m"]
    assert said["node_errors"]["m"]["dependent_outputs"] == ["o"]
    error = said["node_errors"]["m"]["errors"][0]
    assert error["type"] == "exception_during_inner_validation"
    assert error["extra_info"]["input_name"] == "images"
    assert error["extra_info"]["linked_node"] == ["m", 0]


@shared_loop
@pytest.mark.parametrize(
    ("field", "value", "kind", "details"),
    [
        ("int", "abc", "invalid_input_type", "int, abc, invalid literal for int() with base 10: 'abc'"),
        (
            "int",
            None,
            "invalid_input_type",
            "int, None, int() argument must be a string, a bytes-like object or a real number, not 'NoneType'",
        ),
        (
            "int",
            {},
            "invalid_input_type",
            "int, {}, int() argument must be a string, a bytes-like object or a real number, not 'dict'",
        ),
        ("float", "nan", "invalid_input_type", "float, nan, it is no finite number"),
        ("float", "-inf", "invalid_input_type", "float, -inf, it is no finite number"),
        ("float", "1e999", "invalid_input_type", "float, 1e999, it is no finite number"),
        ("limited", -1, "value_smaller_than_min", "limited"),
        ("limited", 10, "value_bigger_than_max", "limited"),
        ("limited", 1e300, "value_bigger_than_max", "limited"),
        ("limited", "9" * 4000, "value_bigger_than_max", "limited"),
        ("choice", "c", "value_not_in_list", "choice: 'c' not in ['a', 'b']"),
        ("choice", None, "value_not_in_list", "choice: None not in ['a', 'b']"),
        ("choice", {"a": 1}, "value_not_in_list", "choice: {'a': 1} not in ['a', 'b']"),
        ("many", "a", "value_not_in_list", "many: 'a' not in ['a', 'b']"),
        ("many", {"__value__": ["a", "x", "y"]}, "value_not_in_list", "many: 'x', 'y' not in ['a', 'b']"),
        ("odd_limit", "x", "exception_during_validation", "'<' not supported between instances of 'str' and 'int'"),
    ],
)
async def test_a_constant_that_does_not_fit(shared: Live, field: str, value: Any, kind: str, details: str) -> None:
    before = await shared.state()
    answer = await shared.submit({"1": {"class_type": "Anything", "inputs": {field: value}}})
    assert answer.status == 400
    error = answer.json()["node_errors"]["1"]["errors"][0]
    assert (error["type"], error["details"]) == (kind, details)
    assert len(answer.body) < 20_000
    assert await shared.state() == before


async def test_constants_are_shown_converted(live: Live) -> None:
    inputs = {
        "int": "7",
        "float": 3,
        "text": 5,
        "bool": "false",
        "any": {"__value__": ["x", 0]},
        "undeclared": [1, 2, 3],
        "many": {"__value__": ["a", "b"]},
    }
    said = await live.accepted({"1": {"class_type": "Anything", "inputs": inputs, "_meta": {"title": "t"}, "more": 1}})
    node = (await live.finished(said["prompt_id"]))["prompt"][2]["1"]
    assert node["inputs"] == {
        "int": 7,
        "float": 3.0,
        "text": "5",
        "bool": True,
        "any": ["x", 0],
        "undeclared": [1, 2, 3],
        "many": ["a", "b"],
    }
    assert (node["_meta"], node["more"]) == ({"title": "t"}, 1)


@shared_loop
@pytest.mark.parametrize("value", [10**30, 1e308, "9" * 4000, -(10**25)])
async def test_a_huge_number_that_is_allowed_can_be_shown(shared: Live, value: Any) -> None:
    said = await shared.accepted({"1": {"class_type": "Anything", "inputs": {"int": value}}})
    await shared.finished(said["prompt_id"])
    assert (await shared.get("/history")).status == 200


async def test_several_errors_of_a_node_come_together_and_name_both_outputs(live: Live) -> None:
    graph = image_into(
        a={"class_type": OUTPUT, "inputs": {"images": ["1", 0]}},
        b={"class_type": OUTPUT, "inputs": {"images": ["1", 0]}},
    )
    graph["1"]["inputs"].update(width=0, height="abc")
    said = (await live.submit(graph)).json()
    node = said["node_errors"]["1"]
    assert {error["type"] for error in node["errors"]} == {"value_smaller_than_min", "invalid_input_type"}
    assert node["dependent_outputs"] == ["a", "b"]
    assert list(said["node_errors"]) == ["1"]


async def test_a_good_output_runs_beside_a_bad_one(live: Live) -> None:
    said = await live.accepted({"good": echo(1)["1"], "bad": echo(-1)["1"]})
    assert list(said["node_errors"]) == ["bad"]
    entry = await live.finished(said["prompt_id"])
    assert (entry["outputs"], entry["prompt"][4]) == ({"good": {"value": [1]}}, ["good"])


@shared_loop
@pytest.mark.parametrize(
    "graph",
    [
        {"1": {"class_type": "Echo", "inputs": {"value": ["1", 0]}}},
        {
            "1": {"class_type": "Echo", "inputs": {"value": ["2", 0]}},
            "2": {"class_type": "Echo", "inputs": {"value": ["1", 0]}},
        },
    ],
)
async def test_a_cycle_is_named(shared: Live, graph: Any) -> None:
    answer = await shared.submit(graph)
    assert answer.error["type"] == "prompt_outputs_failed_validation"
    said = answer.json()["node_errors"]
    assert set(said) == set(graph)
    for node_id, node in said.items():
        error = node["errors"][0]
        assert (error["type"], error["message"]) == ("dependency_cycle", "Dependency cycle detected")
        assert set(error["extra_info"]["cycle_nodes"]) == set(graph)
        assert error["extra_info"]["node_id"] == node_id
        assert "(Echo) -> " in error["details"]


async def test_a_cycle_spares_the_output_beside_it(live: Live) -> None:
    said = await live.accepted({"1": {"class_type": "Echo", "inputs": {"value": ["1", 0]}}, "good": echo(1)["1"]})
    assert list(said["node_errors"]) == ["1"]
    assert set((await live.finished(said["prompt_id"]))["outputs"]) == {"good"}


async def test_a_class_that_does_not_say_what_it_takes(live: Live) -> None:
    live.running.studio.registry.add(define_class_node("DoesNotSay", DoesNotSay, "tests"))
    answer = await live.submit({"1": {"class_type": "DoesNotSay", "inputs": {}}})
    assert answer.error["type"] == "prompt_outputs_failed_validation"
    error = answer.json()["node_errors"]["1"]["errors"][0]
    assert (error["type"], error["details"]) == ("exception_during_validation", "the disk of this node is gone")


# -- stopping ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"prompt_id": null}', b'{"prompt_id": ""}', b"{", b"\xff", b'{"other": 1}']
)
async def test_an_interrupt_without_an_id_means_what_runs(live: Live, body: bytes) -> None:
    said = await live.blocked()
    answer = await live.post("/interrupt", body)
    assert (answer.status, answer.body, "Content-Type" in answer.headers) == (200, b"", False)
    entry = await live.finished(said["prompt_id"])
    assert (entry["status"]["status_str"], entry["status"]["completed"]) == ("error", False)
    kind, data = entry["status"]["messages"][-1]
    assert (kind, data["node_id"], data["node_type"]) == ("execution_interrupted", "g", "Gate")


@pytest.mark.parametrize("body", [[], 5, "x", None, True, {"prompt_id": 5}, {"prompt_id": []}, {"prompt_id": {}}])
async def test_an_interrupt_that_makes_no_sense_stops_nothing(live: Live, body: Any) -> None:
    said = await live.blocked()
    assert (await live.post("/interrupt", body)).error
    assert [item[1] for item in (await live.get("/queue")).json()["queue_running"]] == [said["prompt_id"]]


async def test_an_interrupt_with_an_id_touches_that_prompt_alone(serve: Any) -> None:
    async with serve(max_running_prompts=1) as live:
        await live.blocked(prompt_id="runs")
        await live.accepted(echo(1), prompt_id="waits")
        before = await live.state()
        for other in ("waits", "unknown", "\ud800"):
            assert (await live.post("/interrupt", {"prompt_id": other})).status == 200
        assert await live.state() == before
        assert (await live.post("/interrupt", {"prompt_id": "runs"})).status == 200
        assert not (await live.finished("runs"))["status"]["completed"]
        assert (await live.finished("waits"))["status"]["completed"]


async def test_an_interrupt_while_nothing_runs_harms_nobody(live: Live) -> None:
    assert (await live.post("/interrupt", b"")).status == 200
    said = await live.accepted(echo(1))
    assert (await live.finished(said["prompt_id"]))["status"]["completed"]


async def test_free_drops_what_is_kept(live: Live) -> None:
    await live.run(1)
    cached = await live.run(1)
    assert (await live.finished(cached))["status"]["messages"][1][1]["nodes"] == ["1"]
    answer = await live.post("/free", {"free_memory": True, "unload_models": True})
    assert (answer.status, answer.body) == (200, b"")
    fresh = await live.run(1)
    assert (await live.finished(fresh))["status"]["messages"][1][1]["nodes"] == []
    assert (await live.post("/free", {"free_memory": False})).status == 200
    kept = await live.run(1)
    assert (await live.finished(kept))["status"]["messages"][1][1]["nodes"] == ["1"]


@shared_loop
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"5",
        b"null",
        b"{",
        b'{"free_memory": 1}',
        b'{"unload_models": "yes"}',
        b'{"free_memory": null}',
        b'{"free_memory": []}',
    ],
)
async def test_free_refuses_what_it_does_not_understand(shared: Live, body: bytes) -> None:
    assert (await shared.post("/free", body)).error
