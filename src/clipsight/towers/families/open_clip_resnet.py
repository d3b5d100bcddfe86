"""open_clip's own ResNets."""

from open_clip.modified_resnet import ModifiedResNet
from torch import nn

from clipsight.towers.open_clip_resnet import OpenClipResNet


def vision_family(visual: nn.Module, module: nn.Module) -> tuple[str, type[OpenClipResNet]] | None:
    """(kind, adapter) of a `ModifiedResNet`."""
    return ("open_clip ResNet", OpenClipResNet) if isinstance(visual, ModifiedResNet) else None
