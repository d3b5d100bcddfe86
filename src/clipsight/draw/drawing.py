"""How maps are drawn: everything that may be chosen, in one place."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image, ImageDraw

from . import heat, typeset
from .layout import SMALL, rounded
from .scaling import Number, Scale, ScaleChoice

ON, OFF = "#0072b2", "#d55e00"
DIM = 60  # black of the picture under points
SMALLEST_STAMP = 110  # a picture narrower than this has no room for words


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Choices for a drawing of maps.

    Attributes:
        scale: "own", "shared" or (low, high); see `choose_scale`.
        cmap: "signed" or a name of matplotlib.
        alpha: opacity of the highest score.
        interpolation: "bilinear", or "nearest" for the patches themselves.
        noise: scores of this size are noise, no scale is narrower; None takes the model's.
    """

    scale: ScaleChoice = "own"
    cmap: str = heat.CMAP
    alpha: Number = heat.ALPHA
    interpolation: heat.Interpolation = "bilinear"
    noise: Number | None = None

    def opacity(self, absent: bool) -> Number:
        """What is absent by verdict is muted."""
        return self.alpha * heat.MUTED if absent else self.alpha

    def layer(
        self, scores: Float[np.ndarray, "h w"], scale: Scale, size: tuple[int, int], absent: bool = False
    ) -> Image.Image:
        """The RGBA colour layer alone."""
        return heat.layer(
            scores,
            scale,
            size,
            cmap=self.cmap,
            alpha=self.opacity(absent),
            interpolation=self.interpolation,
        )

    def over(
        self,
        picture: Image.Image,
        scores: Float[np.ndarray, "h w"],
        scale: Scale,
        size: tuple[int, int],
        absent: bool = False,
    ) -> Image.Image:
        """The map over the pale picture at `size` = (H, W), RGB."""
        return heat.lay_over(heat.fit(picture, size), self.layer(scores, scale, size, absent))


def stamp(picture: Image.Image, words: str, ground: str) -> Image.Image:
    """A picture with a short line in a coloured field in its upper left corner; unchanged where there is no room."""
    if picture.width < SMALLEST_STAMP or picture.height < 40:
        return picture
    out = picture.copy()
    (shown,) = typeset.wrap(words, picture.width - 34, 1, SMALL, bold=True)
    rounded(out, (6, 6, 28 + typeset.width(shown, SMALL, bold=True), 30), ground, 12)
    typeset.write(ImageDraw.Draw(out), (17, 23), shown, SMALL, "white", bold=True)
    return out


def dots(
    picture: Image.Image,
    places: Int[np.ndarray, "P 2"],
    on: Bool[np.ndarray, "P"] | Sequence[bool],
    size: tuple[int, int],
) -> Image.Image:
    """Points over the pale picture: (x, y) in its pixels; circles where `on`, crosses elsewhere."""
    out = heat.backdrop(heat.fit(picture, size), DIM)
    pen, reach = ImageDraw.Draw(out), max(max(size) // 80, 4)
    for (x, y), filled in zip(places.tolist(), on, strict=True):
        at_x, at_y = (x + 0.5) * size[1] / picture.width, (y + 0.5) * size[0] / picture.height
        box = (at_x - reach, at_y - reach, at_x + reach, at_y + reach)
        if filled:
            pen.ellipse(box, ON, "white", 2)
            continue
        for width, colour in ((reach, "white"), (max(reach // 2, 2), OFF)):
            pen.line(box, colour, width)
            pen.line((box[0], box[3], box[2], box[1]), colour, width)
    return out
