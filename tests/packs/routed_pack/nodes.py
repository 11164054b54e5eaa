"""The nodes of the pack, in a module of their own, as most packs have it."""


class Greet:
    RETURN_TYPES = ("STRING",)
    FUNCTION = "greet"
    CATEGORY = "routed"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"name": ("STRING", {"default": "you"})}}

    def greet(self, name):
        return {"ui": {"text": [f"hello {name}"]}, "result": (f"hello {name}",)}


NODE_CLASS_MAPPINGS = {"Greet": Greet}
NODE_DISPLAY_NAME_MAPPINGS = {"Greet": "Greet Somebody"}
