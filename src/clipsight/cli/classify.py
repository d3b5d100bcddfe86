"""`clipsight classify`: which of these labels fits the image best?"""

from typing import TYPE_CHECKING

from clipsight.cli.batch import Told, answer_each
from clipsight.cli.options import SHEET_FORMATS, Images, ModelOptions, SheetOutput, Templates, read_templates
from clipsight.cli.outcome import UsageError, say
from clipsight.cli.paths import find_pictures, plan_outputs
from clipsight.cli.registry import verb
from clipsight.cli.texts import TextOptions

if TYPE_CHECKING:
    from clipsight.results import Classification
    from clipsight.session.lens import Lens


@verb(30)
def classify(
    images: Images = (),
    /,
    *,
    texts: TextOptions = TextOptions(),
    templates: Templates = ("auto",),
    top: int = 5,
    model: ModelOptions = ModelOptions(),
    output: SheetOutput = SheetOutput(),
) -> int:
    """Which of these labels fits the image best?

    Writes a sheet with the best labels, `<image's stem>.classify.png`, and prints the best one with its probability.
    Probabilities compare the labels with each other; they do not say whether any of them is in the image.

    Args:
        top: Number of labels to print in the details.
    """
    pictures, labels = texts.read(images)
    prompts = read_templates(templates)
    if top < 1:
        raise UsageError(f"--top {top} shows nothing; give 1 or more.")

    def ask(lens: "Lens", picture: str) -> "Classification":
        return lens.classify(picture, labels, templates=prompts)

    def tell(found: "Classification") -> Told:
        from clipsight.draw import printable

        best = found.top(top)

        def details() -> None:
            for name, probability in best:
                say(f"{probability:7.2%}  {printable(name)}", indent=2)

        name, probability = best[0]
        return Told(
            verdict=f"{name} {probability:.2%}",
            details=details if top > 1 else None,
            notes=found.provenance.notes,
        )

    plan = plan_outputs(find_pictures(pictures), "classify", output, formats=SHEET_FORMATS)
    return answer_each(plan, output, open_lens=model.open, ask=ask, tell=tell, reads=(texts.texts_file,))
