"""`clipsight segment`: what is where in this picture?"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from cyclopts import Parameter
from rich.markup import escape

from clipsight.cli.batch import answer_each
from clipsight.cli.options import (
    ModelOptions,
    OutputOptions,
    Repeated,
    Templates,
    gather_texts,
    read_method,
    read_templates,
)
from clipsight.cli.outcome import Misuse, terminal
from clipsight.cli.paths import find_pictures, plan_outputs
from clipsight.cli.progress import part_done

if TYPE_CHECKING:
    from clipsight.language.names import Names
    from clipsight.results import Segmentation
    from clipsight.session.lens import Lens
    from clipsight.tasks import Background

SegmentFormat = Literal["png", "labels", "npz", "json", "geojson"]
LABELS = ".labels.png"
MOST_LINES = 20


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SegmentOutput(OutputOptions):
    """Where results go, and as what."""

    # labels and geojson are forms that only a segmentation has
    format: Annotated[tuple[SegmentFormat, ...], Parameter(show_default=False)] = ()  # pyright: ignore[reportIncompatibleVariableOverride]
    """What to write; repeat it for several. png: a sheet to look at; labels: the label map as `.labels.png`, 0 for
    nothing or background, then the names in their order from 1; npz: everything; json: areas and masks as run lengths;
    geojson: outlines in pixels. Without one: what the name given to --out ends with, else png."""


@dataclass(frozen=True)
class Segmented:
    """A segmentation that writes the forms of the command line."""

    found: "Segmentation"
    only_labels: bool
    """Whether a .png is the label map, whatever its name."""

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the form that the name ends with: a sheet for .png, the label map for .labels.png."""
        name = Path(path).name.lower()
        if not name.endswith(".png") or name.endswith(LABELS) or self.only_labels:
            self.found.save(path, overwrite=overwrite)
            return
        from clipsight.results.io import atomic_write

        with atomic_write(path, overwrite=overwrite) as file:
            file.write(self.found._repr_png_())  # the sheet of `grid()` with its provenance inside

    def to_dict(self) -> dict[str, Any]:
        """As `Segmentation.to_dict`."""
        return self.found.to_dict()


def segment(
    images: list[str],
    /,
    *,
    name: Repeated = (),
    names_file: Path | None = None,
    vocabulary: str | None = None,
    method: str = "auto",
    window: str = "auto",
    background: str = "auto",
    background_word: Repeated = (),
    refine: Literal["auto", "none", "pamr", "guided", "propagation"] = "auto",
    templates: Templates = ("auto",),
    short_side: int | None = None,
    logit_scale: float | None = None,
    area: float | None = None,
    batch: int = 8,
    model: ModelOptions = ModelOptions(),  # noqa: B008 - frozen
    output: SegmentOutput = SegmentOutput(),
    json: bool = False,
) -> int:
    """What is where in this picture, of these names?

    Writes `<picture's stem>.segment.png`, a sheet to look at, and prints each name's share of the picture and its mean
    probability there. Every pixel goes to the name that fits best, whether or not it is there: see --background.

    Args:
        images: Pictures, or patterns such as "photos/*.jpg".
        name: What to tell apart; repeat it for each. "person: man, woman" is one name looked for by three words,
            "vehicle = car, bus" one looked for by those two.
        names_file: A UTF-8 file with one such name a line.
        vocabulary: The names of a benchmark instead: voc20, voc21, pc59, pc60, coco-object, coco-stuff, cityscapes,
            ade20k; with ":P" plain names without synonyms.
        method: How patch features are made; `clipsight methods` lists them. `auto` is sc_clip for models of 12 or 24
            blocks, naclip for others. One such as naclip.voc21-b16 brings its authors' window, scale and thresholds.
        window: `auto` slides the model's own size over a larger picture; `whole` looks once; 224 are the pixels of
            a window, 224,112 window and step.
        background: What has no name: `none`, nothing; a probability such as 0.2 below which a pixel has none;
            `presence`, names that the picture as a whole does not show. `auto` is what the method's setting says, else
            none.
        background_word: A word for everything else, such as sky; repeat it for each.
        refine: What draws the edges onto those of the picture; `auto` is what the method's setting says, else `none`.
        templates: `auto` for those that suit the model, `none`, a set such as IN80, or a sentence with {} for the
            name; repeat it for several sentences.
        short_side: Pixels of the picture's short side as the windows see it.
        logit_scale: Factor on cosines before the softmax: larger makes probabilities surer. Without one: 0.4 of the
            model's.
        area: Names with this share or less of what is not background are taken out, such as 0.01.
        batch: Most windows in one pass; fewer take less memory.
        json: Print one JSON document on standard output and nothing else.
    """
    names = _read_names(name, names_file, vocabulary)
    policy = _read_background(background, background_word, names)
    seen_through = _read_window(window)
    _check_numbers(short_side=short_side, logit_scale=logit_scale, area=area, batch=batch)
    prompts = read_templates(templates)
    recipe = None if method == "auto" else read_method(method)

    def ask(lens: "Lens", picture: str) -> Segmented:
        found = lens.segment(
            picture,
            names,
            recipe=recipe,
            window=seen_through,
            background=policy,
            refine=None if refine == "auto" else refine,
            templates=prompts,
            short_side=short_side,
            logit_scale=logit_scale,
            area=area,
            batch=batch,
            progress=part_done,
        )
        return Segmented(found, only_labels=output.format == ("labels",))

    return answer_each(
        _plan(find_pictures(images), output),
        open_lens=model.open,
        ask=ask,
        show=_show,
        overwrite=output.overwrite,
        as_json=json,
    )


def _read_names(given: Sequence[str], file: Path | None, benchmark: str | None) -> "Names":
    from clipsight.language.names import parse_names

    if benchmark is not None:
        if given or file is not None:
            raise Misuse(
                f"--vocabulary {benchmark} brings its names; leave --name and --names-file out, or it."
            )
        return _read_vocabulary(benchmark)
    if not given and file is None:
        raise Misuse(
            'no name was given; add --name "cat", again for each further one, --names-file FILE, or --vocabulary voc21.'
        )
    lines = gather_texts(given, file, option="name")
    try:
        return parse_names(lines)
    except ValueError as error:
        raise Misuse(str(error)) from error


def _read_vocabulary(word: str) -> "Names":
    from clipsight.language.vocabularies import vocabularies, vocabulary

    benchmark, _, variant = word.partition(":")
    spelt = {_plain(known): known for known in vocabularies()}
    try:
        known = spelt.get(_plain(benchmark), benchmark)
        variants = {one.lower(): one for one in vocabularies().get(known, ())}
        return vocabulary(known, variants.get(variant.lower(), variant) if variant else "S")
    except ValueError as error:
        raise Misuse(f"--vocabulary: {error}") from error


def _plain(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "")


def _read_background(word: str, words: Sequence[str], names: "Names") -> "Background | None":
    """The policy of --background and --background-word together; None leaves it to the method's setting."""
    from clipsight.tasks.background import PRESENCE_LIMIT, Background

    if not all(one.strip() for one in words):
        raise Misuse("a --background-word is blank; give a word such as sky, or leave it out.")
    if words and names.background:
        raise Misuse(
            "--background-word and a vocabulary with a background of its own exclude each other; leave one out."
        )
    if word == "auto" and not words:
        return None
    if word in ("auto", "none"):
        return Background(words=tuple(words))
    if word == "presence":
        return Background(words=tuple(words), presence=PRESENCE_LIMIT)
    try:
        return Background(words=tuple(words), threshold=float(word))
    except ValueError as error:
        raise Misuse(
            f"--background {word} is none of auto, none, presence and a probability from 0 to 1 such as 0.2; "
            "for words that stand for everything else there is --background-word."
        ) from error


def _read_window(word: str) -> str | int | tuple[int, int]:
    if word in ("auto", "whole"):
        return word
    parts = [part.strip() for part in word.split(",")]
    if len(parts) <= 2 and all(part.isdecimal() and int(part) > 0 for part in parts):
        return int(parts[0]) if len(parts) == 1 else (int(parts[0]), int(parts[1]))
    raise Misuse(
        f"--window {word} is no window; it is auto, whole, pixels such as 224, or window and step such as 224,112."
    )


def _check_numbers(
    *, short_side: int | None, logit_scale: float | None, area: float | None, batch: int
) -> None:
    if short_side is not None and short_side < 1:
        raise Misuse(f"--short-side {short_side} shows nothing; give pixels, such as 336.")
    if logit_scale is not None and not 0 < logit_scale < float("inf"):
        raise Misuse(f"--logit-scale {logit_scale:g} is not above 0; the published one is 40.")
    if area is not None and not 0 <= area <= 1:
        raise Misuse(f"--area {area:g} is no share; give 0 to 1, such as 0.01.")
    if batch < 1:
        raise Misuse(f"--batch {batch} looks through no window; give 1 or more.")


def _plan(pictures: Sequence[str], output: SegmentOutput) -> dict[str, list[Path]]:
    """As `plan_outputs`, with `labels` written as `.labels.png`, or under the name that was given."""
    named = output.out is not None and output.out.suffix.lower() == ".png" and not output.out.is_dir()
    if named and output.format == ("labels",):
        output = SegmentOutput(out=output.out, overwrite=output.overwrite)
    plan = plan_outputs(pictures, "segment", output, formats=get_args(SegmentFormat))
    return {
        picture: [file.with_suffix(LABELS) if file.suffix == ".labels" else file for file in files]
        for picture, files in plan.items()
    }


def _show(picture: str, result: Segmented, files: Sequence[Path]) -> None:
    from clipsight.results.segmentation import NOTHING
    from clipsight.results.wording import number, printable

    found, console = result.found, terminal()
    console.print(f"[bold]{escape(picture)}[/bold] -> {escape(', '.join(map(str, files)))}")
    for name in found.present[:MOST_LINES]:
        k = found.index(name)
        share, score = float(found.areas[k]), float(found.scores[k])
        sure = f"{score:.2f}" if score >= 0.01 else number(score)  # of 2,000 names none is likely
        console.print(f"  {escape(printable(name))}: {share:.1%} of the picture, probability {sure}")
    if len(found.present) > MOST_LINES:
        console.print(f"  and {len(found.present) - MOST_LINES} smaller ones")
    rest = 1 - sum(float(found.areas[found.index(name)]) for name in found.present)
    if rest > 1e-6:
        console.print(f"  {found.classes[0] if found.background else NOTHING}: {rest:.1%} of the picture")
    absent = len(found.classes) - found.background - len(found.present)
    if absent:
        present = set(found.present)
        without = [one for one in found.classes[int(found.background) :] if one not in present]
        some = ", ".join(map(printable, without[:8])) + (f" and {absent - 8} more" if absent > 8 else "")
        console.print(f"  no pixel: {escape(some)}", style="dim")
    if len(found.classes) == 1 and found.present:
        console.print(
            "  note: a name alone has no rival and wins every pixel; add further names, or --background-word wall.",
            style="dim",
        )
    for note in found.notes:
        console.print(f"  note: {escape(note)}", style="dim")
