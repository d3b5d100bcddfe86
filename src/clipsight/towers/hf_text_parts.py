"""transformers' CLIP and SigLIP text towers in parts, for code that looks inside."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from clipsight.towers.paths import Path
from clipsight.towers.view import BlockView


class HfParts:
    """`TextParts` of a tower that pools at an end token and is causal (CLIP), or at the last position (SigLIP).

    Args:
        tower: the `text_model`; it is looked at, never changed.
        projection: what follows its final norm.
        blocks: its layers.
        ends: position of the end token of each row of ids; None for SigLIP, whose end token may also be its padding.
    """

    def __init__(
        self,
        tower: nn.Module,
        projection: nn.Module,
        blocks: Sequence[BlockView],
        *,
        ends: Callable[[Int[Tensor, "T S"]], Int[Tensor, " T"]] | None,
    ) -> None:
        self._tower: Any = tower
        self._projection = projection
        self._ends = ends
        self.blocks = blocks
        self.causal = self.cuttable = ends is not None
        self.pools = "last" if ends is None else "end"

    def tokens(self, ids: Int[Tensor, "*any"]) -> Float[Tensor, "*any D"]:
        """Token embeddings alone."""
        return self._tower.embeddings.token_embedding(ids)

    def mean_token(self) -> Float[Tensor, " D"]:
        """Mean of the table of token embeddings."""
        return self._tower.embeddings.token_embedding.weight.mean(0)

    def positions(self, index: Int[Tensor, " P"]) -> Float[Tensor, "P D"]:
        """Rows of the position table."""
        return self._tower.embeddings.position_embedding(index)

    def entered(self, tokens: Float[Tensor, "T S D"]) -> Float[Tensor, "T Z D"]:
        """Positions added."""
        return tokens + self.positions(torch.arange(tokens.shape[1], device=tokens.device))

    def visible(self, ids: Int[Tensor, "T S"]) -> Bool[Tensor, "1 S S"] | None:
        """CLIP: itself and what is before it. SigLIP: everything, padding included."""
        if not self.causal:
            return None
        return torch.ones(1, ids.shape[1], ids.shape[1], dtype=torch.bool, device=ids.device).tril()

    def pooled(self, ids: Int[Tensor, "T S"]) -> Int[Tensor, " T"]:
        """The end token, or the last position."""
        return ids.new_full((len(ids),), ids.shape[1] - 1) if self._ends is None else self._ends(ids)

    def readout(self, states: Float[Tensor, "*any D"]) -> Float[Tensor, "*any E"]:
        """Final norm and projection."""
        return self._projection(self._tower.final_layer_norm(states))

    def end_path(self) -> Path:
        """Final norm and projection, as a path of rows."""
        return Path(self._tower.final_layer_norm, self._projection)

    def ends(self, ids: Int[Tensor, "T S"]) -> Int[Tensor, " T"] | None:
        """The end token where the tower looks for it."""
        return None if self._ends is None else self._ends(ids)

    def begins(self, ids: Int[Tensor, "T S"]) -> Bool[Tensor, " T"]:
        """CLIP's tokenizers put a start token before every text, SigLIP's nothing."""
        return torch.zeros_like(ids[:, 0], dtype=torch.bool) if self._ends is None else self._ends(ids) > 0
