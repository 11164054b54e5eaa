"""Whatever comes over a socket: it is passed over, or that socket is closed with a code that says why. Nobody else
notices."""

from __future__ import annotations

import asyncio
import struct

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.web.live_server import Live, shared_loop

HANDSHAKE = (b"GET /ws?clientId=raw HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
FINE_CODES = {1000, 1001, 1002, 1003, 1007, 1009}
"""Codes that a server may end a connection with because of what it got."""


def frame(payload: bytes, *, opcode: int = 1, final: bool = True, reserved: int = 0, masked: bool = True,
          declared: int | None = None) -> bytes:
    length = len(payload) if declared is None else declared
    head = bytes([(0x80 if final else 0) | reserved << 4 | opcode])
    mask_bit = 0x80 if masked else 0
    if length < 126:
        head += bytes([mask_bit | length])
    elif length < 65_536:
        head += bytes([mask_bit | 126]) + struct.pack(">H", length)
    else:
        head += bytes([mask_bit | 127]) + struct.pack(">Q", length)
    mask = b"\x01\x02\x03\x04"
    return head + (mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload)) if masked else payload)


def frames_in(answer: bytes) -> list[tuple[int, bytes]]:
    """Opcodes and payloads of what the server sent."""
    found, at = [], 0
    while at < len(answer):
        opcode, length = answer[at] & 0x0F, answer[at + 1]
        at += 2
        if length >= 126:
            size = 2 if length == 126 else 8
            length, at = int.from_bytes(answer[at:at + size], "big"), at + size
        found.append((opcode, answer[at:at + length]))
        at += length
    return found


async def said_on_a_socket(live: Live, sent: bytes) -> list[tuple[int, bytes]]:
    """What the server says to these bytes, until it or the connection ends."""
    reader, writer = await asyncio.open_connection(*live.address)
    try:
        writer.write(HANDSHAKE)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        writer.write(sent)
        writer.write_eof()
        async with asyncio.timeout(20):
            return frames_in(await reader.read())
    except ConnectionResetError:
        return []
    finally:
        writer.close()


async def answers_as_ever(live: Live) -> None:
    async with live.http.ws_connect("/ws?clientId=raw") as socket:
        assert (await socket.receive_json())["data"]["sid"] == "raw"
        await socket.send_json({"type": "feature_flags", "data": {}})
        assert (await socket.receive_json())["type"] == "feature_flags"
    assert (await live.get("/queue")).json() == {"queue_running": [], "queue_pending": []}


FRAMES = st.builds(
    frame, st.binary(max_size=130) | st.sampled_from(
        [b"", b"{}", b"[]", b'{"type": "feature_flags"}', b'{"type": "feature_flags", "data": 5}', b"\xff", b"\x03",
         b"\x03\xe8bye", b"\x00\x00", b"\xff\xff", b'{"data": ' + b"[" * 500, b"x" * 70_000]),
    opcode=st.integers(0, 15), final=st.booleans(), reserved=st.sampled_from([0, 0, 0, 1, 4, 7]),
    masked=st.sampled_from([True, True, True, False]),
    declared=st.none() | st.sampled_from([0, 5, 125, 200, 70_000, 2**31, 2**63 - 1, 2**63]))


@shared_loop
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.lists(FRAMES, max_size=6) | st.binary(max_size=200).map(lambda raw: [raw]))
@example([frame(b'{"type": "feature_flags", "data": {"supports_preview_metadata": "yes"}}')])
@example([frame(b"half", final=False), frame(b"of another", opcode=2)])
@example([frame(b"\xce", final=False), frame(b"\xba", opcode=0)])
async def test_any_frames(shared: Live, frames: list[bytes]) -> None:
    said = await said_on_a_socket(shared, b"".join(frames))
    for opcode, payload in said:
        assert opcode in (1, 8, 10), (opcode, payload)
        if opcode == 8 and payload:
            assert int.from_bytes(payload[:2], "big") in FINE_CODES, payload
    await answers_as_ever(shared)


@shared_loop
@pytest.mark.parametrize(("sent", "code"), [
    (frame(b"", opcode=3), 1002), (frame(b"", reserved=2), 1002), (frame(b"x" * 126, opcode=9), 1002),
    (frame(b"", opcode=9, final=False), 1002), (frame(b"x", opcode=0), 1002),
    (frame(b"\xff"), 1007), (frame(b"", declared=5 * 2**20), 1009),
], ids=["unknown opcode", "reserved bits", "long ping", "ping in parts", "an end alone", "no UTF-8", "too large"])
async def test_frames_that_end_their_connection_say_why(shared: Live, sent: bytes, code: int) -> None:
    said = await said_on_a_socket(shared, sent + b"\x00" * 8)
    assert said[-1][0] == 8
    assert int.from_bytes(said[-1][1][:2], "big") == code
    await answers_as_ever(shared)


@shared_loop
@pytest.mark.parametrize("change", [
    (b"Upgrade: websocket", b"Upgrade: h2c"), (b"Connection: Upgrade", b"Connection: close"),
    (b"Version: 13", b"Version: 99"), (b"Version: 13", b"Version: x"), (b"dGhlIHNhbXBsZSBub25jZQ==", b"short"),
    (b"dGhlIHNhbXBsZSBub25jZQ==", b""), (b"GET /ws", b"POST /ws"), (b"clientId=raw", b"clientId=" + b"a" * 1001),
    (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b""),
])
async def test_what_is_no_handshake_is_refused(shared: Live, change: tuple[bytes, bytes]) -> None:
    reader, writer = await asyncio.open_connection(*shared.address)
    try:
        writer.write(HANDSHAKE.replace(*change))
        status = (await reader.readuntil(b"\r\n")).split()[1]
        assert 400 <= int(status) < 500
    finally:
        writer.close()
    await answers_as_ever(shared)
