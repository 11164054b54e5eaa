"""Stands where torch would: a server that is started dozens of times needs nothing of it, and it takes seconds."""

from contextlib import nullcontext


class Tensor:
    """What is asked of values: whether they are one."""


class nn:
    class Module:
        """The same."""


class cuda:
    @staticmethod
    def is_available():
        return False


def is_inference_mode_enabled():
    return True


def inference_mode(mode=True):
    return nullcontext()
