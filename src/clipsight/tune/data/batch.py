"""What a training step is given: pictures, token ids, the role of every token, and false captions."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

ROLE_NUMBERS = {"object": 1, "attribute": 2, "relation": 3}
"""Role -> its number in `Batch.roles`; 0 is every other token."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """B examples.

    Attributes:
        images: normalised pixels. ids: of the captions, padded to one length.
        content: True at the captions' own tokens, False at start, end and padding.
        roles: 0 for other tokens, else see `ROLE_NUMBERS`; 0 everywhere when no role is asked for.
        index: number of each example in its collection, -1 where it has none.
        foil_ids: false captions, k of each example; None when none are asked for. foil_valid: which of them are there.
    """

    images: Float[Tensor, "B 3 H W"]
    ids: Int[Tensor, "B S"]
    content: Bool[Tensor, "B S"]
    roles: UInt8[Tensor, "B S"]
    index: Int[Tensor, " B"]
    foil_ids: Int[Tensor, "B k S"] | None = None
    foil_valid: Bool[Tensor, "B k"] | None = None

    def __len__(self) -> int:
        """How many examples."""
        return len(self.ids)

    def to(self, device: torch.device | str) -> "Batch":
        """The same on another device."""
        return self._of(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """The same where CUDA copies from fastest; torch's loader calls it."""
        return self._of(Tensor.pin_memory)

    def rows(self, chosen: slice) -> "Batch":
        """Some of the examples."""
        return self._of(lambda tensor: tensor[chosen])

    def _of(self, change) -> "Batch":  # noqa: ANN001 - a function of one tensor
        made = {}
        for one in fields(self):
            tensor = getattr(self, one.name)
            made[one.name] = None if tensor is None else change(tensor)
        return Batch(**made)
