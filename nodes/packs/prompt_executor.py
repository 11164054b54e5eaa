"""`PromptExecutor` and the functions around it, as packs know them.

The engine runs prompts. These exist so that packs can replace them: see `pack_hooks` for when a replaced one is
called. The originals wait until the engine's run of the prompt has ended, and tell what became of it.
"""

import asyncio
import builtins
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from execution import InterruptProcessing, NodeError, PromptFinished, PromptRejected, PromptSubmission

from .dynamic_prompt import DynamicPrompt

if TYPE_CHECKING:
    from concurrent.futures import Future

    from .prompt_server import PromptServer

SENSITIVE_EXTRA_DATA_KEYS = ("auth_token_comfy_org", "api_key_comfy_org")


class NodeFailure(Exception):
    """What a node raised, where the class of its error is not known here. The message is that of the error."""


class Run(Protocol):
    """How a prompt ended."""

    outputs: Mapping[str, Any]
    meta: Mapping[str, Any]
    messages: Sequence[Any]
    succeeded: bool
    executed: Sequence[str]
    error: Mapping[str, Any] | None
    """`node_id`, `node_type`, `exception_message` and so on, where a node failed or was interrupted."""
    raised: NodeError | None
    """None where it was interrupted."""


class Runs(Protocol):
    """The prompts of an engine."""

    def end_of(self, item: tuple[Any, ...]) -> "Future[PromptFinished]":
        """The end of a prompt; one that is not queued yet is queued. From any thread."""
        ...

    def ended_run(self, event: PromptFinished) -> Run:
        """What became of it. Not to be called on the loop."""
        ...

    async def check(self, submission: PromptSubmission) -> tuple[Sequence[str], Mapping[str, Any]]:
        """Outputs of a prompt that would run, and errors of nodes. Nothing is queued. On the server's loop.

        :raises PromptRejected: none would.
        """
        ...


class KeptResults:
    """What an executor shows of the outputs that are kept: nothing. The engine keeps them, bounded, for all prompts."""

    def get(self, node_id: str) -> None:
        return None

    def all_node_ids(self) -> frozenset[str]:
        return frozenset()

    async def set_prompt(self, dynprompt: Any, node_ids: Any, is_changed_cache: Any) -> None:
        """Nothing: see the class."""

    def clean_unused(self) -> None:
        """Nothing: see the class."""

    def recursive_debug_dump(self) -> dict[str, Any]:
        return {}

    def set(self, node_id: str, value: Any) -> None:
        """Nothing: see the class."""


class CacheSet:
    """`outputs` and `objects` of an executor."""

    def __init__(self) -> None:
        self.outputs = KeptResults()
        self.objects = KeptResults()
        self.all = [self.outputs, self.objects]


class PromptExecutor:
    """One run of a prompt. A pack that replaces a method is called once a prompt; the engine runs it in any case."""

    runs: "Runs | None" = None

    def __init__(self, server: "PromptServer | None" = None, cache_type: Any = False, cache_args: Any = None,
                 asset_manager: Any = None) -> None:
        self.server = server
        self.cache_type = cache_type
        self.cache_args = cache_args
        self.asset_manager = asset_manager
        self.reset()

    def reset(self) -> None:
        self.caches = CacheSet()
        self.status_messages: list[Any] = []
        self.history_result: dict[str, Any] = {}
        self.success = True

    def execute(self, prompt: Any, prompt_id: str, extra_data: Mapping[str, Any] = {},
                execute_outputs: Sequence[str] = ()) -> None:
        """Wait until the prompt has ended.

        :raises RuntimeError: called on the server's loop, which would wait for itself.
        """
        assert self.server is not None, "a PromptExecutor needs the server: PromptExecutor(PromptServer.instance)"
        loop = self.server.loop
        try:
            is_on_loop = asyncio.get_running_loop() is loop
        except RuntimeError:
            is_on_loop = False
        if is_on_loop:
            raise RuntimeError("PromptExecutor.execute would block the server's loop: await execute_async there")
        asyncio.run_coroutine_threadsafe(
            self.execute_async(prompt, prompt_id, extra_data, execute_outputs), loop).result()

    async def execute_async(self, prompt: Any, prompt_id: str, extra_data: Mapping[str, Any] = {},
                            execute_outputs: Sequence[str] = ()) -> None:
        """The same, on any loop."""
        assert self.server is not None, "a PromptExecutor needs the server: PromptExecutor(PromptServer.instance)"
        assert self.runs is not None, "the server is not running"
        number = self.server.number
        item = (number, prompt_id, prompt, dict(extra_data or {}), list(execute_outputs), {})
        end = await asyncio.wrap_future(self.runs.end_of(item))
        run = await asyncio.to_thread(self.runs.ended_run, end)
        self.success = run.succeeded
        self.history_result = {"outputs": dict(run.outputs), "meta": dict(run.meta)}
        self.status_messages = [tuple(one) for one in run.messages]
        if run.error is not None:
            await asyncio.to_thread(self.handle_execution_error, prompt_id, prompt, list(run.outputs),
                                    set(run.executed), run.error, raised_by(run.raised))

    def handle_execution_error(self, prompt_id: str, prompt: Any, current_outputs: Any, executed: Any,
                               error: Mapping[str, Any], ex: BaseException) -> None:
        """Clients have been told already."""

    def add_message(self, event: str, data: Any, broadcast: bool = False) -> None:
        """Send a message about this run."""
        self.status_messages.append((event, data))
        if self.server is not None and (broadcast or self.server.client_id is not None):
            self.server.send_sync(event, data, None if broadcast else self.server.client_id)


def raised_by(error: NodeError | None) -> BaseException:
    """An exception that says what a node raised. The engine keeps none: it would hold on to all that the node held."""
    if error is None:
        return InterruptProcessing()
    found = getattr(builtins, error.exception_type, None)
    message = error.exception_message.removesuffix("\n")
    if isinstance(found, type) and issubclass(found, Exception):
        try:
            return found(message)
        except TypeError:  # UnicodeDecodeError and its kin want more
            pass
    return NodeFailure(f"{error.exception_type}: {message}")


# --- functions ---------------------------------------------------------------------------------------------------


async def validate_prompt(prompt_id: str, prompt: Any, partial_execution_list: Sequence[str] | None = None,
                          ) -> tuple[bool, dict[str, Any] | None, list[str], dict[str, Any]]:
    """(whether something of it can run, the error if nothing can, outputs that can, errors of nodes)."""
    runs = PromptExecutor.runs
    assert runs is not None, "the server is not running"
    try:
        outputs, node_errors = await runs.check(PromptSubmission(prompt=prompt, targets=partial_execution_list))
    except PromptRejected as refusal:
        return False, refusal.error, [], refusal.node_errors
    return True, None, list(outputs), dict(node_errors)


def get_input_data(inputs: Mapping[str, Any], class_def: Any, unique_id: str, execution_list: Any = None,
                   dynprompt: DynamicPrompt | None = None, extra_data: Mapping[str, Any] = {},
                   ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What a node's function would get: (a list of values by input, links whose value is not there, nothing).

    :param inputs: of the node in the prompt: constants and links.
    :param execution_list: where values of links come from: `get(node_id)` gives the outputs of a node, each a list.
    """
    found: dict[str, Any] = {}
    missing: dict[str, Any] = {}
    declared = class_def.INPUT_TYPES()
    for name, value in inputs.items():
        kind, options = _declared(declared, name)
        if _is_link(value) and not options.get("rawLink"):
            outputs = _outputs_of(execution_list, value[0])
            if outputs is None:
                missing[name] = (None,)
            else:
                found[name] = outputs[value[1]]
        elif _is_link(value) or kind is not None:
            found[name] = [value]
    hidden = declared.get("hidden") or {}
    values = {"PROMPT": {} if dynprompt is None else dynprompt.get_original_prompt(), "DYNPROMPT": dynprompt,
              "EXTRA_PNGINFO": extra_data.get("extra_pnginfo"), "UNIQUE_ID": unique_id,
              "AUTH_TOKEN_COMFY_ORG": extra_data.get("auth_token_comfy_org"),
              "API_KEY_COMFY_ORG": extra_data.get("api_key_comfy_org"),
              "COMFY_USAGE_SOURCE": extra_data.get("comfy_usage_source")}
    found.update((name, [values[selector]]) for name, selector in hidden.items()
                 if isinstance(selector, str) and selector in values)
    return found, missing, {}


def _declared(declared: Mapping[str, Any], name: str) -> tuple[Any, Mapping[str, Any]]:
    for category in ("required", "optional"):
        entry = (declared.get(category) or {}).get(name)
        if entry is not None:
            return entry[0], entry[1] if len(entry) > 1 and isinstance(entry[1], Mapping) else {}
    return None, {}


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) \
        and isinstance(value[1], (int, float)) and not isinstance(value[1], bool)


def _outputs_of(results: Any, node_id: str) -> Any:
    found = results.get(node_id) if hasattr(results, "get") else None
    return getattr(found, "outputs", found)
