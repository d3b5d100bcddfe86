"""LeGrad for texts: how sensitive the match, read out at each layer, is to the attention of that layer."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from clipsight.attribution.attention import Layers
from clipsight.attribution.match import exact
from clipsight.attribution.passes import Trace, run, seen_by_pooled, visible
from clipsight.attribution.question import Answer, Question, block_numbers
from clipsight.attribution.registry import attribution
from clipsight.attribution.sources import LEGRAD

Rows = Literal["pooled", "all"]


@attribution(
    "legrad",
    summary="Positive gradients of the match, read at each layer, with respect to that layer's attention.",
    side="text", unit="sensitivity to attention",
    image=True, gradients=True, inside="blocks", signed=False, linear=False, spans=False,
    sources=(LEGRAD,),
)  # fmt: skip
def legrad(question: Question, *, layers: Layers = "all", rows: Rows = "pooled") -> Answer:
    """r_i = Σ over layers of the mean over heads (and rows) of max(0, ∂s⁽ˡ⁾/∂A⁽ˡ⁾[·, i]).

    s⁽ˡ⁾ is the match of what layer l's output would give as a feature. The paper is about pictures and its program
    reads each layer at the mean of all tokens; here, for texts, "pooled" reads it at the pooled position, whose row is
    then the only one with a gradient, and "all" at the mean of the positions that one sees, over all rows.

    Args:
        question: see `Question`.
        layers: see `attention`.
        rows: as described above.

    Raises:
        ValueError: another word, or no such block.
    """
    if rows not in ("pooled", "all"):
        raise ValueError(f'rows is {rows!r}; it is "pooled" or "all".')
    parts, live = question.inside, question.live
    numbers = block_numbers(layers, len(parts.blocks))
    trace = Trace(weights=numbers, left=numbers)
    features = run(parts, question.ids, trace=trace, explicit=live, graph_from=0 if live else numbers[0])
    at, texts = parts.pooled(question.ids), torch.arange(len(question.ids), device=question.ids.device)
    seen, shown = seen_by_pooled(parts, question.ids), visible(parts, question.ids)
    total: Float[Tensor, "T Z"] | float = 0.0
    for index in numbers:
        left, weights = trace["left", index], trace["weights", index]
        states = left[texts, at] if rows == "pooled" else _mean(left, seen)
        s = question.match(parts.readout(states)).sum()
        (slope,) = torch.autograd.grad(s, weights, create_graph=live, retain_graph=True)
        positive = exact(slope).relu().mean(1)
        if shown is not None:
            # A hidden position has a slope too, though its attention can never be anything but 0.
            positive = positive * shown
        total = total + (positive[texts, at] if rows == "pooled" else _mean(positive, seen))
    assert isinstance(total, Tensor)
    return Answer(scores=total[:, : question.ids.shape[1]], features=features)


def _mean(rows: Float[Tensor, "T Z C"], over: Bool[Tensor, "T Z"]) -> Float[Tensor, "T C"]:
    return (rows * over[..., None]).sum(1) / over.sum(-1, keepdim=True)
