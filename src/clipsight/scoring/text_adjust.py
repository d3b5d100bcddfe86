"""Move texts towards the picture: of each group of similar names, the best-fitting one takes over its patches.

Source: the text side of RF-CLIP (arXiv 2511.16170), liblacklucy/RF-CLIP at c2b333e, taken over from CASS
(arXiv 2411.17150), whose program at ebdaabd groups by Ward's linkage instead.
"""

import numpy as np
import torch
from einops import einsum, rearrange, repeat
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor
from torch.nn import functional as F

from clipsight.scoring.similarity import normalize, pooled_similarity

_PATCHES = 2
"""How many patches a text is moved towards."""

_SAME = 1e-6
"""Cosine distances below it are rounding."""

_CHUNK = 256


def cluster_texts(texts: Float[Tensor, "T E"], *, cut: float) -> Int[Tensor, " T"]:
    """Group of each text, 0 to K - 1, by complete linkage of cosine distances.

    Args:
        texts: features of any length.
        cut: greatest cosine distance (1 - cosine) within a group; 0 groups only texts of one direction.
    """
    if len(texts) < 2:
        return torch.zeros(len(texts), dtype=torch.long, device=texts.device)
    unit = normalize(texts).detach().cpu().double().numpy()
    upper = np.triu_indices(len(unit), 1)
    distances = (1 - unit @ unit.T)[upper]
    distances[distances < _SAME] = 0
    groups = fcluster(linkage(distances, method="complete"), t=cut, criterion="distance")
    return torch.from_numpy(groups.astype(np.int64) - 1).to(texts.device)


def adjust_texts(
    texts: Float[Tensor, "T E"],
    patches: Float[Tensor, "B N E"],
    pooled: Float[Tensor, "B E"],
    *,
    move: float,
    cut: float,
) -> Float[Tensor, "B T E"]:
    """Text features for each picture, at unit length, in float32.

    Texts are grouped by `cluster_texts`. In each group the text with the greatest cosine to the pooled feature becomes
    normalize((1 - move) · text + move · m), with m the mean direction of the two patches nearest to it; the other texts
    stay.

    Args:
        texts, patches, pooled: features of any length; patches and pooled of the same pictures.
        move: in [0, 1]; published between 0.01 and 0.05.
        cut: see `cluster_texts`; published between 0.02 and 0.14.

    Raises:
        ValueError: `move` outside [0, 1], or a negative `cut`.
    """
    if not 0 <= move <= 1 or cut < 0:
        raise ValueError(
            f"adjust_texts needs move in [0, 1] and cut >= 0; got move={move}, cut={cut}. Published for VOC20: "
            "move=0.02, cut=0.1."
        )
    unit, cells = normalize(texts), normalize(patches)
    chosen = _best_of_groups(pooled_similarity(pooled, texts), cluster_texts(texts, cut=cut))
    adjusted = repeat(unit, "T E -> B T E", B=len(patches)).clone()
    for part in chosen.split(_CHUNK, 1):
        index = repeat(part, "B K -> B K E", E=unit.shape[-1])
        towards = _nearest_mean(unit[part], cells)
        adjusted.scatter_(1, index, F.normalize((1 - move) * unit[part] + move * towards, dim=-1))
    return adjusted


def _best_of_groups(cosines: Float[Tensor, "B T"], groups: Int[Tensor, " T"]) -> Int[Tensor, "B K"]:
    """The text of the greatest cosine in each group, for each picture."""
    best = []
    for group in groups.unique():
        members = (groups == group).nonzero()[:, 0]
        best.append(members[cosines[:, members].argmax(1)])
    return torch.stack(best, 1)


def _nearest_mean(texts: Float[Tensor, "B K E"], patches: Float[Tensor, "B N E"]) -> Float[Tensor, "B K E"]:
    cosines = einsum(texts, patches, "B K E, B N E -> B K N")
    nearest = cosines.topk(min(_PATCHES, patches.shape[1]), dim=-1).indices
    batch = torch.arange(len(patches), device=patches.device)
    near = patches[rearrange(batch, "B -> B 1 1"), nearest]
    return F.normalize(near.mean(2), dim=-1)


def mix_class(
    maps: Float[Tensor, "B T h w"], pooled: Float[Tensor, "B E"], texts: Float[Tensor, "T E"], *, share: float
) -> Float[Tensor, "B T h w"]:
    """Maps with a share of how well each text fits the whole picture: (1 - share) · map + share · cosine, float32.

    Args:
        maps: cosines of the patches.
        pooled: of the whole picture, also where the maps are those of a window.
        texts: as given, not adjusted.
        share: in [0, 1]; published between 0.1 and 0.4.

    Raises:
        ValueError: `share` outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"mix_class needs a share in [0, 1], got {share}; published for VOC20: 0.4.")
    whole = rearrange(pooled_similarity(pooled, texts), "B T -> B T 1 1")
    return (1 - share) * maps.float() + share * whole
