"""Contact sheets: many small pictures, each with a line above and a line below, under a headline."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from .layout import FAINT, INK, QUIET, Block, beside, page, picture, stack, text

MARGIN, GAP = 18, 14


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A picture with a line above and a line below."""

    picture: Image.Image
    head: str = ""
    foot: str = ""


def contact_sheet(
    tiles: Sequence[Tile], columns: int, said: str = "", notes: Sequence[str] = (), *, gap: int = GAP
) -> Image.Image:
    """Tiles in rows beneath a headline, notes at the foot; RGB."""
    wide = max(tile.picture.width for tile in tiles)
    rows = [tiles[k : k + columns] for k in range(0, len(tiles), columns)]
    block = stack(
        text(said, 18, colour=INK, bold=True) if said else None,
        *(tile_row(row, columns, gap) for row in rows),
        text(notes, 13, colour=FAINT) if notes else None,
        gap=gap,
    )
    return page(block, 2 * MARGIN + columns * (wide + gap) - gap, MARGIN)


def tile_row(tiles: Sequence[Tile], columns: int, gap: int = GAP) -> Block:
    """Tiles side by side, as many as fill a row or fewer."""
    blank = [text("")] * (columns - len(tiles))
    return beside(*map(_drawn, tiles), *blank, gap=gap, shares=[1] * columns)


def _drawn(tile: Tile) -> Block:
    return stack(
        text(tile.head, 15, colour=INK, bold=True, most=1) if tile.head else None,
        picture(tile.picture),
        text(tile.foot, 13, colour=QUIET, most=2) if tile.foot else None,
        gap=5,
    )
