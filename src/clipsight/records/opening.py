"""Open text files in any of the common encodings, or explain why a file is not text."""

import codecs
from pathlib import Path
from typing import TextIO

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""What a file begins with -> its encoding; the marks of UTF-32 begin like those of UTF-16."""
_OTHERS = {
    b"\x1f\x8b": "compressed with gzip; unpack it",
    b"PK\x03\x04": "a zip archive, such as a workbook of Excel's; unpack it, or save it as CSV",
    b"BZh": "compressed with bzip2; unpack it",
    b"\xfd7zXZ": "compressed with xz; unpack it",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it",
    b"PAR1": "a Parquet file; write it as CSV or lines of JSON",
    b"SQLite format 3": "a database of SQLite's; write the table as CSV",
}
_LOOK = 4096
_ESCAPE = "clipsight.surrogates"


def open_text(path: Path) -> TextIO:
    """A file as text: UTF-8, UTF-16 or UTF-32 by its mark, UTF-16 also by its zero bytes, else UTF-8.

    Bytes that the encoding does not allow become halves of surrogate pairs, which `Row.text` refuses row by row.
    """
    with path.open("rb") as file:
        start = file.read(_LOOK)
    return path.open(encoding=_encoding(start), errors=_ESCAPE, newline="")


def why_no_text(path: Path) -> str:
    """Why a file cannot be text, "" if it can."""
    with path.open("rb") as file:
        start = file.read(16)
    return next((f"the file is {what}" for mark, what in _OTHERS.items() if start.startswith(mark)), "")


def _encoding(start: bytes) -> str:
    for mark, encoding in _MARKS.items():
        if start.startswith(mark):
            return encoding
    half = max(1, len(start) // 2)
    if start[1::2].count(0) > 0.4 * half:
        return "utf-16-le"
    if start[::2].count(0) > 0.4 * half:
        return "utf-16-be"
    return "utf-8"


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_ESCAPE, _escape)
