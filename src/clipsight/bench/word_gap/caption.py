"""A caption of a corpus, with what belongs to it."""

from dataclasses import dataclass
from typing import NamedTuple

from clipsight.pictures import PictureSource
from clipsight.roles.foils import FOIL_KINDS, make_foils
from clipsight.roles.schema import CaptionRoles


class FoilPair(NamedTuple):
    """A caption and one made false by a small change, of one of SugarCrepe's seven kinds."""

    kind: str
    caption: str
    foil: str


@dataclass(frozen=True, kw_only=True, eq=False)
class CorpusCaption:
    """One caption.

    Attributes:
        file, line: where it stands; 0 for what is drawn when needed.
        cluster: captions of one cluster are drawn together for intervals: those of one picture.
        picture: None in a corpus of captions alone.
    """

    file: str
    line: int
    caption: str
    roles: CaptionRoles
    cluster: str
    picture: PictureSource | None = None
    foils: tuple[FoilPair, ...] = ()


def foils_of(caption: str, seed: int = 0) -> tuple[FoilPair, ...]:
    """Foils of a caption of which nothing but the words is known."""
    return tuple(
        FoilPair(foil.kind, foil.caption, foil.foil)
        for foil in make_foils(caption, FOIL_KINDS, seed=seed).made
    )
