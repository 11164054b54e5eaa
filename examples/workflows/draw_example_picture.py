"""Draw `web/ui/examples/example.png`, the picture that a new server puts into its input folder.

    python examples/workflows/draw_example_picture.py

Evening over a lake: a sky, a sun, ridges that fade with distance, and their reflection. Everything is
computed, so the picture is ours to give away and is the same on every machine.
"""

from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 512, 384
OVERSAMPLING = 2
SHORE = 0.66  # share of the height at which the water begins
TARGET = Path(__file__).parents[2] / "web" / "ui" / "examples" / "example.png"

SKY = [(0.0, (52, 84, 130)), (0.3, (140, 140, 168)), (0.55, (236, 176, 136)), (1.0, (255, 222, 160))]
NEAR, FAR = np.array((26.0, 36.0, 46.0)), np.array((176.0, 132.0, 126.0))
HAZE = np.array((236.0, 178.0, 138.0))


def gradient(stops: list[tuple[float, tuple[int, int, int]]], at: np.ndarray) -> np.ndarray:
    places = [place for place, _ in stops]
    return np.stack([np.interp(at, places, [color[c] for _, color in stops]) for c in range(3)], axis=-1)


def ridge(across: np.ndarray, seed: int, roughness: float) -> np.ndarray:
    """A mountain line: waves of ever shorter length and lower height, at random phases."""
    random = np.random.default_rng(seed)
    line = np.zeros_like(across)
    for octave in range(7):
        line += np.sin(across * 2 ** (octave + 1.3) * 2.6 + random.uniform(0, 7)) * roughness**octave
    return line


def land(width: int, height: int) -> np.ndarray:
    """Sky, sun and ridges down to the shore."""
    y, x = np.mgrid[0:height, 0:width]
    down, across = y / height, x / width
    picture = gradient(SKY, down)

    aspect = width / height
    distance = np.hypot((across - 0.64) * aspect, down - 0.43)
    picture += np.exp(-distance * 5.5)[..., None] * np.array((90.0, 62.0, 24.0))
    disc = np.clip((0.058 - distance) * height / 1.5, 0, 1)[..., None]
    picture = picture * (1 - disc) + np.array((255.0, 240.0, 205.0)) * disc

    layers = 5
    for layer in range(layers):
        nearness = (layer + 1) / layers
        top = 0.56 + 0.085 * layer + ridge(across, seed=layer + 11, roughness=0.5) * (0.052 - 0.004 * layer)
        covered = np.clip((down - top) * height / 1.5, 0, 1)[..., None]
        haze = np.clip((down - top) * 2.2, 0, 1)[..., None] * (1 - nearness) * 0.55
        color = FAR + (NEAR - FAR) * nearness**0.8
        color = color * (1 - haze) + HAZE * haze
        picture = picture * (1 - covered) + color * covered
    return picture


def draw() -> Image.Image:
    width, height = WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING
    shore = int(height * SHORE)
    above = land(width, shore)

    depth = np.arange(height - shore)
    wobble = (np.sin(depth**0.78 * 0.9) * (1 + depth / 26)).astype(int)
    mirrored = above[::-1][np.minimum((depth * 1.15).astype(int), shore - 1)]
    water = np.stack([np.roll(row, shift, axis=0) for row, shift in zip(mirrored, wobble, strict=True)])
    dusk = np.linspace(0.12, 0.5, height - shore)[:, None, None]
    water = water * (1 - dusk) + np.array((38.0, 52.0, 78.0)) * dusk

    pixels = np.concatenate([above, water]).clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    draw().save(TARGET, optimize=True)
    print(f"{TARGET}: {TARGET.stat().st_size / 1000:.0f} kB")
