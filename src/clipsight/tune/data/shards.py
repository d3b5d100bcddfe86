"""Tar files of pictures and captions ("webdataset"), read at any place: a sample is the members of one KEY.

| member | holds |
|---|---|
| KEY.jpg, .jpeg, .png, .webp | the picture |
| KEY.txt | its caption |
| KEY.json | a record, see `records`; its captions count before KEY.txt |

Where each sample begins is found once a file, and kept. Reading by place instead of in a stream makes every shuffle
whole and every resumed run exact, at the cost of a seek a picture.
"""

import glob
import json
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from clipsight.errors import PictureError, Unsupported
from clipsight.pictures.decoding import refusing_broken
from clipsight.pictures.naming import shown
from clipsight.records import BadRow, Row
from clipsight.results import atomic_write
from clipsight.tune.data.gathering import Gathering
from clipsight.tune.data.options import Progress
from clipsight.tune.data.records import read_record

PICTURES = ("jpg", "jpeg", "png", "webp")
_FORMAT = 1
_MEMBER = re.compile(r"(?P<key>(?:.*/)?[^/.]+)\.(?P<kind>[^/]+)", re.DOTALL)


@dataclass(kw_only=True)
class Sample:
    """What a shard has under one key.

    Attributes:
        start, size: of the picture, in bytes; -1 where there is none.
        text, record: of KEY.txt and KEY.json, undecoded JSON.
    """

    key: str
    start: int = -1
    size: int = 0
    text: str | None = None
    record: str | None = None


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
    """Pictures of shards, by (shard, first byte, bytes)."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)

    def __call__(self, place: Any) -> Image.Image:
        """The picture, opened and not yet decoded.

        Raises:
            PictureError: it is none, or its shard is gone.
        """
        number, start, size = place
        path = self._paths[number]
        name = shown(f"{path.name}@{start}")
        try:
            with path.open("rb") as file:
                file.seek(start)
                content = file.read(size)
        except OSError as error:
            raise PictureError(f"cannot read the picture {name}: {error}.") from error
        with refusing_broken(name, advice="write the shard again"):
            opened = Image.open(BytesIO(content))
        opened.filename = f"{path.name}@{start}"
        return opened


def gather_shards(
    paths: Sequence[Path], cache: Path | None, into: Gathering, progress: Progress | None = None
) -> None:
    """Samples of shards in their order.

    Args:
        cache: folder where what is found in each is kept; None keeps nothing.
    """
    for number, path in enumerate(paths):
        samples, broken = _contents(path, cache)
        if broken:
            into.pass_over(path.name, len(samples) + 1, broken)
        for place, sample in enumerate(samples, 1):
            if into.full:
                return
            try:
                if sample.start < 0:
                    raise BadRow(f"{sample.key} has no picture ({', '.join(PICTURES)})")
                captions = read_record(_row(sample), own_roles=into.own_roles, text=sample.text)
                into.add((number, sample.start, sample.size), captions, f"{path.name}:{sample.key}")
            except BadRow as error:
                into.pass_over(path.name, place, f"sample {sample.key}: {error}")
        if progress is not None:
            progress("shards", number + 1, len(paths))


def _row(sample: Sample) -> Row:
    try:
        value = json.loads(sample.record) if sample.record is not None else {}
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadRow(f"its record is not JSON ({error})") from error
    if sample.text is not None and not sample.text.strip():
        raise BadRow("its caption is blank")
    return Row(value=value, line=0, key=sample.key)


def _contents(path: Path, cache: Path | None) -> tuple[list[Sample], str]:
    """A shard's samples, and why it could not be read to its end, "" if it was."""
    facts = path.stat()
    about = f"{_FORMAT} {path.resolve()} {facts.st_size} {facts.st_mtime_ns}"
    kept = None
    if cache is not None:
        kept = cache / "shards" / f"{blake2b(about.encode(), digest_size=16).hexdigest()}.json"
        if kept.is_file():
            samples, broken = json.loads(kept.read_text(encoding="utf-8"))
            return [Sample(**one) for one in samples], broken
    samples, broken = _read(path)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(kept, overwrite=True) as file:
            file.write(json.dumps([[asdict(one) for one in samples], broken]).encode())
    return samples, broken


def _read(path: Path) -> tuple[list[Sample], str]:
    found: dict[str, Sample] = {}
    size = path.stat().st_size
    try:
        with tarfile.open(path, "r:") as shard:
            for member in shard:
                named = _MEMBER.fullmatch(member.name)
                if named is None or not member.isfile():
                    continue
                if member.offset_data + member.size > size:
                    raise tarfile.ReadError("unexpected end of data")
                sample = found.setdefault(named["key"], Sample(key=named["key"]))
                kind = named["kind"].lower()
                if kind in PICTURES:
                    sample.start, sample.size = member.offset_data, member.size
                elif kind in ("txt", "json"):
                    content = shard.extractfile(member)
                    assert content is not None  # it is a file
                    text = content.read().decode("utf-8", "replace")
                    if kind == "txt":
                        sample.text = text.strip()
                    else:
                        sample.record = text
    except tarfile.TarError as error:
        return list(found.values()), f"the file is no whole tar ({error}); compressed ones must be unpacked"
    return list(found.values()), ""
