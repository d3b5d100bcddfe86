"""Pictures given as arrays."""

import numpy as np
from PIL import Image

from clipsight.errors import PictureError

from .decoding import check_size
from .ranges import ValueRange, to_eight_bits

_CURES = {
    "f": "write `(255 * x).round().astype(np.uint8)` when it runs from 0 to 1",
    "b": "write `255 * x.astype(np.uint8)`",
    "u": "write `(x // 257).astype(np.uint8)` when it has 16 bits",
    "i": "write `x.astype(np.uint8)` when it runs from 0 to 255",
}
"""By the kind of a dtype."""


def image_of_array(
    array: np.ndarray, value_range: ValueRange | None = None
) -> tuple[Image.Image, tuple[str, ...]]:
    """A Pillow image in mode L, RGB or RGBA of an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), and notes.

    The array is uint8, or of any numbers with their range.

    Errors: PictureError for arrays of another type or shape, without pixels or with too many.
    """
    notes = ()
    if value_range is not None and array.dtype.kind in "biuf" and array.ndim and array.size:
        array, notes = to_eight_bits(array, value_range, "array")
    if array.dtype != np.uint8:
        cure = _CURES.get(array.dtype.kind, "make numbers from 0 to 255 of it")
        raise PictureError(
            f"a picture array must be uint8 with values 0…255, got {array.dtype}; {cure}"
            ", or say the range: lens.see(array, value_range=(black, white))."
        )
    shape = array.shape
    if array.ndim == 4:
        raise PictureError(
            f"one picture was asked and an array of shape {shape} given; pass its pictures one by one."
        )
    if not (array.ndim == 2 or (array.ndim == 3 and shape[2] in (1, 3, 4))):
        planes = array.ndim == 3 and shape[0] in (1, 3, 4)
        cure = (
            "the channels come last: write `np.moveaxis(x, 0, -1)`" if planes else "give rows × columns × RGB"
        )
        raise PictureError(
            f"a picture array must have shape (H, W, 3), (H, W, 4) or (H, W), got {shape}; {cure}."
        )
    check_size((shape[1], shape[0]), "array")
    flat = array[..., 0] if array.ndim == 3 and shape[2] == 1 else array
    return Image.fromarray(np.ascontiguousarray(flat)), notes
