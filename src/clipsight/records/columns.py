"""The columns of caption files under their various names, and the pictures that they refer to."""

import ntpath
import os.path
from pathlib import Path

from clipsight.records.row import BadRow, Row

CAPTION = ("caption", "title", "text", "sentence")
PICTURE = ("image", "filepath", "file_name", "filename", "image_path")
SPANS = ("roles", "spans")
"""A list of [first character, one after the last, role], or such a list as JSON."""
LISTS = tuple(
    f"{role}{ending}" for role in ("object", "attribute", "relation") for ending in ("s", "_list", "")
)
"""A list of words, or of [first, last] or [first, last, text], one column a role, as MACCO's files have it."""
_SHOWN = 6


def column(row: Row, names: tuple[str, ...]) -> str | None:
    """The first of the names that the row has."""
    if not isinstance(row.value, dict):
        raise BadRow('the record is no object; write one with a caption, as in {"caption": "a dog"}')
    return next((name for name in names if name in row.value), None)


def require_column(row: Row, names: tuple[str, ...]) -> str:
    """The first of the names that the row has.

    Raises:
        BadRow: it has none; the message says what it has, which shows a wrong separator or encoding.
    """
    if (name := column(row, names)) is not None:
        return name
    there = ", ".join(repr(str(one)[:40]) for one in list(row.value)[:_SHOWN])
    raise BadRow(
        f"no column is called {', '.join(names[:-1])} or {names[-1]}; there is {there or 'none'}. Usual cause: no "
        "line of names, or cells that neither tab, comma, semicolon nor bar separates"
    )


def has_roles(row: Row) -> bool:
    """Whether the row says itself which words are objects, attributes and relations."""
    return column(row, (*SPANS, *LISTS)) is not None


def picture_path(folder: Path, name: str) -> Path:
    """Where a named picture lies below a folder; a backslash is a slash where no file has it in its name."""
    path = folder / name
    return path if "\\" not in name or path.is_file() else folder / name.replace("\\", "/")


class PictureFiles:
    """Finds pictures below a folder: the path as named, then its last part alone; a backslash may be a slash.

    Args:
        folder: that names begin from; absolute paths are taken as they are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._found: dict[str, str | None] = {}

    def find(self, name: str) -> str:
        """The file of a picture.

        Raises:
            BadRow: there is none.
        """
        if name not in self._found:
            spelled = dict.fromkeys((name, os.path.basename(name)))
            if "\\" in name:
                spelled |= dict.fromkeys((name.replace("\\", "/"), ntpath.basename(name)))
            tried = (os.path.join(self._folder, one) for one in spelled if "\0" not in one)
            self._found[name] = next((path for path in tried if os.path.isfile(path)), None)
        path = self._found[name]
        if path is None:
            raise BadRow(f"there is no picture {name!r:.200} below {self._folder}")
        return path
