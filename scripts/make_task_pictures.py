"""Draw the pictures of the pages on tasks: the bundled model on held-out scenes of the emoji world.

    python scripts/make_task_pictures.py

The scenes were not picked by eye. Segmentation, tags, points, sentences and refinement take the easy, the ordinary and
the hard scene of the gallery (`make_gallery.py` says how those were found). For anomalies, of the damaged scenes with
one thing among the first 240 of one seed, ordered by pixel AUROC inside the thing, those at the ninth, the fifth and
the first tenth are drawn. Writes `docs/assets/task_segment.webp` and so on.
"""

import argparse
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import torch
from clipsight.results.scaling import choose_scale
from jaxtyping import Bool, Float
from make_gallery import ABSENT, FAINT, INK, OBJECTS, QUIET, SCENES, SEED, SIZE, dimmed, face
from PIL import Image, ImageDraw
from sklearn.metrics import roc_auc_score
from torch import Tensor

import clipsight
from clipsight.errors import ClipsightWarning
from clipsight.refine import bilateral_upsample, guided_upsample, mask_mean, pamr, propagate
from clipsight.results import Points, Segmentation, heat
from clipsight.session.lens import Lens
from clipsight.world import Scene, make_scene, make_scenes, nouns

TILE, SMALL, GAP, MARGIN, HEAD, FOOT = 208, 168, 14, 18, 26, 24
ON, OFF, RING = "#0072b2", "#e69f00", "#ffffff"
ABSENTEES = (ABSENT, "umbrella", "pizza")
THRESHOLD = 0.6
DAMAGED_OF, DAMAGE_SEED = 240, 2024


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A picture with a line above and a line below."""

    picture: Image.Image
    head: str
    foot: str = ""


def sheet(tiles: Sequence[Tile], columns: int, said: str, notes: Sequence[str] = ()) -> Image.Image:
    """Tiles in rows beneath a headline, notes at the foot."""
    wide, high = tiles[0].picture.size
    rows, step = ceil(len(tiles) / columns), HEAD + high + FOOT
    width = 2 * MARGIN + columns * (wide + GAP) - GAP
    top = MARGIN + 30
    out = Image.new("RGB", (width, top + rows * step + 6 + 19 * len(notes) + MARGIN), "white")
    pen = ImageDraw.Draw(out)
    pen.text((MARGIN, MARGIN - 4), said, INK, face(18, bold=True))
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        left, y = MARGIN + column * (wide + GAP), top + row * step
        pen.text((left, y + HEAD - 7), tile.head, INK, face(15, bold=True), anchor="ls")
        out.paste(tile.picture, (left, y + HEAD))
        pen.text((left, y + HEAD + high + 16), tile.foot, QUIET, face(13), anchor="ls")
    for line, text in enumerate(notes):
        pen.text((MARGIN, top + rows * step + 6 + 19 * line), text, FAINT, face(13))
    return out


def scenes() -> dict[str, Scene]:
    """The three scenes of the gallery."""
    return {
        name: make_scene(index, seed=SEED, split="heldout", size=SIZE, objects=OBJECTS)
        for name, index in SCENES.items()
    }


def words_of(scene: Scene) -> list[str]:
    """The nouns that are there, each once."""
    return list(dict.fromkeys(thing.name for thing in scene.objects))


def union(masks: Bool[np.ndarray, "O H W"]) -> Bool[np.ndarray, "H W"]:
    """Where any of some masks is."""
    return np.asarray(masks.any(0))


def inside(scene: Scene, values: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """A map of which only the things are left, the rest at its lowest value there."""
    there = union(scene.masks) | union(scene.damage_masks)
    return np.where(there, values, values[there].min())


def shown(scene: Scene, mask: Bool[np.ndarray, "H W"], side: int = TILE) -> Image.Image:
    """The scene, in colour where the mask is."""
    picture = heat.fit(scene.image, (side, side))
    inside = Image.fromarray(mask).convert("L").resize((side, side), Image.Resampling.BILINEAR)
    return Image.composite(picture, dimmed(picture), inside)


def warm(scene: Scene, scores: Float[np.ndarray, "h w"], *, zero: bool, side: int = TILE) -> Image.Image:
    """A map over the scene, on its own scale."""
    scale = choose_scale(scores, scores, "own", zero=zero)
    return heat.lay_over(heat.fit(scene.image, (side, side)), heat.layer(scores, scale, (side, side)))


def overlap(found: Segmentation, scene: Scene) -> float:
    """Mean intersection over union of the nouns that are there."""
    each = []
    for word in words_of(scene):
        truth, mask = scene.mask(word), found.mask(word).numpy()
        each.append((truth & mask).sum() / max((truth | mask).sum(), 1))
    return float(np.mean(each))


def segments(lens: Lens, scene: Scene) -> Image.Image:
    """One scene segmented under each policy, through windows, and refined."""
    names = [*words_of(scene), *ABSENTEES]
    asked = {
        "no background": {},
        f"threshold {THRESHOLD}": {"background": THRESHOLD},
        "words: sky, grass, wall": {"background": ["sky", "grass", "wall"]},
        'background="presence"': {"background": "presence"},
        "windows, stride a half": {"window": "auto"},
        "windows, no overlap": {"window": (112, 112), "short_side": 224},
        f'"pamr", threshold {THRESHOLD}': {"refine": "pamr", "background": THRESHOLD},
    }
    everything = union(scene.masks)
    tiles = [Tile(picture=shown(scene, everything), head="the truth", foot=", ".join(words_of(scene)))]
    for head, options in asked.items():
        found = lens.segment(scene.image, names, **{"window": "whole", "recipe": "naclip", **options})
        left = float((found.labels < int(found.background)).float().mean())
        tiles.append(
            Tile(
                picture=found.overlay(size=(TILE, TILE)),
                head=head,
                foot=f"mIoU {overlap(found, scene):.2f}, without a name {left:.0%}",
            )
        )
    return sheet(
        tiles,
        4,
        f"Asked: {', '.join(names)}",
        (
            "Recipe naclip. mIoU over the three names that are there, on this scene alone.",
            f"The threshold of {THRESHOLD} was set for these six names; for another list it means nothing.",
        ),
    )


def tags(lens: Lens, everything: dict[str, Scene]) -> Image.Image:
    """Three scenes with the presence of their highest labels."""
    return sheet(
        [
            Tile(picture=bars(lens, scene), head=f"{name}: {', '.join(words_of(scene))}")
            for name, scene in everything.items()
        ],
        1,
        f"Presence among all {len(nouns())} nouns: the highest, and the truth",
        ("Blue is there, orange is not. The line is 0.8, from which .there() counts a label.",),
    )


def bars(lens: Lens, scene: Scene) -> Image.Image:
    """A scene beside a bar for each label."""
    found = lens.tag(scene.image, nouns())
    truth = words_of(scene)
    rows = found.top(8)
    rows += [found[word] for word in truth if word not in [row.label for row in rows]]
    out = Image.new("RGB", (660, TILE), "white")
    out.paste(heat.fit(scene.image, (TILE, TILE)), (0, 0))
    pen, left, room, step = ImageDraw.Draw(out), TILE + 130, 240, TILE / len(rows)
    for number, row in enumerate(rows):
        y = (number + 0.5) * step
        pen.text((left - 8, y), row.label, INK, face(13), anchor="rm")
        colour = ON if row.label in truth else OFF
        pen.rectangle((left, y - 6, left + max(round(room * row.presence), 1), y + 6), colour)
        pen.text((left + room + 12, y), f"{row.presence:.2f}", QUIET, face(13), anchor="lm")
    pen.line((left + 0.8 * room, 0, left + 0.8 * room, TILE), FAINT)
    return out


def points(lens: Lens, everything: dict[str, Scene]) -> Image.Image:
    """Points of every noun, and of two nouns together."""
    tiles = []
    for name, scene in everything.items():
        words = words_of(scene)
        ex = lens.explain(scene.image, [*words, ABSENT])
        for text in (*words, f"{words[1]}+{words[2]}"):
            mask = union(np.stack([scene.mask(word) for word in text.split("+")]))
            tiles.append(dotted(scene, ex.points(text), f"{name}: {text}", mask))
    return sheet(
        tiles,
        4,
        "Points for a segmenter",
        ("Blue marks the thing, orange what it is not. In colour: the truth.",),
    )


def dotted(scene: Scene, found: Points, head: str, mask: Bool[np.ndarray, "H W"]) -> Tile:
    """A scene with points, and how many of them are right."""
    picture = shown(scene, mask)
    pen, zoom = ImageDraw.Draw(picture), TILE / scene.image.width
    for (x, y), label in zip(found.xy, found.labels, strict=True):
        at = (x * zoom - 5, y * zoom - 5, x * zoom + 5, y * zoom + 5)
        pen.ellipse(at, ON if label else OFF, RING, 2)
    on = int(mask[found.positives[:, 1], found.positives[:, 0]].sum())
    off = int((~mask)[found.negatives[:, 1], found.negatives[:, 0]].sum())
    count = len(found.positives)
    return Tile(
        picture=picture, head=head, foot=f"on it {on} of {count}, off it {off} of {len(found.negatives)}"
    )


def anomalies(lens: Lens) -> Image.Image:
    """Damaged things: the truth and the map."""
    found = sorted(damaged(lens), key=lambda one: -one[1])
    tiles = []
    for name, place in (("easy", 0.1), ("ordinary", 0.5), ("hard", 0.9)):
        scene, inner, outer, values, score = found[int(place * len(found))]
        thing = scene.objects[0]
        tiles += [
            Tile(
                picture=heat.fit(scene.image, (TILE, TILE)),
                head=f"{name}: {thing.name}",
                foot=f"score {score:.4f}",
            ),
            Tile(picture=shown(scene, union(scene.damage_masks)), head=f"the truth: {thing.damage}"),
            Tile(
                picture=warm(scene, values, zero=False),
                head="the map",
                foot=f"AUROC in the whole picture {outer:.2f}",
            ),
            Tile(
                picture=warm(scene, inside(scene, values), zero=False),
                head="inside the thing only",
                foot=f"AUROC inside it {inner:.2f}",
            ),
        ]
    return sheet(
        tiles,
        4,
        f"{len(found)} damaged scenes of one thing, ordered by the AUROC inside it",
        ("0.5 is chance.",),
    )


def damaged(lens: Lens) -> Iterator[tuple[Scene, float, float, Float[np.ndarray, "H W"], float]]:
    """Scene, AUROC inside the thing and in the picture, map at the scene's size, score."""
    for scene in make_scenes(DAMAGED_OF, DAMAGE_SEED, "heldout", SIZE, objects=1):
        hurt = union(scene.damage_masks)
        whole = union(scene.masks) | hurt
        if not hurt.any() or not (whole & ~hurt).any():
            continue
        an = lens.anomaly(scene.image, scene.objects[0].name, domain=("photo", "picture"))
        values = an.upsample().numpy()
        inner = float(roc_auc_score(hurt[whole], values[whole]))
        yield scene, inner, float(roc_auc_score(hurt.ravel(), values.ravel())), values, an.score


def sentences(lens: Lens, everything: dict[str, Scene]) -> Image.Image:
    """A caption of each scene: the maps of the words with the highest scores, in the order of the sentence."""
    tiles = []
    for name, scene in everything.items():
        view = lens.sentence(scene.image, scene.captions[0].text)
        chosen = sorted(view.scores.argsort(descending=True)[:5].tolist())
        tiles.append(Tile(picture=heat.fit(scene.image, (TILE, TILE)), head=name))
        for index in chosen:
            tiles.append(
                Tile(
                    picture=warm(scene, view.maps[index].numpy(), zero=True),
                    head=view.words[index].text,
                    foot=f"score {float(view.scores[index]):+.3f}",
                )
            )
    return sheet(
        tiles,
        6,
        "The five words of the highest score, in their order",
        tuple(f"{name}: {scene.captions[0].text}" for name, scene in everything.items()),
    )


def refined(lens: Lens, some: Sequence[Scene]) -> Image.Image:
    """The maps of every noun of some scenes, refined in each way."""
    tiles = [tile for scene in some for tile in refined_rows(lens, scene)]
    return sheet(
        tiles,
        len(tiles) // sum(len(words_of(scene)) for scene in some),
        "Maps of naclip, label contrast among all nouns, and what refinements make of them",
        (
            *(scene.captions[0].text for scene in some),
            "mask_mean is given the scene's own masks, as of a perfect segmenter; outside them the map stays.",
            "AUROC of the noun's pixels against all others, on these scenes alone.",
        ),
    )


@torch.no_grad()
def refined_rows(lens: Lens, scene: Scene) -> Iterator[Tile]:
    """A row of tiles for each noun of a scene."""
    large, x = lens.preprocess(scene.image, (SIZE, SIZE)), lens.preprocess(scene.image)
    texts = lens.encode_text(nouns(), templates=lens.card.templates)
    rows = [nouns().index(word) for word in words_of(scene)]
    maps = lens.maps(x, texts, "naclip", "labels")[:, rows]
    plain = torch.nn.functional.interpolate(maps, (SIZE, SIZE), mode="bilinear", align_corners=False)
    masks = torch.from_numpy(scene.masks.copy())
    ways: dict[str, Tensor] = {
        "patches": torch.nn.functional.interpolate(maps, (SIZE, SIZE), mode="nearest"),
        "bilinear": plain,
        "pamr": pamr(maps, large),
        "guided_upsample": guided_upsample(maps, large),
        "bilateral_upsample": bilateral_upsample(maps, large),
        "propagate": propagate(plain, large, texts[rows], grid=56),
        "mask_mean": mask_mean(plain[0], masks)[0][None],
    }
    for number, word in enumerate(words_of(scene)):
        truth = scene.mask(word).ravel()
        for way, made in ways.items():
            values = made[0, number].numpy()
            area = float(roc_auc_score(truth, values.ravel()))
            picture = warm(scene, values, zero=True, side=SMALL)
            yield Tile(picture=picture, head=way, foot=f"{word}: AUROC {area:.2f}")


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs/assets")
    out = parser.parse_args().out
    warnings.simplefilter("ignore", ClipsightWarning)  # settings nobody tested: docs/choosing.md says so
    lens, everything = clipsight.load("clipsight-tiny"), scenes()
    drawn = {
        "segment": segments(lens, everything["ordinary"]),
        "tag": tags(lens, everything),
        "points": points(lens, everything),
        "anomaly": anomalies(lens),
        "sentence": sentences(lens, everything),
        "refine": refined(lens, [everything["ordinary"], everything["hard"]]),
    }
    for name, picture in drawn.items():
        picture.save(out / f"task_{name}.webp", quality=80, method=6)


if __name__ == "__main__":
    main()
