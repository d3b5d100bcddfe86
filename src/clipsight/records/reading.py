"""The names of this room's face at their former place."""

from clipsight.records import BadRow, Malformed, Name, Row, csv_rows, json_rows, jsonl_rows

__all__ = ["BadRow", "Malformed", "Name", "Row", "csv_rows", "json_rows", "jsonl_rows"]
