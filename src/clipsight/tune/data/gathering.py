"""Entries as a source gives them: counted, limited, of one kind, and where one cannot be used, said so."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from clipsight.records import BadRow, Malformed
from clipsight.tune.data.example import RoleSpan
from clipsight.tune.data.options import OWN, DataOptions
from clipsight.tune.data.records import Said

Place = str | int | tuple[int, int, int]
"""Where a source finds a picture again: a file, a number, or (shard, first byte, bytes)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One example, its picture unread."""

    place: Place
    caption: str
    spans: tuple[RoleSpan, ...] | None
    foils: tuple[str, ...]
    key: str


class Gathering:
    """Takes what a source gives.

    Attributes:
        entries: of the examples. malformed: what was passed over.
        own_roles: whether the source's own roles are read.
    """

    def __init__(self, options: DataOptions) -> None:
        self.entries: list[Entry] = []
        self.malformed: list[Malformed] = []
        self.own_roles = options.roles in OWN
        self._options = options
        self._taken: Counter[Place] = Counter()

    @property
    def full(self) -> bool:
        """Whether no more are wanted."""
        return self._options.limit is not None and len(self.entries) >= self._options.limit

    @property
    def stated(self) -> bool:
        """Whether the entries have roles of their own."""
        return bool(self.entries) and self.entries[0].spans is not None

    def add(self, place: Place, captions: Sequence[Said], key: str) -> None:
        """Captions of a picture, as many as are still wanted.

        Raises:
            BadRow: some have roles and others not.
        """
        for said in captions:
            if self.own_roles:
                self._check(said)
            if self.full:
                return
            if self._options.per_picture is not None:
                if self._taken[place] == self._options.per_picture:
                    return
                self._taken[place] += 1
            self.entries.append(
                Entry(place=place, caption=said.caption, spans=said.spans, foils=said.foils, key=key)
            )

    def pass_over(self, file: str, line: int, reason: str) -> None:
        """Note what cannot be used."""
        self.malformed.append(Malformed(file=file, line=line, reason=reason))

    def _check(self, said: Said) -> None:
        if self._options.roles == "column" and said.spans is None:
            raise BadRow("it has no columns of roles, which roles='column' asks for")
        if self.entries and (said.spans is not None) != self.stated:
            raise BadRow(
                f"it has {'no ' if self.stated else ''}roles of its own, unlike the first; data is of one kind"
            )
