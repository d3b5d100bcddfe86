"""Grad-ECLIP for texts: values weighted by the gradient of their channels and by a relaxed attention."""

from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from clipsight.attribution.match import exact
from clipsight.attribution.passes import probabilities, seen_by_pooled, step, visible
from clipsight.attribution.question import Answer, Question
from clipsight.attribution.registry import attribution
from clipsight.attribution.sources import GRAD_ECLIP
from clipsight.towers.view import BlockView

Version = Literal["notebook", "script"]

_SINGLE = (
    "As the authors' code does, the last blocks were run with one head although this tower has more: what is explained "
    'is not quite its own similarity (extras["explained"]). heads="own" explains the tower itself.'
)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Layer:
    """Of one block, heads side by side (D = K d): queries, keys, values, attended values."""

    block: BlockView
    q: Float[Tensor, "T Z D"]
    k: Float[Tensor, "T Z D"]
    v: Float[Tensor, "T Z D"]
    attended: Float[Tensor, "T Z D"]


@attribution(
    "grad_eclip",
    summary="Values of the last blocks weighed by the gradient of their channels and by a loosened attention.",
    side="text", unit="relevance",
    image=True, gradients=True, inside="blocks", signed=False, linear=False, spans=False,
    sources=(GRAD_ECLIP,),
)  # fmt: skip
def grad_eclip(
    question: Question,
    *,
    last: int = 8,
    version: Version = "notebook",
    heads: Literal["single", "own"] = "single",
    over: Literal["context", "seen"] = "context",
    loosened: bool = True,
    relu: bool = True,
) -> Answer:
    """r_i = max(0, Σ over the last blocks of ⟨∂s/∂o, v_i⟩ λ_i), o what the pooled position attended to.

    λ is the cosine of its query with each key, brought to [0, 1]. Published maps are divided by their sum over the
    words; these are not.

    Args:
        question: see `Question`.
        last: how many blocks from the end; 8 in the authors' notebook for texts. More than there are: all.
        version: "notebook" takes queries and keys as they are, "script" (`generate_emap.py`) through the output
            projection.
        heads: "single" runs those blocks with one head of the whole width, as the authors' code; "own" as the tower.
        over: the keys between whose smallest and largest cosine λ runs: the whole "context" with its padding, as in the
            authors' code, so that scores depend on what is behind the end token; or those that the pooled position has
            "seen".
        loosened: False leaves λ out, the program's `withksim=False`.
        relu: False keeps the sign.

    Raises:
        ValueError: another word, or no block at all.
    """
    for value, name, known in (
        (version, "version", ("notebook", "script")),
        (heads, "heads", ("single", "own")),
        (over, "over", ("context", "seen")),
    ):
        if value not in known:
            raise ValueError(f"{name} is {value!r}; it is {known[0]!r} or {known[1]!r}.")
    if last < 1:
        raise ValueError(f"last is {last}; it is at least 1.")
    parts = question.inside
    ids = question.given_ids if over == "context" else question.ids
    layers, feature = _pass(question, ids, last, heads)
    s = question.match(feature)
    at, texts = parts.pooled(ids), torch.arange(len(ids), device=ids.device)
    slopes = torch.autograd.grad(s.sum(), [layer.attended for layer in layers], create_graph=question.live)
    seen = seen_by_pooled(parts, ids)
    keys = seen if over == "seen" else torch.ones_like(seen)
    total = torch.zeros_like(layers[0].v[..., 0], dtype=exact(layers[0].v).dtype)
    for layer, slope in zip(layers, slopes, strict=True):
        weighed = (exact(slope[texts, at])[:, None] * exact(layer.v)).sum(-1)
        total = total + (weighed * _loosened(layer, at, keys, version) if loosened else weighed)
    scores = (total.relu() if relu else total) * seen
    several = heads == "single" and parts.blocks[-1].heads > 1
    return Answer(
        scores=scores[:, : question.ids.shape[1]],
        extras={"explained": s},
        notes=(_SINGLE,) if several else (),
    )


def _pass(
    question: Question, ids: Int[Tensor, "T S"], last: int, heads: str
) -> tuple[list[_Layer], Float[Tensor, "T E"]]:
    """The last blocks with their attention written out, and the feature that comes of them."""
    parts, seen = question.inside, visible(question.inside, ids)
    first = max(len(parts.blocks) - last, 0)
    with torch.set_grad_enabled(question.live):
        x = parts.entered(parts.tokens(ids))
        for block in parts.blocks[:first]:
            x = step(block, x, seen)
    layers = []
    for block in parts.blocks[first:]:
        count = 1 if heads == "single" else block.heads
        q, k, v = (rearrange(one, "T K Z d -> T Z (K d)") for one in block.qkv(block.norm1(x)))
        split = [rearrange(one, "T Z (K d) -> T K Z d", K=count) for one in (q, k, v)]
        scale = q.shape[-1] ** -0.5 if heads == "single" else block.scale
        attended = probabilities(split[0], split[1], seen, scale).to(v.dtype) @ split[2]
        attended = rearrange(attended, "T K Z d -> T Z (K d)")
        if not attended.requires_grad:
            attended = attended.detach().requires_grad_()
        layers.append(_Layer(block=block, q=q, k=k, v=v, attended=attended))
        x = x + block.merge(_in_heads(block, attended))
        x = x + block.ffn(x)
    return layers, parts.readout(x[torch.arange(len(ids), device=ids.device), parts.pooled(ids)])


def _loosened(
    layer: _Layer, at: Int[Tensor, " T"], keys: Bool[Tensor, "T Z"], version: Version
) -> Float[Tensor, "T Z"]:
    """Cosines of the pooled query with every key, in proportion between the least and the greatest of `keys`."""
    q, k = layer.q[torch.arange(len(at), device=at.device), at][:, None], layer.k
    if version == "script":
        q, k = (layer.block.merge(_in_heads(layer.block, one)) for one in (q, k))
    near = F.cosine_similarity(exact(q), exact(k), dim=-1)
    low = near.masked_fill(~keys, torch.inf).amin(-1, keepdim=True)
    width = near.masked_fill(~keys, -torch.inf).amax(-1, keepdim=True) - low
    return (near - low) / torch.where(width > 0, width, 1.0)


def _in_heads(block: BlockView, joined: Float[Tensor, "T Z D"]) -> Float[Tensor, "T K Z d"]:
    return rearrange(joined, "T Z (K d) -> T K Z d", K=block.heads)
