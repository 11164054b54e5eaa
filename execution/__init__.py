"""The engine: runs graphs of nodes, async and plain side by side, and tells what happens.

The first names are for authors of nodes; the rest is for whoever puts a server around the engine.
"""

from .clock import Clock, SystemClock
from .commands import SignedCall
from .disk_tier import DiskTier, Leaf, PlainForms
from .engine import Accepted, BusyPool, Engine, EngineSettings, PromptSubmission, QueueSnapshot
from .errors import (
    EngineClosed,
    InvariantViolated,
    PromptConflict,
    PromptRejected,
    PromptUnknown,
    StudioError,
)
from .event_broadcast import SubscriberTooSlow, Subscription
from .events import (
    CancelAccepted,
    Event,
    NodeBlocked,
    NodeError,
    NodeFailed,
    NodeFinished,
    NodePlace,
    NodeProgressed,
    NodeRetried,
    NodeSaid,
    NodesCached,
    NodeShown,
    NodeStarted,
    Outcome,
    ProgressRow,
    ProgressTabled,
    PromptDropped,
    PromptFinished,
    PromptMoved,
    PromptQueued,
    PromptRequeued,
    PromptStarted,
    QueueChanged,
    StartPutOff,
)
from .graph_builder import GraphBuilder
from .identifiers import ClientId, NodeId, PromptId
from .loop_watchdog import LoopWatchdog
from .node_context import (
    CurrentNodeContext,
    InterruptProcessing,
    TransientError,
    check_interrupted,
    get_current_node,
)
from .node_errors import text_of
from .node_hooks import CallerSettings
from .node_interface import CodeOf, EveryType, Hook, InputSpec, NodeDefinition, NodeInterface, PromptScope
from .node_registry import NodeRegistry
from .node_values import ExecutionBlocker, NodeResult, OutputRecord
from .output_cache import CacheRule, OutputCache
from .progress import ProgressBar, report_progress, report_text
from .run_rules import RunRules, TimeLimits
from .scheduler import QueueEntry, SchedulerSettings
from .slower_tiers import OutsideTier
from .store import (
    Delivery,
    DeliveryState,
    EndNotice,
    HistoryEntry,
    JobOrder,
    JobQuery,
    JobState,
    JobStore,
    KeepRule,
    LoggedEvent,
    MemoryStore,
    Outbox,
    SqliteStore,
    StoreUnavailable,
    StoreUnusable,
)
from .value_size import measure

FOR_NODE_AUTHORS = ("CurrentNodeContext", "ExecutionBlocker", "GraphBuilder", "InterruptProcessing", "ProgressBar",
                    "TransientError", "check_interrupted", "get_current_node", "report_text")

__all__ = [
    "Accepted",
    "BusyPool",
    "CacheRule",
    "CallerSettings",
    "CancelAccepted",
    "ClientId",
    "Clock",
    "CodeOf",
    "CurrentNodeContext",
    "Delivery",
    "DeliveryState",
    "DiskTier",
    "EndNotice",
    "Engine",
    "EngineClosed",
    "EngineSettings",
    "Event",
    "EveryType",
    "ExecutionBlocker",
    "GraphBuilder",
    "HistoryEntry",
    "Hook",
    "InputSpec",
    "InterruptProcessing",
    "InvariantViolated",
    "JobOrder",
    "JobQuery",
    "JobState",
    "JobStore",
    "KeepRule",
    "Leaf",
    "LoggedEvent",
    "LoopWatchdog",
    "MemoryStore",
    "NodeBlocked",
    "NodeDefinition",
    "NodeError",
    "NodeFailed",
    "NodeFinished",
    "NodeId",
    "NodeInterface",
    "NodePlace",
    "NodeProgressed",
    "NodeRegistry",
    "NodeResult",
    "NodeRetried",
    "NodeSaid",
    "NodeShown",
    "NodeStarted",
    "NodesCached",
    "Outbox",
    "Outcome",
    "OutputCache",
    "OutputRecord",
    "OutsideTier",
    "PlainForms",
    "ProgressBar",
    "ProgressRow",
    "ProgressTabled",
    "PromptConflict",
    "PromptDropped",
    "PromptFinished",
    "PromptId",
    "PromptMoved",
    "PromptQueued",
    "PromptRejected",
    "PromptRequeued",
    "PromptScope",
    "PromptStarted",
    "PromptSubmission",
    "PromptUnknown",
    "QueueChanged",
    "QueueEntry",
    "QueueSnapshot",
    "RunRules",
    "SchedulerSettings",
    "SignedCall",
    "SqliteStore",
    "StartPutOff",
    "StoreUnavailable",
    "StoreUnusable",
    "StudioError",
    "SubscriberTooSlow",
    "Subscription",
    "SystemClock",
    "TimeLimits",
    "TransientError",
    "check_interrupted",
    "get_current_node",
    "measure",
    "report_progress",
    "report_text",
    "text_of",
]
