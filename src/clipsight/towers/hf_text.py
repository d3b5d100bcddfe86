"""Views of transformers' text towers: CLIP (causal, pooled at the end token) and SigLIP, both versions (neither).

CLIP's is cut behind the end token and shared beginnings are encoded once (`clipsight.towers.token_tree`). SigLIP's
reads whole contexts, since it pools at the last position, padding or not.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from clipsight.towers.hf_blocks import block_views
from clipsight.towers.hf_results import feature_of
from clipsight.towers.hf_text_parts import HfParts
from clipsight.towers.text_ids import checked_ids, require_whole
from clipsight.towers.token_tree import encode_tree, token_tree
from clipsight.towers.view import TextParts

_LEGACY_END = 2
"""The end token that configurations before transformers 4.31 name wrongly: their models pool at the largest id."""


class _HfText(ABC):
    """What the text towers share; see `TextView` for what each part is."""

    causal: bool
    cuttable: bool

    def __init__(self, module: nn.Module, projection: nn.Module) -> None:
        self._module: Any = module
        self._tower: Any = module.get_submodule("text_model")
        self._embeddings: Any = self._tower.embeddings
        self._projection: Any = projection
        self.width: int = self._embeddings.token_embedding.embedding_dim
        self.embed_dim: int = self._projection.out_features
        self.context: int = self._embeddings.position_embedding.num_embeddings
        self.vocabulary: int = self._embeddings.token_embedding.num_embeddings
        self.blocks = block_views(self._tower.encoder)

    @property
    def dtype(self) -> torch.dtype:
        """Number type the tower computes in."""
        return self._embeddings.token_embedding.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the tower lives."""
        return self._embeddings.token_embedding.weight.device

    def embed(self, ids: Int[Tensor, "T S"]) -> Float[Tensor, "T S D"]:
        """Token and position embeddings that enter the first block; S may be shorter than the context.

        Raises:
            ValueError: ids out of the vocabulary or more positions than the context has.
        """
        ids = self._checked(ids)
        return self._embed(ids, torch.arange(ids.shape[1], device=ids.device))

    @abstractmethod
    def encode(self, ids: Int[Tensor, "T S"]) -> Float[Tensor, "T E"]:
        """Pooled feature, not L2-normalised; equals the library's `get_text_features`."""

    def token_features(self, ids: Int[Tensor, "T S"]) -> Float[Tensor, "T S E"]:
        """Every position after the final norm and the projection, not L2-normalised.

        Only the pooled position was trained to mean something in the joint space.

        Raises:
            ValueError: as `embed`.
        """
        states = self._tower(input_ids=self._checked(ids))[
            0
        ]  # last_hidden_state, in objects and tuples alike
        return self._projection(states)

    @abstractmethod
    def parts(self) -> TextParts:
        """The tower in its parts."""

    def _checked(self, ids: Int[Tensor, "T S"]) -> Int[Tensor, "T S"]:
        return checked_ids(ids, self.context, self.vocabulary, self.device)

    def _embed(self, ids: Int[Tensor, "*any"], positions: Int[Tensor, " P"]) -> Float[Tensor, "*any D"]:
        embeddings = self._embeddings
        return embeddings.token_embedding(ids) + embeddings.position_embedding(positions)


class HfClipText(_HfText):
    """`TextView` of the text side of a `CLIPModel`.

    Args:
        module: the whole model; it is looked at, never changed.

    Attributes:
        pooling: where the feature is taken: "eos", or "argmax" (the largest id) as configurations of old ask.
    """

    causal = True
    cuttable = True

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module, module.get_submodule("text_projection"))
        self._end_id: int = self._tower.eos_token_id
        self.pooling = "argmax" if self._end_id == _LEGACY_END else "eos"

    def encode(self, ids: Int[Tensor, "T S"]) -> Float[Tensor, "T E"]:
        """Pooled feature, not L2-normalised; equals the library's `get_text_features` of the ids padded to the context.

        Raises:
            ValueError: as `embed`.
        """
        ids = self._checked(ids)
        if not len(ids):
            return torch.empty(0, self.embed_dim, dtype=self.dtype, device=self.device)
        tree = token_tree(ids, self.end_positions(ids)).to(self.device)
        states = self._embed(tree.tokens, tree.positions)
        return self._projection(self._tower.final_layer_norm(encode_tree(tree, states, self.blocks)))

    def end_positions(self, ids: Int[Tensor, "T S"]) -> Int[Tensor, " T"]:
        """0-based position whose state is the text's feature, as the library picks it."""
        return ids.argmax(-1) if self.pooling == "argmax" else (ids == self._end_id).int().argmax(-1)

    def parts(self) -> TextParts:
        """The tower in its parts."""
        return HfParts(self._tower, self._projection, self.blocks, ends=self.end_positions)


class HfSiglipText(_HfText):
    """`TextView` of the text side of a `SiglipModel` or `Siglip2Model`.

    Args:
        module: the whole model; it is looked at, never changed.
    """

    causal = False
    cuttable = False

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module, module.get_submodule("text_model.head"))

    def encode(self, ids: Int[Tensor, "T S"]) -> Float[Tensor, "T E"]:
        """Pooled feature, not L2-normalised; equals the library's `get_text_features`.

        Args:
            ids: whole contexts, padded as the tokenizer pads.

        Raises:
            ValueError: ids out of the vocabulary, or a number of positions other than the context.
        """
        ids = self._checked(ids)
        require_whole(ids, self.context)
        return feature_of(self._module.get_text_features(input_ids=ids), self.embed_dim)

    def parts(self) -> TextParts:
        """The tower in its parts."""
        return HfParts(self._tower, self._projection, self.blocks, ends=None)
