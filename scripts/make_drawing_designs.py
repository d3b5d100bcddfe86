"""Draw the same maps in several designs side by side: why maps look as they do.

    python scripts/make_drawing_designs.py

Held-out scenes of a seed that nothing else uses, each asked for a thing that is there and one that is not. Columns: the
scene; the drawing up to 0.1 (inferno over the darkened picture, bicubic, each map on its own range, clipped at zero);
inferno over a dark picture; the picture's own colours where the score is high; the drawing that was chosen; the
chosen one in grey print. Writes `docs/assets/drawing-designs.webp`.
"""

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

import clipsight
from clipsight.draw import Tile, contact_sheet, heat
from clipsight.errors import ClipsightWarning
from clipsight.results import Explanation
from clipsight.world import make_scene

SEED, INDICES, ABSENT, TILE = 4242, (1, 2, 4, 5), "guitar", 190


def enlarged(scores: Float[np.ndarray, "h w"], how: Image.Resampling) -> Float[np.ndarray, "H W"]:
    """A map at the size of a tile."""
    return np.asarray(Image.fromarray(scores.astype(np.float32)).resize((TILE, TILE), how))


def inferno(
    base: Float[np.ndarray, "H W 3"], part: Float[np.ndarray, "H W"], low: float, most: float
) -> Image.Image:
    """Inferno over a picture, opacity growing with the score."""
    from matplotlib import colormaps

    part = np.clip(part, 0, 1)[..., None]
    colour = colormaps["inferno"](low + (0.95 - low) * part[..., 0])[..., :3] * 255
    return Image.fromarray((base * (1 - most * part) + most * part * colour).astype(np.uint8))


def designs(ex: Explanation, row: int) -> Iterator[tuple[str, Image.Image]]:
    """One map in every design."""
    picture = heat.fit(Image.fromarray(ex.image), (TILE, TILE))
    scores, colours = ex.maps[row].numpy(), np.asarray(picture, float)
    grey = np.asarray(picture.convert("L"), float)[..., None].repeat(3, 2)
    level = max(float(scores.max()), ex.provenance.noise_level)
    part = enlarged(scores, Image.Resampling.BILINEAR) / level
    former = enlarged(scores, Image.Resampling.BICUBIC) / float(scores.max())
    yield "the scene", picture
    yield "up to 0.1", inferno(0.88 * (0.75 * grey + 0.25 * colours), former, 0.25, 0.8)
    yield "dark", inferno(0.43 * grey, part, 0.3, 0.85)
    shown = np.clip(part, 0, 1)[..., None] ** 0.6
    yield (
        "own colours",
        Image.fromarray(((150 + 0.39 * grey) * (1 - shown) + colours * shown).astype(np.uint8)),
    )
    chosen = ex.overlay(row, size=(TILE, TILE))
    yield "chosen", chosen
    yield "in grey print", chosen.convert("L").convert("RGB")


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs/assets")
    out = parser.parse_args().out
    warnings.simplefilter("ignore", ClipsightWarning)
    lens, tiles, columns = clipsight.load("clipsight-tiny", device="cpu"), [], 0
    for index in INDICES:
        scene = make_scene(index, seed=SEED, split="heldout", size=224, objects=3)
        ex = lens.explain(scene.image, [scene.objects[0].name, ABSENT])
        for row, text in enumerate(ex.texts):
            made = list(designs(ex, row))
            columns = len(made)
            said = f"{text}, presence {float(ex.presence[row]):.2f}"
            tiles += [
                Tile(picture=one, head=name, foot="" if k else said) for k, (name, one) in enumerate(made)
            ]
    sheet = contact_sheet(tiles, columns, "One thing that is there and one that is not, in several designs")
    sheet.save(out / "drawing-designs.webp", quality=80, method=6)


if __name__ == "__main__":
    main()
