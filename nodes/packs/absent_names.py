"""Which names of the host are importable although nothing stands behind them, and what a pack should use instead.

Most are about diffusion models. One table, so that a reader sees all of it: module, what to use, its names. A name
with a capital is a class. Modules that also have names for real are files in `surface/`, and ask for `names_of`.
"""

from enum import Enum, IntEnum
from typing import Any, NamedTuple

from .not_offered import absent

MODELS = "no diffusion models run here yet; load the model in your own node, with torch, diffusers or transformers"
_SAMPLING = "no sampler runs here yet; run the sampling loop in your own node"
_FILES = ("no diffusion models run here yet; read the weights with comfy.utils.load_torch_file "
          "and build the model in your own node")
SCHEDULE = "the engine keeps results and order by itself; declare IS_CHANGED or NOT_IDEMPOTENT on the node class"


class CLIPType(Enum):
    """Kinds of text encoders, as loaders name them."""

    STABLE_DIFFUSION = 1
    STABLE_CASCADE = 2
    SD3 = 3
    STABLE_AUDIO = 4
    HUNYUAN_DIT = 5
    FLUX = 6
    MOCHI = 7
    LTXV = 8
    HUNYUAN_VIDEO = 9
    PIXART = 10
    COSMOS = 11
    LUMINA2 = 12
    WAN = 13
    HIDREAM = 14
    CHROMA = 15
    ACE = 16
    OMNIGEN2 = 17
    QWEN_IMAGE = 18
    HUNYUAN_IMAGE = 19


class ModelType(IntEnum):
    """What a diffusion model predicts."""

    EPS = 1
    V_PREDICTION = 2
    V_PREDICTION_EDM = 3
    STABLE_CASCADE = 4
    EDM = 5
    FLOW = 6
    V_PREDICTION_CONTINUOUS = 7
    FLUX = 8
    IMG_TO_IMG = 9


class AbsentModule(NamedTuple):
    """A module of the host that has nothing but names."""

    instead: str
    names: tuple[str, ...] = ()
    constants: tuple[tuple[str, Any], ...] = ()
    is_package: bool = False
    is_open: bool = False
    """Any other name, and any module below it, is there too: nobody has listed them."""


def _open(instead: str, *names: str) -> AbsentModule:
    return AbsentModule(instead, names, is_package=True, is_open=True)


ABSENT_MODULES: dict[str, AbsentModule] = {
    "comfy.sd": AbsentModule(_FILES, (
        "VAE", "CLIP", "StyleModel", "load_checkpoint", "load_checkpoint_guess_config", "load_lora_for_models",
        "load_clip", "load_text_encoder_state_dicts", "load_unet", "load_diffusion_model",
        "load_diffusion_model_state_dict", "load_state_dict_guess_config", "load_gligen", "load_style_model",
        "save_checkpoint"), constants=(("CLIPType", CLIPType),)),
    "comfy.sd1_clip": AbsentModule(MODELS, (
        "SD1ClipModel", "SDClipModel", "SD1Tokenizer", "SDTokenizer", "ClipTokenWeightEncoder", "token_weights",
        "escape_important", "unescape_important")),
    "comfy.sdxl_clip": AbsentModule(MODELS, ("SDXLClipModel", "SDXLTokenizer", "SDXLClipG", "SDXLRefinerClipModel")),
    "comfy.sampler_helpers": AbsentModule(_SAMPLING, (
        "prepare_sampling", "cleanup_models", "cleanup_additional_models", "convert_cond", "get_additional_models",
        "get_models_from_cond", "prepare_mask")),
    "comfy.lora": AbsentModule(_FILES, ("load_lora", "model_lora_keys_unet", "model_lora_keys_clip",
                                        "calculate_weight")),
    "comfy.controlnet": AbsentModule(_FILES, ("ControlBase", "ControlNet", "ControlLora", "T2IAdapter",
                                              "load_controlnet", "load_t2i_adapter")),
    "comfy.clip_vision": AbsentModule(_FILES, ("ClipVisionModel", "Output", "clip_preprocess", "load",
                                               "load_clipvision_from_sd")),
    "comfy.model_patcher": AbsentModule(MODELS, ("ModelPatcher", "set_model_options_patch_replace",
                                                  "create_model_options_clone")),
    "comfy.model_base": AbsentModule(MODELS, (
        "BaseModel", "SDXL", "SDXLRefiner", "SD3", "Flux", "SVD_img2vid", "SD15_instructpix2pix", "SD21UNCLIP",
        "model_sampling"), constants=(("ModelType", ModelType),)),
    "comfy.model_sampling": AbsentModule(_SAMPLING, (
        "EPS", "V_PREDICTION", "EDM", "CONST", "X0", "ModelSamplingDiscrete", "ModelSamplingContinuousEDM",
        "ModelSamplingContinuousV", "ModelSamplingDiscreteFlow", "ModelSamplingFlux", "StableCascadeSampling")),
    "comfy.model_detection": AbsentModule(_FILES, (
        "detect_unet_config", "model_config_from_unet", "model_config_from_unet_config",
        "convert_diffusers_mmdit", "unet_prefix_from_state_dict")),
    "comfy.supported_models": AbsentModule(MODELS, (
        "SD15", "SD20", "SDXL", "SDXLRefiner", "SD3", "Flux"), constants=(("models", []),)),
    "comfy.supported_models_base": AbsentModule(MODELS, ("BASE", "ClipTarget")),
    "comfy.conds": AbsentModule(_SAMPLING, ("CONDRegular", "CONDNoiseShape", "CONDCrossAttn", "CONDConstant",
                                            "CONDList")),
    "comfy.ops": AbsentModule("no layers of models are offered yet; use those of torch.nn", (
        "CastWeightBiasOp", "disable_weight_init", "manual_cast", "fp8_ops", "cast_bias_weight", "cast_to",
        "cast_to_input", "pick_operations")),
    "comfy.quant_ops": AbsentModule(MODELS, ("QuantizedTensor", "QuantizedLayout")),
    "comfy.patcher_extension": AbsentModule(_SAMPLING, (
        "CallbacksMP", "WrappersMP", "WrapperExecutor", "PatcherInjection", "add_callback", "add_wrapper",
        "add_wrapper_with_key", "add_callback_with_key", "get_all_callbacks", "get_all_wrappers",
        "copy_nested_dicts", "merge_nested_dicts")),
    "comfy.hooks": AbsentModule(_SAMPLING, (
        "Hook", "HookGroup", "HookKeyframe", "HookKeyframeGroup", "WeightHook", "create_hook_lora",
        "set_hooks_for_conditioning")),
    "comfy.taesd": AbsentModule(MODELS, is_package=True),
    "comfy.taesd.taesd": AbsentModule(MODELS, ("TAESD",)),
    "comfy.cldm": _open(MODELS),
    "comfy.cldm.cldm": AbsentModule(MODELS, ("ControlNet",)),
    "comfy.k_diffusion": _open(_SAMPLING),
    "comfy.k_diffusion.sampling": _open(_SAMPLING, "sample_euler", "sample_euler_ancestral", "get_sigmas_karras",
                                        "get_sigmas_exponential", "get_sigmas_vp", "BrownianTreeNoiseSampler",
                                        "to_d", "get_ancestral_step", "default_noise_sampler"),
    "comfy.ldm": _open(MODELS),
    "comfy.ldm.modules": _open(MODELS),
    "comfy.ldm.modules.attention": _open(MODELS, "optimized_attention", "optimized_attention_masked",
                                         "attention_basic", "attention_pytorch", "CrossAttention",
                                         "BasicTransformerBlock", "SpatialTransformer"),
    "comfy.text_encoders": _open(MODELS),
    "comfy_execution.caching": AbsentModule(SCHEDULE, (
        "BasicCache", "HierarchicalCache", "LRUCache", "DependencyAwareCache", "NullCache", "CacheKeySet",
        "CacheKeySetID", "CacheKeySetInputSignature", "include_unique_id_in_input")),
    "comfy_extras.chainner_models": AbsentModule("use the library spandrel", is_package=True),
    "comfy_extras.chainner_models.model_loading": AbsentModule("use the library spandrel", ("load_state_dict",)),
    "comfy_extras.nodes_upscale_model": AbsentModule("use the library spandrel in your own node", (
        "UpscaleModelLoader", "ImageUpscaleWithModel")),
    "comfy_extras.nodes_custom_sampler": AbsentModule(_SAMPLING, (
        "Noise_RandomNoise", "Noise_EmptyNoise", "RandomNoise", "DisableNoise", "SamplerCustom",
        "SamplerCustomAdvanced", "BasicGuider", "CFGGuider", "Guider_Basic", "BasicScheduler", "KSamplerSelect",
        "SplitSigmas", "FlipSigmas")),
    "comfy_extras.nodes_clip_sdxl": AbsentModule(MODELS, ("CLIPTextEncodeSDXL", "CLIPTextEncodeSDXLRefiner")),
    "comfy_extras.nodes_differential_diffusion": AbsentModule(MODELS, ("DifferentialDiffusion",)),
}
"""By module. Every package above a module that is listed is listed too, or is a folder of `surface/`."""

ABSENT_BESIDE: dict[str, AbsentModule] = {
    "comfy.utils": AbsentModule(_FILES, (
        "unet_to_diffusers", "mmdit_to_diffusers", "flux_to_diffusers", "pixart_to_diffusers", "z_image_to_diffusers",
        "auraflow_to_diffusers")),
    "comfy.samplers": AbsentModule(_SAMPLING, (
        "CFGGuider", "KSAMPLER", "Sampler", "sampler_object", "ksampler", "calc_cond_batch", "calculate_sigmas",
        "sample", "sampling_function", "cfg_function")),
    "comfy.sample": AbsentModule(_SAMPLING, ("sample", "sample_custom", "fix_empty_latent_channels",
                                             "prepare_sampling", "cleanup_additional_models")),
    "comfy_extras.nodes_latent": AbsentModule("use torch on the tensor `samples` of the latent", (
        "LatentAdd", "LatentSubtract", "LatentMultiply", "LatentInterpolate", "LatentConcat", "LatentCut",
        "LatentBatchSeedBehavior", "LatentApplyOperation")),
    "execution": AbsentModule("the engine calls nodes by itself; to run a prompt, put it into the prompt queue", (
        "execute", "get_output_data", "get_output_from_returns")),
    "latent_preview": AbsentModule(MODELS, ("TAESDPreviewerImpl",)),
    "app.user_manager": AbsentModule("use the routes below /userdata and /settings", ("UserManager",)),
    "app.frontend_management": AbsentModule("start the server with --front-end or --front-end-root", (
        "FrontendManager", "FrontEndProvider", "Release")),
}
"""Names like these in modules that are files of `surface/`, or our own."""


def names_of(module: str) -> dict[str, Any]:
    """The absent names of a module, and its constants: to be put into its namespace."""
    about = ABSENT_MODULES.get(module) or ABSENT_BESIDE[module]
    return {**{name: absent(f"{module}.{name}", about.instead) for name in about.names}, **dict(about.constants)}


def open_package_of(module: str) -> AbsentModule | None:
    """The entry that an unlisted module falls under, since any module below is there; None if there is none."""
    parent = module
    while parent := parent.rpartition(".")[0]:
        about = ABSENT_MODULES.get(parent)
        if about is not None and about.is_open:
            return about
    return None
