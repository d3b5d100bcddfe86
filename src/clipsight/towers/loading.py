"""From what a user names to a model that runs, with its tokenizer, picture settings, fingerprint and card."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os import PathLike, fspath
from typing import Any

import open_clip
import torch
from open_clip.tokenizer import HFTokenizer
from open_clip.transform import PreprocessCfg, merge_preprocess_dict
from torch import nn

from clipsight.checkpoints.activation import NAMES
from clipsight.checkpoints.build import build_module
from clipsight.checkpoints.fingerprint import fingerprint, remembered_fingerprint
from clipsight.checkpoints.fit_weights import apply_state
from clipsight.checkpoints.locate import resolve_source
from clipsight.errors import CheckpointError, Unsupported, first_line
from clipsight.language.tokens import Tokenizer
from clipsight.towers.card import Card, activation_of, describe
from clipsight.towers.families import is_transformers
from clipsight.towers.placing import as_device, as_dtype, placed

_CLIP_VOCABULARY = 49_408


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """What the model expects of its pictures.

    Attributes:
        size: (H, W) pixels of the training pictures.
        mean: RGB mean that is subtracted from pixels in [0, 1].
        std: RGB deviation they are divided by.
        interpolation: "bicubic" or "bilinear", the resampling the model was trained with.
        resize_mode: open_clip's "shortest" (crop), "squash" or "longest" (pad).
    """

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    resize_mode: str


LIVE = "live module"
"""What a module that somebody else holds is called."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Loaded:
    """A model and what must be known to use it.

    Attributes:
        module: the open_clip model, in evaluation mode on its device.
        tokenizer: texts -> ids; None for a vocabulary that no tokenizer of open_clip's serves.
        preprocess: what it expects of pictures.
        name: the model as asked for, "live module" for a module.
        pretrained: tag or path as asked for; None where the name says it all.
        fingerprint: short hash of the weights.
        card: the model in plain facts.
        activation: which activation runs and what decided, such as "QuickGELU, by the tag 'openai' of ViT-B-32".
        model_cfg: open_clip's architecture, with `quick_gelu` as it runs; None for live modules and transformers'.
    """

    module: nn.Module
    tokenizer: Tokenizer | None
    preprocess: Preprocess
    name: str
    pretrained: str | None
    fingerprint: str
    card: Card
    activation: str = ""
    model_cfg: Mapping[str, Any] | None = None


def load_model(
    model: str | PathLike[str] | nn.Module,
    pretrained: str | PathLike[str] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    quick_gelu: bool | None = None,
    *,
    trust_program: bool = False,
) -> Loaded:
    """Load a model with its tokenizer, picture settings, fingerprint and card.

    Args:
        model: an open_clip name ("ViT-B-16"), the path of a weight file or of a model-configuration .json,
            "local-dir:FOLDER", "hf-hub:org/name", "hf:org/name" or "hf:FOLDER" (transformers), "clipsight-tiny", or a
            live module of open_clip's or transformers'. A live module is never changed: in training mode a copy that
            shares its weights is used, for another device or number type a copy of the weights too.
        pretrained: tag of the name ("openai"), or the path of a weight file; None for the other kinds of model. "#ema"
            behind a path takes the averaged weights of a training checkpoint, "#NAME" its entry NAME.
        device: None takes CUDA, else Apple's MPS, else the CPU; a live module stays where it is.
        dtype: number type to compute in, torch's or its name; None is float32, a live module's own.
        quick_gelu: None takes what the tag, the configuration or the weight file says; True or False overrules it, with
            a warning.
        trust_program: read TorchScript archives too, such as OpenAI's original release. They are programs.

    Raises:
        ValueError: an unknown name, tag, device or number type, or arguments that do not go together.
        CheckpointError: weights that cannot be read or do not fit.
        HubUnreachable: weights that must be downloaded and could not be.
        Unsupported: a module that is neither open_clip's nor transformers'; a package that is not installed.
    """
    kind = as_dtype(dtype)
    if isinstance(model, nn.Module):
        return _live(model, pretrained, device, kind, quick_gelu)
    name, weights = fspath(model), None if pretrained is None else fspath(pretrained)
    place = as_device(device)
    if name.startswith("hf:"):
        return _transformers(name, weights, place, kind, quick_gelu)
    source = resolve_source(name, weights, quick_gelu, trust_program=trust_program)
    file = source.weights
    module: Any = build_module(source.model_cfg, source.activation.quick)
    apply_state(module, file.state, source=str(file.path), architecture=name)
    module.eval()
    settings = merge_preprocess_dict(asdict(PreprocessCfg()), dict(source.preprocess_cfg))
    settings["size"] = module.visual.image_size
    open_clip.set_model_preprocess_cfg(module, settings)
    mark = remembered_fingerprint(module, file, source.model_cfg)
    tokenizer = _tokenizer(source.model_cfg, source.tokenizer_name)
    return Loaded(
        module=module.to(device=place, dtype=kind or torch.float32),
        tokenizer=tokenizer,
        preprocess=_preprocess(module),
        name=name,
        pretrained=weights,
        fingerprint=mark,
        card=describe(module, source.extras, getattr(tokenizer, "context_length", None)),
        activation=str(source.activation),
        model_cfg={**source.model_cfg, "quick_gelu": source.activation.quick},
    )


def _transformers(
    name: str,
    pretrained: str | None,
    device: torch.device,
    dtype: torch.dtype | None,
    quick_gelu: bool | None,
) -> Loaded:
    if pretrained is not None or quick_gelu is not None:
        raise ValueError(
            f"pretrained= and quick_gelu= do not go with model={name!r}, which has its own weights and says its "
            "activation; leave them out."
        )
    from clipsight.towers.hf_loading import load_hf

    return load_hf(name, device=device, dtype=dtype)


def _live(
    module: nn.Module,
    pretrained: str | PathLike[str] | None,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
    quick_gelu: bool | None,
) -> Loaded:
    ours = all(hasattr(module, part) for part in ("visual", "encode_image", "encode_text"))
    if not ours and not is_transformers(module):
        raise Unsupported(
            f"a live module of class {type(module).__name__} was passed; open_clip models are taken (they have visual, "
            "encode_image and encode_text), and two-tower models of transformers."
        )
    if pretrained is not None or quick_gelu is not None:
        raise ValueError(
            "pretrained= and quick_gelu= do not go with a live module, which has its weights and activation; leave "
            "them out, or build the module with them."
        )
    if not ours:
        from clipsight.towers.hf_loading import live_hf

        return live_hf(module, device=device, dtype=dtype)
    mark = fingerprint(module)
    module = placed(module, device, dtype)
    vocabulary = getattr(module, "vocab_size", None)
    context = getattr(module, "context_length", None) or 77
    return Loaded(
        module=module,
        tokenizer=open_clip.SimpleTokenizer(context_length=context)
        if vocabulary == _CLIP_VOCABULARY
        else None,
        preprocess=_preprocess(module),
        name=LIVE,
        pretrained=None,
        fingerprint=mark,
        card=describe(module),
        activation=f"{NAMES[activation_of(module) == 'quick_gelu']}, as the module was built",
    )


def _tokenizer(model_cfg: Mapping[str, Any], name: str) -> Tokenizer | None:
    """open_clip's tokenizer for a model; None where its vocabulary is neither CLIP's nor a named one."""
    text = model_cfg["text_cfg"]
    special = text.get("hf_tokenizer_name") or "siglip" in name.lower()
    if not special and text.get("vocab_size", _CLIP_VOCABULARY) != _CLIP_VOCABULARY:
        return None
    context = text.get("context_length", 77)
    if not special:
        return open_clip.SimpleTokenizer(context_length=context, **(text.get("tokenizer_kwargs") or {}))
    wanted, folder = text.get("hf_tokenizer_name") or name, name.removeprefix("local-dir:")
    try:
        if name and folder == name:
            return open_clip.get_tokenizer(name)
        # In a folder, as open_clip does where it knows folders, which its older versions do not.
        mode = {"tokenizer_mode": text["tokenizer_mode"]} if text.get("tokenizer_mode") else {}
        kwargs = text.get("tokenizer_kwargs") or {}
        return HFTokenizer(folder or wanted, context_length=context, **mode, **kwargs)
    except ImportError:
        raise Unsupported(
            f'the tokenizer of {wanted} comes from transformers, which is not installed: pip install "clipsight[hf]".'
        ) from None
    except (OSError, ValueError) as error:
        place = "the cache" if folder == name else f"the folder {folder}"
        raise CheckpointError(
            f"the tokenizer {wanted!r} cannot be read from {place} ({first_line(error)}); put its tokenizer.json and "
            "tokenizer_config.json there, or connect once so that they are downloaded."
        ) from None


def _preprocess(module: nn.Module) -> Preprocess:
    settings = asdict(PreprocessCfg()) | open_clip.get_model_preprocess_cfg(module)
    size = settings["size"]
    return Preprocess(
        size=(size, size) if isinstance(size, int) else (int(size[0]), int(size[1])),
        mean=_rgb(settings["mean"]),
        std=_rgb(settings["std"]),
        interpolation=settings["interpolation"],
        resize_mode=settings["resize_mode"],
    )


def _rgb(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
