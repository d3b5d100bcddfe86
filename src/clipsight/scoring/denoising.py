"""MaskCLIP's two repairs of raw scores: drop names that win nowhere; average unsure patches over similar keys.

Source: MaskCLIP (arXiv 2112.01071), chongzhou96/MaskCLIP at 83e0853; both are off in all its published configurations.
"""

from typing import Literal, assert_never, get_args

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

KeyNorm = Literal["paper", "compat"]

_DROPPED = -100.0
"""The score of a dropped text, below any cosine."""


def prompt_denoising(
    scores: Float[Tensor, "B T h w"], *, threshold: float = 0.5, scale: float = 100.0
) -> Float[Tensor, "B T h w"]:
    """Cosines in which texts that are probable nowhere in the picture have the score -100 everywhere, float32.

    With P = softmax over texts of scale · scores, a text stays if its greatest P over the patches is at least
    `threshold`. More texts share the same probability, so the threshold depends on how many are scored; if none stays
    in a picture, all its scores are -100 and equal.

    Args:
        scores: cosines, in [-1, 1].
        threshold: in [0, 1]; 0 keeps all.
        scale: what cosines are multiplied by before the softmax.
    """
    whole = scores.float()
    sure = (scale * whole).softmax(1).amax((2, 3), keepdim=True)
    return whole.masked_fill(sure < threshold, _DROPPED)


def key_smoothing(
    scores: Float[Tensor, "B T h w"],
    keys: Float[Tensor, "B N D"],
    *,
    threshold: float = 1.0,
    scale: float = 100.0,
    mode: KeyNorm = "paper",
) -> Float[Tensor, "B T h w"]:
    """Probabilities of the texts; uncertain patches get the sum over all patches, weighted by key similarity.

    With P = softmax over texts of scale · scores and W_ij = k_i·k_j, a patch i whose greatest P is below `threshold`
    takes sum_j W_ij P_j, which is not divided by a sum: its values are no longer probabilities and may exceed 1.

    Args:
        scores: cosines, in [-1, 1].
        keys: of the patches in the last block, heads side by side, without prefix tokens.
        threshold: in [0, 1]; 1 smooths all patches but those of probability 1, 0 none.
        scale: what cosines are multiplied by before the softmax.
        mode: "paper" takes keys at unit length, so W is their cosine. "compat" is the released ViT program, which
            divides each channel by its length over the patches, and is given keys that went through the output
            projection: pass those.

    Returns:
        Scores in float32, to be compared among texts at one patch.

    Raises:
        ValueError: an unknown mode, or keys of another number of patches than the scores have.
    """
    if mode not in get_args(KeyNorm):
        raise ValueError(
            f"key smoothing mode={mode!r} is not known; take one of {', '.join(get_args(KeyNorm))}."
        )
    h, w = scores.shape[-2:]
    if keys.shape[:2] != (len(scores), h * w):
        raise ValueError(
            f"key_smoothing needs keys of the {len(scores)} x {h * w} patches of the scores, got "
            f"{len(keys)} x {keys.shape[1]}. Usually the prefix tokens were left in: give keys[:, prefix:]."
        )
    match mode:
        case "paper":
            rows = F.normalize(keys.float(), dim=-1)
        case "compat":
            rows = F.normalize(keys.float(), dim=1)
        case _:
            assert_never(mode)
    likely = rearrange((scale * scores.float()).softmax(1), "B T h w -> B T (h w)")
    alike = einsum(rows, rows, "B N D, B M D -> B N M")
    smoothed = einsum(alike, likely, "B N M, B T M -> B T N")
    chosen = torch.where(likely.amax(1, keepdim=True) < threshold, smoothed, likely)
    return rearrange(chosen, "B T (h w) -> B T h w", h=h)
