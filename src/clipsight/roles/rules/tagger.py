"""The rule tagger: roles of a caption's words, without any other package.

Deterministic; word lists and rules only. What it is right about is measured by `scripts/evaluate_roles.py`.
"""

import re
from dataclasses import dataclass
from itertools import pairwise

from clipsight.roles.lexicon import lexicon
from clipsight.roles.rules.assign import Meaning, letters
from clipsight.roles.rules.fixed_phrases import resolve_phrases
from clipsight.roles.rules.links import Relations, Triple
from clipsight.roles.rules.phrases import Tagged, gather
from clipsight.roles.rules.pos_tags import tag_words
from clipsight.roles.rules.position import AND, COMMA, STOP
from clipsight.roles.schema import CaptionRoles, Role, RoleRelation, RoleWord, read_words, words_of

RULES_VERSION = "2"
"""Changes when the rules give other roles; the word lists have a version of their own."""

_BREAKS = tuple(
    (re.compile(marks), name) for marks, name in ((r"[.;:!?\n|]", STOP), (r"[,()]", COMMA), (r"[&/+]", AND))
)
_ROLE: dict[str, Role] = {"o": "object", "a": "attribute", "r": "relation", "-": "other"}


@dataclass(frozen=True)
class Analysis:
    """A caption's words, their tags, and the result of the analysis."""

    caption: Tagged
    letters: list[str]
    links: list[tuple[int, int]]
    triples: list[Triple]


def analyse(caption: str, words: tuple[RoleWord, ...] | None = None) -> Analysis:
    """Tags, roles as letters (o, a, r, -), links and triples, of a text that is as the tokenizer reads it."""
    words = words_of(caption) if words is None else words
    gaps = [caption[a.end : b.start] for a, b in pairwise(words)]
    breaks = ["", *(_break(gap) for gap in gaps)][: len(words)]
    lower = [word.text.lower().replace("’", "'") for word in words]
    owners = [
        gap.startswith(("' ", "’ ")) and word.endswith("s") for gap, word in zip(gaps, lower, strict=False)
    ]
    forced = resolve_phrases(lower, breaks)
    for i, owner in enumerate(owners):
        if owner and not forced[i]:
            forced[i] = "NP"
    tagged = Tagged(lower, tag_words(lower, breaks, forced), breaks)
    meaning = Meaning(tagged, gather(tagged))
    phrases = meaning.settle()
    found = Relations(tagged, phrases)
    return Analysis(tagged, letters(len(words), phrases, meaning.loose), found.links, found.triples)


def roles_by_rules(caption: str) -> CaptionRoles:
    """The roles of a caption's words by the rules; see `roles.extract_roles`."""
    read, inner, words = read_words(caption)
    return as_roles(caption, words, analyse(read, inner))


def as_roles(caption: str, words: tuple[RoleWord, ...], analysis: Analysis) -> CaptionRoles:
    """Convert an analysis to the schema shared by all extractors."""
    return CaptionRoles(
        caption=caption,
        words=words,
        roles=tuple(_ROLE[letter] for letter in analysis.letters),
        links=tuple(sorted(analysis.links)),
        relations=tuple(RoleRelation(subject=s, words=w, object=o) for s, w, o in analysis.triples),
        extractor="rules",
        version=f"{RULES_VERSION}+{lexicon().version}",
    )


def _break(gap: str) -> str:
    return next((name for marks, name in _BREAKS if marks.search(gap)), "")
