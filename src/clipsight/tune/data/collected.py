"""Examples that were opened: what each is, where its picture is found again, and what all of them are."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from hashlib import blake2b
from typing import Any, Protocol, runtime_checkable

from clipsight.errors import ClipsightWarning, PictureError
from clipsight.pictures import PictureSource
from clipsight.records import Malformed
from clipsight.roles.given import COLUMN_VERSION
from clipsight.tune.data.example import Example, Place
from clipsight.tune.data.gathering import Gathering
from clipsight.tune.data.options import NONE, OWN, DataOptions, Progress
from clipsight.tune.data.phrases import find_phrases


@runtime_checkable
class Pictures(Protocol):
    """Opens the pictures of a source by their places; can be sent to other processes."""

    def __call__(self, place: Place) -> PictureSource:
        """The picture of a place."""
        ...

    def contents(self, places: Sequence[Place], progress: Progress | None = None) -> Mapping[Place, str]:
        """A hash of what lies at each place."""
        ...


class Collected:
    """Examples by number, as `Examples` asks.

    Args:
        examples: their pictures are places. pictures: opens these.
        about: what they are, without the fingerprint. malformed: what of the source cannot be used.
        progress: told of pictures as they are hashed.

    Attributes:
        malformed: what was passed over, with file and line.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        pictures: Pictures,
        about: Mapping[str, Any],
        malformed: Sequence[Malformed],
        progress: Progress | None = None,
    ) -> None:
        self.malformed = tuple(malformed)
        self._examples, self._pictures, self._about = examples, pictures, about
        self._progress = progress

    @property
    def about(self) -> Mapping[str, Any]:
        """Plain data: name, count, pictures, malformed, roles ({extractor, version} or None), fingerprint.

        The fingerprint is a hash of the captions, their roles and foils, and of the bytes of the pictures, in the
        order of the examples: all pictures are read for it the first time.
        """
        return {**self._about, "fingerprint": self._known_fingerprint}

    @cached_property
    def _known_fingerprint(self) -> str:
        return self._fingerprint()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._examples)

    def __getitem__(self, index: int) -> Example:
        """The example of a number from 0.

        Raises:
            IndexError: no such number. PictureError: a picture of a shard that is none.
        """
        example = self._examples[index]
        try:
            return replace(example, picture=self._pictures(_place(example)))
        except PictureError as error:
            raise PictureError(f"{example.key}: {error}") from error

    def __getstate__(self) -> dict[str, Any]:
        """Without the caller's own function: other processes tell nobody."""
        return {**self.__dict__, "_progress": None}

    def _fingerprint(self) -> str:
        places = list(dict.fromkeys(map(_place, self._examples)))
        contents = self._pictures.contents(places, self._progress)
        digest = blake2b(digest_size=16)
        for one in self._examples:
            said = (contents[_place(one)], one.caption, one.foils, one.spans)
            digest.update(repr(said).encode(errors="surrogateescape"))
        return digest.hexdigest()


def collect(
    name: str,
    gathered: Gathering,
    pictures: Pictures,
    options: DataOptions,
    progress: Progress | None = None,
) -> Collected:
    """Examples of what a source gave, with their roles.

    What was passed over is warned of once; `Collected.malformed` has all.

    Raises:
        ValueError: nothing can be used.
        Unsupported: the extractor's package is not installed.
    """
    examples, malformed = gathered.examples, gathered.malformed
    if not examples:
        why = f"the first of {len(malformed):,}: {malformed[0]}" if malformed else "it is empty"
        raise ValueError(
            f"nothing in {name!r} can be trained on: {why}. Name the folder of its pictures as `images` if they lie "
            "elsewhere, or correct the file."
        )
    if malformed:
        warnings.warn(
            f"{len(malformed):,} records of {name!r} cannot be used and are left out, the first: {malformed[0]}; "
            f"{len(examples):,} examples are there.",
            ClipsightWarning,
            stacklevel=3,
        )
    examples, roles = _with_roles(gathered, options, progress)
    about = {
        "name": name,
        "count": len(examples),
        "pictures": len(set(map(_place, examples))),
        "malformed": len(malformed),
        "roles": roles,
    }
    return Collected(examples, pictures, about, malformed, progress)


def _with_roles(
    gathered: Gathering, options: DataOptions, progress: Progress | None
) -> tuple[list[Example], dict[str, str] | None]:
    """The examples with the roles of their words, and who found these."""
    if options.roles == NONE:
        return [replace(one, spans=None) for one in gathered.examples], None
    if gathered.stated and options.roles in OWN:
        return gathered.examples, {"extractor": "column", "version": COLUMN_VERSION}
    extractor = "rules" if options.roles == "auto" else options.roles
    captions = [one.caption for one in gathered.examples]
    spans, version = find_phrases(
        captions, extractor, cache=options.cache, processes=options.processes, progress=progress
    )
    made = [replace(one, spans=some) for one, some in zip(gathered.examples, spans, strict=True)]
    return made, {"extractor": extractor, "version": version}


def _place(example: Example) -> Place:
    place = example.picture
    assert isinstance(place, str | int | tuple)  # as sources give it
    return place
