"""The answer to "which of these things are in the picture?"."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from clipsight.draw import number, printable

from .io import FORMAT, json_numbers
from .provenance import Provenance
from .sheets import THERE, tags_sheet
from .shown import Shown


class Tag(NamedTuple):
    """One label of a picture: its score after feature surgery, and its presence in [0, 1] or NaN."""

    label: str
    score: float
    presence: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Tags(Shown):
    """Labels with scores that do not compete for one probability: none may be there, or several.

    `scores` can be compared across pictures asked with the same list, and are no probabilities; `presence` is measured
    against names that are absent, and says whether a label is there. Arrays are not copied: treat them as read-only.

    Errors: ValueError when counts or types do not agree.
    """

    labels: tuple[str, ...]  # as given
    scores: Float[Tensor, " T"]  # cosine after feature surgery, signed; float32 on the CPU
    similarity: Float[Tensor, " T"]  # plain cosines
    presence: Float[Tensor, " T"]  # in [0, 1]; NaN where it could not be measured
    presence_reason: str  # why presence is NaN, "" if it is not
    source: str  # name of the picture, "" if unknown
    image: UInt8[np.ndarray, "H W 3"] | None = None  # the picture, RGB; None if it was not kept
    provenance: Provenance

    def __post_init__(self) -> None:
        """Refuse fields that do not fit each other."""
        object.__setattr__(self, "labels", tuple(self.labels))
        if not self.labels:
            raise ValueError("tags need at least one label, got none.")
        for name in ("scores", "similarity", "presence"):
            value = getattr(self, name)
            if tuple(value.shape) != (len(self.labels),) or value.dtype != torch.float32:
                raise ValueError(
                    f"{name} must be float32 of shape ({len(self.labels)},), one for each label, got {value.dtype} "
                    f"{tuple(value.shape)}; write `.float()`."
                )
        known = self.presence[~self.presence.isnan()]
        if bool(((known < 0) | (known > 1)).any()):
            raise ValueError(f"presence must lie in [0, 1] or be NaN, got {known.tolist()}.")

    def __repr__(self) -> str:
        """One line: the three best labels with their presence, method, model."""
        best = ", ".join(f"{tag.label!r} {tag.presence:.2f}" for tag in self.top(3))
        return f"Tags({best}; {len(self.labels)} labels, {self.provenance.method} on {self.provenance.model})"

    def __len__(self) -> int:
        """The number of labels."""
        return len(self.labels)

    def __getitem__(self, label: str) -> Tag:
        """A label's scores (of the first of equal ones); KeyError naming the labels when it was not asked."""
        if label not in self.labels:
            raise KeyError(f"{label!r} was not asked; the labels are {', '.join(map(repr, self.labels))}")
        return self._tag(self.labels.index(label))

    def top(self, k: int | None = None) -> list[Tag]:
        """The `k` highest by score, highest first; all of them when k is None or there are fewer."""
        order = self.scores.nan_to_num(nan=-torch.inf).argsort(descending=True, stable=True)
        return [self._tag(index) for index in order[: None if k is None else max(k, 0)].tolist()]

    def there(self, at_least: float | int = THERE) -> list[Tag]:
        """The labels whose presence is at least this, highest score first.

        Raises:
            ValueError: presence was not measured for any label, so that an empty list would be misread as "nothing".
        """
        if bool(self.presence.isnan().all()):
            raise ValueError(
                f"presence was not measured: {self.presence_reason or 'no reason given'}. Ask more labels, or give a "
                "contrast of at least 20 names; .top() orders the labels without it."
            )
        return [tag for tag in self.top() if tag.presence >= at_least]

    def lines(self, k: int | None = 12) -> list[str]:
        """One line for each of the `k` highest labels, highest first; None for all."""
        return [
            f"{printable(tag.label)}: "
            + ("presence not measured" if tag.presence != tag.presence else f"presence {tag.presence:.2f}")
            + f", score {number(tag.score)}"
            for tag in self.top(k)
        ]

    def grid(self, at_least: float | int = THERE) -> Image.Image:
        """The picture beside the presence of its highest labels, on one sheet; RGB."""
        return tags_sheet(self, at_least)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, labels in the order given; `order` has their indices, highest score first."""
        order = self.scores.nan_to_num(nan=-torch.inf).argsort(descending=True, stable=True)
        return {
            "kind": "tags",
            "format": FORMAT,
            "source": self.source,
            "labels": list(self.labels),
            "scores": json_numbers(self.scores.numpy()),
            "similarity": json_numbers(self.similarity.numpy()),
            "presence": json_numbers(self.presence.numpy()),
            "presence_reason": self.presence_reason,
            "order": order.tolist(),
            "provenance": self.provenance.to_dict(),
        }

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write `to_dict` as .json, or the sheet of `grid()` as .png; errors as for `Explanation.save`."""
        return self._write(path, (".png", ".json"), overwrite)

    def _settings(self) -> dict[str, Any]:
        return self.to_dict()

    def _tag(self, index: int) -> Tag:
        return Tag(self.labels[index], float(self.scores[index]), float(self.presence[index]))
