"""Grad-CAM over tokens, taken upstream of token mixing."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from clipsight.attribution.match import exact
from clipsight.attribution.passes import Trace, seen_by_pooled
from clipsight.attribution.question import Answer, Question, block_numbers
from clipsight.attribution.registry import attribution
from clipsight.attribution.sources import CAE, GRAD_CAM

Activation = Literal["relu", "signed", "abs", "softplus"]
_KINDS = {"norm1": "normed", "input": "entered"}


@attribution(
    "gradcam",
    summary=(
        "Reconstructed (GCB of CLIP-CAE): Grad-CAM over tokens, at what the attention of a block reads."
    ),
    side="text", unit="class activation",
    image=True, gradients=True, inside="blocks", signed=False, linear=False, spans=False,
    sources=(CAE, GRAD_CAM),
)  # fmt: skip
def gradcam(
    question: Question,
    *,
    layer: int = -1,
    at: str = "norm1",
    over: Literal["seen", "content"] = "seen",
    elementwise: bool = False,
    act: Activation = "relu",
    alpha_grad: bool = False,
) -> Answer:
    """r_i = act(⟨α, Z_i⟩), α = mean over positions of ∂s/∂Z.

    Z lies before tokens are mixed. At the output of the last block only the pooled position has a gradient: word scores
    would say how much each state resembles that one gradient, and element-wise ones would all be zero.

    Args:
        question: see `Question`.
        layer: block, from 0, or negative from the end.
        at: "norm1", what its attention reads, or "input", the stream that enters it.
        over: positions α is averaged over: those that the pooled one sees, or the words alone.
        elementwise: ⟨∂s/∂Z_i, Z_i⟩ instead, each position with its own gradient.
        act: "relu" (Grad-CAM proper), "signed", "abs", "softplus" with β = 1 / deviation of the words' values.
        alpha_grad: with a live graph, differentiate through α too (second order); otherwise it is a constant.

    Raises:
        ValueError: another `at`, layer, `over` or `act`.
    """
    parts = question.inside
    (index,) = block_numbers(layer, len(parts.blocks))
    if at not in _KINDS:
        raise ValueError(
            f'at is {at!r}; it is "norm1" or "input" of a block, upstream of its token mixing. Behind the last block '
            "no word has a gradient; the output of any other block is the input of the next."
        )
    second = question.live and alpha_grad
    features, trace = question.run(
        Trace(**{_KINDS[at]: (index,)}), explicit=second, graph_from=0 if question.live else index
    )
    z = trace[_KINDS[at], index]
    total = question.match(features).sum()
    (slope,) = torch.autograd.grad(total, z, create_graph=second, retain_graph=question.live)
    seen = seen_by_pooled(parts, question.ids)
    words = F.pad(question.marks.content, (0, z.shape[1] - question.ids.shape[1]))
    positions = {"seen": seen, "content": words}
    if over not in positions:
        raise ValueError(f'over is {over!r}; it is "seen" or "content".')
    cam = class_activation(exact(z), exact(slope), positions[over], elementwise=elementwise)
    scores = activated(cam, act, words) * seen  # what cannot reach the feature counts for nothing
    return Answer(scores=scores[:, : question.ids.shape[1]], features=features)


def class_activation(
    z: Float[Tensor, "T Z D"],
    slope: Float[Tensor, "T Z D"],
    over: Bool[Tensor, "T Z"] | None = None,
    *,
    elementwise: bool = False,
) -> Float[Tensor, "T Z"]:
    """⟨α, Z_i⟩ with α the mean slope over the positions `over` (None: all); element-wise ⟨slope_i, Z_i⟩."""
    if elementwise:
        return (z * slope).sum(-1)
    if over is None:
        alpha = slope.mean(1, keepdim=True)
    else:
        counts = over.sum(-1).clamp(min=1)[:, None, None]
        alpha = (slope * over[..., None]).sum(1, keepdim=True) / counts
    return (z * alpha).sum(-1)


def activated(
    cam: Float[Tensor, "T S"], act: Activation, content: Bool[Tensor, "T S"]
) -> Float[Tensor, "T S"]:
    """The activation maps through `act`; see `gradcam`.

    Raises:
        ValueError: another activation.
    """
    if act == "signed":
        return cam
    if act == "relu":
        return cam.relu()
    if act == "abs":
        return cam.abs()
    if act != "softplus":
        raise ValueError(f'act is {act!r}; it is "relu", "signed", "abs" or "softplus".')
    words = content.sum(-1, keepdim=True).clamp(min=1)
    mean = (cam * content).sum(-1, keepdim=True) / words
    deviation = (((cam - mean).square() * content).sum(-1, keepdim=True) / words).sqrt().detach()
    deviation = torch.where(deviation > 0, deviation, 1.0)
    return F.softplus(cam / deviation) * deviation
