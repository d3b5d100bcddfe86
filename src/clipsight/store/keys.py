"""Keys of stored values: a hash of everything that determines the value."""

import hashlib
import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

Facts = Mapping[str, Any]
"""Plain data by name: what JSON holds, with tuples as lists. Contents of files and tensors stand in it as hashes."""


def key_of(kind: str, facts: Facts) -> str:
    """64 hexadecimal digits for a kind of value and the facts that determine it.

    Raises:
        TypeError, ValueError: a fact that is no plain data.
    """
    said = json.dumps([kind, facts], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(said.encode()).hexdigest()


def content_hash(*parts: bytes | memoryview | str) -> str:
    """64 hexadecimal digits for the content of several parts, their bounds included."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()


def file_stamp(path: str | os.PathLike[str]) -> list[Any]:
    """Which file this is and which state of it, without reading it: path, device, inode, size, both of its times.

    Raises:
        OSError: there is none.
    """
    found = os.stat(path)
    times = (found.st_mtime_ns, found.st_ctime_ns)
    return [os.path.realpath(path), found.st_dev, found.st_ino, found.st_size, *times]


@cache
def code_of(*rooms: str) -> str:
    """Hash of the source of rooms of this package: what they worked out is not another version's."""
    house = Path(__file__).parents[1]
    return content_hash(
        *(
            part
            for room in sorted(rooms)
            for file in sorted((house / room).rglob("*.py"))
            for part in (file.relative_to(house).as_posix(), file.read_bytes())
        )
    )
