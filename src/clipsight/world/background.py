"""Soft procedural textures behind the sprites."""

import numpy as np
from jaxtyping import Float
from PIL import Image


def background(size: int, rng: np.random.Generator) -> Float[np.ndarray, "H W 3"]:
    """A textured background, size×size pixels, values in [0, 255], muted so that sprites stand out."""
    gray, hue = rng.uniform(80, 225, (2, 1)), rng.uniform(-60, 60, (2, 3))
    first, second = np.clip(gray + hue, 0, 255)
    second = first * 0.55 + second * 0.45
    mix = _PATTERNS[rng.integers(len(_PATTERNS))](size, rng)[..., None]
    grain = rng.normal(0, rng.uniform(1, 7), (size, size, 1))
    return np.clip(first * (1 - mix) + second * mix + grain, 0, 255).astype(np.float32)


def _coordinates(size: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0:size, 0:size] / size
    return y, x


def _gradient(size: int, rng: np.random.Generator) -> np.ndarray:
    y, x = _coordinates(size)
    angle = rng.uniform(0, 2 * np.pi)
    return 0.5 + 0.5 * np.clip((x - 0.5) * np.cos(angle) * 2 + (y - 0.5) * np.sin(angle) * 2, -1, 1)


def _clouds(size: int, rng: np.random.Generator) -> np.ndarray:
    total = np.zeros((size, size))
    for cells, weight in ((3, 0.5), (6, 0.3), (14, 0.2)):
        field = Image.fromarray(rng.uniform(0, 1, (cells, cells)).astype(np.float32))
        total += weight * np.asarray(field.resize((size, size), Image.Resampling.BICUBIC))
    return np.clip(total, 0, 1)


def _stripes(size: int, rng: np.random.Generator) -> np.ndarray:
    y, x = _coordinates(size)
    angle, waves = rng.uniform(0, np.pi), rng.uniform(3, 12)
    return 0.5 + 0.5 * np.sin(2 * np.pi * waves * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 6))


def _checks(size: int, rng: np.random.Generator) -> np.ndarray:
    y, x = _coordinates(size)
    cells = rng.integers(3, 9)
    return ((np.floor(x * cells) + np.floor(y * cells)) % 2) * 0.6


def _dots(size: int, rng: np.random.Generator) -> np.ndarray:
    y, x = _coordinates(size)
    cells = rng.uniform(4, 10)
    return ((x * cells % 1 - 0.5) ** 2 + (y * cells % 1 - 0.5) ** 2 < 0.06) * 0.7


_PATTERNS = (_gradient, _clouds, _clouds, _stripes, _checks, _dots)
