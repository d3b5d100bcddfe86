"""Attention roll-out of the class token's row: the same map for every text."""

import torch
from einops import repeat

from clipsight.attribution.attention import rolled_out
from clipsight.attribution.image.passes import block_number, needs_class_row, run_image
from clipsight.attribution.image.registry import ImageAnswer, ImageQuestion, image_attribution
from clipsight.attribution.passes import Trace
from clipsight.attribution.sources import ROLLOUT

_BLIND = "Roll-out does not look at the texts: its map is the same for every text."


@image_attribution(
    "rollout",
    summary="Attention with the identity added, multiplied over layers; blind to the texts.",
    unit="attention after roll-out", signed=False, linear=False, gradients=False, needs=needs_class_row,
    sources=(ROLLOUT,),
)  # fmt: skip
def rollout(question: ImageQuestion, *, start_layer: int = 0) -> ImageAnswer:
    """The class token's row of Π ½(Ā + I), Ā the mean over heads.

    Args:
        question: see `ImageQuestion`.
        start_layer: block to begin with, from 0 or negative from the end.

    Raises:
        ValueError: no such block.
    """
    first = block_number(start_layer, question.view)
    layers = range(first, len(question.view.blocks))
    trace = Trace(weights=layers)
    with torch.set_grad_enabled(question.live):
        features = run_image(question, trace, len(question.view.blocks))
        joint = rolled_out([trace["weights", index].mean(1) for index in layers])
    row = joint[:, 0, question.view.prefix :]
    maps = repeat(row, "B (h w) -> B T h w", h=question.grid[0], T=len(question.directions))
    return ImageAnswer(maps=maps, pooled=features, notes=(_BLIND,))
