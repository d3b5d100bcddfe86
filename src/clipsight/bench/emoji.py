"""What a model knows of the emoji world, and how well its maps point: figures with perfect ground truth."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional as F

from clipsight.lens import Lens
from clipsight.scoring import contrast_maps, pooled_similarity
from clipsight.scoring.presence import presence
from clipsight.surgery import Recipe
from clipsight.world import Scene, make_scenes, nouns

_BATCH = 50


def evaluate(lens: Lens, seed: int, count: int, method: str | Recipe = "clip_surgery") -> dict[str, float]:
    """All figures of one seed on the held-out split, by name; see the functions below for what they mean."""
    alone = list(make_scenes(count, seed, "heldout", objects=1))
    mixed = list(make_scenes(count, seed, "heldout"))
    figures = {
        "noun_top1": noun_accuracy(lens, alone),
        **foil_accuracy(lens, mixed),
        "presence_auroc": presence_auroc(lens, mixed),
    }
    for name, chosen, contrast in (
        ("raw", "clip", "none"),
        ("architecture_surgery", method, "none"),
        ("clip_surgery", method, "labels"),
    ):
        auroc, pointing = map_quality(lens, mixed, chosen, contrast)
        figures |= {f"{name}_pixel_auroc": auroc, f"{name}_pointing": pointing}
    return figures


def noun_accuracy(lens: Lens, scenes: Sequence[Scene]) -> float:
    """Share of one-object scenes whose noun scores highest among all nouns (prompt ensemble of the card)."""
    names = nouns()
    guesses = pooled_similarity(_pooled(lens, scenes), noun_features(lens)).argmax(1).tolist()
    return float(
        np.mean([names[g] == scene.objects[0].name for g, scene in zip(guesses, scenes, strict=True)])
    )


def foil_accuracy(lens: Lens, scenes: Sequence[Scene]) -> dict[str, float]:
    """By kind of foil, the share of pairs whose true caption scores strictly higher than the false one; chance 0.5."""
    pairs = [(index, foil) for index, scene in enumerate(scenes) for foil in scene.foils]
    pooled = _pooled(lens, scenes)[[index for index, _ in pairs]]
    said = [
        lens.encode_text(texts)
        for texts in ([foil.caption for _, foil in pairs], [foil.foil for _, foil in pairs])
    ]
    true, false = (F.cosine_similarity(pooled.float(), features.float(), dim=-1) for features in said)
    wins, kinds = (true > false).cpu().numpy(), np.array([foil.kind for _, foil in pairs])
    return {str(kind): float(wins[kinds == kind].mean()) for kind in np.unique(kinds)}


def presence_auroc(lens: Lens, scenes: Sequence[Scene]) -> float:
    """Area under the ROC curve of `presence`, present against absent nouns, over all scenes together."""
    names = nouns()
    cosines = pooled_similarity(_pooled(lens, scenes), noun_features(lens))
    scores = (
        presence(cosines, cosines, lens.logit_scale, torch.eye(len(names), dtype=torch.bool)).cpu().numpy()
    )
    there = np.array([[name in {o.name for o in scene.objects} for name in names] for scene in scenes])
    return float(roc_auc_score(there.ravel(), scores.ravel()))


def map_quality(
    lens: Lens, scenes: Sequence[Scene], method: str | Recipe, contrast: str
) -> tuple[float, float]:
    """(pixel AUROC, pointing) of the maps of every noun in its scene.

    Pixel AUROC: visible pixels of the noun against all others, on the map brought bilinearly to the picture's size;
    mean over scene×noun. Pointing: share of maps whose highest pixel lies on the noun.

    Args:
        method: recipe id or `Recipe`. contrast: "none" or "labels" (feature surgery among the nouns).
    """
    names, texts = nouns(), noun_features(lens)
    areas, hits = [], []
    for start in range(0, len(scenes), _BATCH):
        part = scenes[start : start + _BATCH]
        features = lens.features(_pixels(lens, part), method)
        for row, scene in enumerate(part):
            maps = contrast_maps(
                features.patches[row : row + 1],
                features.pooled[row : row + 1],
                texts,
                kind="labels" if contrast == "labels" else "none",
            )
            for name in dict.fromkeys(o.name for o in scene.objects):
                mask = scene.mask(name)
                one = maps[:, names.index(name), None].cpu()
                scores = F.interpolate(one, mask.shape, mode="bilinear", align_corners=False)[0, 0].numpy()
                areas.append(roc_auc_score(mask.ravel(), scores.ravel()))
                hits.append(bool(mask.ravel()[scores.argmax()]))
    return float(np.mean(areas)), float(np.mean(hits))


def noun_features(lens: Lens) -> Float[Tensor, "T E"]:
    """Prompt ensembles of all nouns of the world."""
    return lens.encode_text(nouns(), lens.card.templates or None)


def _pixels(lens: Lens, scenes: Sequence[Scene]) -> Float[Tensor, "B 3 H W"]:
    return torch.cat([lens.preprocess(scene.image) for scene in scenes])


def _pooled(lens: Lens, scenes: Sequence[Scene]) -> Float[Tensor, "B E"]:
    parts = [scenes[start : start + _BATCH] for start in range(0, len(scenes), _BATCH)]
    return torch.cat([lens.encode_image(_pixels(lens, part)) for part in parts])
