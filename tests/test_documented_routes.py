"""docs/api.md has every route that the server answers, and none that it does not."""

import re
from pathlib import Path

from aiohttp import web

from web.app import TABLES, WITHOUT_TWINS

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "api.md").read_text()
ROUTE = re.compile(r"/[\w./]*\w")
PLACE = re.compile(r"\{[^}]*\}|(?<=/)[A-Z]+(?=/|$)")
FOR_FILES = ("/internal/{path", "/extensions/{", "/api/workflow_templates/{", "/templates/{", "/docs/{",
             "/experiment/models/", "/api/assets", "/api/tags")
"""Files of others and answers that say "not here"; what is told of in words."""


def first_column() -> str:
    rows = PAGE[PAGE.index("## Routes"):PAGE.index("## Messages")].splitlines()
    return " ".join(row.split(" | ")[0] for row in rows if row.startswith("| `"))


def shape(path: str) -> str:
    """A path without the names of its parts."""
    return PLACE.sub("*", path)


def routes() -> set[str]:
    return {shape(route.path) for table in (*TABLES, *WITHOUT_TWINS) for route in table
            if isinstance(route, web.RouteDef) and not route.path.startswith(FOR_FILES)}


def test_every_route_has_a_row() -> None:
    told = {shape(path) for path in ROUTE.findall(first_column())}
    words = {shape(path) for path in ROUTE.findall(PAGE)}  # some are told of in the second column
    assert routes() - told - words - {shape("/global_subgraphs/{id}")} == set()


def test_every_row_is_a_route() -> None:
    told = {shape(path) for path in ROUTE.findall(first_column())}
    assert told - routes() == set()
