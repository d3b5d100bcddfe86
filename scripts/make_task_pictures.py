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
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from make_gallery import ABSENT, OBJECTS, SCENES, SEED, SIZE, dimmed
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import Tensor

import clipsight
from clipsight.draw import Drawing, Tile, bars, choose_scale, contact_sheet, dots, heat
from clipsight.errors import ClipsightWarning
from clipsight.refine import bilateral_upsample, guided_upsample, mask_mean, pamr, propagate
from clipsight.results import Points, Segmentation
from clipsight.results.tags import THERE
from clipsight.session.lens import Lens
from clipsight.world import Scene, make_scene, make_scenes, nouns

TILE, SMALL = 208, 168
WIDE_BARS = 330
ON, OFF = "#0072b2", "#e69f00"
ABSENTEES = (ABSENT, "umbrella", "pizza")
THRESHOLD = 0.6
DAMAGED_OF, DAMAGE_SEED = 240, 2024


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
    scale = choose_scale(scores, scores, "own", zero=zero, signed=True)
    return Drawing().over(scene.image, scores, scale, (side, side))


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
    return contact_sheet(
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
    return contact_sheet(
        [tile for scene in everything.values() for tile in barred(lens, scene)],
        2,
        f"Presence among all {len(nouns())} nouns: the highest, and the truth",
        (f"Blue is there, orange is not. The line is {THERE}, from which .there() counts a label.",),
    )


def barred(lens: Lens, scene: Scene) -> list[Tile]:
    """A scene beside a bar for each label."""
    found = lens.tag(scene.image, nouns())
    truth = words_of(scene)
    rows = found.top(8)
    rows += [found[word] for word in truth if word not in [row.label for row in rows]]
    drawn = bars(
        [(one.label, one.presence, f"{one.presence:.2f}", ON if one.label in truth else OFF) for one in rows],
        mark=THERE,
    )
    return [
        Tile(picture=heat.fit(scene.image, (WIDE_BARS, WIDE_BARS)), foot=", ".join(truth)),
        Tile(picture=drawn(WIDE_BARS)),
    ]


def points(lens: Lens, everything: dict[str, Scene]) -> Image.Image:
    """Points of every noun, and of two nouns together."""
    tiles = []
    for name, scene in everything.items():
        words = words_of(scene)
        ex = lens.explain(scene.image, [*words, ABSENT])
        for text in (*words, f"{words[1]}+{words[2]}"):
            mask = union(np.stack([scene.mask(word) for word in text.split("+")]))
            tiles.append(dotted(ex.points(text), f"{name}: {text}", mask))
    return contact_sheet(
        tiles,
        4,
        "Points for a segmenter",
        ("Circles mark the thing, crosses what it is not.",),
    )


def dotted(found: Points, head: str, mask: Bool[np.ndarray, "H W"]) -> Tile:
    """A scene with points, and how many of them are right."""
    picture = dots(Image.fromarray(found.image), found.xy, found.labels == 1, (TILE, TILE))
    on = int(mask[found.positives[:, 1], found.positives[:, 0]].sum())
    off = int((~mask)[found.negatives[:, 1], found.negatives[:, 0]].sum())
    said = f"on it {on} of {len(found.positives)}, off it {off} of {len(found.negatives)}"
    return Tile(picture=picture, head=head, foot=said)


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
    return contact_sheet(
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
    return contact_sheet(
        tiles,
        6,
        "The five words of the highest score, in their order",
        tuple(f"{name}: {scene.captions[0].text}" for name, scene in everything.items()),
    )


def refined(lens: Lens, some: Sequence[Scene]) -> Image.Image:
    """The maps of every noun of some scenes, refined in each way."""
    tiles = [tile for scene in some for tile in refined_rows(lens, scene)]
    return contact_sheet(
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
