"""Rotated, shifted, mirrored and grey versions of a picture, to average a score over them.

Source: hq-deng/AnoVL at 3a70bfd, 22 views. Angles are kept on pictures that are not square: there the released formula,
which knows square pictures only, would shear.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, kw_only=True)
class AnomalyView:
    """One way of seeing a picture; applied to normalised pixels, (B, 3, H, W).

    Attributes:
        name: for results.
        turns: quarter turns counter-clockwise; odd ones exchange the sides.
        angle: radians, about the centre; what lies beyond the border is the picture mirrored.
        shift: (x, y) as fractions of half the sides.
        mirrored: left and right exchanged.
        grey: brightness only (of the normalised pixels, as released).
    """

    name: str
    turns: int = 0
    angle: float | int = 0.0
    shift: tuple[float | int, float | int] = (0.0, 0.0)
    mirrored: bool = False
    grey: bool = False

    def __call__(self, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 rows columns"]:
        """The picture as this view shows it, in the dtype of `x`."""
        if self.turns:
            x = torch.rot90(x, self.turns, (2, 3))
        if self.mirrored:
            x = x.flip(3)
        if self.grey:
            brightness = torch.einsum("b c h w, c -> b h w", x, torch.tensor(_LUMA).to(x))
            x = repeat(brightness, "B H W -> B 3 H W")
        return self._moved(x) if self.angle or any(self.shift) else x

    def _moved(self, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        aspect = max(x.shape[2] - 1, 1) / max(x.shape[3] - 1, 1)
        theta = torch.tensor([[cos, -sin * aspect, self.shift[0]], [sin / aspect, cos, self.shift[1]]])
        grid = F.affine_grid(theta.expand(len(x), 2, 3), list(x.shape), align_corners=True)
        moved = F.grid_sample(x.float(), grid.to(x.device), padding_mode="reflection", align_corners=True)
        return moved.to(x.dtype)


AS_IT_IS = AnomalyView(name="as it is")

ALL_VIEWS = (
    AS_IT_IS,
    *(
        AnomalyView(name=f"turned by {sixteenths}/16 pi", angle=sixteenths * math.pi / 16)
        for sixteenths in (-4, -3, -2, -1, 1, 2, 3, 4)
    ),
    *(
        AnomalyView(name=f"moved by {x}, {y}", shift=(x, y))
        for d in (0.2, 0.1)
        for x, y in ((d, d), (-d, d), (-d, -d), (d, -d))
    ),
    AnomalyView(name="mirrored", mirrored=True),
    AnomalyView(name="grey", grey=True),
    *(AnomalyView(name=f"{turns} quarter turns", turns=turns) for turns in (1, 2, 3)),
)
"""The 22 views over which AnoCLIP takes the mean of its picture score."""


def choose_views(asked: str | Sequence[AnomalyView] = "one") -> tuple[AnomalyView, ...]:
    """The views that an argument asks for.

    Args:
        asked: "one" the picture as it is; "all" the 22 of the paper; or `AnomalyView`s.

    Raises:
        ValueError: another word, or no views.
    """
    if isinstance(asked, str):
        if asked not in ("one", "all"):
            raise ValueError(
                f'views={asked!r} is unknown; give "one" (the picture as it is), "all" (22, as the paper; 22 times the '
                "work), or a list of View."
            )
        return (AS_IT_IS,) if asked == "one" else ALL_VIEWS
    if not asked:
        raise ValueError('views is empty; give "one", "all" or at least one View.')
    return tuple(asked)
