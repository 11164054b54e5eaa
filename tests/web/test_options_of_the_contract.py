"""Every start option that scripts of others may give is accepted, one by one, and is there for packs to read."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest

from web.options_without_effect import warnings_of
from web.start_options import build_parser

TAKE_EFFECT = {
    "--listen": "127.0.0.1", "--port": "8188", "--tls-keyfile": "key.pem", "--tls-certfile": "certificate.pem",
    "--max-upload-size": "10", "--enable-cors-header": "http://a", "--enable-compress-response-body": None,
    "--multi-user": None, "--preview-size": "256", "--preview-method": "none", "--cache-none": None,
    "--cache-lru": "3", "--cache-classic": None, "--cache-ram": None, "--high-ram": None, "--disable-metadata": None,
    "--default-hashing-function": "sha512", "--front-end-root": "dist", "--front-end-version": "a/b@latest",
    "--base-directory": "base", "--input-directory": "in", "--output-directory": "out", "--temp-directory": "temp",
    "--user-directory": "user", "--models-directory": "models", "--extra-model-paths-config": "paths.yaml",
    "--disable-api-nodes": None, "--disable-all-custom-nodes": None, "--whitelist-custom-nodes": "one",
    "--feature-flag": "a=b", "--disabled-nodes-config": "left_out.yaml", "--offline": None, "--verbose": "DETAIL",
    "--log-stdout": None, "--cpu": None, "--cuda-device": "0", "--disable-assets": None, "--disable-manager-ui": None,
    "--disable-partner-nodes": None,
}
"""With a value where they take one. What they ask for is so afterwards, so nothing is said of them."""

SAY_THAT_NOTHING_CHANGES = {
    "--date-based-output": None, "--date-output-format": "%Y", "--enable-assets": None, "--enable-asset-hashing": None,
    "--database-url": "sqlite:///x", "--enable-manager": None, "--enable-manager-legacy-ui": None,
    "--comfy-api-base": "http://127.0.0.1", "--normalvram": None, "--default-device": "0", "--fp16-intermediates": None,
    "--fp8_e8m0fnu-unet": None, "--supports-fp8-compute": None, "--enable-triton-backend": None,
    "--disable-triton-backend": None, "--use-ck-attention": None, "--vram-headroom": "1",
    "--disable-nvml-pressure": None, "--async-offload": "2", "--disable-async-offload": None,
    "--enable-dynamic-vram": None, "--disable-dynamic-vram": None, "--fast-disk": None, "--disable-fast-disk": None,
    "--disable-cuda-graphs": None, "--disable-comfy-compiler": None, "--assert-graph-breaks": None,
    "--disable-pinned-memory": None, "--mmap-torch-files": None, "--disable-mmap": None, "--debug-hang": None,
    "--force-non-blocking": None, "--fast": "fp16_accumulation fp8_matrix_mult cublas_ops autotune",
    "--gpu-only": None, "--highvram": None, "--preview-method": "taesd",
}
"""What is not known here: accepted, and said so."""


def words(name: str, value: str | None) -> list[str]:
    return [name, *(value or "").split()]


@pytest.mark.parametrize(("name", "value"), TAKE_EFFECT.items())
def test_an_option_is_accepted_in_silence(name: str, value: str | None) -> None:
    options = build_parser().parse_args(words(name, value))
    assert getattr(options, name.lstrip("-").replace("-", "_")) not in (None, False)
    assert warnings_of(options) == []


@pytest.mark.parametrize(("name", "value"), SAY_THAT_NOTHING_CHANGES.items())
def test_an_option_that_changes_nothing_is_accepted_with_a_warning(name: str, value: str | None) -> None:
    options = build_parser().parse_args(words(name, value))
    kept = getattr(options, name.lstrip("-").replace("-", "_"))
    assert kept == (True if value is None else set(value.split()) if name == "--fast" else value)
    [warning] = warnings_of(options)
    assert warning.startswith(f"{name}: accepted, but without effect, since ")


def test_all_of_them_can_be_given_at_once() -> None:
    of_one_kind = {"--cache-none", "--cache-lru", "--cache-classic", "--cache-ram"}
    given = {**SAY_THAT_NOTHING_CHANGES, **TAKE_EFFECT}
    line = [word for name, value in given.items() if name not in of_one_kind for word in words(name, value)]
    options = build_parser().parse_args(line)
    told = " ".join(warnings_of(options))
    assert [name for name in SAY_THAT_NOTHING_CHANGES if name not in told] == ["--preview-method"]
    assert options.extra_model_paths_config == [Path("paths.yaml")]


def test_flags_can_be_listed() -> None:
    said = io.StringIO()
    with pytest.raises(SystemExit) as left, contextlib.redirect_stdout(said):
        build_parser().parse_args(["--list-feature-flags"])
    assert not left.value.code
    assert "show_signin_button" in said.getvalue()
