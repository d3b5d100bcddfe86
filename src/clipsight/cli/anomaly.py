"""`clipsight anomaly`: is this thing damaged, and where?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from cyclopts import Parameter
from rich.markup import escape

from clipsight.cli.batch import answer_each
from clipsight.cli.options import ModelOptions, OutputOptions, Repeated, read_method, read_resolution
from clipsight.cli.outcome import Misuse, terminal
from clipsight.cli.paths import find_pictures, plan_outputs

if TYPE_CHECKING:
    from pathlib import Path

    from clipsight.results import Anomaly
    from clipsight.session.lens import Lens

AnomalyFormat = Literal["png", "npz", "json"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class AnomalyOutput(OutputOptions):
    """Where results go, and as what."""

    format: Annotated[tuple[AnomalyFormat, ...], Parameter(show_default=False)] = ()
    """What to write; repeat it for several. Without one: what the name given to --out ends with, else png."""


def anomaly(
    images: list[str],
    /,
    *,
    name: str,
    domain: Annotated[tuple[str, ...], Parameter(show_default=" ".join)] = ("auto",),
    normal: Repeated = (),
    abnormal: Repeated = (),
    method: str = "anoclip",
    views: Literal["one", "all"] = "one",
    adapt: int = 0,
    temperature: float | None = None,
    tiles: bool = False,
    resolution: str = "native",
    model: ModelOptions = ModelOptions(),  # noqa: B008 - frozen
    output: AnomalyOutput = AnomalyOutput(),
    json: bool = False,
) -> int:
    """Is this thing damaged, and where?

    Writes `<picture's stem>.anomaly.png`, the map over the picture, and prints a score that orders pictures of the
    same thing. Where "damaged" begins must be learnt from pictures that are known to be whole.

    Args:
        images: Pictures, or patterns such as "bottles/*.png".
        name: What the pictures show, such as bottle.
        domain: Kind of picture: `objects`, `textures`, `auto` (textures for carpet, leather, grid, tile, wood), or
            your own words such as "X-ray image"; repeat it for several.
        normal: A state of a whole piece with {} for the name, such as "intact {}"; repeat it for several. Without
            one: the seven of AnoCLIP.
        abnormal: A state of a damaged piece, such as "{} with a hole"; repeat it for several.
        method: How patch features are made; `clipsight methods` lists them.
        views: `one`, the picture as it is; `all`, the score is a mean over 22 turned, moved, mirrored and grey views,
            at 22 times the work.
        adapt: Steps of adapting a small layer to each picture's patches; the paper's are 5. The model stays as it is.
        temperature: What cosines are divided by before the softmax, such as 0.01. Without one, as in the paper, values
            lie near 0.5 and only order places and pictures.
        tiles: Look through squares along the long side, for long pictures.
        resolution: `native` keeps the aspect, `square` stretches, both at the model's own size; 448 is a short
            side, 336x448 height by width.
        json: Print one JSON document on standard output and nothing else.
    """
    kind = _read_states(name, domain, normal, abnormal)
    if adapt < 0:
        raise Misuse(f"--adapt {adapt} is less than no step; give 0 or more, such as 5.")
    if temperature is not None and not 0 < temperature < float("inf"):
        raise Misuse(f"--temperature {temperature:g} is not above 0; give one such as 0.01, or leave it out.")
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

    plan = plan_outputs(find_pictures(images), "anomaly", output, formats=get_args(AnomalyFormat))
    return answer_each(
        plan, open_lens=model.open, ask=ask, show=_show, overwrite=output.overwrite, as_json=json
    )


def _read_states(
    name: str, domain: Sequence[str], normal: Sequence[str], abnormal: Sequence[str]
) -> str | list[str]:
    """The API's `domain`, after the prompts were tried.

    Raises:
        Misuse: an empty name, a state without {}, one in both poles, or a blank domain.
    """
    from clipsight.language.states import DOMAINS, state_prompts

    alone = len(domain) == 1 and domain[0] in ("auto", *DOMAINS)
    kind = domain[0] if alone else list(domain)
    try:
        state_prompts(name, domain=kind, normal=normal or None, abnormal=abnormal or None)
    except ValueError as error:
        raise Misuse(str(error)) from error
    if not alone and (mixed := [word for word in domain if word in ("auto", *DOMAINS)]):
        raise Misuse(f"--domain {mixed[0]} stands alone; leave it out beside words of your own.")
    return kind


def _show(picture: str, anomaly: "Anomaly", files: "Sequence[Path]") -> None:
    from clipsight.results.wording import printable

    console = terminal()
    console.print(f"[bold]{escape(picture)}[/bold] -> {escape(', '.join(map(str, files)))}")
    console.print(f"  {escape(anomaly.line())}")
    console.print(f"    {escape(printable(anomaly.trust))}", style="dim")
    for note in anomaly.provenance.notes:
        console.print(f"  note: {escape(note)}", style="dim")
