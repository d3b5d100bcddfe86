"""`clipsight anomaly`: is this thing damaged, and where?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from cyclopts import Parameter

from clipsight.cli.batch import Told, answer_each
from clipsight.cli.options import (
    OUTPUT,
    Images,
    Method,
    ModelOptions,
    OutputOptions,
    ResolutionWord,
    Several,
    read_method,
    read_resolution,
)
from clipsight.cli.outcome import UsageError, say
from clipsight.cli.paths import find_pictures, plan_outputs
from clipsight.cli.registry import verb
from clipsight.cli.texts import TextWords, one_text, pictures_among

if TYPE_CHECKING:
    from clipsight.results import Anomaly
    from clipsight.session.lens import Lens

AnomalyFormat = Literal["png", "npz", "json"]


@Parameter(name="*", group=OUTPUT)
@dataclass(frozen=True, kw_only=True)
class AnomalyOutput(OutputOptions):
    """Where results go, and as what."""

    format: Annotated[tuple[AnomalyFormat, ...], Parameter(show_default=False)] = ()
    """File formats to write. Defaults to the suffix of the file name given to --out, else png."""


@verb(70)
def anomaly(
    images: Images = (),
    /,
    *,
    text: TextWords = (),
    domain: Annotated[tuple[str, ...], Parameter(show_default=" ".join)] = ("auto",),
    normal: Several = (),
    abnormal: Several = (),
    method: Method = "anoclip",
    views: Literal["one", "all"] = "one",
    adapt: int = 0,
    temperature: float | None = None,
    tiles: bool = False,
    resolution: ResolutionWord = "native",
    model: ModelOptions = ModelOptions(),
    output: AnomalyOutput = AnomalyOutput(),
) -> int:
    """Is this thing damaged, and where?

    Writes the map over the image, `<image's stem>.anomaly.png`, and prints a score that ranks images of the same thing.
    The score from which a piece counts as damaged has to be learnt from images of undamaged ones.

    Args:
        text: What the images show, such as bottle.
        domain: Kind of image: `objects`, `textures`, `auto` (textures for carpet, leather, grid, tile and wood), or
            your own words such as "X-ray image".
        normal: States of an undamaged piece, with {} for the name, such as "intact {}". Defaults to AnoCLIP's seven.
        abnormal: States of a damaged piece, such as "{} with a hole". Defaults to AnoCLIP's.
        views: `one` uses the image as it is; `all` averages the score over 22 rotated, shifted, mirrored and grey
            views, at 22 times the cost.
        adapt: Steps of fitting a small layer to each image's patches; the paper uses 5. The model is not changed.
        temperature: Divide cosines by this before the softmax, such as 0.01. By default, as in the paper, they are not
            divided: values lie near 0.5 and only rank places and images.
        tiles: Use square tiles along the long side, for elongated images.
    """
    moved, given = pictures_among(text)
    name = one_text(given, "bottle")
    if name is None:
        raise UsageError("no text was given; say what the images show, such as -t bottle.")
    kind = _read_states(name, domain, normal, abnormal)
    if adapt < 0:
        raise UsageError(f"--adapt {adapt} is negative; give 0 or more, such as 5.")
    if temperature is not None and not 0 < temperature < float("inf"):
        raise UsageError(
            f"--temperature {temperature:g} is not above 0; give one such as 0.01, or leave it out."
        )
    size, recipe = read_resolution(resolution), read_method(method)

    def ask(lens: "Lens", picture: str) -> "Anomaly":
        from clipsight.tasks.adapt import Adaptation

        return lens.anomaly(
            picture,
            name,
            recipe=recipe,
            domain=kind,
            normal=normal or None,
            abnormal=abnormal or None,
            views=views,
            temperature=temperature,
            adaptation=Adaptation(steps=adapt) if adapt else None,
            tiles=tiles,
            resolution=size,
        )

    plan = plan_outputs(find_pictures((*images, *moved)), "anomaly", output, formats=get_args(AnomalyFormat))
    return answer_each(plan, output, open_lens=model.open, ask=ask, tell=_tell)


def _read_states(
    name: str, domain: Sequence[str], normal: Sequence[str], abnormal: Sequence[str]
) -> str | list[str]:
    """The API's `domain`, after the prompts were tried.

    Raises:
        UsageError: an empty name, a state without {}, one in both poles, or a blank domain.
    """
    from clipsight.language.states import DOMAINS, state_prompts

    if not all(word.strip() for word in domain):
        raise UsageError('a --domain is blank; give a kind of image such as "X-ray image", or leave it out.')
    alone = len(domain) == 1 and domain[0] in ("auto", *DOMAINS)
    kind = domain[0] if alone else list(domain)
    try:
        state_prompts(name, domain=kind, normal=normal or None, abnormal=abnormal or None)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if not alone and (mixed := [word for word in domain if word in ("auto", *DOMAINS)]):
        raise UsageError(f"--domain {mixed[0]} cannot be combined with your own words; leave it out.")
    return kind


def _tell(found: "Anomaly") -> Told:
    from clipsight.draw import printable

    return Told(
        verdict=found.line(),
        details=lambda: say(printable(found.trust), indent=2, style="dim"),
        notes=found.provenance.notes,
    )
