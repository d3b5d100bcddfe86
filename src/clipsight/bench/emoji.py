"""What a model knows about the emoji world, and how good its maps are, with perfect ground truth."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, UInt8
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional as F

from clipsight.bench.metrics import pixel_auroc
from clipsight.features import Recipe
from clipsight.scoring import pooled_similarity
from clipsight.scoring.presence import presence
from clipsight.session.lens import Lens
from clipsight.world import Scene, make_scenes, nouns

BACKGROUND = 255
"""The label of pixels that show no object."""

_BATCH = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class EmojiPart:
    """Some scenes made ready to be asked about, once for all methods.

    Attributes:
        pixels: as the model takes them.
        picture, noun: which picture, and which of `nouns()`, each of the M maps to be judged belongs to.
        masks: visible pixels of that noun in that picture, at the scene's own size.
        labels: index of the noun that each pixel shows, `BACKGROUND` where there is none.
    """

    pixels: Float[Tensor, "B 3 H W"]
    picture: Int[Tensor, " M"]
    noun: Int[Tensor, " M"]
    masks: Bool[np.ndarray, "M rows columns"]
    labels: UInt8[np.ndarray, "B rows columns"]


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
        method: recipe id or `Recipe`.
        contrast: "none" or "labels" (feature surgery among the nouns), or another of `Lens.maps`.
    """
    texts = noun_features(lens)
    areas, hits = [], []
    for part in ready(lens, scenes):
        maps = lens.maps(part.pixels, texts, method, contrast)
        for found, figures in zip((areas, hits), judge_maps(maps, part), strict=True):
            found.append(figures)
    return float(np.concatenate(areas).mean()), float(np.concatenate(hits).mean())


def judge_maps(
    maps: Float[Tensor, "B T h w"], part: EmojiPart
) -> tuple[Float[np.ndarray, " M"], Bool[np.ndarray, " M"]]:
    """(pixel AUROC, pointing) of each map of a noun that is in its picture; `map_quality` says what they are.

    Args:
        maps: scores of the scenes of `part`, T = all of `nouns()` in their order; any grid.

    Raises:
        ValueError: a score that is not finite.
    """
    wanted = rearrange(maps[part.picture, part.noun], "M h w -> M 1 h w").float().cpu()
    drawn = F.interpolate(wanted, part.masks.shape[1:], mode="bilinear", align_corners=False)
    scores = rearrange(drawn, "M 1 rows columns -> M (rows columns)").numpy()
    there = rearrange(part.masks, "M rows columns -> M (rows columns)")
    return pixel_auroc(scores, there), there[np.arange(len(there)), scores.argmax(1)]


def ready(lens: Lens, scenes: Sequence[Scene]) -> Iterator[EmojiPart]:
    """Scenes of one size, a few at a time, as the model takes them and with their truth."""
    names = nouns()
    assert len(names) <= BACKGROUND
    for start in range(0, len(scenes), _BATCH):
        few = scenes[start : start + _BATCH]
        judged = [(row, name) for row, one in enumerate(few) for name in _there(one)]
        labels = np.full((len(few), *few[0].masks.shape[1:]), BACKGROUND, np.uint8)
        for row, name in judged:
            labels[row, few[row].mask(name)] = names.index(name)
        yield EmojiPart(
            pixels=_pixels(lens, few),
            picture=torch.tensor([row for row, _ in judged]),
            noun=torch.tensor([names.index(name) for _, name in judged]),
            masks=np.stack([few[row].mask(name) for row, name in judged]),
            labels=labels,
        )


def noun_features(lens: Lens) -> Float[Tensor, "T E"]:
    """Prompt ensembles of all nouns of the world."""
    return lens.encode_text(nouns(), lens.card.templates or None)


def _there(scene: Scene) -> list[str]:
    """The nouns of a scene, each once."""
    return list(dict.fromkeys(one.name for one in scene.objects))


def _pixels(lens: Lens, scenes: Sequence[Scene]) -> Float[Tensor, "B 3 H W"]:
    return torch.cat([lens.preprocess(scene.image) for scene in scenes])


def _pooled(lens: Lens, scenes: Sequence[Scene]) -> Float[Tensor, "B E"]:
    parts = [scenes[start : start + _BATCH] for start in range(0, len(scenes), _BATCH)]
    return torch.cat([lens.encode_image(_pixels(lens, part)) for part in parts])
