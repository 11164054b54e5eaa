"""Named places where the process can be made to end at once, so that tests can prove what survives it.

The variable below names one of them, and which visit of it is the last: `commit:3`. Nothing happens without it.
"""

import os
import signal

VARIABLE = "HANZO_STUDIO_FAILPOINT"

_name, _, _visits = os.environ.get(VARIABLE, "").partition(":")
_left = int(_visits or 1)


def reach(name: str) -> None:
    """The process has come to a place of this name."""
    global _left
    if name == _name:
        _left -= 1
        if not _left:
            os.kill(os.getpid(), signal.SIGKILL)
