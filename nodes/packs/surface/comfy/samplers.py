"""Names of samplers and schedulers, by the names that packs know. Packs append their own; the lists are live."""

from typing import Any, NamedTuple

from nodes.packs.absent_names import names_of
from nodes.packs.not_offered import absent_function
from nodes.packs.sampler_lists import SAMPLERS, SCHEDULERS

_INSTEAD = "no sampler runs here yet; compute the sigmas in your own node"


class SchedulerHandler(NamedTuple):
    """What computes the steps of a scheduler."""

    handler: Any
    use_ms: bool = True


SAMPLER_NAMES = SAMPLERS
KSAMPLER_NAMES = [name for name in SAMPLERS if name not in ("ddim", "uni_pc", "uni_pc_bh2")]
SCHEDULER_NAMES = SCHEDULERS
SCHEDULER_HANDLERS = {name: SchedulerHandler(absent_function(f"comfy.samplers.{name}_scheduler", _INSTEAD))
                      for name in SCHEDULERS}

globals().update(names_of("comfy.samplers"))


class KSampler:
    """The lists that inputs offer; no sampler."""

    SAMPLERS = SAMPLER_NAMES
    SCHEDULERS = SCHEDULER_NAMES
    DISCARD_PENULTIMATE_SIGMA_SAMPLERS = {"dpm_2", "dpm_2_ancestral", "uni_pc", "uni_pc_bh2"}

    def __init__(self, *_: Any, **__: Any) -> None:
        absent_function("comfy.samplers.KSampler", "no sampler runs here yet; run the loop in your own node")()
