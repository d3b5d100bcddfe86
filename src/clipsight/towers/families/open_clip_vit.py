"""open_clip's own vision transformers."""

import open_clip
from open_clip.transformer import VisionTransformer
from torch import nn

from clipsight.towers.open_clip_vit import OpenClipVision


def vision_family(visual: nn.Module, module: nn.Module) -> tuple[str, type[OpenClipVision]] | None:
    """(kind, adapter) of a `VisionTransformer`."""
    if not isinstance(visual, VisionTransformer):
        return None
    return "open_clip CoCa" if isinstance(module, open_clip.CoCa) else "open_clip ViT", OpenClipVision
