"""No node of the contract is missing but those that need diffusion models, and only ours are added."""

import json
from pathlib import Path

from nodes import CATALOGUE

CONTRACT = json.loads((Path(__file__).parent / "core-nodes.json").read_text())
NEED_MODELS = {"CheckpointLoaderSimple", "CLIPTextEncode", "KSampler", "LoraLoader", "VAEDecode", "VAEEncode"}
OURS = {"LoadImageFromURL", "Sleep"}


def test_every_other_node_of_the_contract_is_there() -> None:
    assert CONTRACT.keys() - CATALOGUE.keys() == NEED_MODELS


def test_only_ours_are_added() -> None:
    assert CATALOGUE.keys() - CONTRACT.keys() == OURS
