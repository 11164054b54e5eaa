"""Where jobs and their history are kept. `JobStore` says what a store can do; `MemoryStore` forgets at the end."""

from .job_store import (
    HistoryEntry,
    JobOrder,
    JobPage,
    JobQuery,
    JobState,
    JobStore,
    Leftovers,
    LoggedEvent,
    NewJob,
    StoreRefused,
    StoreUnavailable,
    StoreUnusable,
    UnfinishedJob,
)
from .memory_store import MemoryStore
from .outbox import Delivery, DeliveryState, EndNotice, Outbox
from .sqlite_store import KeepRule, SqliteStore

__all__ = ["Delivery", "DeliveryState", "EndNotice", "HistoryEntry", "JobOrder", "JobPage", "JobQuery", "JobState",
           "JobStore", "KeepRule", "Leftovers", "LoggedEvent", "MemoryStore", "NewJob", "Outbox",
           "SqliteStore", "StoreRefused", "StoreUnavailable",
           "StoreUnusable", "UnfinishedJob"]
