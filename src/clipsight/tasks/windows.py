"""Sliding windows: their positions, and the size to which the picture is resized for them.

A tower sees best at the size that it was trained at, so a larger picture is seen part by part. Source: the sliding
inference of wangf3014/SCLIP at b56bd30, shared by the programs of that family: windows at the far border are shifted
back and never padded, and a picture smaller than a window is one shorter window.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import floor

from clipsight.towers.preprocess import Fit

LONG_SIDE = 2048
"""Pixels that the long side may have in the published protocol."""

Span = tuple[int, int]
"""First pixel and the one behind the last."""


@dataclass(frozen=True, kw_only=True)
class Windows:
    """All windows on a picture: every span of rows with every span of columns, all of one size.

    Attributes:
        size: (H, W) pixels of the picture they lie on.
        rows, columns: spans in pixels, from the top and from the left; together they cover every pixel.
    """

    size: tuple[int, int]
    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    def __len__(self) -> int:
        """The number of windows."""
        return len(self.rows) * len(self.columns)

    def __iter__(self) -> Iterator[tuple[Span, Span]]:
        """(rows, columns) of each window, row by row."""
        return ((rows, columns) for rows in self.rows for columns in self.columns)

    @cached_property
    def window(self) -> tuple[int, int]:
        """(H, W) pixels of a window."""
        (top, bottom), (left, right) = self.rows[0], self.columns[0]
        return bottom - top, right - left


def spans(side: int, crop: int, stride: int) -> tuple[Span, ...]:
    """Where windows of `crop` pixels lie on a side, `stride` apart; the last ones are shifted back to the border.

    n = floor(max(side - crop + stride - 1, 0) / stride) + 1 windows, window i from min(i·stride, side - crop). A side
    shorter than the window is one span. `crop` 0 is the whole side.

    Raises:
        ValueError: a side below 1, or a stride that would leave gaps.
    """
    if side < 1 or crop < 0 or (crop and not 1 <= stride <= crop):
        raise ValueError(
            f"windows of {crop} pixels, {stride} apart, were asked on a side of {side} pixels; the stride must be 1 "
            "to the window's size, or pixels would be seen by no window. The published setting is crop 224, stride 112."
        )
    if not crop or side <= crop:
        return ((0, side),)
    count = max(side - crop + stride - 1, 0) // stride + 1
    starts = (min(index * stride, side - crop) for index in range(count))
    return tuple((start, start + crop) for start in starts)


def place_windows(size: tuple[int, int], crop: int, stride: int, patch: tuple[int, int] = (1, 1)) -> Windows:
    """Windows over a picture of `size` = (H, W) pixels.

    Args:
        size: as it is seen; see `fit_windows`.
        crop: pixels of a window's side, 0 for the whole picture at once.
        stride: pixels from one window to the next.
        patch: (height, width) of the model's patch, of which every window must be whole.

    Raises:
        ValueError: gaps between windows, or windows that would cut patches.
    """
    made = Windows(size=size, rows=spans(size[0], crop, stride), columns=spans(size[1], crop, stride))
    if any(side % p for side, p in zip(made.window, patch, strict=True)):
        raise ValueError(
            f"windows of {made.window[0]} × {made.window[1]} pixels would cut patches of {patch[0]} × {patch[1]}; "
            "the strip left over would be seen by nothing. Take the size from fit_windows, and a crop of whole patches."
        )
    return made


def fit_windows(
    picture: tuple[int, int],
    short_side: int,
    crop: int,
    patch: tuple[int, int],
    long_side: int | None = LONG_SIDE,
) -> Fit:
    """The (H, W) at which a picture is seen through windows: published where that fits whole patches.

    Both sides by scale = min(long_side / long, short_side / short), rounded to pixels, halves up. A side that is seen
    whole (it is not longer than the window, or `crop` is 0) is rounded to whole patches instead, at least one, so
    that no strip is cut off; the published programs cut it and stretch the rest.

    Args:
        picture: (H, W) in pixels.
        short_side: wanted pixels of the short side.
        crop: pixels of a window's side in whole patches, 0 for the whole picture.
        patch: (height, width) of the model's patch.
        long_side: most pixels of the long side, the short one shrinks with it; None for no limit.

    Raises:
        ValueError: a number below its least, or a crop that cuts patches.
    """
    if short_side < max(patch) or min(picture) < 1 or (crop and any(crop % p for p in patch)):
        whole = max(max(patch), round(crop / max(patch)) * max(patch))
        raise ValueError(
            f"a picture of {picture[0]} × {picture[1]} pixels (rows × columns) was to be seen with a short side of "
            f"{short_side} and windows of {crop} pixels, with patches of {patch[0]} × {patch[1]}; sides must hold a "
            f"patch and windows whole patches. Give short_side >= {max(patch)} and, say, a window of {whole}."
        )
    scale = short_side / min(picture)
    notes: tuple[str, ...] = ()
    if long_side is not None and long_side / max(picture) < scale:
        scale = long_side / max(picture)
        notes = (
            f"The long side was limited to {long_side} pixels: the short side was seen with "
            f"{min(picture) * scale:.0f} pixels, not {short_side}. Cut a panorama into parts to see it finer.",
        )
    sides = []
    for side, p in zip(picture, patch, strict=True):
        pixels = max(1, floor(side * scale + 0.5))
        sides.append(pixels if crop and pixels > crop else max(1, round(pixels / p)) * p)
    return Fit(size=(sides[0], sides[1]), notes=notes)
