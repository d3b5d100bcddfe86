"""What one row of a pre-norm tower reads from every position, block after block."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from clipsight.attribution.match import exact
from clipsight.towers.block import softmax_seen
from clipsight.towers.paths import Held, Path
from clipsight.towers.view import BlockView

By = Literal["block", "head"]
"""How shares are split: by block, or by block and head. None adds them up."""


@runtime_checkable
class Tokens(Protocol):
    """Tokens that enter blocks, stored by the caller, as in `clipsight.features.Trunk`; blocks count from 1."""

    def __contains__(self, number: int) -> bool:
        """Whether the tokens that enter a block are there."""
        ...

    def entering(self, number: int) -> Float[Tensor, "N Z D"]:
        """The tokens that enter a block; one more than there are blocks is what leaves the last."""
        ...

    def put(self, number: int, x: Float[Tensor, "N Z D"]) -> None:
        """Keep tokens."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """A feature in parts: feature = Σ sources + networks + constant, through the end of the tower.

    Each is a vector of the joint space (C = E), or its products with C directions; `feature` is always the vector.

    Attributes:
        sources: what was read from each position, added up over blocks; or by block (L, N, Z, C), by block and head
            (L, K, N, Z, C).
        networks: of the networks that the pooled row went through. constant: biases and what entered the first block.
    """

    sources: Float[Tensor, "*split N Z C"]
    networks: Float[Tensor, "N C"]
    constant: Float[Tensor, "N C"]
    feature: Float[Tensor, "N E"]


def along(
    vectors: Float[Tensor, "N *Z E"], directions: Float[Tensor, "*N C E"] | None
) -> Float[Tensor, "N *Z C"]:
    """Products of vectors that belong to N rows with directions, the same for all rows or each row's own."""
    if directions is None:
        return vectors
    directions = directions.to(vectors.dtype)
    return vectors @ directions.mT if vectors.ndim > 2 else (vectors[:, None] @ directions.mT)[:, 0]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Whole:
    """Keeps all channels of what heads read."""

    def __call__(self, path: Path, held: Held, heads: Float[Tensor, "N Z K d"], split: bool) -> Tensor:
        if not split:
            return held.linear(rearrange(heads, "N Z K d -> N Z (K d)"))
        each = torch.eye(heads.shape[2], dtype=heads.dtype, device=heads.device)
        return torch.stack(
            [held.linear(rearrange(heads * one[:, None], "N Z K d -> N Z (K d)")) for one in each]
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Along:
    """Keeps the products with directions of the stream: C numbers a position, the output projection folded in."""

    directions: Float[Tensor, "*N C D"]

    def __call__(self, path: Path, held: Held, heads: Float[Tensor, "N Z K d"], split: bool) -> Tensor:
        pulled = path.pull(self.directions.to(heads.dtype))
        if split:
            pulled = rearrange(pulled, "... C (K d) -> K ... C d", K=heads.shape[2])
            pulled = pulled if pulled.ndim == 4 else pulled[:, None]
            made = rearrange(heads, "N Z K d -> K N Z d") @ pulled.mT
        else:
            made = rearrange(heads, "N Z K d -> N Z (K d)") @ pulled.mT
        return made * held.scale[:, None, None] if path.measures else made


def read_row(
    blocks: Sequence[BlockView],
    x: Float[Tensor, "N Z D"],
    at: Int[Tensor, " N"] | int,
    end: Path,
    directions: Float[Tensor, "*N C E"] | None = None,
    *,
    seen: Bool[Tensor, "n Z Z"] | None = None,
    by: By | None = None,
    tokens: Tokens | None = None,
) -> Parts:
    """Take apart the feature that `end` makes of the row `at`; the last block runs for that row alone.

    Args:
        blocks: pre-norm blocks, first to last.
        x: what enters the first one.
        at: position of the row, one for all or one for each sequence.
        end: from the row to the joint space.
        directions: of the joint space; None keeps whole vectors.
        seen: True where a row's position sees a column's; None where all see all.
        by: how sources are split.
        tokens: what enters the blocks, where it is known: such blocks run for the row alone, and what is made of the
            others is put there.
    """
    # A gate is the row's own, which is known at the end alone.
    folded = None if directions is None or end.gated else _Along(directions=end.pull(directions))
    reader = folded or _Whole()
    sources, networks, constant, row = _read(blocks, x, at, reader, seen, by, tokens)
    held = end.at(row)
    if folded is not None:
        sources = sources * held.scale[:, None, None]
    elif by is None:
        sources = along(held.linear(sources), directions)
    else:
        flat = sources.reshape(-1, *sources.shape[-3:])
        made = torch.stack([along(held.linear(one), directions) for one in flat])
        sources = made.reshape(*sources.shape[:-1], -1)
    return Parts(
        sources=sources,
        networks=along(held.linear(networks), directions),
        constant=along(held.linear(constant) + held.constant, directions),
        feature=held.value,
    )


def _read(
    blocks: Sequence[BlockView],
    x: Float[Tensor, "N Z D"],
    at: Int[Tensor, " N"] | int,
    reader: _Whole | _Along,
    seen: Bool[Tensor, "n Z Z"] | None,
    by: By | None,
    tokens: Tokens | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What the reader kept of every position; all networks, all constants, and the row after the last block (N, D)."""
    everyone = torch.arange(len(x), device=x.device)
    mask = None if seen is None else seen[:, None]
    seen_row = None if seen is None else seen.expand(len(x), -1, -1)[everyone, at][:, None]
    row = exact(x[everyone, at])
    constant, networks, kept, total = row, torch.zeros_like(row), [], None
    for number, block in enumerate(blocks, start=2):
        y, following = block.norm1(x), None
        known = tokens is not None and number in tokens
        if known or block is blocks[-1]:
            (v,) = block.qkv(y, "v")
            weights = block.row_weights(y[everyone, at][:, None], y, seen_row)
            attended = (weights.to(v.dtype) @ v)[:, :, 0]
        else:
            q, k, v = block.qkv(y)
            heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=block.scale)
            weights = softmax_seen((q[everyone, :, at][:, :, None] * block.scale) @ k.mT, seen_row)
            attended, following = heads[everyone, :, at], x + block.merge(heads)
        path = block.merge_path()
        held = path.at(rearrange(attended, "N K d -> N (K d)"))
        read = rearrange(weights[:, :, 0, :, None] * v, "N K Z d -> N Z K d")
        kept_here = reader(path, held, read, by == "head")
        if by is None:
            total = kept_here if total is None else total + kept_here
        else:
            kept.append(kept_here)
        constant = constant + held.constant
        if following is not None:
            change = block.ffn(following)
            x, network = following + change, change[everyone, at]
            if tokens is not None:
                tokens.put(number, x)
        else:
            alone = x[everyone, at] + held.value.to(x.dtype)
            network = block.ffn(alone[:, None])[:, 0]
            row = exact(alone) + exact(network)
            if tokens is not None and known and block is not blocks[-1]:
                x = tokens.entering(number)
        networks = networks + exact(network)
    sources = torch.stack(kept) if by is not None else total
    assert sources is not None  # every tower read here has blocks
    return sources, networks, constant, row
