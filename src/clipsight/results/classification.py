"""The answer to "which of these labels fits the whole picture?"."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from clipsight.draw import printable
from clipsight.untrusted import strings

from .io import FORMAT, json_numbers
from .provenance import Provenance
from .sheets import classification_sheet
from .shown import Shown


@dataclass(frozen=True, kw_only=True, eq=False)
class Classification(Shown):
    """Labels with the softmax of their scaled cosines, as CLIP classifies.

    Probabilities sum to one over the given labels: they say which label fits better than the others,
    not whether any of them is there. Models that were trained with a sigmoid (SigLIP) also say for each label by
    itself how probable it is that it fits: `sigmoid`, which need not sum to one. Arrays are not copied: treat them as
    read-only.

    Errors: ValueError when counts do not agree.
    """

    labels: tuple[str, ...]
    probabilities: Float[Tensor, " T"]  # float32 on the CPU, sum 1
    similarity: Float[Tensor, " T"]  # cosines
    source: str  # name of the picture, "" if unknown
    image: UInt8[np.ndarray, "H W 3"] | None = None  # the picture, RGB; None if it was not kept
    provenance: Provenance
    sigmoid: Float[Tensor, " T"] | None = None  # of each label by itself; None for models of a softmax

    def __post_init__(self) -> None:
        """Refuse fields that do not fit each other."""
        object.__setattr__(self, "labels", strings(self.labels, "labels"))
        for name in ("probabilities", "similarity", *(("sigmoid",) if self.sigmoid is not None else ())):
            value = getattr(self, name)
            if tuple(value.shape) != (len(self.labels),) or value.dtype != torch.float32:
                raise ValueError(
                    f"{name} must be float32 of shape ({len(self.labels)},), one for each label, "
                    f"got {value.dtype} {tuple(value.shape)}."
                )

    def __repr__(self) -> str:
        """One line: the three best labels, model."""
        best = ", ".join(f"{label!r} {p:.3f}" for label, p in self.top(3))
        return f"Classification({best}; {len(self.labels)} labels, {self.provenance.model})"

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The `k` best (label, probability) pairs, best first; all of them when there are fewer."""
        order = self.probabilities.argsort(descending=True, stable=True)[: max(k, 0)]
        return [(self.labels[i], float(self.probabilities[i])) for i in order.tolist()]

    def lines(self) -> list[str]:
        """One line for each of the five best labels."""
        return [f"{probability:.2%} {printable(label)}" for label, probability in self.top()]

    def grid(self) -> Image.Image:
        """The picture beside the probabilities of its best labels, on one sheet; RGB."""
        return classification_sheet(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, labels in the order given."""
        return {
            "kind": "classification",
            "format": FORMAT,
            "source": self.source,
            "labels": list(self.labels),
            "probabilities": json_numbers(self.probabilities.numpy()),
            "similarity": json_numbers(self.similarity.numpy()),
            **({} if self.sigmoid is None else {"sigmoid": json_numbers(self.sigmoid.numpy())}),
            "provenance": self.provenance.to_dict(),
        }

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write `to_dict` as .json, or the sheet of `grid()` as .png; errors as for `Explanation.save`."""
        return self._write(path, (".png", ".json"), overwrite)

    def _settings(self) -> dict[str, Any]:
        return self.to_dict()
