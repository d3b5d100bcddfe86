"""Grad-CAM over patches: a block's channels weighed by the score's mean gradient with them."""

from typing import Literal

import torch
from einops import rearrange

from clipsight.attribution.image.passes import block_number, needs_blocks, run_image, slopes
from clipsight.attribution.image.registry import ImageAnswer, ImageQuestion, image_attribution
from clipsight.attribution.match import exact
from clipsight.attribution.passes import Trace
from clipsight.attribution.sources import GRAD_CAM

_KINDS = {"norm1": "normed", "input": "entered"}


@image_attribution(
    "gradcam",
    summary="Channels of a block's tokens weighed by the mean gradient of the score with them.",
    unit="class activation", signed=False, linear=False, gradients=True, needs=needs_blocks,
    sources=(GRAD_CAM,),
)  # fmt: skip
def gradcam(
    question: ImageQuestion,
    *,
    layer: int = -1,
    at: Literal["norm1", "input"] = "norm1",
    over: Literal["patches", "tokens"] = "patches",
    act: Literal["relu", "signed"] = "relu",
) -> ImageAnswer:
    """act(⟨α, Z_j⟩), α = mean over positions of ∂s/∂Z.

    Args:
        question: see `ImageQuestion`.
        layer: block, from 0 or negative from the end.
        at: Z is what its attention reads ("norm1") or what enters it ("input"); behind the last block no patch has a
            gradient.
        over: positions α is averaged over: the patches, or class token and registers too.
        act: "relu", Grad-CAM proper, or "signed".

    Raises:
        ValueError: another word, or no such block.
    """
    for value, name, known in (
        (at, "at", _KINDS),
        (over, "over", ("patches", "tokens")),
        (act, "act", ("relu", "signed")),
    ):
        if value not in known:
            raise ValueError(f"{name} is {value!r}; it is {' or '.join(map(repr, known))}.")
    view = question.view
    index = block_number(layer, view)
    trace = Trace(**{_KINDS[at]: (index,)})
    features = run_image(question, trace, index)
    z, first = trace[_KINDS[at], index], view.prefix
    counted = slice(first, None) if over == "patches" else slice(None)
    made = []
    for (slope,) in slopes(question, question.scores(features), [z]):
        alpha = exact(slope)[:, counted].mean(1, keepdim=True)
        made.append((exact(z)[:, first:] * alpha).sum(-1))
    maps = rearrange(torch.stack(made, 1), "B T (h w) -> B T h w", h=question.grid[0])
    return ImageAnswer(maps=maps.relu() if act == "relu" else maps, pooled=features)
