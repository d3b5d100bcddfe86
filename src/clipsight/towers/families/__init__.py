"""Which adapter looks at a model, and the reason where there is none.

Every module of this folder names one kind of image tower inside an open_clip model: its function `vision_family` gives
the adapter, or None for a tower of another kind. A new kind is one new file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

from torch import nn

from clipsight.errors import Unsupported
from clipsight.towers.open_clip_text import OpenClipText
from clipsight.towers.view import TextView, VisionView

VisionFamily = Callable[[nn.Module, nn.Module], tuple[str, Callable[[nn.Module], VisionView]] | None]
"""(image tower, whole model) → (kind of tower in words, adapter), or None."""

_VISION_FAMILIES: tuple[VisionFamily, ...] = tuple(
    import_module(f"{__name__}.{found.name}").vision_family for found in iter_modules(__path__)
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Towers:
    """The views of a model's two towers.

    Attributes:
        family: kind of image tower in words, such as "open_clip ViT".
        vision: the image tower, None when its patches cannot be read.
        off: why not, "" when they can.
        text: the text tower.
    """

    family: str
    vision: VisionView | None
    off: str
    text: TextView


def towers_of(module: nn.Module, context: int | None = None) -> Towers:
    """Views of a model, which is not changed. An unknown family is no error; `off` gives the reason.

    Args:
        module: the model.
        context: token positions that its tokenizer fills, for text towers that do not say (Hugging Face's).
    """
    if is_transformers(module):
        from clipsight.towers.hf_models import hf_towers

        return hf_towers(module)
    family, vision, off = open_clip_vision(module)
    return Towers(family=family, vision=vision, off=off, text=OpenClipText(module, context))


def open_clip_vision(module: nn.Module) -> tuple[str, VisionView | None, str]:
    """(family, view, reason) of an open_clip model's image tower; the view is None when there is a reason."""
    visual = module.get_submodule("visual")
    family, open_view = _open_clip_family(module, visual)
    try:
        return family, open_view(visual), ""
    except Unsupported as error:
        return family, None, str(error)


def is_transformers(module: nn.Module) -> bool:
    """Whether a model is one of Hugging Face's; asked without importing their library."""
    return any(kind.__module__.startswith("transformers.") for kind in type(module).__mro__)


def _open_clip_family(module: nn.Module, visual: nn.Module) -> tuple[str, Callable[[nn.Module], VisionView]]:
    for family in _VISION_FAMILIES:
        if (found := family(visual, module)) is not None:
            return found
    return f"open_clip {type(visual).__name__}", _nobody


def _nobody(visual: nn.Module) -> VisionView:
    raise Unsupported(f"this model's patches cannot be read: its image tower is a {type(visual).__name__}.")
