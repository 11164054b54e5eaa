"""Plain nodes that describe themselves by a schema, in the style in which packs of 2026 are written."""

from comfy_api.latest import ComfyAPI, ComfyAPISync, ComfyExtension, io, ui
from comfy_execution.graph_utils import GraphBuilder

api = ComfyAPISync()
loads = []
checks = []
"""What the change check of SchemaStamp was asked for."""
stamps = {}


class SchemaJoin(io.ComfyNode):
    """As many texts as there are, with a check that looks at all of them together."""

    @classmethod
    def define_schema(cls):
        texts = io.Autogrow.TemplatePrefix(io.String.Input("text"), prefix="text", min=2, max=5)
        return io.Schema(
            node_id="SchemaJoin", display_name="Join Texts", category="schema pack",
            inputs=[io.Autogrow.Input("texts", template=texts), io.String.Input("between", default=", ")],
            outputs=[io.String.Output(display_name="joined"), io.Int.Output(display_name="count")])

    @classmethod
    def validate_inputs(cls, texts):
        if "forbidden" in texts.values():
            return "there is a text that must not be"
        return True

    @classmethod
    def execute(cls, texts, between):
        return io.NodeOutput(between.join(texts.values()), len(texts))


class SchemaPicture(io.ComfyNode):
    """A choice that brings inputs of its own, and a preview with the workflow in it."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SchemaPicture", category="schema pack", is_output_node=True,
            inputs=[
                io.DynamicCombo.Input("form", options=[
                    io.DynamicCombo.Option("square", [io.Int.Input("side", default=8, min=1, max=64)]),
                    io.DynamicCombo.Option("oblong", [io.Int.Input("width", min=1), io.Int.Input("height", min=1)])]),
                io.DynamicSlot.Input(io.Mask.Input("mask"), [io.Float.Input("strength", default=1.0)])],
            outputs=[io.Image.Output()])

    @classmethod
    def execute(cls, form, mask=None):
        import torch

        width, height = (form["side"],) * 2 if form["form"] == "square" else (form["width"], form["height"])
        image = torch.full((1, height, width, 3), 0.5)
        if mask is not None:
            image = image * (1.0 - mask["mask"].unsqueeze(-1) * mask["strength"])
        return io.NodeOutput(image, ui=ui.PreviewImage(image, cls=cls))


class SchemaHalf(io.ComfyNode):
    """A mask, half of it 1."""

    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="SchemaHalf", category="schema pack", inputs=[io.Int.Input("side", min=2)],
                         outputs=[io.Mask.Output()])

    @classmethod
    def execute(cls, side):
        import torch

        mask = torch.zeros((1, side, side))
        mask[:, : side // 2] = 1.0
        return io.NodeOutput(mask)


class SchemaRepeat(io.ComfyNode):
    """Becomes a chain of nodes."""

    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="SchemaRepeat", category="schema pack", enable_expand=True,
                         inputs=[io.String.Input("text"), io.Int.Input("times", min=1, max=20)],
                         outputs=[io.String.Output()])

    @classmethod
    def execute(cls, text, times):
        graph = GraphBuilder()
        last = text
        for index in range(times):
            api.execution.set_progress(index + 1, times)
            last = graph.node("SchemaJoin", **{"texts.text0": last, "texts.text1": text, "between": "-"}).out(0)
        return io.NodeOutput(last, expand=graph.finalize())


class SchemaPick(io.ComfyNode):
    """Of many lazy texts only the one that is picked."""

    @classmethod
    def define_schema(cls):
        texts = io.Autogrow.TemplatePrefix(io.String.Input("text", lazy=True), prefix="text", min=1, max=10)
        return io.Schema(node_id="SchemaPick", category="schema pack",
                         inputs=[io.Autogrow.Input("texts", template=texts), io.Int.Input("index", min=0)],
                         outputs=[io.String.Output()])

    @classmethod
    def check_lazy_status(cls, texts, index):
        value, name = texts[f"text{index}"]
        return [name] if value is None else []

    @classmethod
    def execute(cls, texts, index):
        return io.NodeOutput(texts[f"text{index}"])


class SchemaStamp(io.ComfyNode):
    """Runs again when its stamp has changed."""

    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="SchemaStamp", category="schema pack", inputs=[io.String.Input("name")],
                         outputs=[io.String.Output()])

    @classmethod
    def fingerprint_inputs(cls, name):
        checks.append(name)
        return stamps.get(name)

    @classmethod
    def execute(cls, name):
        return io.NodeOutput(f"{name}: {stamps.get(name)}")


class SchemaShow(io.ComfyNode):
    """Shows a text, or the type of anything else."""

    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="SchemaShow", category="schema pack", is_output_node=True,
                         inputs=[io.AnyType.Input("value")], hidden=[io.Hidden.unique_id])

    @classmethod
    def execute(cls, value):
        text = value if isinstance(value, str) else type(value).__name__
        return io.NodeOutput(ui=ui.PreviewText(f"{cls.hidden.unique_id}: {text}"))


class SchemaExtension(ComfyExtension):
    async def on_load(self):
        loads.append(type(self).__name__)
        await ComfyAPI().node_replacement.register(io.NodeReplace(
            new_node_id="SchemaJoin", old_node_id="OldJoin", output_mapping=[{"old_idx": 1, "new_idx": 0}],
            input_mapping=[{"new_id": "texts.text0", "old_id": "first"}, {"new_id": "texts.text1", "old_id": "second"},
                           {"new_id": "between", "set_value": "+"}]))

    async def get_node_list(self):
        return [SchemaJoin, SchemaPicture, SchemaHalf, SchemaRepeat, SchemaPick, SchemaStamp, SchemaShow]


def comfy_entrypoint():
    return SchemaExtension()
