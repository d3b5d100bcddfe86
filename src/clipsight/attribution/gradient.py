"""Gradients at the input of the first block: their norm, gradient times input, or a finite difference."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from clipsight.attribution.match import exact
from clipsight.attribution.passes import Trace, run
from clipsight.attribution.question import Answer, Question, spread
from clipsight.attribution.registry import attribution
from clipsight.attribution.sources import CAE
from clipsight.attribution.variants import Removal, whole_and_without
from clipsight.towers.view import OnePieceText

Kind = Literal["norm", "input", "input_abs", "input_pos", "fd"]
_ONE_PIECE = (
    "This tower shows its token embeddings but not its positions: gradient × input leaves the positions out."
)
_ROUNDED = (
    "The tower computes in half precision: a finite difference of it is mostly rounding; load it in float32, or take a "
    "larger eta."
)


_UNITS = {"norm": "length of the gradient", "fd": "slope of the cosine"}


@attribution(
    "gradient",
    summary="Reconstructed (GB of CLIP-CAE): how much the similarity changes with what enters the first block.",
    side="text", unit=lambda made: _UNITS.get(made.options["kind"], "gradient × input"),
    unsigned_when={"kind": ("norm", "input_abs", "input_pos")}, spans_when={"kind": ("fd",)},
    image=True, gradients=True, inside="embeddings", signed=True, linear=True, spans=True,
    sources=(CAE,),
)  # fmt: skip
def gradient(
    question: Question, *, kind: Kind = "norm", eta: float = 1e-2, divide: bool = True, batch: int = 1024
) -> Answer:
    """Of g_i = ∂s/∂E_i and E_i, token and position embedding: ‖g_i‖, ⟨g_i, E_i⟩, or a slope along E_i.

    Args:
        question: see `Question`.
        kind: "norm", never negative; "input" = ⟨g_i, E_i⟩, signed, "input_abs", "input_pos" its size or positive part;
            "fd", for each span or token, (s(E) − s with its E times 1 − η) / η: first order also in training, any
            attention kernel; as η grows to 1 it becomes perturbation, positions taken out too.
        eta: η of "fd".
        divide: of "fd", a span's value is divided among its tokens.
        batch: of "fd", variants encoded at a time.

    Raises:
        ValueError: another kind, or η outside (0, 1].
    """
    notes = (_ONE_PIECE,) if isinstance(question.parts, OnePieceText) and kind != "norm" else ()
    if kind == "fd":
        if question.view.dtype.itemsize < 4:
            notes = (*notes, _ROUNDED)
        scores, features = _finite_difference(question, eta, divide, batch)
        return Answer(scores=scores, features=features, notes=notes)
    entered, slope, features = slopes(question)
    if kind == "norm":
        scores = slope.norm(dim=-1)
    elif kind in ("input", "input_abs", "input_pos"):
        product = (slope * entered).sum(-1)
        scores = {"input": product, "input_abs": product.abs(), "input_pos": product.relu()}[kind]
    else:
        raise ValueError(f'kind is {kind!r}; it is "norm", "input", "input_abs", "input_pos" or "fd".')
    return Answer(scores=scores[:, : question.ids.shape[1]], features=features, notes=notes)


def slopes(
    question: Question,
) -> tuple[Float[Tensor, "T Z D"], Float[Tensor, "T Z D"], Float[Tensor, "T E"]]:
    """E and ∂s/∂E, at least in float32, and the texts' features; with a live graph all can be differentiated on."""
    parts, live = question.opened, question.live
    if isinstance(parts, OnePieceText):
        entered = parts.tokens(question.ids)
        entered = entered if live and entered.requires_grad else entered.detach().requires_grad_()
        features = run(parts, question.ids, tokens=entered, explicit=live)
    else:
        features, trace = question.run(Trace(entered=(0,)), explicit=live)
        entered = trace["entered", 0]
    (slope,) = torch.autograd.grad(question.match(features).sum(), entered, create_graph=live)
    return exact(entered), exact(slope), features


def _finite_difference(
    question: Question, eta: float, divide: bool, batch: int
) -> tuple[Float[Tensor, "T S"], Float[Tensor, "T E"]]:
    if not 0 < eta <= 1:
        raise ValueError(f"eta is {eta}; it lies above 0 and is at most 1.")
    groups = question.groups
    with torch.set_grad_enabled(question.live):
        owner, features = whole_and_without(question, groups, Removal(op="fade", rest=1 - eta), batch)
    whole, faded = features[: len(groups)], features[len(groups) :]
    owner = owner[len(groups) :]
    change = (question.match(whole)[owner] - question.match(faded, owner)) / eta
    return spread(change, groups, question.ids, divide=divide), whole
