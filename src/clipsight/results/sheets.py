"""What each result shows on its sheet, made of the panels of `clipsight.draw`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from clipsight.draw import (
    Drawing,
    Panel,
    Scale,
    arrange,
    badge,
    bars,
    colour_bar,
    compose,
    dots,
    heat,
    layout,
    masks,
    number,
    thumbnail,
    typeset,
)
from clipsight.draw.sheet import AMBER, GREEN, GREY, Arrangement

if TYPE_CHECKING:
    from .anomaly import Anomaly
    from .classification import Classification
    from .explanation import Explanation
    from .points import Points
    from .provenance import Provenance
    from .segmentation import Segmentation
    from .tags import Tags

ABSENT_BELOW = 0.4
"""The presence below which a thing counts as absent: its map is muted and badged in every drawing."""
THERE = 0.8
"""The presence from which a label counts as there.

Of many labels some are at 0.5 by chance; precision and recall at this value are in docs/tasks_measured.md.
"""
NOTHING = "(nothing)"
"""What drawings call pixels without a class."""
MOST_NAMES = 40  # in a legend, and written into a picture
MOST_BARS = 12
BESIDE_BARS = (400, 640)  # largest (H, W) of a picture beside bars
BARS_WIDTH = 460


def first_panel(image: np.ndarray, source: str, size: tuple[int, int], said: Sequence[str] = ()) -> Panel:
    """The picture as it was given, as large as `size` = (H, W) allows."""
    height, width = image.shape[:2]
    return Panel(
        title=typeset.readable(source) if source else "the picture",
        picture=thumbnail(image, (size[1], size[0])),
        below=(layout.text([f"{width} × {height} px", *said], most=5),),
    )


def explanation_sheet(found: "Explanation", drawing: Drawing, columns: int | None) -> Image.Image:
    """The picture and every text's overlay, each with its colour bar, presence and trust."""
    count = len(found.texts)
    room = arrange(count + 1, found.image.shape[1] / found.image.shape[0], columns)
    unmeasured = bool(found.presence.isnan().any()) and found.presence_reason
    said = [f"Presence not measured: {unmeasured}"] if unmeasured else []
    panels = [first_panel(found.image, found.source, room.size, said)]
    scales = [found.scale_of(k, drawing.scale, cmap=drawing.cmap, noise=drawing.noise) for k in range(count)]
    for k, own in enumerate(scales):
        absent = found.absent[k]
        words = [line for line in (own.note, found.trust[k]) if line]
        bar = colour_bar(
            own, found.provenance.unit, room.width, cmap=drawing.cmap, alpha=drawing.opacity(absent)
        )
        panels.append(
            Panel(
                title=typeset.title(found.texts[k], k),
                picture=drawing.over(
                    Image.fromarray(found.image), found.maps[k].numpy(), own, room.size, absent
                ),
                below=(bar, badge(float(found.presence[k]), absent=absent), layout.text(words, most=5)),
            )
        )
    return compose(panels, [_legend(found, drawing, scales), *made(found.provenance)], room)


def _legend(found: "Explanation", drawing: Drawing, scales: list[Scale]) -> str:
    how = {"own": "each map on its own scale", "shared": "one scale for all maps"}
    legend = f"Colour: raw score ({found.provenance.unit}), {how.get(str(drawing.scale), 'a given scale')}."
    if any(s.signed for s in scales):
        legend += " Orange: fits the text better than the contrast; blue: worse; clear: neither."
    noise = found.provenance.noise_level if drawing.noise is None else drawing.noise
    if noise:
        legend += f" Scores of {number(noise)} are noise of this model; no scale is narrower."
    if any(found.absent):
        legend += " Absent by verdict: muted."
    return legend


def made(provenance: "Provenance") -> list[str]:
    """The last lines of a sheet."""
    return [provenance.line(), *provenance.notes]


def segmentation_overlay(
    found: "Segmentation", size: tuple[int, int] | None, *, alpha: float | int, contours: bool, names: bool
) -> Image.Image:
    """The picture with its classes in colour."""
    picture = Image.fromarray(found.image)
    shown = found.present[:MOST_NAMES] if names else ()
    written = [(found.index(name) - found.background, name) for name in shown]
    numbers = found.labels.numpy() - int(found.background)
    return masks.overlay(
        picture, numbers, written, size or heat.limited(picture), alpha=alpha, contours=contours
    )


def segmentation_sheet(found: "Segmentation", alpha: float | int) -> Image.Image:
    """The picture beside its overlay, over a legend."""
    room = arrange(2, found.image.shape[1] / found.image.shape[0])
    asked = len(found.classes) - found.background
    panels = [
        first_panel(found.image, found.source, room.size),
        Panel(
            title=f"{len(found.present)} of {asked} names have pixels",
            picture=found.overlay(alpha=alpha, size=room.size),
        ),
    ]
    foot = ["Beside each name: its share of the pixels · its mean probability there, among all names."]
    present = set(found.present)
    absent = [name for name in found.classes[int(found.background) :] if name not in present]
    if len(found.present) > MOST_NAMES:
        foot.append(f"{len(found.present) - MOST_NAMES} smaller classes are drawn and not listed.")
    if absent:
        foot.append(f"No pixel: {_few(absent)}.")
    return compose(
        panels, [*foot, *made(found.provenance)], room, masks.legend(_entries(found), alpha=alpha, gap=28)
    )


def _entries(found: "Segmentation") -> list[tuple[str, str, int | None]]:
    entries: list[tuple[str, str, int | None]] = []
    for name in found.present[:MOST_NAMES]:
        k = found.index(name)
        figures = f"{_percent(float(found.areas[k]))} · {float(found.scores[k]):.2f}"
        entries.append((typeset.title(name, k), figures, k - found.background))
    left = 1 - sum(float(found.areas[found.index(name)]) for name in found.present)
    if left > 1e-6:
        entries.append((found.classes[0] if found.background else NOTHING, _percent(left), None))
    return entries


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 else "< 0.1 %"


def _few(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def anomaly_sheet(found: "Anomaly", drawing: Drawing) -> Image.Image:
    """The picture beside its map."""
    room = arrange(2, found.image.shape[1] / found.image.shape[0])
    scale = found.scale(drawing.scale, cmap=drawing.cmap)
    second = Panel(
        title=f"Is this {typeset.readable(found.name)} damaged, and where?",
        picture=drawing.over(Image.fromarray(found.image), found.map.numpy(), scale, room.size),
        below=(
            colour_bar(scale, 'share of "damaged"', room.width, cmap=drawing.cmap, alpha=drawing.alpha),
            layout.text(found.lines()[0], colour=layout.INK, bold=True),
            layout.text(found.trust),
        ),
    )
    own = "Colour goes from the lowest to the highest score of this picture: a whole piece is coloured too."
    foot = [own] if drawing.scale == "own" else ["Colour: share of “damaged” against “whole”."]
    panels = [first_panel(found.image, found.source, room.size), second]
    return compose(panels, [*foot, *made(found.provenance)], room)


def _barred(
    image: np.ndarray | None, source: str, title: str, drawn: layout.Block, foot: Sequence[str]
) -> Image.Image:
    """The picture, if it is kept, beside bars."""
    panels = [] if image is None else [first_panel(image, source, BESIDE_BARS)]
    wide = max([BARS_WIDTH, *(one.picture.width for one in panels)])
    room = Arrangement(columns=len(panels) + 1, width=wide, height=BESIDE_BARS[0])
    return compose([*panels, Panel(title=title, picture=drawn(wide))], foot, room)


def tags_sheet(found: "Tags", at_least: float | int) -> Image.Image:
    """The picture beside the presence of its highest labels."""
    top = found.top(MOST_BARS)
    measured = not bool(found.presence.isnan().all())
    there = [tag.label for tag in found.there(at_least)] if measured else []
    title = (
        f"There: {_few(there, 6) or 'none of the labels'}" if measured else "What is there was not measured"
    )
    rows = [
        (
            tag.label,
            tag.presence,
            "–" if tag.presence != tag.presence else f"{tag.presence:.2f}",
            GREEN if tag.presence >= at_least else AMBER if tag.presence >= ABSENT_BELOW else GREY,
        )
        for tag in top
    ]
    foot = [
        f"Presence of the {len(top)} highest of {len(found)} labels; from the line, {at_least:g}, on a label counts as "
        "there. Several may be there, or none."
    ]
    if found.presence_reason:
        foot.append(f"Presence not measured: {found.presence_reason}")
    drawn = bars(rows, mark=at_least)
    return _barred(found.image, found.source, title, drawn, [*foot, *made(found.provenance)])


def classification_sheet(found: "Classification") -> Image.Image:
    """The picture beside the probabilities of its best labels."""
    top = found.top(MOST_BARS)
    rows = [(label, p, f"{p:.1%}", "#0072b2") for label, p in top]
    foot = [
        f"Probabilities of the best {len(top)} of {len(found.labels)} labels; all labels together have 100 %. They say "
        "which label fits better than the others, not whether any of them is there."
    ]
    title = f"{top[0][0]} fits best" if top else "no labels"
    return _barred(found.image, found.source, title, bars(rows), [*foot, *made(found.provenance)])


def points_sheet(found: "Points") -> Image.Image:
    """The picture beside its points."""
    if found.image is None:
        raise ValueError(
            "these points were made without their picture, so there is nothing to draw them on; take them from "
            "explanation.points(text), or use their `xy` and `labels`."
        )
    room = arrange(2, found.image.shape[1] / found.image.shape[0])
    shown = dots(Image.fromarray(found.image), found.xy, found.labels.astype(bool), room.size)
    on, off = len(found.positives), len(found.negatives)
    foot = ["Filled circles: points on the thing (label 1). Crosses: points off it (label 0)."]
    if not len(found):
        foot = ["No points: the map has no clear peak. A segmenter should not be asked."]
    panels = [
        first_panel(found.image, found.source, room.size),
        Panel(title=f"{typeset.title(found.text, 0)}: {on} on it, {off} off it", picture=shown),
    ]
    return compose(panels, foot, room)
