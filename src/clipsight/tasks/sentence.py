"""Use a sentence's own tokens as texts, so that every word has a map and a score.

Token features are every position of the text tower after its final norm and projection, start and end token included.
Feature surgery across them subtracts what all of them share; a word's map is the mean of its tokens' maps, and its
score the mean of its map. Source: the author of arXiv 2304.05653 in issue 5 of xmed-lab/CLIP_Surgery; which number the
paper's figure shows for a word is not published, so the score is ours.

Not claimed: that a token's feature means something in the joint space. Only the end token's was trained to, and in a
causal tower a word knows the words before it alone.
"""

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from clipsight.language.reading import ReadCaption
from clipsight.scoring import feature_surgery
from clipsight.towers.view import TextView


@torch.no_grad()
def token_maps(
    patches: Float[Tensor, "1 h w E"], pooled: Float[Tensor, "1 E"], view: TextView, read: ReadCaption
) -> Float[Tensor, "S h w"]:
    """A map of every position up to the end token, signed; at every patch they sum to 0.

    Args:
        patches, pooled: features of the picture, any length; CLIP Surgery's recipe is meant.
        view: the text tower; it must let single tokens be read.
        read: the sentence.

    Raises:
        Unsupported: a tower that hides its tokens.
    """
    ids = read.ids[None, : read.used] if view.cuttable else read.ids[None]
    tokens = view.token_features(ids)[0, : read.used]
    return feature_surgery(patches, pooled, tokens.to(patches.device))[0]


def word_maps(maps: Float[Tensor, "S h w"], table: Float[Tensor, "P _"]) -> Float[Tensor, "P h w"]:
    """The mean map of each word's tokens: a word in many pieces weighs no more than a word in one.

    Args:
        maps: of the tokens.
        table: which share of each token lies in each word; positions behind the maps are left out.
    """
    shares = table[:, : len(maps)].to(maps)
    weights = shares / shares.sum(1, keepdim=True).clamp_min(torch.finfo(shares.dtype).tiny)
    return einsum(weights, maps, "P S, S h w -> P h w")
