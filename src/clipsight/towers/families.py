"""Which adapter looks at a model: one line for each family, and the reason where there is none."""

from collections.abc import Callable
from dataclasses import dataclass

import open_clip
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import nn

from clipsight.errors import Unsupported
from clipsight.towers.open_clip_resnet import OpenClipResNet
from clipsight.towers.open_clip_text import OpenClipText
from clipsight.towers.open_clip_vit import OpenClipVision
from clipsight.towers.view import TextView, VisionView


@dataclass(frozen=True, kw_only=True, eq=False)
class Towers:
    """A model through clipsight's eyes.

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
    """Look at a model, changing nothing; never fails for a family that is not known, but says so in `off`.

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
    if isinstance(visual, VisionTransformer):
        return "open_clip CoCa" if isinstance(module, open_clip.CoCa) else "open_clip ViT", OpenClipVision
    if isinstance(visual, ModifiedResNet):
        return "open_clip ResNet", OpenClipResNet
    if isinstance(visual, TimmModel):
        from clipsight.towers.timm_models import timm_family

        return timm_family(visual)
    return f"open_clip {type(visual).__name__}", _nobody


def _nobody(visual: nn.Module) -> VisionView:
    raise Unsupported(f"this model's patches cannot be read: its image tower is a {type(visual).__name__}.")
