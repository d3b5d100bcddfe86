"""Encode each distinct prefix of many token sequences only once.

Under a causal mask the state of a position depends on the tokens up to it alone. So every distinct beginning
`ids[:p + 1]` is one node of a tree, and one state per node is all there is to compute: what follows the end token is
never touched, a shared beginning ("a photo of a …") is encoded once, duplicates are free, nothing is padded in the
matrix products. Attention gathers the states back into sequences. An identity, not an approximation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from clipsight.towers.view import BlockView

_GATHERED_ROWS = 16_384
"""Token states gathered at a time for attention: bounds the memory, large enough for full speed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenTree:
    """The M distinct prefixes of T sequences, ordered by length.

    Attributes:
        tokens: last token id of each node.
        positions: 0-based position of that token.
        ends: node at which each sequence is pooled.
        groups: sequences of like length, as rows of nodes; a row that has ended repeats its last node.
        node_row: for each node, one row of the concatenated groups that holds it.
        end_row: for each sequence, the row of the concatenated groups that holds its end.
    """

    tokens: Int[Tensor, " M"]
    positions: Int[Tensor, " M"]
    ends: Int[Tensor, " T"]
    groups: tuple[Int[Tensor, "..."], ...]
    node_row: Int[Tensor, " M"]
    end_row: Int[Tensor, " T"]

    def to(self, device: torch.device) -> "TokenTree":
        """The same tree with its indices on `device`."""
        return TokenTree(
            tokens=self.tokens.to(device),
            positions=self.positions.to(device),
            ends=self.ends.to(device),
            groups=tuple(group.to(device) for group in self.groups),
            node_row=self.node_row.to(device),
            end_row=self.end_row.to(device),
        )


def token_tree(ids: Int[Tensor, "T S"], ends: Int[Tensor, " T"]) -> TokenTree:
    """The tree of `ids`, each row read up to and with its position `ends`.

    Args:
        ids: token ids, at least one row.
        ends: position, 0-based, from which each row's feature is taken.
    """
    table, last = ids.cpu().numpy(), ends.cpu().numpy()
    by_length = np.argsort(last, kind="stable")
    table, last = table[by_length], last[by_length]
    radix = int(table.max()) + 1
    node = np.zeros(len(table), dtype=np.int64)
    paths = np.zeros((len(table), int(last[-1]) + 1), dtype=np.int64)
    tokens, positions, owners, count = [], [], [], 0
    for position in range(paths.shape[1]):
        live = np.flatnonzero(last >= position)
        _, first, inverse = np.unique(
            node[live] * radix + table[live, position], return_index=True, return_inverse=True
        )
        node[live] = count + inverse
        paths[:, position] = node
        owners.append(live[first])
        tokens.append(table[live[first], position])
        positions.append(np.full(len(first), position))
        count += len(first)

    groups, starts, begin, rows = [], np.zeros(len(table), dtype=np.int64), 0, 0
    while begin < len(table):
        sizes = np.arange(1, len(table) - begin + 1) * (last[begin:] + 1)
        stop = begin + max(1, int(np.searchsorted(sizes, _GATHERED_ROWS, side="right")))
        length = int(last[stop - 1]) + 1
        groups.append(torch.from_numpy(paths[begin:stop, :length].copy()))
        starts[begin:stop] = rows + np.arange(stop - begin) * length
        begin, rows = stop, rows + (stop - begin) * length

    asked = np.argsort(by_length)
    where = np.concatenate(positions)
    return TokenTree(
        tokens=torch.from_numpy(np.concatenate(tokens)),
        positions=torch.from_numpy(where),
        ends=torch.from_numpy(node[asked]),
        groups=tuple(groups),
        node_row=torch.from_numpy(starts[np.concatenate(owners)] + where),
        end_row=torch.from_numpy((starts + last)[asked]),
    )


def encode_tree(
    tree: TokenTree,
    states: Float[Tensor, "M D"],
    blocks: Sequence[BlockView],
    hidden: Bool[Tensor, " M"] | None = None,
) -> Float[Tensor, "T D"]:
    """States of the pooled positions after the last block, before the final norm.

    Args:
        tree: nodes of the sequences, on the device of `states`.
        states: embedding of each node, position added.
        blocks: the causal tower's blocks, first to last; at least one.
        hidden: nodes that nobody attends to, not even themselves; never the first of a sequence.
    """
    x = states[None]
    for block in blocks[:-1]:
        x = x + block.merge(_attend(block, x, tree, tree.node_row, hidden))
        x = x + block.ffn(x)
    pooled = x[:, tree.ends] + blocks[-1].merge(_attend(blocks[-1], x, tree, tree.end_row, hidden))
    return (pooled + blocks[-1].ffn(pooled))[0]


def _attend(
    block: BlockView,
    x: Float[Tensor, "1 M D"],
    tree: TokenTree,
    rows: Int[Tensor, " R"],
    hidden: Bool[Tensor, " M"] | None,
) -> Float[Tensor, "1 K R d"]:
    """Causal attention along the sequences; the heads of the asked rows of the concatenated groups."""
    flat = [rearrange(part, "1 K M d -> M (K d)") for part in block.qkv(block.norm1(x))]
    attended = []
    for group in tree.groups:
        q, k, v = (
            rearrange(part[group.flatten()], "(t s) (K d) -> t K s d", t=len(group), K=block.heads)
            for part in flat
        )
        mask = None
        if hidden is not None:
            mask = q.new_ones(q.shape[2], q.shape[2], dtype=torch.bool).tril() & ~hidden[group][:, None, None]
        heads = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, scale=block.scale
        )
        attended.append(rearrange(heads, "t K s d -> (t s) (K d)"))
    return rearrange(torch.cat(attended)[rows], "R (K d) -> 1 K R d", K=block.heads)
