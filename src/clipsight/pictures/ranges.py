"""Samples of more than eight bits brought to eight: by the range that the caller states, or by what they look like."""

import math

import numpy as np

from clipsight.errors import PictureError

ValueRange = tuple[int | float, int | float]
"""What is black and what is white, in the picture's own samples."""

_STRIP = 1 << 20
"""Samples of a deep picture scaled at a time."""

_HOW = "lens.see(PICTURE, value_range=({0:g}, {1:g})), or the same of clipsight.pictures.read_picture"


def check_range(value_range: object) -> ValueRange:
    """The range as two numbers.

    Raises:
        ValueError: not two finite numbers, black before white.
    """
    pair = value_range if isinstance(value_range, tuple | list) else ()
    numbers = [
        float(one) for one in pair if isinstance(one, int | float | np.number) and not isinstance(one, bool)
    ]
    if (
        len(pair) != 2
        or len(numbers) != 2
        or not all(map(math.isfinite, numbers))
        or not numbers[0] < numbers[1]
    ):
        raise ValueError(
            f"value_range={value_range!r} is not (black, white), two numbers of which the first is smaller; for twelve "
            "bits write (0, 4095)."
        )
    return numbers[0], numbers[1]


def guessed_range(samples: np.ndarray, kind: str, name: str) -> tuple[ValueRange, tuple[str, ...]]:
    """The range that samples of a kind have where nobody states it, and a note where that may be wrong.

    Args:
        samples: grey, finite.
        kind: "16" bits, "32" bits, or "float".
        name: of the picture, in quotes.

    Raises:
        PictureError: samples that no rule covers.
    """
    low, high = float(samples.min()), float(samples.max())
    floats = kind == "float"
    if not np.isfinite([low, high]).all() or low < 0 or high > (255 if floats else 65535):
        raise PictureError(
            f"cannot read the picture {name}: its samples run from {low:g} to {high:g} and nothing says which is "
            f"white; say it: {_HOW.format(low, high)}; or scale them to 0…255 and save it as an eight-bit PNG."
        )
    if floats:
        white = 1.0 if high <= 1 else 255.0
        note = (
            f"Its samples run to {high:.4g} and were read as 0…255, since they exceed 1. If white is another number, "
            f"say it: {_HOW.format(0, 1)}."
        )
        return (0.0, white), (note,) if 1 < high < 128 else ()
    if kind == "32" and high <= 255:
        return (0.0, 255.0), ()
    return (0.0, 65535.0), (dark_note(int(high)),) if 0 < high < 32768 else ()


def dark_note(high: int) -> str:
    """What is said of 16-bit samples of which none uses the upper bit."""
    bits = max(8, high.bit_length())
    return (
        f"Its 16-bit samples reach {high:,} of 65,535 and were read by the full range, so it is dark. If white is "
        f"another number, as in pictures of {bits} bits, say it: {_HOW.format(0, 2**bits - 1)}."
    )


def to_eight_bits(
    samples: np.ndarray, value_range: ValueRange, name: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """uint8 samples of the same shape: black to 0, white to 255, beyond clipped, which a note says.

    Raises:
        PictureError: a sample that is no finite number.
    """
    black, white = value_range
    scaled, beyond = np.empty(samples.shape, np.uint8), 0
    rows = max(1, _STRIP // max(1, math.prod(samples.shape[1:])))
    for top in range(0, len(samples), rows):
        part = slice(top, top + rows)
        levels = (samples[part].astype(np.float64) - black) * (255 / (white - black))
        if not np.isfinite(levels).all():
            raise PictureError(
                f"cannot read the picture {name}: it holds NaN or infinite samples; replace them first."
            )
        beyond += int(((levels < -0.5) | (levels > 255.5)).sum())
        scaled[part] = np.clip(np.round(levels), 0, 255)
    note = f"{beyond:,} samples lie outside {black:g}…{white:g} and were clipped."
    return scaled, (note,) if beyond else ()
