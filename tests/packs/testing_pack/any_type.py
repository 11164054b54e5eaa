"""A type that links to everything, made the way packs make it: a str whose `!=` says "equal"."""


class AnyType(str):
    """Equal to another type if either is `*`, or if this one's comma set lies inside the other's."""

    __hash__ = str.__hash__

    def __ne__(self, other):
        if not isinstance(other, str):
            return True
        if str.__eq__(self, "*") or str.__eq__(other, "*"):
            return False
        return not set(self.split(",")) <= set(other.split(","))


def accepts_any_type(node_class):
    """Class decorator: all declared types become `AnyType`, and links are judged by it alone."""
    declared_inputs = node_class.INPUT_TYPES

    def input_types(cls):
        declared = declared_inputs()
        for category in ("required", "optional"):
            for name, (declared_type, *options) in declared.get(category, {}).items():
                declared[category][name] = (AnyType(declared_type), *options)
        return declared

    # A plain function on the class, neither static nor class method: packs do that, so it has to work.
    def validate_inputs(input_types):
        declared = node_class.INPUT_TYPES()
        expected = {**declared.get("required", {}), **declared.get("optional", {})}
        for name, received in input_types.items():
            if name in expected and AnyType(received) != expected[name][0]:
                return f"{name}: {received} does not fit {expected[name][0]}"
        return True

    node_class.INPUT_TYPES = classmethod(input_types)
    node_class.RETURN_TYPES = tuple(AnyType(declared_type) for declared_type in node_class.RETURN_TYPES)
    node_class.VALIDATE_INPUTS = validate_inputs
    return node_class
