"""`clipsight interact`: which word of a caption is matched by which region of an image?"""

from typing import TYPE_CHECKING, Literal

from clipsight.cli.batch import Told, answer_each
from clipsight.cli.options import (
    Images,
    ModelOptions,
    OutputOptions,
    ResolutionWord,
    Several,
    read_resolution,
)
from clipsight.cli.outcome import UsageError, say
from clipsight.cli.paths import find_pictures, plan_outputs
from clipsight.cli.registry import verb
from clipsight.cli.texts import one_text, pictures_among
from clipsight.cli.words import Caption, spans_of

if TYPE_CHECKING:
    from clipsight.results import Interaction
    from clipsight.session.lens import Lens

MOST = 5
"""Words in a verdict."""


@verb(15)
def interact(
    images: Images = (),
    /,
    *,
    text: Caption = (),
    method: Literal["exact", "clip_surgery"] = "exact",
    span: Several = (),
    roles: Literal["rules", "textblob", "spacy", "none"] = "rules",
    resolution: ResolutionWord = "native",
    model: ModelOptions = ModelOptions(),
    output: OutputOptions = OutputOptions(),
) -> int:
    """Which word of a caption is matched by which region of the image?

    Writes `<image's stem>.interact.png`, a map for each content word under the caption, and prints the words that carry
    most of the match. With --format html the page shows the region of a word and the words of a region.

    Args:
        text: The caption, in quotation marks. It may also stand behind the images.
        method: `exact`: the share of the cosine that each word and each region carry together, and what is left over.
            `clip_surgery`: each word asked by itself.
        span: Phrases of the caption to score as well, as text or as characters such as `2:9`.
        roles: How to find objects, attributes and relations; `rules` needs no extra package.
    """
    moved, captions = pictures_among(text)
    asked = [*images, *moved]
    caption = one_text(captions, "a red car left of a dog")
    if caption is None and len(asked) > 1:
        caption = asked.pop()
    if not asked or caption is None:
        raise UsageError(
            'give an image and its caption, such as clipsight interact dog.jpg "a red car left of a dog".'
        )
    size, phrases = read_resolution(resolution), spans_of(caption, span)

    def ask(lens: "Lens", picture: str) -> "Interaction":
        kind = None if roles == "none" else roles
        return lens.interact(picture, caption, method, phrases or None, kind, resolution=size)

    plan = plan_outputs(find_pictures(asked), "interact", output)
    return answer_each(plan, output, open_lens=model.open, ask=ask, tell=_tell)


def _tell(found: "Interaction") -> Told:
    from clipsight.results.wording import number, printable

    ranked = sorted(found.words, key=lambda word: -abs(word.score))[:MOST]
    said = ", ".join(f"{printable(word.text)} {number(word.score)}" for word in ranked)

    def details() -> None:
        for line in (*found.lines(), *map(printable, found.trust)):
            say(line, indent=2)

    return Told(verdict=said, details=details, notes=found.provenance.notes)
