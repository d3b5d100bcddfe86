"""One pass of a text tower that keeps what attributions need: attention, normalised tokens, streams.

Plainly run it equals the library's `encode_text`. With autograd on it keeps the graph; with `explicit` every product of
it can be differentiated twice, which fused attention cannot.
"""

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from clipsight.attribution.match import exact
from clipsight.towers.view import BlockView, OnePieceText, TextParts


class Trace:
    """What a pass should keep, by kind and block number (0-based), and what it kept.

    Kinds: "entered" and "left", the stream before and after a block (N, Z, D); "normed", what its attention reads
    (N, Z, D); "weights", its attention (N, K, Z, Z); "rows", the attention of the pooled position alone, in float32
    (N, K, Z). With autograd on each kept tensor can be differentiated to, also where nothing before it asks for
    gradients.
    """

    def __init__(self, **wanted: Iterable[int]) -> None:
        self._wanted = {kind: frozenset(numbers) for kind, numbers in wanted.items()}
        self._kept: dict[tuple[str, int], Tensor] = {}

    def __getitem__(self, key: tuple[str, int]) -> Tensor:
        return self._kept[key]

    def wants(self, kind: str, index: int) -> bool:
        """Whether this is to be kept."""
        return index in self._wanted.get(kind, ())

    def holds(self, other: "Trace") -> bool:
        """Whether all that the other asks for was kept here."""
        asked = {(kind, number) for kind, numbers in other._wanted.items() for number in numbers}
        return asked <= self._kept.keys()

    def keep(self, kind: str, index: int, tensor: Tensor) -> Tensor:
        """Keep the tensor if wanted; continue with the returned one."""
        if not self.wants(kind, index):
            return tensor
        if torch.is_grad_enabled() and not tensor.requires_grad:
            tensor = tensor.detach().requires_grad_()
        self._kept[kind, index] = tensor
        return tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class TextPass:
    """A finished pass whose features and trace are used several times, as in a training step.

    Attributes:
        features: of the texts, not L2-normalised. trace: what it kept.
        explicit: whether it can be differentiated twice.
    """

    features: Float[Tensor, "T E"]
    trace: Trace
    explicit: bool = False

    def serves(self, trace: Trace, explicit: bool) -> bool:
        """Whether another pass would give nothing new."""
        return self.trace.holds(trace) and (self.explicit or not explicit)


def run(
    parts: TextParts | OnePieceText,
    ids: Int[Tensor, "N S"],
    *,
    tokens: Float[Tensor, "N S D"] | None = None,
    entered: Float[Tensor, "N Z D"] | None = None,
    hidden: Bool[Tensor, "N S"] | None = None,
    trace: Trace | None = None,
    explicit: bool = False,
    graph_from: int = 0,
) -> Float[Tensor, "N E"]:
    """The texts' features, not L2-normalised.

    Args:
        parts: the tower; one that runs in one piece keeps no trace.
        ids: token ids; they say where the feature is taken and what is padding, also with other `tokens`.
        tokens: token embeddings instead of those of the ids.
        entered: what enters the first block, positions added, instead of that of the ids.
        hidden: positions that nobody attends to.
        trace: what to keep on the way.
        explicit: attention written out, so that the result can be differentiated twice.
        graph_from: number of the block from which on a graph is kept, if autograd is on.
    """
    if isinstance(parts, OnePieceText):
        assert trace is None
        given = parts.tokens(ids) if tokens is None else tokens
        with sdpa_kernel(SDPBackend.MATH) if explicit else nullcontext():
            return parts.encode_tokens(given, ids, hidden)
    trace, at = trace or Trace(), parts.pooled(ids)
    with _graph(graph_from <= 0):
        x = entered
        if x is None:
            x = parts.entered(parts.tokens(ids) if tokens is None else tokens)
    seen = visible(parts, ids, hidden)
    texts = torch.arange(len(ids), device=ids.device)
    for index, block in enumerate(parts.blocks):
        last = index == len(parts.blocks) - 1
        with _graph(graph_from <= index):
            x = trace.keep("entered", index, x)
            y = trace.keep("normed", index, block.norm1(x))
            if trace.wants("rows", index):
                trace.keep("rows", index, pooled_row(block, y, seen, at))
            # Nothing reads the other rows of the last block's output.
            alone = last and not trace.wants("left", index) and not trace.wants("weights", index)
            if alone:
                x = x[texts, at][:, None]
                heads = attend(block, y, _rows(seen, at), y[texts, at][:, None], explicit=explicit)
            elif trace.wants("weights", index):
                q, k, v = block.qkv(y)
                weights = trace.keep("weights", index, probabilities(q, k, seen, block.scale))
                heads = weights.to(v.dtype) @ v
            else:
                heads = attend(block, y, seen, explicit=explicit)
            x = x + block.merge(heads)
            x = trace.keep("left", index, x + block.ffn(x))
            if last:
                return parts.readout(x[:, 0] if alone else x[texts, at])
    raise AssertionError("a tower in parts has blocks")


def step(
    block: BlockView, x: Float[Tensor, "N Z D"], seen: Bool[Tensor, "n Z Z"] | None
) -> Float[Tensor, "N Z D"]:
    """The stream after a block."""
    x = x + block.merge(attend(block, block.norm1(x), seen))
    return x + block.ffn(x)


def visible(
    parts: TextParts, ids: Int[Tensor, "N S"], hidden: Bool[Tensor, "N S"] | None = None
) -> Bool[Tensor, "n Z Z"] | None:
    """True where a row's position sees a column's, None when all see all; a position left with nothing sees itself."""
    seen = parts.visible(ids)
    if hidden is None:
        return seen
    size = seen.shape[-1] if seen is not None else ids.shape[1]
    shown = F.pad(~hidden, (0, size - ids.shape[1]), value=True)[:, None, :]
    seen = shown.expand(-1, size, -1) if seen is None else seen & shown
    return seen | (~seen.any(-1, keepdim=True) & torch.eye(size, dtype=torch.bool, device=ids.device))


def attend(
    block: BlockView,
    y: Float[Tensor, "N Z D"],
    seen: Bool[Tensor, "n R Z"] | None,
    rows: Float[Tensor, "N R D"] | None = None,
    *,
    explicit: bool = False,
) -> Float[Tensor, "N K R d"]:
    """The block's attention of `rows` (all of `y` unless given) over `y`; heads not yet merged."""
    if rows is None:
        q, k, v = block.qkv(y)
    else:
        (q,), (k, v) = block.qkv(rows, "q"), block.qkv(y, "kv")
    if explicit:
        return probabilities(q, k, seen, block.scale).to(v.dtype) @ v
    mask = None if seen is None else seen[:, None]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=block.scale)


def probabilities(
    q: Float[Tensor, "N K R d"], k: Float[Tensor, "N K Z d"], seen: Bool[Tensor, "n R Z"] | None, scale: float
) -> Float[Tensor, "N K R Z"]:
    """Attention written out, softmax at least in float32."""
    scores = exact((q * scale) @ k.mT)
    return (scores if seen is None else scores.masked_fill(~seen[:, None], -torch.inf)).softmax(-1)


def pooled_row(
    block: BlockView,
    y: Float[Tensor, "N Z D"],
    seen: Bool[Tensor, "n Z Z"] | None,
    at: Int[Tensor, " N"],
) -> Float[Tensor, "N K Z"]:
    """Attention of the pooled position only, in float32 also under autocast, without building the full map."""
    rows = y[torch.arange(len(y), device=y.device), at][:, None]
    (q,), (k,) = block.qkv(rows, "q"), block.qkv(y, "k")
    scores = (exact(q) * exact(k)).sum(-1) * block.scale
    mask = _rows(seen, at)
    return (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(-1)


def seen_by_pooled(parts: TextParts, ids: Int[Tensor, "N S"]) -> Bool[Tensor, "N Z"]:
    """The positions of the stream that the pooled one sees directly."""
    at, seen = parts.pooled(ids), parts.visible(ids)
    if seen is None:
        return torch.ones_like(ids, dtype=torch.bool)
    return seen.expand(len(at), -1, -1)[torch.arange(len(at), device=at.device), at]


def _rows(seen: Bool[Tensor, "n Z Z"] | None, at: Int[Tensor, " N"]) -> Bool[Tensor, "N 1 Z"] | None:
    if seen is None:
        return None
    return seen.expand(len(at), -1, -1)[torch.arange(len(at), device=at.device), at][:, None]


def _graph(wanted: bool) -> torch.set_grad_enabled:
    return torch.set_grad_enabled(torch.is_grad_enabled() and wanted)
