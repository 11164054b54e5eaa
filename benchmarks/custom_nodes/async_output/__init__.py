"""An output node that is `async def`, so that a prompt can be measured in which no node needs a thread."""


class BenchShowAsync:
    CATEGORY = "benchmark"
    FUNCTION = "run"
    RETURN_TYPES = ("INT",)
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value_0": ("INT", {"default": 0, "min": -(2**53), "max": 2**53})}}

    async def run(self, value_0):
        return {"ui": {"value": [value_0]}, "result": (value_0,)}


NODE_CLASS_MAPPINGS = {"BenchShowAsync": BenchShowAsync}
