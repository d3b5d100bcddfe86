"""Methods that go on where cosines end: their own steps from patch features and texts to scores.

A recipe names the steps (`clipsight.features.steps`), this runs them with one pass of the tower. The texts that a step
weighs against each other are those asked for and, with distractors, these too; only the former's maps are returned.
"""

from collections.abc import Sequence
from functools import partial

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from clipsight.features import ImageFeatures, ImagePass, second_pass
from clipsight.features.steps import (
    AdjustTexts,
    Feedback,
    FilterVocabulary,
    KeySmoothing,
    LevelScores,
    MixClass,
    PromptDenoising,
    ScoreStep,
)
from clipsight.refine import feedback_map
from clipsight.scoring import ContrastKind, contrast_maps, pooled_similarity, similarity_maps
from clipsight.scoring.cliper import cliper_scores
from clipsight.scoring.denoising import key_smoothing, prompt_denoising
from clipsight.scoring.filter_vocabulary import affinity, filter_vocabulary
from clipsight.scoring.text_adjust import adjust_texts, mix_class


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
    features = fed_features(run, images, union)
    if not run.recipe.has_own_scores:
        maps = contrast_maps(
            features.patches, features.pooled, texts, kind=kind, contrast_texts=contrast_texts
        )
        return maps, features
    scores = similarity_maps(features.patches, union)
    for step in run.recipe.scoring:
        if not isinstance(step, Feedback):
            scores = _stepped(step, scores, run, images, features, union, len(texts), logit_scale)
    return scores[:, : len(texts)], features


def fed_features(
    run: ImagePass, images: Float[Tensor, "B 3 H W"], texts: Float[Tensor, "T E"]
) -> ImageFeatures:
    """Features of the pass's recipe, after a second pass by the labels of `texts` if it has feedback."""
    features = run.features()
    for step in run.recipe.scoring:
        if isinstance(step, Feedback):
            features = _fed_back(run, images, features, texts, step)
    return features


def _fed_back(
    run: ImagePass, images: Tensor, first: ImageFeatures, union: Float[Tensor, "T E"], step: Feedback
) -> ImageFeatures:
    """ResCLIP's second pass: which patches share a label of the first pass enters the last block's scores."""
    cosines = similarity_maps(first.patches, union).detach()
    _, together = feedback_map(
        cosines,
        images.detach(),
        logit_scale=step.logit_scale,
        threshold=step.threshold,
        path=step.path,
    )
    highest = together.amax((-2, -1), keepdim=True).clamp_min(torch.finfo(together.dtype).tiny)
    return run.features(second_pass(run.recipe, step), given={"semantic": (together / highest)[:, None]})


def _stepped(
    step: ScoreStep,
    scores: Float[Tensor, "B T h w"],
    run: ImagePass,
    images: Float[Tensor, "B 3 H W"],
    features: ImageFeatures,
    union: Float[Tensor, "T E"],
    asked: int,
    logit_scale: float,
) -> Float[Tensor, "B _ h w"]:
    match step:
        case KeySmoothing():
            keys = run.keys()
            projected = step.mode == "compat"
            keys = run.blocks[-1].merge(keys) if projected else rearrange(keys, "B K N d -> B N (K d)")
            return key_smoothing(scores, keys, threshold=step.threshold, mode=step.mode)
        case PromptDenoising():
            return prompt_denoising(scores, threshold=step.threshold)
        case AdjustTexts():
            patches = rearrange(features.patches, "B h w E -> B (h w) E")
            moved = adjust_texts(union, patches, features.pooled, move=step.move, cut=step.cut)
            each = zip(features.patches.split(1), moved, strict=True)
            return torch.cat([similarity_maps(one, texts) for one, texts in each])
        case MixClass():
            return mix_class(scores, features.pooled, union, share=step.share)
        case FilterVocabulary():
            return _purified(step, scores, run, images, union, logit_scale)
        case LevelScores():
            return _level_scores(step, run, features, union, asked)
        case _:
            raise TypeError(f"{type(step).__name__} is not a step that clipsight knows how to run.")


def _purified(
    step: FilterVocabulary,
    scores: Float[Tensor, "B T h w"],
    run: ImagePass,
    images: Tensor,
    union: Float[Tensor, "T E"],
    logit_scale: float,
) -> Float[Tensor, "B T h w"]:
    (attention,) = run.recipe.maps
    weights = run.map(attention).mean(1)[:, run.prefix :, run.prefix :]
    return filter_vocabulary(
        scores,
        affinity(weights),
        redundancy=step.redundancy,
        ambiguity=step.ambiguity,
        scale=logit_scale,
        winner=partial(_winner_of_crop, run, images, union),
    )


@torch.no_grad()
def _winner_of_crop(
    run: ImagePass,
    images: Float[Tensor, "B 3 H W"],
    union: Float[Tensor, "T E"],
    index: int,
    box: tuple[int, int, int, int],
    group: Sequence[int],
) -> int:
    """Which text of the group fits the box of patches best when the tower looks at that alone, at half its own size."""
    view = run.view
    top, left, bottom, right = (side * view.patch[i % 2] for i, side in enumerate(box))
    size = [max(round(side / 2 / p), 1) * p for side, p in zip(view.native_size, view.patch, strict=True)]
    crop = images[index : index + 1, :, top:bottom, left:right]
    crop = F.interpolate(crop, size, mode="bilinear", align_corners=False)
    return group[int(pooled_similarity(view.encode(crop, run.recipe.positions), union[list(group)]).argmax())]


def _level_scores(
    step: LevelScores, run: ImagePass, features: ImageFeatures, union: Float[Tensor, "T E"], asked: int
) -> Float[Tensor, "B F h w"]:
    """CLIPer's scores of the asked texts; distractors are its background."""
    assert features.levels is not None  # the recipe reads every block out
    (fused,) = run.recipe.maps
    weights = run.map(fused).mean(1)[:, run.prefix :, run.prefix :]
    return cliper_scores(
        features.levels,
        weights,
        union[:asked],
        union[asked:],
        logit_scale=step.logit_scale,
        attention_threshold=step.threshold,
    )
