"""LeGrad: how sensitive the score, read at each layer, is to that layer's attention."""

import torch
from einops import rearrange
from torch import Tensor

from clipsight.attribution.image.passes import block_number, needs_blocks, run_image
from clipsight.attribution.image.registry import ImageAnswer, ImageQuestion, image_attribution
from clipsight.attribution.match import exact
from clipsight.attribution.passes import Trace
from clipsight.attribution.sources import LEGRAD
from clipsight.towers.view import VisionView


def _needs(view: VisionView) -> str:
    if any(not block.residual for block in view.blocks):
        return "its one block is the pool, so there are no layers to read a feature at."
    return needs_blocks(view)


@image_attribution(
    "legrad",
    summary="Positive gradients of the score, read at each layer, with respect to that layer's attention.",
    unit="sensitivity to attention", signed=False, linear=False, gradients=True, needs=_needs,
    sources=(LEGRAD,),
)  # fmt: skip
def legrad(question: ImageQuestion, *, start_layer: int = -4) -> ImageAnswer:
    """Σ over layers of the mean over heads and rows of max(0, ∂s⁽ˡ⁾/∂A⁽ˡ⁾).

    s⁽ˡ⁾ is the score of the mean over all tokens of what layer l gives, read out, as in the authors' program. They
    scale the sum to [0, 1] for each text; here it stays raw.

    Args:
        question: see `ImageQuestion`.
        start_layer: first block, from 0 or negative from the end.

    Raises:
        ValueError: no such block.
    """
    view = question.view
    depth = len(view.blocks)
    first = block_number(max(start_layer, -depth) if start_layer < 0 else start_layer, view)
    layers = range(first, depth)
    trace = Trace(weights=layers, left=layers)
    features = run_image(question, trace, first)
    total: Tensor | float = 0.0
    for index in layers:
        mean = trace["left", index].mean(1, keepdim=True)
        scores = question.scores(view.readout(mean)[:, 0])
        weights = trace["weights", index]
        rows = []
        for number in range(scores.shape[1]):
            (slope,) = torch.autograd.grad(
                scores[:, number].sum(), weights, retain_graph=True, create_graph=question.live
            )
            rows.append(exact(slope).relu().mean((1, 2))[:, view.prefix :])
        total = total + torch.stack(rows, 1)
    assert isinstance(total, Tensor)
    return ImageAnswer(maps=rearrange(total, "B T (h w) -> B T h w", h=question.grid[0]), pooled=features)
