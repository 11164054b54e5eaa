"""Whether an output fits an input, by the name that packs know."""


def validate_node_input(received_type: str, input_type: str, strict: bool = False) -> bool:
    """Whether what an output gives may be linked to an input. Types are names, or several with commas.

    :param strict: every received type must be one of the input's; else one that is will do.
    """
    # `!=`, not `==`: types of packs that take anything are texts that differ from nothing.
    if not (received_type != input_type and input_type != received_type):
        return True
    if not isinstance(received_type, str) or not isinstance(input_type, str):
        return False
    received, wanted = ({one.strip() for one in types.split(",")} for types in (received_type, input_type))
    if "*" in received or "*" in wanted:
        return True
    return received <= wanted if strict else bool(received & wanted)
