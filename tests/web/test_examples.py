"""The page's examples and those to post are the same graphs, and the server would take each of them."""

import json
from pathlib import Path
from typing import Any

import pytest

import server
from execution import NodeRegistry, PromptRejected
from tests.web.live_server import Live

ROOT = Path(__file__).parents[2]
OF_THE_PAGE = ROOT / "web" / "ui" / "examples"
TO_POST = ROOT / "examples" / "workflows"
NAMES = sorted(file.name for file in OF_THE_PAGE.glob("*.json") if file.name != "index.json")
