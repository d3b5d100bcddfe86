"""One recipe on scenes made ready: where its maps point, what they name, what they cost."""

import statistics
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from clipsight.bench.emoji import BACKGROUND, EmojiPart, judge_maps
from clipsight.bench.metrics import mean_iou
from clipsight.bench.world.cost import peak_bytes, seconds
from clipsight.bench.world.table import MapOutcomes, WorldFigures
from clipsight.features import Recipe, get_recipe
from clipsight.scoring import feature_surgery, similarity_maps
from clipsight.scoring.choice import Contrast
from clipsight.session.lens import Lens

_TIMED = 10


def measure(
    lens: Lens,
    recipe: str | Recipe,
    parts: Sequence[EmojiPart],
    texts: Float[Tensor, "T E"],
    contrast: Contrast = "labels",
) -> tuple[WorldFigures, MapOutcomes]:
    """The figures of one recipe, and what became of each map; `compare` says what they are."""
    areas, hits, scenes = [], [], []
    confusion = np.zeros((len(texts), len(texts)), np.int64)
    before = 0
    for part in parts:
        raw, maps = _raw_and_contrasted(lens, recipe, part.pixels, texts, contrast)
        for kept, figures in zip((areas, hits), judge_maps(maps, part), strict=True):
            kept.append(figures)
        confusion += naming_confusion(raw, part)
        scenes += [str(before + picture) for picture in part.picture.tolist()]
        before += len(part.pixels)
    outcomes = MapOutcomes(scene=tuple(scenes), auroc=np.concatenate(areas), hit=np.concatenate(hits))
    one_by_one = parts[0].pixels[:_TIMED].split(1)

    def look(pixels: Float[Tensor, "1 3 H W"]) -> Float[Tensor, "1 T h w"]:
        # to the CPU: an accelerator's work is waited for
        return lens.maps(pixels, texts, recipe, contrast).cpu()

    figures = WorldFigures(
        auroc=float(outcomes.auroc.mean()),
        pointing=float(outcomes.hit.mean()),
        miou=mean_iou(confusion),
        seconds_per_image=statistics.median([seconds(lambda p=pixels: look(p)) for pixels in one_by_one]),
        peak_mb=peak_bytes(lambda: look(one_by_one[0])) / 1e6,
    )
    return figures, outcomes


def _raw_and_contrasted(
    lens: Lens, recipe: str | Recipe, pixels: Tensor, texts: Tensor, contrast: Contrast
) -> tuple[Float[Tensor, "B T h w"], Float[Tensor, "B T h w"]]:
    """Both kinds of maps, from one encoding where the method's scores are cosines of features."""
    if contrast in ("labels", "none", None) and not get_recipe(recipe).has_own_scores:
        features = lens.features(pixels, recipe, texts)
        raw = similarity_maps(features.patches, texts)
        return raw, raw if contrast != "labels" else feature_surgery(features.patches, features.pooled, texts)
    return lens.maps(pixels, texts, recipe, None), lens.maps(pixels, texts, recipe, contrast)


def naming_confusion(maps: Float[Tensor, "B T h w"], part: EmojiPart) -> Int[np.ndarray, "T T"]:
    """Pixels of objects by the noun they show (row) and the noun whose map is highest there (column).

    Maps are brought bilinearly to the scene's size, at those pixels alone: few show an object. Ties go to the first.
    """
    nouns = maps.shape[1]
    confusion = np.zeros((nouns, nouns), np.int64)
    rows, columns = part.labels.shape[1:]
    for one, labels in zip(maps.float().cpu(), part.labels, strict=True):
        y, x = np.nonzero(labels != BACKGROUND)
        # Centres of pixels, with -1 and 1 the picture's edges: what `interpolate` computes without align_corners.
        spots = torch.from_numpy(
            np.stack([(2 * x + 1) / columns - 1, (2 * y + 1) / rows - 1], axis=-1)
        ).float()
        scores = F.grid_sample(one[None], spots[None, None], padding_mode="border", align_corners=False)
        named = scores[0, :, 0].argmax(0).numpy()
        pairs = labels[y, x].astype(np.int64) * nouns + named
        confusion += np.bincount(pairs, minlength=nouns * nouns).reshape(nouns, nouns)
    return confusion
