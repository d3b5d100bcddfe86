"""Cosines between patch features and text features: the raw map of every method."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def normalize(features: Float[Tensor, "*rows E"]) -> Float[Tensor, "*rows E"]:
    """Features at unit length along the last axis, in float32; a zero vector stays zero."""
    return F.normalize(features.float(), dim=-1)


def similarity_maps(
    patches: Float[Tensor, "B h w E"], texts: Float[Tensor, "T E"]
) -> Float[Tensor, "B T h w"]:
    """Cosine of every patch with every text, in [-1, 1], float32.

    Args:
        patches: patch features of any length.
        texts: text features of any length.
    """
    rows = rearrange(normalize(patches), "B h w E -> B E (h w)")
    maps = torch.matmul(normalize(texts), rows)
    return rearrange(maps, "B T (h w) -> B T h w", h=patches.shape[1])


def pooled_similarity(pooled: Float[Tensor, "B E"], texts: Float[Tensor, "T E"]) -> Float[Tensor, "B T"]:
    """Cosine of every picture's pooled feature with every text, in [-1, 1], float32."""
    return normalize(pooled) @ normalize(texts).T
