"""What every drawing of a word attribution shares: the caption cut into its parts, and signed colour for them.

Colour alone says nothing here: roles have marks of their own, and every number stands beside its bar.
"""

from collections.abc import Iterator
from math import floor, log10
from typing import NamedTuple

from .wording import number, printable
from .words import WordAttribution, WordScore

RAISES, LOWERS = (213, 94, 0), (0, 114, 178)
"""Colours of positive and negative scores, of Okabe and Ito: told apart by people of any colour vision."""

MARKS = {"object": ("", ""), "attribute": ("‹", "›"), "relation": ("«", "»")}
"""Brackets around words of a role; objects are underlined instead."""

LEGEND = "underlined: object · ‹ ›: attribute · « »: relation"
QUIET_BELOW = 0.04
"""A part of less than this fraction of the strongest keeps the colour of the paper."""


class Segment(NamedTuple):
    """A stretch of the caption: a part with its score, or what lies between (`part` None).

    `before` and `after` are the brackets around it; neighbours of one role share theirs. `dropped` is not seen.
    """

    text: str
    part: WordScore | None = None
    before: str = ""
    after: str = ""
    dropped: bool = False


def segments(attribution: WordAttribution) -> Iterator[Segment]:
    """The whole caption, first character to last."""
    caption, at = attribution.caption, 0
    parts = in_order(attribution)
    for index, part in enumerate(parts):
        if part.start > at:
            yield Segment(caption[at : part.start])
        before, after = MARKS.get(part.role, ("", ""))
        if index and _joined(caption, parts[index - 1], part):
            before = ""
        if index + 1 < len(parts) and _joined(caption, part, parts[index + 1]):
            after = ""
        yield Segment(part.text, part, before, after)
        at = part.end
    if at < len(caption):
        tail = len(caption.rstrip()) - len(attribution.dropped) if attribution.dropped else len(caption)
        if tail > at:
            yield Segment(caption[at:tail])
        if attribution.dropped:
            yield Segment(caption[tail:], dropped=True)


def spaced(text: str) -> str:
    """`text` as `printable` shows it, with the blanks at its ends as one each."""
    if not text.strip():
        return " " if text else ""
    return " " * text[0].isspace() + printable(text) + " " * text[-1].isspace()


def in_order(attribution: WordAttribution) -> list[WordScore]:
    """Words and marks as they stand in the caption."""
    return sorted((*attribution.words, *attribution.marks), key=lambda one: one.start)


def _joined(caption: str, first: WordScore, second: WordScore) -> bool:
    return first.role == second.role and not caption[first.end : second.start].strip()


def longest(attribution: WordAttribution) -> float:
    """The largest absolute score that has a bar: of words, marks and phrases."""
    sizes = [abs(one.score) for one in attribution.spans if one.score == one.score]
    return max((attribution.strongest, *sizes))


def fraction(score: float | int, strongest: float | int) -> float:
    """A score from -1 to 1 of the strongest; 0 for NaN, and where there is nothing to tell apart."""
    if score != score or not strongest:
        return 0.0
    return max(-1.0, min(1.0, score / strongest))


def figures(score: float | int, strongest: float | int) -> str:
    """A score with as many decimals as show three digits of the strongest, so that a column lines up."""
    if score != score:
        return "NaN"
    digits = 3 if not strongest else min(max(2 - floor(log10(strongest)), 0), 9)
    text = f"{score:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def mixed(part: float, paper: tuple[int, int, int], most: float) -> tuple[int, int, int]:
    """The colour of a fraction on paper, RGB; `most` is its opacity at full strength."""
    opacity = most * abs(part)
    colour = RAISES if part >= 0 else LOWERS
    r, g, b = (round((1 - opacity) * p + opacity * c) for p, c in zip(paper, colour, strict=True))
    return r, g, b


def headline(attribution: WordAttribution) -> str:
    """What was asked."""
    if not attribution.against:
        return "Which words carry the match"
    foils = " or ".join(f"“{printable(foil)}”" for foil in attribution.against[:3])
    more = f" and {len(attribution.against) - 3} more" if len(attribution.against) > 3 else ""
    return f"Which words carry the match, against {foils}{more}"


def summary(attribution: WordAttribution) -> str:
    """One line: similarity, and the foils'."""
    known = attribution.similarity == attribution.similarity
    said = f"similarity {number(attribution.similarity)}" if known else "no picture"
    if attribution.against:
        said += f", against {', '.join(map(number, attribution.against_similarity[:3]))}"
    return f"{said} · method {attribution.method} · score: {attribution.unit}"


def kept_apart(attribution: WordAttribution) -> list[tuple[str, float]]:
    """(name, score) of what is no word: start, end and padding where they have scores, and what marks add up to."""
    rows = []
    for kind, name in (("start", "start token"), ("end", "end token"), ("padding", "padding")):
        if kind in attribution.kinds and (kind != "padding" or attribution.kind_score(kind)):
            rows.append((name, attribution.kind_score(kind)))
    return rows


def role_line(attribution: WordAttribution) -> str:
    """Shares of the roles in one line, "" where roles were not asked for."""
    found = [
        f"{role} {share.share:.0%}" if share.share == share.share else f"{role} –"
        for role, share in attribution.by_role.items()
        if share.count
    ]
    gap = attribution.gap
    more = f" · a mean object word has {gap:.2f} × a mean attribute or relation word" if gap == gap else ""
    return f"{' · '.join(found)}{more}" if found else ""


def foil_lines(attribution: WordAttribution) -> list[str]:
    """For each foil with words that the caption lacks, what these speak for the caption."""
    lines = []
    for foil, words in zip(attribution.against, attribution.against_words, strict=True):
        if words:
            said = ", ".join(
                f"{printable(one.text)} {figures(one.score, attribution.strongest)}" for one in words
            )
            lines.append(
                f"Words that only the foil “{printable(foil)}” has, as scores of the caption: {said}."
            )
    return lines


def made_by(attribution: WordAttribution) -> str:
    """How it was made, in one line."""
    provenance = attribution.provenance
    model = f"{provenance.model} ({provenance.pretrained})" if provenance.pretrained else provenance.model
    parts = [model, f"method {attribution.method}"]
    parts += [f"roles by {attribution.roles_by}"] if attribution.roles_by else []
    parts.append(f"weights {provenance.fingerprint or 'unknown'}")
    parts += [f"clipsight {v}" for k, v in provenance.versions.items() if k == "clipsight"]
    return " · ".join(parts)
