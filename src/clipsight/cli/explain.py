"""`clipsight explain`: where in the picture does the model see these words?"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

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
from clipsight.cli.outcome import terminal
from clipsight.cli.paths import find_pictures, plan_outputs

if TYPE_CHECKING:
    from clipsight.results import Explanation
    from clipsight.session.lens import Lens


def explain(
    images: list[str],
    /,
    *,
    text: Repeated = (),
    texts_file: Path | None = None,
    method: str = "clip_surgery",
    contrast: Literal["auto", "none", "labels", "empty"] = "auto",
    contrast_name: Repeated = (),
    resolution: str = "native",
    templates: Templates = ("auto",),
    model: ModelOptions = ModelOptions(),  # noqa: B008 - frozen
    output: OutputOptions = OutputOptions(),  # noqa: B008 - frozen
    json: bool = False,
) -> int:
    """Where in the picture does the model see these words?

    Writes `<picture's stem>.explain.png` and prints for each text its presence, similarity and peak, and how
    far to trust the map.

    Args:
        images: Pictures, or patterns such as "photos/*.jpg".
        text: What to look for; repeat it for each text.
        texts_file: A UTF-8 file with one text a line.
        method: How patch features are made; `clipsight methods` lists them.
        contrast: What is subtracted from the scores: `labels` what the texts share, `empty` the empty prompt,
            `none` nothing; `auto` chooses and records what it chose.
        contrast_name: A distractor to contrast with, instead of --contrast; repeat it for each name.
        resolution: `native` keeps the aspect, `square` stretches, both at the model's own size; 448 is a short
            side, 336x448 height by width.
        templates: `auto` for those that suit the model, `none`, a set such as IN80, or a sentence with {} for the
            text; repeat it for several sentences.
        json: Print one JSON document on standard output and nothing else.
    """
    texts = gather_texts(text, texts_file, option="text")
    size = read_resolution(resolution)
    against = read_contrast(contrast, contrast_name)
    prompts = read_templates(templates)
    recipe = read_method(method)

    def ask(lens: "Lens", picture: str) -> "Explanation":
        seen = lens.see(picture, resolution=size)
        return seen.explain(texts, method=recipe, contrast=against, templates=prompts)

    plan = plan_outputs(find_pictures(images), "explain", output)
    return answer_each(
        plan, open_lens=model.open, ask=ask, show=_show, overwrite=output.overwrite, as_json=json
    )


def _show(picture: str, explanation: "Explanation", files: Sequence[Path]) -> None:
    from clipsight.results import summary_line
    from clipsight.results.wording import printable

    console = terminal()
    console.print(f"[bold]{escape(picture)}[/bold] -> {escape(', '.join(map(str, files)))}")
    for index, trust in enumerate(explanation.trust):
        console.print(f"  {escape(summary_line(explanation, index))}")
        console.print(f"    {escape(printable(trust))}", style="dim")
    for note in explanation.provenance.notes:
        console.print(f"  note: {escape(note)}", style="dim")
