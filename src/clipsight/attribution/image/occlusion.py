"""Occlusion: what the score loses when a window of patches is covered."""

import torch
from jaxtyping import Float
from torch import Tensor

from clipsight.attribution.image.registry import ImageAnswer, ImageQuestion, image_attribution
from clipsight.attribution.sources import OCCLUSION


@image_attribution(
    "occlusion",
    summary="What the score loses when a window of the picture is covered by the mean colour, mean over windows.",
    unit="score lost without the window", signed=True, linear=True, gradients=False, needs=lambda view: "",
    sources=(OCCLUSION,),
)  # fmt: skip
def occlusion(question: ImageQuestion, *, window: int = 2, stride: int = 1, batch: int = 32) -> ImageAnswer:
    """S − s with the window covered; of a patch under several windows the mean. One encoding a window serves all texts.

    A covered pixel has the value 0 after normalisation, which is the mean colour the tower was trained with.

    Args:
        question: see `ImageQuestion`.
        window: patches to a side. stride: patches from one window to the next.
        batch: pictures in a pass.

    Raises:
        ValueError: a window or stride below 1, or a window that is larger than the grid.
    """
    h, w = question.grid
    if min(window, stride, batch) < 1 or window > min(h, w):
        raise ValueError(
            f"window {window}, stride {stride}, batch {batch}: each is at least 1, and a window fits {h} × {w} patches."
        )
    tops, lefts = (sorted({*range(0, n - window, stride), n - window}) for n in (h, w))
    covers = torch.zeros(len(tops) * len(lefts), h, w, device=question.images.device)
    for number, (top, left) in enumerate((t, s) for t in tops for s in lefts):
        covers[number, top : top + window, left : left + window] = 1
    pooled, lost = lost_under(question, 1 - covers, batch)
    counts = covers.sum(0).clamp(min=1)
    return ImageAnswer(maps=torch.einsum("bmt,mhw->bthw", lost, covers) / counts, pooled=pooled)


def lost_under(
    question: ImageQuestion, kept: Float[Tensor, "M h w"], batch: int
) -> tuple[Float[Tensor, "B E"], Float[Tensor, "B M T"]]:
    """Features of the whole pictures, and what every score loses when patches are dimmed to what of them is kept.

    Args:
        kept: from 0, a patch is covered by the mean colour, to 1, it stays; stretched to pixels by repetition.
        batch: pictures in a pass.
    """
    view, images = question.view, question.images.to(question.view.device)
    patch = images.shape[-2] // kept.shape[1], images.shape[-1] // kept.shape[2]
    masks = kept.repeat_interleave(patch[0], 1).repeat_interleave(patch[1], 2)[:, None].to(images)

    def encode(pictures: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N E"]:
        return (
            view.encode(pictures) if question.positions is None else view.encode(pictures, question.positions)
        )

    whole = encode(images)
    losses = []
    for number, image in enumerate(images):
        under = [
            question.scores(encode(image * masks[start : start + batch]))
            for start in range(0, len(masks), batch)
        ]
        losses.append(question.scores(whole[number : number + 1]) - torch.cat(under))
    return whole, torch.stack(losses)
