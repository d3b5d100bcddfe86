"""A word attribution as plain facts, for drawings, pages and terminals.

Colour alone says nothing there: roles have marks of their own, and every number stands beside its bar.
"""

from collections.abc import Iterator
from math import floor, log10
from typing import TYPE_CHECKING

from clipsight.draw import CaptionFacts, Row, Stretch, number, printable

if TYPE_CHECKING:
    from .words import WordAttribution, WordScore

MARKS = {"object": ("", ""), "attribute": ("‹", "›"), "relation": ("«", "»")}
"""Brackets around words of a role; objects are underlined instead."""


def caption_facts(attribution: "WordAttribution") -> CaptionFacts:
    """Everything that is shown of it."""
    strongest = attribution.strongest
    return CaptionFacts(
        image=attribution.image,
        headline=headline(attribution),
        summary=summary(attribution),
        stretches=tuple(segments(attribution)),
        rows=tuple(_rows(attribution)),
        roles=bool(attribution.roles_by),
        strongest=number(strongest),
        unit=attribution.unit,
        role_line=_role_line(attribution),
        foils=tuple(_foil_lines(attribution)),
        trust=tuple(map(printable, attribution.trust)),
        dropped=printable(attribution.dropped) if attribution.dropped else "",
        made_by=_made_by(attribution),
        notes=attribution.provenance.notes,
    )


def segments(attribution: "WordAttribution") -> Iterator[Stretch]:
    """The whole caption, first character to last."""
    caption, at = attribution.caption, 0
    parts = sorted((*attribution.words, *attribution.marks), key=lambda one: one.start)
    for index, part in enumerate(parts):
        if part.start > at:
            yield Stretch(text=caption[at : part.start])
        before, after = MARKS.get(part.role, ("", ""))
        if index and _joined(caption, parts[index - 1], part):
            before = ""
        if index + 1 < len(parts) and _joined(caption, part, parts[index + 1]):
            after = ""
        yield Stretch(
            text=part.text,
            fraction=fraction(part.score, attribution.strongest),
            role=part.role,
            before=before,
            after=after,
            tip=_tip(part),
        )
        at = part.end
    if at < len(caption):
        tail = len(caption.rstrip()) - len(attribution.dropped) if attribution.dropped else len(caption)
        if tail > at:
            yield Stretch(text=caption[at:tail])
        if attribution.dropped:
            yield Stretch(text=caption[tail:], dropped=True)


def spaced(text: str) -> str:
    """`text` as `printable` shows it, with the blanks at its ends as one each."""
    if not text.strip():
        return " " if text else ""
    return " " * text[0].isspace() + printable(text) + " " * text[-1].isspace()


def _joined(caption: str, first: "WordScore", second: "WordScore") -> bool:
    return first.role == second.role and not caption[first.end : second.start].strip()


def _tip(part: "WordScore") -> str:
    role = f", {part.role}" if part.role else ""
    count = len(part.tokens)
    return f"{printable(part.text)}: {number(part.score)}{role}, {count} token{'' if count == 1 else 's'}"


def _rows(attribution: "WordAttribution") -> Iterator[Row]:
    """Words and marks as they stand, phrases asked for, and what is kept apart."""
    strongest = attribution.strongest
    longest = max(strongest, *(abs(one.score) for one in attribution.spans if one.score == one.score), 0.0)
    parts = sorted((*attribution.words, *attribution.marks), key=lambda one: one.start)
    for one in (*parts, *attribution.spans):
        asked = any(one is span for span in attribution.spans)
        yield Row(
            name=printable(one.text),
            role="asked" if asked else one.role,
            figure=figures(one.score, strongest),
            fraction=fraction(one.score, longest),
        )
    for kind, name in (("start", "start token"), ("end", "end token"), ("padding", "padding")):
        score = attribution.kind_score(kind)
        if kind in attribution.kinds and (kind != "padding" or score):
            yield Row(name=f"({name})", role="", figure=figures(score, strongest), fraction=None)


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


def headline(attribution: "WordAttribution") -> str:
    """What was asked."""
    if not attribution.against:
        return "Which words carry the match"
    foils = " or ".join(f"“{printable(foil)}”" for foil in attribution.against[:3])
    more = f" and {len(attribution.against) - 3} more" if len(attribution.against) > 3 else ""
    return f"Which words carry the match, against {foils}{more}"


def summary(attribution: "WordAttribution") -> str:
    """One line: similarity, and the foils'."""
    known = attribution.similarity == attribution.similarity
    said = f"similarity {number(attribution.similarity)}" if known else "no picture"
    if attribution.against:
        said += f", against {', '.join(map(number, attribution.against_similarity[:3]))}"
    return f"{said} · method {attribution.method} · score: {attribution.unit}"


def _role_line(attribution: "WordAttribution") -> str:
    """Shares of the roles in one line, "" where roles were not asked for."""
    found = [
        f"{role} {share.share:.0%}" if share.share == share.share else f"{role} –"
        for role, share in attribution.by_role.items()
        if share.count
    ]
    gap = attribution.gap
    more = f" · a mean object word has {gap:.2f} × a mean attribute or relation word" if gap == gap else ""
    return f"{' · '.join(found)}{more}" if found else ""


def _foil_lines(attribution: "WordAttribution") -> Iterator[str]:
    """For each foil with words that the caption lacks, what these speak for the caption."""
    for foil, words in zip(attribution.against, attribution.against_words, strict=True):
        if words:
            said = ", ".join(f"{printable(w.text)} {figures(w.score, attribution.strongest)}" for w in words)
            yield f"Words that only the foil “{printable(foil)}” has, as scores of the caption: {said}."


def _made_by(attribution: "WordAttribution") -> str:
    """How it was made, in one line."""
    provenance = attribution.provenance
    model = f"{provenance.model} ({provenance.pretrained})" if provenance.pretrained else provenance.model
    parts = [model, f"method {attribution.method}"]
    parts += [f"roles by {attribution.roles_by}"] if attribution.roles_by else []
    parts.append(f"weights {provenance.fingerprint or 'unknown'}")
    parts += [f"clipsight {v}" for k, v in provenance.versions.items() if k == "clipsight"]
    return " · ".join(parts)
