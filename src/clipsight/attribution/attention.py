"""Attention as attribution: attention from the position that becomes the feature, by layer or rolled out."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from clipsight.attribution.passes import Trace
from clipsight.attribution.question import Answer, Question, block_numbers
from clipsight.attribution.registry import attribution
from clipsight.attribution.sources import CAE, ROLLOUT

HeadPolicy = Literal["mean", "max"] | int
Layers = str | int | Sequence[int]


@attribution(
    "attention",
    summary=(
        "Reconstructed (AB of CLIP-CAE): the pooled position's attention to each token, mean over heads and layers; "
        "blind to the picture."
    ),
    side="text", unit=lambda made: "attention after roll-out" if made.options["rollout"] else "share of attention",
    trust="Attention does not look at the picture: these scores are the same for every picture.",
    image=False, gradients=False, inside="blocks", signed=False, linear=False, spans=False,
    sources=(CAE, ROLLOUT),
)  # fmt: skip
def attention(
    question: Question,
    *,
    layers: Layers = "last",
    heads: HeadPolicy = "mean",
    rollout: bool = False,
) -> Answer:
    """r_i = mean over the layers of A[pooled, i].

    Rows sum to 1 over the positions that the pooled one sees; most of a row usually goes to the start token. Without
    roll-out only the pooled row is made, in float32.

    Args:
        question: see `Question`.
        layers: "last", "ends", "all", or block numbers from 0; with roll-out the first of them is where it begins, and
            "last" stands for "all".
        heads: "mean", "max" (rows then sum to more than 1), or the number of one head.
        rollout: the pooled row of the product of ½(A + I) over the layers (arXiv 2005.00928).
    """
    parts = question.inside
    depth = len(parts.blocks)
    if rollout:
        first = 0 if layers == "last" else block_numbers(layers, depth)[0]
        features, trace = question.run(Trace(weights=range(first, depth)))
        joint = rolled_out([of_heads(trace["weights", index], heads, 1) for index in range(first, depth)])
        texts = torch.arange(len(joint), device=joint.device)
        rows = joint[texts, parts.pooled(question.ids)]
    else:
        features, by_layer = attention_rows(question, layers)
        rows = of_heads(by_layer, heads, 2).mean(0)
    return Answer(scores=rows[:, : question.ids.shape[1]], features=features)


def attention_rows(
    question: Question, layers: Layers
) -> tuple[Float[Tensor, "T E"], Float[Tensor, "L T K Z"]]:
    """The texts' features, and the pooled position's attention in each of the layers, heads apart, in float32.

    Training losses that treat heads one by one begin here.
    """
    numbers = block_numbers(layers, len(question.inside.blocks))
    features, trace = question.run(Trace(rows=numbers))
    return features, torch.stack([trace["rows", index] for index in numbers])


def of_heads(weights: Float[Tensor, "*any"], heads: HeadPolicy, axis: int) -> Float[Tensor, "*fewer"]:
    """Attention reduced over heads: their mean, their maximum, or that of a single head.

    Args:
        weights: attention, heads along `axis`.
        heads: see `attention`.

    Raises:
        ValueError: another policy, or a head that is not there.
    """
    if heads == "mean":
        return weights.mean(axis)
    if heads == "max":
        return weights.amax(axis)
    count = weights.shape[axis]
    if not isinstance(heads, int) or not -count <= heads < count:
        raise ValueError(
            f'heads is {heads!r}; it is "mean", "max", or the number of one of {count} heads, from 0.'
        )
    return weights.select(axis, heads)


def rolled_out(weights: Sequence[Float[Tensor, "T Z Z"]]) -> Float[Tensor, "T Z Z"]:
    """Attention roll-out, the product of ½(A + I) from the first layer (rightmost) to the last; rows sum to 1.

    Rows that do not sum to 1 themselves (a maximum over heads) are brought to it first.
    """
    joint = None
    for layer in weights:
        layer = layer + torch.eye(layer.shape[-1], dtype=layer.dtype, device=layer.device)
        layer = layer / layer.sum(-1, keepdim=True)
        joint = layer if joint is None else layer @ joint
    assert joint is not None
    return joint
