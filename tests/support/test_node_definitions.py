from execution import NodeResult
from tests.support.node_definitions import define, node, read_result, registry_of, show


def test_a_node_is_async_or_plain_as_its_function_is() -> None:
    async def awaits() -> None: ...

    def computes() -> None: ...

    assert (define("A", awaits).is_async, define("A", awaits).needs) == (True, ())
    assert (define("B", computes).is_async, define("B", computes).needs) == (False, (("gpu", 1),))
    assert define("B", computes, needs={"z": 1, "cpu": 2}).needs == (("cpu", 2), ("z", 1))


def test_what_a_node_declares() -> None:
    def computes(number: int) -> int:
        return number

    declared = define("A", computes, required={"number": ("INT", {"min": 1})},
                      optional={"later": ("*", {"lazy": True})}).describe()
    number, later = declared.spec("number"), declared.spec("later")
    assert number is not None
    assert (number.is_required, number.minimum, number.convert) == (True, 1, int)
    assert later is not None
    assert (later.is_required, later.is_lazy) == (False, True)
    assert declared.spec("unheard of") is None
    assert define("B", computes).describe().spec("whatever") is not None


async def test_show_shows_what_it_gets() -> None:
    result = await show().function(None)(a=1)
    assert result == NodeResult(outputs=(1,), ui={"a": [1]})


def test_results_registries_and_nodes_of_a_prompt() -> None:
    assert read_result((1, 2)).outputs == (1, 2)
    assert read_result([1, 2]).outputs == ([1, 2],)
    assert registry_of([show()]).get("Show") is not None
    assert node("A", x=1) == {"class_type": "A", "inputs": {"x": 1}}
