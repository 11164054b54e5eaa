"""What the machine is, as `/system_stats` shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodes import machine_facts
from nodes.environment import environment


def test_no_path_of_the_machine_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "base_directory", tmp_path)
    said = machine_facts.system_stats("1", [
        "/opt/studio/server.py", "--cpu", "--base-directory", str(tmp_path), f"--output-directory={tmp_path}/out/",
        "--port=8188", "--disable-api-nodes"])
    assert said["system"]["argv"] == ["server.py", "--cpu", "--base-directory", tmp_path.name,
                                      "--output-directory=out", "--port=8188", "--disable-api-nodes"]
    assert str(tmp_path) not in str(said)
    assert "/opt" not in str(said["system"]["argv"])


@pytest.mark.parametrize(("content", "name"), [
    (b"desktop\nmore", "desktop"), (b"  spaced  ", "spaced"), (b"", "local-git"), (b"\n", "local-git"),
    (b"\xff", "local-git"), (b"a\x07b", "local-git"), (b"x" * 128, "x" * 128), (b"x" * 129, "local-git"),
    (None, "local-git")])
def test_the_name_of_the_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None,
                                      name: str) -> None:
    monkeypatch.setattr(environment, "base_directory", tmp_path)
    if content is not None:
        (tmp_path / ".comfy_environment").write_bytes(content)
    assert machine_facts.system_stats("1", [])["system"]["deploy_environment"] == name


def test_the_front_end_that_is_installed_is_the_one_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_facts, "_version_of", {machine_facts.FRONT_END: "1.58.1"}.get)
    said = machine_facts.system_stats("1", [])["system"]
    assert said["required_frontend_version"] == "1.58.1"
    assert said["installed_templates_version"] is None
    assert said["comfy_package_versions"] == [
        {"name": "comfyui-frontend-package", "installed": "1.58.1", "required": "1.58.1"}]
