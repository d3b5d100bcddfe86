"""Examples that were opened: what each is, and where its picture is found again."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from clipsight.errors import ClipsightWarning, PictureError
from clipsight.pictures import PictureSource
from clipsight.records import Malformed
from clipsight.roles.given import COLUMN_VERSION
from clipsight.tune.data.example import Example
from clipsight.tune.data.gathering import Entry, Gathering
from clipsight.tune.data.options import NONE, OWN, DataOptions, Progress
from clipsight.tune.data.role_cache import Spans, cached_roles

OpenPicture = Callable[[Any], PictureSource]
"""From an entry's place to its picture; can be sent to other processes."""


class Collected:
    """Examples by number, as `Examples` asks.

    Args:
        entries: one an example. spans: the roles of each, None where nobody has looked.
        open_picture: see above. about: what they are. malformed: what of the source cannot be used.

    Attributes:
        malformed: what was passed over, with file and line.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        spans: Sequence[Spans] | None,
        open_picture: OpenPicture,
        about: Mapping[str, Any],
        malformed: Sequence[Malformed],
    ) -> None:
        self.malformed = tuple(malformed)
        self._entries, self._spans, self._open, self._about = entries, spans, open_picture, about

    @property
    def about(self) -> Mapping[str, Any]:
        """Plain data: name, count, pictures, malformed, roles ({extractor, version} or None), fingerprint."""
        return self._about

    def __len__(self) -> int:
        """How many there are."""
        return len(self._entries)

    def __getitem__(self, index: int) -> Example:
        """The example of a number from 0.

        Raises:
            IndexError: no such number. PictureError: a picture of a shard that is none.
        """
        entry = self._entries[index]
        try:
            picture = self._open(entry.place)
        except PictureError as error:
            raise PictureError(f"{entry.key}: {error}") from error
        return Example(
            picture=picture,
            caption=entry.caption,
            spans=self._spans[index] if self._spans is not None else None,
            foils=entry.foils,
            key=entry.key,
        )


def collect(
    name: str,
    gathered: Gathering,
    open_picture: OpenPicture,
    options: DataOptions,
    progress: Progress | None = None,
) -> Collected:
    """Examples of what a source gave, with their roles.

    What was passed over is warned of once; `Collected.malformed` has all.

    Raises:
        ValueError: nothing can be used.
        Unsupported: the extractor's package is not installed.
    """
    entries, malformed = gathered.entries, gathered.malformed
    if not entries:
        why = f"the first of {len(malformed):,}: {malformed[0]}" if malformed else "it is empty"
        raise ValueError(
            f"nothing in {name!r} can be trained on: {why}. Name the folder of its pictures as `images` if they lie "
            "elsewhere, or correct the file."
        )
    if malformed:
        warnings.warn(
            f"{len(malformed):,} records of {name!r} cannot be used and are left out, the first: {malformed[0]}; "
            f"{len(entries):,} examples are there.",
            ClipsightWarning,
            stacklevel=3,
        )
    spans, roles = _roles(gathered, options, progress)
    return Collected(
        entries,
        spans,
        open_picture,
        {
            "name": name,
            "count": len(entries),
            "pictures": len({entry.place for entry in entries}),
            "malformed": len(malformed),
            "roles": roles,
            "fingerprint": _fingerprint(entries, spans),
        },
        malformed,
    )


def _roles(
    gathered: Gathering, options: DataOptions, progress: Progress | None
) -> tuple[list[Spans] | None, dict[str, str] | None]:
    """The roles of each entry, and who found them."""
    if options.roles == NONE:
        return None, None
    if gathered.stated and options.roles in OWN:
        said = [entry.spans for entry in gathered.entries if entry.spans is not None]
        return said, {"extractor": "column", "version": COLUMN_VERSION}
    extractor = "rules" if options.roles == "auto" else options.roles
    captions = [entry.caption for entry in gathered.entries]
    spans, version = cached_roles(
        captions, extractor, cache=options.cache, processes=options.processes, progress=progress
    )
    return spans, {"extractor": extractor, "version": version}


def _fingerprint(entries: Sequence[Entry], spans: Sequence[Spans] | None) -> str:
    """A hash of captions, roles, foils and the names of pictures, in their order; of no pixels."""
    digest = blake2b(digest_size=8)
    for index, entry in enumerate(entries):
        said = (entry.key, entry.caption, entry.foils, spans[index] if spans is not None else None)
        digest.update(repr(said).encode(errors="surrogateescape"))
    return digest.hexdigest()
