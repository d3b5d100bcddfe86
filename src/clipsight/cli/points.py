"""`clipsight points`: where should a segmenter such as SAM be told to look?"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.markup import escape

from clipsight.cli.batch import answer_each
from clipsight.cli.options import (
    ModelOptions,
    OutputOptions,
    Repeated,
    Templates,
    gather_texts,
    read_contrast,
    read_method,
    read_resolution,
    read_templates,
)
from clipsight.cli.outcome import Misuse, side_terminal, terminal
from clipsight.cli.paths import find_pictures, plan_outputs

if TYPE_CHECKING:
    from clipsight.refine.mask_vote import SamMasks
    from clipsight.results import Explanation, Points
    from clipsight.session.lens import Lens


@dataclass(frozen=True)
class Pointed:
    """Points of every target in one picture, with the masks that a segmenter made of them."""

    explanation: "Explanation"
    targets: tuple["Points", ...]
    masks: tuple["SamMasks | None", ...]
    """Of each target; None where none was asked for, or where the map gave no points."""

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Points as .json; a .png is the best mask of the target whose number its name holds: 255 on it, 0 off."""
        from clipsight.results.io import atomic_write, json_bytes

        if Path(path).suffix.lower() == ".json":
            with atomic_write(path, overwrite=overwrite) as file:
                file.write(json_bytes(self.to_dict()))
            return
        from PIL import Image

        mask = self.masks[_target_of(Path(path))]
        height, width = self.explanation.image.shape[:2]
        nothing = Image.new("L", (width, height))
        drawn = nothing if mask is None else Image.fromarray(mask.masks[0].numpy()).convert("L")
        with atomic_write(path, overwrite=overwrite) as file:
            drawn.save(file, format="PNG")

    def to_dict(self) -> dict[str, Any]:
        """Plain data: x to the right, y down, pixels of the picture; label 1 on the thing, 0 off it."""
        seen = self.explanation
        return {
            "kind": "points",
            "format": 1,
            "source": seen.source,
            "image_size": list(seen.image.shape[:2]),
            "targets": [
                {
                    "text": target.text,
                    "xy": target.xy.tolist(),
                    "labels": target.labels.tolist(),
                    "trust": {part: seen.trust[seen.index(part)] for part in _parts(target.text)},
                    "mask": mask and _mask(mask),
                }
                for target, mask in zip(self.targets, self.masks, strict=True)
            ],
            "provenance": seen.provenance.to_dict(),
        }


def points(
    images: list[str],
    /,
    *,
    text: Repeated = (),
    texts_file: Path | None = None,
    threshold: float = 0.8,
    downsample: int = 2,
    sam: str | None = None,
    method: str = "clip_surgery",
    contrast: Literal["auto", "none", "labels", "empty"] = "auto",
    contrast_name: Repeated = (),
    resolution: str = "native",
    templates: Templates = ("auto",),
    model: ModelOptions = ModelOptions(),  # noqa: B008 - frozen
    out: Path | None = None,
    overwrite: bool = False,
    json: bool = False,
) -> int:
    """Where should a segmenter such as SAM be told to look for these words?

    Prints x,y,label of each point: pixels of the picture, label 1 on the thing, 0 off it. With --sam it also writes
    the best mask of each text as `<picture's stem>.points.<number>-<text>.png`, empty where there were no points.

    Args:
        images: Pictures, or patterns such as "photos/*.jpg".
        text: What to point at; repeat it for each text. "dog+cat" points at both together: what is on one of them is
            not called off the other.
        texts_file: A UTF-8 file with one text a line.
        threshold: Share of the map's range, up to 1, from which a place is on the thing.
        downsample: How many times coarser the map is made first; larger gives fewer points.
        sam: A SAM or SAM 2 checkpoint for transformers, name or folder, such as facebook/sam-vit-base.
        method: How patch features are made; `clipsight methods` lists them.
        contrast: What is subtracted from the scores: `labels` what the texts share, `empty` the empty prompt,
            `none` nothing; `auto` chooses and records what it chose.
        contrast_name: A distractor to contrast with, instead of --contrast; repeat it for each name.
        resolution: `native` keeps the aspect, `square` stretches, both at the model's own size; 448 is a short
            side, 336x448 height by width.
        templates: `auto` for those that suit the model, `none`, a set such as IN80, or a sentence with {} for the
            text; repeat it for several sentences.
        out: A folder for masks, and for `<picture's stem>.points.json`; or for one picture the name of that .json.
        overwrite: Replace files that exist; without it they are kept and the command fails.
        json: Print one JSON document on standard output and nothing else.
    """
    targets = tuple(dict.fromkeys(gather_texts(text, texts_file, option="text")))
    words = tuple(dict.fromkeys(part for target in targets for part in _parts(target)))
    if not 0 < threshold <= 1:
        raise Misuse(
            f"--threshold {threshold:g} is no share of the map's range; give one up to 1, such as 0.8."
        )
    if downsample < 1:
        raise Misuse(
            f"--downsample {downsample} is below 1; 1 keeps the map's own grid, 2 makes it half as fine."
        )
    size, against = read_resolution(resolution), read_contrast(contrast, contrast_name)
    prompts, recipe = read_templates(templates), read_method(method)
    plan = _plan(find_pictures(images), targets, out, overwrite, masks=sam is not None)
    segmenter = None if sam is None else _Segmenter(sam, model.device)

    def open_lens() -> "Lens":
        if segmenter is not None:
            segmenter.load()
        return model.open()

    def ask(lens: "Lens", picture: str) -> Pointed:
        seen = lens.see(picture, resolution=size)
        explanation = seen.explain(words, method=recipe, contrast=against, templates=prompts)
        found = tuple(
            explanation.points(target, threshold=threshold, downsample=downsample) for target in targets
        )
        masks = segmenter(picture, found) if segmenter is not None else (None,) * len(found)
        return Pointed(explanation, found, masks)

    return answer_each(plan, open_lens=open_lens, ask=ask, show=_show, overwrite=overwrite, as_json=json)


def _parts(text: str) -> tuple[str, ...]:
    """The texts that a "+" joins; a text such as "C++", where it joins nothing, is one."""
    parts = tuple(part.strip() for part in text.split("+"))
    return parts if all(parts) else (text,)


def _plan(
    pictures: Sequence[str], targets: Sequence[str], out: Path | None, overwrite: bool, *, masks: bool
) -> dict[str, list[Path]]:
    """The .json where --out was given, and a mask for each target where a segmenter was."""
    if out is None and not masks:
        return {picture: [] for picture in pictures}
    options = OutputOptions(out=out, overwrite=overwrite)
    plan = plan_outputs(pictures, "points", options, formats=("json",))
    slugs = [re.sub(r"[^\w+]+", "-", target).strip("-")[:40] for target in targets] if masks else []
    return {
        picture: [
            *(files if out else ()),
            *(files[0].with_suffix(f".{k}-{slug}.png") for k, slug in enumerate(slugs, 1)),
        ]
        for picture, files in plan.items()
    }


def _target_of(path: Path) -> int:
    """Which target a mask's file is for, from 0."""
    return int(path.name.split(".")[-2].split("-")[0]) - 1


class _Segmenter:
    """Masks of points in a picture, by a checkpoint that is loaded once."""

    def __init__(self, name: str, device: str | None) -> None:
        self.name, self.device = name, device or "cpu"
        self._loaded: tuple[Any, Any] | None = None

    def load(self) -> None:
        """Load the checkpoint, with a sign of life on the terminal.

        Raises:
            Unsupported: transformers is not installed, or the checkpoint is another kind of model.
            OSError: weights that cannot be had.
        """
        from clipsight.refine import load_sam

        with side_terminal().status(f"loading {self.name} ..."):
            self._loaded = load_sam(self.name, self.device)

    def __call__(self, picture: str, targets: Sequence["Points"]) -> tuple["SamMasks | None", ...]:
        """Candidate masks of each target; None where it has no points."""
        from clipsight.pictures import read_picture
        from clipsight.refine import sam_masks

        image = read_picture(picture)
        return tuple(
            sam_masks(image, one.xy, one.labels, device=self.device, loaded=self._loaded)
            if len(one)
            else None
            for one in targets
        )


def _mask(masks: "SamMasks") -> dict[str, Any]:
    from clipsight.results.mask_files import run_lengths

    return {"score": float(masks.scores[0]), "rle": run_lengths(masks.masks[0].numpy())}


def _show(picture: str, result: Pointed, files: Sequence[Path]) -> None:
    from clipsight.results.wording import printable

    console, seen = terminal(), result.explanation
    arrow = f" -> {escape(', '.join(map(str, files)))}" if files else ""
    console.print(f"[bold]{escape(picture)}[/bold]{arrow}")
    for target, mask in zip(result.targets, result.masks, strict=True):
        on, off = len(target.positives), len(target.negatives)
        what = f"{on} points on it, {off} off it" if len(target) else "no points: the map has no clear peak"
        scored = (
            ""
            if mask is None
            else f"; mask of {int(mask.masks[0].sum())} pixels, SAM's own score "
            + (f"{float(mask.scores[0]):.2f}")
        )
        console.print(f"  {escape(printable(target.text))}: {what}{scored}")
        parts = _parts(target.text)
        for part in parts:
            whose = f"{part}: " if len(parts) > 1 else ""
            console.print(f"    {escape(printable(whose + seen.trust[seen.index(part)]))}", style="dim")
        if len(target):
            console.print("    x,y,label")
        for (x, y), label in zip(target.xy.tolist(), target.labels.tolist(), strict=True):
            console.print(f"    {x},{y},{label}")
    for note in seen.provenance.notes:
        console.print(f"  note: {escape(note)}", style="dim")
