"""A pack with a cache of its own, and nodes that count their calls."""

from comfy_api.latest import Caching, ComfyAPI, ComfyExtension, io

CALLS = []
"""Texts that were made, one for each call."""


class CachingText(io.ComfyNode):
    """A text, longer by a mark for each node on the way."""

    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="CachingText", category="caching pack", inputs=[io.String.Input("text")],
                         outputs=[io.String.Output()])

    @classmethod
    async def execute(cls, text):
        CALLS.append(text)
        return io.NodeOutput(text + "!")


class CachingShow(io.ComfyNode):
    """Shows a text."""

    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="CachingShow", category="caching pack", is_output_node=True,
                         inputs=[io.String.Input("text"), io.Int.Input("salt", default=0)], outputs=[])

    @classmethod
    async def execute(cls, text, salt):
        return io.NodeOutput(ui={"text": [text]})


class CachingBlock(io.ComfyNode):
    """Gives out a blocker."""

    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="CachingBlock", category="caching pack", inputs=[], outputs=[io.String.Output()])

    @classmethod
    async def execute(cls):
        return io.NodeOutput(block_execution="not now")


class KeepingCache(Caching.CacheProvider):
    """Keeps all in a dict, and notes what it is asked."""

    def __init__(self):
        self.kept = {}
        self.seen = []

    def should_cache(self, context, value=None):
        self.seen.append(("should_cache", context.node_id, value is not None))
        return True

    def on_prompt_start(self, prompt_id):
        self.seen.append(("on_prompt_start", prompt_id))

    def on_prompt_end(self, prompt_id):
        self.seen.append(("on_prompt_end", prompt_id))

    async def on_lookup(self, context):
        self.seen.append(("on_lookup", context.node_id, context.class_type))
        return self.kept.get(context.cache_key_hash)

    async def on_store(self, context, value):
        self.seen.append(("on_store", context.node_id, context.class_type))
        self.kept[context.cache_key_hash] = value


CACHE = KeepingCache()


class CachingExtension(ComfyExtension):
    async def on_load(self):
        await ComfyAPI().caching.register_provider(CACHE)

    async def get_node_list(self):
        return [CachingText, CachingShow, CachingBlock]


async def comfy_entrypoint():
    return CachingExtension()
