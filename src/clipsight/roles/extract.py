"""Object, attribute and relation words of a caption, found by any of the extractors.

| extractor | what it needs | links and relations |
|---|---|---|
| `rules` | nothing: word lists and rules of this package | yes |
| `column` | the roles themselves, as places or words that the user has | as given |
| `textblob` | `pip install "clipsight[words]"`; the lexicon in TextBlob's own package, no corpus | nearest noun |
| `spacy` | spaCy and a pipeline with tagger and parser (a name or a loaded one) | from its dependencies |

All give the same `CaptionRoles`. Extractors differ in what they call a relation or an object, so figures of different
extractors, or of different versions of one, should not be mixed; the result names both.
"""

from collections.abc import Callable, Mapping
from typing import Any

from clipsight.roles.by_spacy import roles_by_spacy
from clipsight.roles.by_textblob import roles_by_textblob
from clipsight.roles.given import roles_from_column
from clipsight.roles.rules.tagger import roles_by_rules
from clipsight.roles.schema import ROLES, CaptionRoles, Role, RoleRelation, RoleWord, find_words

__all__ = [
    "EXTRACTORS",
    "ROLES",
    "CaptionRoles",
    "Role",
    "RoleRelation",
    "RoleWord",
    "extract_roles",
    "find_words",
]

EXTRACTORS: Mapping[str, Callable[..., CaptionRoles]] = {
    "rules": roles_by_rules,
    "column": roles_from_column,
    "textblob": roles_by_textblob,
    "spacy": roles_by_spacy,
}
"""Id -> function of a caption and the extractor's own options."""


def extract_roles(caption: str, extractor: str = "rules", **options: Any) -> CaptionRoles:
    """Which words of a caption name objects, their attributes, and relations.

    Args:
        caption: any text; an empty one has no words.
        extractor: "rules", "column", "textblob" or "spacy".
        options: for "column" `spans` (and `links`, `relations`), see `roles_from_column`; for "spacy" `pipeline`, see
            `roles_by_spacy`; the others have none.

    Raises:
        TypeError: the caption is no string, or an option that the extractor does not have.
        ValueError: an unknown extractor, or spans that do not fit the caption.
        Unsupported: the extractor's package is not installed; the message has the line that installs it.

    Example:
        >>> found = extract_roles("a brown dog chases two cats")
        >>> found.texts("object"), found.texts("attribute"), found.texts("relation")
        (('dog', 'cats'), ('brown', 'two'), ('chases',))
    """
    if not isinstance(caption, str):
        raise TypeError(
            f"the caption is a {type(caption).__name__}, {caption!r:.80}; extract_roles reads one string. For many: "
            "[extract_roles(c) for c in captions]."
        )
    if extractor not in EXTRACTORS:
        raise ValueError(f"extractor {extractor!r} is not known; give one of {', '.join(EXTRACTORS)}.")
    known, needed, example = _OPTIONS[extractor]
    if wrong := set(options) - known or needed - set(options):
        what = "was given" if wrong <= set(options) else "was not given"
        raise TypeError(f"the extractor {extractor!r} {what} {', '.join(sorted(wrong))}; {example}.")
    return EXTRACTORS[extractor](caption, **options)


_NONE: frozenset[str] = frozenset()
_OPTIONS: Mapping[str, tuple[frozenset[str], frozenset[str], str]] = {
    "rules": (_NONE, _NONE, "it has no options"),
    "textblob": (_NONE, _NONE, "it has no options"),
    "column": (
        frozenset(("spans", "links", "relations")),
        frozenset(("spans",)),
        "write extract_roles(caption, 'column', spans=[(2, 5, 'object')]); links and relations may be given too",
    ),
    "spacy": (
        frozenset(("pipeline",)),
        _NONE,
        "write extract_roles(caption, 'spacy', pipeline='en_core_web_sm')",
    ),
}
"""Extractor -> the options it knows, those it needs, and how to write them."""
