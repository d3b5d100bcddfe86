"""The answer to "what is where in this picture?"."""

import operator
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int32, Integer, UInt8
from PIL import Image
from torch import Tensor

from clipsight.draw import Number, printable
from clipsight.draw.palette import Colour, colour, hexadecimal
from clipsight.untrusted import strings

from . import mask_files
from .io import FORMAT, atomic_write, json_bytes, json_numbers, naming, read_npz, suffix_of, write_npz
from .provenance import Provenance
from .sheets import NOTHING as NOTHING
from .sheets import segmentation_overlay, segmentation_sheet
from .shown import Shown

SUFFIXES = (".png", ".npz", ".json", ".geojson")


@dataclass(frozen=True, kw_only=True, eq=False)
class Segmentation(Shown):
    """One picture and the class of each of its pixels, at the size of the picture, with how they were made.

    A class is as likely at a pixel as its likeliest word under a softmax over all words: the numbers say which of the
    given names fits best, not whether any of them is there. Two segmentations compare by identity; treat arrays as
    read-only.

    Errors: ValueError naming the field when shapes, types or numbers do not agree.

    >>> seg = clipsight.load("clipsight-tiny").segment("photo.jpg", ["cat", "dog", "grass"])
    >>> seg.mask("cat").sum(), seg.present
    >>> seg.save("photo.png")
    """

    image: UInt8[np.ndarray, "H W 3"]  # the original picture, RGB
    classes: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]  # what each class was looked for by
    background: bool  # class 0 is everything else
    labels: Int32[Tensor, "H W"]  # number of the class; -1 where no class has the pixel
    probability: Float[
        Tensor, "H W"
    ]  # of the best class; below a threshold where that made the pixel background
    scores: Float[Tensor, " C"]  # mean probability over the pixels of each class, 0 where it has none
    areas: Float[Tensor, " C"]  # each class's share of the pixels
    source: str  # name of the picture, "" if unknown
    provenance: Provenance

    def __post_init__(self) -> None:
        """Refuse fields that do not fit each other."""
        object.__setattr__(self, "classes", strings(self.classes, "classes"))
        object.__setattr__(self, "words", tuple(strings(words, "words of a class") for words in self.words))
        if (
            self.image.dtype != np.uint8
            or self.image.ndim != 3
            or self.image.shape[2] != 3
            or not self.image.size
        ):
            raise ValueError(
                f"image must be uint8 RGB of shape (H, W, 3), got {self.image.dtype} {self.image.shape}."
            )
        count, size = len(self.classes), tuple(self.image.shape[:2])
        if not count or len(self.words) != count:
            raise ValueError(
                f"a segmentation of {count} classes needs words for each, got {len(self.words)}."
            )
        wanted = {
            "labels": (size, torch.int32),
            "probability": (size, torch.float32),
            "scores": ((count,), torch.float32),
            "areas": ((count,), torch.float32),
        }
        for name, (shape, dtype) in wanted.items():
            value = getattr(self, name)
            if value.dtype != dtype or tuple(value.shape) != shape or value.device.type != "cpu":
                raise ValueError(
                    f"{name} must be {dtype} of shape {shape} on the CPU for {count} classes and this picture, got "
                    f"{value.dtype} {tuple(value.shape)} on {value.device}."
                )
        if int(self.labels.min()) < -1 or int(self.labels.max()) >= count:
            raise ValueError(
                f"labels must lie between -1 and {count - 1}, got {self.labels.min()} to {self.labels.max()}."
            )

    def __repr__(self) -> str:
        """One line: picture, classes with pixels, method, model."""
        height, width = self.image.shape[:2]
        some = ", ".join(f"{name} {self.areas[self.index(name)]:.0%}" for name in self.present[:4])
        more = f" and {len(self.present) - 4} more" if len(self.present) > 4 else ""
        return (
            f"Segmentation({self.source or 'picture'!r} {width}×{height}: {some or 'no class'}{more}; "
            f"{len(self.classes)} classes, {self.provenance.method} on {self.provenance.model})"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Fallbacks, limits and what was removed, one plain sentence each."""
        return self.provenance.notes

    @property
    def present(self) -> tuple[str, ...]:
        """Classes that have pixels, without the background, the largest first."""
        order = self.areas.argsort(descending=True, stable=True).tolist()
        return tuple(self.classes[k] for k in order if self.areas[k] > 0 and not (self.background and k == 0))

    def index(self, name: str | int) -> int:
        """The number of a class, or a checked number; KeyError, IndexError."""
        if isinstance(name, str):
            if name not in self.classes:
                some = ", ".join(map(repr, self.classes[:20])) + (", …" if len(self.classes) > 20 else "")
                raise KeyError(f"{name!r} was not asked; the classes are {some}")
            return self.classes.index(name)
        number = operator.index(name)
        if not 0 <= number < len(self.classes):
            raise IndexError(f"class {number} of {len(self.classes)}")
        return number

    def mask(self, name: str | int) -> Bool[Tensor, "H W"]:
        """Where a class has the pixels; empty if it has none."""
        return self.labels == self.index(name)

    @property
    def masks(self) -> dict[str, Bool[Tensor, "H W"]]:
        """The masks of all classes in `present`; takes a byte for each pixel of each."""
        return {name: self.mask(name) for name in self.present}

    def colour(self, name: str | int) -> Colour:
        """RGB of a class, the same in every drawing of these classes; a background class is drawn as nothing."""
        return colour(self.index(name) - self.background)

    def index_map(self) -> Integer[np.ndarray, "H W"]:
        """What the .png holds: 0 background or nothing, then the other classes in their order from 1."""
        labels = self.labels.numpy() + (0 if self.background else 1)
        return np.maximum(labels, 0).astype(np.uint8 if len(self.classes) < 256 else np.uint16)

    def overlay(
        self,
        *,
        alpha: Number = 0.5,
        contours: bool = True,
        names: bool = True,
        size: tuple[int, int] | None = None,
    ) -> Image.Image:
        """The picture with its classes in colour, RGB; background stays grey.

        `alpha`: opacity of the areas. `contours`: outlines in full colour. `names`: written where there is room.
        `size` = (H, W) pixels, the picture's own unless given, at most 1600 on the long side.
        """
        return segmentation_overlay(self, size, alpha=alpha, contours=contours, names=names)

    def grid(self, *, alpha: Number = 0.5) -> Image.Image:
        """The picture beside its overlay with a legend of areas and probabilities, and how they were made; RGB."""
        return segmentation_sheet(self, alpha)

    def lines(self) -> list[str]:
        """For each class with pixels one line: its share, its mean probability; then the notes."""
        return [
            *(
                f"{printable(name)}: {self.areas[self.index(name)]:.1%} of the pixels, probability "
                f"{self.scores[self.index(name)]:.2f}"
                for name in self.present
            ),
            *(f"note: {printable(note)}" for note in self.notes),
        ]

    def rle(self, name: str | int) -> dict[str, Any]:
        """The mask in COCO's compressed run lengths, ready for JSON; needs pycocotools (ImportError says how)."""
        return mask_files.compressed_run_lengths(self.mask(name).numpy())

    def to_detections(self) -> dict[str, Any]:
        """Arrays for `supervision.Detections(**seg.to_detections())`: one row for each class in `present`.

        xyxy (n, 4) float32, first and last pixel as `supervision.mask_to_xyxy` has them · mask (n, H, W) bool ·
        class_id (n,) numbers of the classes · confidence (n,) their scores · data with class_name (n,).
        """
        rows = [self.index(name) for name in self.present]
        masks = (
            np.stack([self.mask(k).numpy() for k in rows])
            if rows
            else np.zeros((0, *self.labels.shape), bool)
        )
        return {
            "xyxy": np.array([mask_files.box(mask) for mask in masks], np.float32).reshape(-1, 4),
            "mask": masks,
            "class_id": np.array(rows, int),
            "confidence": self.scores[rows].numpy(),
            "data": {"class_name": np.array([self.classes[k] for k in rows], dtype=str)},
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON without the picture; masks as COCO's uncompressed run lengths.

        `rle` is None for classes without pixels; `box` is (left, top, right, bottom), inclusive. Probabilities of
        single pixels are in the .npz only.
        """
        return {
            "kind": "segmentation",
            "format": FORMAT,
            "source": self.source,
            "image_size": list(self.image.shape[:2]),
            "background": self.background,
            "classes": [self._entry(k) for k in range(len(self.classes))],
            "unlabelled": float(str(np.float32((self.labels < 0).float().mean()))),
            "provenance": self.provenance.to_dict(),
        }

    def _entry(self, k: int) -> dict[str, Any]:
        mask = self.mask(k).numpy() if self.areas[k] > 0 else None
        shown = None if self.background and k == 0 else hexadecimal(self.colour(k))
        return {
            "name": self.classes[k],
            "words": list(self.words[k]),
            "colour": shown,
            "area": json_numbers(self.areas[k : k + 1].numpy())[0],
            "score": json_numbers(self.scores[k : k + 1].numpy())[0],
            "box": None if mask is None else list(mask_files.box(mask)),
            "rle": None if mask is None else mask_files.run_lengths(mask),
        }

    def to_geojson(self) -> dict[str, Any]:
        """A FeatureCollection of one MultiPolygon for each class in `present`, in pixels: x to the right, y down.

        See `mask_files.polygons` for what the outlines are. There is no place on Earth: programs that want one must
        be told that coordinates are pixels.
        """
        features = []
        for name in self.present:
            k = self.index(name)
            properties = {
                "name": name,
                "class_id": k,
                "colour": hexadecimal(self.colour(k)),
                "area": json_numbers(self.areas[k : k + 1].numpy())[0],
                "score": json_numbers(self.scores[k : k + 1].numpy())[0],
            }
            shapes = mask_files.polygons(self.mask(k).numpy())
            features.append(
                {
                    "type": "Feature",
                    "properties": properties,
                    "geometry": {"type": "MultiPolygon", "coordinates": shapes},
                }
            )
        height, width = self.image.shape[:2]
        about = {
            "source": self.source,
            "image_size": [height, width],
            "provenance": self.provenance.to_dict(),
        }
        return {"type": "FeatureCollection", "features": features, "clipsight": about}

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the result; the suffix chooses the format. Gives back the path.

        .png the label map with a palette (`index_map`), classes and provenance inside the file · .npz everything, for
        `load` · .json everything but the picture and the probabilities of pixels, masks as run lengths · .geojson
        polygons. The drawings are pictures of their own: `seg.grid().save("figure.png")`.

        Errors: ValueError for another suffix; FileExistsError unless `overwrite`; FileNotFoundError when the
        folder does not exist. A file is written whole or not at all.
        """
        suffix = suffix_of(path, SUFFIXES)
        with atomic_write(path, overwrite=overwrite) as file:
            if suffix == ".npz":
                write_npz(file, self._meta(), self._arrays())
            elif suffix == ".png":
                file.write(self._label_png())
            else:
                file.write(json_bytes(self.to_dict() if suffix == ".json" else self.to_geojson()))
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Segmentation":
        """Read a .npz that `save` wrote; nothing is lost on the way, and no code in the file is run.

        Errors: FileNotFoundError; ValueError when it is not such a file or from a newer clipsight.
        """
        names = ("image", "labels", "probability", "scores", "areas")
        meta, arrays = read_npz(path, names, kind="segmentation")
        with naming(path):
            return cls(
                image=arrays.pop("image"),
                **{name: torch.from_numpy(value) for name, value in arrays.items()},
                classes=strings(meta["classes"], "classes"),
                words=tuple(strings(words, "words of a class") for words in meta["words"]),
                background=meta["background"],
                source=meta["source"],
                provenance=Provenance.from_dict(meta["provenance"]),
            )

    def _meta(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("classes", "words", "background", "source")}
        return {"kind": "segmentation", "format": FORMAT, **plain, "provenance": self.provenance.to_dict()}

    def _arrays(self) -> dict[str, np.ndarray]:
        tensors = ("labels", "probability", "scores", "areas")
        return {"image": self.image, **{name: getattr(self, name).numpy() for name in tensors}}

    def _label_png(self) -> bytes:
        foreground = range(int(self.background), len(self.classes))
        about = {"kind": "label map", "source": self.source, "provenance": self.provenance.to_dict()}
        about["values"] = {str(k + 1 - self.background): self.classes[k] for k in foreground}
        settings = json_bytes(about).decode().strip()
        return mask_files.label_png(self.index_map(), [self.colour(k) for k in foreground], settings)
