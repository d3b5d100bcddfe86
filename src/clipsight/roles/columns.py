"""The roles of a record's caption: from its own columns, or from an extractor."""

from typing import Any

from clipsight.errors import Unsupported
from clipsight.records import LISTS, SPANS, BadRow, Row, column, json_value
from clipsight.roles.extract import CaptionRoles, extract_roles


def row_roles(row: Row, caption: str, extractor: str) -> CaptionRoles:
    """The roles of a row's caption: its own with "column", otherwise those an extractor finds.

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
    except (BadRow, Unsupported):
        raise
    except (ValueError, TypeError, IndexError, OverflowError, RecursionError, MemoryError) as error:
        raise BadRow(f"its roles cannot be read: {error}") from error


def _spans(given: Any) -> list[tuple[int, int, str]]:
    triples = json_value(given) if isinstance(given, str) else given
    return [(int(start), int(end), str(role)) for start, end, role in triples]
