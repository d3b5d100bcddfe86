"""open_clip's native text transformer in parts, for code that looks inside: both layouts, and CoCa's."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from clipsight.errors import Unsupported
from clipsight.towers.open_clip_blocks import block_views
from clipsight.towers.paths import Path

_POOLS = {"argmax": "end", "eos": "end", "first": "first", "last": "last"}


class OpenClipParts:
    """`TextParts` of a tower whose blocks can be seen in parts.

    Args:
        tower: the module with `transformer`, `token_embedding`, `positional_embedding` and `ln_final`; never changed.
        pooling: where the library takes the feature: "argmax", "eos", "first", "last".
        end_id: id of the end token where `pooling` is "eos".

    Raises:
        Unsupported: another pooling, or a mask that does more than hide.
    """

    def __init__(self, tower: nn.Module, *, pooling: str, end_id: int | None) -> None:
        self._tower: Any = tower
        self._class = getattr(tower, "cls_emb", None)
        self._pooling, self._end_id = pooling, end_id
        mask = self._tower.attn_mask
        if mask is not None and mask[mask > -torch.inf].any():
            raise Unsupported(
                "this model's texts cannot be looked into: its attention mask weighs positions instead of hiding them."
            )
        if self._class is None and pooling not in _POOLS:
            raise Unsupported(
                f"this model's texts cannot be looked into: its feature is pooled as {pooling!r}, not at one position."
            )
        self.pools = "class" if self._class is not None else _POOLS[pooling]
        self.causal = mask is not None
        self.cuttable = self.causal and self.pools == "end"
        self.blocks = block_views(self._tower.transformer)

    def tokens(self, ids: Int[Tensor, "*any"]) -> Float[Tensor, "*any D"]:
        """Token embeddings alone."""
        return self._cast(self._tower.token_embedding(ids))

    def mean_token(self) -> Float[Tensor, " D"]:
        """Mean of the table."""
        return self._cast(self._tower.token_embedding.weight.mean(0))

    def positions(self, index: Int[Tensor, " P"]) -> Float[Tensor, "P D"]:
        """Rows of the position table."""
        return self._cast(self._tower.positional_embedding[index])

    def entered(self, tokens: Float[Tensor, "T S D"]) -> Float[Tensor, "T Z D"]:
        """Class token behind the tokens where there is one, positions added."""
        if self._class is not None:
            tokens = torch.cat([tokens, self._cast(self._class).expand(len(tokens), 1, -1)], 1)
        return tokens + self.positions(torch.arange(tokens.shape[1], device=tokens.device))

    def visible(self, ids: Int[Tensor, "T S"]) -> Bool[Tensor, "t Z Z"] | None:
        """What the library's own mask lets each position see."""
        tower, size = self._tower, ids.shape[1] + (self._class is not None)
        mask = None if tower.attn_mask is None else tower.attn_mask[:size, :size][None]
        if self._class is not None or getattr(tower, "use_pad_mask", False):
            if hasattr(tower, "_build_additive_mask"):
                hidden = tower._build_additive_mask(ids, size, torch.float32)
            else:  # before open_clip 3
                hidden = tower.build_cls_mask(ids, torch.float32)
            hidden = hidden[:: len(hidden) // max(len(ids), 1)]  # the same for every head
            mask = hidden if mask is None else mask + hidden
        return None if mask is None else mask > -torch.inf

    def pooled(self, ids: Int[Tensor, "T S"]) -> Int[Tensor, " T"]:
        """The position that the library takes."""
        fixed = {"first": 0, "last": ids.shape[1] - 1, "class": ids.shape[1]}.get(self.pools)
        return self._end_positions(ids) if fixed is None else ids.new_full((len(ids),), fixed)

    def readout(self, states: Float[Tensor, "*any D"]) -> Float[Tensor, "*any E"]:
        """Final norm and projection."""
        states, projection = self._tower.ln_final(states), self._tower.text_projection
        if projection is None:
            return states
        return projection(states) if isinstance(projection, nn.Linear) else states @ projection

    def end_path(self) -> Path:
        """Final norm and projection, as a path of rows."""
        return Path(self._tower.ln_final, self._tower.text_projection)

    def ends(self, ids: Int[Tensor, "T S"]) -> Int[Tensor, " T"] | None:
        """Position of the end token where the library pools there or would, did it not append a class token."""
        return self._end_positions(ids) if self._pooling in ("argmax", "eos") else None

    def begins(self, ids: Int[Tensor, "T S"]) -> Bool[Tensor, " T"]:
        """CLIP's tokenizers put a start token before every text; of others nothing is known here."""
        ends = self.ends(ids)
        return ids.new_zeros(len(ids), dtype=torch.bool) if ends is None else ends > 0

    def _end_positions(self, ids: Int[Tensor, "T S"]) -> Int[Tensor, " T"]:
        return ids.argmax(-1) if self._pooling == "argmax" else (ids == self._end_id).int().argmax(-1)

    def _cast(self, embeddings: Float[Tensor, "*any D"]) -> Float[Tensor, "*any D"]:
        return embeddings.to(self._tower.transformer.get_cast_dtype())
