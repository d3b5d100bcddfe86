"""A report on disk: the page, and its figures as JSON beside it."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from clipsight.results import atomic_write, check_writable, json_bytes, suffix_of


def write_report(
    path: str | os.PathLike[str], data: Mapping[str, Any], page: Callable[[], str], *, overwrite: bool
) -> tuple[Path, ...]:
    """Write .json, or .html and the same figures as .json beside it. Gives back the paths, the one asked for first.

    Raises:
        ValueError: another suffix. FileExistsError and others of `clipsight.results.io.atomic_write`.
    """
    suffix = suffix_of(path, (".html", ".json"))
    files = {Path(path).with_suffix(".json"): lambda: json_bytes(data)}
    if suffix == ".html":
        files[Path(path)] = lambda: page().encode("utf-8", "backslashreplace")
    for file in files:
        check_writable(file, overwrite=overwrite)
    for file, content in files.items():
        with atomic_write(file, overwrite=overwrite) as opened:
            opened.write(content())
    return tuple(reversed(files))
