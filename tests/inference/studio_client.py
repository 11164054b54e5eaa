"""A person at a script: posts prompts over REST and reads what its own WebSocket is told."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

Prompt = dict[str, dict[str, Any]]


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """A node of a prompt."""
    return {"class_type": class_type, "inputs": inputs}


@dataclass(frozen=True)
class Message:
    """A JSON frame."""

    kind: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Binary:
    """A binary frame, its first number already read."""

    event: int
    payload: bytes


Frame = Message | Binary


@dataclass
class Run:
    """What a socket was told from one submission to the end of its prompt."""

    prompt_id: str
    frames: list[Frame] = field(default_factory=list)

    @property
    def messages(self) -> list[Message]:
        """JSON frames of this prompt, and those of none."""
        return [frame for frame in self.frames if isinstance(frame, Message)
                and frame.data.get("prompt_id", self.prompt_id) == self.prompt_id]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message.data for message in self.messages if message.kind == kind]

    @property
    def started(self) -> list[str]:
        """Nodes that were started, in that order."""
        return [data["node"] for data in self.of("executing") if data["node"] is not None]

    @property
    def cached(self) -> list[str]:
        return self.of("execution_cached")[0]["nodes"]

    @property
    def shown(self) -> dict[str, Any]:
        """What `executed` messages said, by node."""
        return {data["node"]: data["output"] for data in self.of("executed")}

    @property
    def succeeded(self) -> bool:
        return bool(self.of("execution_success"))

    @property
    def error(self) -> dict[str, Any]:
        """The one `execution_error` of this prompt."""
        (error,) = self.of("execution_error")
        return error


class StudioClient:
    """One client id, its socket and its HTTP connections. Made by `connect`."""

    def __init__(self, url: str, session: aiohttp.ClientSession, client_id: str) -> None:
        self.url = url
        self.session = session
        self.client_id = client_id
        self.socket: aiohttp.ClientWebSocketResponse
        self.unread: list[Frame] = []

    async def open_socket(self, **flags: Any) -> dict[str, Any]:
        """Connect, and answer the data of the first frame. Flags are sent, and their answer awaited, if there are."""
        self.socket = await self.session.ws_connect(f"{self.url}/ws?clientId={self.client_id}", max_msg_size=0)
        first = await self.receive()
        assert isinstance(first, Message)
        assert first.kind == "status"
        if flags:
            await self.socket.send_json({"type": "feature_flags", "data": flags})
            await self.until("feature_flags")
        return first.data

    async def receive(self) -> Frame:
        """The next frame."""
        frame = await self.socket.receive()
        if frame.type is aiohttp.WSMsgType.TEXT:
            message = json.loads(frame.data)
            assert set(message) == {"type", "data"}
            return Message(message["type"], message["data"])
        assert frame.type is aiohttp.WSMsgType.BINARY, frame
        return Binary(int.from_bytes(frame.data[:4], "big"), frame.data[4:])

    async def until(self, kind: str, **data: Any) -> list[Frame]:
        """All frames up to the first JSON message of this kind that holds these data."""
        frames: list[Frame] = []
        while True:
            frame = await self.receive()
            frames.append(frame)
            if isinstance(frame, Message) and frame.kind == kind and frame.data.items() >= data.items():
                return frames

    async def post(self, prompt: Any, **body: Any) -> tuple[int, dict[str, Any]]:
        """Submit: the status and the answer."""
        body = {"prompt": prompt, "client_id": self.client_id, **body}
        async with self.session.post(f"{self.url}/prompt", json=body) as response:
            return response.status, await response.json()

    async def submit(self, prompt: Any, **body: Any) -> str:
        """Submit a prompt that is accepted: its id."""
        status, answer = await self.post(prompt, **body)
        assert status == 200, answer
        assert body.get("partly") or not answer["node_errors"], answer
        return answer["prompt_id"]

    async def refusal(self, prompt: Any, **body: Any) -> dict[str, Any]:
        """Submit a prompt that is refused: the answer."""
        status, answer = await self.post(prompt, **body)
        assert status == 400, answer
        return answer

    async def end_of(self, prompt_id: str) -> Run:
        """Everything up to the end of a prompt."""
        return Run(prompt_id, await self.until("executing", node=None, prompt_id=prompt_id))

    async def run(self, prompt: Any, **body: Any) -> Run:
        """Submit, and read to the end."""
        return await self.end_of(await self.submit(prompt, **body))

    async def get(self, path: str) -> Any:
        async with self.session.get(self.url + path) as response:
            assert response.status == 200, (path, response.status)
            return await response.json()

    async def send(self, path: str, body: Any = None) -> int:
        """POST JSON: the status."""
        async with self.session.post(self.url + path, json=body) as response:
            return response.status

    async def history(self, prompt_id: str) -> dict[str, Any]:
        return (await self.get(f"/history/{prompt_id}"))[prompt_id]


@contextlib.asynccontextmanager
async def connect(url: str, client_id: str = "client-a", **flags: Any) -> AsyncIterator[StudioClient]:
    """A client whose socket is open and was greeted."""
    async with aiohttp.ClientSession() as session:
        client = StudioClient(url, session, client_id)
        await client.open_socket(**flags)
        yield client
        await client.socket.close()


async def turns_of_the_loop(count: int = 20) -> None:
    """Let whatever is ready on this loop go on."""
    for _ in range(count):
        await asyncio.sleep(0)
