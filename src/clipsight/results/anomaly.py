"""The answer to "is this thing damaged, and where?"."""

import math
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

from clipsight.draw import Drawing, Number, Scale, ScaleChoice, choose_scale, heat, number, printable
from clipsight.untrusted import strings

from .io import FORMAT, json_numbers, naming, read_npz
from .points import peak
from .provenance import Provenance
from .sheets import anomaly_sheet
from .shown import Shown

RANK_ONLY = (
    "Made without a temperature: the values lie near 0.5 whatever is seen; they order places and pictures, and are no "
    "probabilities."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Anomaly(Shown):
    """One picture of a thing, with the share of "damaged" against "whole" at every pixel the model saw.

    Not claimed: a decision. `score` orders pictures of the same thing; where "damaged" begins must be learnt from
    pictures that are known to be whole. Arrays are not copied: treat them as read-only.

    Errors: ValueError naming the field when shapes, types or counts do not agree.

    >>> an = clipsight.load("clipsight-tiny").anomaly("photo.jpg", "bottle")
    >>> an.score, an.overlay()
    """

    image: UInt8[np.ndarray, "H W 3"]  # the original picture, RGB
    name: str  # what it shows, as written into the prompts
    map: Float[
        Tensor, "rows columns"
    ]  # float32 on the CPU, in [0, 1], at provenance.size; corners on corners
    score: float  # mean over the views of the whole picture's share
    view_scores: Float[Tensor, " V"]
    views: tuple[str, ...]  # names of the views
    temperature: float | int | None  # what cosines were divided by; None is 1
    normal: tuple[str, ...]  # states of the two poles, "{}" where the name goes
    abnormal: tuple[str, ...]
    losses: tuple[float, ...] = ()  # of test-time adaptation, before each step
    source: str = ""  # name of the picture, "" if unknown
    provenance: Provenance

    def __post_init__(self) -> None:
        """Refuse fields that do not fit each other."""
        for name in ("views", "normal", "abnormal", "losses"):
            value = getattr(self, name)
            object.__setattr__(self, name, tuple(value) if name == "losses" else strings(value, name))
        wanted = {"map": self.provenance.size, "view_scores": (len(self.views),)}
        for name, shape in wanted.items():
            value = getattr(self, name)
            if tuple(value.shape) != shape or value.dtype != torch.float32 or value.device.type != "cpu":
                raise ValueError(
                    f"{name} must be float32 of shape {shape} on the CPU, got {value.dtype} {tuple(value.shape)} on "
                    f"{value.device}; write `.detach().float().cpu()`, and look at provenance.size and views."
                )
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(
                f"image must be uint8 RGB of shape (H, W, 3), got {self.image.dtype} {self.image.shape}."
            )
        if not self.views or not self.normal or not self.abnormal:
            raise ValueError(
                "an anomaly result needs at least one view, one normal and one abnormal state, got "
                f"{len(self.views)}, {len(self.normal)}, {len(self.abnormal)}."
            )

    def __repr__(self) -> str:
        """One line: picture, thing, score."""
        height, width = self.image.shape[:2]
        mark = ", ranks only" if self.rank_only else ""
        return (
            f"Anomaly({self.source or 'picture'!r} {width}×{height}: {self.name!r}, score {self.score:.4g}{mark}; "
            f"{self.provenance.method} on {self.provenance.model}, {len(self.views)} "
            f"view{'' if len(self.views) == 1 else 's'})"
        )

    @property
    def rank_only(self) -> bool:
        """Whether values can be compared only, not read: true without a temperature."""
        return self.temperature is None

    @property
    def trust(self) -> str:
        """One plain sentence on how far the result may be believed."""
        if not (bool(self.map.isfinite().all()) and math.isfinite(self.score)):
            return "Not to be trusted: the scores are not finite (NaN or infinite)."
        said = [] if not self.rank_only else [RANK_ONLY]
        if float(self.map.max() - self.map.min()) < 1e-7:
            said.append("The map is the same everywhere and points nowhere.")
        return " ".join(said) or (
            f"Shares at temperature {self.temperature:g}, not calibrated: learn from whole pieces where damage begins."
        )

    @property
    def peak(self) -> tuple[int, int, float] | None:
        """(x, y) in pixels of the original picture and score of the highest place; None for a flat map."""
        found = peak(self.map, (self.image.shape[0], self.image.shape[1]))
        return found and (found[0], found[1], float(found[2]))

    def upsample(self, size: tuple[int, int] | None = None) -> Float[Tensor, "H W"]:
        """The map at `size` = (H, W) pixels, the picture's own unless given; bilinear with aligned corners."""
        target = tuple(size or self.image.shape[:2])
        return F.interpolate(self.map[None, None], target, mode="bilinear", align_corners=True)[0, 0]

    def scale(self, scale: ScaleChoice = "own", *, cmap: str = heat.CMAP) -> Scale:
        """The values that a drawing shows as nothing and as full colour; give (low, high) to compare pictures."""
        values = self.map.numpy()
        return choose_scale(values, values, scale, zero=False, symmetric=heat.is_diverging(cmap))

    def overlay(
        self,
        *,
        scale: ScaleChoice = "own",
        cmap: str = heat.CMAP,
        alpha: Number = heat.ALPHA,
        size: tuple[int, int] | None = None,
        interpolation: heat.Interpolation = "bilinear",
    ) -> Image.Image:
        """The map over the pale picture, RGB, at `size` = (H, W) or the picture's own size.

        "own" stretches colour from the map's lowest to its highest value, so that a whole piece is coloured too.
        """
        drawing = Drawing(scale=scale, cmap=cmap, alpha=alpha, interpolation=interpolation)
        picture, chosen = Image.fromarray(self.image), self.scale(scale, cmap=cmap)
        return drawing.over(picture, self.map.numpy(), chosen, size or (picture.height, picture.width))

    def grid(
        self, *, scale: ScaleChoice = "own", cmap: str = heat.CMAP, alpha: Number = heat.ALPHA
    ) -> Image.Image:
        """The picture beside its map on one sheet, with score, colour bar and how it was made; RGB."""
        return anomaly_sheet(self, Drawing(scale=scale, cmap=cmap, alpha=alpha))

    def lines(self) -> list[str]:
        """Score and highest place, and how far to trust them."""
        return [self.line(), printable(self.trust)]

    def line(self) -> str:
        """One line for a terminal: thing, score, highest place."""
        found = self.peak
        where = f"highest {number(found[2])} at x {found[0]}, y {found[1]}" if found else "flat map"
        marks = " (ranks only)" if self.rank_only else ""
        return f"{printable(self.name)}: abnormal {self.score:.4g}{marks}, {where}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without the picture; None stands for NaN and infinity."""
        found = self.peak
        return {
            **self._meta(),
            "score": json_numbers(np.array([self.score]))[0],
            "view_scores": json_numbers(self.view_scores.numpy()),
            "losses": json_numbers(np.array(self.losses, np.float32)),
            "rank_only": self.rank_only,
            "trust": self.trust,
            "image_size": list(self.image.shape[:2]),
            "peak": found and {"x": found[0], "y": found[1], "score": float(str(np.float32(found[2])))},
            "map": json_numbers(self.map.numpy()),
        }

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the result; the suffix chooses the format. Gives back the path.

        .png the sheet of `grid()`, with everything but the map inside the file · .npz everything, for `load` · .json
        everything but the picture. Errors as for `Explanation.save`.
        """
        return self._write(path, (".png", ".npz", ".json"), overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Anomaly":
        """Read a .npz that `save` wrote; nothing is lost on the way, and no code in the file is run.

        Errors: FileNotFoundError; ValueError when it is not such a file or from a newer clipsight.
        """
        names = ("image", "map", "view_scores", "score", "losses")
        meta, arrays = read_npz(path, names, kind="anomaly")
        with naming(path):
            return cls(
                image=arrays["image"],
                name=meta["name"],
                map=torch.from_numpy(arrays["map"]),
                score=float(arrays["score"]),
                view_scores=torch.from_numpy(arrays["view_scores"]),
                views=strings(meta["views"], "views"),
                temperature=meta["temperature"],
                normal=strings(meta["normal"], "normal"),
                abnormal=strings(meta["abnormal"], "abnormal"),
                losses=tuple(arrays["losses"].tolist()),
                source=meta["source"],
                provenance=Provenance.from_dict(meta["provenance"]),
            )

    def _meta(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("name", "temperature", "source")}
        lists = {name: list(getattr(self, name)) for name in ("views", "normal", "abnormal")}
        made = {"provenance": self.provenance.to_dict()}
        return {"kind": "anomaly", "format": FORMAT, **plain, **lists, **made}

    def _arrays(self) -> dict[str, np.ndarray]:
        return {
            "image": self.image,
            "map": self.map.numpy(),
            "view_scores": self.view_scores.numpy(),
            "score": np.array(self.score, np.float64),
            "losses": np.array(self.losses, np.float64),
        }

    def _settings(self) -> dict[str, Any]:
        return {key: value for key, value in self.to_dict().items() if key != "map"}
