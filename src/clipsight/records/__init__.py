"""Records from tables, lists, lines of JSON and lines of text; malformed ones are reported and counted."""

from clipsight.records.columns import (
    CAPTION,
    LISTS,
    PICTURE,
    SPANS,
    PictureFiles,
    column,
    has_roles,
    picture_path,
    require_column,
)
from clipsight.records.json_files import json_rows, json_value, jsonl_rows
from clipsight.records.lines import text_rows
from clipsight.records.row import LONGEST_WORD, BadRow, Malformed, Name, Row, Spoiled
from clipsight.records.tables import csv_rows

__all__ = [
    "CAPTION",
    "LISTS",
    "LONGEST_WORD",
    "PICTURE",
    "SPANS",
    "BadRow",
    "Malformed",
    "Name",
    "PictureFiles",
    "Row",
    "Spoiled",
    "column",
    "csv_rows",
    "has_roles",
    "json_rows",
    "json_value",
    "jsonl_rows",
    "picture_path",
    "require_column",
    "text_rows",
]
