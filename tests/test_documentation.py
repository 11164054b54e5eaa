"""The documentation is held to what the code offers: options, public names, links, working examples."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import server

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"),
                *(page for room in ("execution", "nodes", "web", "tests", "benchmarks", "examples")
                  for page in (ROOT / room).rglob("*.md"))])
MADE_BY_TESTS = {"docs/studio.png"}

CODE_BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def parser_of_the_server() -> argparse.ArgumentParser:
    parser = server.build_parser()
    assert isinstance(parser, argparse.ArgumentParser)
    return parser


def shown_options(parser: argparse.ArgumentParser) -> set[str]:
    """What `--help` shows; an option with help=SUPPRESS is not offered."""
    return {option for action in parser._actions if action.help is not argparse.SUPPRESS
            for option in action.option_strings if option.startswith("--")} - {"--help"}


def documented_options() -> set[str]:
    """Options that have a row of their own, as the first column of a table says."""
    rows = re.findall(r"^\| (`--[^|]*(?:\\\|[^|]*)*)\|", (ROOT / "docs/options.md").read_text(), re.MULTILINE)
    return {option for row in rows for option in OPTION.findall(row)}


def test_every_option_of_the_command_has_a_row() -> None:
    missing = shown_options(parser_of_the_server()) - documented_options()
    assert not missing, f"docs/options.md has no row for {sorted(missing)}"


def test_every_row_is_an_option_of_the_command() -> None:
    invented = documented_options() - shown_options(parser_of_the_server())
    assert not invented, f"docs/options.md describes {sorted(invented)}, which do not exist"


def test_every_option_that_any_page_names_exists() -> None:
    ours = {option for page in PAGES if name_of(page) in {"README.md", "docs/node-authors.md"}
            for command in re.findall(r"`(--[^`]*)`|server\.py ([^`\n]*)|ARGS=\"([^\"]*)\"", page.read_text())
            for option in OPTION.findall(" ".join(command))}
    unknown = ours - shown_options(parser_of_the_server())
    assert not unknown, f"named, but not an option: {sorted(unknown)}"


def test_every_name_for_node_authors_stands_on_their_page() -> None:
    import execution

    page = (ROOT / "docs/node-authors.md").read_text()
    missing = [name for name in execution.FOR_NODE_AUTHORS if not re.search(rf"\b{re.escape(name)}\b", page)]
    assert not missing, f"docs/node-authors.md does not name {missing}"


def test_the_map_in_the_design_has_every_file_of_the_engine() -> None:
    page = (ROOT / "docs/design.md").read_text()
    files = {path.relative_to(ROOT / "execution").parts[0] for path in (ROOT / "execution").rglob("*.py")}
    missing = [name for name in sorted(files - {"__init__.py"})
               if f"`{name.removesuffix('.py')}`" not in page and f"`{name}/`" not in page]
    assert not missing, f"docs/design.md does not place {missing}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    prose = CODE_BLOCK.sub("", page.read_text())
    broken = []
    for target in LINK.findall(prose):
        if "://" in target or target.startswith("#"):
            continue
        place = (page.parent / target.partition("#")[0]).resolve()
        if not place.exists() and place.relative_to(ROOT).as_posix() not in MADE_BY_TESTS:
            broken.append(target)
    assert not broken


def examples() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for language, code in CODE_BLOCK.findall(page.read_text()):
            if language == "python":
                title = re.search(r"class (\w+)|def (\w+)", code)
                yield f"{name_of(page)}:{title.group() if title else ''}", code


@pytest.mark.parametrize("code", [pytest.param(code, id=title) for title, code in examples()])
def test_examples_compile(code: str) -> None:
    compile(code, "example", "exec")


@pytest.mark.parametrize("code", [pytest.param(code, id=title) for title, code in examples()
                                  if title.startswith("docs/node-authors.md")])
def test_examples_for_node_authors_import_what_exists(code: str) -> None:
    """Definitions only: what the examples define is called by nobody here."""
    exec(compile(code, "example", "exec"), {"__name__": "example"})
