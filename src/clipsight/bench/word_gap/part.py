"""What was measured of some captions: their words with roles and scores, and what removing and replacing words did.

A part is what is held in memory and written at once. It says nothing yet of groups; `statistics` reads parts in turn.
"""

import zipfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from clipsight.results import atomic_write

GROUPS = ("object", "attribute", "relation", "other", "mark")
"""Roles by number, as arrays have them; marks of punctuation are no words, but take their share."""
OBJECT, ATTRIBUTE, RELATION, OTHER, MARK = range(len(GROUPS))

REMOVALS = ("object", "attribute", "relation", "composition")
"""Groups of words that are removed together; composition is attributes and relations."""

_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredPart:
    """Measures of N captions with W words and marks, by M columns (a method, or a layer of it), and F foils.

    Attributes:
        captions: the texts. clusters: what is drawn together for intervals, such as the captions of one picture.
        caption: of each word, the number of its caption, ascending. role: a number of `GROUPS`.
        words: as written. position: 0 for the first word of a caption, 1 for the last. pieces: tokens of the word.
        scores: raw and signed.
        similarity: cosine of picture and caption; NaN without a picture.
        removed: fall of the similarity when all words of a group of `REMOVALS` are taken out of the text; without a
            picture one minus the cosine of the two texts. NaN where a caption has no such word, or only such words.
        foil_of: of each foil, the number of its caption's row here. foil_kinds: as `clipsight.roles.foils` has them.
        foil_drops: fall of the similarity when the caption that the foil was made from is replaced by it; without a
            picture as for `removed`.
        cut: captions whose end the model does not see.
        broken: captions that were left out, and why, as `file:line: reason`.
    """

    captions: tuple[str, ...]
    clusters: tuple[str, ...]
    caption: Int[np.ndarray, " W"]
    role: Int[np.ndarray, " W"]
    words: tuple[str, ...]
    position: Float[np.ndarray, " W"]
    pieces: Float[np.ndarray, " W"]
    scores: Float[np.ndarray, "W M"]
    similarity: Float[np.ndarray, " N"]
    removed: Float[np.ndarray, "N 4"]
    foil_of: Int[np.ndarray, " F"]
    foil_kinds: tuple[str, ...]
    foil_drops: Float[np.ndarray, " F"]
    cut: int = 0
    broken: tuple[str, ...] = ()

    def __len__(self) -> int:
        """The number of captions."""
        return len(self.captions)

    def save(self, path: Path, mark: str) -> None:
        """Write a file that holds the part and a mark by which `load` knows it."""
        arrays = {one.name: np.asarray(getattr(self, one.name)) for one in fields(self)}
        with atomic_write(path, overwrite=True) as file:
            np.savez_compressed(file, mark=np.array(mark), **arrays)  # pyright: ignore[reportArgumentType]

    @classmethod
    def load(cls, path: Path, mark: str) -> "MeasuredPart | None":
        """What `save` wrote with the same mark; None where there is no such file, or another or broken one."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                if str(archive["mark"]) != mark:
                    return None
                read = {one.name: archive[one.name] for one in fields(cls)}
        except _UNREADABLE:
            return None
        lists = {
            name: tuple(read[name].tolist())
            for name in ("captions", "clusters", "words", "foil_kinds", "broken")
        }
        return cls(**{**read, **lists, "cut": int(read["cut"])})


def sums(
    values: Float[np.ndarray, "W K"], index: Int[np.ndarray, " W"], count: int
) -> Float[np.ndarray, "N K"]:
    """Sums of rows that have the same index, 0 for an index that no row has."""
    found = np.zeros((count, values.shape[1]))
    np.add.at(found, index, values)
    return found
