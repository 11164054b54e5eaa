"""Node classes about diffusion models that packs import from `nodes`: to be named, subclassed and asked for inputs.

Those that only rearrange conditioning do it. CONDITIONING is a list of [tensor [B,tokens,features], options].
None of these is a node of this server: prompts cannot use them.
"""

from collections.abc import Callable
from typing import Any

from . import model_folders
from .absent_names import MODELS
from .not_offered import NotOffered, absent_function
from .sampler_lists import SAMPLERS, SCHEDULERS

Conditioning = list[list[Any]]

STRENGTH = {"default": 1.0, "min": -100.0, "max": 100.0, "step": 0.01}
SHARE = {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01}
SEED = {"default": 0, "min": 0, "max": 2**64 - 1, "control_after_generate": True}
CFG = {"default": 8.0, "min": 0.0, "max": 100.0, "step": 0.1, "round": 0.01}
STEPS = {"default": 20, "min": 1, "max": 10000}


def _files(category: str) -> Callable[[], Any]:
    return lambda: (model_folders.list_files(category) if category in model_folders.categories else [],)


class _Lists:
    """Inputs whose choices are read when they are asked for."""

    checkpoints, loras, vaes = _files("checkpoints"), _files("loras"), _files("vae")
    controlnets, clip_visions, models = _files("controlnet"), _files("clip_vision"), _files("diffusion_models")


def _absent_node(name: str, function: str, returns: tuple[str, ...], category: str, **inputs: Any) -> type:
    """A node class whose function raises NotOffered.

    :param inputs: by name: a declaration, or what gives one.
    """
    def INPUT_TYPES(cls: Any) -> dict[str, Any]:
        return {"required": {key: one() if callable(one) else one for key, one in inputs.items()}}

    def refuse(self: Any, *_: Any, **__: Any) -> None:
        raise NotOffered(f"nodes.{name}", MODELS)

    return type(name, (), {
        "__module__": "nodes", "__doc__": f"Not offered: {MODELS}.", "RETURN_TYPES": returns, "FUNCTION": function,
        "CATEGORY": category, "INPUT_TYPES": classmethod(INPUT_TYPES), function: refuse})


_SAMPLING = {"sampler_name": (SAMPLERS,), "scheduler": (SCHEDULERS,), "positive": ("CONDITIONING",),
             "negative": ("CONDITIONING",), "latent_image": ("LATENT",)}
_CONTROL = {"positive": ("CONDITIONING",), "negative": ("CONDITIONING",), "control_net": ("CONTROL_NET",),
            "image": ("IMAGE",), "strength": ("FLOAT", {**SHARE, "max": 10.0}),
            "start_percent": ("FLOAT", {**SHARE, "default": 0.0, "step": 0.001}),
            "end_percent": ("FLOAT", {**SHARE, "step": 0.001})}
_TILES = {"tile_size": ("INT", {"default": 512, "min": 64, "max": 4096, "step": 32})}

ABSENT_NODES: dict[str, type] = {one.__name__: one for one in (
    _absent_node("CLIPTextEncode", "encode", ("CONDITIONING",), "conditioning",
                 text=("STRING", {"multiline": True, "dynamicPrompts": True}), clip=("CLIP",)),
    _absent_node("CheckpointLoaderSimple", "load_checkpoint", ("MODEL", "CLIP", "VAE"), "loaders",
                 ckpt_name=_Lists.checkpoints),
    _absent_node("unCLIPCheckpointLoader", "load_checkpoint", ("MODEL", "CLIP", "VAE", "CLIP_VISION"), "loaders",
                 ckpt_name=_Lists.checkpoints),
    _absent_node("LoraLoader", "load_lora", ("MODEL", "CLIP"), "loaders", model=("MODEL",), clip=("CLIP",),
                 lora_name=_Lists.loras, strength_model=("FLOAT", STRENGTH), strength_clip=("FLOAT", STRENGTH)),
    _absent_node("LoraLoaderModelOnly", "load_lora_model_only", ("MODEL",), "loaders", model=("MODEL",),
                 lora_name=_Lists.loras, strength_model=("FLOAT", STRENGTH)),
    _absent_node("VAELoader", "load_vae", ("VAE",), "loaders", vae_name=_Lists.vaes),
    _absent_node("VAEEncode", "encode", ("LATENT",), "latent", pixels=("IMAGE",), vae=("VAE",)),
    _absent_node("VAEEncodeForInpaint", "encode", ("LATENT",), "latent/inpaint", pixels=("IMAGE",), vae=("VAE",),
                 mask=("MASK",), grow_mask_by=("INT", {"default": 6, "min": 0, "max": 64, "step": 1})),
    _absent_node("VAEDecode", "decode", ("IMAGE",), "latent", samples=("LATENT",), vae=("VAE",)),
    _absent_node("VAEDecodeTiled", "decode", ("IMAGE",), "_for_testing", samples=("LATENT",), vae=("VAE",), **_TILES),
    _absent_node("VAEEncodeTiled", "encode", ("LATENT",), "_for_testing", pixels=("IMAGE",), vae=("VAE",), **_TILES),
    _absent_node("ControlNetLoader", "load_controlnet", ("CONTROL_NET",), "loaders",
                 control_net_name=_Lists.controlnets),
    _absent_node("ControlNetApply", "apply_controlnet", ("CONDITIONING",), "conditioning/controlnet",
                 conditioning=("CONDITIONING",), control_net=("CONTROL_NET",), image=("IMAGE",),
                 strength=("FLOAT", {**SHARE, "max": 10.0})),
    _absent_node("ControlNetApplyAdvanced", "apply_controlnet", ("CONDITIONING", "CONDITIONING"),
                 "conditioning/controlnet", **_CONTROL),
    _absent_node("CLIPSetLastLayer", "set_last_layer", ("CLIP",), "conditioning", clip=("CLIP",),
                 stop_at_clip_layer=("INT", {"default": -1, "min": -24, "max": -1, "step": 1})),
    _absent_node("CLIPVisionLoader", "load_clip", ("CLIP_VISION",), "loaders", clip_name=_Lists.clip_visions),
    _absent_node("UNETLoader", "load_unet", ("MODEL",), "advanced/loaders", unet_name=_Lists.models,
                 weight_dtype=(["default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"],)),
    _absent_node("InpaintModelConditioning", "encode", ("CONDITIONING", "CONDITIONING", "LATENT"),
                 "conditioning/inpaint", positive=("CONDITIONING",), negative=("CONDITIONING",), vae=("VAE",),
                 pixels=("IMAGE",), mask=("MASK",), noise_mask=("BOOLEAN", {"default": True})),
    _absent_node("KSampler", "sample", ("LATENT",), "sampling", model=("MODEL",), seed=("INT", SEED),
                 steps=("INT", STEPS), cfg=("FLOAT", CFG), **_SAMPLING, denoise=("FLOAT", SHARE)),
    _absent_node("KSamplerAdvanced", "sample", ("LATENT",), "sampling", model=("MODEL",),
                 add_noise=(["enable", "disable"],), noise_seed=("INT", SEED), steps=("INT", STEPS),
                 cfg=("FLOAT", CFG), **_SAMPLING, start_at_step=("INT", {"default": 0, "min": 0, "max": 10000}),
                 end_at_step=("INT", {"default": 10000, "min": 0, "max": 10000}),
                 return_with_leftover_noise=(["disable", "enable"],)),
)}

common_ksampler = absent_function("nodes.common_ksampler", "no sampler runs here yet; run the loop in your own node")


# --- conditioning ------------------------------------------------------------------------------------------


class _OfConditioning:
    RETURN_TYPES: tuple[str, ...] = ("CONDITIONING",)
    CATEGORY = "conditioning"


class ConditioningCombine(_OfConditioning):
    """Both, each by itself."""

    FUNCTION = "combine"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"conditioning_1": ("CONDITIONING",), "conditioning_2": ("CONDITIONING",)}}

    def combine(self, conditioning_1: Conditioning, conditioning_2: Conditioning) -> tuple[Conditioning]:
        return (conditioning_1 + conditioning_2,)


class ConditioningConcat(_OfConditioning):
    """The tokens of the second behind those of each of the first."""

    FUNCTION = "concat"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"conditioning_to": ("CONDITIONING",), "conditioning_from": ("CONDITIONING",)}}

    def concat(self, conditioning_to: Conditioning, conditioning_from: Conditioning) -> tuple[Conditioning]:
        import torch

        tail = conditioning_from[0][0]
        return ([[torch.cat((tensor, tail), dim=1), dict(options)] for tensor, options in conditioning_to],)


class ConditioningAverage(_OfConditioning):
    """Each of the first mixed with the second, whose tokens are cut or filled with zeros to their number."""

    FUNCTION = "addWeighted"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"conditioning_to": ("CONDITIONING",), "conditioning_from": ("CONDITIONING",),
                             "conditioning_to_strength": ("FLOAT", SHARE)}}

    def addWeighted(self, conditioning_to: Conditioning, conditioning_from: Conditioning,
                    conditioning_to_strength: float) -> tuple[Conditioning]:
        weight = conditioning_to_strength
        other, other_options = conditioning_from[0]
        mixed = []
        for tensor, options in conditioning_to:
            entry = dict(options)
            pooled, other_pooled = options.get("pooled_output"), other_options.get("pooled_output")
            if pooled is not None and other_pooled is not None:
                entry["pooled_output"] = weight * pooled + (1 - weight) * other_pooled
            elif other_pooled is not None:
                entry["pooled_output"] = other_pooled
            mixed.append([weight * tensor + (1 - weight) * _with_tokens(other, tensor.shape[1]), entry])
        return (mixed,)


def _with_tokens(tensor: Any, count: int) -> Any:
    import torch

    missing = count - tensor.shape[1]
    if missing <= 0:
        return tensor[:, :count]
    return torch.cat((tensor, tensor.new_zeros(tensor.shape[0], missing, *tensor.shape[2:])), dim=1)


class ConditioningZeroOut(_OfConditioning):
    """Zeros instead of all that it says."""

    FUNCTION = "zero_out"
    CATEGORY = "advanced/conditioning"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"conditioning": ("CONDITIONING",)}}

    def zero_out(self, conditioning: Conditioning) -> tuple[Conditioning]:
        import torch

        emptied = []
        for tensor, options in conditioning:
            entry = dict(options)
            if entry.get("pooled_output") is not None:
                entry["pooled_output"] = torch.zeros_like(entry["pooled_output"])
            emptied.append([torch.zeros_like(tensor), entry])
        return (emptied,)


class ConditioningSetMask(_OfConditioning):
    """Conditioning that counts where a mask [B,H,W] or [H,W] is 1."""

    FUNCTION = "append"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"conditioning": ("CONDITIONING",), "mask": ("MASK",),
                             "strength": ("FLOAT", {**SHARE, "max": 10.0}),
                             "set_cond_area": (["default", "mask bounds"],)}}

    def append(self, conditioning: Conditioning, mask: Any, set_cond_area: str,
               strength: float) -> tuple[Conditioning]:
        said = {"mask": mask if mask.dim() > 2 else mask.unsqueeze(0), "mask_strength": strength,
                "set_area_to_bounds": set_cond_area != "default"}
        return ([[tensor, {**options, **said}] for tensor, options in conditioning],)


class ConditioningSetTimestepRange(_OfConditioning):
    """Conditioning that counts between two shares of the steps."""

    FUNCTION = "set_range"
    CATEGORY = "advanced/conditioning"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        share = {**SHARE, "step": 0.001}
        return {"required": {"conditioning": ("CONDITIONING",), "start": ("FLOAT", {**share, "default": 0.0}),
                             "end": ("FLOAT", share)}}

    def set_range(self, conditioning: Conditioning, start: float, end: float) -> tuple[Conditioning]:
        said = {"start_percent": start, "end_percent": end}
        return ([[tensor, {**options, **said}] for tensor, options in conditioning],)


NAMES: dict[str, Any] = {
    **ABSENT_NODES, "common_ksampler": common_ksampler,
    **{one.__name__: one for one in (ConditioningCombine, ConditioningConcat, ConditioningAverage,
                                     ConditioningZeroOut, ConditioningSetMask, ConditioningSetTimestepRange)}}
"""What packs find in `nodes` beside the nodes of this server."""
