"""Draw a scene's objects back to front, and record their visible pixels."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool
from PIL import Image

from clipsight.world.background import background
from clipsight.world.scene import SceneObject
from clipsight.world.sprites import damage, sprite


def render(
    objects: Sequence[SceneObject], size: int, rng: np.random.Generator
) -> tuple[Image.Image, Bool[np.ndarray, "O H W"], Bool[np.ndarray, "O H W"]]:
    """The picture, the visible mask and the damage mask of each object (objects are given back to front)."""
    canvas = background(size, rng)
    masks = np.zeros((len(objects), size, size), bool)
    damages = np.zeros_like(masks)
    for index, item in enumerate(objects):
        pixels, changed = _dressed(item, size, rng)
        side = pixels.shape[0]
        left, top = (round(c * size - side / 2) for c in item.center)
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, size), min(top + side, size)
        part = pixels[y0 - top : y1 - top, x0 - left : x1 - left]
        alpha = part[..., 3:].astype(np.float32) / 255
        canvas[y0:y1, x0:x1] = canvas[y0:y1, x0:x1] * (1 - alpha) + part[..., :3] * alpha
        ink = alpha[..., 0] > 0.5
        touched = changed[y0 - top : y1 - top, x0 - left : x1 - left]
        masks[:index, y0:y1, x0:x1] &= ~ink
        damages[:index, y0:y1, x0:x1] &= ~ink
        masks[index, y0:y1, x0:x1] = ink
        damages[index, y0:y1, x0:x1] = touched
    return Image.fromarray(canvas.round().astype(np.uint8)), masks, damages


def _dressed(item: SceneObject, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The object's sprite, damaged, mirrored, rotated and scaled; and its changed pixels."""
    pixels = sprite(item.name, item.color)
    changed = np.zeros(pixels.shape[:2], np.uint8)
    if item.damage is not None:
        pixels, changed = damage(pixels, item.damage, rng)
    if item.mirrored:
        pixels, changed = pixels[:, ::-1], changed[:, ::-1]
    side = max(4, round(item.extent * size))
    # Scaling premultiplied colour keeps the transparent surround from bleeding into the edge.
    drawn = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGBa")
    marked = Image.fromarray(np.ascontiguousarray(changed))
    drawn = drawn.rotate(item.angle, Image.Resampling.BILINEAR).resize((side, side), Image.Resampling.BOX)
    marked = marked.rotate(item.angle, Image.Resampling.BILINEAR).resize((side, side), Image.Resampling.BOX)
    return np.asarray(drawn.convert("RGBA")), np.asarray(marked) > 127
