"""What each result shows on its sheet, made of the panels of `clipsight.draw`."""

from typing import TYPE_CHECKING

from PIL import Image

from clipsight.draw import (
    Interpolation,
    Number,
    Panel,
    Scale,
    ScaleChoice,
    arrange,
    badge,
    colour_bar,
    compose,
    heat,
    layout,
    masks,
    number,
    typeset,
)

if TYPE_CHECKING:
    from .explanation import Explanation
    from .segmentation import Segmentation

NOTHING = "(nothing)"
"""What drawings call pixels without a class."""
MOST_NAMES = 40  # in a legend, and written into a picture


def explanation_sheet(
    explanation: "Explanation",
    scale: ScaleChoice,
    cmap: str,
    alpha: Number,
    columns: int | None,
    interpolation: Interpolation,
) -> Image.Image:
    """The picture and every text's overlay, each with its colour bar, presence and trust."""
    picture = Image.fromarray(explanation.image)
    count = len(explanation.texts)
    room = arrange(count + 1, picture.width / picture.height, columns)
    unmeasured = bool(explanation.presence.isnan().any()) and explanation.presence_reason
    said = [f"Presence not measured: {unmeasured}"] if unmeasured else []
    panels = [_first(explanation.image, explanation.source, room.size, said)]
    scales = [explanation.scale_of(k, scale, cmap=cmap) for k in range(count)]
    for k, own in enumerate(scales):
        drawn = explanation.overlay(
            k, scale=scale, cmap=cmap, alpha=alpha, size=room.size, interpolation=interpolation
        )
        words = [line for line in (own.note, explanation.trust[k]) if line]
        panels.append(
            Panel(
                title=typeset.title(explanation.texts[k], k),
                picture=drawn,
                below=(
                    colour_bar(own, explanation.provenance.unit, room.width, cmap=cmap, alpha=alpha),
                    badge(float(explanation.presence[k])),
                    layout.text(words, most=5),
                ),
            )
        )
    provenance = explanation.provenance
    foot = [_legend(explanation, scale, scales), provenance.line(), *provenance.notes]
    return compose(panels, foot, room)


def _first(image: object, source: str, size: tuple[int, int], said: list[str]) -> Panel:
    """The picture as it was given."""
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)  # pyright: ignore
    lines = [f"{picture.width} × {picture.height} px", *said]
    return Panel(
        title=typeset.readable(source) if source else "the picture",
        picture=heat.fit(picture, size),
        below=(layout.text(lines, most=5),),
    )


def _legend(explanation: "Explanation", choice: ScaleChoice, scales: list[Scale]) -> str:
    provenance = explanation.provenance
    how = {"own": "each map on its own scale", "shared": "one scale for all maps"}
    legend = f"Colour: raw score ({provenance.unit}), {how.get(str(choice), 'a given scale')}."
    if any(s.clipped for s in scales):
        low = min(s.low for s in scales if s.clipped)
        fits = ": there the contrast fits at least as well" if low == 0 and provenance.contrast != "none" else ""
        legend += f" The picture stays grey at or below {number(low) if low else 'zero'}{fits}."
    return legend


def segmentation_overlay(
    found: "Segmentation", size: tuple[int, int] | None, *, alpha: Number, contours: bool, names: bool
) -> Image.Image:
    """The picture with its classes in colour."""
    picture = Image.fromarray(found.image)
    shown = found.present[:MOST_NAMES] if names else ()
    written = [(found.index(name) - found.background, name) for name in shown]
    numbers = found.labels.numpy() - int(found.background)
    return masks.overlay(
        picture, numbers, written, size or heat.limited(picture), alpha=alpha, contours=contours
    )


def segmentation_sheet(found: "Segmentation", alpha: Number) -> Image.Image:
    """The picture beside its overlay, over a legend."""
    room = arrange(2, found.image.shape[1] / found.image.shape[0])
    first = _first(found.image, found.source, room.size, [])
    asked = len(found.classes) - found.background
    second = Panel(
        title=f"{len(found.present)} of {asked} names",
        picture=found.overlay(alpha=alpha, size=room.size),
    )
    foot = ["Beside each name: its share of the pixels · its mean probability there, among all names."]
    absent = [name for name in found.classes[int(found.background) :] if name not in set(found.present)]
    if len(found.present) > MOST_NAMES:
        foot.append(f"{len(found.present) - MOST_NAMES} smaller classes are drawn and not listed.")
    if absent:
        foot.append(f"No pixel: {', '.join(absent)}.")
    foot += [found.provenance.line(), *found.notes]
    return compose([first, second], foot, room, masks.legend(_entries(found), alpha=alpha, gap=28))


def _entries(found: "Segmentation") -> list[tuple[str, str, int | None]]:
    made: list[tuple[str, str, int | None]] = []
    for name in found.present[:MOST_NAMES]:
        k = found.index(name)
        figures = f"{_percent(float(found.areas[k]))} · {float(found.scores[k]):.2f}"
        made.append((typeset.title(name, k), figures, k - found.background))
    left = 1 - sum(float(found.areas[found.index(name)]) for name in found.present)
    if left > 1e-6:
        made.append((found.classes[0] if found.background else NOTHING, _percent(left), None))
    return made


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 else "< 0.1 %"
