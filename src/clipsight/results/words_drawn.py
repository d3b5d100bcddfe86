"""What every drawing of a word attribution shares: the caption cut into its parts, and signed colour for them.

Colour alone says nothing here: roles have marks of their own, and every number stands beside its bar.
"""

from collections.abc import Iterator
from typing import NamedTuple

from .words import WordAttribution, WordScore
from .wording import number, printable

RAISES, LOWERS = (213, 94, 0), (0, 114, 178)
"""Colours of positive and negative scores, of Okabe and Ito: told apart by people of any colour vision."""

MARKS = {"object": ("", ""), "attribute": ("‹", "›"), "relation": ("«", "»")}
"""Brackets around words of a role; objects are underlined instead."""

LEGEND = "underlined: object · ‹ ›: attribute · « »: relation"
QUIET_BELOW = 0.04
"""A part of less than this fraction of the strongest keeps the colour of the paper."""


class Segment(NamedTuple):
    """A stretch of the caption: a part with its score, or what lies between (`part` None); `dropped` is not seen."""

    text: str
    part: WordScore | None
    dropped: bool


def segments(attribution: WordAttribution) -> Iterator[Segment]:
    """The whole caption, first character to last."""
    caption, at = attribution.caption, 0
    for part in sorted((*attribution.words, *attribution.marks), key=lambda one: one.start):
        if part.start > at:
            yield Segment(caption[at : part.start], None, False)
        yield Segment(part.text, part, False)
        at = part.end
    if at < len(caption):
        tail = len(caption.rstrip()) - len(attribution.dropped) if attribution.dropped else len(caption)
        if tail > at:
            yield Segment(caption[at:tail], None, False)
        if attribution.dropped:
            yield Segment(caption[tail:], None, True)


def fraction(score: float | int, strongest: float | int) -> float:
    """A score from -1 to 1 of the strongest; 0 for NaN, and where there is nothing to tell apart."""
    if score != score or not strongest:
        return 0.0
    return max(-1.0, min(1.0, score / strongest))


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
    said = f"similarity {number(attribution.similarity)}"
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


def made_by(attribution: WordAttribution) -> str:
    """How it was made, in one line."""
    provenance = attribution.provenance
    model = f"{provenance.model} ({provenance.pretrained})" if provenance.pretrained else provenance.model
    parts = [model, f"method {attribution.method}"]
    parts += [f"roles by {attribution.roles_by}"] if attribution.roles_by else []
    parts.append(f"weights {provenance.fingerprint or 'unknown'}")
    parts += [f"clipsight {v}" for k, v in provenance.versions.items() if k == "clipsight"]
    return " · ".join(parts)
