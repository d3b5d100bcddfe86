"""CLIPer's scores: shares of the texts at every depth, the deepest spread along the attention, and its decision.

Source: CLIPer (arXiv 2411.13836), the part that uses CLIP only: linsun449/cliper.code, scores as at c05fa41, the
decision as at 0bfad0d.
"""

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from clipsight.scoring.similarity import normalize

_CHUNK = 16


def cliper_scores(
    readouts: Float[Tensor, "L B h w E"],
    last_map: Float[Tensor, "B N N"],
    foreground: Float[Tensor, "F E"],
    background: Float[Tensor, "M E"],
    *,
    logit_scale: float = 100.0,
    attention_threshold: float = 0.2,
    select: int = -1,
) -> Float[Tensor, "B F h w"]:
    """Scores of the foreground texts, 0 or more.

    P_k = softmax over foreground texts, background texts and the foreground's mean direction of logit_scale · cosine
    with readout k, of which the foreground's part is kept. In P_select, of each text, values below
    attention_threshold times its greatest are set to 0; with A the map,

        score_j = sum_i P_select,i A_ij + mean over k of P_k,

    where the mean takes P_select with its zeros, as the released program does.

    Args:
        readouts: patch features of every readout, of any length.
        last_map: the last readout's map between patches, mean over heads, class token cut.
        foreground, background: text features of any length; there may be no background texts.
        logit_scale: published 100, for some data sets 50.
        attention_threshold: in [0, 1]; published 0.1 to 0.35.
        select: which readout is spread along the map.

    Raises:
        ValueError: a map of another number of patches than the readouts have, or a readout that does not exist.
    """
    depth, _, h, w, _ = readouts.shape
    if last_map.shape[-1] != h * w or not -depth <= select < depth:
        raise ValueError(
            f"cliper_scores needs a map of {h * w} patches and select in [{-depth}, {depth - 1}]; got "
            f"{last_map.shape[-1]} patches and select={select}. Usually the class token was left in the map: give "
            "last_map[:, 1:, 1:]."
        )
    texts = torch.cat([normalize(foreground), normalize(background)])
    texts = torch.cat([texts, normalize(normalize(foreground).mean(0, keepdim=True))])
    spread, total = None, torch.zeros(())
    for index, readout in enumerate(readouts):
        share = _shares(readout, texts, logit_scale)[:, : len(foreground)]
        if index == select % depth:
            share = share * (share >= attention_threshold * share.amax(-1, keepdim=True))
            spread = einsum(share, last_map.float(), "B F N, B N M -> B F M")
        total = share + total
    assert spread is not None  # the selected readout is one of them
    return rearrange(spread + total / depth, "B F (h w) -> B F h w", h=h)


def _shares(
    readout: Float[Tensor, "B h w E"], texts: Float[Tensor, "T E"], scale: float
) -> Float[Tensor, "B T N"]:
    rows = rearrange(normalize(readout), "B h w E -> B (h w) E")
    return (scale * einsum(texts, rows, "T E, B N E -> B T N")).softmax(1)


def cliper_decision(
    scores: Float[Tensor, "B F h w"],
    size: tuple[int, int],
    *,
    background_threshold: float,
    score_threshold: float,
    stretch: bool = False,
) -> Int[Tensor, "B H W"]:
    """A label for each pixel: 0 background, 1 for the first text, and so on.

    A text's score c is the greatest value of its map. Maps are resized bilinearly and brought to the maximum c, or
    with `stretch` to [0, 1]; a text with c at or below `score_threshold` is 0 everywhere. The greatest text wins;
    background is where all are below `background_threshold`, or, if that is 0, where (1 - greatest)² is not less.

    Args:
        scores: of `cliper_scores`, 0 or more.
        size: (height, width) of the result in pixels.
        background_threshold: published 1e-4 to 0.6.
        score_threshold: published 0 to 0.7.
        stretch: whether each map is stretched to [0, 1]; published for VOC21 only.

    Raises:
        ValueError: a negative threshold.
    """
    if background_threshold < 0 or score_threshold < 0:
        raise ValueError(
            f"cliper_decision needs thresholds of 0 or more; got background_threshold={background_threshold}, "
            f"score_threshold={score_threshold}. Published for VOC21: 0.6 and 0.7."
        )
    best = torch.zeros((len(scores), *size), device=scores.device)
    label = torch.zeros((len(scores), *size), dtype=torch.long, device=scores.device)
    for first in range(0, scores.shape[1], _CHUNK):
        part = scores[:, first : first + _CHUNK].float()
        strength = part.amax((2, 3), keepdim=True)
        maps = F.interpolate(part, size=size, mode="bilinear", align_corners=False)
        maps = maps / (maps.amax((2, 3), keepdim=True) + 1e-5) * strength
        if stretch:
            maps = maps - maps.amin((2, 3), keepdim=True)
            maps = maps / (maps.amax((2, 3), keepdim=True) + 1e-6)
        maps = maps * (maps >= background_threshold) * (strength > score_threshold)
        value, here = maps.max(1)
        label = torch.where(value > best, here + first + 1, label)
        best = torch.maximum(value, best)
    return label if background_threshold > 0 else label.masked_fill((1 - best).square() >= best, 0)
