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
from math import ceil
from pathlib import Path

import numpy as np
from clipsight.results.scaling import choose_scale
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import clipsight
from clipsight.bench.emoji import judge_maps, noun_features, ready
from clipsight.errors import ClipsightWarning
from clipsight.results import heat, typeset
from clipsight.session.lens import Lens
from clipsight.world import make_scene, nouns
from clipsight.world.scene import Scene

SEED, OBJECTS, SIZE = 2024, 3, 224
SCENES = {"easy": 56, "ordinary": 15, "hard": 28}
ABSENT = "guitar"

TILE, GAP, MARGIN, HEAD = 116, 4, 18, 26
HALVES = 2
INK, QUIET, FAINT = "#16191d", "#4a525b", "#7c858f"


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
    """One scene: the truth, then every recipe, a column for each noun."""
    words = [*asked[0].auroc, ABSENT]
    wide = len(words) * (TILE + GAP) - GAP
    cells = [
        (("the truth", ""), truth(scene, words)),
        *((label(one), tiles(scene, one, words)) for one in asked),
    ]
    rows = ceil(len(cells) / HALVES)
    top = MARGIN + 34 + 24
    width = 2 * MARGIN + HALVES * wide + (HALVES - 1) * 2 * MARGIN
    height = top + rows * (HEAD + TILE + 12) + 50
    out = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(out)
    pen.text((MARGIN, MARGIN), said, INK, face(19, bold=True))
    for half in range(HALVES):
        left = MARGIN + half * (wide + 2 * MARGIN)
        for column, word in enumerate(words):
            shown = word if word != ABSENT else f"{word} (absent)"
            pen.text((left + column * (TILE + GAP) + TILE / 2, top - 4), shown, QUIET, face(14), anchor="ms")
        for row, ((name, figure), pictures) in enumerate(cells[half * rows : (half + 1) * rows]):
            y = top + row * (HEAD + TILE + 12)
            pen.text((left, y + HEAD - 6), name, INK, face(17, bold=True), anchor="ls")
            pen.text((left + wide, y + HEAD - 6), figure, FAINT, face(13), anchor="rs")
            for column, picture in enumerate(pictures):
                out.paste(picture, (left + column * (TILE + GAP), y + HEAD))
    for line, text in enumerate(FOOT):
        pen.text((MARGIN, height - 44 + 19 * line), text, FAINT, face(13))
    return out


FOOT = (
    "Colour: score after label contrast among all nouns, from zero to the map's own highest; of the absent noun to the",
    "recipe's highest. Corner: pixel AUROC, 0.5 is chance. A grey tile has no score above zero.",
)


def label(one: Asked) -> tuple[str, str]:
    """The line above a recipe's maps."""
    return one.recipe, f"mean {one.mean:.2f}"


def truth(scene: Scene, words: list[str]) -> list[Image.Image]:
    """The scene for each word, in colour where the word is; the whole scene for the absent one."""
    picture = heat.fit(scene.image, (TILE, TILE))
    tiles = []
    for word in words:
        if word == ABSENT:
            tiles.append(picture)
            continue
        mask = Image.fromarray(scene.mask(word)).convert("L").resize((TILE, TILE), Image.Resampling.BILINEAR)
        tiles.append(Image.composite(picture, dimmed(picture), mask))
    return tiles


def dimmed(picture: Image.Image) -> Image.Image:
    """The picture as a faint backdrop."""
    return Image.blend(
        heat.backdrop(picture).convert("L").convert("RGB"), Image.new("RGB", picture.size, "white"), 0.55
    )


def tiles(scene: Scene, one: Asked, words: list[str]) -> list[Image.Image]:
    """The maps of a recipe, colour from zero up, with the AUROC of each noun that is there."""
    names, picture = nouns(), heat.fit(scene.image, (TILE, TILE))
    scores = one.maps[[names.index(word) for word in words]].float().cpu().numpy()
    there = scores[[word in one.auroc for word in words]]
    made = []
    for word, score in zip(words, scores, strict=True):
        pool, choice = (score, "own") if word in one.auroc else (there, "shared")
        scale = choose_scale(score, pool, choice, zero=True)
        tile = heat.lay_over(picture, heat.layer(score, scale, (TILE, TILE)))
        if word in one.auroc:
            stamp(tile, f"{one.auroc[word]:.2f}")
        made.append(tile)
    return made


def stamp(tile: Image.Image, text: str) -> None:
    """A small number in the upper left corner."""
    pen = ImageDraw.Draw(tile)
    right = pen.textbbox((5, 3), text, face(13), anchor="lt")[2]
    pen.rectangle((0, 0, right + 4, 16), INK)
    pen.text((5, 3), text, "white", face(13), anchor="lt")


def face(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The drawings' font for Pillow."""
    from matplotlib import font_manager

    return ImageFont.truetype(font_manager.findfont(typeset.font(size, bold=bold)), size)


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
