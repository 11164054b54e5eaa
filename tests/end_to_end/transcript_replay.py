"""Replays a recorded session against a running server and compares what comes back.

A transcript is a list of lines: what clients connected, sent and received, and which REST calls were made.
`TranscriptReplay` does again what the clients did, each step as soon as the messages that preceded it in the
record have arrived. `compare` then reads both sides by the rules of rulings.md, section 6:

* the messages of the prompt itself and the queue's `status`, as one sequence for each client;
* the messages of each node, as one sequence for each node; between independent nodes there is no order,
  but where one node feeds another the order of the record must hold;
* `progress_state` tables are left out, and a run of ticks counts as one;
* ids stand for each other one to one, so do the names of saved files; times are not looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image

PATIENCE = 20.0  # the outer guard of each wait; nothing waits that long unless something is wrong
ENDINGS = ("execution_success", "execution_error", "execution_interrupted")
PROMPT_MESSAGES = ("status", "execution_start", "execution_cached", *ENDINGS)
NOT_COMPARED = ("progress_state", "logs")
HAPPENED_TOGETHER = 0.05  # seconds in the record within which a status may be the effect of the call after it

SAVED_FILE = re.compile(r"(?P<prefix>.*?)(?P<letters>_temp_[a-z]{5})?_(?P<counter>\d{5})_\.(?P<ending>\w+)")
CUT_TEXT = re.compile(r"\.\.\.\(\d+ chars\)$")
GENERATED_SID = re.compile(r"[0-9a-f]{32}")

Line = dict[str, Any]


def read_transcript(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- names that stand for each other ---------------------------------------------------


@dataclass
class ServerUnderReplay:
    """What outlives one transcript on the server: saved files keep their names, numbers go on counting."""

    url: str
    files: dict[str, str] = field(default_factory=dict)
    numbers_taken: int = 0


@dataclass
class Aliases:
    """Recorded names of prompts and files, and what they are called in the replay: one to one."""

    files: dict[str, str]
    prompt_ids: dict[str, str] = field(default_factory=dict)

    def same_file(self, recorded: str, actual: str) -> bool:
        first, second = SAVED_FILE.fullmatch(recorded), SAVED_FILE.fullmatch(actual)
        if first is None or second is None:
            return recorded == actual
        alike = first["prefix"] == second["prefix"] and first["ending"] == second["ending"]
        if not alike or bool(first["letters"]) != bool(second["letters"]):
            return False
        known = self.files.setdefault(recorded, actual)
        return known == actual and list(self.files.values()).count(actual) == 1

    def to_server(self, value: Any) -> Any:
        """A recorded request with the ids of this run."""
        if isinstance(value, dict):
            return {name: self.to_server(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self.to_server(item) for item in value]
        return self.prompt_ids.get(value, value) if isinstance(value, str) else value

    def to_record(self, value: Any) -> Any:
        """What the server said with the ids of the record, as values and as keys."""
        names = {actual: recorded for recorded, actual in self.prompt_ids.items()}

        def translate(item: Any) -> Any:
            if isinstance(item, dict):
                return {names.get(key, key): translate(part) for key, part in item.items()}
            if isinstance(item, list):
                return [translate(part) for part in item]
            return names.get(item, item) if isinstance(item, str) else item

        return translate(value)


# --- doing it again --------------------------------------------------------------------


@dataclass
class ReplayedClient:
    """One WebSocket; keeps every frame, and wakes who waits for one."""

    socket: aiohttp.ClientWebSocketResponse
    frames: list[Line] = field(default_factory=list)
    pongs: int = 0
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    reader: asyncio.Task[None] | None = None

    async def read(self) -> None:
        async for message in self.socket:
            async with self.arrived:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self.frames.append({"recv": json.loads(message.data)})
                elif message.type is aiohttp.WSMsgType.BINARY:
                    self.frames.append({"recv_binary": decode_binary(message.data)})
                elif message.type is aiohttp.WSMsgType.PING:
                    await self.socket.pong(message.data)
                elif message.type is aiohttp.WSMsgType.PONG:
                    self.pongs += 1
                self.arrived.notify_all()
        async with self.arrived:
            self.arrived.notify_all()

    async def until_server_has_read_everything(self) -> None:
        """A ping is answered in its turn, after the frames that were sent before it."""
        wanted = self.pongs + 1
        await self.socket.ping()
        async with asyncio.timeout(PATIENCE), self.arrived:
            await self.arrived.wait_for(lambda: self.pongs >= wanted or self.socket.closed)

    async def until(self, wanted: Counter[tuple[Any, ...]]) -> None:
        """Returns once the wanted kinds of messages have come, each as often as wanted."""

        def missing() -> Counter[tuple[Any, ...]]:
            return wanted - count_kinds(self.frames)

        def nothing_more_comes() -> bool:
            """`executing` null is the last word about a prompt: what lacks then will not come."""
            prompts_over = wanted["executing", None]
            return self.socket.closed or 0 < prompts_over <= count_kinds(self.frames)["executing", None]

        async with self.arrived:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self.arrived.wait_for(lambda: not missing() or nothing_more_comes())
        if missing():
            raise AssertionError(f"never came: {dict(missing())}\n{self.told()}")

    def told(self) -> str:
        kept = [frame for frame in self.frames if frame.get("recv", {}).get("type") != "progress_state"]
        return "received:\n" + "\n".join(f"  {json.dumps(frame)[:300]}" for frame in kept)

    async def close(self) -> None:
        await self.socket.close()
        if self.reader is not None:
            await self.reader


def decode_binary(data: bytes) -> Line:
    """A binary frame in the words of the transcripts."""
    event = int.from_bytes(data[:4], "big")
    frame: Line = {"event": event, "total_bytes": len(data)}
    if event == 3:
        id_length = int.from_bytes(data[4:8], "big")
        node_id, text = data[8 : 8 + id_length], data[8 + id_length :]
        return {**frame, "id_len": id_length, "node_id": node_id.decode(), "text": text.decode()}
    if event == 4:
        meta_length = int.from_bytes(data[4:8], "big")
        frame |= {"meta_len": meta_length, "metadata": json.loads(data[8 : 8 + meta_length])}
        picture = data[8 + meta_length :]
    else:
        frame["image_type"] = int.from_bytes(data[4:8], "big")
        picture = data[8:]
    image = Image.open(io.BytesIO(picture))
    image.load()
    return {**frame, "image_magic_hex": picture[:8].hex(" "), "image_size": [image.format, *image.size]}


def kind_of(frame: Line) -> tuple[Any, ...] | None:
    """What a step of the replay may wait for; None for what it must not count on."""
    if "recv_binary" in frame:
        event = frame["recv_binary"]["event"]
        return ("text", frame["recv_binary"]["node_id"]) if event == 3 else None
    if "recv" not in frame or frame["recv"]["type"] in NOT_COMPARED:
        return None
    return (frame["recv"]["type"], frame["recv"]["data"].get("node"))


def count_kinds(frames: Iterable[Line]) -> Counter[tuple[Any, ...]]:
    """How often each kind came; of ticks only whether any came."""
    counted = Counter(kind for frame in frames if (kind := kind_of(frame)) is not None)
    return Counter({kind: 1 if kind[0] == "progress" else times for kind, times in counted.items()})


@dataclass
class RestAnswer:
    line: Line
    status: int
    response: Any


class TranscriptReplay:
    """Does again what the clients of one transcript did; afterwards holds what came back."""

    def __init__(self, server: ServerUnderReplay, lines: list[Line]):
        self.server, self.url, self.lines = server, server.url, lines
        self.aliases = Aliases(server.files)
        self.clients: dict[str, ReplayedClient] = {}
        self.answers: list[RestAnswer] = []
        self.submitted: dict[str, Any] = {}

    async def run(self) -> None:
        async with aiohttp.ClientSession() as self.session:
            try:
                await self._bring_counter_to_recorded_number()
                for position, line in enumerate(self.lines):
                    await self._step(position, line)
                await self._wait_for_record(self.lines)
                await self._fence()
            finally:
                for client in self.clients.values():
                    await client.close()

    async def _step(self, position: int, line: Line) -> None:
        if line.get("ws") == "connect":
            await self._wait_for_record(self.lines[:position])
            await self._connect(line)
        elif line.get("ws") == "closed":
            await self._wait_for_record(self.lines[:position])
            await self.clients[line["client"]].close()
        elif "send" in line:
            await self.clients[line["client"]].socket.send_str(json.dumps(line["send"]))
        elif "send_raw" in line:
            await self._send_raw(line)
        elif "http" in line:
            await self._wait_for_record(causes_of(self.lines[:position], line))
            await self._call(line)

    async def _connect(self, line: Line) -> None:
        socket = await self.session.ws_connect(self.url + line["path"], autoping=False, max_msg_size=0)
        client = ReplayedClient(socket)
        client.reader = asyncio.create_task(client.read())
        self.clients[line["client"]] = client

    async def _send_raw(self, line: Line) -> None:
        text, _, then = line["send_raw"].partition(" then ")
        await self.clients[line["client"]].socket.send_str(text)
        if then:
            flags = {"type": then, "data": {"supports_preview_metadata": True}}
            await self.clients[line["client"]].socket.send_str(json.dumps(flags))

    async def _wait_for_record(self, lines: list[Line]) -> None:
        """Until each open client has received what it had received in the record."""
        for name, client in self.clients.items():
            if not client.socket.closed:
                await client.until(count_kinds([line for line in lines if line.get("client") == name]))

    async def _call(self, line: Line) -> None:
        method, path = line["http"].split(" ", 1)
        body = line.get("body")
        if body == "(see submitted_prompt)":
            body = self.lines[0]["submitted_prompt"]
        payload = None if body is None else json.dumps(self.aliases.to_server(body))
        for recorded, actual in self.aliases.prompt_ids.items():
            path = path.replace(recorded, actual)
        async with self.session.request(method, self.url + path, data=payload) as response:
            text = await response.text()
            status = response.status
        with contextlib.suppress(ValueError):
            text = json.loads(text)
        if line["http"] == "POST /prompt" and status == 200:
            recorded_id = line["response"]["prompt_id"]
            self.aliases.prompt_ids[recorded_id] = text["prompt_id"]
            self.submitted[recorded_id] = body["prompt"]
        self.answers.append(RestAnswer(line, status, text))

    async def _bring_counter_to_recorded_number(self) -> None:
        """Each POST /prompt takes a number, a refused one too: so the recorded numbers can be had exactly."""
        posts = [line for line in self.lines if line.get("http") == "POST /prompt"]
        if not posts:
            return
        for _ in range(posts[0]["response"]["number"] - self.server.numbers_taken):
            async with self.session.post(self.url + "/prompt", json={"prompt": {}}) as response:
                assert response.status == 400, await response.text()
        counted = [line["response"]["number"] for line in posts if "number" not in (line.get("body") or {})]
        self.server.numbers_taken = max(abs(number) for number in counted) + 1

    async def _fence(self) -> None:
        """Makes the server say one thing more, so that what would have come too much has come before it."""
        still_open = [client for client in self.clients.values() if not client.socket.closed]
        for client in still_open:
            await client.until_server_has_read_everything()
        before = [count_kinds(client.frames)["status", None] for client in still_open]
        async with self.session.post(self.url + "/queue", json={"clear": True}) as response:
            assert response.status == 200
        for client, statuses in zip(still_open, before, strict=True):
            await client.until(Counter({("status", None): statuses + 1}))
            position = max(
                index
                for index, frame in enumerate(client.frames)
                if frame.get("recv", {}).get("type") == "status"
            )
            del client.frames[position]


def causes_of(earlier: list[Line], call: Line) -> list[Line]:
    """The messages that a call waits for.

    A `status` recorded just before the answer to POST /prompt is likely the effect of that same POST.
    """
    if call["http"] != "POST /prompt":
        return earlier
    return [
        line
        for line in earlier
        if line.get("recv", {}).get("type") != "status" or line["t"] < call["t"] - HAPPENED_TOGETHER
    ]


# --- comparing -------------------------------------------------------------------------


@dataclass
class Comparison:
    """Collects every place where the replay differs from the record."""

    aliases: Aliases
    problems: list[str] = field(default_factory=list)

    def expect(self, condition: bool, where: str, recorded: Any, actual: Any) -> None:
        if not condition:
            self.problems.append(f"{where}\n    recorded {short(recorded)}\n    actual   {short(actual)}")

    def values(self, where: str, recorded: Any, actual: Any, key: str = "") -> None:
        """Deep comparison, with the rule for each key that has one."""
        if key == "timestamp":
            self.expect(isinstance(actual, int) and actual > 10**12, where, "milliseconds", actual)
        elif key == "traceback":
            frames = isinstance(actual, list) and all(isinstance(frame, str) for frame in actual)
            self.expect(frames and bool(actual) == bool(recorded), where, recorded, actual)
        elif key == "executed" or key == "outputs_to_execute":
            same = isinstance(actual, list) and Counter(recorded) == Counter(actual)
            self.expect(same, f"{where} (any order)", recorded, actual)
        elif key == "current_outputs":
            # In the record it holds all ids of the prompt, and by chance some of its expansions.
            wanted = {node_id for node_id in recorded if "." not in node_id}
            same = isinstance(actual, list) and wanted == {one for one in actual if "." not in one}
            self.expect(same, f"{where} (any order)", recorded, actual)
        elif key == "filename" and isinstance(actual, str):
            self.expect(self.aliases.same_file(recorded, actual), f"{where} (names map)", recorded, actual)
        elif key == "sid" and recorded == "CLIENT-B":
            fits = actual == recorded or bool(GENERATED_SID.fullmatch(str(actual)))
            self.expect(fits, where, "its own id, or 32 hex digits", actual)
        elif key == "max_upload_size":
            self.expect(recorded == actual, where, recorded, actual)
        elif isinstance(recorded, dict):
            self._objects(where, recorded, actual, key)
        elif isinstance(recorded, list):
            self._lists(where, recorded, actual)
        elif isinstance(recorded, str):
            self._texts(where, recorded, actual)
        elif isinstance(recorded, float) and recorded != recorded:
            self.expect(actual is None or actual != actual, where, recorded, actual)
        else:
            same = type(recorded) is type(actual) and recorded == actual
            self.expect(same, where, recorded, actual)

    def _objects(self, where: str, recorded: Line, actual: Any, key: str) -> None:
        if not isinstance(actual, dict):
            self.expect(False, where, recorded, actual)
            return
        if key == "extra_data":
            actual = {name: value for name, value in actual.items() if name != "create_time"}
        if key == "feature_flags":  # later servers announce more
            actual = {name: value for name, value in actual.items() if name in recorded}
        self.expect(recorded.keys() == actual.keys(), f"{where}: keys", sorted(recorded), sorted(actual))
        for name in recorded.keys() & actual.keys():
            self.values(f"{where}.{name}", recorded[name], actual[name], name)

    def _lists(self, where: str, recorded: list[Any], actual: Any) -> None:
        if not isinstance(actual, list) or len(recorded) != len(actual):
            self.expect(False, where, recorded, actual)
            return
        if is_queue_item(recorded):
            names = ("number", "prompt_id", "prompt", "extra_data", "outputs_to_execute")
            for name, first, second in zip(names, recorded, actual, strict=True):
                self.values(f"{where}.{name}", first, second, name)
            return
        for index, (first, second) in enumerate(zip(recorded, actual, strict=True)):
            self.values(f"{where}[{index}]", first, second)

    def _texts(self, where: str, recorded: str, actual: Any) -> None:
        if not isinstance(actual, str):
            self.expect(False, where, recorded, actual)
        elif recorded.startswith("tensor("):  # some are noise, and the record has cut them
            self.expect(actual.startswith("tensor("), where, recorded, actual)
        elif CUT_TEXT.search(recorded):
            self.expect(actual.startswith(CUT_TEXT.sub("", recorded)), where, recorded, actual)
        else:
            self.expect(recorded == actual, where, recorded, actual)


def is_queue_item(value: list[Any]) -> bool:
    return len(value) == 5 and isinstance(value[2], dict) and isinstance(value[4], list)


def short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) < 700 else text[:700] + "…"


@dataclass
class Message:
    """A frame as it is compared: whose it is, and what it says."""

    prompt: str | None
    node: str | None  # None: the prompt's own, or the queue's
    kind: str
    data: Any


def messages_of(frames: list[Line]) -> list[Message]:
    """The frames of one client as messages; a legacy preview belongs to the node whose tick was last."""
    messages: list[Message] = []
    ticking: tuple[str | None, str | None] = (None, None)
    for frame in frames:
        if "recv_binary" in frame:
            messages.append(message_of_binary(frame["recv_binary"], ticking))
        elif "recv" in frame and frame["recv"]["type"] not in NOT_COMPARED:
            message = message_of_text(frame["recv"]["type"], frame["recv"]["data"])
            if message.kind in ("executing", "progress") and message.node is not None:
                ticking = (message.prompt, message.node)
            messages.append(message)
    return messages


def message_of_text(kind: str, data: Line) -> Message:
    prompt = data.get("prompt_id")
    if kind in PROMPT_MESSAGES and not (kind == "execution_error" and "timestamp" not in data):
        return Message(prompt, None, kind, data)
    if kind == "execution_error":  # blocked: about one node, and the prompt goes on
        return Message(prompt, data["node_id"], "blocked", data)
    if kind == "feature_flags":
        return Message(None, None, kind, {"feature_flags": data})
    if kind == "progress":
        return Message(prompt, data["node"], kind, None)
    return Message(prompt, data.get("node"), kind, data)


def message_of_binary(frame: Line, ticking: tuple[str | None, str | None]) -> Message:
    if frame["event"] == 3:
        told = {name: frame[name] for name in ("total_bytes", "id_len", "text")}
        return Message(ticking[0], frame["node_id"], "text", told)
    picture = {"image_size": frame["image_size"], "magic": frame["image_magic_hex"][:5]}
    if frame["event"] == 4:
        metadata = frame["metadata"]
        said = {**picture, "metadata": metadata}
        return Message(metadata["prompt_id"], metadata["node_id"], "preview with metadata", said)
    return Message(*ticking, f"preview {frame['event']}", {**picture, "image_type": frame["image_type"]})


def is_tick(message: Message) -> bool:
    return message.kind == "progress" or message.kind.startswith("preview")


def without_repeated_ticks(messages: list[Message]) -> list[Message]:
    """Of each run of ticks and previews, the first of each kind in the order they came."""
    kept: list[Message] = []
    run: set[str] = set()
    for message in messages:
        run = run if is_tick(message) else set()
        if is_tick(message):
            if message.kind in run:
                continue
            run.add(message.kind)
        kept.append(message)
    return kept


def by_node(messages: list[Message]) -> dict[tuple[str | None, str], list[Message]]:
    nodes: dict[tuple[str | None, str], list[Message]] = defaultdict(list)
    for message in messages:
        if message.node is not None:
            nodes[message.prompt, message.node].append(message)
    return {key: without_repeated_ticks(sequence) for key, sequence in nodes.items()}


def compare(lines: list[Line], replay: TranscriptReplay, leniency: Leniency) -> list[str]:
    """All places where the replay differs from the record, as text."""
    comparison = Comparison(replay.aliases)
    for answer in replay.answers:
        where = answer.line["http"]
        comparison.expect(answer.line["status"] == answer.status, where, answer.line["status"], answer.status)
        actual = replay.aliases.to_record(answer.response)
        recorded = answer.line["response"]
        comparison.values(where, leniency.ease(recorded), leniency.ease(actual))
    for name, client in replay.clients.items():
        recorded = leniency.audible(messages_of([line for line in lines if line.get("client") == name]))
        actual = leniency.audible(messages_of(replay.aliases.to_record(client.frames)))
        compare_streams(comparison, f"client {name}", recorded, actual, replay.submitted, leniency)
    return comparison.problems


def compare_streams(
    comparison: Comparison,
    where: str,
    recorded: list[Message],
    actual: list[Message],
    submitted: dict[str, Any],
    leniency: Leniency,
) -> None:
    own_recorded = leniency.own_messages([message for message in recorded if message.node is None])
    own_actual = leniency.own_messages([message for message in actual if message.node is None])
    for message in own_recorded:
        if message.kind == "execution_interrupted":
            blame_the_one_that_ran_longest(message, recorded, actual)
    compare_sequences(comparison, f"{where}, the prompt's own", own_recorded, own_actual, leniency)
    nodes_recorded, nodes_actual = by_node(recorded), by_node(actual)
    heard_recorded, heard_actual = sorted(map(str, nodes_recorded)), sorted(map(str, nodes_actual))
    comparison.expect(heard_recorded == heard_actual, f"{where}, nodes", heard_recorded, heard_actual)
    for key in nodes_recorded.keys() & nodes_actual.keys():
        place = f"{where}, node {key[1]} of {key[0]}"
        compare_sequences(comparison, place, nodes_recorded[key], nodes_actual[key], leniency)
    check_places(comparison, where, actual)
    check_order_of_links(comparison, where, recorded, actual, submitted)


def compare_sequences(
    comparison: Comparison, where: str, recorded: list[Message], actual: list[Message], leniency: Leniency
) -> None:
    kinds_recorded, kinds_actual = [one.kind for one in recorded], [one.kind for one in actual]
    if kinds_recorded != kinds_actual:
        comparison.expect(False, f"{where}: sequence", kinds_recorded, kinds_actual)
        return
    for index, (first, second) in enumerate(zip(recorded, actual, strict=True)):
        place = f"{where} [{index}] {first.kind}"
        comparison.values(place, leniency.ease(first.data), leniency.ease(second.data))


def blame_the_one_that_ran_longest(
    interrupted: Message, recorded: list[Message], actual: list[Message]
) -> None:
    """Of the nodes that were running in the record, the one that started first in the replay is named."""
    over = set(interrupted.data["executed"])

    def started(messages: list[Message]) -> list[str]:
        return [
            message.node
            for message in messages
            if message.kind == "executing" and message.node is not None
            if message.prompt == interrupted.prompt and message.node == message.data["display_node"]
        ]

    running = [node for node in started(recorded) if node not in over]
    first = next((node for node in started(actual) if node in running), None)
    if first is not None:
        interrupted.data = {**interrupted.data, "node_id": first}


def check_places(comparison: Comparison, where: str, messages: list[Message]) -> None:
    """A prompt's nodes speak between `execution_cached` and its end, nobody after `executing` null."""
    begun: set[str | None] = set()
    ended: set[str | None] = set()
    closed: set[str | None] = set()
    watched = {message.prompt for message in messages if message.kind == "execution_cached"}
    for message in messages:
        if message.kind in ENDINGS and message.node is None:
            ended.add(message.prompt)
        elif message.kind == "execution_cached":
            begun.add(message.prompt)
        elif message.node is not None and message.prompt in watched:
            place = message.prompt in begun and message.prompt not in ended
            comparison.expect(place, f"{where}: a node outside its prompt", "between start and end", message)
        if message.prompt is not None:
            open_still = message.prompt not in closed
            comparison.expect(open_still, f"{where}: after executing null", "nothing", message)
        if message.kind == "executing" and message.node is None:
            closed.add(message.prompt)


def check_order_of_links(
    comparison: Comparison,
    where: str,
    recorded: list[Message],
    actual: list[Message],
    submitted: dict[str, Any],
) -> None:
    """Where one node feeds another and came wholly before it in the record, it must here too."""
    for prompt_id, prompt in submitted.items():
        spans_recorded, spans_actual = spans(recorded, prompt_id), spans(actual, prompt_id)
        for node_id, node in prompt.items():
            for value in node["inputs"].values():
                source = value[0] if isinstance(value, list) else None
                both = {source, node_id}
                if source is None or not both <= spans_recorded.keys() or not both <= spans_actual.keys():
                    continue
                if spans_recorded[source][1] < spans_recorded[node_id][0]:
                    before = spans_actual[source][1] < spans_actual[node_id][0]
                    comparison.expect(before, f"{where}: {source} feeds {node_id}", "in this order", "not so")


def spans(messages: list[Message], prompt_id: str) -> dict[str, tuple[int, int]]:
    """First and last place of each node's messages in the stream."""
    found: dict[str, tuple[int, int]] = {}
    for place, message in enumerate(messages):
        if message.prompt == prompt_id and message.node is not None:
            found[message.node] = (found.get(message.node, (place, place))[0], place)
    return found


# --- where we differ on purpose ----------------------------------------------------------


@dataclass(frozen=True)
class Leniency:
    """What one transcript's comparison overlooks, on both sides alike."""

    repeated_status: bool = False
    ignored_keys: frozenset[str] = frozenset()
    ignored_nodes: frozenset[str] = frozenset()
    numbers_json_lacks: bool = False

    def audible(self, messages: list[Message]) -> list[Message]:
        return [message for message in messages if message.node not in self.ignored_nodes]

    def own_messages(self, messages: list[Message]) -> list[Message]:
        if not self.repeated_status:
            return messages
        kept: list[Message] = []
        for message in messages:
            if not (kept and message.kind == kept[-1].kind == "status" and message.data == kept[-1].data):
                kept.append(message)
        return kept

    def ease(self, value: Any) -> Any:
        if isinstance(value, dict):
            ignored = self.ignored_keys | self.ignored_nodes
            return {key: self.ease(item) for key, item in value.items() if key not in ignored}
        if isinstance(value, list):
            return [self.ease(item) for item in value if str(item) not in self.ignored_nodes]
        unusual = self.numbers_json_lacks and isinstance(value, float) and value - value != 0
        return None if unusual else value
