"""From features to what became of every item of a split."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from einops import reduce
from jaxtyping import Float, Int

from clipsight.bench.composition.averages import ItemTally, tally, together
from clipsight.bench.composition.item import Item, PictureRef
from clipsight.bench.composition.rules import (
    RULES,
    TOPS,
    ItemOutcome,
    decide,
    picture_recall,
    text_recall,
)

_AT_ONCE = 1024
_NUMBERS = 2**24
"""Numbers of gathered features held at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitFeatures:
    """Unit features, and the row of each picture and text."""

    pictures: Float[np.ndarray, "P E"]
    texts: Float[np.ndarray, "T E"]
    picture_row: Mapping[PictureRef, int]
    text_row: Mapping[str, int]


def unit(features: Float[np.ndarray, "n E"]) -> Float[np.ndarray, "n E"]:
    """At length 1, in float32; a zero vector stays zero."""
    length = np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    return (features / np.maximum(length, np.finfo(np.float64).tiny)).astype(np.float32)


def score_items(
    items: Sequence[Item], all_items: Sequence[Item], groups: Sequence[str], features: SplitFeatures
) -> dict[str, ItemTally]:
    """The figures of a split by metric.

    Similarities are summed in float64 and rounded to float32: equal texts then tie exactly, whatever their place.

    Args:
        items: those whose pictures are all here; one rule for all of them.
        all_items: those of the split that count, missing pictures or not.
        groups: of the macro average.
        features: of all pictures and texts of `items`.
    """
    if not items:
        return {}
    rule = RULES[items[0].rule]
    if rule.id == "retrieval":
        return _retrieval(items, groups, features)
    if rule.classifies:
        return _classified(items, groups, features)
    outcomes = {
        name: ItemOutcome(np.zeros(len(items), bool), np.zeros(len(items), bool)) for name in rule.metrics
    }
    chances = {name: np.zeros(len(items)) for name in rule.metrics}
    for places, pictures, texts in _same_shape(items, features):
        first = items[places[0]]
        for name, found in decide(
            rule, _similarities(features, pictures, texts, rule.compares_texts), len(first.positives)
        ).items():
            for whole, part in zip(outcomes[name], found, strict=True):
                whole[places] = part
            chances[name][places] = rule.metrics[name].chance(pictures.shape[1], texts.shape[1])
    classes = [one.group for one in items]
    asked = questions(items)
    tallies = {
        name: tally(outcome, classes, groups, chances[name], asked) for name, outcome in outcomes.items()
    }
    return tallies | _sets(items, all_items, outcomes[rule.headline])


def _same_shape(
    items: Sequence[Item], features: SplitFeatures
) -> list[tuple[list[int], Int[np.ndarray, "n K"], Int[np.ndarray, "n L"]]]:
    """Places of items of one shape, a bounded number at once, with the rows of their pictures and texts."""
    shapes: dict[tuple[int, int, int], list[int]] = {}
    for index, one in enumerate(items):
        shapes.setdefault((len(one.pictures), len(one.positives), len(one.negatives)), []).append(index)
    parts = []
    for shape, same in shapes.items():
        few = max(1, _NUMBERS // (sum(shape) * features.texts.shape[1]))
        for places in (same[start : start + few] for start in range(0, len(same), few)):
            pictures = [[features.picture_row[ref] for ref in items[index].pictures] for index in places]
            texts = [[features.text_row[text] for text in items[index].texts] for index in places]
            parts.append((places, np.array(pictures, int), np.array(texts, int)))
    return parts


def _similarities(
    features: SplitFeatures,
    pictures: Int[np.ndarray, "n K"],
    texts: Int[np.ndarray, "n L"],
    compares_texts: bool,
) -> Float[np.ndarray, "n R L"]:
    said = features.texts[texts].astype(np.float64)
    rows = features.pictures[pictures].astype(np.float64)
    if compares_texts:
        rows = np.concatenate([rows, said], axis=1)
    return np.einsum("nre,nle->nrl", rows, said).astype(np.float32)


def _sets(items: Sequence[Item], all_items: Sequence[Item], outcome: ItemOutcome) -> dict[str, ItemTally]:
    """Metrics of several items as one question."""
    found = {}
    for name in dict.fromkeys(name for one in all_items for name, _ in one.sets):
        keys = [dict(one.sets).get(name) for one in items]
        places = [index for index, key in enumerate(keys) if key is not None]
        whole: dict[str, int] = {}
        for one in all_items:
            if (key := dict(one.sets).get(name)) is not None:
                whole[key] = whole.get(key, 0) + 1
        members = ItemOutcome(outcome.wins[places], outcome.ties[places])
        there = [key for key in keys if key is not None]
        joined = together(members, there, whole)
        clusters = {keys[place]: picture_name(items[place]) for place in reversed(places)}
        complete = [(key, clusters[key]) for key in dict.fromkeys(there) if there.count(key) == whole[key]]
        found[name] = tally(joined, [""] * len(joined.wins), [""], questions=complete)
    return found


def questions(items: Sequence[Item]) -> list[tuple[str, str]]:
    """Of each item its name, and its first picture, which it is drawn together with when models are compared."""
    return [(one.id, picture_name(one)) for one in items]


def picture_name(item: Item) -> str:
    """The first picture of an item; the item itself where it has none."""
    return f"{item.pictures[0].collection}/{item.pictures[0].file}" if item.pictures else item.id


def _retrieval(items: Sequence[Item], groups: Sequence[str], features: SplitFeatures) -> dict[str, ItemTally]:
    """Recall among all pictures and captions of the items; a caption that several pictures have counts for each."""
    pictures = features.pictures[[features.picture_row[one.pictures[0]] for one in items]].astype(np.float64)
    owner = np.array([index for index, one in enumerate(items) for _ in one.positives])
    said = [features.text_row[text] for one in items for text in one.positives]
    texts = features.texts[said].astype(np.float64)
    classes = np.array([one.group for one in items])
    asked = questions(items)
    captions = [
        (f"{name}#{place}", picture)
        for (name, picture), one in zip(asked, items, strict=True)
        for place in range(len(one.positives))
    ]

    def by_picture(rows: np.ndarray) -> dict[int, ItemOutcome]:
        scores = (pictures[rows] @ texts.T).astype(np.float32)
        return picture_recall(scores, owner[None] == rows[:, None])

    def by_text(rows: np.ndarray) -> dict[int, ItemOutcome]:
        return text_recall((texts[rows] @ pictures.T).astype(np.float32), owner[rows])

    tallies = {}
    for side, asked_of, ask, names in (
        ("i2t", asked, by_picture, classes),
        ("t2i", captions, by_text, classes[owner]),
    ):
        for k, outcome in _in_parts(len(asked_of), ask).items():
            tallies[f"{side}@{k}"] = tally(outcome, names.tolist(), groups, questions=asked_of)
    return tallies


def _classified(
    items: Sequence[Item], groups: Sequence[str], features: SplitFeatures
) -> dict[str, ItemTally]:
    """Is a picture's class the nearest, or among the nearest, of all classes? The macro average is over the classes."""
    choices = items[0].choices
    assert choices is not None
    prompts = features.texts[[features.text_row[prompt] for prompt in choices.prompts]]
    classes = unit(reduce(prompts.astype(np.float64), "(C P) E -> C E", "mean", C=len(choices.classes)))
    pictures = features.pictures[[features.picture_row[one.pictures[0]] for one in items]].astype(np.float64)
    number = {name: index for index, name in enumerate(choices.classes)}
    own = np.array([number[one.group] for one in items])
    # Asked for five of five names nothing can be wrong.
    tops = [k for k in TOPS if k < len(number)] or [1]

    def by_class(rows: np.ndarray) -> dict[int, ItemOutcome]:
        scores = (pictures[rows] @ classes.astype(np.float64).T).astype(np.float32)
        return text_recall(scores, own[rows], tops)

    names, asked = [one.group for one in items], questions(items)
    chances = {k: np.full(len(items), k / len(number)) for k in tops}
    return {
        f"top{k}": tally(outcome, names, groups if k == 1 else [], chances[k], asked)
        for k, outcome in _in_parts(len(items), by_class).items()
    }


def _in_parts(count: int, ask: Callable[[np.ndarray], dict[int, ItemOutcome]]) -> dict[int, ItemOutcome]:
    parts = [ask(np.arange(start, min(start + _AT_ONCE, count))) for start in range(0, count, _AT_ONCE)]
    return {
        k: ItemOutcome(*(np.concatenate(one) for one in zip(*(part[k] for part in parts), strict=True)))
        for k in parts[0]
    }
