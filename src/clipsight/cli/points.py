"""`clipsight points`: where should a segmenter such as SAM be told to look?"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clipsight.cli.batch import Told, answer_each
from clipsight.cli.map_options import MAPS, MapOptions
from clipsight.cli.options import SHEET_FORMATS, Images, ModelOptions, SheetOutput
from clipsight.cli.outcome import UsageError, say
from clipsight.cli.paths import find_pictures, plan_outputs
from clipsight.cli.progress import waiting
from clipsight.cli.registry import verb
from clipsight.cli.texts import TextOptions

if TYPE_CHECKING:
    from clipsight.session.lens import Lens
    from clipsight.tasks.point_prompts import PointPrompts


@verb(60)
def points(
    images: Images = (),
    /,
    *,
    texts: TextOptions = TextOptions(),
    threshold: float = 0.8,
    downsample: int = 2,
    sam: str | None = None,
    maps: MapOptions = MAPS,
    model: ModelOptions = ModelOptions(),
    output: SheetOutput = SheetOutput(),
) -> int:
    """Where should a segmenter such as SAM be told to look for these words?

    Writes a sheet with the points of each text, `<image's stem>.points.png`. The details list x,y,label of each point:
    pixels from the top left corner; label 1 on the thing, 0 off it. A text such as "dog+cat" asks for both together, so
    that neither gets points off it on the other. With --sam the best mask of each text is written as
    `<image's stem>.points.<number>-<text>.png`; it is empty where there were no points.

    Args:
        threshold: Share of the map's range, up to 1, from which a place counts as on the thing.
        downsample: Make the map this many times coarser first; larger values give fewer points.
        sam: SAM or SAM 2 checkpoint for transformers: a name such as facebook/sam-vit-base, or a folder.
    """
    pictures, targets = texts.read(images)
    if not 0 < threshold <= 1:
        raise UsageError(
            f"--threshold {threshold:g} is not a share of the map's range; give one up to 1, such as 0.8."
        )
    if downsample < 1:
        raise UsageError(
            f"--downsample {downsample} is below 1; 1 keeps the map's own grid, 2 makes it half as fine."
        )
    with waiting():
        from clipsight.tasks.point_prompts import SamSegmenter, parts_of, point_prompts
    explain = maps.question(tuple(dict.fromkeys(part for target in targets for part in parts_of(target))))
    plan = _plan(find_pictures(pictures), targets, output, masks=sam is not None)
    segmenters: list[SamSegmenter] = []

    def open_lens() -> "Lens":
        if sam is not None:
            with waiting(f"loading {sam}"):
                segmenters.append(SamSegmenter(sam, model.device or "cpu"))
        return model.open()

    def ask(lens: "Lens", picture: str) -> "PointPrompts":
        return point_prompts(
            explain(lens, picture),
            targets,
            threshold=threshold,
            downsample=downsample,
            segmenter=segmenters[0] if segmenters else None,
        )

    return answer_each(plan, output, open_lens=open_lens, ask=ask, tell=_tell, reads=(texts.texts_file,))


def _plan(
    pictures: Sequence[str], targets: Sequence[str], output: SheetOutput, *, masks: bool
) -> dict[str, list[Path]]:
    """The sheet or the data, and a mask for each target if there is a segmenter."""
    plan = plan_outputs(pictures, "points", output, formats=SHEET_FORMATS)
    slugs = [re.sub(r"[^\w+]+", "-", target).strip("-")[:40] for target in targets] if masks else []
    return {
        picture: [*files, *(files[0].with_suffix(f".{k}-{slug}.png") for k, slug in enumerate(slugs, 1))]
        for picture, files in plan.items()
    }


def _tell(found: "PointPrompts") -> Told:
    from clipsight.draw import printable
    from clipsight.tasks.point_prompts import parts_of

    said = {}
    for target in found.targets:
        on, off = len(target.positives), len(target.negatives)
        said[target.text] = (
            f"{on} points on it, {off} off it" if len(target) else "no points: the map has no clear peak"
        )

    def details() -> None:
        trusts = dict(zip(found.explanation.texts, found.explanation.trust, strict=True))
        for target, mask in zip(found.targets, found.masks, strict=True):
            scored = (
                "" if mask is None else f"; mask of {mask.pixels} pixels, SAM's own score {mask.score:.2f}"
            )
            say(f"{printable(target.text)}: {said[target.text]}{scored}", indent=2)
            parts = parts_of(target.text)
            for part in parts:
                whose = f"{part}: " if len(parts) > 1 else ""
                say(printable(whose + trusts[part]), indent=4, style="dim")
            if len(target):
                say("x,y,label", indent=4)
            for (x, y), label in zip(target.xy.tolist(), target.labels.tolist(), strict=True):
                say(f"{x},{y},{label}", indent=4)

    return Told(
        verdict="; ".join(f"{text}: {points}" for text, points in said.items()),
        details=details,
        notes=found.explanation.provenance.notes,
    )
