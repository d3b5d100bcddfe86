"""Options of the maps that `explain` and `points` make, and what the Python API is asked with them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from clipsight.cli.options import (
    ResolutionWord,
    Several,
    Templates,
    read_method,
    read_resolution,
    read_templates,
)
from clipsight.cli.outcome import UsageError
from clipsight.cli.progress import waiting

if TYPE_CHECKING:
    from clipsight.results import Explanation
    from clipsight.session.lens import Lens

ContrastWord = Annotated[
    Literal["auto", "none", "labels", "empty"],
    Parameter(
        help="What to subtract from the scores: what all texts have in common (`labels`), the empty prompt (`empty`), "
        "or nothing (`none`). `auto` chooses, and records its choice.",
    ),
]

MapMethod = Annotated[
    str,
    Parameter(
        help="How maps are made: by patch features or, such as `exact`, by attribution. `clipsight methods` lists the "
        "methods."
    ),
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class MapOptions:
    """How maps are made."""

    method: MapMethod = "clip_surgery"
    contrast: ContrastWord = "auto"

    contrast_name: Several = ()
    """Names of things to contrast with, instead of --contrast. With 20 or more, presence is measured too."""

    resolution: ResolutionWord = "native"
    templates: Templates = ("auto",)

    def question(self, texts: Sequence[str]) -> "Callable[[Lens, str], Explanation]":
        """The question with these options, checked.

        Raises:
            UsageError: an option that cannot be read.
        """
        size = read_resolution(self.resolution)
        contrast = read_contrast(self.contrast, self.contrast_name)
        templates, method = read_templates(self.templates), _read_method(self.method)

        def ask(lens: "Lens", picture: str) -> "Explanation":
            seen = lens.see(picture, resolution=size)
            return seen.explain(tuple(texts), method=method, contrast=contrast, templates=templates)

        return ask


MAPS = MapOptions()


def _read_method(name: str) -> str:
    """The id of an image attribution, or else of a recipe.

    Raises:
        UsageError: there is neither.
    """
    with waiting():
        from clipsight.attribution.image import image_attribution_ids
    return name if name in image_attribution_ids() else read_method(name)


def read_contrast(word: str, names: Sequence[str]) -> str | list[str] | None:
    """The API's `contrast` from --contrast and --contrast-name.

    Raises:
        UsageError: both were given.
    """
    if names and word != "auto":
        raise UsageError(f"--contrast {word} and --contrast-name exclude each other; give one of the two.")
    return list(names) if names else None if word == "none" else word
