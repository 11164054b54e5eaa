"""What answers while the server is being loaded, whatever clients do to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from web.waiting_room import WaitingRoom

Address = tuple[str, int]


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as one:
        one.setblocking(False)
        yield one


@pytest.fixture
def room(listening: socket.socket) -> Iterator[WaitingRoom]:
    one = WaitingRoom([listening])
    one.start()
    yield one
    one.stop()


@pytest.fixture
def address(listening: socket.socket, room: WaitingRoom) -> Address:
    name: Address = listening.getsockname()
    return name


def ask(
    address: Address, method: str, path: str, body: bytes | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection(*address, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.msg, answer.read()


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_it_is_alive_and_not_ready(room: WaitingRoom, address: Address, prefix: str) -> None:
    room.what = "importing torch"
    status, headers, body = ask(address, "GET", f"{prefix}/healthz")
    assert (status, json.loads(body)) == (200, {"status": "ok"})
    status, headers, body = ask(address, "GET", f"{prefix}/readyz")
    assert (status, json.loads(body)) == (503, {"status": "starting", "loading": "importing torch"})
    assert headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/queue"),
        ("POST", "/prompt"),
        ("PUT", "/x"),
        ("DELETE", "/x"),
        ("PATCH", "/x"),
        ("OPTIONS", "/"),
        ("POST", "/"),
        ("GET", "/ws?clientId=x"),
        ("GET", "/healthz/x"),
        ("GET", "/apihealthz"),
        ("GET", "/%00"),
        ("HEAD", "/queue"),
        ("GET", "*"),
        ("GET", "/" + "a" * 5000),
    ],
)
def test_everything_else_is_not_there_yet(address: Address, method: str, path: str) -> None:
    status, headers, body = ask(address, method, path)
    assert (status, headers["Retry-After"], headers["Connection"], headers["Cache-Control"]) == (
        503,
        "1",
        "close",
        "no-store",
    )
    assert (body == b"") is (method == "HEAD")
    assert int(headers["Content-Length"]) > 0


def test_the_page_reloads_itself_and_escapes_what_it_says(room: WaitingRoom, address: Address) -> None:
    room.what = "<script>pack</script>"
    for path in ("/", "/api/", "/?x=1"):
        status, headers, body = ask(address, "GET", path)
        assert (status, headers["Content-Type"], headers["Connection"]) == (503, "text/html; charset=utf-8", "close")
        assert b'http-equiv="refresh"' in body
        assert b"<script>" not in body
        assert b"&lt;script&gt;" in body


@pytest.mark.parametrize("length", [1, 100_000, 900_000])
def test_one_who_sends_a_body_sees_the_answer(address: Address, length: int) -> None:
    status, _, body = ask(address, "POST", "/prompt", b"x" * length)
    assert status == 503
    assert json.loads(body)["status"] == "starting"


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: \xc2\xb2\r\n\r\n",
        b"FOO / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
    ],
)
def test_nonsense_harms_nobody(address: Address, said: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_connection(address, timeout=10) as one, contextlib.suppress(ConnectionError):
        one.sendall(said)
        one.shutdown(socket.SHUT_WR)
        while one.recv(65536):
            pass
    assert ask(address, "GET", "/healthz")[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_who_sends_slowly_or_leaves_delays_nobody(address: Address) -> None:
    with contextlib.ExitStack() as opened:
        for _ in range(20):
            one = opened.enter_context(socket.create_connection(address))
            one.sendall(b"GET / HTTP/1.1\r\nHost: ")
        for _ in range(20):
            opened.enter_context(socket.create_connection(address))
        for _ in range(5):
            socket.create_connection(address).close()
        assert ask(address, "GET", "/healthz")[0] == 200  # one after the other they would take 2 s each


def test_who_drips_does_not_keep_the_server_from_starting(listening: socket.socket) -> None:
    room = WaitingRoom([listening])
    room.start()
    stopped = threading.Event()

    def stop() -> None:
        room.stop()
        stopped.set()

    with socket.create_connection(listening.getsockname()) as slow, contextlib.suppress(ConnectionError):
        slow.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        for drop in range(40):
            if drop == 5:  # by now somebody listens to the drops
                threading.Thread(target=stop, daemon=True).start()
            if stopped.wait(0.1):
                break
            slow.sendall(b"a")
        assert stopped.is_set()


def test_the_socket_outlives_it_and_no_connection_is_refused(listening: socket.socket) -> None:
    room = WaitingRoom([listening])
    room.start()
    address = listening.getsockname()
    assert ask(address, "GET", "/healthz")[0] == 200
    room.stop()
    with socket.create_connection(address, timeout=10) as waits:  # in the backlog, until somebody takes it
        next_room = WaitingRoom([listening])
        next_room.start()
        waits.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert waits.recv(1000).startswith(b"HTTP/1.1 200")
        next_room.stop()
