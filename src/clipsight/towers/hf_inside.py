"""A Hugging Face text tower inside an open_clip model, accessible from the token embeddings on."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from clipsight.errors import Unsupported
from clipsight.towers.paths import Path


class HfInside:
    """`OnePieceText` of open_clip's `HFTextEncoder`: XLM-RoBERTa, RoBERTa, mT5, NLLB and the like.

    Args:
        tower: the `HFTextEncoder`; it is looked at, never changed.
    """

    def __init__(self, tower: nn.Module) -> None:
        self._tower: Any = tower
        self._config: Any = self._tower.config
        self.pools_mean = type(self._tower.pooler).__name__ == "MeanPooler"
        self.pad_id: int = self._config.pad_token_id

    def tokens(self, ids: Int[Tensor, "*any"]) -> Float[Tensor, "*any D"]:
        """Token embeddings alone, as the tower itself looks them up."""
        return self._tower.transformer.get_input_embeddings()(ids)

    def mean_token(self) -> Float[Tensor, " D"]:
        """Mean of the table, at the scale at which it is looked up."""
        table = self._tower.transformer.get_input_embeddings()
        return table.weight.mean(0) * getattr(table, "embed_scale", 1.0)

    def encode_tokens(
        self,
        tokens: Float[Tensor, "T S D"],
        ids: Int[Tensor, "T S"],
        hidden: Bool[Tensor, "T S"] | None = None,
    ) -> Float[Tensor, "T E"]:
        """Pooled feature, not L2-normalised; hidden positions are attended by nobody but pooled as others are."""
        words = ids != self.pad_id
        attended = words if hidden is None else words & ~hidden
        made = self._tower.transformer(inputs_embeds=tokens, attention_mask=attended.long())
        return self._tower.proj(self._tower.pooler(made, words.long()))

    def pooled_tokens(
        self, ids: Int[Tensor, "T S"], hidden: Bool[Tensor, "T S"] | None = None
    ) -> tuple[Float[Tensor, "T S D"], Float[Tensor, "T S"], Path]:
        """Final states, the weight of each in the mean that is pooled, and the path from that mean to the feature.

        Raises:
            Unsupported: the tower pools otherwise.
        """
        if not self.pools_mean:
            raise Unsupported(
                f"this text tower pools by a {type(self._tower.pooler).__name__}, in one piece: what its feature read "
                "of which token is not known. Nearest: gradient, integrated_gradients, perturbation or shapley."
            )
        words = ids != self.pad_id
        attended = words if hidden is None else words & ~hidden
        states = self._tower.transformer(input_ids=ids, attention_mask=attended.long())[0]
        weights = words / words.sum(-1, keepdim=True)
        return states, weights.to(states.dtype), Path(self._tower.proj)

    def ends(self, ids: Int[Tensor, "T S"]) -> Int[Tensor, " T"] | None:
        """The last position that is not padding."""
        places = torch.arange(ids.shape[1], device=ids.device)
        return (places * (ids != self.pad_id)).amax(-1)

    def begins(self, ids: Int[Tensor, "T S"]) -> Bool[Tensor, " T"]:
        """Whether the first token is the one that the tower's configuration calls the beginning."""
        first = getattr(self._config, "bos_token_id", None)
        return ids[:, 0] == (-1 if first is None else first)
