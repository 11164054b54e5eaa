"""The command line: what it takes, and that it refuses the rest with a sentence."""

from __future__ import annotations

import argparse
import json
import os
import queue
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import server
from execution import CacheRule, NodeRegistry
from nodes.torch_threads import TorchThreads
from web.feature_flags import read_flags
from web.options_without_effect import FLAGS, TRUE_ANYWAY, VALUES, warnings_of
from web.start_options import build_parser, pool, size
from web.tls import NoCertificate, ssl_context_of


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
        (["--verbose", "detail"], "verbose", "DETAIL"),
        (["--verbose", "DEBUG", "all.log"], "verbose", "INFO"),
        (["--verbose", "ERROR", "--verbose", "DEBUG", "all.log"], "log_files", [("DEBUG", Path("all.log"))]),
        (["--cache-ram"], "cache_ram", []),
        (["--cache-ram", "4", "8"], "cache_ram", [4.0, 8.0]),
        (["--high-ram"], "high_ram", True),
        (["--front-end", "comfyui"], "front_end", "comfyui"),
        (["--front-end-version", "some-one/Front_End@v1.2.3"], "front_end_version", "some-one/Front_End@v1.2.3"),
        (["--feature-flag", "a", "--feature-flag", "b=c"], "feature_flag", ["a", "b=c"]),
        (["--fast"], "fast", set()),
        (["--fast", "cublas_ops", "autotune"], "fast", {"cublas_ops", "autotune"}),
        (["--fp8_e4m3fn-unet"], "fp8_e4m3fn_unet", True),
        (["--reserve-vram", "1.5"], "reserve_vram", "1.5"),
        (["--preview-method", "auto"], "preview_method", "auto"),
        (["--async-offload"], "async_offload", ""),
        (["--async-offload", "2"], "async_offload", "2"),
        (["--models-directory", "m"], "models_directory", Path("m")),
        (["--cuda-device", "1,0"], "cuda_device", "1,0"),
        (["--whitelist-custom-nodes", "a", "b"], "whitelist_custom_nodes", ["a", "b"]),
        (["--whitelist-custom-nodes", "a", "--whitelist-custom-nodes", "b"], "whitelist_custom_nodes", ["a", "b"]),
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
        ["--verbose", "DEBUG", "a.log", "b.log"],
        ["--cache-ram", "1", "2", "3"],
        ["--cache-ram", "much"],
        ["--cache-ram", "--cache-classic"],
        ["--high-ram", "--cache-none"],
        ["--front-end", "another"],
        ["--front-end-version", "1.2.3"],
        ["--front-end-version", "a/b@../../etc"],
        ["--default-hashing-function", "crc32"],
        ["--preview-method", "loud"],
        ["--gpu-only=yes"],
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
        assert action.help == argparse.SUPPRESS or action.option_strings[-1] in said


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


# -- options that mean nothing here --------------------------------------------------------------------------


def test_each_option_without_effect_is_accepted_kept_and_told_of() -> None:
    for reason, names in FLAGS.items():
        for name in names:
            options = parsed(name)
            assert getattr(options, name.lstrip("-").replace("-", "_")) is True
            assert warnings_of(options) == [f"{name}: accepted, but without effect, since {reason}"]
    for reason, names in VALUES.items():
        for name in names:
            options = parsed(name, "7")
            assert getattr(options, name.lstrip("-").replace("-", "_")) == "7"
            assert warnings_of(options) == [f"{name}: accepted, but without effect, since {reason}"]


def test_options_with_the_same_reason_are_told_of_in_one_line() -> None:
    options = parsed("--lowvram", "--enable-assets", "--fast", "autotune", "--lowvram")
    assert [warning.partition(":")[0] for warning in warnings_of(options)] == ["--lowvram, --fast", "--enable-assets"]


def test_nothing_is_told_of_what_was_not_given_is_the_default_or_is_so_anyway() -> None:
    assert warnings_of(parsed()) == []
    assert warnings_of(parsed("--preview-method", "none", *TRUE_ANYWAY)) == []
    assert all(getattr(parsed(name), name.lstrip("-").replace("-", "_")) for name in TRUE_ANYWAY)
    assert warnings_of(parsed("--lowvram")) != warnings_of(parsed())  # one parse leaves nothing to the next


def test_sizes_that_have_no_counterpart_are_told_of() -> None:
    [warning] = warnings_of(parsed("--cache-ram", "4"))
    assert "--cache-bytes" in warning


def test_the_page_of_options_names_each_one_without_effect() -> None:
    page = (Path(__file__).parents[2] / "docs" / "options.md").read_text()
    hidden = {action.option_strings[0] for action in build_parser()._actions if action.help == argparse.SUPPRESS}
    assert not [name for name in hidden if f"`{name}`" not in page]


# -- feature flags -------------------------------------------------------------------------------------------


def test_feature_flags_are_typed_where_they_are_known() -> None:
    flags, problems = read_flags(["mine", "other=1=2", "enable_telemetry=TRUE", "show_signin_button=false"])
    assert flags == {"mine": True, "other": "1=2", "enable_telemetry": True, "show_signin_button": False}
    assert problems == []


@pytest.mark.parametrize("text", ["enable_telemetry=1", "enable_telemetry=", "=x", "", "max_upload_size=5", "assets"])
def test_flags_that_make_no_sense_or_are_the_servers_own_are_left_out_with_a_sentence(text: str) -> None:
    flags, [problem] = read_flags([text, "good"])
    assert flags == {"good": True}
    assert problem.startswith("--feature-flag ")


def test_known_flags_are_listed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parsed("--list-feature-flags")
    assert left.value.code == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["show_signin_button"]["type"] == "bool"
    assert all(set(one) == {"type", "default", "description"} for one in listed.values())


# -- files that options name ---------------------------------------------------------------------------------


def test_log_lines_go_to_files_with_a_level_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "all.log"
    source = ("import logging, sys; from web.start_options import build_parser; from web.log_setup import "
              "configure_logging; configure_logging(build_parser().parse_args(sys.argv[1:]));"
              "[logging.log(level, f'level {level}') for level in (10, 15, 20, 30)]")
    done = subprocess.run([sys.executable, "-c", source, "--verbose", "WARNING", "--verbose", "DETAIL", str(file),
                           "--log-stdout"], capture_output=True, text=True, check=True, timeout=30,
                          cwd=Path(__file__).parents[2])
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["WARNING"]
    assert done.stderr == ""
    assert [line.split()[2] for line in file.read_text().splitlines()] == ["DETAIL", "INFO", "WARNING"]


@pytest.mark.parametrize(("arguments", "said"), [
    (["--tls-keyfile", "key.pem"], "needed together"),
    (["--tls-certfile", "cert.pem"], "needed together"),
    (["--tls-keyfile", "key.pem", "--tls-certfile", "cert.pem"], "--tls-keyfile: there is no file key.pem"),
])
def test_a_certificate_needs_both_files(arguments: list[str], said: str) -> None:
    with pytest.raises(NoCertificate, match=said):
        ssl_context_of(parsed(*arguments))


def test_files_that_are_no_certificate_are_refused_with_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "no.pem"
    file.write_text("nothing of the kind")
    with pytest.raises(NoCertificate, match="not a certificate and its key"):
        ssl_context_of(parsed("--tls-keyfile", str(file), "--tls-certfile", str(file)))
    assert ssl_context_of(parsed()) is None


# -- what the process does with them -------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "seen"), [(["--cuda-device", "1,0"], "1,0"), (["--cpu"], ""),
                                                 (["--cuda-device", "all"], "7"), ([], "7")])
def test_gpus_are_chosen_before_torch_looks_for_them(tmp_path: Path, arguments: list[str], seen: str) -> None:
    source = ("import json, os, sys, server; from nodes.environment import environment;"
              "server.configure_environment(server.build_parser().parse_args(sys.argv[1:]));"
              "print(json.dumps([os.environ['CUDA_VISIBLE_DEVICES'], str(environment.models_directory),"
              " 'torch' in sys.modules]))")
    done = subprocess.run([sys.executable, "-c", source, "--base-directory", str(tmp_path), "--models-directory",
                           str(tmp_path / "elsewhere"), *arguments], capture_output=True, text=True, check=True,
                          timeout=30, cwd=Path(__file__).parents[2], env={**os.environ, "CUDA_VISIBLE_DEVICES": "7"})
    assert json.loads(done.stdout) == [seen, str((tmp_path / "elsewhere").resolve()), False]


@pytest.mark.parametrize(("url", "opened"), [("http://0.0.0.0:8188", "http://127.0.0.1:8188"),
                                             ("https://[::]:1", "https://[::1]:1"),
                                             ("http://127.0.0.1:80", "http://127.0.0.1:80")])
def test_the_page_is_opened_at_an_address_that_a_browser_can_reach(monkeypatch: pytest.MonkeyPatch, url: str,
                                                                   opened: str) -> None:
    asked: queue.Queue[str] = queue.Queue()
    monkeypatch.setattr("webbrowser.open", asked.put)
    server.open_page(url)
    assert asked.get(timeout=10) == opened


@pytest.mark.parametrize("option", ["--cache-classic", "--high-ram"])
def test_high_ram_keeps_what_the_latest_prompt_uses(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    rules: list[Any] = []
    monkeypatch.setattr("execution.OutputCache", lambda *arguments: rules.append(arguments))
    monkeypatch.setattr("execution.Engine", lambda *arguments, **more: None)
    server.make_engine(parsed(option), NodeRegistry(), TorchThreads())
    assert rules == [(CacheRule.CLASSIC,)]


@pytest.mark.parametrize(("arguments", "kept"), [
    ([], {"bound": 2 * 2**30, "after": 1.0, "keeps": False}),
    (["--cache-disk", "5MB", "--cache-disk-after", "0.5", "--cache-disk-keep"],
     {"bound": 5 * 2**20, "after": 0.5, "keeps": True}),
    (["--cache-disk", "0"], None), (["--cache-disk", "0", "--cache-disk-keep"], None),
    (["--store", "memory"], None),
    (["--store", "memory", "--cache-disk-keep"], {"bound": 2 * 2**30, "after": 1.0, "keeps": True})])
def test_outputs_are_kept_on_disk_if_somebody_may_look_for_them(
        monkeypatch: pytest.MonkeyPatch, arguments: list[str], kept: dict[str, Any] | None) -> None:
    made: list[dict[str, Any]] = []
    monkeypatch.setattr("execution.DiskTier", lambda folder, forms, **settings: made.append(settings))
    server.make_disk_tier(parsed(*arguments))
    assert made == ([] if kept is None else [kept])


@pytest.mark.parametrize("arguments", [["--cache-disk", "much"], ["--cache-disk-after", "-1"]])
def test_what_is_no_size_or_time_for_the_disk_is_refused(capsys: pytest.CaptureFixture[str],
                                                         arguments: list[str]) -> None:
    assert arguments[0] in refused(capsys, *arguments)
