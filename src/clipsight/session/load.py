"""Opening a model, and the ids of everything that can be asked for."""

from collections.abc import Callable
from difflib import get_close_matches
from os import PathLike

import torch
from torch import Tensor, nn

from clipsight.attribution import attribution_ids
from clipsight.attribution.image import image_attribution_ids
from clipsight.checkpoints.locate import model_ids
from clipsight.features import recipe_ids
from clipsight.session.interact import joint_ids
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
    tokenizer: str | PathLike[str] | Callable[..., Tensor] | None = None,
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
        trust_program: also load TorchScript archives, such as OpenAI's original release. These execute code.
        tokenizer: None takes the model's own. For a model that came without one, or with another: the name of an
            open_clip architecture ("ViT-B-16-SigLIP"), "hf:org/name" or a folder of transformers', or a callable
            `tokenizer(texts, context_length=…)` that gives integer ids (texts, positions).

    Raises:
        ValueError, CheckpointError, HubUnreachable, Unsupported: see `clipsight.towers.loading.load_model`.

    Example:
        >>> import clipsight
        >>> lens = clipsight.load("clipsight-tiny")
        >>> lens.card.family
        'open_clip ViT'
    """
    return Lens(
        load_model(
            model, pretrained, device, dtype, quick_gelu, trust_program=trust_program, tokenizer=tokenizer
        )
    )


def recipes() -> tuple[str, ...]:
    """Ids of the methods that make patch features."""
    return recipe_ids()


def attributions() -> tuple[str, ...]:
    """Ids of the methods that say which words carry a match: the four of CLIP-CAE first."""
    return attribution_ids()


def methods(verb: str = "explain") -> tuple[str, ...]:
    """Ids that a question takes as its `method`, or as its `recipe`.

    Args:
        verb: "explain", "points", "segment", "anomaly", "sentence", "words" or "interact".

    Raises:
        ValueError: a verb that has no methods to choose from.

    Example:
        >>> import clipsight
        >>> "naclip" in clipsight.methods("segment"), "perturbation" in clipsight.methods("words")
        (True, True)
    """
    if verb == "words":
        return attribution_ids()
    if verb == "interact":
        return joint_ids()
    if verb in ("explain", "points"):
        return (*recipe_ids(), *image_attribution_ids())
    if verb in ("segment", "anomaly", "sentence"):
        return recipe_ids()
    verbs = ("explain", "points", "segment", "anomaly", "sentence", "words", "interact")
    near = get_close_matches(str(verb), verbs, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise ValueError(
        f"verb={verb!r} has no methods to choose from{hint} Those that have are {', '.join(verbs)}."
    )


def models() -> tuple[str, ...]:
    """Names that `load` takes: the bundled model, then every architecture that the installed open_clip lists."""
    return model_ids()
