"""`clipsight segment`: what is where in this image?"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from cyclopts import Parameter

from clipsight.cli.batch import Told, answer_each
from clipsight.cli.options import (
    OUTPUT,
    Images,
    ModelOptions,
    OutputOptions,
    Several,
    Templates,
    read_method,
    read_templates,
)
from clipsight.cli.outcome import UsageError, say
from clipsight.cli.paths import find_pictures, plan_outputs
from clipsight.cli.progress import part_done
from clipsight.cli.registry import verb
from clipsight.cli.texts import TextWords, check_some, comma_notes, pictures_among, read_lines

if TYPE_CHECKING:
    from clipsight.language.names import Names
    from clipsight.results import Segmentation
    from clipsight.session.lens import Lens
    from clipsight.tasks import Background

SegmentFormat = Literal["png", "labels", "npz", "json", "geojson"]
LABELS = ".labels.png"
MOST_LINES = 20
MOST = 6
"""Names in a verdict."""


@Parameter(name="*", group=OUTPUT)
@dataclass(frozen=True, kw_only=True)
class SegmentOutput(OutputOptions):
    """Where results go, and as what."""

    # labels and geojson are forms that only a segmentation has
    format: Annotated[tuple[SegmentFormat, ...], Parameter(show_default=False)] = ()  # pyright: ignore[reportIncompatibleVariableOverride]
    """What to write. png: a sheet to look at; labels: the label map as `.labels.png`, 0 for nothing or background, then
    the names in order from 1; npz: everything; json: areas and run-length masks; geojson: outlines in pixels. Defaults
    to the suffix of the file name given to --out, else png."""


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
        from clipsight.results import atomic_write

        with atomic_write(path, overwrite=overwrite) as file:
            file.write(self.found._repr_png_())  # the sheet of `grid()` with its provenance inside

    def to_dict(self) -> dict[str, Any]:
        """As `Segmentation.to_dict`."""
        return self.found.to_dict()


@verb(40)
def segment(
    images: Images = (),
    /,
    *,
    text: TextWords = (),
    texts_file: Annotated[
        Path | None, Parameter(name=("--texts-file", "--names-file", "--labels-file"))
    ] = None,
    vocabulary: str | None = None,
    method: str = "auto",
    window: str = "auto",
    background: str = "auto",
    background_word: Several = (),
    refine: Literal["auto", "none", "pamr", "guided", "propagation"] = "auto",
    templates: Templates = ("auto",),
    short_side: int | None = None,
    logit_scale: float | None = None,
    area: float | None = None,
    batch: int = 8,
    model: ModelOptions = ModelOptions(),
    output: SegmentOutput = SegmentOutput(),
) -> int:
    """What is where in this image, of these names?

    Writes a sheet to look at, `<image's stem>.segment.png`, and prints each name's share of the image and its mean
    probability there. Every pixel goes to the name that fits best, even if that thing is not there: see --background.

    Args:
        text: Names to tell apart, several after one flag (`-t dog cat`) or repeated. "person: man, woman" is one name
            found by three words, "vehicle = car, bus" one found by those two.
        texts_file: UTF-8 file with one such name per line.
        vocabulary: Use a benchmark's names instead: voc20, voc21, pc59, pc60, coco-object, coco-stuff, cityscapes or
            ade20k; append ":P" for plain names without synonyms.
        method: How patch features are computed; `clipsight methods` lists the methods. `auto` is sc_clip for models of
            12 or 24 blocks and naclip for others. A method such as naclip.voc21-b16 brings its authors' window, scale
            and thresholds.
        window: `auto` slides a window of the model's own size over a larger image, `whole` looks once. A number such as
            224 sets the window in pixels, 224,112 the window and its step.
        background: Which pixels get no name: `none`; a probability such as 0.2, for pixels below it; `presence`, for
            names that the image as a whole does not show. `auto` follows the method's setting, else none.
        background_word: Words for everything else, such as sky.
        refine: How edges are aligned with those of the image. `auto` follows the method's setting, else none.
        short_side: Short side of the image before it is cut into windows, in pixels.
        logit_scale: Factor on cosines before the softmax. Larger values give more confident probabilities. Defaults to
            0.4 of the model's.
        area: Drop names that cover at most this share of the foreground, such as 0.01.
        batch: Windows per pass. Smaller batches need less memory.
    """
    moved, given = pictures_among(text)
    names = _read_names(given, texts_file, vocabulary)
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

    plan = _plan(find_pictures((*images, *moved)), output)
    return answer_each(plan, output, open_lens=model.open, ask=ask, tell=_tell, reads=(texts_file,))


def _read_names(given: Sequence[str], file: Path | None, benchmark: str | None) -> "Names":
    from clipsight.cli.outcome import print_note
    from clipsight.language.names import parse_names

    if benchmark is not None:
        if given or file is not None:
            raise UsageError(
                f"--vocabulary {benchmark} brings its own names; leave out either it or -t/--texts-file."
            )
        return _read_vocabulary(benchmark)
    if not given and file is None:
        raise UsageError("no text was given; add -t cat dog, --texts-file FILE, or --vocabulary voc21.")
    lines = [*given, *read_lines(file)]
    check_some(lines)
    for line in lines:
        if "," in line and not any(mark in line for mark in ":="):
            parts = [part.strip() for part in line.split(",") if part.strip()]
            split = " ".join(f'"{part}"' if " " in part else part for part in parts)
            raise UsageError(
                f'"{line}" has a comma; type -t {split} for {len(parts)} names, or -t "{parts[0] if parts else line}: '
                f'{", ".join(parts[1:])}" for one name found by several words.'
            )
    for note in comma_notes([line for line in given if not any(mark in line for mark in ":=")]):
        print_note(note)
    try:
        return parse_names(lines)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _read_vocabulary(word: str) -> "Names":
    from clipsight.language.vocabularies import vocabularies, vocabulary

    benchmark, _, variant = word.partition(":")
    spelt = {_plain(known): known for known in vocabularies()}
    try:
        known = spelt.get(_plain(benchmark), benchmark)
        variants = {one.lower(): one for one in vocabularies().get(known, ())}
        return vocabulary(known, variants.get(variant.lower(), variant) if variant else "S")
    except ValueError as error:
        raise UsageError(f"--vocabulary: {error}") from error


def _plain(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "")


def _read_background(word: str, words: Sequence[str], names: "Names") -> "Background | None":
    """The policy of --background and --background-word together; None leaves it to the method's setting."""
    from clipsight.tasks.background import PRESENCE_LIMIT, Background

    if not all(one.strip() for one in words):
        raise UsageError("a --background-word is blank; give a word such as sky, or leave it out.")
    if words and names.background:
        raise UsageError(
            "--background-word and a vocabulary with its own background exclude each other; leave one out."
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
        raise UsageError(
            f"--background {word} is not auto, none, presence or a probability from 0 to 1 such as 0.2; for words that "
            "stand for everything else use --background-word."
        ) from error


def _read_window(word: str) -> str | int | tuple[int, int]:
    if word in ("auto", "whole"):
        return word
    parts = [part.strip() for part in word.split(",")]
    if len(parts) <= 2 and all(part.isdecimal() and int(part) > 0 for part in parts):
        return int(parts[0]) if len(parts) == 1 else (int(parts[0]), int(parts[1]))
    raise UsageError(
        f"--window {word} is not a window; give auto, whole, pixels such as 224, or window and step such as 224,112."
    )


def _check_numbers(
    *, short_side: int | None, logit_scale: float | None, area: float | None, batch: int
) -> None:
    if short_side is not None and short_side < 1:
        raise UsageError(f"--short-side {short_side} shows nothing; give pixels, such as 336.")
    if logit_scale is not None and not 0 < logit_scale < float("inf"):
        raise UsageError(f"--logit-scale {logit_scale:g} is not above 0; the published one is 40.")
    if area is not None and not 0 <= area <= 1:
        raise UsageError(f"--area {area:g} is not a share; give 0 to 1, such as 0.01.")
    if batch < 1:
        raise UsageError(f"--batch {batch} processes no window; give 1 or more.")


def _plan(pictures: Sequence[str], output: SegmentOutput) -> dict[str, list[Path]]:
    """As `plan_outputs`, with `labels` written as `.labels.png`, or under the name that was given."""
    named = output.out is not None and output.out.suffix.lower() == ".png" and not output.out.is_dir()
    if named and output.format == ("labels",):
        output = SegmentOutput(out=output.out)
    plan = plan_outputs(pictures, "segment", output, formats=get_args(SegmentFormat))
    return {
        picture: [file.with_suffix(LABELS) if file.suffix == ".labels" else file for file in files]
        for picture, files in plan.items()
    }


def _tell(result: Segmented) -> Told:
    from clipsight.draw import number, printable
    from clipsight.results.segmentation import NOTHING

    found = result.found
    shares = {name: float(found.areas[found.index(name)]) for name in found.present}
    rest = 1 - sum(shares.values())
    nothing = found.classes[0] if found.background else NOTHING
    said = [f"{name} {share:.1%}" for name, share in list(shares.items())[:MOST]]
    said += [f"{len(shares) - MOST} smaller ones"] * (len(shares) > MOST)
    said += [f"{nothing} {rest:.1%}"] * (rest > 1e-6)
    notes = list(found.notes)
    if len(found.classes) == 1 and found.present:
        notes.insert(
            0,
            "A single name has no rival and wins every pixel; add further names, or --background-word wall.",
        )

    def details() -> None:
        for name in found.present[:MOST_LINES]:
            score = float(found.scores[found.index(name)])
            sure = f"{score:.2f}" if score >= 0.01 else number(score)  # of 2,000 names none is likely
            say(f"{printable(name)}: {shares[name]:.1%} of the image, probability {sure}", indent=2)
        if len(found.present) > MOST_LINES:
            say(f"and {len(found.present) - MOST_LINES} smaller ones", indent=2)
        if rest > 1e-6:
            say(f"{nothing}: {rest:.1%} of the image", indent=2)
        absent = [name for name in found.classes[int(found.background) :] if name not in shares]
        if absent:
            more = f" and {len(absent) - 8} more" if len(absent) > 8 else ""
            say(f"no pixel: {', '.join(map(printable, absent[:8]))}{more}", indent=2, style="dim")

    return Told(verdict=", ".join(said), details=details, notes=notes)
