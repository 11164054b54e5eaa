"""Constants to start from, and images mixed from others."""

import torch

SIDE = {"default": 512, "min": 1, "max": 2**30, "step": 1}
WIDTH = {"default": 512, "min": 1, "max": 2**36, "step": 1}
BATCH = {"default": 1, "min": 1, "max": 2**30, "step": 1}


class StubImage:
    """An image of ones, zeros, or noise that is fresh in each run."""

    CATEGORY = "Testing/Stub Nodes"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "make_image"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "content": (["WHITE", "BLACK", "NOISE"],),
                "height": ("INT", dict(SIDE)),
                "width": ("INT", dict(WIDTH)),
                "batch_size": ("INT", dict(BATCH)),
            }
        }

    def make_image(self, content, height, width, batch_size):
        make = {"WHITE": torch.ones, "BLACK": torch.zeros, "NOISE": torch.rand}[content]
        return (make(batch_size, height, width, 3),)


class StubMask:
    CATEGORY = "Testing/Stub Nodes"
    RETURN_TYPES = ("MASK",)
    FUNCTION = "make_mask"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "value": ("FLOAT", {"default": 0.5, "min": 0.0, "max": 1.0, "step": 0.01}),
                "height": ("INT", dict(SIDE)),
                "width": ("INT", dict(WIDTH)),
                "batch_size": ("INT", dict(BATCH)),
            }
        }

    def make_mask(self, value, height, width, batch_size):
        return (torch.full((batch_size, height, width), value),)


class StubInt:
    CATEGORY = "Testing/Stub Nodes"
    RETURN_TYPES = ("INT",)
    FUNCTION = "make_int"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": ("INT", {"default": 0, "min": -(2**32 - 1), "max": 2**32 - 1})}}

    def make_int(self, value):
        return (value,)


class TestVariadicAverage:
    """The mean of input1, input2, ... of which only the first is declared."""

    CATEGORY = "Testing/Nodes"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "average"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"input1": ("IMAGE",)}}

    def average(self, input1, **more):
        images = [input1]
        while (name := f"input{len(images) + 1}") in more:
            images.append(more[name])
        return (torch.stack(images).mean(dim=0),)


class TestLazyMixImages:
    """Mixes two images by a mask, and asks only for those that the mask lets through."""

    CATEGORY = "Testing/Nodes"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "mix"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "image1": ("IMAGE", {"lazy": True}),
                "image2": ("IMAGE", {"lazy": True}),
                "mask": ("MASK",),
            }
        }

    def check_lazy_status(self, mask, image1=None, image2=None):
        needed = []
        if image1 is None and not bool((mask == 1.0).all()):
            needed.append("image1")
        if image2 is None and not bool((mask == 0.0).all()):
            needed.append("image2")
        return needed

    def mix(self, mask, image1=None, image2=None):
        if bool((mask == 0.0).all()):
            return (image1,)
        if bool((mask == 1.0).all()):
            return (image2,)
        share = mask.unsqueeze(-1).repeat(1, 1, 1, image1.shape[-1])
        return (image1 * (1.0 - share) + image2 * share,)


class TestOutputNodeWithSocketOutput:
    """An output node that shows nothing, but hands its image on."""

    CATEGORY = "Testing/Nodes"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "scale"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "image": ("IMAGE",),
                "value": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 10.0}),
            }
        }

    def scale(self, image, value):
        return (image * value,)


NODES = (StubImage, StubMask, StubInt, TestVariadicAverage, TestLazyMixImages, TestOutputNodeWithSocketOutput)
