"""The command line: what it takes, and that it refuses the rest with a sentence."""

from __future__ import annotations

import argparse
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import server
from web.start_options import build_parser, pool, size


def parsed(*arguments: str) -> argparse.Namespace:
    return build_parser().parse_args(arguments)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as left:
        parsed(*arguments)
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said.splitlines()[-1]


def test_defaults() -> None:
    options = parsed()
    assert (options.listen, options.port, options.enable_cors_header) == ("127.0.0.1", 8188, None)
    assert (options.max_upload_size, options.max_running_prompts, options.pool, options.loop) == (100.0, 4, [], "auto")
    assert (options.cache_bytes, options.cache_classic, options.cache_lru, options.cache_none) == (
        None,
        False,
        None,
        False,
    )


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--listen"], "listen", "0.0.0.0,::"),
        (["--listen", " ::1 , 127.0.0.1"], "listen", "::1,127.0.0.1"),
        (["--port", "0"], "port", 0),
        (["--port", "65535"], "port", 65535),
        (["--enable-cors-header"], "enable_cors_header", "*"),
        (["--enable-cors-header", "http://a"], "enable_cors_header", "http://a"),
        (["--max-upload-size", "0.01"], "max_upload_size", 0.01),
        (["--pool", "cpu=4", "--pool", "blocking=16"], "pool", [("cpu", 4), ("blocking", 16)]),
        (["--cache-bytes", "256MB"], "cache_bytes", 256 * 2**20),
        (["--cache-lru", "3"], "cache_lru", 3),
        (["--verbose"], "verbose", "DEBUG"),
        (["--whitelist-custom-nodes", "a", "b"], "whitelist_custom_nodes", ["a", "b"]),
        (
            ["--extra-model-paths-config", "a", "b", "--extra-model-paths-config", "c"],
            "extra_model_paths_config",
            [Path("a"), Path("b"), Path("c")],
        ),
        (["--cancel-grace", "0"], "cancel_grace", 0.0),
        (["--loop", "asyncio"], "loop", "asyncio"),
    ],
)
def test_what_is_understood(arguments: list[str], name: str, value: Any) -> None:
    assert getattr(parsed(*arguments), name) == value


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "70000"],
        ["--port", "-1"],
        ["--port", "x"],
        ["--port", "1.5"],
        ["--port", ""],
        ["--listen", ""],
        ["--listen", "127.0.0.1,"],
        ["--listen", ","],
        ["--max-upload-size", "0"],
        ["--max-upload-size", "-1"],
        ["--max-upload-size", "nan"],
        ["--max-upload-size", "inf"],
        ["--max-upload-size", "1e999"],
        ["--max-upload-size", "x"],
        ["--max-running-prompts", "0"],
        ["--max-running-prompts", "1.5"],
        ["--cancel-grace", "-1"],
        ["--cancel-grace", "nan"],
        ["--cancel-grace", "inf"],
        ["--hook-timeout", "0"],
        ["--hook-timeout", "inf"],
        ["--cache-lru", "0"],
        ["--cache-bytes", "-5"],
        ["--cache-bytes", "many"],
        ["--cache-bytes", "5XB"],
        ["--cache-bytes", ""],
        ["--cache-bytes", "nan"],
        ["--pool", "cpu"],
        ["--pool", "=4"],
        ["--pool", "cpu=0"],
        ["--pool", "cpu=-1"],
        ["--pool", "cpu=x"],
        ["--pool", "cpu=²"],
        ["--pool", "cpu=1.5"],
        ["--pool", ""],
        ["--preview-size", "0"],
        ["--loop", "trio"],
        ["--verbose", "LOUD"],
        ["--cache-none", "--cache-classic"],
        ["--cache-lru", "3", "--cache-bytes", "1MB"],
        ["--unknown"],
        ["positional"],
    ],
)
def test_what_is_refused_with_a_sentence(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert "hanzo-studio: error: " in refused(capsys, *arguments)


@given(
    st.integers(0, 2**40),
    st.sampled_from(
        [("", 0), ("B", 0), ("K", 10), ("KB", 10), ("kib", 10), ("M", 20), ("MiB", 20), ("gb", 30), ("T", 40)]
    ),
    st.sampled_from(["", " "]),
)
def test_sizes_are_powers_of_1024(number: int, unit: tuple[str, int], blank: str) -> None:
    assert size(f"{number}{blank}{unit[0]}") == number * 2 ** unit[1]


@given(st.text())
def test_a_size_or_a_pool_is_understood_or_refused(text: str) -> None:
    for read in (size, pool):
        try:
            read(text)
        except (argparse.ArgumentTypeError, ValueError):
            continue


def test_help_names_every_option_and_needs_nothing_heavy(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parsed("--help")
    assert left.value.code == 0
    said = capsys.readouterr().out
    for action in build_parser()._actions:
        assert action.help
        assert action.option_strings[-1] in said


# -- binding -------------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_said_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit, match="cannot listen on 127"):
        server.bind(parsed("--port", str(taken.getsockname()[1])))


@pytest.mark.parametrize("address", ["256.1.1.1", "not a host", "203.0.113.7"])
def test_an_address_that_is_not_ours_is_said_in_a_sentence(address: str) -> None:
    with pytest.raises(SystemExit, match="cannot listen on"):
        server.bind(parsed("--port", "0", "--listen", address))


def test_the_same_address_twice_is_bound_once() -> None:
    sockets = server.bind(parsed("--port", "0", "--listen", "127.0.0.1, 127.0.0.1"))
    try:
        assert len(sockets) == 1
        assert server.urls_of(sockets)[0].startswith("http://127.0.0.1:")
    finally:
        for one in sockets:
            one.close()


def test_the_pool_gpu_has_one_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert build_parser().parse_args(["--pool", "gpu=1"]).pool == [("gpu", 1)]
    with pytest.raises(SystemExit):
        build_parser().parse_args(["--pool", "gpu=2"])
    assert "the pool gpu has one token" in capsys.readouterr().err
