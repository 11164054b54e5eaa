"""Nodes that describe themselves by a schema and are async throughout, hooks and entrypoint too."""

import asyncio

from comfy_api.v0_0_2 import ComfyAPI, ComfyExtension, io, ui
from comfy_execution.graph_utils import GraphBuilder

api = ComfyAPI()
most_at_once = 0
at_once = 0


class AsyncSchemaWait(io.ComfyNode):
    """Passes a text on after some turns of the loop, at most two at once; tells how far it is."""

    _places = asyncio.Semaphore(2)

    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="AsyncSchemaWait", category="schema pack",
                         inputs=[io.String.Input("text"), io.Int.Input("turns", default=3, min=1, max=100)],
                         outputs=[io.String.Output()])

    @classmethod
    async def validate_inputs(cls, text):
        await asyncio.sleep(0)
        return text != "forbidden" or "this text must not be"

    @classmethod
    async def execute(cls, text, turns):
        global at_once, most_at_once
        async with cls._places:
            at_once += 1
            most_at_once = max(most_at_once, at_once)
            for turn in range(turns):
                await asyncio.sleep(0)
                await api.execution.set_progress(turn + 1, turns)
            at_once -= 1
        return io.NodeOutput(text)


class AsyncSchemaChoose(io.ComfyNode):
    """One of two lazy inputs, by an async check."""

    @classmethod
    def define_schema(cls):
        template = io.MatchType.Template("either", [io.String, io.Int])
        return io.Schema(node_id="AsyncSchemaChoose", category="schema pack",
                         inputs=[io.Boolean.Input("first"), io.MatchType.Input("a", template, lazy=True),
                                 io.MatchType.Input("b", template, lazy=True)],
                         outputs=[io.MatchType.Output(template)])

    @classmethod
    async def check_lazy_status(cls, first, a, b):
        await asyncio.sleep(0)
        name, value = ("a", a) if first else ("b", b)
        return [name] if value is None else []

    @classmethod
    async def execute(cls, first, a, b):
        return io.NodeOutput(a if first else b)


class AsyncSchemaSpread(io.ComfyNode):
    """Becomes several waiting nodes, whose texts are joined by a node of a pack beside this one."""

    counted = io.Custom("COUNTED")

    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="AsyncSchemaSpread", category="schema pack", enable_expand=True,
                         inputs=[io.MultiCombo.Input("texts", options=["a", "b", "c", "d"])],
                         outputs=[io.String.Output(), io.Int.Output()])

    @classmethod
    async def execute(cls, texts):
        await asyncio.sleep(0)
        graph = GraphBuilder()
        waits = [graph.node("AsyncSchemaWait", text=text, turns=4) for text in texts]
        join = graph.node("SchemaJoin", between="", **{f"texts.text{i}": one.out(0) for i, one in enumerate(waits)})
        return io.NodeOutput(join.out(0), len(texts), expand=graph.finalize())


class AsyncSchemaKeep(io.ComfyNode):
    """Fingerprinted by an async check, and blocked when its text is empty."""

    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="AsyncSchemaKeep", category="schema pack", is_output_node=True,
                         inputs=[io.String.Input("text", multiline=True)], outputs=[io.String.Output()])

    @classmethod
    async def fingerprint_inputs(cls, text):
        await asyncio.sleep(0)
        return float("nan") if text == "always" else text

    @classmethod
    async def execute(cls, text):
        if not text:
            return io.NodeOutput(block_execution="there is no text")
        return io.NodeOutput(text, ui=await asyncio.to_thread(ui.PreviewText, text))


class AsyncSchemaExtension(ComfyExtension):
    async def get_node_list(self):
        await asyncio.sleep(0)
        return [AsyncSchemaWait, AsyncSchemaChoose, AsyncSchemaSpread, AsyncSchemaKeep]


async def comfy_entrypoint():
    await asyncio.sleep(0)
    return AsyncSchemaExtension()
