"""Draw the documentation's gallery: every recipe on the same three held-out scenes, with the bundled model.

    python scripts/make_gallery.py

The scenes were not picked by eye: of sixty scenes of one seed, ordered by the pixel AUROC that the recipes reached on
average, those at the ninth, the fifth and the first tenth are drawn: an easy one, an ordinary one, a hard one. Every
recipe is asked about all nouns, contrasted with each other (`contrast="labels"`); shown are the nouns that are there
and one that is not. Writes `docs/assets/gallery-easy.webp` and so on, and the figures on the sheets as `gallery.json`.
"""

import argparse
import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

import clipsight
from clipsight.bench.emoji import judge_maps, noun_features, ready
from clipsight.draw import Drawing, Tile, choose_scale, heat, layout, tile_row
from clipsight.errors import ClipsightWarning
from clipsight.session.lens import Lens
from clipsight.world import make_scene, nouns
from clipsight.world.scene import Scene

SEED, OBJECTS, SIZE = 2024, 3, 224
SCENES = {"easy": 56, "ordinary": 15, "hard": 28}
ABSENT = "guitar"

TILE, GAP, MARGIN = 116, 4, 18


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One recipe on one scene: its maps of all nouns, and the pixel AUROC of those that are there."""

    recipe: str
    maps: Float[Tensor, "T h w"]
    auroc: dict[str, float]

    @property
    def mean(self) -> float:
        """Mean AUROC over the nouns that are there."""
        return float(np.mean(list(self.auroc.values())))


def ask(lens: Lens, scene: Scene, texts: Float[Tensor, "T E"], recipe: str) -> Asked:
    """One recipe on one scene."""
    (part,) = ready(lens, [scene])
    names = nouns()
    maps = lens.maps(part.pixels, texts, recipe, "labels")
    areas, _ = judge_maps(maps, part)
    auroc = {names[index]: float(area) for index, area in zip(part.noun.tolist(), areas, strict=True)}
    return Asked(recipe=recipe, maps=maps[0], auroc=auroc)


def sheet(scene: Scene, asked: list[Asked], said: str) -> Image.Image:
    """One scene in two halves: the truth, then every recipe, a column for each noun."""
    words = [*asked[0].auroc, ABSENT]
    wide = len(words) * (TILE + GAP) - GAP
    heads = [Tile(picture=layout.paper(TILE, 1), head=w if w != ABSENT else f"no {w}") for w in words]
    rows = [("the truth", truth(scene, words))]
    rows += [(f"{one.recipe}, mean {one.mean:.2f}", tiles(scene, one, words)) for one in asked]
    half = (len(rows) + 1) // 2
    halves = [
        layout.stack(tile_row(heads, len(words), GAP), *(named_row(*row) for row in some), gap=8)
        for some in (rows[:half], rows[half:])
    ]
    block = layout.stack(
        layout.text(said, 19, colour=layout.INK, bold=True),
        layout.beside(*halves, gap=2 * MARGIN, shares=(1, 1)),
        layout.text(FOOT, 13, colour=layout.FAINT),
        gap=14,
    )
    return layout.page(block, 2 * wide + 4 * MARGIN, MARGIN)


def named_row(name: str, pictures: list[Tile]) -> layout.Block:
    """A recipe's maps beneath its name."""
    row = tile_row(pictures, len(pictures), GAP)
    return layout.stack(layout.text(name, 15, colour=layout.INK, bold=True), row, gap=3)


FOOT = (
    "Colour: score after label contrast among all nouns, orange above zero, blue below; on each map's own scale, of "
    "the absent noun on the recipe's.",
    "Beneath: pixel AUROC, 0.5 is chance.",
)


def truth(scene: Scene, words: list[str]) -> list[Tile]:
    """The scene for each word, in colour where the word is; the whole scene for the absent one."""
    picture = heat.fit(scene.image, (TILE, TILE))
    tiles = []
    for word in words:
        if word == ABSENT:
            tiles.append(Tile(picture=picture))
            continue
        mask = Image.fromarray(scene.mask(word)).convert("L").resize((TILE, TILE), Image.Resampling.BILINEAR)
        tiles.append(Tile(picture=Image.composite(picture, dimmed(picture), mask)))
    return tiles


def dimmed(picture: Image.Image) -> Image.Image:
    """The picture as a faint backdrop."""
    return heat.backdrop(picture, 200)


def tiles(scene: Scene, one: Asked, words: list[str]) -> list[Tile]:
    """The maps of a recipe with the AUROC of each noun that is there."""
    names, drawing = nouns(), Drawing()
    scores = one.maps[[names.index(word) for word in words]].float().cpu().numpy()
    there = scores[[word in one.auroc for word in words]]
    made = []
    for word, score in zip(words, scores, strict=True):
        pool, choice = (score, "own") if word in one.auroc else (there, "shared")
        scale = choose_scale(score, pool, choice, zero=True, signed=True)
        foot = f"{one.auroc[word]:.2f}" if word in one.auroc else ""
        made.append(Tile(picture=drawing.over(scene.image, score, scale, (TILE, TILE)), foot=foot))
    return made


def main() -> None:
    """Write the sheets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs/assets")
    out = parser.parse_args().out
    warnings.simplefilter("ignore", ClipsightWarning)  # settings nobody tested: docs/choosing.md says so
    lens, recipes = clipsight.load("clipsight-tiny"), clipsight.recipes()
    texts = noun_features(lens)
    record = {}
    for name, index in SCENES.items():
        scene = make_scene(index, seed=SEED, split="heldout", size=SIZE, objects=OBJECTS)
        asked = [ask(lens, scene, texts, recipe) for recipe in recipes]
        said = f"{name.capitalize()}: {scene.captions[0].text}"
        sheet(scene, asked, said).save(out / f"gallery-{name}.webp", quality=80, method=6)
        record[name] = {
            "seed": SEED,
            "index": scene.index,
            "caption": scene.captions[0].text,
            "auroc": {one.recipe: round(one.mean, 3) for one in asked},
        }
    (out / "gallery.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
