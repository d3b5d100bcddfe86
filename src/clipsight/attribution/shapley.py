"""Shapley values of words: each word's mean contribution to the match over all orders of adding words."""

import math
import random
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from clipsight.attribution.match import cosine
from clipsight.attribution.perturbation import Measure, chosen_measure
from clipsight.attribution.question import Answer, Question, spread
from clipsight.attribution.registry import attribution
from clipsight.attribution.sources import SHAP
from clipsight.attribution.variants import Operator, Removal, encode_variants


@attribution(
    "shapley",
    summary="Each word's mean share in what the words together add to the match, over the orders of adding them.",
    side="text", unit=lambda made: (
        "likeness to the whole text" if made.text_alone else f"{made.measure} gained by the word"
    ),
    image=False, gradients=False, inside="ids", signed=True, linear=True, spans=True,
    sources=(SHAP,),
)  # fmt: skip
def shapley(
    question: Question,
    *,
    op: Operator = "zero_emb",
    measure: Measure | None = None,
    exact_to: int = 8,
    permutations: int = 64,
    seed: int = 0,
    divide: bool = True,
    mask_id: int | Literal["mean"] = 0,
    pad_id: int | None = None,
    batch: int = 1024,
) -> Answer:
    """φ_i over the game v(words present); absent words are removed by `op`.

    Args:
        question: its spans are the players, or its word tokens.
        op: see `Removal`.
        measure: v is the "similarity" to the picture, or the "text"'s cosine with its own whole feature; None as in
            `perturbation`.
        exact_to: texts of at most so many players have all of their 2ⁿ coalitions encoded.
        permutations: for the others, orders drawn, each with its reverse (an odd one more is added).
        seed: of the draw, with the text's tokens.
        divide: a span's value is divided among its tokens.
        mask_id: see `Removal`. pad_id: see `Removal`.
        batch: variants encoded at a time.

    Returns:
        Scores; extras "values" (N,) and "owner" (N,) of the players in order; "efficiency" (T,), their sum less what
        all of them add to none; "error" (N,), standard error of drawn values, 0 of exact ones.
    """
    how = Removal(op=op, mask_id=mask_id, pad_id=pad_id)
    kind = chosen_measure(question, measure)
    groups, values, errors, owner, efficiency = question.groups, [], [], [], []
    for text, players in enumerate(groups):
        count = len(players)
        if count <= exact_to:
            coalitions, orders = list(range(2**count)), None
        else:
            orders = _orders(count, permutations, f"{seed} {question.words[text]}")
            coalitions = list(dict.fromkeys(_along(orders)))
        gains = _game(question, text, players, coalitions, how, kind, batch)
        if orders is None:
            mine = gains @ _exact_weights(count, coalitions).to(gains)
            error = torch.zeros_like(mine)
        else:
            mine, error = _sampled(gains, coalitions, orders)
        whole, none = coalitions.index(2**count - 1), coalitions.index(0)
        efficiency.append(mine.sum() - (gains[whole] - gains[none]))
        values.append(mine)
        errors.append(error)
        owner += [text] * count
    joined = torch.cat(values)
    return Answer(
        scores=spread(joined, groups, question.ids, divide=divide),
        extras={
            "values": joined,
            "owner": torch.tensor(owner, dtype=torch.long, device=joined.device),
            "efficiency": torch.stack(efficiency),
            "error": torch.cat(errors),
        },
        settings={"measure": kind},
    )


def _game(
    question: Question,
    text: int,
    players: Sequence[Sequence[int]],
    coalitions: Sequence[int],
    how: Removal,
    measure: Measure,
    batch: int,
) -> Float[Tensor, " C"]:
    """Values of coalitions, given as bits; the whole text is encoded with them."""
    # Beginnings that are there stay together in a batch and are shared.
    ordered = sorted({*coalitions, 2 ** len(players) - 1}, key=lambda bits: f"{bits:0{len(players)}b}"[::-1])
    removed = torch.zeros(len(ordered), question.ids.shape[1], dtype=torch.bool)
    for row, bits in zip(removed, ordered, strict=True):
        row[[place for player, group in enumerate(players) if not bits >> player & 1 for place in group]] = (
            True
        )
    owner = torch.full((len(ordered),), text, device=question.ids.device)
    features = encode_variants(question, owner, removed.to(question.ids.device), how, batch)
    if measure == "text":
        v = cosine(features, features[[ordered.index(2 ** len(players) - 1)]].expand_as(features))
    else:
        v = question.match(features, owner)
    place = {bits: index for index, bits in enumerate(ordered)}
    return v[torch.tensor([place[bits] for bits in coalitions], device=v.device)]


def _exact_weights(count: int, coalitions: Sequence[int]) -> Float[Tensor, "C n"]:
    """What each coalition's value counts in each player's share."""
    weights = torch.zeros(len(coalitions), count, dtype=torch.float64)
    for row, bits in zip(weights, coalitions, strict=True):
        size = bits.bit_count()
        for player in range(count):
            if bits >> player & 1:
                row[player] = 1 / (count * math.comb(count - 1, size - 1))
            else:
                row[player] = -1 / (count * math.comb(count - 1, size))
    return weights


def _orders(count: int, permutations: int, key: str) -> list[tuple[int, ...]]:
    """Orders of the players in pairs of one and its reverse."""
    if permutations < 1:
        raise ValueError(f"permutations is {permutations}; it is at least 1.")
    draw, orders = random.Random(key), []
    for _ in range((permutations + 1) // 2):
        order = draw.sample(range(count), count)
        orders += [tuple(order), tuple(reversed(order))]
    return orders


def _along(orders: Sequence[Sequence[int]]) -> list[int]:
    """The coalitions that each order goes through, from none to all, order after order."""
    passed = []
    for order in orders:
        bits = 0
        passed.append(bits)
        for player in order:
            bits |= 1 << player
            passed.append(bits)
    return passed


def _sampled(
    gains: Float[Tensor, " C"], coalitions: Sequence[int], orders: Sequence[Sequence[int]]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Means over the orders, and their standard errors from pairs of an order and its reverse."""
    place = {bits: index for index, bits in enumerate(coalitions)}
    index = torch.tensor([place[bits] for bits in _along(orders)], device=gains.device)
    v = gains[index].unflatten(0, (len(orders), -1))
    added = v[:, 1:] - v[:, :-1]
    who = torch.tensor(orders, device=gains.device)
    by_player = torch.zeros_like(added).scatter(1, who, added)
    pairs = by_player.unflatten(0, (-1, 2)).mean(1)
    if len(pairs) < 2:
        return pairs.mean(0), torch.full_like(pairs[0], torch.nan)
    return pairs.mean(0), pairs.std(0) / len(pairs) ** 0.5
