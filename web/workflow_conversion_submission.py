"""Saved workflows that come where a prompt is expected: what classes are asked for it, and what is answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from execution import Engine, PromptSubmission

from .bad_request import BadRequest
from .workflow_conversion import CannotConvert, convert_workflow

WHAT_TO_SEND = "export it in the editor with \"Export (API)\" and send that"


async def convert_submission(engine: Engine, submission: PromptSubmission,
                             afterwards: Callable[[PromptSubmission], None]) -> None:
    """Put the prompt of a saved workflow where the workflow is. That is kept beside it, as editors send it.

    :param afterwards: called with the result, off the loop.
    :raises BadRequest: it cannot be converted.
    """
    workflow, asked = submission.prompt, [""]

    def info_of(class_type: str) -> Mapping[str, Any] | None:
        definition = engine.registry.get(class_type)
        if definition is None:
            return None
        asked[0] = class_type
        try:
            return engine.info_of(definition)
        except Exception as error:  # whatever code of a pack raises
            raise CannotConvert(f"the class {class_type} does not say what it takes") from error

    def convert() -> None:
        submission.prompt = convert_workflow(workflow, info_of)
        afterwards(submission)

    try:
        await engine.ask_nodes(convert)
    except CannotConvert as reason:
        raise refusal(str(reason)) from None
    except TimeoutError:
        raise refusal(f"the class {asked[0]} does not answer what it takes") from None
    _keep_beside(submission.extra_data, workflow)


def refusal(reason: str) -> BadRequest:
    return BadRequest("workflow_not_converted", f"This is a workflow as an editor saves it, and it cannot be made a "
                      f"prompt because {reason}; {WHAT_TO_SEND}.", reason)


def _keep_beside(extra_data: dict[str, Any], workflow: Mapping[str, Any]) -> None:
    beside = extra_data.get("extra_pnginfo")
    if beside is None:
        beside = {}
    if isinstance(beside, dict):
        extra_data["extra_pnginfo"] = {"workflow": workflow, **beside}
