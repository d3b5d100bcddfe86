"""How training data is opened, and how its caller is told how far that is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clipsight.roles.extract import EXTRACTORS
from clipsight.world import check_request

Progress = Callable[[str, int, int], None]
"""Called with what is done, how many are done, and of how many."""

OWN, NONE = ("auto", "column"), "none"
"""Settings under which the data's own roles are read; the one under which no roles are."""


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """How training data is opened.

    Attributes:
        images: folder that pictures are named from; None is the file's own.
        roles: which words are objects, attributes, relations: "auto" is what the data says itself, else "rules"; an
            extractor's id; "none" for objectives that do not ask.
        per_picture: at most so many captions of a picture, the first ones; None takes all.
        limit: at most so many examples; None takes all.
        cache: folder for what is slow to make: roles, scenes of the world, contents of shards. It is made when it is
            not there. None keeps these in memory, and they are made each time.
        processes: how many parse captions and draw scenes. Above 1 a script needs `if __name__ == "__main__":`, as
            torch's own workers do.
        scene_size: side of the world's pictures in pixels.

    Raises:
        ValueError: an unknown extractor, or a number below 1.
    """

    images: Path | None = None
    roles: str = "auto"
    per_picture: int | None = None
    limit: int | None = None
    cache: Path | None = None
    processes: int = 1
    scene_size: int = 112

    def __post_init__(self) -> None:
        known = ("auto", NONE, *EXTRACTORS)
        if self.roles not in known:
            raise ValueError(f"roles is {self.roles!r}; give one of {', '.join(known)}.")
        numbers = {"per_picture": self.per_picture, "limit": self.limit, "processes": self.processes}
        if low := {name: number for name, number in numbers.items() if number is not None and number < 1}:
            said = " and ".join(f"{name} is {number}" for name, number in low.items())
            raise ValueError(f"{said}; give 1 or more, or leave it out.")
        check_request("train", self.scene_size, 0)
