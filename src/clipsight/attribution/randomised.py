"""An untrained text tower: the same shapes, with random weights in its blocks.

An attribution that says something of the model must change when the model's weights are replaced (arXiv 1810.03292).
The picture's feature, the token embeddings and the final projection stay as they are.
"""

import copy
from collections.abc import Iterator

import torch
from torch import nn

from clipsight.towers.families import towers_of
from clipsight.towers.view import TextView

_PICTURE_SIDE = ("visual", "vision_model", "visual_projection")


@torch.no_grad()
def randomised_text(module: nn.Module, seed: int = 0, blocks: int | None = None) -> TextView:
    """The text tower of a copy with random weights in its blocks; the module itself is not changed.

    Each matrix is drawn from a normal distribution of its own mean and deviation; norms and biases stay.

    Args:
        module: a whole model of open_clip or transformers; its picture tower is not copied.
        seed: the same numbers for the same seed, on every device.
        blocks: how many of the last blocks; None is all of them.

    Raises:
        ValueError: the text tower has no list of blocks, or not so many.
    """
    known = _text_blocks(module)
    count = len(known) if blocks is None else blocks
    if not 0 < count <= len(known):
        raise ValueError(
            f"{blocks} blocks were to be drawn anew and the text tower has {len(known)}; give 1 to {len(known)}, or "
            "None."
        )
    shared = {id(child): child for name, child in module.named_children() if name in _PICTURE_SIDE}
    copied = copy.deepcopy(module, dict(shared))
    random = torch.Generator().manual_seed(seed)
    for block in _text_blocks(copied)[-count:]:
        for parameter in block.parameters():
            if parameter.ndim >= 2:
                drawn = torch.randn(parameter.shape, generator=random)
                plain = parameter.float()
                parameter.copy_(drawn.to(plain) * plain.std() + plain.mean())
    return towers_of(copied).text


def _text_blocks(module: nn.Module) -> nn.ModuleList:
    """The longest list of modules beside the picture tower: the text tower's blocks."""
    return max(_lists(module), key=len, default=nn.ModuleList())


def _lists(module: nn.Module) -> Iterator[nn.ModuleList]:
    for name, child in module.named_children():
        if name not in _PICTURE_SIDE and name != "text_decoder":
            yield from (one for one in child.modules() if isinstance(one, nn.ModuleList))
