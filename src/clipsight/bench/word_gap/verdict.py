"""What the figures say, in sentences: no more than they bear out."""

from collections.abc import Iterator, Sequence
from math import isfinite

from clipsight.bench.resampling import Interval
from clipsight.bench.word_gap.behaviour import REPLACED
from clipsight.bench.word_gap.report import GapRow, ModelWords

CAPTIONS_ENOUGH = 100
"""Comparable captions below which the sentences say that there are few."""


def verdict(model: ModelWords) -> tuple[str, ...]:
    """Does an object word get more than a composition word, under which attributions, and does the model act on it?"""
    return tuple(_sentences(model))


def span(found: Interval, digits: int = 2) -> str:
    """The value with its interval, "2.45 (1.85–3.35)"; a dash where it has no meaning."""
    if not isfinite(found.value):
        return "–"
    value, *ends = (_number(end, digits) for end in found)
    return f"{value} ({'–'.join(ends) if isfinite(found.low) else '–'})"


def favours(found: Interval) -> str:
    """Whom a ratio of objects over others favours: "objects", "composition", "neither" (1 lies inside) or "unknown"."""
    if not isfinite(found.low):
        return "unknown"
    if found.low > 1:
        return "objects"
    return "composition" if found.high < 1 else "neither"


def _sentences(model: ModelWords) -> Iterator[str]:
    if not model.comparable:
        yield (
            f"None of {model.captions:,} captions has both an object word and an attribute or relation word: nothing "
            "can be compared."
        )
        return
    if model.comparable < CAPTIONS_ENOUGH:
        yield f"There are {model.comparable} captions to compare, which is few: intervals are wide."
    rows = model.setups
    yield _counted(
        "An object word gets more than a composition word", rows, [r.figures.gap["composition"] for r in rows]
    )
    yield _counted(
        "At equal position, frequency and number of tokens the typical object word does",
        rows,
        [r.figures.controlled["composition"] for r in rows],
    )
    known = [row for row in rows if isfinite(row.figures.shuffled.low)]
    off = [row.column.name for row in known if favours(row.figures.shuffled) != "neither"]
    if off:
        yield (
            f"With roles dealt out anew the intervals of {len(off)} of {len(known)} attributions leave out 1 "
            f"({', '.join(off)}); chance alone makes one in twenty."
        )
    elif known:
        held = f"all {len(known)} intervals hold 1" if len(known) > 1 else "the interval holds 1"
        yield f"With roles dealt out anew no attribution shows a gap: {held}."
    yield from _behaviour(model)


def _counted(claim: str, rows: Sequence[GapRow], gaps: Sequence[Interval]) -> str:
    by = {
        side: [row.column.name for row, gap in zip(rows, gaps, strict=True) if favours(gap) == side]
        for side in ("objects", "composition", "neither", "unknown")
    }
    said = f"{claim} under {len(by['objects'])} of {len(rows)} attributions"
    if by["objects"] and len(by["objects"]) <= len(rows) / 2:
        said += f" ({', '.join(by['objects'])})"
    if by["composition"]:
        said += f"; less under {', '.join(by['composition'])}"
    if by["neither"]:
        said += f"; 1 lies within the interval of {', '.join(by['neither'])}"
    if by["unknown"]:
        said += f"; the captions are too few or too alike to say of {', '.join(by['unknown'])}"
    return said + "."


def _behaviour(model: ModelWords) -> Iterator[str]:
    found = model.behaviour
    what = "the similarity" if found.pictured else "the likeness of the text to itself"
    if isfinite(found.removed_gap.value):
        yield (
            f"Deleting the words of a group lowers {what} {span(found.removed_gap)} times as much for each object word "
            "as for each composition word."
        )
    if isfinite(found.foil_gap["composition"].value):
        yield (
            f"A wrong object in place of the right one lowers it {span(found.foil_gap['composition'], 1)} times as "
            "much as a wrong attribute or relation does."
        )
    wins = [
        f"{group} {span(found.foils[kind].wins)}"
        for group, kind in REPLACED.items()
        if kind in found.foils and isfinite(found.foils[kind].wins.value)
    ]
    if wins:
        yield f"Captions that win over their foil with one word replaced (chance is ½): {', '.join(wins)}."
    unnoticed = [
        f"{group} ({span(found.foils[kind].drop, 4)})"
        for group, kind in REPLACED.items()
        if kind in found.foils and found.foils[kind].drop.low <= 0 <= found.foils[kind].drop.high
    ]
    if unnoticed:
        yield (
            f"Not noticed, for the fall of {what} cannot be told from none: a wrong {', a wrong '.join(unnoticed)}. "
            "Whatever attribution such words get, the model does not go by what they say."
        )


def _number(value: float, digits: int) -> str:
    return (f"{value:.{digits}f}" if abs(value) < 100 else f"{value:.0f}").replace("-", "−")
