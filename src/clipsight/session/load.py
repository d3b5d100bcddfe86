"""Opening a model, and the ids of everything that can be asked for."""

from os import PathLike

import torch
from torch import nn

from clipsight.attribution import attribution_ids
from clipsight.checkpoints.locate import model_ids
from clipsight.features import recipe_ids
from clipsight.session.lens import Lens
from clipsight.towers.loading import load_model


def load(
    model: str | PathLike[str] | nn.Module,
    pretrained: str | PathLike[str] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    quick_gelu: bool | None = None,
    *,
    trust_program: bool = False,
) -> Lens:
    """Open a model.

    Args:
        model: open_clip name, path of a weight file or of an open_clip model-config .json, "local-dir:PATH",
            "hf-hub:org/name", "hf:org/name" or "hf:FOLDER" (transformers), "clipsight-tiny" (bundled, offline), or a
            live module of open_clip's or transformers'.
        pretrained: open_clip tag or path of a weight file; None with any model that has its own weights. "#ema" behind
            a path takes the averaged weights of a training checkpoint, "#NAME" its entry NAME.
        device: None takes CUDA, else MPS, else the CPU.
        dtype: None is float32.
        quick_gelu: None takes what the tag, the configuration or the weight file says.
        trust_program: read TorchScript archives too, such as OpenAI's original release. They are programs.

    Raises:
        ValueError, CheckpointError, HubUnreachable, Unsupported: see `clipsight.towers.loading.load_model`.

    Example:
        >>> import clipsight
        >>> lens = clipsight.load("clipsight-tiny")
        >>> lens.card.family
        'open_clip ViT'
    """
    return Lens(load_model(model, pretrained, device, dtype, quick_gelu, trust_program=trust_program))


def recipes() -> tuple[str, ...]:
    """Ids of the methods that make patch features."""
    return recipe_ids()


def attributions() -> tuple[str, ...]:
    """Ids of the methods that say which words carry a match: the four of CLIP-CAE first."""
    return attribution_ids()


def models() -> tuple[str, ...]:
    """Names that `load` takes: the bundled model, then every architecture that the installed open_clip lists."""
    return model_ids()
