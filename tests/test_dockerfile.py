"""The Dockerfile is read, not built: small, without privileges, and with a health check."""

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import NamedTuple

import server

ROOT = Path(__file__).resolve().parent.parent


class Instruction(NamedTuple):
    stage: int
    name: str
    text: str


def read_instructions() -> list[Instruction]:
    """Every instruction with its stage; continued lines joined, comments left out."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    lines = [line for line in lines if not line.lstrip().startswith("#")]
    found: list[Instruction] = []
    stage = -1
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, text = line.strip().partition(" ")
            stage += name == "FROM"
            found.append(Instruction(stage, name, text.strip()))
    return found


INSTRUCTIONS = read_instructions()
FINAL = [one for one in INSTRUCTIONS if one.stage == INSTRUCTIONS[-1].stage]


def texts(name: str, among: list[Instruction] = INSTRUCTIONS) -> list[str]:
    return [one.text for one in among if one.name == name]


def entry_point() -> list[str]:
    return [str(word) for word in json.loads(texts("ENTRYPOINT", FINAL)[0])]


def test_it_runs_as_an_unprivileged_user() -> None:
    user = texts("USER", FINAL)[-1]
    assert user not in {"root", "0"}
    assert any("useradd" in text and user in text for text in texts("RUN", FINAL))
    names = [one.name for one in FINAL]
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert "RUN" not in names[names.index("USER"):], "nothing is built after the privileges are gone"


def test_it_has_a_health_check_that_needs_nothing_installed() -> None:
    (check,) = texts("HEALTHCHECK", FINAL)
    command = json.loads(check[check.index("CMD") + len("CMD"):])
    assert command[:2] == ["python", "-c"]
    compile(command[2], "HEALTHCHECK", "exec")
    assert "127.0.0.1:8188/healthz" in command[2]
    assert "timeout=" in command[2]


def test_it_is_small() -> None:
    bases = texts("FROM")
    assert len(bases) == 2, "one stage installs, the other has only the result"
    assert all(base.split()[0].endswith("-slim") for base in bases)
    assert "PIP_NO_CACHE_DIR=1" in " ".join(texts("ENV"))
    everything = " ".join(one.text for one in INSTRUCTIONS)
    assert "apt-get" not in everything
    assert "[test]" not in everything
    assert not any(text.startswith((". ", "./ ")) for text in texts("COPY")), "copy what is needed by name"


def test_it_has_no_test_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "['project']['dependencies']" in " ".join(texts("RUN"))
    assert not {"pytest", "mypy", "ruff"} & {re.split(r"\W", one)[0] for one in project["dependencies"]}


def test_it_takes_the_tested_versions_and_refuses_cuda_unless_asked() -> None:
    installs = [text for text in texts("RUN") if "pip install" in text]
    assert len(installs) == 2
    assert all("-c constraints.txt" in text for text in installs)
    assert "ACCELERATOR=cpu" in texts("ARG")
    assert any("torch.version.cuda" in text for text in installs)


def test_it_serves_on_the_port_that_it_exposes_and_keeps_its_files_in_a_volume() -> None:
    words = entry_point()
    assert words[:2] == ["python", "server.py"]
    assert words[words.index("--listen") + 1] == "0.0.0.0"
    assert texts("EXPOSE", FINAL) == ["8188"]
    assert texts("VOLUME", FINAL) == [words[words.index("--base-directory") + 1]]


def test_its_options_exist() -> None:
    settings = server.build_parser().parse_args(entry_point()[2:])
    assert settings is not None


def test_what_it_copies_is_let_in_by_the_ignore_file() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    copied = {word for text in texts("COPY") if "--from" not in text for word in shlex.split(text)[:-1]}
    assert copied <= allowed, f"not let in by .dockerignore: {sorted(copied - allowed)}"
    missing = {name for name in copied if not (ROOT / name).exists()}
    assert not missing, f"copied, but not there: {sorted(missing)}"
