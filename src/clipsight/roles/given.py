"""Roles that the user supplies: character positions, or lists of words as in columns of data sets."""

import ast
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clipsight.roles.cleaned import as_read, in_caption
from clipsight.roles.schema import ROLES, CaptionRoles, Role, RoleRelation, find_words

COLUMN_VERSION = "1"

_KEYS: dict[str, Role] = {
    **{key: "object" for key in ("object", "objects", "object_list")},
    **{key: "attribute" for key in ("attribute", "attributes", "attribute_list")},
    **{key: "relation" for key in ("relation", "relations", "relation_list")},
}
# Where spans overlap the relation is meant ("next to the *front* door" is no object twice), then the attribute.
_PRIORITY: dict[Role, int] = {"relation": 3, "attribute": 2, "object": 1, "other": 0}
_SKIPPED = frozenset(("a", "an", "the"))

Spans = Sequence[tuple[int, int, str]] | Mapping[str, Any]


def roles_from_column(
    caption: str,
    spans: Spans,
    links: Sequence[tuple[int, int]] = (),
    relations: Sequence[tuple[int | None, Sequence[int], int | None]] = (),
) -> CaptionRoles:
    """Roles from a data set's own column.

    Args:
        caption: the text that the places count in.
        spans: (first character, one after the last, role) as the world's captions have them; or a mapping with the
            keys "objects", "attributes", "relations" (also singular, or with "_list"), each a list of words and
            phrases or of [start, end] or [start, end, text], or such a list written as a string (JSON or Python),
            as TSV files of MACCO and CLIP-CAE have it. A phrase given as text marks every place where it stands as
            whole words, capitals aside; the articles a, an and the never count.
        links: (attribute, object) word numbers, if known.
        relations: (subject, words, object) by word number, if known.

    A word gets a role when a span covers at least one of its characters; of several the relation, then the attribute.

    Raises:
        ValueError: a span outside the caption or with nothing in it, a text that does not stand in the caption, an
            unknown role or key, a string that is no list.
    """
    words = find_words(caption)
    found: list[Role] = ["other"] * len(words)
    for start, end, role in _places(caption, spans):
        for i, word in enumerate(words):
            covers = start < word.end and word.start < end
            if covers and word.text.lower() not in _SKIPPED and _PRIORITY[role] > _PRIORITY[found[i]]:
                found[i] = role
    return CaptionRoles(
        caption=caption,
        words=words,
        roles=tuple(found),
        links=tuple(sorted((int(a), int(o)) for a, o in links)),
        relations=tuple(RoleRelation(subject=s, words=tuple(sorted(w)), object=o) for s, w, o in relations),
        extractor="column",
        version=COLUMN_VERSION,
    )


def _places(caption: str, spans: Spans) -> Iterable[tuple[int, int, Role]]:
    if isinstance(spans, Mapping):
        for key, column in spans.items():
            if key not in _KEYS:
                raise ValueError(
                    f"spans has the key {key!r}; the keys are objects, attributes and relations."
                )
            for entry in _column(key, column):
                yield from _entry(caption, entry, _KEYS[key])
        return
    for span in spans:
        if len(span) != 3 or span[2] not in ROLES:
            raise ValueError(
                f"the span {span!r} should be (start, end, role) with a role of {', '.join(ROLES)}."
            )
        yield (*_inside(caption, span[0], span[1]), span[2])


def _column(key: str, column: Any) -> Sequence[Any]:
    if not isinstance(column, str):
        return column
    for read in (json.loads, ast.literal_eval):
        try:
            entries = read(column)
        except (ValueError, SyntaxError):
            continue
        if isinstance(entries, list | tuple):
            return entries
    raise ValueError(
        f"the column {key!r} holds {column!r:.80}, which is no list; give a list, or one as text, as in "
        "\"['dog', 'cat']\"."
    )


def _entry(caption: str, entry: Any, role: Role) -> Iterable[tuple[int, int, Role]]:
    if not isinstance(entry, str):
        yield (*_inside(caption, entry[0], entry[1]), role)
        return
    text = " ".join(entry.split())
    if text.lower() in _SKIPPED:
        return
    pattern = r"\s+".join(re.escape(part) for part in text.split())
    places = (
        [m.span() for m in re.finditer(rf"(?<!\w){pattern}(?!\w)", caption, re.IGNORECASE)] if text else []
    )
    if not places and (read := as_read(caption)) != caption:
        spans = [m.span() for m in re.finditer(rf"(?<!\w){pattern}(?!\w)", read, re.IGNORECASE)]
        places = in_caption(caption, read, spans)
    if not places:
        raise ValueError(
            f"{entry!r} does not stand in the caption {caption!r:.80} as whole words; a list that was made from "
            "another wording needs that wording as its caption."
        )
    for start, end in places:
        yield start, end, role


def _inside(caption: str, start: int, end: int) -> tuple[int, int]:
    if not 0 <= start < end <= len(caption):
        raise ValueError(
            f"the span {start}:{end} is not inside the caption, which has {len(caption)} characters; places count from "
            "0 and end one after the last character."
        )
    return start, end
