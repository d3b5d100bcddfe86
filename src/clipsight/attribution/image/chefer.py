"""Generic attention explainability (Chefer, Gur and Wolf) of the class token's row."""

import torch
from einops import rearrange

from clipsight.attribution.chefer import relevance
from clipsight.attribution.image.passes import block_number, needs_class_row, run_image, slopes
from clipsight.attribution.image.registry import ImageAnswer, ImageQuestion, image_attribution
from clipsight.attribution.match import exact
from clipsight.attribution.passes import Trace
from clipsight.attribution.sources import CHEFER


@image_attribution(
    "chefer",
    summary="The class token's row of attention weighed by its gradient, positive part, gathered over layers.",
    unit="relevance", signed=False, linear=False, gradients=True, needs=needs_class_row,
    sources=(CHEFER,),
)  # fmt: skip
def chefer(question: ImageQuestion, *, start_layer: int = -1) -> ImageAnswer:
    """The class token's row of R, where R ← R + mean over heads of max(0, ∂s/∂A ∘ A) R, from R = I on.

    The authors take s as a logit: multiply the directions by the logit scale for their numbers; from one block alone it
    only multiplies the map.

    Args:
        question: see `ImageQuestion`.
        start_layer: block to begin with, from 0 or negative from the end.

    Raises:
        ValueError: no such block.
    """
    first = block_number(start_layer, question.view)
    layers = range(first, len(question.view.blocks))
    trace = Trace(weights=layers)
    features = run_image(question, trace, first)
    weights = [trace["weights", index] for index in layers]
    rows = [
        relevance([exact(layer) for layer in weights], [exact(slope) for slope in made])[
            :, 0, question.view.prefix :
        ]
        for made in slopes(question, question.scores(features), weights)
    ]
    maps = rearrange(torch.stack(rows, 1), "B T (h w) -> B T h w", h=question.grid[0])
    return ImageAnswer(maps=maps, pooled=features)
