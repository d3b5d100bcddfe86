"""Write files that are either complete or absent, and the two exact formats: npz and JSON numbers."""

import json
import os
import re
import secrets
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from clipsight.untrusted import MOST_JSON, parse_json, read_arrays

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed
    fcntl = None

_ADVICE = "give a file that save('….npz') wrote."
FORMAT = 1  # raised when a reader of the former number could no longer understand the file

_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{12}\.clipsight-tmp")
_SWEPT: set[Path] = set()
"""Folders in which this process has looked for what killed ones left."""


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Open a binary file that appears under `path` complete or not at all.

    The bytes go to a temporary name in the same folder, which is renamed when the block ends and
    removed when it raises. One that a killed process left is removed by the next that writes there.
    Without `overwrite` an existing file is kept, also one that appears while the block runs. A symbolic
    link is never written through nor replaced.

    Errors: FileExistsError (also for a symbolic link), FileNotFoundError (no such folder: none is created, a typing
    error should not make one), IsADirectoryError; the system's OSError, with the file's name, when the disk is
    full, the name too long or the folder not to be written in.

    >>> with atomic_write("map.bin") as file:
    ...     file.write(b"...")
    """
    target = Path(os.path.abspath(path))
    check_writable(path, overwrite=overwrite)
    _sweep(target.parent)
    try:
        with _temporary(target) as (file, temporary):
            yield file
            file.flush()
            os.fsync(file.fileno())
            if fcntl is None:
                file.close()  # Windows renames no open file
            _rename(
                temporary, target, path, overwrite
            )  # while it is locked: nobody sweeps it away in between
    except OSError as error:
        ours = error.filename is None or _TEMPORARY.fullmatch(os.path.basename(os.fsdecode(error.filename)))
        if error.errno is None or not ours:
            raise
        raise OSError(error.errno, f"cannot write, {error.strerror}", os.fspath(path)) from error


def check_writable(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Raise what `atomic_write` would raise at once: for callers with long work before the writing."""
    target = Path(os.path.abspath(path))
    if target.is_symlink():
        raise FileExistsError(
            f"{str(path)!r} is a symbolic link to {os.readlink(target)!r} and was kept; save to that name, or remove "
            "the link first."
        )
    if target.is_dir():
        raise IsADirectoryError(
            f"{str(path)!r} is a folder; give the name of a file in it, such as 'map.png'."
        )
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"cannot write {str(path)!r}: the folder {str(Path(path).parent)!r} does not exist; "
            "create it first or correct the name."
        )
    try:
        target.lstat()
    except FileNotFoundError:
        return
    except OSError as error:  # a name too long, a folder that may not be entered
        raise OSError(error.errno, f"cannot write, {error.strerror}", os.fspath(path)) from error
    if not overwrite:
        raise _exists(path)


def _exists(path: str | os.PathLike[str]) -> FileExistsError:
    return FileExistsError(f"{str(path)!r} exists and was kept; choose another name or pass overwrite=True.")


@contextmanager
def _temporary(target: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file beside `target`, locked while it is open, and its name; what is left of it is removed."""
    while True:
        # of the name only so much that even with four bytes a character it stays below the 255 bytes of a name
        temporary = target.with_name(f".{target.name[:50]}.{secrets.token_hex(6)}.clipsight-tmp")
        try:
            with open(temporary, "xb") as file:
                if fcntl is not None:
                    with suppress(OSError):  # a file system without locks: nothing is swept there either
                        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                if temporary.exists():  # else another process swept it away before it was locked
                    yield file, temporary
                    return
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()


def _sweep(folder: Path) -> None:
    """Remove temporary files that a killed process left, once for each folder and process."""
    if folder in _SWEPT:
        return
    _SWEPT.add(folder)
    with suppress(OSError):
        for entry in os.scandir(folder):
            if _TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    _remove_abandoned(entry.path)


def _remove_abandoned(temporary: str) -> None:
    """Remove a temporary file unless somebody writes it; OSError if somebody does."""
    if fcntl is not None:
        with open(temporary, "rb") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(temporary)
    else:
        os.unlink(temporary)


def _rename(temporary: Path, target: Path, asked: str | os.PathLike[str], overwrite: bool) -> None:
    if overwrite:
        os.replace(temporary, target)
    else:
        _rename_to_new(temporary, target, asked)


def _rename_to_new(temporary: Path, target: Path, asked: str | os.PathLike[str]) -> None:
    try:
        os.link(temporary, target)  # unlike rename, fails when another program made the file meanwhile
    except FileExistsError:
        raise _exists(asked) from None
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise _exists(asked) from None
        os.replace(temporary, target)


def suffix_of(path: str | os.PathLike[str], known: Sequence[str]) -> str:
    """The lower-case suffix of `path`; ValueError listing `known` when it is none of them."""
    suffix = Path(path).suffix.lower()
    if suffix not in known:
        got = f"the suffix {suffix!r}" if suffix else "no suffix"
        raise ValueError(
            f"cannot save as {str(path)!r}: it has {got}, and the suffix chooses the format; "
            f"end the name with one of {', '.join(known)}."
        )
    return suffix


def json_numbers(values: np.ndarray) -> Any:
    """Nested lists with the shortest decimals that give back each float32; None for NaN and infinity."""
    exact = np.asarray(values, np.float32)
    decimals = exact.astype("U32").astype(np.float64).astype(object)
    decimals[~np.isfinite(exact)] = None
    return decimals.tolist()


def json_bytes(data: Any) -> bytes:
    """UTF-8 JSON with a final newline; numbers that JSON cannot hold raise ValueError."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, indent=1)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def write_npz(file: BinaryIO, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Arrays as they are and `meta` as one JSON string: readable with allow_pickle=False."""
    np.savez_compressed(file, meta=np.array(json.dumps(meta)), **arrays)  # pyright: ignore[reportArgumentType]


def read_npz(
    path: str | os.PathLike[str], names: Sequence[str], *, kind: str
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The inverse of `write_npz`; ValueError naming the file when it is not such a file of this `kind`."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"{str(path)!r} does not exist; {_ADVICE}")
    try:
        meta, arrays = read_arrays(path, names)
    except (OSError, ValueError, MemoryError, zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"{str(path)!r} is not a complete clipsight result ({error}); {_ADVICE}") from error
    check_format(path, meta, kind)
    return meta, arrays


def check_format(path: str | os.PathLike[str], meta: object, kind: str) -> None:
    """Refuse a file of another program, of another `kind`, or of a newer clipsight, with a ValueError."""
    if not isinstance(meta, dict) or type(meta.get("format")) is not int or meta["format"] < 1:
        raise ValueError(f"{str(path)!r} is not a complete clipsight result (it has no format); {_ADVICE}")
    if meta.get("kind") != kind:
        raise ValueError(f"{str(path)!r} holds {str(meta.get('kind'))[:80]!r}, not {kind!r}; {_ADVICE}")
    if meta["format"] > FORMAT:
        raise ValueError(
            f"{str(path)!r} has format {meta['format']} and this clipsight reads up to {FORMAT}; "
            "it was written by a newer clipsight: upgrade."
        )


def read_json_result(path: str | os.PathLike[str], kind: str) -> dict[str, Any]:
    """A result that was saved as JSON; ValueError naming the file when it is none of this `kind`."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"{str(path)!r} does not exist; {_ADVICE}")
    try:
        if (size := os.path.getsize(path)) > MOST_JSON:
            raise ValueError(f"it has {size:,} bytes")
        data = parse_json(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{str(path)!r} is not JSON of a result ({error}); give a file that save wrote."
        ) from error
    check_format(path, data, kind)
    return data


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """What parts of a file that do not fit each other raise, as one ValueError that names the file."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        raise ValueError(
            f"{str(path)!r} lacks a part of a result, or one of them does not fit: {str(error)[:300]}; {_ADVICE}"
        ) from error
