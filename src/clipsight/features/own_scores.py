"""A method's own scores: the steps named in its recipe, run in order on one pass of the tower.

The texts that a step weighs against each other are those asked for and, with distractors, these too; only the former's
maps are returned.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from clipsight.features.executor import ImagePass
from clipsight.features.image_features import ImageFeatures
from clipsight.features.steps import Asked
from clipsight.scoring import ContrastKind, contrast_maps, similarity_maps


def own_scores(
    run: ImagePass,
    images: Float[Tensor, "B 3 H W"],
    texts: Float[Tensor, "T E"],
    *,
    logit_scale: float,
    kind: ContrastKind = "none",
    contrast_texts: Float[Tensor, "*names E"] | None = None,
) -> tuple[Float[Tensor, "B T h w"], ImageFeatures]:
    """Maps of the texts by the scoring of the pass's recipe, float32, and the features behind them.

    A second pass by feedback gives new features, which are contrasted like any other; the other steps give scores of
    their own, for which the contrast only says which distractors take part.

    Args:
        run: a pass of `images` by a recipe with `scoring`.
        images: the same normalised pixels.
        texts: features of any length.
        logit_scale: the model's own factor on cosines.
        kind, contrast_texts: as for `contrast_maps`.
    """
    rivals = contrast_texts if kind == "names" and contrast_texts is not None else texts[:0]
    union = torch.cat([texts, rivals.reshape(-1, texts.shape[-1]).to(texts)])
    asked = Asked(run=run, images=images, texts=union, count=len(texts), logit_scale=logit_scale)
    features = _features(run, asked)
    if not run.recipe.has_own_scores:
        maps = contrast_maps(
            features.patches, features.pooled, texts, kind=kind, contrast_texts=contrast_texts
        )
        return maps, features
    scores = similarity_maps(features.patches, union)
    for step in run.recipe.scoring:
        scores = step.apply(scores, features, asked)
    return scores[:, : len(texts)], features


def fed_features(
    run: ImagePass, images: Float[Tensor, "B 3 H W"], texts: Float[Tensor, "T E"]
) -> ImageFeatures:
    """Features of the pass's recipe, after a second pass by the labels of `texts` if it has feedback."""
    return _features(run, Asked(run=run, images=images, texts=texts, count=len(texts), logit_scale=1.0))


def _features(run: ImagePass, asked: Asked) -> ImageFeatures:
    features = run.features()
    for step in run.recipe.scoring:
        features = step.features(features, asked)
    return features
