"""Check tensors from the caller: refuse those that cannot be pictures or texts."""

import torch
from torch import Tensor


def check_inputs(x: Tensor, width: int | None, texts: Tensor | None = None) -> None:
    """Refuse pixels, and text features where they are given, from which nothing can be made.

    Raises:
        TypeError, ValueError: as `check_pixels` and `check_features`.
    """
    check_pixels(x)
    if texts is not None:
        check_features(texts, width)


def check_pixels(x: Tensor) -> None:
    """Refuse what is no batch of normalised pictures.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: another shape, no pictures, NaN or infinite pixels.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise TypeError(
            f"x is a {_kind(x)}; pixels are a floating-point tensor of shape (pictures, 3, height, width), as "
            "lens.preprocess(image) gives."
        )
    if x.ndim != 4 or x.shape[1] != 3:
        raise ValueError(
            f"x has shape {tuple(x.shape)}; pixels have (pictures, 3, height, width). For one picture write x[None]."
        )
    if not x.numel():
        raise ValueError(
            f"x of shape {tuple(x.shape)} holds no pictures; give at least one, of at least one patch."
        )
    if not torch.isfinite(x).all():
        raise ValueError(
            f"{_where(x)} of x holds NaN or infinite pixels; usual cause: a division by a deviation of 0, or overflow "
            "in half precision. lens.preprocess(image) gives pixels that are finite."
        )


def check_features(t: Tensor, width: int | None) -> None:
    """Refuse what is no set of text features.

    Args:
        t: given as text features.
        width: of the joint space, None where the model does not say.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: another shape, no texts, NaN or infinite numbers.
    """
    if not isinstance(t, Tensor) or not t.is_floating_point():
        raise TypeError(f"t is a {_kind(t)}; text features are a tensor, as lens.encode_text(texts) gives.")
    if t.ndim != 2 or width not in (None, t.shape[1]):
        raise ValueError(
            f"t has shape {tuple(t.shape)}; text features have (texts, {width or 'channels'}), as "
            "lens.encode_text(texts) gives."
        )
    if not len(t):
        raise ValueError("t holds no texts; give the feature of at least one.")
    if not torch.isfinite(t).all():
        raise ValueError(
            f"{_where(t, 'text')} of t holds NaN or infinite numbers; usual cause: features divided by a length of 0, "
            "or overflow in half precision. Encode the texts again with lens.encode_text."
        )


def _where(tensor: Tensor, what: str = "picture") -> str:
    rows = (~torch.isfinite(tensor)).flatten(1).any(1).nonzero().flatten().tolist()
    return f"{what} {rows[0]}" + (f" (and {len(rows) - 1} more)" if len(rows) > 1 else "")


def _kind(value: object) -> str:
    return (
        f"tensor of {str(value.dtype).removeprefix('torch.')}"
        if isinstance(value, Tensor)
        else type(value).__name__
    )
