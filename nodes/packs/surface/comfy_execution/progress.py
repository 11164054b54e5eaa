"""Progress without a bar, by the names that packs know."""

from nodes.packs.progress_registry import (
    CLIProgressHandler,
    NodeProgressState,
    NodeState,
    ProgressHandler,
    ProgressRegistry,
    WebUIProgressHandler,
    add_progress_handler,
    get_progress_state,
    reset_progress_state,
)

__all__ = ["CLIProgressHandler", "NodeProgressState", "NodeState", "ProgressHandler", "ProgressRegistry",
           "WebUIProgressHandler", "add_progress_handler", "get_progress_state", "reset_progress_state"]
