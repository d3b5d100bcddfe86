"""Generic attention explainability (Chefer, Gur and Wolf): attention times its gradient, summed over layers."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from clipsight.attribution.match import exact
from clipsight.attribution.passes import Trace, run
from clipsight.attribution.question import Answer, Question, block_numbers
from clipsight.attribution.registry import attribution
from clipsight.attribution.sources import CHEFER


@attribution(
    "chefer",
    summary="The pooled row of attention weighed by its gradient, positive part, gathered over layers.",
    side="text", unit="relevance",
    image=True, gradients=True, inside="blocks", signed=False, linear=False, spans=False,
    sources=(CHEFER,),
)  # fmt: skip
def chefer(question: Question, *, start_layer: int = -1) -> Answer:
    """The pooled row of R, where R ← R + mean over heads of max(0, ∂s/∂A ∘ A) R, from R = I on.

    The pooled position's own column holds the 1 of the identity besides its relevance. The authors take s as a logit:
    pass the model's logit scale as `scale` for their numbers; from one block alone it only multiplies the words.

    Args:
        question: see `Question`.
        start_layer: block to begin with, from 0 or negative from the end; the authors' default is the last alone.

    Raises:
        ValueError: no such block.
    """
    parts = question.inside
    (first,) = block_numbers(start_layer, len(parts.blocks))
    layers = range(first, len(parts.blocks))
    trace = Trace(weights=layers)
    features = run(
        parts, question.ids, trace=trace, explicit=question.live, graph_from=0 if question.live else first
    )
    weights = [trace["weights", index] for index in layers]
    slopes = torch.autograd.grad(question.match(features).sum(), weights, create_graph=question.live)
    joint = relevance([exact(layer) for layer in weights], [exact(slope) for slope in slopes])
    texts = torch.arange(len(joint), device=joint.device)
    rows = joint[texts, parts.pooled(question.ids)]
    return Answer(scores=rows[:, : question.ids.shape[1]], features=features)


def relevance(
    weights: Sequence[Float[Tensor, "T K Z Z"]], slopes: Sequence[Float[Tensor, "T K Z Z"]]
) -> Float[Tensor, "T Z Z"]:
    """R over the layers, first to last, identity included."""
    size = weights[0].shape[-1]
    joint = torch.eye(size, dtype=weights[0].dtype, device=weights[0].device).expand(len(weights[0]), -1, -1)
    for layer, slope in zip(weights, slopes, strict=True):
        joint = joint + (slope * layer).relu().mean(1) @ joint
    return joint
