"""From scores of windows to scores of pixels, and then to probabilities: the definition, and its matrices.

Source: the segmentation head of wangf3014/SCLIP at b56bd30, shared by the programs of that family. Scores of a window
are resized to its pixels, added up over windows, divided by the number of windows at each pixel and resized to the
picture, all before the softmax. Every step is linear and works on rows and columns alike, so together they are one
matrix for rows and one for columns, and any part of the result can be made without the rest.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from clipsight.tasks.windows import Span, Windows

Number = int | float


@dataclass(frozen=True, eq=False)
class Stitched:
    """Scores of all windows on a picture of `size`, turned into scores of pixels part by part.

    Attributes:
        scores: cosines (or a method's own scores) of each query in each window, windows row by row, float32.
        windows: where they lie.
        size: (H, W) pixels of the original picture, to which the stitched scores are resized.

    Raises:
        ValueError: another number of windows than of scores, or scores that are not finite.
    """

    scores: Float[Tensor, "Q n h w"]
    windows: Windows
    size: tuple[int, int]

    def __post_init__(self) -> None:
        """Refuse scores of other windows, and such as have no order."""
        if self.scores.shape[1] != len(self.windows) or 0 in self.scores.shape or min(self.size) < 1:
            raise ValueError(
                f"scores of {tuple(self.scores.shape)} (queries, windows, h, w) were given for {len(self.windows)} "
                f"windows and a picture of {self.size}; each window needs its own, in the order of the windows."
            )
        if not bool(self.scores.isfinite().all()):
            raise ValueError(
                "the scores hold NaN or infinity, so no label is better than another; the usual cause is half "
                "precision or damaged weights. Load the model with dtype=torch.float32."
            )

    @cached_property
    def _table(self) -> Float[Tensor, "Q y x"]:
        """The grids of all windows side by side."""
        return rearrange(self.scores.float(), "Q (i j) h w -> Q (i h) (j w)", i=len(self.windows.rows))

    @cached_property
    def _down(self) -> Float[Tensor, "H y"]:
        return stitching(self.windows.rows, self.scores.shape[2], self.windows.size[0], self.size[0]).to(
            self.scores.device
        )

    @cached_property
    def _across(self) -> Float[Tensor, "W x"]:
        return stitching(self.windows.columns, self.scores.shape[3], self.windows.size[1], self.size[1]).to(
            self.scores.device
        )

    def part(self, rows: Span, columns: Span, queries: slice = slice(None)) -> Float[Tensor, "Q r c"]:
        """Scores at the pixels of some rows and columns of the original picture."""
        down, y = _reached(self._down[slice(*rows)])
        across, x = _reached(self._across[slice(*columns)])
        return down @ (self._table[queries, y, x] @ across.T)

    def whole(self, queries: slice = slice(None)) -> Float[Tensor, "Q H W"]:
        """Scores at all pixels; takes 4·Q·H·W bytes."""
        return self.part((0, self.size[0]), (0, self.size[1]), queries)

    def means(self, block: tuple[int, int]) -> Float[Tensor, "Q r c"]:
        """Means of the scores over blocks of `block` = (height, width) pixels, computed without the pixels.

        What is left over at the bottom and the right is dropped, as average pooling does.
        """
        down, across = (
            reduce(one[: len(one) // b * b], "(out b) cells -> out cells", "mean", b=b)
            for one, b in ((self._down, block[0]), (self._across, block[1]))
        )
        return down @ (self._table @ across.T)


def stitching(spans: tuple[Span, ...], cells: int, side: int, out: int) -> Float[Tensor, "out total"]:
    """The matrix that takes the cells of all windows along one side to the pixels of the original picture.

    Resize each window to its pixels, add, divide by the number of windows at each pixel, resize from `side` to `out`
    pixels; bilinear throughout, corners not aligned. Rows sum to 1.

    Args:
        spans: the windows along this side. cells: of each window.
        side: pixels that the windows lie on. out: pixels of the original picture.
    """
    one = torch.eye(cells)
    canvas = torch.zeros(len(spans), cells, side)
    count = torch.zeros(side)
    for index, (start, stop) in enumerate(spans):
        canvas[index, :, start:stop] = _resize(one, stop - start)
        count[start:stop] += 1
    return _resize(rearrange(canvas / count, "i cells side -> (i cells) side"), out).T.contiguous()


def _resize(lines: Float[Tensor, "n a"], side: int) -> Float[Tensor, "n b"]:
    return F.interpolate(lines[None], side, mode="linear", align_corners=False)[0]


def _reached(matrix: Float[Tensor, "r total"]) -> tuple[Float[Tensor, "r some"], slice]:
    """The columns that are used, and which ones they are."""
    used = matrix.any(0).nonzero()[:, 0]
    reach = slice(int(used[0]), int(used[-1]) + 1)
    return matrix[:, reach], reach


def class_probabilities(
    scores: Float[Tensor, "Q H W"],
    owner: Int[Tensor, " Q"],
    *,
    logit_scale: Number,
    area: Number = 0,
    background: bool = False,
) -> Float[Tensor, "C H W"]:
    """Probability of each class at each pixel: softmax over queries, best query per class, without small classes.

    P_q = softmax over q of λ S_q;  P_c = max over the queries q of c of P_q, so the P_c do not sum to 1;  then P_c is
    0 everywhere for each foreground class whose part of the foreground's pixels (by best class) is `area` or less.
    This is the definition, with all classes held at once; `segment_windows` gives the same labels without.

    Args:
        scores: raw cosines at the pixels.
        owner: class of each query; never falls, all classes have one.
        logit_scale: λ.
        area: 0 takes nothing out.
        background: class 0 is no foreground.
    """
    likely = (float(logit_scale) * scores.float()).softmax(0)
    classes = int(owner.max()) + 1
    best = torch.stack([reduce(likely[owner == index], "q H W -> H W", "max") for index in range(classes)])
    pixels = torch.bincount(best.argmax(0).flatten(), minlength=classes)
    return best * rearrange(large_enough(pixels, area, background), "C -> C 1 1")


def large_enough(pixels: Int[Tensor, " C"], area: Number, background: bool) -> Bool[Tensor, " C"]:
    """Which classes the area rule keeps: those with more than `area` of the foreground, and the background."""
    foreground = pixels.clone()
    if background:
        foreground[0] = 0
    kept = foreground > area * foreground.sum() if area else torch.ones_like(pixels, dtype=torch.bool)
    if background:
        kept[0] = True
    return kept
