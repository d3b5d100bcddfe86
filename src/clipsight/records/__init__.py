"""Rows of tables, lists, lines of JSON and lines of text; a malformed one is named and counted, never lost."""

from clipsight.records.json_files import json_rows, json_value, jsonl_rows
from clipsight.records.lines import text_rows
from clipsight.records.row import LONGEST_WORD, BadRow, Malformed, Name, Row, Spoiled
from clipsight.records.tables import csv_rows

__all__ = [
    "LONGEST_WORD",
    "BadRow",
    "Malformed",
    "Name",
    "Row",
    "Spoiled",
    "csv_rows",
    "json_rows",
    "json_value",
    "jsonl_rows",
    "text_rows",
]
