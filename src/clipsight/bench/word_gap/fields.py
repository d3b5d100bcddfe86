"""A row of a file of captions, whatever its columns are called."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clipsight.bench.word_gap.caption import CorpusCaption, foils_of
from clipsight.errors import Unsupported
from clipsight.records.reading import BadRow, Row
from clipsight.roles.extract import CaptionRoles, extract_roles

CAPTION = ("caption", "title", "text", "sentence")
PICTURE = ("image", "filepath", "file_name", "filename", "image_path")
SPANS = ("roles", "spans")
"""A list of [first character, one after the last, role], or such a list as JSON."""
LISTS = tuple(
    f"{role}{ending}" for role in ("object", "attribute", "relation") for ending in ("s", "_list", "")
)
"""A list of words, or of [first, last] or [first, last, text], one column a role, as MACCO's files have it."""


def column(row: Row, names: tuple[str, ...]) -> str | None:
    """The first of the names that the row has."""
    if not isinstance(row.value, dict):
        raise BadRow('the record is no object; write one with a caption, as in {"caption": "a dog"}')
    return next((name for name in names if name in row.value), None)


def has_roles(row: Row) -> bool:
    """Whether the row says itself which words are objects, attributes and relations."""
    return column(row, (*SPANS, *LISTS)) is not None


def read_row(
    row: Row, file: str, *, roles: str, images: Path | None, per_picture: int, foils: bool, seed: int
) -> Iterator[CorpusCaption]:
    """The captions of a row: one, or of a list of them the first `per_picture`.

    Args:
        row: one record. file: its file's name.
        roles: an extractor's id; "column" takes the row's own.
        images: folder that pictures lie below; None for captions alone.
        per_picture: see above. foils: whether to make foils. seed: of the foils.

    Raises:
        BadRow: no caption, no picture, or roles that do not fit.
    """
    name = column(row, CAPTION)
    if name is None:
        raise BadRow(f"no column is called {', '.join(CAPTION[:-1])} or {CAPTION[-1]}")
    several = isinstance(row.get(name), list)
    captions = row.texts(name)[:per_picture] if several else (row.text(name),)
    if several and roles == "column":
        raise BadRow(
            f"{name!r} is a list, and roles cannot belong to several captions; give each a row of its own"
        )
    picture = None
    if images is not None:
        named = column(row, PICTURE)
        if named is None:
            raise BadRow(f"no column is called {', '.join(PICTURE[:-1])} or {PICTURE[-1]}")
        picture = images / row.text(named)
    for number, caption in enumerate(captions):
        yield CorpusCaption(
            file=file,
            line=row.line,
            caption=caption,
            roles=row_roles(row, caption, roles),
            cluster=str(picture) if picture is not None else f"{file}/{row.key}/{number}",
            picture=picture,
            foils=foils_of(caption, seed) if foils else (),
        )


def row_roles(row: Row, caption: str, extractor: str) -> CaptionRoles:
    """The roles of a row's caption: its own under "column", else what an extractor finds.

    Raises:
        BadRow: roles that do not fit the caption.
    """
    try:
        if extractor != "column":
            return extract_roles(caption, extractor)
        name = column(row, SPANS)
        if name is None:
            return extract_roles(
                caption, extractor, spans={key: row.get(key) for key in LISTS if key in row.value}
            )
        return extract_roles(caption, extractor, spans=_spans(row.get(name)))
    except Unsupported:
        raise
    except (ValueError, TypeError, IndexError) as error:
        raise BadRow(f"its roles cannot be read: {error}") from error


def _spans(given: Any) -> list[tuple[int, int, str]]:
    triples = json.loads(given) if isinstance(given, str) else given
    return [(int(start), int(end), str(role)) for start, end, role in triples]
