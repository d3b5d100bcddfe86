"""From pixels to patches, and how to handle sizes that are not a multiple of the patch."""

from typing import Any


def patch_grid(
    height: int, width: int, patch: tuple[int, int], built_for: tuple[int, int] | None = None
) -> tuple[int, int]:
    """(h, w) in patches of a picture of `height` × `width` pixels.

    Args:
        height, width: of the picture, in pixels.
        patch: (height, width) of a patch.
        built_for: (H, W) that the library itself takes; some of its models leave the last pixels of that size unseen
            (SigLIP SO400M/14 takes 384 and sees 378), and are given it as they are in the library.

    Raises:
        ValueError: a side is not a positive multiple of the patch.
    """
    if (height, width) == built_for:
        return height // patch[0], width // patch[1]
    (rows, row_rest), (columns, column_rest) = divmod(height, patch[0]), divmod(width, patch[1])
    if row_rest or column_rest or min(rows, columns) < 1:
        near = tuple(max(round(n / p), 1) * p for n, p in zip((height, width), patch, strict=True))
        raise ValueError(
            f"a picture of {height} × {width} pixels (height × width) does not divide into patches of "
            f"{patch[0]} × {patch[1]}; the rest would be cut off unseen. "
            f"Resize it to {near[0]} × {near[1]}; lens.preprocess does so."
        )
    return rows, columns


def only_native(height: int, width: int, native: tuple[int, int], kind: str) -> None:
    """Refuse every size but one.

    Raises:
        ValueError: another size than `native`.
    """
    if (height, width) != native:
        raise ValueError(
            f"a picture of {height} × {width} pixels was given to a {kind}, which is built for {native[0]} × "
            f"{native[1]} alone; use resolution='square'."
        )


def pair(sides: Any) -> tuple[int, int]:
    """(height, width) of a size that a library stores as one number or two."""
    height, width = (sides, sides) if isinstance(sides, int) else sides
    return int(height), int(width)
