"""Who wants to be told of the end of a job, and what is still owed to them.

What is owed is put on record together with the end itself, so neither is there without the other. The outbox knows
neither how somebody is told nor when: whoever delivers reads what comes next and notes how each try went.
"""

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from ..identifiers import PromptId

if TYPE_CHECKING:
    from .job_store import HistoryEntry


class EndNotice(Struct, frozen=True, kw_only=True):
    """Somebody wants to hear that a job has ended. What the texts mean, whoever delivers knows."""

    address: str
    receiver: str
    """Equal for addresses of one receiver, so that a slow one holds up nobody else."""
    states: Sequence[str]
    """The values of JobState that are to be told."""


class DeliveryState(StrEnum):
    """Spelled as clients read it."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Delivery(Struct, frozen=True, kw_only=True):
    """One notice of the end of one run of a job, however often it is tried."""

    id: str
    prompt_id: PromptId
    run: int
    address: str
    receiver: str
    made_at: int
    """This and the following time are milliseconds since the epoch."""
    next_try_at: int
    state: DeliveryState = DeliveryState.PENDING
    tries: int = 0
    last_error: str = ""
    """A sentence on what was in the way of the last try."""


class Outbox(Protocol):
    """What is owed. A job whose history is deleted stays in here until it is told. Called on the loop."""

    made: int
    """How many deliveries were put on record since the store was opened. It has grown by the time listeners hear of
    the end that made one."""

    async def next_deliveries(self, limit: int, busy_receivers: Collection[str],
                              under_way: Collection[str]) -> Sequence[Delivery]:
        """The pending delivery of each receiver whose time comes first, the soonest in front.

        :param busy_receivers: these are left out.
        :param under_way: ids of deliveries that are left out.
        """
        ...

    async def job_of(self, delivery_id: str) -> "HistoryEntry | None":
        """What is to be told."""
        ...

    async def delivery_of(self, prompt_id: PromptId, run: int) -> Delivery | None:
        """What became of the notice of a run, if one was owed."""
        ...

    async def note(self, delivery: Delivery) -> None:
        """Put on record how a try went.

        :raises StoreUnavailable: it is not on record.
        """
        ...


def is_owed(entry: "HistoryEntry") -> bool:
    """Whether somebody wants to hear of this end."""
    return entry.end_notice is not None and entry.outcome is not None and entry.state.value in entry.end_notice.states
