"""Nodes with validators of their own: of all inputs, async, raising, refusing without a word."""

import asyncio

import torch


def filled_image(value):
    return (torch.full((1, 512, 512, 3), float(value)),)


class TestCustomValidation5:
    """Its validator takes everything, so the declared limits are not checked."""

    CATEGORY = "Testing/Nodes"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "multiply"

    @classmethod
    def INPUT_TYPES(cls):
        limits = {"min": 0.0, "max": 1.0}
        return {"required": {"input1": ("FLOAT", dict(limits)), "input2": ("FLOAT", dict(limits))}}

    @classmethod
    def VALIDATE_INPUTS(cls, **inputs):
        if inputs.get("input2") == 7.0:
            return "input2 must not be 7"
        return True

    def multiply(self, input1, input2):
        return filled_image(input1 * input2)


class TestAsyncValidation:
    CATEGORY = "Testing/Async"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "fill"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": ("FLOAT", {"default": 5.0}), "threshold": ("FLOAT", {"default": 10.0})}}

    @classmethod
    async def VALIDATE_INPUTS(cls, value, threshold):
        await asyncio.sleep(0.05)
        if value > threshold:
            return f"Value {value} exceeds threshold {threshold}"
        return True

    def fill(self, value, threshold):
        return filled_image(value / 10.0)


class ProtoValRaise:
    """Its validator raises."""

    CATEGORY = "proto"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "fill"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"x": ("INT", {"default": 0})}}

    @classmethod
    def VALIDATE_INPUTS(cls, x):
        raise ValueError("validator blew up")

    def fill(self, x):
        return filled_image(x)


class ProtoValRaiseOut(ProtoValRaise):
    """The same as an output node."""

    OUTPUT_NODE = True


class ProtoValFalse:
    """Its validator refuses without a word."""

    CATEGORY = "proto"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "fill"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"x": ("INT", {"default": 0})}}

    @classmethod
    def VALIDATE_INPUTS(cls, x):
        return False

    def fill(self, x):
        return filled_image(x)


NODES = (TestCustomValidation5, TestAsyncValidation, ProtoValRaise, ProtoValRaiseOut, ProtoValFalse)
