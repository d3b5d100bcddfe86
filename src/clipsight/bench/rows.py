"""Rows on disk: JSON lines under a manifest that says what they are rows of.

The first line of a file is its manifest, each other line a row. A run that is killed loses the row it was writing and
no other; the next run of the same question goes on from there. Several processes write files of their own beside each
other, and a run of the whole reads all of them.
"""

import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from clipsight.bench.about import About
from clipsight.bench.runner import WHOLE, Share
from clipsight.store import code_of

_ROOMS = (
    "attribution", "bench", "features", "language", "pictures", "refine", "scoring", "session", "tasks", "towers",
    "world",
)  # fmt: skip
_PACKAGES = ("clipsight", "torch", "open_clip_torch", "pillow", "numpy", "spacy", "en_core_web_sm")


def versions() -> dict[str, str]:
    """Versions of everything that changes a figure: the models' code, what reads pictures, a tagger if there is one."""
    found = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def manifest(kind: str, **question: Any) -> dict[str, Any]:
    """What rows are rows of: the question, and what answered it.

    Args:
        kind: which benchmark. question: model, protocol, counts of data, seeds; plain data.
    """
    return {
        "kind": kind,
        "question": json.loads(json.dumps(question)),
        "versions": {**versions(), "code": _code()},
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }


@cache
def _code() -> str:
    return code_of(*_ROOMS)


class RowFile:
    """Rows by the names of their items, in memory or in files.

    Args:
        path: a .jsonl file; the share 2/4 of the work is written beside it, into `NAME.2of4.jsonl`. None keeps the rows
            in memory.
        manifest: what the rows are of, see `manifest`; rows of another question or other versions are refused.
        share: which part of the work is written.

    Raises:
        ValueError: a file of the same name holds rows of something else.
    """

    def __init__(
        self, path: Path | None = None, manifest: Mapping[str, Any] | None = None, share: Share = WHOLE
    ) -> None:
        self._kept: dict[str, Any] = {}
        self._files: list[Path] = []
        self._ids: set[str] = set()
        self._own: Path | None = None
        if path is None:
            return
        self._own = path if share == WHOLE else _of_share(path, share)
        self._manifest = dict(manifest or {})
        for file in sorted({path, *path.parent.glob(f"{path.stem}.*of*{path.suffix}")}):
            if file.exists():
                self._open(file)

    def __contains__(self, id: str) -> bool:
        """Whether the row of an item is there."""
        return id in self._kept or id in self._ids

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._kept) + len(self._ids)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """(name of the item, row) of all rows; those in files are read one at a time."""
        yield from self._kept.items()
        seen: set[str] = set()
        for file in self._files:
            for row in _rows(file):
                if row["id"] not in seen:
                    seen.add(row["id"])
                    yield row["id"], row["row"]

    def add(self, id: str, row: Any) -> None:
        """Keep the row of an item; in a file it survives a kill once this returns."""
        if self._own is None:
            self._kept[id] = row
            return
        if self._own not in self._files:
            self._own.parent.mkdir(parents=True, exist_ok=True)
            with self._own.open("ab") as file:
                file.write(_line({"manifest": self._manifest}))
            self._files.append(self._own)
        with self._own.open("ab") as file:
            file.write(_line({"id": id, "row": row}))
        self._ids.add(id)

    def _open(self, file: Path) -> None:
        """Read the names in a file, and cut off a line that a kill left unfinished."""
        content = file.read_bytes()
        whole = content.rfind(b"\n") + 1
        if file == self._own and whole < len(content):
            os.truncate(file, whole)
        if not whole:
            return
        try:
            found = json.loads(content[: content.index(b"\n")])["manifest"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{file} is not a file of rows; give another name, or delete it if it is of no use."
            ) from error
        apart = [
            name for name in ("kind", "question", "versions") if found.get(name) != self._manifest.get(name)
        ]
        if apart:
            raise ValueError(
                f"{file} holds rows of another run: {_difference(found, self._manifest, apart[0])}. Give another name, "
                "or delete the file to measure anew."
            )
        self._files.append(file)
        self._ids |= {row["id"] for row in _rows(file)}


def open_rows(kind: str, model: About, path: Path | None, share: Share = WHOLE, **question: Any) -> RowFile:
    """The rows of a model under test; see `manifest` and `RowFile`.

    Raises:
        ValueError: as `RowFile`; or rows are to be kept of a model that no hash can tell from others.
    """
    if path is not None and model.made_by is None:
        raise ValueError(
            f"rows of {model.model} cannot be kept in {path}: parts of this model are code that no hash can tell from "
            "other code, so a later run could not know them again. Leave out the file."
        )
    return RowFile(path, manifest(kind, model=model.to_dict(), **question), share)


def _of_share(path: Path, share: Share) -> Path:
    return path.with_name(f"{path.stem}.{share.index + 1}of{share.count}{path.suffix}")


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass") + b"\n"


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    with file.open("rb") as lines:
        next(lines, None)
        for line in lines:
            if line.endswith(b"\n"):
                yield json.loads(line)


def _difference(found: Mapping[str, Any], asked: Mapping[str, Any], name: str) -> str:
    """The first fact in which two manifests are apart."""
    theirs, ours = found.get(name), asked.get(name)
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in (*ours, *theirs):
            if theirs.get(key) != ours.get(key):
                return f"its {key} is {theirs.get(key)}, asked is {ours.get(key)}"
    return f"its {name} is {theirs}, asked is {ours}"
