"""The adapter for a timm tower: block by block for vision transformers, otherwise as a whole."""

from collections.abc import Callable
from typing import Any

from torch import nn

from clipsight.towers.timm_maps import TimmMap
from clipsight.towers.timm_vit import TimmVision, unsupported_trunk
from clipsight.towers.view import VisionView

_SHORT = {
    "VisionTransformer": "ViT",
    "Eva": "EVA",
    "FastVit": "FastViT",
    "SwinTransformer": "Swin",
    "VisionTransformerRelPos": "ViT-relpos",
}


def timm_family(visual: nn.Module) -> tuple[str, Callable[[nn.Module], VisionView]]:
    """(family in words, adapter) of open_clip's `TimmModel`."""
    trunk: Any = visual.get_submodule("trunk")
    kind = type(trunk).__name__
    return f"timm {_SHORT.get(kind, kind)}", TimmMap if unsupported_trunk(trunk) else TimmVision
