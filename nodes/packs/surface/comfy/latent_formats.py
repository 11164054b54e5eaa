"""How latents of families of models are scaled, by the names that packs know."""

from typing import Any


class LatentFormat:
    """Latents as a model sees them are (values - shift) times scale."""

    scale_factor = 1.0
    shift_factor = 0.0
    latent_channels = 4
    latent_dimensions = 2
    latent_rgb_factors: list[list[float]] | None = None
    latent_rgb_factors_bias: list[float] | None = None
    taesd_decoder_name: str | None = None

    def process_in(self, latent: Any) -> Any:
        return (latent - self.shift_factor) * self.scale_factor

    def process_out(self, latent: Any) -> Any:
        return latent / self.scale_factor + self.shift_factor


class SD15(LatentFormat):
    """Stable Diffusion 1 and 2."""

    scale_factor = 0.18215


class SDXL(LatentFormat):
    """Stable Diffusion XL."""

    scale_factor = 0.13025


class SDXL_Playground_2_5(LatentFormat):
    """Playground 2.5."""

    scale_factor = 0.5


class SD3(LatentFormat):
    """Stable Diffusion 3."""

    scale_factor = 1.5305
    shift_factor = 0.0609
    latent_channels = 16


class Flux(LatentFormat):
    """Flux 1."""

    scale_factor = 0.3611
    shift_factor = 0.1159
    latent_channels = 16
