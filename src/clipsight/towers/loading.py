"""From what a user names to a model that runs, with its tokenizer, picture settings, fingerprint and card."""

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os import PathLike, fspath
from typing import Any

import open_clip
import torch
from open_clip.transform import PreprocessCfg, merge_preprocess_dict
from torch import nn

from clipsight.errors import Unsupported
from clipsight.language.tokens import Tokenizer
from clipsight.towers.card import Card, describe
from clipsight.towers.checkpoints import apply_state, read_state
from clipsight.towers.fingerprint import fingerprint
from clipsight.towers.sources import resolve_source

_CLIP_VOCABULARY = 49_408
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


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
    """

    module: nn.Module
    tokenizer: Tokenizer | None
    preprocess: Preprocess
    name: str
    pretrained: str | None
    fingerprint: str
    card: Card


def load_model(
    model: str | PathLike[str] | nn.Module,
    pretrained: str | PathLike[str] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    quick_gelu: bool | None = None,
) -> Loaded:
    """Load a model with its tokenizer, picture settings, fingerprint and card.

    Args:
        model: an open_clip name ("ViT-B-16"), the path of a model-configuration .json, "local-dir:FOLDER",
            "hf-hub:org/name", "clipsight-tiny", or a live open_clip module. A live module is never changed: in training
            mode a copy that shares its weights is used, for another device or number type a copy of the weights too.
        pretrained: tag of the name ("openai"), or the path of a weight file; None for the other kinds of model.
        device: None takes CUDA, else Apple's MPS, else the CPU; a live module stays where it is.
        dtype: number type to compute in, torch's or its name; None is float32, a live module's own.
        quick_gelu: None takes what the tag or the configuration says; True or False overrules it, with a warning.

    Raises:
        ValueError: an unknown name, tag, device or number type, or arguments that do not go together.
        CheckpointError: weights that cannot be read or do not fit.
        HubUnreachable: weights that must be downloaded and could not be.
        Unsupported: a module that is not open_clip's; a tokenizer that needs a package that is not installed.
    """
    kind = _dtype(dtype)
    if isinstance(model, nn.Module):
        return _live(model, pretrained, device, kind, quick_gelu)
    name, weights = fspath(model), None if pretrained is None else fspath(pretrained)
    place = _device(device)
    source = resolve_source(name, weights, quick_gelu)
    module: Any = _build(source.model_cfg, source.quick_gelu)
    apply_state(module, read_state(source.weights), source=str(source.weights), architecture=name)
    module.eval()
    settings = merge_preprocess_dict(asdict(PreprocessCfg()), dict(source.preprocess_cfg))
    settings["size"] = module.visual.image_size
    open_clip.set_model_preprocess_cfg(module, settings)
    mark = fingerprint(module)
    return Loaded(
        module=module.to(device=place, dtype=kind or torch.float32),
        tokenizer=_tokenizer(source.model_cfg, source.tokenizer_name),
        preprocess=_preprocess(module),
        name=name,
        pretrained=weights,
        fingerprint=mark,
        card=describe(module, source.extras),
    )


def _build(model_cfg: Mapping[str, Any], quick_gelu: bool) -> nn.Module:
    """The architecture with random weights; no tower fetches weights of its own."""
    settings: dict[str, Any] = copy.deepcopy(dict(model_cfg)) | {"quick_gelu": quick_gelu}
    vision, text = settings["vision_cfg"], settings["text_cfg"]
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    if "hf_model_name" in text:
        text["hf_model_pretrained"] = False
    custom = settings.pop("custom_text", False) or "hf_model_name" in text
    if not custom:
        return open_clip.CLIP(**settings)
    return (open_clip.CoCa if "multimodal_cfg" in settings else open_clip.CustomTextCLIP)(**settings)


def _live(
    module: nn.Module,
    pretrained: str | PathLike[str] | None,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
    quick_gelu: bool | None,
) -> Loaded:
    if not all(hasattr(module, part) for part in ("visual", "encode_image", "encode_text")):
        raise Unsupported(
            f"a live module of class {type(module).__name__} was passed; open_clip models are taken (they have visual, "
            "encode_image and encode_text)."
        )
    if pretrained is not None or quick_gelu is not None:
        raise ValueError(
            "pretrained= and quick_gelu= do not go with a live module, which has its weights and activation; leave "
            "them out, or build the module with them."
        )
    mark = fingerprint(module)
    first = next(module.parameters())
    place, kind = first.device if device is None else _device(device), dtype or first.dtype
    elsewhere = place.type != first.device.type or place.index not in (None, first.device.index)
    if elsewhere or kind != first.dtype:
        module = copy.deepcopy(module).to(device=place, dtype=kind).eval()
    elif module.training:
        # Evaluation mode is a flag of the module: set it on a copy, whose parameters and buffers stay the same tensors.
        shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
        module = copy.deepcopy(module, shared).eval()
    vocabulary = getattr(module, "vocab_size", None)
    context = getattr(module, "context_length", None) or 77
    return Loaded(
        module=module,
        tokenizer=open_clip.SimpleTokenizer(context_length=context)
        if vocabulary == _CLIP_VOCABULARY
        else None,
        preprocess=_preprocess(module),
        name="live module",
        pretrained=None,
        fingerprint=mark,
        card=describe(module),
    )


def _tokenizer(model_cfg: Mapping[str, Any], name: str) -> Tokenizer | None:
    """open_clip's tokenizer for a model; None where its vocabulary is neither CLIP's nor a named one."""
    text = model_cfg["text_cfg"]
    special = text.get("hf_tokenizer_name") or "siglip" in name.lower()
    if not special and text.get("vocab_size", _CLIP_VOCABULARY) != _CLIP_VOCABULARY:
        return None
    if not (special and name):
        return open_clip.SimpleTokenizer(
            context_length=text.get("context_length", 77), **(text.get("tokenizer_kwargs") or {})
        )
    try:
        return open_clip.get_tokenizer(name)
    except ImportError:
        raise Unsupported(
            f"the tokenizer of {name} comes from transformers, which is not installed: pip install transformers."
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


def _device(device: torch.device | str | None) -> torch.device:
    if device is None:
        apple = "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device("cuda" if torch.cuda.is_available() else apple)
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        cause = str(error).splitlines()[0]
        raise ValueError(
            f"device={str(device)!r} cannot be used here ({cause}); leave it out or pass 'cpu'."
        ) from None
    return place


def _dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    if dtype is None or isinstance(dtype, torch.dtype):
        kind = dtype
    else:
        kind = _DTYPES.get(dtype) or getattr(torch, dtype.removeprefix("torch."), None)
    if dtype is not None and not (isinstance(kind, torch.dtype) and kind.is_floating_point):
        raise ValueError(f"dtype={dtype!r} is not a floating-point type; pass float32, float16 or bfloat16.")
    return kind
