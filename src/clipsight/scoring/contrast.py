"""Subtract what a map has in common for all texts: CLIP Surgery's feature surgery and similar contrasts.

A raw CLIP map is dominated by a part that is common to all texts. It is estimated from other texts (the labels
themselves, distractors) or from the empty prompt, and subtracted. Source: arXiv 2304.05653, xmed-lab/CLIP_Surgery at
d4696d4; the closed forms here never build the (B, T, N, E) product of the released code.
"""

from typing import Literal, assert_never, get_args

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from clipsight.scoring.similarity import pooled_similarity, similarity_maps

ContrastKind = Literal["none", "labels", "empty", "names"]

_TEMPERATURE = 2.0
"""Hard-coded in the released code, where the argument of that name is unused."""


def feature_surgery(
    patches: Float[Tensor, "B h w E"], pooled: Float[Tensor, "B E"], texts: Float[Tensor, "T E"]
) -> Float[Tensor, "B T h w"]:
    """Maps of each text, minus what all texts have in common.

    With cosines C and the weights w = p / mean(p), p = softmax over texts of twice the pooled cosines, the maps are

        S = w ∘ C - mean over texts of (w ∘ C).

    Args:
        patches, pooled: features of the same pictures; the weights are each picture's own.
        texts: at least two text features; the common part is estimated from them.

    Returns:
        Signed maps in float32 whose mean over the texts is 0 at every patch. The weights differ by picture and
        text, so maps of different pictures are not on one scale, and the best text of a patch may differ from that of
        the raw cosines: segment with `similarity_maps`. With two texts one map is minus the other.

    Raises:
        ValueError: fewer than two texts, for which the result would be 0 everywhere.
    """
    if len(texts) < 2:
        raise ValueError(
            f"feature surgery estimates what texts share and needs at least two of them, got {len(texts)}; "
            'contrast a single text with the empty prompt (contrast="empty") or with a list of distractor names.'
        )
    shares = torch.softmax(_TEMPERATURE * pooled_similarity(pooled, texts), dim=-1)
    weights = shares / shares.mean(dim=-1, keepdim=True)
    weighted = rearrange(weights, "B T -> B T 1 1") * similarity_maps(patches, texts)
    return weighted - weighted.mean(dim=1, keepdim=True)


def subtract_empty(
    patches: Float[Tensor, "B h w E"], texts: Float[Tensor, "T E"], empty: Float[Tensor, "*one E"]
) -> Float[Tensor, "B T h w"]:
    """Maps of each text, minus the map of the empty prompt: cosine(text) - cosine(empty), float32.

    Args:
        patches, texts: features of any length.
        empty: (E,) or (1, E), the feature of a prompt whose class slot is left empty.
    """
    return similarity_maps(patches, texts) - similarity_maps(patches, empty.reshape(1, -1))


def contrast_maps(
    patches: Float[Tensor, "B h w E"],
    pooled: Float[Tensor, "B E"],
    texts: Float[Tensor, "T E"],
    *,
    kind: ContrastKind = "none",
    contrast_texts: Float[Tensor, "*names E"] | None = None,
) -> Float[Tensor, "B T h w"]:
    """Maps of the texts under one of the four contrasts, raw and signed, float32.

    Args:
        patches, pooled, texts: features of any length.
        kind: `none` raw cosines; `labels` feature surgery among the texts; `empty` minus the map of the empty prompt;
            `names` feature surgery among the texts and distractors, of which only the texts' maps are returned.
        contrast_texts: the empty prompt's feature for `empty`, (M, E) distractors for `names`, None for the others.

    Raises:
        ValueError: unknown kind, or `contrast_texts` missing where the kind needs it or given where it has no use.
    """
    if kind not in get_args(ContrastKind):
        raise ValueError(
            f"contrast kind {kind!r} is not known; the kinds are {', '.join(get_args(ContrastKind))}."
        )
    if (contrast_texts is None) != (kind in ("none", "labels")):
        need = (
            "takes none"
            if contrast_texts is not None
            else "needs the feature of the empty prompt or of the distractors"
        )
        raise ValueError(
            f"contrast kind {kind!r} {need}; got contrast_texts={'None' if contrast_texts is None else 'a tensor'}."
        )
    match kind:
        case "none":
            return similarity_maps(patches, texts)
        case "labels":
            return feature_surgery(patches, pooled, texts)
        case "empty":
            assert contrast_texts is not None
            return subtract_empty(patches, texts, contrast_texts)
        case "names":
            assert contrast_texts is not None
            union = torch.cat([texts, contrast_texts.reshape(-1, texts.shape[-1]).to(texts)])
            return feature_surgery(patches, pooled, union)[:, : len(texts)]
        case _:
            assert_never(kind)
