"""The attributed number: how well a text's feature matches a picture's, alone or compared with other texts."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

Similarity = Literal["cosine", "dot"]
Contrast = Literal["difference", "log_softmax"]


def exact(values: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """The values in float32, or in their own type if it is more precise."""
    return values.float() if values.dtype.itemsize < 4 else values


def cosine(a: Float[Tensor, "*any E"], b: Float[Tensor, "*any E"]) -> Float[Tensor, "*any"]:
    """Cosine along the last axis, at least in float32, also under autocast (no matrix product)."""
    return (F.normalize(exact(a), dim=-1) * F.normalize(exact(b), dim=-1)).sum(-1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Match:
    """s of a text's feature, T pictures with T texts.

    Attributes:
        image: each text's picture feature at unit length; None where no picture is asked for.
        similarity: "cosine" with the text's feature, or its "dot" product before normalisation.
        scale: what s is multiplied by; 1 leaves cosines, the model's logit scale makes logits.
        foils: s of the foils of each text, as numbers that do not move; None without.
        contrast: "difference" from the foils' mean, or the text's "log_softmax" among itself and them.
    """

    image: Float[Tensor, "T E"] | None
    similarity: Similarity = "cosine"
    scale: float = 1.0
    foils: Float[Tensor, "T F"] | None = None
    contrast: Contrast = "difference"

    def __call__(
        self, features: Float[Tensor, "N E"], owner: Int[Tensor, " N"] | None = None
    ) -> Float[Tensor, " N"]:
        """The value of features that belong to the texts `owner` (None: one feature for each text, in order)."""
        assert self.image is not None  # `attribute` asked for it
        image = self.image if owner is None else self.image[owner]
        given = exact(features)
        unit = F.normalize(given, dim=-1) if self.similarity == "cosine" else given
        s = self.scale * (unit * image).sum(-1)
        if self.foils is None:
            return s
        foils = self.foils if owner is None else self.foils[owner]
        if self.contrast == "difference":
            return s - foils.mean(-1)
        return s - torch.cat([s[:, None], foils], -1).logsumexp(-1)

    def of(self, rows: slice | Int[Tensor, " N"]) -> "Match":
        """The same for some of the texts."""
        return replace(
            self,
            image=None if self.image is None else self.image[rows],
            foils=None if self.foils is None else self.foils[rows],
        )
