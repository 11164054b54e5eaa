"""What a newcomer sees first: the two commands, a picture, and what is not there yet."""

import re
import tomllib
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
LINES_OF_A_SCREEN = 30
FIRST = "\n".join((ROOT / "README.md").read_text().splitlines()[:LINES_OF_A_SCREEN])


def test_the_two_commands_come_first() -> None:
    [block] = re.findall(r"^```sh\n(.*?)^```", FIRST, re.MULTILINE | re.DOTALL)[:1]
    assert [line.split("#")[0].strip() for line in block.splitlines()] == ["make run", "make test"]


def test_a_picture_shows_what_one_gets() -> None:
    [name] = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", FIRST)
    with Image.open(ROOT / name) as picture:
        assert min(picture.size) >= 400
        assert len(picture.convert("RGB").resize((32, 32)).getcolors(1024) or ()) > 16, "it is not blank"


def test_one_sentence_says_what_is_missing() -> None:
    assert re.search(r"\*\*Not there yet:\*\* diffusion models\.", FIRST)


def test_every_folder_that_is_named_is_there() -> None:
    rows = re.findall(r"^\| `([\w.]+)/?`", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {"execution", "web", "nodes", "server.py"} <= set(rows)
    assert [name for name in rows if not (ROOT / name).exists()] == []


def test_the_other_front_end_is_an_extra_and_no_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = project["optional-dependencies"]["comfyui-frontend"]
    assert [re.split(r"[<>=]", one)[0] for one in extra] == ["comfyui-frontend-package"]
    assert not [one for one in project["dependencies"] if "comfy" in one]


def test_nothing_of_the_other_front_end_is_in_the_tree() -> None:
    """Its builds are folders of hashed files around an index page; ours has no build step."""
    kept = [path.relative_to(ROOT).as_posix() for folder in ("web", "nodes", "execution", "tests", "examples", "docs")
            for path in (ROOT / folder).rglob("*") if path.suffix in {".js", ".mjs", ".css", ".map"}
            and "node_modules" not in path.parts]
    assert [name for name in kept if re.search(r"-(?=[\w-]*[A-Z0-9])[\w-]{8}\.(js|mjs|css)(\.map)?$", name)] == []
    assert all((ROOT / name).stat().st_size < 200_000 for name in kept)
