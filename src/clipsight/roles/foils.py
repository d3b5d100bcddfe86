"""Foils: captions made false by one small change, of SugarCrepe's seven kinds, from the caption alone.

A foil is made from the parse of the rules, and parsed again: it is kept only if the words that were not touched
have the roles they had, the new ones the role they should have, and no fault of grammar came in. Nothing looks at
the picture: that a caption with a cat in the dog's place is false of it is likely, not certain. Where pictures and
truth are known, as in the emoji world, `clipsight.world` makes foils that are false for certain.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, get_args

from clipsight.roles.foil_grammar import faults
from clipsight.roles.foil_kinds import KINDS, FoilChange
from clipsight.roles.foil_sentence import Sentence, apply
from clipsight.roles.schema import ROLES, Role, Span

FoilKind = Literal["replace_obj", "replace_att", "replace_rel", "swap_obj", "swap_att", "add_obj", "add_att"]
FOIL_KINDS: tuple[FoilKind, ...] = get_args(FoilKind)

RoleSpan = tuple[int, int, Role]
_MOST_TRIED = 40


@dataclass(frozen=True, kw_only=True)
class CaptionFoil:
    """A caption and a false version of it.

    Attributes:
        caption: as given.
        foil: the changed caption.
        kind: what was changed.
        changed: places in the caption whose words were replaced or moved; empty places where something was put in.
        changed_to: the same places in the foil, in the same order. An article that only follows the sound is in
            neither.
        caption_spans: (start, end, role) of every word of the caption that has a role.
        foil_spans: the same of the foil.
    """

    caption: str
    foil: str
    kind: FoilKind
    changed: tuple[Span, ...]
    changed_to: tuple[Span, ...]
    caption_spans: tuple[RoleSpan, ...]
    foil_spans: tuple[RoleSpan, ...]


@dataclass(frozen=True, kw_only=True)
class Foils:
    """The foils of one caption.

    Attributes:
        made: at most one of each kind, in the order of `FOIL_KINDS`.
        impossible: for every other kind asked for, why there is none.
    """

    caption: str
    made: tuple[CaptionFoil, ...]
    impossible: Mapping[str, str]

    def __getitem__(self, kind: FoilKind) -> CaptionFoil:
        """The foil of a kind; `KeyError` with the reason when there is none."""
        found = next((foil for foil in self.made if foil.kind == kind), None)
        if found is None:
            raise KeyError(f"{kind}: {self.impossible.get(kind, 'it was not asked for')}")
        return found


def make_foils(caption: str, kinds: Sequence[FoilKind] = FOIL_KINDS, *, seed: int = 0) -> Foils:
    """One foil of each kind that the caption allows.

    Args:
        caption: English, as captions are: mostly one sentence or noun phrase.
        kinds: which ones; the order does not matter.
        seed: other seeds choose other words. The same caption, kind and seed give the same foil.

    Raises:
        ValueError: an unknown kind.

    Example:
        >>> foil = make_foils("a red car left of a small dog", seed=1)["replace_rel"]
        >>> foil.foil
        'a red car right of a small dog'
    """
    if unknown := [kind for kind in kinds if kind not in FOIL_KINDS]:
        raise ValueError(f"foil kind {unknown[0]!r} is not known; the kinds are {', '.join(FOIL_KINDS)}.")
    sentence = Sentence(caption)
    before = faults(sentence)
    made: list[CaptionFoil] = []
    impossible: dict[str, str] = {}
    for kind in FOIL_KINDS:
        if kind not in kinds:
            continue
        changes, reason = KINDS[kind]
        rng = random.Random(f"{seed}:{kind}:{caption}")
        refused: list[FoilChange] = []
        for change in islice(changes(sentence, rng), _MOST_TRIED):
            foil = _foil(sentence, kind, change, before)
            if foil is not None:
                made.append(foil)
                break
            refused.append(change)
        else:
            impossible[kind] = _refused(len(refused)) if refused else reason
    return Foils(caption=caption, made=tuple(made), impossible=impossible)


def _refused(tried: int) -> str:
    return f"{tried} changes were tried; each brought in a fault of grammar or was parsed as something else"


def _foil(
    sentence: Sentence, kind: FoilKind, change: FoilChange, before: Sequence[str]
) -> CaptionFoil | None:
    """The foil that a change makes, None if it does not read well."""
    text, spans = apply(sentence, change.edits)
    if text.lower() == sentence.caption.lower():
        return None
    other = Sentence(text)
    changed = tuple((edit.start, edit.end) for edit in sorted(change.edits, key=lambda edit: edit.start))
    kept = _roles_kept(sentence, changed, other, spans, kind, change.role)
    if not kept or set(faults(other)) - set(before):
        return None
    return CaptionFoil(
        caption=sentence.caption,
        foil=text,
        kind=kind,
        changed=changed,
        changed_to=spans,
        caption_spans=_role_spans(sentence),
        foil_spans=_role_spans(other),
    )


def _roles_kept(
    sentence: Sentence, changed: Sequence[Span], other: Sentence, spans: Sequence[Span], kind: str, role: Role
) -> bool:
    """Whether untouched words have the roles they had, and touched ones the role they should have."""
    if _roles(sentence, changed, inside=False) != _roles(other, spans, inside=False):
        return False
    new = _roles(other, spans, inside=True)
    if kind.startswith("swap"):
        return sorted(new) == sorted(_roles(sentence, changed, inside=True))
    if not kind.startswith("add"):
        return role in new and set(new) <= {role, "other"}
    return role in new


def _roles(sentence: Sentence, spans: Sequence[Span], inside: bool) -> list[Role]:
    """Roles of the words that lie in the spans, or of the others."""
    return [
        role
        for word, role in zip(sentence.words, sentence.roles.roles, strict=True)
        if any(start < word.end and word.start < end for start, end in spans) == inside
    ]


def _role_spans(sentence: Sentence) -> tuple[RoleSpan, ...]:
    named = ROLES[:-1]
    return tuple(sorted((start, end, role) for role in named for start, end in sentence.roles.spans(role)))
