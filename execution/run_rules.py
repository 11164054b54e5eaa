"""What may be said of how a prompt is run: by whoever submits it, by the class of a node, by the server."""

from msgspec import Struct


class TimeLimits(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """How long one call of a node may take, in seconds. 0 is without end, None says nothing."""

    run_timeout: float | None = None
    """From the start of the call."""
    idle_timeout: float | None = None
    """Since it told progress last, or since its start."""

    def over(self, others: "TimeLimits") -> "TimeLimits":
        """These, and where they say nothing the others. Asked for every call, and nearly always nothing is said."""
        if self is NO_LIMITS or self == NO_LIMITS:
            return others
        return TimeLimits(run_timeout=others.run_timeout if self.run_timeout is None else self.run_timeout,
                          idle_timeout=others.idle_timeout if self.idle_timeout is None else self.idle_timeout)


NO_LIMITS = TimeLimits()


class RunRules(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """How whoever submits a prompt wants it to be run."""

    goes_on_after_errors: bool = False
    """A node that fails stops what depends on it, and nothing else."""
    limits: TimeLimits = NO_LIMITS


USUAL_RULES = RunRules()
