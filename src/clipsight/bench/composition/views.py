"""What of a picture a model is shown: as those who trained it evaluated it, unless something else is asked for."""

from dataclasses import dataclass
from typing import Literal, get_args

from PIL import Image

Shown = Literal["crop", "pad", "square", "native"]
"""Short side fitted and the middle cut out; long side fitted and black added; stretched; whole at its own shape."""
VIEWS: tuple[Shown, ...] = get_args(Shown)
BY_MODE: dict[str, Shown] = {"shortest": "crop", "longest": "pad", "squash": "square"}
"""open_clip's names of how a model's pictures are resized."""


@dataclass(frozen=True, kw_only=True)
class PictureView:
    """Brings pictures to the model's size; equals open_clip's transform for evaluation, before its normalising.

    Attributes:
        kind: see `Shown`. size: (H, W) pixels of the model. resampling: "bicubic" or "bilinear".
    """

    kind: Shown
    size: tuple[int, int]
    resampling: str

    def __call__(self, picture: Image.Image) -> Image.Image:
        """The picture at the model's size; as it is under "native"."""
        if self.kind == "native":
            return picture
        fitted = self._fitted(picture.size)
        # open_clip resizes for a crop that is not square with bicubic, whatever the model was trained with.
        told = self.kind != "crop" or self.size[0] == self.size[1]
        bilinear = told and self.resampling == "bilinear"
        how = Image.Resampling.BILINEAR if bilinear else Image.Resampling.BICUBIC
        resized = picture if picture.size == fitted else picture.resize(fitted, how)
        return _centred(resized, (self.size[1], self.size[0]))

    def _fitted(self, source: tuple[int, int]) -> tuple[int, int]:
        """(width, height) to resize to, before anything is cut off or added."""
        target = (self.size[1], self.size[0])
        if self.kind == "square":
            return target
        if self.kind == "crop" and target[0] == target[1]:
            # torchvision's Resize to a short side rounds the long side down.
            short = min(source)
            width, height = (target[0] if side == short else int(target[0] * side / short) for side in source)
            return width, height
        pick = min if self.kind == "crop" else max
        ratio = pick(side / wanted for side, wanted in zip(source, target, strict=True))
        width, height = (round(side / ratio) for side in source)
        return width, height


def _centred(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle (width, height) of a picture; what it does not reach is black."""
    if picture.size == size:
        return picture
    left, top = (
        # torchvision's CenterCrop rounds halves to even when it cuts and down when it pads.
        round((got - wanted) / 2) if got > wanted else -((wanted - got) // 2)
        for got, wanted in zip(picture.size, size, strict=True)
    )
    return picture.crop((left, top, left + size[0], top + size[1]))
