"""Nodes that raise, at once or after a while, and one that blocks what comes after it."""

import asyncio

from comfy_execution.graph import ExecutionBlocker

from .any_type import accepts_any_type


class TestSyncError:
    CATEGORY = "Testing/Async"
    RETURN_TYPES = ("*",)
    FUNCTION = "fail"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": ("*", {})}}

    def fail(self, value):
        raise RuntimeError("Intentional sync execution error for testing")


class TestAsyncError:
    CATEGORY = "Testing/Async"
    RETURN_TYPES = ("*",)
    FUNCTION = "fail"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "value": ("*", {}),
                "error_after": ("FLOAT", {"default": 0.1, "min": 0.0, "max": 10.0}),
            }
        }

    async def fail(self, value, error_after):
        await asyncio.sleep(error_after)
        raise RuntimeError("Intentional async execution error for testing")


@accepts_any_type
class TestExecutionBlocker:
    """Hands its input on, or keeps everything after it from running."""

    CATEGORY = "Testing/Flow"
    RETURN_TYPES = ("*",)
    RETURN_NAMES = ("output",)
    FUNCTION = "pass_or_block"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "input": ("*", {}),
                "block": ("BOOLEAN", {"default": False}),
                "verbose": ("BOOLEAN", {"default": False}),
            }
        }

    def pass_or_block(self, input, block, verbose):
        if block:
            return (ExecutionBlocker("Blocked Execution" if verbose else None),)
        return (input,)


NODES = (TestSyncError, TestAsyncError, TestExecutionBlocker)
