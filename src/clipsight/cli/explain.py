"""`clipsight explain`: where in the image does the model see these words?"""

from typing import TYPE_CHECKING

from clipsight.cli.batch import Told, answer_each
from clipsight.cli.map_options import MAPS, MapOptions
from clipsight.cli.options import Images, ModelOptions, OutputOptions
from clipsight.cli.outcome import say
from clipsight.cli.paths import find_pictures, plan_outputs
from clipsight.cli.registry import verb
from clipsight.cli.texts import TextOptions

if TYPE_CHECKING:
    from clipsight.results import Explanation

MOST = 6
"""Texts in a verdict."""


@verb(10)
def explain(
    images: Images = (),
    /,
    *,
    texts: TextOptions = TextOptions(),
    maps: MapOptions = MAPS,
    model: ModelOptions = ModelOptions(),
    output: OutputOptions = OutputOptions(),
) -> int:
    """Where in the image does the model see these words?

    Writes a sheet with one map per text, `<image's stem>.explain.png`, and prints whether each text is there. The
    details give each text's presence, similarity and peak, and how far to trust its map.
    """
    pictures, words = texts.read(images)
    ask = maps.question(words)
    plan = plan_outputs(find_pictures(pictures), "explain", output)
    return answer_each(plan, output, open_lens=model.open, ask=ask, tell=_tell, reads=(texts.texts_file,))


def _tell(found: "Explanation") -> Told:
    from clipsight.draw import printable
    from clipsight.results import summary_line

    def details() -> None:
        for index, trust in enumerate(found.trust):
            say(summary_line(found, index), indent=2)
            say(printable(trust), indent=4, style="dim")

    return Told(verdict=presence_in_words(found), details=details, notes=found.provenance.notes)


def presence_in_words(found: "Explanation") -> str:
    """Which texts are there; their similarity where that was not measured."""
    from clipsight.draw import number
    from clipsight.scoring.trust import verdict

    said = []
    for text, presence, similarity in zip(
        found.texts, found.presence.tolist(), found.similarity.tolist(), strict=True
    ):
        what = (
            f"similarity {number(similarity)}"
            if presence != presence
            else f"{verdict(presence)} ({presence:.2f})"
        )
        said.append(f"{text} {what}")
    more = f", and {len(said) - MOST} more" if len(said) > MOST else ""
    unmeasured = "; presence not measured" if bool(found.presence.isnan().all()) else ""
    return ", ".join(said[:MOST]) + more + unmeasured
