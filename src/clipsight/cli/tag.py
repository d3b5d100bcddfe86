"""`clipsight tag`: which of these things are in the image?"""

from typing import TYPE_CHECKING

from clipsight.cli.batch import Told, answer_each
from clipsight.cli.options import (
    SHEET_FORMATS,
    Images,
    ModelOptions,
    ResolutionWord,
    SheetOutput,
    Templates,
    read_resolution,
    read_templates,
)
from clipsight.cli.outcome import UsageError, say
from clipsight.cli.paths import find_pictures, plan_outputs
from clipsight.cli.registry import verb
from clipsight.cli.texts import TextOptions

if TYPE_CHECKING:
    from clipsight.results import Tags
    from clipsight.session.lens import Lens

MOST = 20
"""Labels in a verdict."""


@verb(50)
def tag(
    images: Images = (),
    /,
    *,
    texts: TextOptions = TextOptions(),
    templates: Templates = ("auto",),
    resolution: ResolutionWord = "native",
    top: int = 5,
    at_least: float = 0.8,
    model: ModelOptions = ModelOptions(),
    output: SheetOutput = SheetOutput(),
) -> int:
    """Which of these things are in the image? Several may be, or none.

    Writes a sheet with the best labels, `<image's stem>.tag.png`, and prints the labels that are present. Unlike in
    `classify`, labels do not compete with each other.

    Args:
        top: Number of labels to print in the details.
        at_least: Presence, from 0 to 1, from which a label counts as present.
    """
    pictures, labels = texts.read(images)
    if top < 1:
        raise UsageError(f"--top {top} shows nothing; give 1 or more.")
    if not 0 <= at_least <= 1:
        raise UsageError(f"--at-least {at_least:g} is not a presence; give 0 to 1, such as 0.8.")
    size, prompts = read_resolution(resolution), read_templates(templates)

    def ask(lens: "Lens", picture: str) -> "Tags":
        return lens.tag(picture, labels, templates=prompts, resolution=size)

    def tell(tags: "Tags") -> Told:
        def details() -> None:
            for line in tags.lines(top):
                say(line, indent=2)

        return Told(verdict=_verdict(tags, at_least), details=details, notes=tags.provenance.notes)

    plan = plan_outputs(find_pictures(pictures), "tag", output, formats=SHEET_FORMATS)
    return answer_each(plan, output, open_lens=model.open, ask=ask, tell=tell, reads=(texts.texts_file,))


def _verdict(tags: "Tags", at_least: float) -> str:
    """Which labels are present, or why that is not known."""
    if bool(tags.presence.isnan().all()):
        return f"presence not measured: {tags.presence_reason}"
    names = list(dict.fromkeys(found.label for found in tags.there(at_least)))
    some = ", ".join(names[:MOST]) + (f" and {len(names) - MOST} more" if len(names) > MOST else "")
    return f"{some or 'none of the labels'} (presence {at_least:g} or more)"
