"""Examples as a source gives them: counted, limited, of one kind, and where one cannot be used, said so."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from clipsight.records import BadRow, Malformed
from clipsight.tune.data.example import Example, Place
from clipsight.tune.data.options import OWN, DataOptions


class Gathering:
    """Takes what a source gives.

    Attributes:
        examples: their pictures are places. malformed: what was passed over.
        own_roles: whether the source's own roles are read.
    """

    def __init__(self, options: DataOptions) -> None:
        self.examples: list[Example] = []
        self.malformed: list[Malformed] = []
        self.own_roles = options.roles in OWN
        self._options = options
        self._taken: Counter[Place] = Counter()

    @property
    def full(self) -> bool:
        """Whether no more are wanted."""
        return self._options.limit is not None and len(self.examples) >= self._options.limit

    @property
    def stated(self) -> bool:
        """Whether the examples have roles of their own."""
        return bool(self.examples) and self.examples[0].spans is not None

    def add(self, place: Place, captions: Sequence[Example], key: str) -> None:
        """The captions of a picture, as many as are still wanted.

        Raises:
            BadRow: some have roles and others not.
        """
        for one in captions:
            if self.own_roles:
                self._check(one)
            if self.full:
                return
            if self._options.per_picture is not None:
                if self._taken[place] == self._options.per_picture:
                    return
                self._taken[place] += 1
            self.examples.append(replace(one, picture=place, key=key))

    def pass_over(self, file: str, line: int, reason: str) -> None:
        """Note what cannot be used."""
        self.malformed.append(Malformed(file=file, line=line, reason=reason))

    def _check(self, one: Example) -> None:
        if self._options.roles == "column" and one.spans is None:
            raise BadRow("it has no columns of roles, which roles='column' asks for")
        if self.examples and (one.spans is not None) != self.stated:
            raise BadRow(
                f"it has {'no ' if self.stated else ''}roles of its own, unlike the first; data is of one kind"
            )
