"""Perturbation: the drop in the match when words are removed, one by one, in groups or at random."""

import random
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from clipsight.attribution.match import cosine
from clipsight.attribution.question import Answer, Groups, Question, spread
from clipsight.attribution.registry import attribution
from clipsight.attribution.sources import CAE
from clipsight.attribution.variants import Operator, Removal, whole_and_without

Measure = Literal["similarity", "text"]


@attribution(
    "perturbation",
    summary="Reconstructed (PB of CLIP-CAE): the similarity lost when a word, or a group of words, is taken out.",
    side="text", unit=lambda made: (
        "change of the text without the word" if made.text_alone else f"{made.measure} lost without the word"
    ),
    image=False, gradients=False, inside="ids", signed=True, linear=True, spans=True,
    sources=(CAE,),
)  # fmt: skip
def perturbation(
    question: Question,
    *,
    op: Operator = "zero_emb",
    measure: Measure | None = None,
    relu: bool = False,
    divide: bool = True,
    samples: int | None = None,
    seed: int = 0,
    mask_id: int | Literal["mean"] = 0,
    pad_id: int | None = None,
    batch: int = 1024,
) -> Answer:
    """Δ_G = s − s without G, for each span of the question, or for each token where it has none.

    Args:
        question: see `Question`.
        op: what taking out means; see `Removal`.
        measure: "similarity" to the picture, or "text", 1 − cosine of the text's feature before and after, which needs
            no picture; None is the first where there is a picture, otherwise the second.
        relu: negative Δ count as 0.
        divide: a group's Δ is divided among its tokens, so that sums are kept; otherwise each of them has all of it.
        samples: remove only this many groups of each text, drawn by `seed` and the text's tokens; the others have 0.
        seed: see `samples`.
        mask_id: see `Removal`. pad_id: see `Removal`.
        batch: variants encoded at a time.

    Returns:
        Scores; extras "drops" (N,) and "owner" (N,), Δ of each group and its text, in the order of the spans, and
        "drawn" (T, S), True where a token was removed.
    """
    groups = question.groups if samples is None else drawn(question, samples, seed)
    how = Removal(op=op, mask_id=mask_id, pad_id=pad_id)
    owner, features = whole_and_without(question, groups, how, batch)
    kind = chosen_measure(question, measure)
    lost = drops(question, features, owner, kind)[len(groups) :]
    lost = lost.relu() if relu else lost
    taken = spread(torch.ones_like(lost), groups, question.ids, divide=False).bool()
    return Answer(
        scores=spread(lost, groups, question.ids, divide=divide),
        features=features[: len(groups)],
        extras={"drops": lost, "owner": owner[len(groups) :], "drawn": taken},
        settings={"measure": kind},
    )


def drops(
    question: Question, features: Float[Tensor, "N E"], owner: Int[Tensor, " N"], measure: Measure
) -> Float[Tensor, " N"]:
    """The drop of each variant from its text's value; the first T features are those of the whole texts."""
    whole = features[: len(question.ids)]
    if measure == "text":
        return 1 - cosine(whole[owner], features)
    return question.match(whole)[owner] - question.match(features, owner)


def chosen_measure(question: Question, measure: Measure | None) -> Measure:
    """The requested measure, or the one that the question allows.

    Raises:
        ValueError: another measure, or similarity without a picture.
    """
    pictured = question.match.image is not None
    if measure is None:
        return "similarity" if pictured else "text"
    if measure not in ("similarity", "text"):
        raise ValueError(f'measure is {measure!r}; it is "similarity" or "text".')
    if measure == "similarity" and not pictured:
        raise ValueError('measure="similarity" needs a picture; give image_features, or measure="text".')
    return measure


def drawn(question: Question, samples: int, seed: int) -> Groups:
    """At most `samples` groups per text, drawn without replacement; the same for the same seed and words."""
    if samples < 1:
        raise ValueError(f"samples is {samples}; it is at least 1, or None for all.")
    chosen = []
    for groups, words in zip(question.groups, question.words, strict=True):
        which = random.Random(f"{seed} {words}").sample(range(len(groups)), min(samples, len(groups)))
        chosen.append(tuple(groups[index] for index in sorted(which)))
    return tuple(chosen)
