"""RISE: scores of a picture under many random masks, gathered where the masks let it through."""

import torch
from torch.nn import functional as F

from clipsight.attribution.image.occlusion import lost_under
from clipsight.attribution.image.registry import ImageAnswer, ImageQuestion, image_attribution
from clipsight.attribution.sources import RISE


@image_attribution(
    "rise",
    summary="The mean score under random masks that keep a patch, less the mean under all of them.",
    unit="score above the mean of the masks", signed=True, linear=True, gradients=False, needs=lambda view: "",
    sources=(RISE,),
)  # fmt: skip
def rise(
    question: ImageQuestion,
    *,
    masks: int = 500,
    cells: int = 7,
    keep: float = 0.5,
    seed: int = 0,
    batch: int = 32,
) -> ImageAnswer:
    """E[s | patch kept] − E[s] over masks M, estimated as Σ M_j s / Σ M_j − mean s; an encoding a mask for all texts.

    The paper divides by the number of masks and `keep` and leaves the mean in, which only adds a constant and the
    unevenness of the draw. What is masked has the mean colour.

    Args:
        question: see `ImageQuestion`.
        masks: how many. Error falls with their root.
        cells: a mask is a random grid of so many cells to a side, moved at random and stretched bilinearly.
        keep: chance of a cell to be kept.
        seed: of the draw, the same for every picture.
        batch: pictures in a pass.

    Raises:
        ValueError: no mask or cell, or `keep` outside (0, 1).
    """
    if masks < 1 or cells < 1 or batch < 1 or not 0 < keep < 1:
        raise ValueError(
            f"masks {masks}, cells {cells} and batch {batch} are at least 1, keep {keep} lies between 0 and 1."
        )
    h, w = question.grid
    draw = torch.Generator().manual_seed(seed)
    coarse = (torch.rand(masks, 1, cells + 1, cells + 1, generator=draw) < keep).float()
    step = -(-h // cells), -(-w // cells)
    large = F.interpolate(
        coarse, ((cells + 1) * step[0], (cells + 1) * step[1]), mode="bilinear", align_corners=False
    )
    tops, lefts = (torch.randint(0, n, (masks,), generator=draw) for n in step)
    kept = torch.stack(
        [one[0, t : t + h, left : left + w] for one, t, left in zip(large, tops, lefts, strict=True)]
    ).to(question.images.device)
    pooled, lost = lost_under(question, kept, batch)
    scores = question.scores(pooled)[:, None] - lost
    maps = torch.einsum("bmt,mhw->bthw", scores, kept) / kept.sum(0).clamp(min=1e-6)
    return ImageAnswer(maps=maps - scores.mean(1)[..., None, None], pooled=pooled)
