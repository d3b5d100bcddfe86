"""The output of one pass of an image tower."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageFeatures:
    """What one pass gives, in the tower's dtype, after the final norm and projection, not L2-normalised.

    Attributes:
        patches: one feature per patch, rows top to bottom, columns left to right.
        pooled: the tower's own image feature (`encode_image`), independent of the recipe.
        levels: of recipes with path=EveryBlock() the patch features of every block's read-out, first to last.
    """

    patches: Float[Tensor, "B h w E"]
    pooled: Float[Tensor, "B E"]
    levels: Float[Tensor, "L B h w E"] | None = None
