"""How clients are told of a class-attribute node: what `/object_info` shows."""

from typing import Any


class ClassInfo:
    """Asks a class what it takes each time it is called, and answers the same object again while that is the same.

    Making the whole takes several times as long as asking, and of hundreds of classes hardly one has changed.

    :param has_every_key: whether it is shown like a node with a schema: with all keys, null included.
    """

    __slots__ = ("_class_type", "_display_name", "_has_every_key", "_known", "_node_class", "_origin")

    def __init__(self, class_type: str, node_class: Any, origin: str, display_name: str | None,
                 has_every_key: bool = False) -> None:
        self._class_type = class_type
        self._node_class = node_class
        self._origin = origin
        self._has_every_key = has_every_key
        self._display_name = display_name
        self._known: tuple[Any, Any, dict[str, Any]] | None = None

    def __call__(self) -> dict[str, Any]:
        """Nobody may change what is answered. Raises what the class raises."""
        types, returned = self._node_class.INPUT_TYPES(), self._node_class.RETURN_TYPES
        known = self._known
        if known is not None and known[1] is returned and _is_same(known[0], types):
            return known[2]
        types = _own_copy(types)  # some classes answer an object that they change later
        info = self._info(types)
        self._known = (types, returned, info)
        return info

    def _info(self, types: dict[str, Any]) -> dict[str, Any]:
        node_class = self._node_class
        returned = list(node_class.RETURN_TYPES)
        is_list = list(getattr(node_class, "OUTPUT_IS_LIST", ()))
        info = {
            "input": types, "input_order": {category: list(inputs) for category, inputs in types.items()},
            "is_input_list": bool(getattr(node_class, "INPUT_IS_LIST", False)), "output": returned,
            "output_is_list": is_list or [False] * len(returned),
            "output_name": list(getattr(node_class, "RETURN_NAMES", returned)), "name": self._class_type,
            "display_name": self._class_type if self._display_name is None else self._display_name,
            "description": getattr(node_class, "DESCRIPTION", ""), "python_module": self._origin,
            "category": getattr(node_class, "CATEGORY", "sd"),
            "output_node": getattr(node_class, "OUTPUT_NODE", False) in (True,),  # 1 too, though it makes no root
            "has_intermediate_output": bool(getattr(node_class, "HAS_INTERMEDIATE_OUTPUT", False)),
            "search_aliases": list(getattr(node_class, "SEARCH_ALIASES", ()))}
        if hasattr(node_class, "OUTPUT_TOOLTIPS"):
            info["output_tooltips"] = node_class.OUTPUT_TOOLTIPS
        info.update({key: True for key, name in (("deprecated", "DEPRECATED"), ("experimental", "EXPERIMENTAL"),
                                                 ("dev_only", "DEV_ONLY")) if getattr(node_class, name, False)})
        if hasattr(node_class, "API_NODE"):
            info["api_node"] = node_class.API_NODE
        if hasattr(node_class, "ESSENTIALS_CATEGORY"):
            info["essentials_category"] = node_class.ESSENTIALS_CATEGORY
        return self._with_every_key(info) if self._has_every_key else info

    def _with_every_key(self, info: dict[str, Any]) -> dict[str, Any]:
        absent = {"output_tooltips": [None] * len(info["output"]), "output_matchtypes": None, "deprecated": False,
                  "experimental": False, "dev_only": False, "api_node": False, "price_badge": None,
                  "essentials_category": None}
        return {**absent, **info, "display_name": self._display_name, "search_aliases": info["search_aliases"] or None}


def _is_same(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # arrays among the defaults, say, which do not compare as a whole
        return False


def _own_copy(value: Any) -> Any:
    """A copy whose containers are its own; what else is in them stays."""
    if isinstance(value, dict):
        return {key: _own_copy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = map(_own_copy, value)
        return tuple(items) if value.__class__ is tuple else list(items)
    return value
