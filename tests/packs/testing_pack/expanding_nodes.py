"""Nodes that replace themselves by a graph."""

from comfy_execution.graph_utils import GraphBuilder


class TestParallelSleep:
    """Three sleeps side by side and their average; an output node of its own."""

    CATEGORY = "Testing/Async"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "expand"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        seconds = {"default": 0.5, "min": 0.0, "max": 10.0, "step": 0.01}
        images = {f"image{number}": ("IMAGE",) for number in (1, 2, 3)}
        sleeps = {f"sleep{number}": ("FLOAT", dict(seconds)) for number in (1, 2, 3)}
        return {"required": {**images, **sleeps}, "hidden": {"unique_id": "UNIQUE_ID"}}

    def expand(self, image1, image2, image3, sleep1, sleep2, sleep3, unique_id):
        graph = GraphBuilder()
        waits = ((image1, sleep1), (image2, sleep2), (image3, sleep3))
        sleepers = [graph.node("TestSleep", value=image, seconds=seconds) for image, seconds in waits]
        return {"result": (average_of(graph, sleepers),), "expand": graph.finalize()}


class TestDynamicAsyncGeneration:
    """As many sleeps as asked for, of the two images in turn, and their average."""

    CATEGORY = "Testing/Async"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "expand"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "image1": ("IMAGE",),
                "image2": ("IMAGE",),
                "num_async_nodes": ("INT", {"default": 3, "min": 1, "max": 10}),
                "sleep_duration": ("FLOAT", {"default": 0.2, "min": 0.1, "max": 1.0}),
            }
        }

    def expand(self, image1, image2, num_async_nodes, sleep_duration):
        graph = GraphBuilder()
        images = [image1 if number % 2 else image2 for number in range(1, num_async_nodes + 1)]
        sleepers = [graph.node("TestSleep", value=image, seconds=sleep_duration) for image in images]
        result = sleepers[0].out(0) if len(sleepers) == 1 else average_of(graph, sleepers)
        return {"result": (result,), "expand": graph.finalize()}


def average_of(graph, sources):
    inputs = {f"input{number}": source.out(0) for number, source in enumerate(sources, start=1)}
    return graph.node("TestVariadicAverage", **inputs).out(0)


class TestDynamicDependencyCycle:
    """Two lazy mixes that want each other: a cycle that shows only while they run."""

    CATEGORY = "Testing/Nodes"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "expand"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"input1": ("IMAGE",), "input2": ("IMAGE",)}}

    def expand(self, input1, input2):
        graph = GraphBuilder()
        mask = graph.node("StubMask", value=0.5, height=512, width=512, batch_size=1)
        first = graph.node("TestLazyMixImages", image1=input1, mask=mask.out(0))
        second = graph.node("TestLazyMixImages", image1=first.out(0), image2=input2, mask=mask.out(0))
        first.set_input("image2", second.out(0))
        return {"result": (second.out(0),), "expand": graph.finalize()}


class ProtoExpand:
    """An expansion with a child that shows something, and perhaps one that fails."""

    CATEGORY = "proto"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "expand"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "fail": ("BOOLEAN", {"default": False})}}

    def expand(self, image, fail):
        graph = GraphBuilder()
        result = graph.node("ImageInvert", image=image).out(0)
        graph.node("PreviewImage", images=result)
        if fail:
            result = graph.node("TestSyncError", value=result).out(0)
        return {"result": (result,), "expand": graph.finalize()}


NODES = (TestParallelSleep, TestDynamicAsyncGeneration, TestDynamicDependencyCycle, ProtoExpand)
