"""An interaction as a sheet, as a page, and in notebooks."""

from typing import TYPE_CHECKING

from PIL import Image

from clipsight.draw import (
    LEGEND,
    Panel,
    Row,
    arrange,
    colour_bar,
    compose,
    heat,
    layout,
    number,
    printable,
    strip,
    thumbnail,
    typeset,
)
from clipsight.draw.caption import bar_rows
from clipsight.draw.sheet import MARGIN
from clipsight.report import data_uri, render

from .io import json_numbers
from .words_facts import segments, spaced

if TYPE_CHECKING:
    from .interaction import Interaction

PICTURE_SIDE = 900
NOTEBOOK_WIDTH = 1100
PAIRS = "words × patches"


def parts_of(found: "Interaction") -> list[tuple[str, float]]:
    """(name, value) of what makes up the cosine, the pairs first."""
    return [(PAIRS, found.pairs), *found.rest.items()] if found.additive else []


def summary(found: "Interaction") -> str:
    """The cosine and what its parts leave of it, in one line."""
    said = f"cosine {number(float(found.cosine))}"
    if not found.additive:
        return f"{said} · {found.unit}"
    return f"{said} · {PAIRS} {number(found.pairs)} of it · all parts add up to within {found.error:.0e}"


def interaction_sheet(found: "Interaction") -> Image.Image:
    """The caption in colour above, one map for each content word on one scale, bars of what makes up the cosine."""
    shown = found.shown_words()
    room = arrange(len(shown) + 1, found.image.shape[1] / found.image.shape[0])
    height, width = found.image.shape[:2]
    first = Panel(
        title=typeset.readable(found.source) if found.source else "the picture",
        picture=thumbnail(found.image, (room.width, room.height)),
        below=(layout.text([f"{width} × {height} px"]),),
    )
    panels = [first]
    for k in shown:
        word = found.words[k]
        below = (
            colour_bar(found.scale_of(k), found.unit, room.width),
            layout.text(
                [f"{number(word.score)} over the whole picture{f' · {word.role}' if word.role else ''}"]
            ),
        )
        drawn = found.overlay(k, scale="shared", size=room.size)
        panels.append(Panel(title=typeset.readable(word.text), picture=drawn, below=below))
    foot = ["One scale for all maps.", *map(printable, found.trust), found.provenance.line()]
    sheet = compose(panels, [*foot, *found.provenance.notes], room, _bars(found))
    head = layout.stack(
        layout.text(summary(found), colour=layout.QUIET),
        strip(tuple(segments(found))),  # pyright: ignore[reportArgumentType]  it has what is asked of captions
        layout.text(LEGEND, colour=layout.FAINT) if found.roles_by else None,
        gap=6,
    )
    return layout.glued([layout.page(head, sheet.width, MARGIN), sheet], 0, align="left", down=True)


def _bars(found: "Interaction") -> layout.Block | None:
    parts = parts_of(found)
    if not parts:
        return None
    longest = max(abs(value) for _, value in parts) or 1.0
    rows = [Row(name=name, role="", figure=number(value), fraction=value / longest) for name, value in parts]
    title = f"What makes up the cosine of {number(float(found.cosine))}"
    return layout.stack(layout.text(title, colour=layout.INK, bold=True), bar_rows(rows), gap=6)


def interaction_page(found: "Interaction") -> str:
    """One page: choose words and see where, choose a region and see which words."""
    picture = thumbnail(found.image, (PICTURE_SIDE, PICTURE_SIDE))
    numbers, stretches = {id(word): k for k, word in enumerate(found.words)}, []
    at = {word.start: numbers[id(word)] for word in found.words}
    place = 0
    for one in segments(found):  # pyright: ignore[reportArgumentType]
        word = at.get(place) if one.fraction is not None else None
        stretches.append({**vars(one), "text": spaced(one.text), "word": word})
        place += len(one.text)
    longest = max((abs(value) for _, value in parts_of(found)), default=1.0) or 1.0
    bars = [
        {"name": name, "value": number(value), "wide": 100 * abs(value) / longest, "up": value >= 0}
        for name, value in parts_of(found)
    ]
    return render(
        "interaction.html.j2",
        name=printable(found.source) if found.source else "picture",
        photo=data_uri(heat.backdrop(picture), "JPEG"),
        summary=summary(found),
        stretches=stretches,
        legend=LEGEND if found.roles_by else "",
        bars=bars,
        trust=list(map(printable, found.trust)),
        data={
            "unit": found.unit,
            "words": [printable(word.text) for word in found.words],
            "roles": list(found.roles),
            "maps": json_numbers(found.word_maps.numpy()),
        },
        made=found.provenance.rows(),
    )


def interaction_notebook(found: "Interaction") -> str:
    """The sheet, and how it was made."""
    sheet = found.grid()
    sheet.thumbnail((NOTEBOOK_WIDTH, 4 * NOTEBOOK_WIDTH))
    drawn = data_uri(sheet, "JPEG")
    return render(
        "sheet.notebook.j2", alt=printable(repr(found)), png=drawn, image=drawn, made=found.provenance.rows()
    )
