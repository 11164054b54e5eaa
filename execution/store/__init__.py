"""Where the history of prompts is kept. `JobStore` says what a store can do; `MemoryStore` forgets at the end."""

from .job_store import HistoryEntry, JobOrder, JobPage, JobQuery, JobState, JobStore
from .memory_store import MemoryStore

__all__ = ["HistoryEntry", "JobOrder", "JobPage", "JobQuery", "JobState", "JobStore", "MemoryStore"]
