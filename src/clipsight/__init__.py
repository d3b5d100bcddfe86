"""clipsight: see what CLIP sees, read what it weighs.

    import clipsight
    lens = clipsight.load("ViT-B-16", pretrained="openai")
    lens.explain("photo.jpg", ["a dog", "a red car"]).save("photo.png")

Names load what they need on first use: `import clipsight` alone imports neither torch nor a model.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipsight import errors, results, world
    from clipsight.errors import ClipsightError, ClipsightWarning, Unsupported
    from clipsight.features import Recipe
    from clipsight.results import (
        Anomaly,
        Classification,
        Explanation,
        Interaction,
        Points,
        Provenance,
        Segmentation,
        SentenceView,
        Tags,
        WordAttribution,
    )
    from clipsight.session.lens import Lens
    from clipsight.session.load import attributions, load, methods, models, recipes
    from clipsight.session.seen import Seen

_HOME = {
    "load": "session.load",
    "methods": "session.load",
    "models": "session.load",
    "recipes": "session.load",
    "attributions": "session.load",
    "Lens": "session.lens",
    "Seen": "session.seen",
    "Anomaly": "results",
    "Classification": "results",
    "Explanation": "results",
    "Interaction": "results",
    "Points": "results",
    "Provenance": "results",
    "Segmentation": "results",
    "SentenceView": "results",
    "Tags": "results",
    "WordAttribution": "results",
    "Recipe": "features",
    "ClipsightError": "errors",
    "ClipsightWarning": "errors",
    "Unsupported": "errors",
}
_ROOMS = ("errors", "results", "world")

__version__ = "0.1.0"
__all__ = [
    "Anomaly",
    "Classification",
    "ClipsightError",
    "ClipsightWarning",
    "Explanation",
    "Interaction",
    "Lens",
    "Points",
    "Provenance",
    "Recipe",
    "Seen",
    "Segmentation",
    "SentenceView",
    "Tags",
    "Unsupported",
    "WordAttribution",
    "attributions",
    "errors",
    "load",
    "methods",
    "models",
    "recipes",
    "results",
    "world",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(f"clipsight.{_HOME[name]}"), name)
    elif name in _ROOMS:
        value = import_module(f"clipsight.{name}")
    else:
        from difflib import get_close_matches

        near = get_close_matches(name, __all__, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise AttributeError(f"module 'clipsight' has no attribute {name!r}{hint}", name=name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
