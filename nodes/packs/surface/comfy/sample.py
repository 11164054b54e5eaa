"""Noise for latents, by the name that packs know; no sampler."""

from collections.abc import Sequence
from typing import Any

from nodes.packs.absent_names import names_of

globals().update(names_of("comfy.sample"))


def prepare_noise(latent_image: Any, seed: int, noise_inds: Sequence[int] | None = None) -> Any:
    """Normal noise of the shape of a latent [B,C,H,W], on the CPU; the same for the same seed.

    :param noise_inds: for each item, which noise of the seed's sequence it gets; equal numbers get equal noise.
    """
    import torch

    generator = torch.manual_seed(seed)

    def noise(count: int) -> Any:
        return torch.randn((count, *latent_image.shape[1:]), dtype=latent_image.dtype, layout=latent_image.layout,
                           generator=generator, device="cpu")

    if noise_inds is None:
        return noise(latent_image.shape[0])
    drawn = [noise(1) for _ in range(max(noise_inds) + 1)]
    return torch.cat([drawn[index] for index in noise_inds])
