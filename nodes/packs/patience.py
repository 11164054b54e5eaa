"""What a class of nodes says, in attributes of our own, of how long its calls may take and when to try again.

    RUN_TIMEOUT = 300               seconds that a call may take; 0 is without end
    IDLE_TIMEOUT = 30               seconds since its last progress
    RETRIES = 3                     calls after one that failed with a transient error
    TRANSIENT_ERRORS = (OSError,)   what is transient beside `execution.TransientError`
"""

import math
from typing import Any

from execution import TimeLimits

USUAL_RETRIES = 3
MOST_RETRIES = 100


def patience_of(class_type: str, node_class: Any) -> dict[str, Any]:
    """`limits`, `retries` and `transient_errors` of a definition.

    :raises TypeError: an attribute makes no sense.
    """
    retries = getattr(node_class, "RETRIES", USUAL_RETRIES)
    if type(retries) is not int or not 0 <= retries <= MOST_RETRIES:
        raise TypeError(f"RETRIES of {class_type!r} must be a whole number from 0 to {MOST_RETRIES}, not {retries!r}")
    errors = getattr(node_class, "TRANSIENT_ERRORS", ())
    if not isinstance(errors, (tuple, list)) or not all(
            isinstance(one, type) and issubclass(one, BaseException) for one in errors):
        raise TypeError(f"TRANSIENT_ERRORS of {class_type!r} must be a tuple of classes of exceptions, not {errors!r}")
    return {"limits": TimeLimits(run_timeout=_seconds(class_type, node_class, "RUN_TIMEOUT"),
                                 idle_timeout=_seconds(class_type, node_class, "IDLE_TIMEOUT")),
            "retries": retries, "transient_errors": tuple(errors)}


def _seconds(class_type: str, node_class: Any, name: str) -> float | None:
    value = getattr(node_class, name, None)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise TypeError(f"{name} of {class_type!r} must be a number of seconds, not {value!r}")
    return float(value)
