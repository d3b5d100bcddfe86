"""Text and archives of others: read within limits, refused in one sentence.

Python's readers fail in ways of their own on damaged files, and allocate what a header asks for. Here sizes are checked
before anything is allocated.
"""

import json
import math
import os
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

MOST_DEPTH = 64
"""How deep JSON may nest; no configuration and no result of ours comes near."""

MOST_JSON = 64 * 2**20
"""Bytes of a configuration that is read."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def parse_json(text: str) -> Any:
    """What a JSON text holds.

    Raises:
        ValueError: not JSON, nested deeper than `MOST_DEPTH`, or an object that has a key twice.
    """
    _check_depth(text)
    return json.loads(text, object_pairs_hook=_once)


def _check_depth(text: str) -> None:
    depth = 0
    for token in _TOKEN.finditer(text):
        first = token[0][0]
        if first in "[{":
            depth += 1
            if depth > MOST_DEPTH:
                raise ValueError(f"it nests deeper than {MOST_DEPTH} levels")
        elif first in "]}":
            depth -= 1


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has the key {twice[:80]!r} twice")
    return content


_MOST_LOOSE = 256 * 2**20
_MOST_RATIO = 100
"""Bytes that any file may unpack to, and above them how many times its own size: photographs do not shrink so far."""


def read_arrays(path: str | os.PathLike[str], names: Sequence[str]) -> tuple[Any, dict[str, np.ndarray]]:
    """(content of "meta", arrays by name) of an npz file whose "meta" is one JSON string.

    Raises:
        ValueError: as said, an array of another kind than plain numbers, one whose header asks for another size than
            its member has, or more bytes in all than such a file can mean.
        OSError, zipfile.BadZipFile: no such file, or no archive.
    """
    with zipfile.ZipFile(path) as archive:
        members = {name: _member(archive, f"{name}.npy") for name in ("meta", *names)}
        total, own = sum(member.file_size for member in members.values()), os.path.getsize(path)
        if total > max(_MOST_LOOSE, _MOST_RATIO * own):
            raise ValueError(f"its {own:,} bytes would unpack to {total:,}")
        if members["meta"].file_size > MOST_JSON:
            raise ValueError("its settings are too long")
        try:
            arrays = {name: _array(archive, member, name == "meta") for name, member in members.items()}
        except (OSError, ValueError, MemoryError):
            raise
        except Exception as error:  # damaged members fail in any way, in zipfile, zlib and numpy
            raise ValueError(str(error) or type(error).__name__) from error
    return parse_json(str(arrays.pop("meta"))), arrays


def _member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    found = [member for member in archive.infolist() if member.filename == name]
    if len(found) != 1:
        raise ValueError(f"it has {len(found)} members {name!r}, one was expected")
    if found[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"its member {name!r} is packed in a way that such files are not")
    return found[0]


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, text: bool) -> np.ndarray:
    """An array; its header is held against the size of the member before room is made for it."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read: Any = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read:
            raise ValueError(f"its member {member.filename!r} is in another version of the format")
        shape, _, dtype = read[version](file)
        if dtype.kind not in ("U" if text else "biuf") or any(side < 0 for side in shape):
            raise ValueError(f"its member {member.filename!r} holds {dtype}")
        asked, follow = math.prod(shape) * dtype.itemsize, member.file_size - file.tell()
        if asked != follow:
            raise ValueError(
                f"the header of its member {member.filename!r} asks for {asked:,} bytes, and {follow:,} follow"
            )
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def strings(values: object, name: str) -> tuple[str, ...]:
    """A tuple of strings, and never the letters of one string.

    Raises:
        ValueError: as said.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise ValueError(f"{name} must be a list of strings, got {type(values).__name__}.")
    found = tuple(values)
    others = [one for one in found if not isinstance(one, str)]
    if others:
        raise ValueError(f"{name} must be a list of strings, got a {type(others[0]).__name__} in it.")
    return found
