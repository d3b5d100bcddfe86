"""Semantic feedback: which patches belong together according to a first segmentation.

The map re-enters the last block's attention in a second pass. Source: SFR of ResCLIP (arXiv 2411.15851),
yvhangyang/ResCLIP at 0e085f7; the released program takes one picture at a time and holds N² lines of all their steps.
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from clipsight.refine.pamr import pamr

_PAIRS = 1 << 22
"""Pairs of patches whose lines are walked at a time; it bounds the memory."""


def feedback_map(
    cosines: Float[Tensor, "B T h w"],
    image: Float[Tensor, "B 3 H W"],
    *,
    logit_scale: float = 40.0,
    threshold: float,
    path: bool = True,
) -> tuple[Int[Tensor, "B h w"], Float[Tensor, "B N N"]]:
    """The labels of the patches after a first pass, and the semantic map computed from them.

    Cosines are resized to the picture, refined by `pamr` (10 rounds, dilations 8 and 16) and turned into
    probabilities; then `patch_labels` and `semantic_map`.

    Args:
        cosines: patch scores of the first pass, not multiplied by the logit scale.
        image: normalised pixels, sides multiples of the grid.
        logit_scale: what cosines are multiplied by before the softmax over the texts.
        threshold: least probability of a pixel's label; published between 0.1 and 0.5, different for each data set.
        path: see `semantic_map`.

    Raises:
        ValueError: sizes or numbers that do not belong together.
    """
    grid = (cosines.shape[-2], cosines.shape[-1])
    pixels = F.interpolate(cosines.float(), size=image.shape[-2:], mode="bilinear", align_corners=False)
    probabilities = (logit_scale * pamr(pixels, image)).softmax(1)
    labels = patch_labels(probabilities, grid, threshold=threshold)
    return labels, semantic_map(labels, path=path)


def patch_labels(
    probabilities: Float[Tensor, "B T H W"], grid: tuple[int, int], *, threshold: float
) -> Int[Tensor, "B h w"]:
    """The most frequent label among the pixels of each patch, an index of a text.

    Args:
        probabilities: of each text at each pixel, summing to 1 over the texts.
        grid: (rows, columns) of patches; H and W are multiples of them.
        threshold: a pixel whose greatest probability is less counts for text 0, which in data sets with a background
            is the background.

    Returns:
        Of labels that are equally frequent the one of the least index.

    Raises:
        ValueError: pixels that do not divide into the grid.
    """
    height, width = probabilities.shape[-2:]
    if height % grid[0] or width % grid[1]:
        raise ValueError(
            f"patch_labels needs sides that are multiples of the grid; got {height} x {width} pixels for "
            f"{grid[0]} x {grid[1]} patches. Usually the remainder at the border was not cut off: resize the "
            f"probabilities to multiples of {grid[0]} and {grid[1]}."
        )
    sure, labels = probabilities.max(1)
    labels = labels.masked_fill(sure < threshold, 0)
    cells = rearrange(labels, "B (h p) (w q) -> B h w (p q)", h=grid[0], w=grid[1])
    counts = cells.new_zeros((*cells.shape[:3], probabilities.shape[1]))
    return counts.scatter_add_(-1, cells, torch.ones_like(cells)).argmax(-1)


def semantic_map(
    labels: Int[Tensor, "B h w"], *, path: bool = True, whole_line: bool = False, sigma: float = 5.0
) -> Float[Tensor, "B N N"]:
    """How much each patch should attend to each other patch, by their labels; rows sum to 1, float32.

        S_ij = 1 where i and j have one label, else 0; times exp(-c_ij / max c) where the line from i to j leaves it,

    c being the greater of the two distances along rows and columns. Each row is then blurred along the flattened
    patch index (which runs on from a row of the grid to the next, as released), cut at 0 and divided by its sum.

    Args:
        labels: of the patches, row by row.
        path: whether lines are looked at; otherwise S is only 0 or 1.
        whole_line: the released program looks only at the first c_ij / max c of the line, which is parity and the
            default; True looks at all of it.
        sigma: of the blur, in patches; its window is 6 sigma + 1 patches, less where the grid is smaller.

    Returns:
        The map of the patches before it is divided by its maximum. The caller adds zero rows and columns for the
        prefix tokens. Nothing is rounded to float16, as it is in the released program.
    """
    flat = rearrange(labels, "B h w -> B (h w)")
    same = (flat[:, :, None] == flat[:, None, :]).float()
    if path:
        same = same * _decay(labels, whole_line)
    return _blurred_rows(same, sigma)


def _blurred_rows(rows: Float[Tensor, "B N M"], sigma: float) -> Float[Tensor, "B N M"]:
    count = rows.shape[-1]
    window = min(count, int(6 * sigma + 1))
    window += 1 - window % 2
    x = torch.arange(window, device=rows.device) - window // 2
    kernel = torch.exp(-x.square() / (2 * sigma**2))
    kernel = rearrange(kernel / kernel.sum(), "window -> 1 1 window")
    stacked = rearrange(rows, "B N M -> (B N) 1 M")
    blurred = F.conv1d(stacked, kernel, padding=window // 2).relu()
    blurred = rearrange(blurred, "(B N) 1 M -> B N M", B=len(rows))
    return blurred / (blurred.sum(-1, keepdim=True) + 1e-8)


def _decay(labels: Int[Tensor, "B h w"], whole_line: bool) -> Float[Tensor, "B N N"]:
    """exp(-c_ij / max c) where the line from i to j meets another label than that of i, else 1."""
    _, h, w = labels.shape
    rows, columns = (torch.arange(size, device=labels.device, dtype=torch.int32) for size in (h, w))
    right = (columns[:, None] - columns).abs()
    parts = []
    for starts in rows.split(max(1, _PAIRS // (h * w * w))):
        down = (starts[:, None] - rows).abs()
        distance = torch.maximum(down[:, :, None, None], right)
        left = _leaves(labels.int(), starts, distance, whole_line)
        parts.append(torch.where(left, torch.exp(-distance / max(h - 1, w - 1, 1)), 1.0))
    return rearrange(torch.cat(parts, 1), "B y v x u -> B (y x) (v u)")


def _leaves(
    labels: Int[Tensor, "B h w"],
    starts: Int[Tensor, " y"],
    distance: Int[Tensor, "y h w w"],
    whole_line: bool,
) -> Bool[Tensor, "B y h w w"]:
    """Whether lines meet another label, walked in as many steps as the longest one has.

    Axes are the rows of the starts, all rows, and twice all columns: a line leads from (y, x) to (v, u). Its points are
    rounded rows, which depend on y and v alone, and rounded columns, which depend on x and u.
    """
    _, h, w = labels.shape
    rows, columns = (torch.arange(size, device=labels.device) for size in (h, w))
    own = rearrange(labels[:, starts], "B y x -> B y 1 x 1")
    left = torch.zeros((len(labels), *distance.shape), dtype=torch.bool, device=labels.device)
    for step, along in enumerate(torch.linspace(0, 1, max(h, w), device=labels.device)):
        row = (starts[:, None] * (1 - along) + rows * along).round().long().flatten()
        column = (columns[:, None] * (1 - along) + columns * along).round().long().flatten()
        points = labels.index_select(1, row).index_select(2, column)
        points = rearrange(points, "B (y v) (x u) -> B y v x u", v=h, u=w)
        met = points != own
        left |= met if whole_line else met & (distance >= step)
    return left
