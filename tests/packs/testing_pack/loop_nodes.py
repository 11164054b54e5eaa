"""Loops by expansion: the closing node clones the body of the loop until the condition is false."""

from comfy_execution.graph_utils import GraphBuilder, is_link

from .any_type import accepts_any_type

FOR_VALUES = range(1, 5)
WHILE_VALUES = range(5)  # the first one carries the counter of a for loop
PLACEHOLDER = "loop"


def optional_values(numbers, **options):
    return {f"initial_value{number}": ("*", dict(options)) for number in numbers}


def values_of(inputs, numbers):
    return [inputs.get(f"initial_value{number}") for number in numbers]


@accepts_any_type
class TestForLoopOpen:
    CATEGORY = "Testing/Flow"
    RETURN_TYPES = ("FLOW_CONTROL", "INT", *["*"] * len(FOR_VALUES))
    RETURN_NAMES = ("flow_control", "remaining", *(f"value{number}" for number in FOR_VALUES))
    FUNCTION = "open_loop"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {"remaining": ("INT", {"default": 1, "min": 0, "max": 100000})},
            "optional": optional_values(FOR_VALUES),
            "hidden": {"initial_value0": ("*",)},  # no selector: it arrives only in a clone
        }

    def open_loop(self, remaining, **inputs):
        count = inputs.get("initial_value0", remaining)
        graph = GraphBuilder()
        given = {name: value for name, value in inputs.items() if name != "initial_value0"}
        graph.node("TestWhileLoopOpen", condition=count, initial_value0=count, **given)
        results = (PLACEHOLDER, count, *values_of(inputs, FOR_VALUES))
        return {"result": results, "expand": graph.finalize()}


@accepts_any_type
class TestForLoopClose:
    """Counts down by one and leaves the rest to a while loop."""

    CATEGORY = "Testing/Flow"
    RETURN_TYPES = ("*",) * len(FOR_VALUES)
    RETURN_NAMES = tuple(f"value{number}" for number in FOR_VALUES)
    FUNCTION = "close_loop"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {"flow_control": ("FLOW_CONTROL", {"rawLink": True})},
            "optional": optional_values(FOR_VALUES, rawLink=True),
        }

    def close_loop(self, flow_control, **links):
        open_id = flow_control[0]
        graph = GraphBuilder()
        count = graph.node("TestIntMathOperation", operation="subtract", a=[open_id, 1], b=1)
        condition = graph.node("TestToBoolNode", value=count.out(0))
        values = {f"initial_value{number}": links.get(f"initial_value{number}") for number in FOR_VALUES}
        close = graph.node(
            "TestWhileLoopClose",
            flow_control=flow_control,
            condition=condition.out(0),
            initial_value0=count.out(0),
            **values,
        )
        return {"result": tuple(close.out(number) for number in FOR_VALUES), "expand": graph.finalize()}


@accepts_any_type
class TestWhileLoopOpen:
    CATEGORY = "Testing/Flow"
    RETURN_TYPES = ("FLOW_CONTROL", *["*"] * len(WHILE_VALUES))
    RETURN_NAMES = ("flow_control", *(f"value{number}" for number in WHILE_VALUES))
    FUNCTION = "open_loop"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {"condition": ("BOOLEAN", {"default": True})},
            "optional": optional_values(WHILE_VALUES),
        }

    def open_loop(self, condition, **inputs):
        return (PLACEHOLDER, *values_of(inputs, WHILE_VALUES))


@accepts_any_type
class TestWhileLoopClose:
    """Ends the loop, or runs its body once more as a clone that ends in a copy of this node."""

    CATEGORY = "Testing/Flow"
    RETURN_TYPES = ("*",) * len(WHILE_VALUES)
    RETURN_NAMES = tuple(f"value{number}" for number in WHILE_VALUES)
    FUNCTION = "close_loop"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "flow_control": ("FLOW_CONTROL", {"rawLink": True}),
                "condition": ("BOOLEAN", {"forceInput": True}),
            },
            "optional": optional_values(WHILE_VALUES),
            "hidden": {"dynprompt": "DYNPROMPT", "unique_id": "UNIQUE_ID"},
        }

    def close_loop(self, flow_control, condition, dynprompt, unique_id, **inputs):
        values = values_of(inputs, WHILE_VALUES)
        if not condition:
            return tuple(values)
        open_id = flow_control[0]
        graph = GraphBuilder()
        copies = clone_body(graph, dynprompt, body_of_loop(dynprompt, open_id, unique_id), unique_id)
        for number, value in zip(WHILE_VALUES, values, strict=True):
            copies[open_id].set_input(f"initial_value{number}", value)
        result = tuple(copies[unique_id].out(number) for number in WHILE_VALUES)
        return {"result": result, "expand": graph.finalize()}


def body_of_loop(dynprompt, open_id, close_id):
    """Ids of the nodes between the two ends, both included: upstream of one and downstream of the other."""
    consumers, seen, pending = {}, {close_id}, [close_id]
    while pending:
        node_id = pending.pop()
        for value in dynprompt.get_node(node_id)["inputs"].values():
            if is_link(value):
                consumers.setdefault(value[0], []).append(node_id)
                if value[0] not in seen:
                    seen.add(value[0])
                    pending.append(value[0])
    body, pending = {open_id: None, close_id: None}, [open_id]
    while pending:
        for consumer in consumers.get(pending.pop(), ()):
            if consumer not in body:
                body[consumer] = None
                pending.append(consumer)
    return list(body)


def clone_body(graph, dynprompt, body, close_id):
    """Copies keep their full old id, only the closing node is renamed: else ids would grow with each turn."""
    copies = {}
    for node_id in body:
        new_id = "Recurse" if node_id == close_id else node_id
        copies[node_id] = graph.node(dynprompt.get_node(node_id)["class_type"], new_id)
        copies[node_id].set_override_display_id(node_id)
    for node_id, copy in copies.items():
        for name, value in dynprompt.get_node(node_id)["inputs"].items():
            if is_link(value) and value[0] in copies:
                value = copies[value[0]].out(value[1])
            copy.set_input(name, value)
    return copies


class TestIntMathOperation:
    CATEGORY = "Testing/Logic"
    RETURN_TYPES = ("INT",)
    FUNCTION = "calculate"
    OPERATIONS = {
        "add": lambda a, b: a + b,
        "subtract": lambda a, b: a - b,
        "multiply": lambda a, b: a * b,
        "divide": lambda a, b: a // b,
        "modulo": lambda a, b: a % b,
        "power": lambda a, b: a**b,
    }

    @classmethod
    def INPUT_TYPES(cls):
        number = {"default": 0, "min": -(2**64 - 1), "max": 2**64 - 1, "step": 1}
        return {
            "required": {
                "a": ("INT", dict(number)),
                "b": ("INT", dict(number)),
                "operation": (list(cls.OPERATIONS),),
            }
        }

    def calculate(self, a, b, operation):
        return (self.OPERATIONS[operation](a, b),)


class TestToBoolNode:
    """The truth of a value; of a tensor, whether anything in it is not zero."""

    CATEGORY = "Testing/Logic"
    RETURN_TYPES = ("BOOLEAN",)
    FUNCTION = "judge"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": ("*",)}, "optional": {"invert": ("BOOLEAN", {"default": False})}}

    def judge(self, value, invert=False):
        return (truth_of(value) != invert,)


def truth_of(value):
    try:
        if hasattr(value, "any"):
            return bool(value.any())
        return bool(value)
    except Exception:  # a value may raise anything when asked for its truth
        return True


NODES = (
    TestForLoopOpen,
    TestForLoopClose,
    TestWhileLoopOpen,
    TestWhileLoopClose,
    TestIntMathOperation,
    TestToBoolNode,
)
