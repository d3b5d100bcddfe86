"""Attention maps of a recipe, applied to the values."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from clipsight.surgery.recipe import Kernel


def attend(
    kernel: Kernel, parts: Mapping[str, Float[Tensor, "B K _ d"]], *, scale: float, prefix: int
) -> Float[Tensor, "B K N d"]:
    """Sum over branches of `weight · softmax(scale · left rightᵀ) v`, for the patches.

    Args:
        kernel: the branches.
        parts: heads of all S tokens by letter; every letter of `kernel.operands` is there.
        scale: factor on the scores, the block's own.
        prefix: tokens before the patches; they are keys and values but get no output.

    Returns:
        One output per patch and head; the maps are never materialised.
    """
    total: Tensor | None = None
    for branch in kernel.branches:
        out = F.scaled_dot_product_attention(
            parts[branch.left][:, :, prefix:], parts[branch.right], parts["v"], scale=scale
        )
        out = out if branch.weight == 1 else branch.weight * out
        total = out if total is None else total + out
    assert total is not None  # a kernel without branches cannot be made
    return total
