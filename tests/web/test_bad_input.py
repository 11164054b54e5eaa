"""Whatever clients send: never a 500, a clear refusal, and nothing changed. All requests go to this machine."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import re
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import yarl
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from execution import NodeRegistry, PromptRejected
from execution.validation import check_graph, conclude, read_graph
from nodes.packs.class_nodes import define_class_node
from tests.web.live_server import Answer, Anything, Live, shared_loop

many = settings(max_examples=60, suppress_health_check=list(HealthCheck))


ANSWERS_AFTERWARDS = {"1": {"class_type": "Echo", "inputs": {"value": 1}}}


async def unharmed(live: Live, before: Any) -> None:
    assert await live.state() == before


def judged(answer: Answer, body: Any) -> None:
    """Any answer to a POST of ours: accepted, or refused in JSON and not much longer than what was sent."""
    assert answer.status in (200, 400, 409, 413), (answer.status, body)
    if answer.status == 200:
        assert set(answer.json()) == {"prompt_id", "number", "node_errors"}
    elif answer.status != 413:
        assert answer.error


async def attack(live: Live, path: str, body: bytes) -> Answer:
    """A body that must not be accepted by anything but chance: then its prompt is waited for and forgotten."""
    before = await live.state()
    answer = await live.post(path, body)
    assert answer.status < 500, (path, body, answer.body)
    if path == "/prompt":
        judged(answer, body)
        if answer.status == 200:
            prompt_id = answer.json()["prompt_id"]
            async with asyncio.timeout(10):
                await live.finished(prompt_id)
            await live.post("/history", {"delete": [prompt_id]})
    elif answer.status != 200:
        assert answer.error
    if path != "/history":
        await unharmed(live, before)
    return answer


# -- bodies --------------------------------------------------------------------------------------------------

TEXT = st.text(max_size=8)
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**30, -(10**400), 1e308, 5e-324, -0.0, 2**63, 2**64])
SCALARS = st.none() | st.booleans() | NUMBERS | TEXT
ANY_JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)
NODE_IDS = st.sampled_from(["1", "2", "3", "", "\ud800", "1.0.0", "a" * 300])
VALUES = st.one_of(
    SCALARS,
    ANY_JSON,
    st.tuples(NODE_IDS | ANY_JSON, st.integers(-2, 2) | SCALARS).map(list),
    st.builds(lambda value: {"__value__": value}, ANY_JSON),
)
CLASSES = st.sampled_from(
    ["Echo", "Anything", "LongChoice", "PreviewAny", "PrimitiveInt", "PrimitiveFloat", "ImageScale", "Nope"]
)
INPUT_NAMES = st.sampled_from(
    [
        "int",
        "float",
        "text",
        "bool",
        "any",
        "choice",
        "many",
        "limited",
        "odd_limit",
        "value",
        "source",
        "image",
        "",
        "\ud800",
        "self",
        "unique_id",
    ]
)
NODES = st.fixed_dictionaries(
    {"class_type": CLASSES | ANY_JSON, "inputs": st.dictionaries(INPUT_NAMES, VALUES, max_size=5) | ANY_JSON},
    optional={"_meta": st.fixed_dictionaries({"title": ANY_JSON}) | ANY_JSON, "is_changed": ANY_JSON, "more": ANY_JSON},
)
GOOD_NODES = st.fixed_dictionaries(
    {
        "class_type": st.sampled_from(["Echo", "Anything", "PreviewAny"]),
        "inputs": st.dictionaries(INPUT_NAMES, VALUES, max_size=5),
    },
    optional={"is_changed": ANY_JSON},
)
GRAPHS = st.dictionaries(NODE_IDS, NODES, max_size=4)
BODIES = st.fixed_dictionaries(
    {"prompt": GRAPHS | st.dictionaries(NODE_IDS, GOOD_NODES, max_size=4) | ANY_JSON},
    optional={
        "client_id": TEXT | ANY_JSON,
        "prompt_id": TEXT | ANY_JSON,
        "number": NUMBERS | ANY_JSON,
        "front": ANY_JSON,
        "extra_data": st.dictionaries(TEXT, ANY_JSON, max_size=3) | ANY_JSON,
        "partial_execution_targets": st.lists(NODE_IDS, max_size=3) | ANY_JSON,
        "workflow_metadata": ANY_JSON,
    },
)


@shared_loop
@many
@given(st.dictionaries(NODE_IDS, GOOD_NODES, min_size=1, max_size=4))
@example({"1": {"class_type": "Anything", "inputs": {"text": "\ud800"}}})
@example({"\ud800": {"class_type": "Echo", "inputs": {"value": 1}}})
@example({"1": {"class_type": "Anything", "inputs": {"any": {"\ud800": [10**30]}}}})
@example({"1": {"class_type": "Echo", "inputs": {"value": 1}, "is_changed": ["\ud800", 1e308]}})
@example({"1": {"class_type": "Echo", "inputs": {"value": ["1", 0]}}})
async def test_graphs_that_nearly_fit_end(shared: Live, graph: Any) -> None:
    await attack(shared, "/prompt", json.dumps({"prompt": graph}).encode())


@shared_loop
@settings(many, max_examples=120)
@given(BODIES)
async def test_submissions_with_any_field_of_any_type(shared: Live, body: Any) -> None:
    await attack(shared, "/prompt", json.dumps(body).encode())


@shared_loop
@many
@given(st.sampled_from(["/prompt", "/queue", "/history", "/free"]), ANY_JSON)
async def test_any_json_to_any_route(shared: Live, path: str, body: Any) -> None:
    await attack(shared, path, json.dumps(body).encode())


@shared_loop
@many
@given(st.sampled_from(["/prompt", "/queue", "/history", "/free", "/interrupt"]), st.binary(max_size=200))
@example("/prompt", b"")
@example("/prompt", b'{"prompt": {}, "prompt": null}')
@example("/prompt", b'{"prompt": {"1": {"class_type": "Echo", "class_type": "Nope", "inputs": {}}}}')
@example("/prompt", b'{"prompt": {"\xff": 1}}')
@example("/prompt", b'{"number": 1e400, "prompt": {}}')
@example("/queue", b'{"clear": true, "delete": [' + b'"a",' * 100_000 + b'"a"]}')
async def test_any_bytes_to_any_route(shared: Live, path: str, body: bytes) -> None:
    await attack(shared, path, body)


@shared_loop
@many
@given(
    st.sampled_from(["/queue", "/history", "/free"]),
    st.dictionaries(
        st.sampled_from(["clear", "delete", "free_memory", "unload_models"]), ANY_JSON | st.lists(TEXT), max_size=3
    ),
)
async def test_commands_with_any_field_of_any_type(shared: Live, path: str, body: Any) -> None:
    await attack(shared, path, json.dumps(body).encode())


@shared_loop
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"prompt":' * 100_000,
        b'{"prompt":{"1":{"inputs":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}}}",
        b'{"prompt":{"1":{"class_type":"Anything","inputs":{"any":' + b'{"a":' * 150 + b"1" + b"}" * 150 + b"}}}}",
        b'{"prompt":{"1":{"class_type":"Anything","inputs":{"any":{"__value__":' + b"[" * 150 + b"]" * 150 + b"}}}}}",
        json.dumps({"k" * 1_000_000: 1, "prompt": {"x" * 1_000_000: {"class_type": "y" * 1_000_000}}}).encode(),
        json.dumps(
            {"prompt": {"1": {"class_type": "Anything", "inputs": {"k" * 1_000_000: ["9" * 1_000_000, 0]}}}}
        ).encode(),
        json.dumps(
            {
                "prompt": {
                    "1": {"class_type": "Anything", "inputs": {"limited": "9" * 1_000_000, "int": "x" * 1_000_000}}
                }
            }
        ).encode(),
        json.dumps(
            {
                "prompt": {
                    "1": {"class_type": "Anything", "inputs": {"choice": "x" * 1_000_000, "many": ["x"] * 100_000}}
                }
            }
        ).encode(),
        json.dumps(
            {
                "prompt": {
                    "1": {
                        "class_type": "Anything",
                        "inputs": {"many": {"__value__": ["x" * 10_000] * 100}, "limited": [0] * 100_000},
                    }
                }
            }
        ).encode(),
        json.dumps({"prompt": {"1": {"class_type": "x", "_meta": {"title": "t" * 1_000_000}}}}).encode(),
        json.dumps({"prompt": {}, "prompt_id": "x" * 1_000_000}).encode(),
        json.dumps({"prompt": {}, "partial_execution_targets": ["x"] * 100_000}).encode(),
    ],
)
async def test_deep_and_huge_bodies(shared: Live, body: bytes) -> None:
    answer = await attack(shared, "/prompt", body)
    assert len(answer.body) < 60_000


# -- errors without end --------------------------------------------------------------------------------------


def broken(nodes: int) -> dict[str, Any]:
    """A graph with five errors in every node."""
    inputs = {"int": "x", "float": "y", "choice": "z", "limited": -1, "many": {"__value__": ["q"]}}
    return {
        str(index): {"class_type": "Anything", "inputs": {**inputs, "text": ["nowhere", 0]}} for index in range(nodes)
    }


async def test_a_thousand_nodes_full_of_errors(live: Live) -> None:
    answer = await live.submit(broken(1000))
    assert answer.error["extra_info"]["omitted_nodes"] == 900
    node_errors = answer.json()["node_errors"]
    assert list(node_errors) == [str(index) for index in range(100)] or len(node_errors) == 100
    assert all(len(node["errors"]) == 6 for node in node_errors.values())
    assert len(answer.body) < 200_000
    assert len(answer.error["details"]) < 2100


async def test_a_node_with_a_thousand_errors_says_how_many_are_left_out(live: Live) -> None:
    inputs = {f"u{index}": ["nowhere", 0] for index in range(1000)}
    answer = await live.submit({"1": {"class_type": "Anything", "inputs": inputs}})
    node = answer.json()["node_errors"]["1"]
    assert (len(node["errors"]), node["omitted_errors"]) == (20, 980)
    assert len(answer.body) < 20_000


def steps_of(work: Callable[[], Any]) -> int:
    """How many functions are called: what a clock would measure, without the clock."""
    count = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("make", [broken, lambda nodes: {str(index): {"class_type": "Nope"} for index in range(nodes)}])
def test_errors_cost_what_the_graph_costs(make: Callable[[int], dict[str, Any]]) -> None:
    registry = NodeRegistry()
    registry.add(define_class_node("Anything", Anything, "tests"))

    def check(nodes: int) -> None:
        with pytest.raises(PromptRejected):
            read = read_graph(make(nodes), registry)
            interfaces = {name: one.describe() for name, one in read.definitions.items()}
            conclude(check_graph(read, interfaces, {}, None, lambda needs: None))

    assert steps_of(lambda: check(3000)) < 13 * steps_of(lambda: check(300))  # a square would be 100


async def test_thousands_of_missing_classes(live: Live) -> None:
    graph = {str(index): {"class_type": f"Missing{index}", "inputs": {}} for index in range(5000)}
    answer = await live.submit(graph)
    error = answer.error
    assert (error["type"], error["extra_info"]["missing_count"]) == ("missing_node_type", 5000)
    assert len(error["extra_info"]["missing_nodes"]) == 100
    assert "4900 more" in error["message"] or "characters" in error["message"]
    assert len(answer.body) < 30_000


@shared_loop
@pytest.mark.parametrize("value", ["nope", "x" * 100_000, ["1", 0, 0], ["2", 0], None, {}, 5])
async def test_a_choice_of_thousands_is_not_sent_back(shared: Live, value: Any) -> None:
    graph: dict[str, Any] = {
        str(index): {"class_type": "LongChoice", "inputs": {"choice": value}} for index in range(50)
    }
    graph["2"] = {"class_type": "Echo", "inputs": {"value": 1}}
    answer = await shared.submit(graph, partial_execution_targets=["0", "1", *map(str, range(3, 50))])
    assert answer.error["type"] == "prompt_outputs_failed_validation"
    for node in answer.json()["node_errors"].values():
        assert node["errors"][0]["extra_info"].get("input_config") is None
    assert len(answer.body) < 20_000 + 4 * 49 * min(2100, len(json.dumps(value)) + 200)


async def test_an_error_behind_a_choice_of_thousands_does_not_send_it_back(live: Live) -> None:
    graph = {
        "1": {"class_type": "PrimitiveInt", "inputs": {}},
        "2": {"class_type": "LongChoice", "inputs": {"choice": ["1", 7]}},
        "3": {"class_type": "LongChoice", "inputs": {"choice": ["1", 0], "more": ["1", 0]}},
    }
    answer = await live.submit(graph)
    assert answer.status == 400
    assert len(answer.body) < 10_000


async def test_many_long_names_of_outputs_are_cut(live: Live) -> None:
    """100 bad nodes, each needed by 100 outputs with names of 20 kB: 2 MB must not become 200."""
    graph: dict[str, Any] = {}
    for index in range(100):
        inputs = {"int": "x", **({"any": [str(index - 1), 0]} if index else {})}
        graph[str(index)] = {"class_type": "Anything", "inputs": inputs}
    names = [f"{index}".ljust(20_000, "o") for index in range(100)]
    graph.update({name: {"class_type": "Anything", "inputs": {"any": ["99", 0]}} for name in names})
    answer = await live.submit(graph, partial_execution_targets=names)
    assert answer.status == 400
    assert len(answer.body) < 1_000_000
    node = answer.json()["node_errors"]["99"]
    assert node["omitted_outputs"] + len(node["dependent_outputs"]) == 100


async def test_many_outputs_of_one_bad_node_are_cut_and_counted(live: Live) -> None:
    graph: dict[str, Any] = {"bad": {"class_type": "PrimitiveInt", "inputs": {"value": "x"}}}
    graph.update({f"o{index}": {"class_type": "Anything", "inputs": {"any": ["bad", 0]}} for index in range(3000)})
    answer = await live.submit(graph)
    node = answer.json()["node_errors"]["bad"]
    assert (len(node["dependent_outputs"]), node["omitted_outputs"]) == (100, 2900)
    assert len(answer.body) < 10_000


async def test_a_cycle_of_long_names_is_cut(live: Live) -> None:
    names = [f"{index}".ljust(20_000, "c") for index in range(100)]
    graph = {
        name: {"class_type": "Anything", "inputs": {"any": [names[index - 1], 0]}} for index, name in enumerate(names)
    }
    answer = await live.submit(graph)
    assert answer.status == 400
    assert len(answer.body) < 6_000_000  # the names themselves are keys
    error = next(iter(answer.json()["node_errors"].values()))["errors"][0]
    assert (error["type"], len(error["details"]) < 2100) == ("dependency_cycle", True)


def ladder(nodes: int) -> dict[str, Any]:
    """A line in which every node also leads back to its start: as many cycles as nodes, each up to its full length."""
    graph: dict[str, Any] = {}
    for index in range(nodes):
        graph[str(index)] = {
            "class_type": "Anything",
            "inputs": {"any": [str((index + 1) % nodes), 0], "back": ["0", 0]},
        }
    return graph


async def test_many_cycles_are_cut(live: Live) -> None:
    answer = await live.submit(ladder(300))
    assert answer.error["type"] == "prompt_outputs_failed_validation"
    assert len(answer.body) < 400_000
    for node in answer.json()["node_errors"].values():
        assert {error["type"] for error in node["errors"]} == {"dependency_cycle"}
    said = await live.submit({**ladder(300), "good": {"class_type": "Echo", "inputs": {"value": 1}}})
    assert said.status == 200  # every output that a cycle leads to is left out, and only those
    entry = await live.finished(said.json()["prompt_id"])
    assert entry["prompt"][4] == ["good"]


async def test_cycles_that_are_not_named_break_their_outputs_too(live: Live) -> None:
    graph: dict[str, Any] = {
        f"{index}": {"class_type": "Echo", "inputs": {"value": [f"{index}", 0]}} for index in range(300)
    }
    answer = await live.submit(graph)
    assert answer.error["extra_info"] == {"omitted_nodes": 200}
    assert len(answer.json()["node_errors"]) == 100
    said = await live.accepted({**graph, "good": {"class_type": "Echo", "inputs": {"value": 1}}})
    assert (await live.finished(said["prompt_id"]))["prompt"][4] == ["good"]


def test_many_cycles_take_as_long_as_the_graph_is() -> None:
    from execution.prompt_graph import GraphNode, order_by_sources, parse_links

    def length(count: int) -> int:
        nodes = {
            name: GraphNode(name, node["class_type"], node["inputs"], parse_links(node["inputs"]))
            for name, node in ladder(count).items()
        }
        return sum(map(len, order_by_sources(nodes, ["0"]).cycles))

    assert length(1000) < 300 * 1000


async def test_a_line_of_thousands_that_is_broken_at_its_start(live: Live) -> None:
    graph: dict[str, Any] = {"0": {"class_type": "Echo", "inputs": {"value": ["nowhere", 0]}}}
    for index in range(1, 5000):
        graph[str(index)] = {"class_type": "Echo", "inputs": {"value": [str(index - 1), 0]}}
    answer = await live.submit(graph)
    assert list(answer.json()["node_errors"]) == ["0"]
    assert answer.json()["node_errors"]["0"]["omitted_outputs"] == 4900


# -- headers, queries, paths ---------------------------------------------------------------------------------

ODD_VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40)
HEADERS = st.sampled_from(
    [
        "Host",
        "Origin",
        "Range",
        "If-None-Match",
        "If-Match",
        "If-Modified-Since",
        "If-Range",
        "Accept",
        "Cookie",
        "Accept-Encoding",
        "Content-Type",
        "Comfy-Usage-Source",
        "Sec-Fetch-Site",
        "Sec-Fetch-Mode",
        "Upgrade",
        "Referer",
        "Authorization",
        "X-Forwarded-For",
        "Access-Control-Request-Method",
    ]
)


@shared_loop
@settings(many, max_examples=120)
@given(
    st.sampled_from(
        [
            "/queue",
            "/",
            "/object_info/Echo",
            "/history",
            "/features",
            "/view",
            "/ws",
            "/nope.png",
            "/index.html",
            "/api/jobs",
            "/api/jobs/x",
        ]
    ),
    st.dictionaries(HEADERS, ODD_VALUES, max_size=3),
)
@example("/queue", {"Host": "[", "Origin": "x"})
@example("/queue", {"Host": "[::1", "Origin": "http://[::1"})
@example("/index.html", {"Range": "bytes=5-2"})
@example("/index.html", {"Range": "bytes=-0,5-,--"})
@example("/index.html", {"If-Modified-Since": "Mon, 99 Foo 99999"})
@example("/object_info/Echo", {"If-None-Match": '"', "Range": "bytes=0-"})
async def test_odd_headers(shared: Live, path: str, headers: dict[str, str]) -> None:
    before = await shared.state()
    writer_headers = {"Host": "127.0.0.1", **{name: value.strip() for name, value in headers.items()}}
    lines = [
        f"GET {path} HTTP/1.1",
        *(f"{name}: {value}" for name, value in writer_headers.items()),
        "Connection: close",
        "",
        "",
    ]
    answer = await said_to(shared, "\r\n".join(lines).encode("latin-1"))
    assert 200 <= status_of(answer) < 500, answer[:300]
    await unharmed(shared, before)


@shared_loop
@many
@given(
    st.sampled_from(["/history", "/queue", "/view", "/object_info", "/prompt", "/ws"]),
    st.lists(
        st.tuples(
            st.sampled_from(
                ["max_items", "offset", "clientId", "filename", "type", "subfolder", "preview", "channel", "x"]
            ),
            st.text(max_size=20) | st.integers().map(str),
        ),
        max_size=4,
    ),
)
async def test_odd_queries(shared: Live, path: str, query: list[tuple[str, str]]) -> None:
    clean = [(name, value.encode("utf-8", "replace").decode()) for name, value in query]
    answer = await shared.get(yarl.URL(shared.running.url + path).with_query(clean))
    assert answer.status < 500, (path, query, answer.body)


@shared_loop
@many
@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]),
    st.binary(max_size=30).map(lambda raw: "/" + "".join(f"%{byte:02x}" for byte in raw))
    | st.lists(
        st.sampled_from(
            ["..", ".", "api", "history", "object_info", "view", "prompt", "jobs", "cancel"]
            + ["%2e%2e", "%2f", "%00", "", "x"]
        ),
        max_size=6,
    ).map(lambda parts: "/" + "/".join(parts)),
)
async def test_odd_paths_and_methods(shared: Live, method: str, path: str) -> None:
    before = await shared.state()
    answer = await shared.ask(
        method, yarl.URL(shared.running.url + path, encoded=True), data=None if method == "GET" else b"["
    )
    assert answer.status < 500, (method, path, answer.body)
    await unharmed(shared, before)


@shared_loop
@pytest.mark.parametrize("name", ["clientId", "max_items", "offset", "x"])
@pytest.mark.parametrize("path", ["/history", "/ws", "/queue"])
async def test_a_query_of_ten_kilobytes(shared: Live, path: str, name: str) -> None:
    answer = await shared.get(f"{path}?{name}={'a' * 10_000}")
    assert answer.status == 400
    assert (await shared.get("/queue")).status == 200


# -- bodies over the limit, encoded, chunked -----------------------------------------------------------------


@pytest.mark.parametrize("path", ["/prompt", "/queue", "/history", "/interrupt", "/free"])
async def test_the_limit_of_a_body_is_exact(serve: Any, path: str) -> None:
    async with serve(max_upload_size=0.01) as live:
        limit = round(0.01 * 2**20)
        before = await live.state()
        fits = json.dumps({"prompt": {"1": {"class_type": "Nope"}}}).encode()
        answer = await live.post(path, fits.ljust(limit))
        assert answer.status == (400 if path == "/prompt" else 200)
        for length in (limit + 1, limit * 20):
            answer = await live.post(path, fits.ljust(length))
            assert answer.status == 413, length
            assert answer.headers["Content-Type"].startswith(("text/plain", "application/json"))
            assert str(limit).encode() in answer.body
        await unharmed(live, before)


async def test_a_command_has_no_reason_to_be_large(live: Live) -> None:
    """It is decoded on the loop: 20 MB of empty lists would hold it for seconds."""
    before = await live.state()
    ids = json.dumps({"delete": [f"{index:036}" for index in range(10_000)]}).encode()
    for path in ("/queue", "/history", "/free", "/interrupt"):
        assert (await live.post(path, ids)).status == 200
        answer = await live.post(path, b'{"delete":[' + b"[]," * 2**19 + b"[]]}")
        assert (answer.status, str(2**20).encode() in answer.body) == (413, True)
    await unharmed(live, before)


async def test_a_chunked_body_over_the_limit(serve: Any) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    async with serve(max_upload_size=0.01) as live:
        answer = await live.ask("POST", "/prompt", data=chunks())
        assert answer.status == 413
        assert (await live.get("/queue")).status == 200


async def test_a_chunked_body_is_a_body(live: Live) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for one in json.dumps({"prompt": ANSWERS_AFTERWARDS}):
            yield one.encode()

    assert (await live.ask("POST", "/prompt", data=chunks())).status == 200


@shared_loop
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_body_that_is_not_encoded_as_it_says(shared: Live, encoding: str) -> None:
    before = await shared.state()
    whole = gzip.compress(b'{"prompt": 5}' * 100) if encoding == "gzip" else zlib.compress(b'{"prompt": 5}' * 100)
    for body in (b"{}", b"", b"\x1f\x8b", whole[:-12], whole[:10] + b"\xff" * 20, whole[:5]):
        async with shared.http.post(
            "/prompt", data=body, headers={"Content-Encoding": encoding, "Connection": "close"}
        ) as response:
            assert response.status == 400, body
    await unharmed(shared, before)


@shared_loop
@pytest.mark.parametrize("encoding", ["br", "zstd", "foo", "gzip, gzip", "identity"])
async def test_an_encoding_that_nobody_knows(shared: Live, encoding: str) -> None:
    async with shared.http.post(
        "/prompt", data=b"[]", headers={"Content-Encoding": encoding, "Connection": "close"}
    ) as response:
        assert response.status == 400


async def test_a_small_body_that_becomes_a_huge_one(serve: Any) -> None:
    async with serve(max_upload_size=1.0) as live:
        bomb = await asyncio.to_thread(gzip.compress, b" " * (300 * 2**20), 1)
        async with live.http.post(
            "/prompt", data=bomb, headers={"Content-Encoding": "gzip", "Connection": "close"}
        ) as response:
            assert response.status == 413
        assert (await live.get("/queue")).status == 200


# -- raw sockets ---------------------------------------------------------------------------------------------


async def said_to(live: Live, *pieces: bytes) -> bytes:
    """Everything that the server says until it closes. Pieces are sent one after the other."""
    reader, writer = await asyncio.open_connection(*live.address)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(20):
            return await reader.read()
    except ConnectionError:
        return b"HTTP/1.1 400 gone"
    finally:
        writer.close()


def status_of(answer: bytes) -> int:
    return int(answer.split(None, 2)[1])


def statuses_of(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"^HTTP/1\.[01] (\d{3}) ", answers, re.MULTILINE)]


def post(path: str, body: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([f"POST {path} HTTP/1.1".encode(), b"Host: x", *headers, b"", b""]) + body


@shared_loop
@pytest.mark.parametrize(
    "request_bytes",
    [
        post("/prompt", b"ZZ\r\nabc\r\n0\r\n\r\n", b"Transfer-Encoding: chunked", b"Connection: close"),
        post("/prompt", b"3\r\nabcdef\r\n0\r\n\r\n", b"Transfer-Encoding: chunked"),
        post("/prompt", b"FFFFFFFFFFFFFFFFFF\r\nabc", b"Transfer-Encoding: chunked"),
        post("/prompt", b"0\r\n\r\n", b"Transfer-Encoding: chunked", b"Content-Length: 3"),
        post("/prompt", b"{}", b"Transfer-Encoding: gzip"),
        post("/prompt", b"{}", b"Content-Length: -2"),
        post("/prompt", b"{}", b"Content-Length: 2", b"Content-Length: 3"),
        post("/prompt", b"{}", b"Content-Length: two"),
        post("/prompt", b"{}", b"Content-Length: 0x2"),
        post("/prompt", b"{}GARBAGE", b"Content-Length: 2"),
        b"GET /queue HTTP/1.1\r\n\r\n",
        b"GET /queue HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"FOO /queue HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /queue?\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /queue HTTP/7.7\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\x00" * 100,
        b"\r\n" * 5 + b"\xff\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n X: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=lambda one: repr(one[:40]),
)
async def test_what_is_no_http_is_refused_and_the_connection_closed(shared: Live, request_bytes: bytes) -> None:
    before = await shared.state()
    answer = await said_to(shared, request_bytes)
    assert statuses_of(answer)[-1] in (400, 405, 413, 431, 501, 505), answer[:300]
    await unharmed(shared, before)


@shared_loop
@pytest.mark.parametrize(
    "line",
    [
        "GET http://evil.com/queue",
        "GET //evil.com/queue",
        "OPTIONS *",
        "CONNECT evil.com:80",
        "TRACE /queue",
        "GET *",
        "GET evil.com:80",
        "HEAD http://x/",
        "GET http:///",
        "GET /#x",
        "GET ?x",
    ],
)
async def test_odd_request_lines(shared: Live, line: str) -> None:
    answer = await said_to(shared, f"{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert status_of(answer) < 500, answer[:300]


@shared_loop
@pytest.mark.parametrize("sent", [0, 1, 50])
async def test_a_body_shorter_than_it_says_is_no_prompt(shared: Live, sent: int) -> None:
    """The client leaves in the middle: nothing is queued, and the others go on."""
    before = await shared.state()
    body = json.dumps({"prompt": ANSWERS_AFTERWARDS}).encode()
    for headers in ([b"Content-Length: 5000"], [b"Content-Length: 5000", b"Connection: close"]):
        _, writer = await asyncio.open_connection(*shared.address)
        writer.write(post("/prompt", body[:sent], *headers))
        await writer.drain()
        await shared.get("/queue")
        writer.close()
        await writer.wait_closed()
    assert (await shared.submit({})).json()["error"]["type"] == "prompt_no_outputs"
    await unharmed(shared, before)


async def test_a_body_longer_than_it_says_is_a_bad_second_request(live: Live) -> None:
    """The first request may be answered or refused with it, but what was said of it is true."""
    body = json.dumps({"prompt": ANSWERS_AFTERWARDS, "prompt_id": "first"}).encode()
    answer = await said_to(
        live, post("/prompt", body + b'{"more": 1}\r\n\r\n', f"Content-Length: {len(body)}".encode())
    )
    assert statuses_of(answer) in ([400], [200, 400])
    if statuses_of(answer)[0] == 200:
        assert (await live.finished("first"))["status"]["completed"]
    else:
        assert await live.state() == ({"queue_running": [], "queue_pending": []}, {})


async def test_pipelined_requests_are_answered_in_order(live: Live) -> None:
    pieces = []
    for index in range(50):
        body = json.dumps({"prompt": ANSWERS_AFTERWARDS, "prompt_id": f"pipelined-{index}"}).encode()
        pieces.append(post("/prompt", body, f"Content-Length: {len(body)}".encode()))
    pieces.append(b"GET /prompt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = (await said_to(live, b"".join(pieces))).decode()
    assert answer.count("HTTP/1.1 200") == 51
    places = [answer.index(f'"pipelined-{index}"') for index in range(50)]
    assert places == sorted(places)


async def test_a_request_byte_by_byte(live: Live) -> None:
    body = b'{"prompt": {}}'
    request = post("/prompt", body, f"Content-Length: {len(body)}".encode(), b"Connection: close")
    answer = await said_to(live, *(bytes([byte]) for byte in request))
    assert status_of(answer) == 400
    assert b"prompt_no_outputs" in answer


async def test_half_requests_delay_nobody(live: Live) -> None:
    """200 clients that send half a head or half a body and then nothing; the others are served as before."""
    before = await live.state()
    halves = [
        b"",
        b"G",
        b"GET /queue HTTP/1.1\r\nHost: x\r\n",
        post("/prompt", b'{"prompt"', b"Content-Length: 90000"),
        post("/prompt", b"", b"Transfer-Encoding: chunked"),
        post("/prompt", b"FF\r\n{", b"Transfer-Encoding: chunked"),
        post("/upload/image", b"--x\r\n", b"Content-Type: multipart/form-data; boundary=x", b"Content-Length: 90000"),
        post("/prompt", b"", b"Content-Length: 5", b"Expect: 100-continue"),
    ]
    opened = await asyncio.gather(*(asyncio.open_connection(*live.address) for _ in range(200)))
    try:
        for index, (_, writer) in enumerate(opened):
            writer.write(halves[index % len(halves)])
            await writer.drain()
        async with asyncio.timeout(10):
            for _ in range(20):
                assert (await live.get("/queue")).status == 200
            said = await live.accepted(ANSWERS_AFTERWARDS, prompt_id="meanwhile")
            await live.finished(said["prompt_id"])
            await live.post("/history", {"delete": ["meanwhile"]})
        await unharmed(live, before)
    finally:
        for _, writer in opened:
            writer.transport.abort()
    assert (await live.get("/queue")).status == 200


async def test_who_does_not_read_the_answers_delays_nobody(live: Live) -> None:
    _, writer = await asyncio.open_connection(*live.address, limit=1)
    try:
        writer.write(b"GET /object_info HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
        async with asyncio.timeout(10):
            for _ in range(20):
                assert (await live.get("/queue")).status == 200
    finally:
        writer.transport.abort()


async def test_connections_that_break_off_leave_nothing(live: Live) -> None:
    before = await live.state()
    for index in range(100):
        _, writer = await asyncio.open_connection(*live.address)
        writer.write(post("/prompt", b"{", b"Content-Length: 100")[:index])
        writer.transport.abort()
    await unharmed(live, before)


async def test_a_client_that_leaves_after_its_post_has_posted(live: Live) -> None:
    body = json.dumps({"prompt": ANSWERS_AFTERWARDS, "prompt_id": "left"}).encode()
    _, writer = await asyncio.open_connection(*live.address)
    writer.write(post("/prompt", body, f"Content-Length: {len(body)}".encode()))
    await writer.drain()
    writer.close()
    assert (await live.finished("left"))["status"]["completed"]


def test_the_examples_hold_what_they_promise() -> None:
    assert math.isinf(float("1e400"))
    assert len(json.dumps(broken(1000))) > 100_000
