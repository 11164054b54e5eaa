"""Progress without a bar, by the names that packs know."""

from typing import Any

from execution import report_progress
from nodes.environment import environment


class ProgressState:
    """Takes the progress of any node of the prompt that the caller runs for."""

    def update_progress(self, node_id: str, value: float, max_value: float, image: Any = None) -> None:
        """Tell how far a node is.

        :param image: a PIL image, or (`PNG` or `JPEG`, PIL image, longest side or None).
        """
        preview = image if image is None or isinstance(image, tuple) else ("PNG", image, environment.preview_size)
        report_progress(value, max_value, node_id, preview)


_state = ProgressState()


def get_progress_state() -> ProgressState:
    return _state
