"""`clipsight classify`: which of these labels fits the picture best?"""

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
    read_templates,
)
from clipsight.cli.outcome import Misuse, terminal
from clipsight.cli.paths import find_pictures, plan_outputs

if TYPE_CHECKING:
    from clipsight.results import Classification
    from clipsight.session.lens import Lens


def classify(
    images: list[str],
    /,
    *,
    label: Repeated = (),
    labels_file: Path | None = None,
    templates: Templates = ("auto",),
    top: int = 5,
    model: ModelOptions = ModelOptions(),  # noqa: B008 - frozen
    out: Path | None = None,
    overwrite: bool = False,
    json: bool = False,
) -> int:
    """Which of these labels fits the picture best?

    Prints the best labels with their probabilities among the labels given.

    Args:
        images: Pictures, or patterns such as "photos/*.jpg".
        label: A label; repeat it for each.
        labels_file: A UTF-8 file with one label a line.
        templates: `auto` for those that suit the model, `none`, a set such as IN80, or a sentence with {} for the
            label; repeat it for several sentences.
        top: How many labels to print.
        out: Also write `<picture's stem>.classify.json` into this folder, or this .json file for one picture.
        overwrite: Replace files that exist; without it they are kept and the command fails.
        json: Print one JSON document on standard output and nothing else.
    """
    labels = gather_texts(label, labels_file, option="label")
    prompts = read_templates(templates)
    if top < 1:
        raise Misuse(f"--top {top} shows nothing; give 1 or more.")

    def ask(lens: "Lens", picture: str) -> "Classification":
        return lens.classify(picture, labels, templates=prompts)

    def show(picture: str, classification: "Classification", files: Sequence[Path]) -> None:
        from clipsight.results.wording import printable

        console = terminal()
        written = f" -> {escape(str(files[0]))}" if files else ""
        console.print(f"[bold]{escape(picture)}[/bold]{written}")
        for name, probability in classification.top(top):
            console.print(f"  {probability:7.2%}  {escape(printable(name))}")

    pictures = find_pictures(images)
    output = OutputOptions(out=out, overwrite=overwrite)
    plan = (
        plan_outputs(pictures, "classify", output, formats=("json",))
        if out
        else {name: [] for name in pictures}
    )
    return answer_each(plan, open_lens=model.open, ask=ask, show=show, overwrite=overwrite, as_json=json)
