"""Integrated gradients of pixels, from the picture of mean colour to the picture."""

import numpy as np
import torch
from einops import reduce

from clipsight.attribution.image.registry import ImageAnswer, ImageQuestion, image_attribution
from clipsight.attribution.match import exact
from clipsight.attribution.sources import INTEGRATED_GRADIENTS

_GAP = "The map adds up to what the score gains from the mean colour to the picture, but for {0:.1e} (largest gap)."


@image_attribution(
    "integrated_gradients",
    summary="Gradients of the score with the pixels, gathered from the picture of mean colour to the picture.",
    unit="score gained by the pixels", signed=True, linear=True, gradients=True, needs=lambda view: "",
    sources=(INTEGRATED_GRADIENTS,),
)  # fmt: skip
def integrated_gradients(question: ImageQuestion, *, steps: int = 32) -> ImageAnswer:
    """(x − 0) ∫ ∂s/∂x (αx) dα by Gauss and Legendre's rule, added up over the colours and pixels of each patch.

    0 is, after normalisation, the mean colour the tower was trained with. Each step serves all texts with one forward
    pass.

    Args:
        question: see `ImageQuestion`.
        steps: points of the rule.

    Raises:
        ValueError: no step.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; it is at least 1.")
    images = question.images.to(question.view.device, question.view.dtype)
    places, weights = np.polynomial.legendre.leggauss(steps)
    count = len(question.directions)
    total = torch.zeros(len(images), count, *images.shape[1:], device=images.device)
    for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
        point = images * float(place)
        point = point if point.requires_grad else point.detach().requires_grad_()
        scores = question.scores(_encode(question, point))
        for number in range(count):
            keep = question.live or number + 1 < count
            (slope,) = torch.autograd.grad(
                scores[:, number].sum(), point, retain_graph=keep, create_graph=question.live
            )
            total[:, number] = total[:, number] + float(weight) * exact(slope)
    h, w = question.grid
    maps = reduce(total * exact(images)[:, None], "B T C (h p) (w q) -> B T h w", "sum", h=h, w=w)
    with torch.no_grad():
        whole = _encode(question, images)
        gained = question.scores(whole) - question.scores(_encode(question, torch.zeros_like(images)))
        gap = float((maps.sum((2, 3)) - gained).abs().max())
    return ImageAnswer(maps=maps, pooled=whole, notes=(_GAP.format(gap),))


def _encode(question: ImageQuestion, pixels: torch.Tensor) -> torch.Tensor:
    if question.positions is None:
        return question.view.encode(pixels)
    return question.view.encode(pixels, question.positions)
