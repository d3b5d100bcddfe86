"""timm's towers inside open_clip models."""

from collections.abc import Callable

from open_clip.timm_model import TimmModel
from torch import nn

from clipsight.towers.view import VisionView


def vision_family(
    visual: nn.Module, module: nn.Module
) -> tuple[str, Callable[[nn.Module], VisionView]] | None:
    """(kind, adapter) of a `TimmModel`."""
    if not isinstance(visual, TimmModel):
        return None
    from clipsight.towers.timm_models import timm_family

    return timm_family(visual)
