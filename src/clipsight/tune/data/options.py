"""Options of training data, and how its caller is told about progress. Loads neither torch nor numpy."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Progress = Callable[[str, int, int], None]
"""Called with what is done, how many are done, and of how many."""

OWN, NONE = ("auto", "column"), "none"
"""Settings under which the data's own roles are read; the one under which no roles are."""

Match = Literal["overlap", "first_bpe"]
Drop = Literal["none", "in_on", "all"]


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """How pairs of image and caption are opened.

    Raises:
        ValueError: a number below 1, or scenes too small to draw.
    """

    images: Path | None = None
    """Folder that image paths are relative to. Defaults to the folder of the data file."""

    per_picture: int | None = None
    """Maximum number of captions per image; the first ones are used."""

    limit: int | None = None
    """Maximum number of pairs."""

    cache: Path | None = None
    """Folder that keeps what is slow to make: roles, rendered scenes, shard indices. None keeps these in memory."""

    processes: int = 1
    """Processes that parse captions and render scenes. More than 1 needs `if __name__ == "__main__":` in a script."""

    scene_size: int = 112
    """Side of rendered emoji-world scenes, in pixels."""

    def __post_init__(self) -> None:
        numbers = {"per_picture": self.per_picture, "limit": self.limit, "processes": self.processes}
        if low := {name: number for name, number in numbers.items() if number is not None and number < 1}:
            said = " and ".join(f"{name} is {number}" for name, number in low.items())
            raise ValueError(f"{said}; give 1 or more, or leave it out.")
        if self.scene_size != PairOptions.scene_size:
            from clipsight.world import check_request

            check_request("train", self.scene_size, 0)


@dataclass(frozen=True, kw_only=True)
class DataOptions(PairOptions):
    """How training data is opened.

    Raises:
        ValueError: an unknown extractor, a number below 1, or scenes too small to draw.
    """

    roles: str = "auto"
    """Source of object, attribute and relation labels: `rules`, `spacy`, `textblob`, or `none` for losses that need no
    labels. `auto` uses labels that come with the data and falls back to `rules`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.roles not in ("auto", NONE):
            from clipsight.roles.extract import EXTRACTORS

            known = ("auto", NONE, *EXTRACTORS)
            if self.roles not in known:
                raise ValueError(f"roles is {self.roles!r}; give one of {', '.join(known)}.")


@dataclass(frozen=True, kw_only=True)
class Matching:
    """How role phrases are matched to tokens.

    Raises:
        ValueError: an unknown setting.
    """

    match: Match = "overlap"
    """`overlap` takes the tokens that share a character with the phrase. `first_bpe` takes the first occurrence of the
    phrase's own token ids, as the successor of CLIP-CAE does: only the first of two equal words, and nothing where the
    words were split differently."""

    drop_bare_prepositions: Drop = "none"
    """Single-word prepositions that do not count as relations: `none` of them, `in_on` ("in" and "on"), or `all`."""

    def __post_init__(self) -> None:
        for value, known in (
            (self.match, get_args(Match)),
            (self.drop_bare_prepositions, get_args(Drop)),
        ):
            if value not in known:
                raise ValueError(f"{value!r} is not known; give one of {', '.join(known)}.")
