"""Compiling models, which needs models."""

from nodes.packs.not_offered import absent_function

set_torch_compile_wrapper = absent_function("comfy_api.torch_helpers.set_torch_compile_wrapper",
                                            "compile the module that your node holds with torch.compile")

__all__ = ["set_torch_compile_wrapper"]
