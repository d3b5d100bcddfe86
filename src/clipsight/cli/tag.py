"""`clipsight tag`: which of these things are in the picture?"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from clipsight.cli.batch import answer_each
from clipsight.cli.options import (
    ModelOptions,
    OutputOptions,
    Repeated,
    Templates,
    gather_texts,
    read_resolution,
    read_templates,
)
from clipsight.cli.outcome import Misuse, terminal
from clipsight.cli.paths import find_pictures, plan_outputs

if TYPE_CHECKING:
    from clipsight.results import Tags
    from clipsight.session.lens import Lens


def tag(
    images: list[str],
    /,
    *,
    label: Repeated = (),
    labels_file: Path | None = None,
    templates: Templates = ("auto",),
    resolution: str = "native",
    top: int = 5,
    at_least: float = 0.8,
    model: ModelOptions = ModelOptions(),  # noqa: B008 - frozen
    out: Path | None = None,
    overwrite: bool = False,
    json: bool = False,
) -> int:
    """Which of these things are in the picture? Several may be, or none.

    Prints which labels are there, and the best ones with presence and score. Unlike `classify` the labels do not
    compete for one probability.

    Args:
        images: Pictures, or patterns such as "photos/*.jpg".
        label: A label; repeat it for each.
        labels_file: A UTF-8 file with one label a line.
        templates: `auto` for those that suit the model, `none`, a set such as IN80, or a sentence with {} for the
            label; repeat it for several sentences.
        resolution: `native` keeps the aspect, `square` stretches, both at the model's own size; 448 is a short
            side, 336x448 height by width.
        top: How many labels to print.
        at_least: The presence, from 0 to 1, from which a label counts as there.
        out: Also write `<picture's stem>.tag.json` into this folder, or this .json file for one picture.
        overwrite: Replace files that exist; without it they are kept and the command fails.
        json: Print one JSON document on standard output and nothing else.
    """
    labels = gather_texts(label, labels_file, option="label")
    if top < 1:
        raise Misuse(f"--top {top} shows nothing; give 1 or more.")
    if not 0 <= at_least <= 1:
        raise Misuse(f"--at-least {at_least:g} is no presence; give 0 to 1, such as 0.8.")
    size, prompts = read_resolution(resolution), read_templates(templates)

    def ask(lens: "Lens", picture: str) -> "Tags":
        return lens.tag(picture, labels, templates=prompts, resolution=size)

    def show(picture: str, tags: "Tags", files: Sequence[Path]) -> None:
        written = f" -> {escape(str(files[0]))}" if files else ""
        console = terminal()
        console.print(f"[bold]{escape(picture)}[/bold]{written}")
        console.print(f"  {escape(_verdict(tags, at_least))}")
        for line in tags.lines(top):
            console.print(f"    {escape(line)}")
        for note in tags.provenance.notes:
            console.print(f"  note: {escape(note)}", style="dim")

    pictures = find_pictures(images)
    output = OutputOptions(out=out, overwrite=overwrite)
    plan = (
        plan_outputs(pictures, "tag", output, formats=("json",)) if out else {name: [] for name in pictures}
    )
    return answer_each(plan, open_lens=model.open, ask=ask, show=show, overwrite=overwrite, as_json=json)


def _verdict(tags: "Tags", at_least: float) -> str:
    """One line: which labels are there, or why that is not known."""
    from clipsight.results.wording import printable

    if bool(tags.presence.isnan().all()):
        return f"what is there was not measured: {tags.presence_reason}"
    names = list(dict.fromkeys(printable(found.label) for found in tags.there(at_least)))
    some = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return f"there: {some or 'none of the labels'} (presence {at_least:g} or more)"
