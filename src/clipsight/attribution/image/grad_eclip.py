"""Grad-ECLIP for pictures: values weighed by the gradient of their channels and by a loosened attention."""

from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from clipsight.attribution.image.passes import needs_class_row, slopes
from clipsight.attribution.image.registry import ImageAnswer, ImageQuestion, image_attribution
from clipsight.attribution.match import exact
from clipsight.attribution.sources import GRAD_ECLIP
from clipsight.features.trunk import onward
from clipsight.towers.block import softmax_seen
from clipsight.towers.view import BlockView

Version = Literal["notebook", "script"]
_SINGLE = (
    "As the authors' code does, the last blocks were run with one head although this tower has more: what is explained "
    'is not quite the tower\'s own score. heads="own" explains the tower itself.'
)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Layer:
    """Of one block, heads side by side (D = K d): queries, keys, values, attended values."""

    block: BlockView
    q: Float[Tensor, "B S D"]
    k: Float[Tensor, "B S D"]
    v: Float[Tensor, "B S D"]
    attended: Float[Tensor, "B S D"]


@image_attribution(
    "grad_eclip",
    summary="Values of the last blocks weighed by the gradient of their channels and by a loosened attention.",
    unit="relevance", signed=False, linear=False, gradients=True, needs=needs_class_row,
    sources=(GRAD_ECLIP,),
)  # fmt: skip
def grad_eclip(
    question: ImageQuestion,
    *,
    last: int = 1,
    version: Version = "notebook",
    heads: Literal["single", "own"] = "single",
    loosened: bool = True,
) -> ImageAnswer:
    """Σ over the last blocks of max(0, ⟨∂s/∂o, v_j⟩ λ_j), o what the class token attended to.

    λ is the cosine of its query with each patch's key, brought to [0, 1] over the patches.

    Args:
        question: see `ImageQuestion`.
        last: how many blocks from the end. More than there are: all.
        version: "notebook" takes queries and keys as they are, "script" (`generate_emap.py`) through the output
            projection.
        heads: "single" runs those blocks with one head of the whole width, as the authors' code; "own" as the tower.
        loosened: False leaves λ out, the program's `withksim=False`.

    Raises:
        ValueError: another word, or no block at all.
    """
    if version not in ("notebook", "script") or heads not in ("single", "own") or last < 1:
        raise ValueError(
            f'version {version!r} is "notebook" or "script", heads {heads!r} "single" or "own", last {last} at least 1.'
        )
    layers, features = _pass(question, last, heads)
    first = question.view.prefix
    near = [_loosened(layer, first, version) if loosened else 1.0 for layer in layers]
    made = []
    for gathered in slopes(question, question.scores(features), [layer.attended for layer in layers]):
        total = torch.zeros_like(exact(layers[0].v[:, first:, 0]))
        for layer, slope, weight in zip(layers, gathered, near, strict=True):
            total = total + ((exact(slope[:, :1]) * exact(layer.v[:, first:])).sum(-1) * weight).relu()
        made.append(total)
    maps = rearrange(torch.stack(made, 1), "B T (h w) -> B T h w", h=question.grid[0])
    several = heads == "single" and layers[-1].block.heads > 1
    return ImageAnswer(maps=maps, pooled=None if several else features, notes=(_SINGLE,) if several else ())


def _pass(question: ImageQuestion, last: int, heads: str) -> tuple[list[_Layer], Float[Tensor, "B E"]]:
    """The last blocks with their attention written out, and the feature that comes of them."""
    blocks = question.view.blocks_at(question.grid)
    start = max(len(blocks) - last, 0)
    with torch.set_grad_enabled(question.live):
        x = question.entered()
        for block in blocks[:start]:
            x = block(x)
    layers = []
    for block in blocks[start:]:
        q, k, v = (rearrange(one, "B K S d -> B S (K d)") for one in block.qkv(block.norm1(x)))
        count = 1 if heads == "single" else block.heads
        parts = [rearrange(one, "B S (K d) -> B K S d", K=count) for one in (q, k, v)]
        scale = q.shape[-1] ** -0.5 if heads == "single" else block.scale
        weights = softmax_seen((parts[0] * scale) @ parts[1].mT, None)
        attended = rearrange(weights.to(v.dtype) @ parts[2], "B K S d -> B S (K d)")
        if not attended.requires_grad:
            attended = attended.detach().requires_grad_()
        layers.append(_Layer(block=block, q=q, k=k, v=v, attended=attended))
        x = onward(block, x, block.merge(_in_heads(block, attended)))
    return layers, question.view.pool(x)


def _loosened(layer: _Layer, first: int, version: Version) -> Float[Tensor, "B N"]:
    """Cosines of the class token's query with the patches' keys, in proportion between the least and the greatest."""
    q, k = layer.q[:, :1], layer.k[:, first:]
    if version == "script":
        q, k = (layer.block.merge(_in_heads(layer.block, one)) for one in (q, k))
    near = F.cosine_similarity(exact(q), exact(k), dim=-1)
    low, high = near.amin(-1, keepdim=True), near.amax(-1, keepdim=True)
    return (near - low) / torch.where(high > low, high - low, 1.0)


def _in_heads(block: BlockView, joined: Float[Tensor, "B S D"]) -> Float[Tensor, "B K S d"]:
    return rearrange(joined, "B S (K d) -> B K S d", K=block.heads)
