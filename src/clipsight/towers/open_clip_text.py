"""View of open_clip's text towers, in both layouts: inside `CLIP` itself and as the `text` of a `CustomTextCLIP`.

Where the mask is causal and the feature is taken at the end token, the ids behind that token change nothing: such a
tower is `cuttable`, and shared beginnings are encoded once (`clipsight.towers.token_tree`). Every other tower (SigLIP
and some forty of open_clip's configurations are not causal or pool elsewhere) runs the library's own `encode_text` on
whole contexts.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from clipsight.errors import Unsupported
from clipsight.towers.hf_inside import HfInside
from clipsight.towers.open_clip_blocks import block_views, unsupported_blocks
from clipsight.towers.open_clip_parts import OpenClipParts
from clipsight.towers.text_ids import checked_ids, require_whole
from clipsight.towers.token_tree import encode_tree, token_tree
from clipsight.towers.view import OnePieceText, TextParts

_USUAL = 77
_PARTS = ("transformer", "token_embedding", "positional_embedding", "ln_final")


class OpenClipText:
    """`TextView` of the text side of a whole open_clip model.

    Args:
        module: the model (`CLIP`, `CustomTextCLIP`, `CoCa`); it is looked at, never changed.
        context: token positions that the tokenizer fills, for a Hugging Face tower; None is open_clip's usual 77.

    Attributes:
        width: width of the token states. embed_dim: width of the joint space.
        context: token positions that its tokenizer fills.
        vocabulary: number of token ids, None where the tower does not say.
        causal: True when a position sees only itself and earlier ones.
        cuttable: True when ids behind the end token can be cut off without changing the feature.
        pooling: where the feature is taken: "argmax" (the largest id), "eos", "first", "last", "other".
    """

    def __init__(self, module: nn.Module, context: int | None = None) -> None:
        tower: Any = getattr(module, "text", module)
        self._module: Any = module
        self._tower: Any = tower
        native = all(hasattr(tower, part) for part in _PARTS)
        self._native = native and hasattr(tower.transformer, "resblocks")
        # A Hugging Face tower has far more positions than open_clip's tokenizers fill, and its padding is masked.
        self._masked = hasattr(tower, "config") and hasattr(tower, "pooler")
        positions = getattr(module, "context_length", None) or getattr(tower, "context_length", None)
        filled = min(positions or _USUAL, context or _USUAL)
        self.context: int = filled if self._masked else positions or _USUAL
        self.vocabulary: int | None = getattr(tower, "vocab_size", getattr(module, "vocab_size", None))
        self.pooling: str = getattr(tower, "text_pool_type", getattr(tower, "pool_type", "other"))
        self._end_id = getattr(tower, "text_eos_id", getattr(tower, "eos_id", None))
        self._class_token = getattr(tower, "cls_emb", None) is not None
        self.causal: bool = self._native and _is_causal(getattr(tower, "attn_mask", None))
        self.cuttable: bool = self.causal and not self._class_token and self.pooling in ("argmax", "eos")
        parts = self._native and unsupported_blocks(tower.transformer) is None
        self.blocks = block_views(tower.transformer) if parts else ()
        self.width, self.embed_dim = self._widths()

    @property
    def dtype(self) -> torch.dtype:
        """Number type the tower computes in."""
        if self._native:
            return self._tower.transformer.get_cast_dtype()
        return next(self._tower.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the tower lives."""
        return next(self._tower.parameters()).device

    def embed(self, ids: Int[Tensor, "T S"]) -> Float[Tensor, "T S D"]:
        """Token and position embeddings that enter the first block; S may be shorter than the context.

        Raises:
            Unsupported: the tower is not open_clip's native text transformer.
            ValueError: ids out of the vocabulary or more positions than the context has.
        """
        self._require_native()
        ids = self._checked(ids)
        return self._embed(ids, torch.arange(ids.shape[1], device=ids.device))

    def encode(self, ids: Int[Tensor, "T S"]) -> Float[Tensor, "T E"]:
        """Pooled feature, not L2-normalised; equals the library's `encode_text` on the same ids padded to the context.

        Args:
            ids: token ids. A cuttable tower takes any S up to its context; the others exactly their context.

        Raises:
            ValueError: ids out of the vocabulary, or a number of positions that the tower does not take.
        """
        ids = self._checked(ids)
        if not (self.cuttable and self.blocks):
            if not self._masked:
                require_whole(ids, self.context)
            return self._module.encode_text(ids, normalize=False)
        if not len(ids):
            return torch.empty(0, self.embed_dim, dtype=self.dtype, device=self.device)
        tree = token_tree(ids, self.end_positions(ids)).to(self.device)
        states = self._embed(tree.tokens, tree.positions)
        return self._readout(encode_tree(tree, states, self.blocks))

    def token_features(self, ids: Int[Tensor, "T S"]) -> Float[Tensor, "T S E"]:
        """Every position after the final norm and the projection, not L2-normalised.

        Only the position of the end token was trained to mean something in the joint space.

        Raises:
            Unsupported: the tower is not open_clip's native text transformer, or it appends a class token (CoCa).
            ValueError: as `embed`.
        """
        tower, x = self._require_native(), self.embed(ids)
        mask = tower.attn_mask
        if mask is not None:
            mask = mask[: x.shape[1], : x.shape[1]]
        return self._readout(tower.transformer(x, attn_mask=mask))

    def parts(self) -> TextParts | OnePieceText:
        """The tower in its parts; of a Hugging Face tower, from token embeddings on.

        Raises:
            Unsupported: the tower is neither, or its feature is taken in a way of its own.
        """
        if self.blocks:
            return OpenClipParts(self._tower, pooling=self.pooling, end_id=self._end_id)
        if self._masked:
            return HfInside(self._tower)
        why = f"its text side is a {type(self._tower).__name__}, neither open_clip's own nor one of Hugging Face's."
        if self._native:
            why = unsupported_blocks(self._tower.transformer)
        raise Unsupported(f"this model's texts cannot be looked into: {why} Whole texts can be encoded.")

    def end_positions(self, ids: Int[Tensor, "T S"]) -> Int[Tensor, " T"]:
        """0-based position whose state is the text's feature, as the library picks it; for cuttable towers."""
        return (ids == self._end_id).int().argmax(-1) if self.pooling == "eos" else ids.argmax(-1)

    def _checked(self, ids: Int[Tensor, "T S"]) -> Int[Tensor, "T S"]:
        return checked_ids(ids, self.context, self.vocabulary, self.device)

    def _widths(self) -> tuple[int, int]:
        if not self._native:
            config = getattr(self._tower, "config", None)
            width = getattr(config, "hidden_size", None) or getattr(config, "d_model", 0)
            return width, getattr(self._tower, "output_dim", width)
        width, projection = self._tower.transformer.width, self._tower.text_projection
        if projection is None:
            return width, width
        return width, projection.out_features if isinstance(projection, nn.Linear) else projection.shape[1]

    def _require_native(self) -> Any:
        if self._native and not self._class_token:
            return self._tower
        kind = type(self._tower).__name__ + (" with an appended class token" if self._class_token else "")
        raise Unsupported(
            f"single tokens of this model's texts cannot be read: its text side is a {kind}, not open_clip's native "
            "text transformer. Whole texts can be encoded."
        )

    def _embed(self, ids: Int[Tensor, "*any"], positions: Int[Tensor, " P"]) -> Float[Tensor, "*any D"]:
        tokens = self._tower.token_embedding(ids).to(self.dtype)
        return tokens + self._tower.positional_embedding[positions].to(self.dtype)

    def _readout(self, x: Float[Tensor, "*any D"]) -> Float[Tensor, "*any E"]:
        x, projection = self._tower.ln_final(x), self._tower.text_projection
        if projection is None:
            return x
        return projection(x) if isinstance(projection, nn.Linear) else x @ projection


def _is_causal(mask: Tensor | None) -> bool:
    """Whether an additive attention mask hides exactly the later positions."""
    if mask is None or mask.ndim != 2:
        return False
    later = torch.ones_like(mask, dtype=torch.bool).triu(1)
    return bool(torch.equal(mask == -torch.inf, later) and not mask[~later].any())
