"""The part of a picture that a training step sees, at the model's size."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from clipsight.bench.composition.views import BY_MODE, PictureView
from clipsight.towers.loading import Preprocess

CropKind = Literal["random", "center", "none"]

_TRIES = 10


@dataclass(frozen=True, kw_only=True)
class Crop:
    """How pictures become the model's size.

    Attributes:
        kind: "random": a random part, resized, as open_clip trains (never mirrored: captions tell left from right).
            "center": the short side fitted and the middle cut out. "none": as the model is evaluated.
        scale: least and most share of the picture's area that a random part has.
        ratio: least and most width of a random part over its height, drawn from its logarithm.

    Raises:
        ValueError: an unknown kind, or numbers that are no range.
    """

    kind: CropKind = "random"
    scale: tuple[float, float] = (0.9, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        if self.kind not in get_args(CropKind):
            raise ValueError(
                f"the crop {self.kind!r} is not known; give one of {', '.join(get_args(CropKind))}."
            )
        if not 0 < self.scale[0] <= self.scale[1] <= 1 or not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(
                f"a random crop was asked for with scale={self.scale} and ratio={self.ratio}; each is (least, most), "
                "scale at most 1, as in scale=(0.9, 1.0)."
            )

    def __call__(
        self, picture: Image.Image, preprocess: Preprocess, rng: np.random.Generator
    ) -> UInt8[np.ndarray, "H W 3"]:
        """Pixels at the model's size, not normalised.

        Args:
            picture: mode RGB. rng: what "random" draws from; the others draw nothing.
        """
        kind = BY_MODE.get(preprocess.resize_mode, "crop") if self.kind == "none" else "crop"
        if self.kind == "random":
            picture, kind = picture.crop(self.box(picture.size, rng)), "square"
        view = PictureView(kind=kind, size=preprocess.size, resampling=preprocess.interpolation)
        return np.array(view(picture))

    def box(self, size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of a random part of a picture of (width, height).

        Where ten draws do not fit, the largest middle part of an allowed shape.
        """
        width, height = size
        for _ in range(_TRIES):
            area = width * height * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < wide <= width and 0 < high <= height:
                left, top = int(rng.integers(width - wide + 1)), int(rng.integers(height - high + 1))
                return left, top, left + wide, top + high
        allowed = min(max(width / height, self.ratio[0]), self.ratio[1])
        wide, high = max(1, min(width, round(height * allowed))), max(1, min(height, round(width / allowed)))
        left, top = (width - wide) // 2, (height - high) // 2
        return left, top, left + wide, top + high
