"""List outputs, UI data of every kind, and a node with every kind of widget."""

import torch


class ProtoList:
    CATEGORY = "proto"
    RETURN_TYPES = ("INT",)
    OUTPUT_IS_LIST = (True,)
    FUNCTION = "count"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"n": ("INT", {"default": 3, "min": 0, "max": 1000})}}

    def count(self, n):
        return (list(range(n)),)


class ProtoBatchUi:
    """Called once for each item; what the calls show is joined."""

    CATEGORY = "proto"
    RETURN_TYPES = ()
    FUNCTION = "show"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"v": ("INT", {"default": 0})}}

    def show(self, v):
        return {"ui": {"v": [v]}}


class ProtoUiResult:
    CATEGORY = "proto"
    RETURN_TYPES = ("INT",)
    FUNCTION = "show"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"n": ("INT", {"default": 0})}}

    def show(self, n):
        return {"ui": {"num": (n,)}, "result": (n,)}


class ProtoImg2:
    """Sends an event of its own, then shows an empty list."""

    CATEGORY = "proto"
    RETURN_TYPES = ()
    FUNCTION = "show"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"n": ("INT", {"default": 0})}, "hidden": {"unique_id": "UNIQUE_ID"}}

    def show(self, n, unique_id):
        from server import PromptServer

        PromptServer.instance.send_sync("proto.custom", {"node": unique_id, "n": n})
        return {"ui": {"images": []}}


class ProtoUnserial:
    """Shows numbers that JSON does not have."""

    CATEGORY = "proto"
    RETURN_TYPES = ()
    FUNCTION = "show"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"n": ("INT", {"default": 0})}}

    def show(self, n):
        return {"ui": {"x": [float("nan"), float("inf")]}}


class ProtoTypes:
    """Every kind of widget; only its definition matters."""

    CATEGORY = "proto"
    DESCRIPTION = "Every widget kind."
    RETURN_TYPES = ("IMAGE", "INT")
    RETURN_NAMES = ("pic", "num")
    OUTPUT_IS_LIST = (False, True)
    OUTPUT_TOOLTIPS = ("picture", "numbers")
    FUNCTION = "make"
    OUTPUT_NODE = True
    DEPRECATED = True
    EXPERIMENTAL = True

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "i": ("INT", {"default": 1, "min": 0, "max": 10, "step": 1, "tooltip": "an int"}),
                "f": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 2.0, "step": 0.1, "round": 0.01}),
                "s": ("STRING", {"default": "a"}),
                "b": ("BOOLEAN", {"default": True}),
                "c": (["x", "y"], {"default": "y"}),
                "cc": ("COMBO", {"options": ["p", "q"]}),
                "big": ([f"m{number}" for number in range(30)],),
            },
            "optional": {"image": ("IMAGE", {"lazy": True}), "li": ("STRING", {"forceInput": True})},
            "hidden": {"p": "PROMPT", "u": "UNIQUE_ID", "e": "EXTRA_PNGINFO"},
        }

    def make(self, i, **inputs):
        return (torch.zeros(1, 8, 8, 3), list(range(i)))


NODES = (ProtoList, ProtoBatchUi, ProtoUiResult, ProtoImg2, ProtoUnserial, ProtoTypes)
