"""Integrated gradients at the token embeddings, in bounded memory, with the completeness error."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from clipsight.attribution.match import exact
from clipsight.attribution.passes import run
from clipsight.attribution.question import Answer, Question
from clipsight.attribution.registry import attribution
from clipsight.attribution.sources import INTEGRATED_GRADIENTS

Baseline = Literal["zero", "zero_words", "pad"]
Rule = Literal["gauss_legendre", "trapezoid", "right"]


@attribution(
    "integrated_gradients",
    summary="Gradients gathered on the way from a caption that says nothing; scores sum to the difference in match.",
    side="text", unit=lambda made: (
        "likeness to the whole text" if made.text_alone else f"{made.measure} gained by the word"
    ),
    image=True, gradients=True, inside="embeddings", signed=True, linear=True, spans=False,
    sources=(INTEGRATED_GRADIENTS,),
)  # fmt: skip
def integrated_gradients(
    question: Question,
    *,
    baseline: Baseline | Tensor = "zero",
    steps: int = 32,
    rule: Rule = "gauss_legendre",
    pad_id: int = 0,
    states: int = 16_384,
) -> Answer:
    """r_i = ⟨E_i − B_i, ∫ ∂s/∂E_i at B + α(E − B) dα⟩, E token embeddings; positions stay.

    Args:
        question: see `Question`.
        baseline: B: "zero", no token anywhere, positions only; "zero_words", no token where words are, the special
            ones kept; "pad", the token `pad_id` where words are; or embeddings (S, D) for all texts.
        steps: points of the integral.
        rule: "gauss_legendre" (captum's), "trapezoid", or "right", the right Riemann sum of the paper.
        pad_id: see `baseline`.
        states: token states held at a time, the memory knob (not with a live graph).

    Returns:
        Scores; extras "residual" (T,), what their sum has more than s(E) − s(B), and "baseline" (T,), s(B).

    Raises:
        ValueError: another word, fewer than one step (two for "trapezoid"), embeddings of another shape.
    """
    parts, ids = question.opened, question.ids
    tokens = parts.tokens(ids)
    if not question.live:
        tokens = tokens.detach()
    start = _baseline(question, tokens, baseline, pad_id)
    points, weights = integration(rule, steps)
    rows = torch.arange(len(ids), device=ids.device).repeat_interleave(steps)
    alphas = torch.tensor(points, dtype=tokens.dtype, device=ids.device).repeat(len(ids))
    shares = torch.tensor(weights, dtype=exact(tokens).dtype, device=ids.device).repeat(len(ids))
    gathered = torch.zeros_like(exact(tokens))
    at_once = max(1, states // ids.shape[1])
    for begin in range(0, len(rows), at_once):
        piece = slice(begin, begin + at_once)
        which = rows[piece]
        here = torch.lerp(start[which], tokens[which], alphas[piece][:, None, None])
        if not here.requires_grad:
            here.requires_grad_()
        s = question.match(run(parts, ids[which], tokens=here, explicit=question.live), which)
        (slope,) = torch.autograd.grad(s.sum(), here, create_graph=question.live)
        gathered = gathered.index_add(0, which, exact(slope) * shares[piece][:, None, None])
    scores = (exact(tokens - start) * gathered).sum(-1)
    with torch.set_grad_enabled(question.live):
        before = question.match(run(parts, ids, tokens=start, explicit=question.live))
        features = run(parts, ids, tokens=tokens, explicit=question.live)
    residual = scores.sum(-1) - (question.match(features) - before)
    return Answer(scores=scores, features=features, extras={"residual": residual, "baseline": before})


def integration(rule: Rule, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Points in [0, 1] and their weights, which sum to 1.

    Raises:
        ValueError: see `integrated_gradients`.
    """
    least = 2 if rule == "trapezoid" else 1
    if steps < least:
        raise ValueError(f"steps is {steps}; {rule!r} needs at least {least}.")
    if rule == "gauss_legendre":
        points, weights = np.polynomial.legendre.leggauss(steps)
        return (1 + points) / 2, weights / 2
    if rule == "trapezoid":
        weights = np.full(steps, 1 / (steps - 1))
        weights[[0, -1]] /= 2
        return np.linspace(0, 1, steps), weights
    if rule != "right":
        raise ValueError(f'rule is {rule!r}; it is "gauss_legendre", "trapezoid" or "right".')
    return np.arange(1, steps + 1) / steps, np.full(steps, 1 / steps)


def _baseline(
    question: Question, tokens: Float[Tensor, "T S D"], baseline: Baseline | Tensor, pad_id: int
) -> Float[Tensor, "T S D"]:
    if isinstance(baseline, Tensor):
        length, width = tokens.shape[1:]
        if baseline.ndim != 2 or baseline.shape[0] < length or baseline.shape[1] != width:
            raise ValueError(
                f"the baseline has shape {tuple(baseline.shape)}; it is (positions, width), here at least ({length}, "
                f"{width})."
            )
        return baseline[:length].to(tokens).expand_as(tokens)
    words = question.marks.content[..., None]
    if baseline == "zero":
        return torch.zeros_like(tokens)
    if baseline == "zero_words":
        return tokens.masked_fill(words, 0)
    if baseline != "pad":
        raise ValueError(f'baseline is {baseline!r}; it is "zero", "zero_words", "pad" or embeddings.')
    padding = question.opened.tokens(question.ids.new_tensor([pad_id]))[0]
    padding = padding if question.live else padding.detach()
    return torch.where(words, padding, tokens)
