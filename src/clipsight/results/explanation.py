"""The answer to "where in this picture does the model see these words?"."""

import operator
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from clipsight.draw import Drawing, Number, Scale, ScaleChoice, choose_scale, heat, number, printable, stamp
from clipsight.draw.sheet import RED
from clipsight.untrusted import strings

from .io import FORMAT, json_numbers, naming, read_npz
from .pages import explanation_page
from .points import Points, joint_points, peak, similarity_to_points
from .provenance import Provenance
from .sheets import ABSENT_BELOW, explanation_sheet
from .shown import Shown

SUFFIXES = (".png", ".npz", ".json", ".html")


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation(Shown):
    """One picture, T texts and for each a map of raw signed scores, with how they were made.

    The maps cover the whole picture: patch (row, column) of an h×w grid covers the pixels
    row·H/h … (row+1)·H/h and column·W/w … (column+1)·W/w. Scores are never scaled or clipped; scaling
    happens in drawings. The object cannot be re-assigned, but its arrays are not copied: treat them as
    read-only, or `clone()` first. Two explanations compare by identity.

    Not claimed: that a high score is evidence that the thing is there. Read `presence` and `trust` first.

    Errors: ValueError naming the field when shapes, types or counts do not agree.

    >>> ex = clipsight.load("clipsight-tiny").explain("photo.jpg", ["a dog", "a cat"])
    >>> ex["a dog"].shape, ex.presence
    >>> ex.save("photo.png")
    """

    image: UInt8[np.ndarray, "H W 3"]  # the original picture, RGB
    texts: tuple[str, ...]
    maps: Float[Tensor, "T h w"]  # float32 on the CPU
    similarity: Float[Tensor, " T"]  # cosine of the picture's pooled feature and each text
    presence: Float[Tensor, " T"]  # in [0, 1]; NaN where it could not be measured
    presence_reason: str  # why presence is NaN, "" if it is not
    trust: tuple[str, ...]  # one plain sentence for each text
    source: str  # name of the picture, "" if unknown
    provenance: Provenance

    def __post_init__(self) -> None:
        """Refuse fields that do not fit each other."""
        object.__setattr__(self, "texts", strings(self.texts, "texts"))
        object.__setattr__(self, "trust", strings(self.trust, "trust"))
        image = self.image
        if (
            not isinstance(image, np.ndarray)
            or image.dtype != np.uint8
            or image.ndim != 3
            or image.shape[2] != 3
        ):
            raise ValueError(f"image must be uint8 RGB of shape (H, W, 3), got {_kind(image)}.")
        if not self.texts or 0 in image.shape:
            raise ValueError(
                f"an explanation needs a text and a pixel, got {len(self.texts)} texts, {image.shape}."
            )
        count = len(self.texts)
        h, w = self.provenance.grid
        wanted = {"maps": (count, h, w), "similarity": (count,), "presence": (count,)}
        for name, shape in wanted.items():
            value = getattr(self, name)
            if not isinstance(value, Tensor) or value.dtype != torch.float32 or value.device.type != "cpu":
                raise ValueError(
                    f"{name} must be a float32 tensor on the CPU, got {_kind(value)}; "
                    "write `.detach().float().cpu()`."
                )
            if value.requires_grad:
                raise ValueError(f"{name} must not carry a graph; write `.detach()`.")
            if tuple(value.shape) != shape:
                raise ValueError(
                    f"{name} must have shape {shape} for {count} texts on a {h}×{w} grid, got {tuple(value.shape)}."
                )
        known = self.presence[~self.presence.isnan()]
        if bool(((known < 0) | (known > 1)).any()):
            raise ValueError(f"presence must lie in [0, 1] or be NaN, got {known.tolist()}.")
        if len(self.trust) != count:
            raise ValueError(
                f"trust must hold one sentence for each of {count} texts, got {len(self.trust)}."
            )

    def __repr__(self) -> str:
        """One line: picture, the first texts with their presence, method, model, grid."""
        height, width = self.image.shape[:2]
        h, w = self.provenance.grid
        said = ", ".join(
            f"{text!r} {_verdict(p)}" for text, p in zip(self.texts[:3], self.presence.tolist(), strict=False)
        )
        more = f" and {len(self.texts) - 3} more" if len(self.texts) > 3 else ""
        return (
            f"Explanation({self.source or 'picture'!r} {width}×{height}: {said}{more}; "
            f"{self.provenance.method} on {self.provenance.model}, grid {h}×{w})"
        )

    def __len__(self) -> int:
        """The number of texts."""
        return len(self.texts)

    def index(self, text: str | int) -> int:
        """The row of a text (the first of equal ones), or a checked row number; KeyError, IndexError."""
        if isinstance(text, str):
            if text not in self.texts:
                raise KeyError(f"{text!r} was not asked; the texts are {', '.join(map(repr, self.texts))}")
            return self.texts.index(text)
        row = operator.index(text)
        if not -len(self.texts) <= row < len(self.texts):
            raise IndexError(f"row {row} of {len(self.texts)} texts")
        return row % len(self.texts)

    def __getitem__(self, text: str | int) -> Float[Tensor, "h w"]:
        """The raw map of one text, by the text itself or by its row number."""
        return self.maps[self.index(text)]

    def upsample(self, size: tuple[int, int] | None = None, mode: str = "bilinear") -> Float[Tensor, "T H W"]:
        """Raw signed scores at `size` = (H, W) pixels, the picture's own unless given.

        `mode`: "bilinear" or "bicubic" (align_corners False), or "nearest". Bilinear scores, which drawings show too,
        lie within those of the patches around; bicubic ones overshoot beside edges. Takes 4·T·H·W bytes.
        """
        if mode not in ("bilinear", "bicubic", "nearest"):
            raise ValueError(f"mode {mode!r} is unknown; give bilinear, bicubic or nearest.")
        target = tuple(size or self.image.shape[:2])
        corners = None if mode == "nearest" else False
        exact = "nearest-exact" if mode == "nearest" else mode
        return F.interpolate(self.maps[None], target, mode=exact, align_corners=corners)[0]

    @property
    def absent(self) -> tuple[bool, ...]:
        """For each text whether it is absent by verdict: its presence was measured and is below 0.4."""
        return tuple(p < ABSENT_BELOW for p in self.presence.tolist())

    def scale_of(
        self,
        text: str | int,
        scale: ScaleChoice = "own",
        *,
        cmap: str = heat.CMAP,
        noise: Number | None = None,
    ) -> Scale:
        """The scores that a drawing shows as nothing and as full colour.

        "own": from the text's lowest score to its highest; "shared": over all texts; or (low, high).
        Where a contrast was subtracted zero has a meaning, and colour starts at zero: orange above it, blue below, as
        strong as the highest score. A diverging colour map is centred on zero.
        `noise`: scores of this size are noise, and no scale is narrower; by default `provenance.noise_level`.
        """
        everything = self.maps.numpy()
        zero, symmetric = self.provenance.contrast != "none", heat.is_diverging(cmap)
        return choose_scale(
            everything[self.index(text)],
            everything,
            scale,
            zero=zero,
            symmetric=symmetric,
            signed=cmap == heat.CMAP,
            noise=self.provenance.noise_level if noise is None else noise,
        )

    def overlay(
        self,
        text: str | int,
        *,
        scale: ScaleChoice = "own",
        cmap: str = heat.CMAP,
        alpha: Number = heat.ALPHA,
        size: tuple[int, int] | None = None,
        interpolation: heat.Interpolation = "bilinear",
        noise: Number | None = None,
        verdict: bool = True,
    ) -> Image.Image:
        """The map of one text over the pale picture, RGB.

        `size` = (H, W) pixels; by default the picture's own, at most 1600 on the long side. `alpha`: opacity
        of the highest score; lower scores are more transparent. `cmap`: "signed" (orange above zero, blue below), or a
        name of matplotlib. `interpolation`: "nearest" shows the patches themselves. `noise`: see `scale_of`.
        `verdict`: mute the map of a text that is absent by verdict, and say so in the corner.
        """
        picture, row = Image.fromarray(self.image), self.index(text)
        drawing = Drawing(scale=scale, cmap=cmap, alpha=alpha, interpolation=interpolation, noise=noise)
        absent = verdict and self.absent[row]
        chosen = self.scale_of(row, scale, cmap=cmap, noise=noise)
        out = drawing.over(picture, self.maps[row].numpy(), chosen, size or heat.limited(picture), absent)
        return stamp(out, f"absent {float(self.presence[row]):.2f}", RED) if absent else out

    def grid(
        self,
        *,
        scale: ScaleChoice = "shared",
        cmap: str = heat.CMAP,
        alpha: Number = heat.ALPHA,
        columns: int | None = None,
        interpolation: heat.Interpolation = "bilinear",
        noise: Number | None = None,
    ) -> Image.Image:
        """The picture and every text's overlay on one sheet, RGB, about 1,480 pixels wide.

        Each map has its colour bar with units, its presence and its trust line; the foot says how all
        were made. Options as for `overlay`; the shared scale makes maps comparable by eye, and what is absent by
        verdict is muted. `columns` is chosen for the picture's shape unless given.
        """
        drawing = Drawing(scale=scale, cmap=cmap, alpha=alpha, interpolation=interpolation, noise=noise)
        return explanation_sheet(self, drawing, columns)

    def lines(self) -> list[str]:
        """For each text one line: presence, similarity, highest place."""
        return [summary_line(self, row) for row in range(len(self.texts))]

    def points(self, text: str | int, *, threshold: Number = 0.8, downsample: int = 2) -> Points:
        """Prompt points for a segmenter, in (x, y) pixels of the original picture.

        "person+bench" gives points for both texts together: positives of each, negatives of their common
        map; a text of this explanation that itself holds "+" is taken literally. There are no points where
        a map has no clear peak. See `similarity_to_points` for `threshold` and `downsample`.

        Errors: KeyError naming the texts when one was not asked.
        """
        size = self.image.shape[0], self.image.shape[1]
        parts = (
            [p.strip() for p in text.split("+")]
            if isinstance(text, str) and text not in self.texts
            else [text]
        )
        if len(parts) > 1:
            maps = [self[part] for part in parts]
            xy, labels = joint_points(maps, size, threshold=threshold, downsample=downsample)
            return Points(text=str(text), xy=xy, labels=labels, image=self.image, source=self.source)
        row = self.index(text)
        xy, labels = similarity_to_points(self.maps[row], size, threshold=threshold, downsample=downsample)
        return Points(text=self.texts[row], xy=xy, labels=labels, image=self.image, source=self.source)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without the picture.

        Scores are the shortest decimals that give back each float32; None stands for NaN and infinity.
        `peaks` holds for each text {"x", "y", "score"} of its highest patch in picture pixels, or None.
        """
        size = self.image.shape[0], self.image.shape[1]
        peaks = [peak(m, size) for m in self.maps]
        return {
            "kind": "explanation",
            "format": FORMAT,
            "source": self.source,
            "image_size": list(size),
            "texts": list(self.texts),
            "similarity": json_numbers(self.similarity.numpy()),
            "presence": json_numbers(self.presence.numpy()),
            "presence_reason": self.presence_reason,
            "trust": list(self.trust),
            "peaks": [p and {"x": p[0], "y": p[1], "score": float(str(np.float32(p[2])))} for p in peaks],
            "maps": json_numbers(self.maps.numpy()),
            "provenance": self.provenance.to_dict(),
        }

    def to_html(self, *, scale: ScaleChoice = "shared") -> str:
        """One self-contained page with the picture, all maps, an opacity slider and the provenance."""
        return explanation_page(self, scale)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the result; the suffix chooses the format. Gives back the path.

        .png the sheet of `grid()`, with the provenance inside the file · .npz everything, for `load` ·
        .json everything but the picture · .html one page with no outside parts.

        Errors: ValueError for another suffix; FileExistsError unless `overwrite`; FileNotFoundError when the
        folder does not exist. A file is written whole or not at all.
        """
        return self._write(path, SUFFIXES, overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Explanation":
        """Read a .npz that `save` wrote; nothing is lost on the way, and no code in the file is run.

        Errors: FileNotFoundError; ValueError when it is not such a file or from a newer clipsight.
        """
        meta, arrays = read_npz(path, ("image", "maps", "similarity", "presence"), kind="explanation")
        with naming(path):
            return cls(
                image=arrays["image"],
                texts=strings(meta["texts"], "texts"),
                maps=torch.from_numpy(arrays["maps"]),
                similarity=torch.from_numpy(arrays["similarity"]),
                presence=torch.from_numpy(arrays["presence"]),
                presence_reason=meta["presence_reason"],
                trust=strings(meta["trust"], "trust"),
                source=meta["source"],
                provenance=Provenance.from_dict(meta["provenance"]),
            )

    def _meta(self) -> dict[str, Any]:
        words = ("texts", "presence_reason", "trust", "source")
        plain = {name: getattr(self, name) for name in words}
        return {"kind": "explanation", "format": FORMAT, **plain, "provenance": self.provenance.to_dict()}

    def _arrays(self) -> dict[str, np.ndarray]:
        tensors = {name: getattr(self, name).numpy() for name in ("maps", "similarity", "presence")}
        return {"image": self.image, **tensors}

    def _settings(self) -> dict[str, Any]:
        return {k: v for k, v in self.to_dict().items() if k != "maps"}


def _verdict(presence: float) -> str:
    if presence != presence:
        return "presence not measured"
    return f"{presence:.2f}{' absent' if presence < ABSENT_BELOW else ''}"


def summary_line(explanation: Explanation, text: str | int) -> str:
    """One line for a terminal: presence, similarity and the highest place of one text.

    `a dog: presence 0.93, similarity 0.271, peak 0.214 at x 312, y 188`; (x, y) in pixels of the original
    picture. Control characters in the text are escaped.
    """
    row = explanation.index(text)
    presence = float(explanation.presence[row])
    found = peak(explanation.maps[row], explanation.image.shape[:2])
    note = explanation.scale_of(row).note
    where = (
        f"peak {number(found[2])} at x {found[0]}, y {found[1]}"
        if found
        else note.rstrip(".")[:1].lower() + note.rstrip(".")[1:]
    )
    present = "presence not measured" if presence != presence else f"presence {presence:.2f}"
    similarity = number(float(explanation.similarity[row]))
    return f"{printable(explanation.texts[row])}: {present}, similarity {similarity}, {where}"


def _kind(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"a {value.dtype} array of shape {value.shape}"
    if isinstance(value, Tensor):
        return f"a {value.dtype} tensor of shape {tuple(value.shape)} on {value.device}"
    return type(value).__name__
