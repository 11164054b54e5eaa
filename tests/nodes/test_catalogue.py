"""The catalogue against the contract, and what importing it costs."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from nodes import CATALOGUE, DISPLAY_NAMES
from nodes.packs.node_definitions import define_built_in_node

HERE = Path(__file__).parent
CONTRACT = json.loads((HERE / "core-nodes.json").read_text())
OURS = {"LoadImageFromURL", "Sleep"}


def as_object_info(node: type) -> dict:
    """What the contract says of a class, read off ours; choices of files are left out."""
    inputs = json.loads(json.dumps(node.INPUT_TYPES()))
    for declaration in (one for group in ("required", "optional") for one in inputs.get(group, {}).values()):
        if len(declaration) == 2 and isinstance(declaration[1], dict):
            declaration[1].pop("tooltip", None)
            if isinstance(declaration[0], list) and any(option.endswith("_upload") for option in declaration[1]):
                declaration[0] = []
    return_types = list(node.RETURN_TYPES)
    return {
        "input": inputs,
        "input_order": {group: list(names) for group, names in inputs.items()},
        "output": return_types,
        "output_is_list": list(getattr(node, "OUTPUT_IS_LIST", [False] * len(return_types))),
        "output_name": list(getattr(node, "RETURN_NAMES", return_types)),
        "category": node.CATEGORY,
        "output_node": getattr(node, "OUTPUT_NODE", False),
    }


@pytest.mark.parametrize("name", sorted(CATALOGUE.keys() - OURS))
def test_interface_is_the_contract_s(name):
    node, wanted = CATALOGUE[name], CONTRACT[name]
    ours = as_object_info(node)
    contract = {key: wanted[key] for key in ours}
    assert ours == contract
    display_name = DISPLAY_NAMES.get(name)
    assert display_name == wanted["display_name"]
    assert wanted.get("function", "execute") == node.FUNCTION
    assert bool(getattr(node, "INPUT_IS_LIST", False)) == wanted.get("input_is_list", False)
    assert getattr(node, "EXPERIMENTAL", False) == wanted.get("experimental", False)
    # Packs call `execute` of what was a schema node on the class.
    assert inspect.ismethod(getattr(node, node.FUNCTION)) == (wanted["kind"] == "schema")


SCHEMA_KEYS = {"output_tooltips", "output_matchtypes", "deprecated", "experimental", "dev_only", "api_node",
               "price_badge", "essentials_category"}


@pytest.mark.parametrize("name", sorted(CATALOGUE.keys() - OURS))
def test_clients_are_told_what_the_contract_says(name):
    wanted = CONTRACT[name]
    said = define_built_in_node(name, CATALOGUE[name], DISPLAY_NAMES.get(name)).info()
    assert {key: said[key] for key in ("display_name", "python_module", "output_node")} == {
        key: wanted[key] for key in ("display_name", "python_module", "output_node")}
    assert said["is_input_list"] is wanted.get("input_is_list", False)
    assert said.get("experimental", False) is wanted.get("experimental", False)
    if wanted["kind"] == "schema":
        assert said.keys() >= SCHEMA_KEYS
        assert (said["deprecated"], said["dev_only"], said["api_node"]) == (False, False, False)
        assert said["output_tooltips"] == [None] * len(said["output"])
        assert said["search_aliases"] is None
    else:
        assert not said.keys() & (SCHEMA_KEYS - {"experimental", "output_tooltips"})
        assert said["search_aliases"] == []


def test_order_of_inputs_is_the_contract_s():
    for name in CATALOGUE.keys() - OURS:
        inputs = CATALOGUE[name].INPUT_TYPES()
        assert list(inputs["required"]) == CONTRACT[name]["input_order"]["required"], name


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_function_takes_every_input_by_its_name(name):
    node = CATALOGUE[name]
    inputs = node.INPUT_TYPES()
    parameters = inspect.signature(getattr(node(), node.FUNCTION)).parameters
    assert parameters.keys() >= {given for group in inputs.values() for given in group}
    for may_be_left_out in parameters.keys() - inputs["required"].keys():
        assert parameters[may_be_left_out].default is not inspect.Parameter.empty


def test_ours_are_async_and_the_others_say_what_they_need():
    for name, node in CATALOGUE.items():
        is_async = inspect.iscoroutinefunction(getattr(node, node.FUNCTION))
        assert is_async == (name in OURS), name
        if not is_async:
            assert node.__dict__["RESOURCES"] == {"cpu": 1}, name


def test_display_names_are_of_nodes_that_exist():
    assert DISPLAY_NAMES.keys() <= CATALOGUE.keys()


def test_importing_the_catalogue_imports_nothing_heavy():
    program = (
        "import sys, nodes\n"
        "[node.INPUT_TYPES() for node in nodes.CATALOGUE.values()]\n"
        "print([name for name in ('torch', 'numpy', 'PIL', 'aiohttp') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=HERE.parents[1], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
