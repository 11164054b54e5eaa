"""Whether options of the command line are read. They have been, before any pack."""

args_parsing = True


def enable_args_parsing(enable: bool = True) -> None:
    """Needed by nobody here; kept for whoever reads `args_parsing`."""
    global args_parsing
    args_parsing = enable
