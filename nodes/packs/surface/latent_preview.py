"""Previews of latents, by the names that packs know. No decoder of latents is here, so there are no pictures."""

from collections.abc import Callable
from typing import Any

from comfy.utils import ProgressBar

from nodes.packs.absent_names import names_of
from nodes.packs.peer_options import args

MAX_PREVIEW_RESOLUTION = args.preview_size

globals().update(names_of("latent_preview"))


def preview_to_image(latent_image: Any) -> Any:
    """A PIL image of a picture [H,W,3] whose values are in -1..1."""
    import torch
    from PIL import Image

    values = ((latent_image.float() + 1.0) / 2.0).clamp(0, 1) * 255.0
    return Image.fromarray(values.to(device="cpu", dtype=torch.uint8).numpy())


class LatentPreviewer:
    """Makes pictures of latents. To be subclassed."""

    def decode_latent_to_preview(self, x0: Any) -> Any:
        """A PIL image of a latent [B,C,H,W]; None if there is none."""

    def decode_latent_to_preview_image(self, preview_format: str, x0: Any) -> tuple[str, Any, int]:
        return preview_format, self.decode_latent_to_preview(x0), MAX_PREVIEW_RESOLUTION


class Latent2RGBPreviewer(LatentPreviewer):
    """Takes each channel as a mixture of red, green and blue.

    :param latent_rgb_factors: three numbers for each channel.
    """

    def __init__(self, latent_rgb_factors: Any, latent_rgb_factors_bias: Any = None) -> None:
        import torch

        self.latent_rgb_factors = torch.tensor(latent_rgb_factors, device="cpu")
        self.latent_rgb_factors_bias = None if latent_rgb_factors_bias is None \
            else torch.tensor(latent_rgb_factors_bias, device="cpu")

    def decode_latent_to_preview(self, x0: Any) -> Any:
        pixels = x0[0].movedim(0, -1).float().cpu() @ self.latent_rgb_factors.float()
        if self.latent_rgb_factors_bias is not None:
            pixels = pixels + self.latent_rgb_factors_bias
        return preview_to_image(pixels)


def get_previewer(device: Any, latent_format: Any) -> LatentPreviewer | None:
    """What makes previews of a format: where it says how its channels look, and previews are wanted."""
    factors = getattr(latent_format, "latent_rgb_factors", None)
    if args.preview_method.value == "none" or factors is None:
        return None
    return Latent2RGBPreviewer(factors, getattr(latent_format, "latent_rgb_factors_bias", None))


def prepare_callback(model: Any, steps: int, x0_output_dict: dict[str, Any] | None = None) -> Callable[..., None]:
    """A function (step, x0, x, total_steps) that shows how far a sampler is."""
    previewer = get_previewer(getattr(model, "load_device", None),
                              getattr(getattr(model, "model", None), "latent_format", None))
    bar = ProgressBar(steps)

    def callback(step: int, x0: Any, x: Any, total_steps: int) -> None:
        if x0_output_dict is not None:
            x0_output_dict["x0"] = x0
        preview = None if previewer is None else previewer.decode_latent_to_preview_image("JPEG", x0)
        bar.update_absolute(step + 1, total_steps, preview)

    return callback
