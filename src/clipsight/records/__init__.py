"""Rows of tables, lists and lines of JSON; a malformed row is named and counted, never lost."""
