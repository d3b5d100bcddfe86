"""Load a model by name, with its tokenizer, picture settings, fingerprint and card."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from os import PathLike, fspath
from typing import Any

import open_clip
import torch
from open_clip.tokenizer import HFTokenizer
from open_clip.transform import PreprocessCfg, merge_preprocess_dict
from torch import nn

from clipsight.checkpoints.activation import NAMES
from clipsight.checkpoints.build import build_module, build_shapes
from clipsight.checkpoints.fingerprint import fingerprint, remembered_fingerprint
from clipsight.checkpoints.fit_weights import apply_state, check_fit
from clipsight.checkpoints.locate import resolve_source
from clipsight.checkpoints.transformers_files import text_folder
from clipsight.errors import CheckpointError, ClipsightError, Unsupported, first_line
from clipsight.language.tokens import Tokenizer
from clipsight.towers.card import Card, activation_of, describe
from clipsight.towers.families import is_transformers, towers_of
from clipsight.towers.placing import as_device, as_dtype, placed

_CLIP_VOCABULARY = 49_408


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """The preprocessing that the model expects.

    Attributes:
        size: (H, W) pixels of the training pictures.
        mean: RGB mean that is subtracted from pixels in [0, 1].
        std: RGB deviation they are divided by.
        interpolation: "bicubic" or "bilinear", the resampling the model was trained with.
        resize_mode: open_clip's "shortest" (crop), "squash" or "longest" (pad).
        max_patches: where pictures keep their shape and are scaled to at most so many patches (SigLIP 2 NaFlex), how
            many; None for models of one size.
    """

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    resize_mode: str
    max_patches: int | None = None


LIVE = "live module"
"""What a module that somebody else holds is called."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Loaded:
    """A model and everything needed to use it.

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
    tokenizer: Any = None,
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
        trust_program: also load TorchScript archives, such as OpenAI's original release. These execute code.
        tokenizer: None takes the model's own; else a name of open_clip's, "hf:org/name", a folder or a callable, see
            `clipsight.towers.choosing_tokenizer`.

    Raises:
        ValueError: an unknown name, tag, device or number type, or arguments that do not go together.
        CheckpointError: weights that cannot be read or do not fit.
        HubUnreachable: weights that must be downloaded and could not be.
        Unsupported: a module that is neither open_clip's nor transformers'; a package that is not installed.
    """
    loaded = _load(model, pretrained, device, dtype, quick_gelu, trust_program, tokenizer is not None)
    if tokenizer is None:
        return loaded
    from clipsight.towers.choosing_tokenizer import chosen_tokenizer, vocabulary_of

    view = towers_of(loaded.module, getattr(loaded.tokenizer, "context_length", None)).text

    def of_listed(name: str, context: int) -> Tokenizer | None:
        config: Any = open_clip.get_model_config(name)
        return _tokenizer({**config, "text_cfg": {**config["text_cfg"], "context_length": context}}, name)

    chosen = chosen_tokenizer(tokenizer, view, vocabulary_of(loaded.module), of_listed)
    return replace(loaded, tokenizer=chosen)


def _load(
    model: str | PathLike[str] | nn.Module,
    pretrained: str | PathLike[str] | None,
    device: torch.device | str | None,
    dtype: torch.dtype | str | None,
    quick_gelu: bool | None,
    trust_program: bool,
    other_tokenizer: bool,
) -> Loaded:
    """As `load_model`, with the model's own tokenizer, or with `other_tokenizer` perhaps none."""
    kind = as_dtype(dtype)
    if isinstance(model, nn.Module):
        return _live(model, pretrained, device, kind, quick_gelu)
    name, weights = fspath(model), None if pretrained is None else fspath(pretrained)
    place = as_device(device)
    if name.startswith("hf:"):
        return _transformers(name, weights, place, kind, quick_gelu)
    source = resolve_source(name, weights, quick_gelu, trust_program=trust_program)
    file = source.weights
    shapes = build_shapes({**source.model_cfg, "quick_gelu": source.activation.quick})
    check_fit(shapes, file.state, source=str(file.path), architecture=name)
    module: Any = build_module(source.model_cfg, source.activation.quick)
    apply_state(module, file.state, source=str(file.path), architecture=name)
    module.eval()
    settings = merge_preprocess_dict(asdict(PreprocessCfg()), dict(source.preprocess_cfg))
    settings["size"] = module.visual.image_size
    open_clip.set_model_preprocess_cfg(module, settings)
    mark = remembered_fingerprint(module, file, source.model_cfg)
    tokenizer = None if other_tokenizer else _tokenizer(source.model_cfg, source.tokenizer_name)
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
    _refuse_wrapped(module)
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
    text: Any = getattr(module, "text", None)
    # CoCa says its vocabulary on its text tower alone, and its context there without the class token.
    vocabulary = getattr(module, "vocab_size", None) or getattr(text, "vocab_size", None)
    context = getattr(text, "context_length", None) or getattr(module, "context_length", None) or 77
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


def _refuse_wrapped(module: nn.Module) -> None:
    """Say what to unwrap of a module that another program wrapped.

    Raises:
        Unsupported: adapters that are not merged, or a module for several devices.
    """
    if any(type(part).__module__.startswith("peft.") for part in module.modules()):
        raise Unsupported(
            f"a live module of class {type(module).__name__} was passed, and it holds adapters of PEFT's, which change "
            "what its layers compute; merge them first: clipsight.load(module.merge_and_unload())."
        )
    inner = getattr(module, "module", None)
    if isinstance(inner, nn.Module) and not hasattr(module, "encode_image"):
        raise Unsupported(
            f"a live module of class {type(module).__name__} was passed, which wraps a {type(inner).__name__}; pass "
            "what it wraps: clipsight.load(module.module)."
        )


def _tokenizer(model_cfg: Mapping[str, Any], name: str) -> Tokenizer | None:
    """open_clip's tokenizer for a model; None where its vocabulary is neither CLIP's nor a named one."""
    text = model_cfg["text_cfg"]
    wanted = text.get("hf_tokenizer_name")
    if not wanted and text.get("vocab_size", _CLIP_VOCABULARY) != _CLIP_VOCABULARY:
        return None
    context, kwargs = text.get("context_length", 77), text.get("tokenizer_kwargs") or {}
    if not wanted:
        if other := [key for key in kwargs if key != "clean"]:
            raise CheckpointError(
                f"model_cfg.text_cfg.tokenizer_kwargs has {other[0]!r}, which CLIP's own tokenizer does not take; take "
                "it out, or name the tokenizer that does in hf_tokenizer_name."
            )
        return open_clip.SimpleTokenizer(context_length=context, **kwargs)
    if name.startswith("local-dir:"):  # there open_clip reads it from the folder, whatever it is called
        return named_tokenizer(
            name.removeprefix("local-dir:"), context, wanted, text.get("tokenizer_mode"), kwargs
        )
    return named_tokenizer(wanted, context, wanted, text.get("tokenizer_mode"), kwargs)


def named_tokenizer(
    source: str, context: int, called: str, mode: str | None = None, kwargs: Mapping[str, Any] | None = None
) -> HFTokenizer:
    """open_clip's tokenizer built from transformers files, without running any of their code.

    Args:
        source: folder, or "org/name" of the hub.
        context: token positions of the model.
        called: the name in the configuration, for messages.
        mode, kwargs: `tokenizer_mode` and `tokenizer_kwargs` of an open_clip configuration.

    Raises:
        Unsupported: a package that is not installed.
        CheckpointError: it cannot be read, or asks for code.
        HubUnreachable: it must be downloaded and could not be.
    """
    try:
        folder = text_folder(source, f"the tokenizer {called!r}", "")
        # Older versions of open_clip have no modes.
        modes = {"tokenizer_mode": mode} if mode else {}
        return HFTokenizer(
            str(folder),
            context_length=context,
            **modes,
            **(kwargs or {}),
            local_files_only=True,
            trust_remote_code=False,
        )
    except ImportError:
        raise Unsupported(
            f'the tokenizer of {called} comes from transformers, which is not installed: pip install "clipsight[hf]".'
        ) from None
    except ClipsightError:
        raise
    except Exception as error:  # a damaged file can fail in any way
        raise CheckpointError(
            f"the tokenizer {called!r} cannot be read from the folder {source} ({first_line(error)}); put its "
            "tokenizer.json and tokenizer_config.json there."
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
