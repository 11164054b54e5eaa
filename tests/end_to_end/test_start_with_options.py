"""The command as a process, with options and packs that make its start another one."""

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import aiohttp
import pytest

from tests.end_to_end.test_start import COMMAND, Start, starting

HANGS = "import threading\n\n\ndef wait():\n    threading.Event().wait()\n\n\nwait()\n"

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes the certificate of the test")


async def answer_of(session: aiohttp.ClientSession, start: Start, path: str) -> tuple[int, str]:
    """As soon as the port is open."""
    while True:
        assert start.process.poll() is None, start.log
        try:
            async with session.get(start.url + path) as response:
                return response.status, await response.text()
        except aiohttp.ClientConnectorError:
            await asyncio.sleep(0.005)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def make_certificate(key: Path, certificate: Path) -> None:
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=127.0.0.1",
                    "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True, timeout=30)


async def test_a_pack_that_hangs_in_its_import_is_named_with_the_line_and_can_be_stopped(tmp_path: Path) -> None:
    """Nothing can be done about it, so one has to see which pack it is, and get rid of the process."""
    write(tmp_path, {"custom_nodes/hangs/__init__.py": "from . import part", "custom_nodes/hangs/part.py": HANGS})
    with starting(tmp_path) as start:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session, \
                asyncio.timeout(50):
            status, told = 503, ""
            while "part.py line 5 in wait" not in told:
                status, told = await answer_of(session, start, "/readyz")
                assert status == 503
            assert "loading pack hangs for" in told
            page = (await answer_of(session, start, "/"))[1]
            assert "part.py line 5 in wait" in page
            assert (await answer_of(session, start, "/healthz"))[0] == 200
        seconds = await asyncio.to_thread(start.stop)
        assert start.process.returncode == 0
    assert seconds < 2


async def test_a_prestartup_script_that_hangs_is_named_too(tmp_path: Path) -> None:
    write(tmp_path, {"custom_nodes/early/prestartup_script.py": HANGS, "custom_nodes/early/__init__.py": ""})
    with starting(tmp_path) as start:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session, \
                asyncio.timeout(50):
            while "prestartup_script.py line 5 in wait" not in (await answer_of(session, start, "/readyz"))[1]:
                pass
        assert await asyncio.to_thread(start.stop) < 2


def test_everything_can_be_loaded_and_left_again(tmp_path: Path) -> None:
    """With options of another's start script, one of which changes what exists."""
    write(tmp_path, {"left_out.yaml": "not_wanted:\n  - WhoRuns\n",
                     "extra_model_paths.yaml": f"more:\n  custom_nodes: {tmp_path / 'more'}\n",
                     "more/extra_pack.py": "NODE_CLASS_MAPPINGS = {}"})
    with starting(tmp_path, "--quick-test-for-ci", "--lowvram", "--fast", "--disabled-nodes-config",
                  str(tmp_path / "left_out.yaml"), "--feature-flag", "enable_telemetry=maybe", "--verbose", "DEBUG",
                  str(tmp_path / "debug.log")) as start:
        assert start.process.wait(50) == 0
        log = start.log
    assert "--lowvram, --fast: accepted, but without effect" in log
    assert "--feature-flag enable_telemetry: 'maybe' is neither true nor false" in log
    assert "pack told_apart: 1 nodes" in log
    assert "pack extra_pack: 0 nodes" in log
    assert "ready after" in log
    assert " DEBUG " not in log
    assert "ready after" in (tmp_path / "debug.log").read_text()


@needs_openssl
async def test_with_a_certificate_the_server_speaks_https_from_its_first_answer_on(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    make_certificate(key, certificate)
    context = ssl.create_default_context(cafile=str(certificate))
    with starting(tmp_path, "--tls-keyfile", str(key), "--tls-certfile", str(certificate)) as start:
        start.url = start.url.replace("http:", "https:")
        connector = aiohttp.TCPConnector(ssl=context, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session, asyncio.timeout(50):
            statuses = [(await answer_of(session, start, "/readyz"))[0]]
            while statuses[-1] == 503:
                statuses.append((await answer_of(session, start, "/readyz"))[0])
            assert statuses[0] == 503  # from the waiting room already
            assert statuses[-1] == 200
            async with session.ws_connect(f"{start.url.replace('https:', 'wss:')}/ws") as socket:
                assert (await socket.receive_json())["type"] == "status"
        await asyncio.to_thread(start.stop)
        assert "https://127.0.0.1:" in start.log


@pytest.mark.parametrize(("arguments", "said"), [
    (["--front-end-root", "nowhere"], "has no index.html"),
    (["--tls-keyfile", "nowhere.pem"], "needed together"),
    (["--disabled-nodes-config", "nowhere.yaml"], "--disabled-nodes-config"),
    (["--extra-model-paths-config", "nowhere.yaml"], "--extra-model-paths-config"),
    (["--verbose", "DEBUG", "no/such/folder/a.log"], "cannot be written"),
])
def test_files_that_are_not_there_end_the_start_with_a_sentence(tmp_path: Path, arguments: list[str],
                                                               said: str) -> None:
    done = subprocess.run([*COMMAND, "--port", "0", "--base-directory", str(tmp_path), *arguments],
                          capture_output=True, text=True, timeout=50, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("hanzo-studio: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
