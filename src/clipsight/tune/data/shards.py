"""Tar files of pictures and captions ("webdataset"), read at any place: a sample is the members of one KEY.

| member | holds |
|---|---|
| KEY.jpg, .png, .webp, … | the picture, see `PICTURES` |
| KEY.txt | its caption |
| KEY.json | a record, see `records`; its captions count before KEY.txt |

Another name with one of these endings, such as KEY.input.jpg, is taken where there is no plain one and no second. Where
each sample begins is found once a file, and kept with a hash of its picture. Reading by place instead of in a stream
makes every shuffle whole and every resumed run exact, at the cost of a seek a picture.
"""

import glob
import json
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from clipsight.errors import PictureError, Unsupported
from clipsight.pictures import refusing_broken, shown
from clipsight.records import BadRow, Row, json_value
from clipsight.store import NAMED_LIMIT, Store, code_of, file_stamp
from clipsight.tune.data.gathering import Gathering
from clipsight.tune.data.options import Progress
from clipsight.tune.data.records import read_record

PICTURES = ("jpg", "jpeg", "jfif", "png", "webp", "avif", "bmp", "gif", "tif", "tiff", "ppm")
_MEMBER = re.compile(r"(?P<key>(?:.*/)?[^/.]+)\.(?P<kind>[^/]+)", re.DOTALL)
_Part = Literal["picture", "text", "record"]
_KINDS: dict[_Part, tuple[str, ...]] = {"picture": PICTURES, "text": ("txt",), "record": ("json",)}


@dataclass(kw_only=True)
class Sample:
    """What a shard has under one key.

    Attributes:
        start, size, mark: of the picture, in bytes, and a hash of them; start is -1 where there is none.
        text, record: of KEY.txt and KEY.json, undecoded JSON.
        names: of its members that could be picture, text or record, and what each would be.
    """

    key: str
    start: int = -1
    size: int = 0
    mark: str = ""
    text: str | None = None
    record: str | None = None
    names: list[tuple[str, str]] = field(default_factory=list)


def shard_files(pattern: str) -> tuple[Path, ...]:
    """The tar files of a pattern: one file, "{000000..000009}" or "{a,b}", or "*" and "?" as in a shell.

    Raises:
        FileNotFoundError: one that is named is not there, or none fits.
        Unsupported: braces, and the package that expands them is not installed.
    """
    names = list(_expanded(pattern))
    if any(sign in pattern for sign in "*?["):
        names = [found for name in names for found in sorted(glob.glob(name))]
    missing = [name for name in names if not os.path.isfile(name)]
    if missing or not names:
        what = f"{missing[0]!r} is not there" if missing else "no file fits"
        raise FileNotFoundError(
            f"the shards {pattern!r} were asked for, and {what}; correct the name, or the numbers in braces."
        )
    return tuple(map(Path, names))


def _expanded(pattern: str) -> Iterator[str]:
    if "{" not in pattern:
        return iter((pattern,))
    try:
        from braceexpand import braceexpand
    except ImportError:
        raise Unsupported(
            f'{pattern!r} has braces, and braceexpand is not installed: pip install "clipsight[tune]"; or write "*".'
        ) from None
    return braceexpand(pattern)


class ShardPictures:
    """Pictures of shards, by (shard, first byte, bytes, hash)."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)

    def __call__(self, place: Any) -> Image.Image:
        """The picture, opened and not yet decoded.

        Raises:
            PictureError: it is none, or its shard is gone or was changed since it was opened.
        """
        number, start, size, mark = place
        path = self._paths[number]
        name = shown(f"{path.name}@{start}")
        try:
            with path.open("rb") as file:
                file.seek(start)
                content = file.read(size)
        except OSError as error:
            raise PictureError(f"cannot read the picture {name}: {error}.") from error
        if _hash(content) != mark:
            raise PictureError(f"cannot read the picture {name}: the shard was changed since it was opened.")
        with refusing_broken(name, advice="write the shard again"):
            opened = Image.open(BytesIO(content))
        opened.filename = f"{path.name}@{start}"
        return opened

    def contents(self, places: Sequence[Any], progress: Progress | None = None) -> dict[Any, str]:
        """The hashes of the pictures' bytes, known since the shard was searched."""
        return {place: place[3] for place in places}


def gather_shards(
    paths: Sequence[Path], cache: Path | None, into: Gathering, progress: Progress | None = None
) -> None:
    """Samples of shards in their order.

    Args:
        cache: folder where what is found in each is kept; None keeps nothing.
    """
    store = None if cache is None else Store(cache, NAMED_LIMIT)
    for number, path in enumerate(paths):
        samples, broken = _contents(path, store)
        if broken:
            into.pass_over(path.name, len(samples) + 1, broken)
        for place, sample in enumerate(samples, 1):
            if into.full:
                return
            try:
                _check(sample)
                captions = read_record(_row(sample), own_roles=into.own_roles, text=sample.text)
                where = (number, sample.start, sample.size, sample.mark)
                into.add(where, captions, f"{path.name}:{sample.key}")
            except BadRow as error:
                into.pass_over(path.name, place, f"sample {sample.key}: {error}")
        if progress is not None:
            progress("shards", number + 1, len(paths))


def _check(sample: Sample) -> None:
    """Refuse a sample in which it is not clear what its picture, caption or record is."""
    for part in _KINDS:
        names = [name for name, kind in sample.names if kind == part]
        if len(names) > 1:
            raise BadRow(
                f"it has {len(names)} members for its {part}: {', '.join(names[:4])}. Members are called KEY.jpg, "
                "KEY.txt, KEY.json, and KEY ends at the first dot; name them so"
            )
    if sample.start < 0:
        raise BadRow(f"{sample.key} has no picture ({', '.join(PICTURES)})")
    if sample.size == 0:
        raise BadRow(f"the picture {sample.key} is empty")


def _row(sample: Sample) -> Row:
    if sample.text is not None and not sample.text.strip():
        raise BadRow("its caption is blank")
    try:
        value = json_value(sample.record) if sample.record is not None else {}
    except BadRow as error:
        raise BadRow(f"its record is {error}") from error
    return Row(value=value, line=0, key=sample.key)


def _contents(path: Path, store: Store | None) -> tuple[list[Sample], str]:
    """A shard's samples, and why it could not be read to its end, "" if it was."""
    if store is None:
        return _read(path)
    facts = {"file": file_stamp(path), "code": code_of("tune/data")}
    if (kept := store.get("shards", facts)) is not None:
        try:
            samples, broken = json.loads(kept)
            return [
                Sample(**{**one, "names": [tuple(name) for name in one["names"]]}) for one in samples
            ], broken
        except (ValueError, TypeError, KeyError):
            store.reject()
    samples, broken = _read(path)
    store.put("shards", facts, json.dumps([[asdict(one) for one in samples], broken]).encode())
    return samples, broken


def _read(path: Path) -> tuple[list[Sample], str]:
    """Every sample, with a hash of its picture: the whole file is read."""
    found: dict[str, Sample] = {}
    size = path.stat().st_size
    try:
        with tarfile.open(path, "r:") as shard:
            for member in shard:
                named = _MEMBER.fullmatch(member.name)
                if named is None or not member.isfile() or member.issparse():
                    continue
                if member.offset_data + member.size > size:
                    raise tarfile.ReadError("unexpected end of data")
                if (part := _part(named["kind"].lower())) is None:
                    continue
                sample = found.setdefault(named["key"], Sample(key=named["key"]))
                plain = "." not in named["kind"]
                exact = [name for name, kind in sample.names if kind == part and _is_plain(name)]
                if exact and not plain:
                    continue  # KEY.png beside KEY.mask.png: the former is meant
                if plain and not exact:
                    sample.names = [one for one in sample.names if one[1] != part]
                sample.names.append((member.name, part))
                content = shard.extractfile(member)
                assert content is not None  # it is a file
                _take(sample, part, member, content.read())
    except (tarfile.TarError, OSError, ValueError) as error:
        return list(found.values()), f"the file is no whole tar ({error}); compressed ones must be unpacked"
    return list(found.values()), ""


def _take(sample: Sample, part: _Part, member: tarfile.TarInfo, content: bytes) -> None:
    if part == "picture":
        sample.start, sample.size, sample.mark = member.offset_data, member.size, _hash(content)
    elif part == "text":
        sample.text = content.decode("utf-8-sig", "surrogateescape").strip()
    else:
        sample.record = content.decode("utf-8-sig", "surrogateescape")


def _part(kind: str) -> _Part | None:
    """What a member is by the last part of its name."""
    last = kind.rpartition(".")[2]
    return next((part for part, endings in _KINDS.items() if last in endings), None)


def _is_plain(name: str) -> bool:
    return name.rpartition("/")[2].count(".") == 1


def _hash(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()
