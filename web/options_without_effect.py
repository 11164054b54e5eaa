"""Options that start scripts of others give, and that mean nothing here: accepted, and said so in the log.

Their values are kept in the namespace, since packs read them. Only the standard library is imported.
"""

import argparse
from collections.abc import Sequence
from typing import Any

MODELS = "no diffusion models run here yet"
ASSETS = "there is no database of assets"
MANAGER = "the page has no manager of packs; `hanzo-studio packs` is one for the command line"
PAID = "there are no paid nodes"
DATES = "files go where their prefix says; one like %year%-%month%-%day%/name gives dated folders"
OTHERS = "there is nothing here that it could change"

FLAGS = {
    MODELS: (
        "--gpu-only", "--highvram", "--normalvram", "--lowvram", "--novram", "--force-fp32", "--force-fp16",
        "--fp32-unet", "--fp64-unet", "--bf16-unet", "--fp16-unet", "--fp8_e4m3fn-unet", "--fp8_e5m2-unet",
        "--fp8_e8m0fnu-unet", "--fp16-vae", "--fp32-vae", "--bf16-vae", "--cpu-vae", "--fp8_e4m3fn-text-enc",
        "--fp8_e5m2-text-enc", "--fp16-text-enc", "--fp32-text-enc", "--bf16-text-enc", "--fp16-intermediates",
        "--supports-fp8-compute", "--force-channels-last", "--disable-ipex-optimize", "--use-split-cross-attention",
        "--use-quad-cross-attention", "--use-pytorch-cross-attention", "--use-sage-attention", "--use-flash-attention",
        "--use-ck-attention", "--disable-xformers", "--force-upcast-attention", "--dont-upcast-attention",
        "--cuda-malloc", "--disable-cuda-malloc", "--enable-triton-backend", "--disable-triton-backend",
        "--disable-nvml-pressure", "--disable-async-offload", "--enable-dynamic-vram", "--disable-dynamic-vram",
        "--fast-disk", "--disable-fast-disk", "--disable-cuda-graphs", "--disable-pinned-memory", "--mmap-torch-files",
        "--disable-mmap", "--disable-smart-memory", "--force-non-blocking", "--deterministic",
        "--disable-comfy-compiler", "--assert-graph-breaks",
    ),
    ASSETS: ("--enable-assets", "--enable-asset-hashing"),
    MANAGER: ("--enable-manager", "--enable-manager-legacy-ui"),
    DATES: ("--date-based-output",),
    OTHERS: ("--dont-print-server", "--debug-hang"),
}
"""Options without a value, by the reason why they have no effect."""

VALUES = {
    MODELS: ("--default-device", "--reserve-vram", "--vram-headroom", "--oneapi-device-selector"),
    ASSETS: ("--database-url",),
    DATES: ("--date-output-format",),
    PAID: ("--comfy-api-base",),
}
"""Options with one value."""

OPTIONAL_VALUES = {MODELS: ("--directml", "--async-offload")}
LISTS = {MODELS: ("--fast",)}

TRUE_ANYWAY = ("--disable-assets", "--disable-manager-ui", "--disable-partner-nodes", "--disable-api-nodes")
"""Options that ask for what is so in any case: nothing to warn of."""

PREVIEW_METHODS = ("none", "auto", "latent2rgb", "taesd")


class _HasNoEffect(argparse.Action):
    """Keeps the value, and notes that the option was given."""

    def __init__(self, *args: Any, reason: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reason = reason

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace,
                 values: str | Sequence[Any] | None, option_string: str | None = None) -> None:
        if self.nargs == 0:
            values = True  # type: ignore[assignment]
        elif self.nargs == "*":
            values = set(values or ())  # type: ignore[assignment]
        setattr(namespace, self.dest, values)
        if self.choices is None or values != self.default:
            note_without_effect(namespace, option_string or self.option_strings[0], self.reason)


def note_without_effect(namespace: argparse.Namespace, option: str, reason: str) -> None:
    """Remember that an option was given that changes nothing."""
    given = {**namespace.without_effect}
    given[reason] = (*given.get(reason, ()), option)
    namespace.without_effect = given


def add_options_without_effect(parser: argparse.ArgumentParser) -> None:
    """Accept all of them. `Namespace.without_effect` tells afterwards which ones were given, by reason."""
    parser.set_defaults(without_effect={})
    for reason, names in FLAGS.items():
        for name in names:
            _add(parser, name, reason, nargs=0, default=False)
    for reason, names in VALUES.items():
        for name in names:
            _add(parser, name, reason)
    for reason, names in OPTIONAL_VALUES.items():
        for name in names:
            _add(parser, name, reason, nargs="?", const="")
    for reason, names in LISTS.items():
        for name in names:
            _add(parser, name, reason, nargs="*", default=set())
    _add(parser, "--preview-method", MODELS, choices=PREVIEW_METHODS, default="none")
    for name in TRUE_ANYWAY:
        parser.add_argument(name, action="store_true", help=argparse.SUPPRESS)


def _add(parser: argparse.ArgumentParser, name: str, reason: str, **rest: Any) -> None:
    parser.add_argument(name, action=_HasNoEffect, reason=reason, help=argparse.SUPPRESS, **rest)


def warnings_of(options: argparse.Namespace) -> list[str]:
    """A sentence for each reason why options that were given have no effect."""
    return [f"{', '.join(dict.fromkeys(given))}: accepted, but without effect, since {reason}"
            for reason, given in options.without_effect.items()]
