"""Points for several texts in one picture, and the masks that a segmenter makes from them."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from clipsight.draw import png_bytes
from clipsight.pictures import read_picture
from clipsight.refine.mask_vote import SamMasks
from clipsight.results import atomic_write, json_bytes, suffix_of
from clipsight.results.explanation import Explanation
from clipsight.results.mask_files import run_lengths
from clipsight.results.points import Points

_MASK = re.compile(r"\.(\d+)-[^.]*\.png$", re.IGNORECASE)
"""The end of a mask's file name, with the number of its target."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptedMask:
    """The segmenter's best mask for the points of one text, and its own score of it."""

    mask: Bool[np.ndarray, "H W"]
    score: float

    @property
    def pixels(self) -> int:
        """Pixels on the mask."""
        return int(self.mask.sum())


Segmenter = Callable[[Image.Image, Points], SamMasks]
"""Makes candidate masks of points in a picture, best first."""


class SamSegmenter:
    """SAM or SAM 2, loaded once.

    Args:
        name: checkpoint for transformers, a name or a folder. device: where it runs.

    Raises:
        Unsupported: transformers is not installed, or the checkpoint is another kind of model.
        OSError: the weights cannot be had.
    """

    def __init__(self, name: str, device: str = "cpu") -> None:
        from clipsight.refine import load_sam

        self.device = device
        self._loaded = load_sam(name, device)

    def __call__(self, image: Image.Image, points: Points) -> SamMasks:
        """Candidate masks of one text's points."""
        from clipsight.refine import sam_masks

        return sam_masks(image, points.xy, points.labels, device=self.device, loaded=self._loaded)


@dataclass(frozen=True, kw_only=True, eq=False)
class PointPrompts:
    """Points of every target in one picture; `masks` has None where no mask was asked for or there were no points."""

    explanation: Explanation
    targets: tuple[Points, ...]
    masks: tuple[PromptedMask | None, ...]

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write points as .json, the sheet of `grid()` as .png, or a mask as .NUMBER-NAME.png: 255 on it, 0 off.

        `photo.points.2-a-dog.png` is the mask of the second target. Errors as for `Explanation.save`.
        """
        path = Path(path)
        suffix_of(path, (".png", ".json"))
        with atomic_write(path, overwrite=overwrite) as file:
            if path.suffix.lower() == ".json":
                file.write(json_bytes(self.to_dict()))
            elif number := _MASK.search(path.name):
                found = self.masks[int(number[1]) - 1]
                mask = np.zeros(self.explanation.image.shape[:2], bool) if found is None else found.mask
                Image.fromarray(mask.astype(np.uint8) * 255).save(file, format="PNG")
            else:
                file.write(png_bytes(self.grid(), json_bytes(self.to_dict()).decode().strip()))
        return path

    def grid(self) -> Image.Image:
        """The sheets of all targets, one below the other; RGB."""
        sheets = [target.grid() for target in self.targets]
        whole = Image.new(
            "RGB", (max(one.width for one in sheets), sum(one.height for one in sheets)), "white"
        )
        top = 0
        for one in sheets:
            whole.paste(one, (0, top))
            top += one.height
        return whole

    def to_dict(self) -> dict[str, Any]:
        """Plain data: x to the right, y down, pixels of the picture; label 1 on the thing, 0 off it."""
        ex = self.explanation
        return {
            "kind": "points",
            "format": 1,
            "source": ex.source,
            "image_size": list(ex.image.shape[:2]),
            "targets": [
                {
                    "text": target.text,
                    "xy": target.xy.tolist(),
                    "labels": target.labels.tolist(),
                    "trust": {part: ex.trust[ex.index(part)] for part in parts_of(target.text)},
                    "mask": None if one is None else {"score": one.score, "rle": run_lengths(one.mask)},
                }
                for target, one in zip(self.targets, self.masks, strict=True)
            ],
            "provenance": ex.provenance.to_dict(),
        }


def point_prompts(
    explanation: Explanation,
    targets: Sequence[str],
    *,
    threshold: float = 0.8,
    downsample: int = 2,
    segmenter: Segmenter | None = None,
) -> PointPrompts:
    """Points for a segmenter for each target, and the masks that it finds.

    Args:
        explanation: of all `parts_of` the targets.
        targets: texts; "dog+cat" is both together.
        threshold, downsample: as for `Explanation.points`.
        segmenter: makes the masks; None leaves them out. It is not asked about targets without points.
    """
    found = tuple(explanation.points(one, threshold=threshold, downsample=downsample) for one in targets)
    masks: tuple[PromptedMask | None, ...] = (None,) * len(found)
    if segmenter is not None:
        image = read_picture(explanation.image)
        masks = tuple(_best(segmenter(image, points)) if len(points) else None for points in found)
    return PointPrompts(explanation=explanation, targets=found, masks=masks)


def parts_of(target: str) -> tuple[str, ...]:
    """The texts joined by "+"; a text such as "C++", where it joins nothing, stays whole."""
    parts = tuple(part.strip() for part in target.split("+"))
    return parts if all(parts) else (target,)


def _best(masks: SamMasks) -> PromptedMask:
    return PromptedMask(mask=masks.masks[0].numpy(), score=float(masks.scores[0]))
