"""Where a model's architecture and weights come from: a name with a tag or a file, a configuration, a folder, the hub.

QuickGELU: OpenAI, MetaCLIP and DFN weights were trained with it, most others with GELU; the wrong one runs, looks
plausible and is wrong. A tag says which it is, and is obeyed even where the architecture's name says otherwise.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import open_clip

from clipsight.errors import CheckpointError, ClipsightWarning
from clipsight.towers.folder import bundled_folder, read_config, read_model_folder
from clipsight.towers.hub import fetch_repository, fetch_tag

BUNDLED = "clipsight-tiny"
"""The model that ships with clipsight."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A model on its way: architecture known, weights a local file.

    Attributes:
        model_cfg: open_clip's architecture.
        preprocess_cfg: open_clip's picture settings, as far as they are given.
        weights: the weight file.
        quick_gelu: the activation to build.
        tokenizer_name: what open_clip's `get_tokenizer` knows the model by, "" for nothing.
        extras: content of the folder's card.json.
    """

    model_cfg: Mapping[str, Any]
    preprocess_cfg: Mapping[str, Any]
    weights: Path
    quick_gelu: bool
    tokenizer_name: str = ""
    extras: Mapping[str, Any] = field(default_factory=dict)


def model_ids() -> tuple[str, ...]:
    """Names that `load_model` takes: the bundled model, then open_clip's architectures."""
    return (BUNDLED, *open_clip.list_models())


def resolve_source(name: str, pretrained: str | None, quick_gelu: bool | None) -> Source:
    """Find what `load_model` was asked for; downloads if it must. Same arguments and errors as there."""
    if name == BUNDLED or name.startswith("local-dir:"):
        _refuse_pretrained(name, pretrained)
        path = bundled_folder(name) if name == BUNDLED else Path(name.removeprefix("local-dir:"))
        folder = read_model_folder(path)
        return Source(
            model_cfg=folder.model_cfg,
            preprocess_cfg=folder.preprocess_cfg,
            weights=folder.weights,
            quick_gelu=_configured_activation(quick_gelu, folder.model_cfg, name),
            tokenizer_name=f"local-dir:{folder.path}",
            extras=folder.card,
        )
    if name.startswith("hf-hub:"):
        _refuse_pretrained(name, pretrained)
        config, weights = fetch_repository(name.removeprefix("hf-hub:"))
        return _configured(name, config, weights, quick_gelu)
    if name.endswith(".json"):
        if pretrained is None:
            raise ValueError(
                f"model={name!r} is an architecture without weights; add pretrained=PATH of a weight file. (For random "
                "weights pass the module itself: clipsight.load(module).)"
            )
        return _configured(name, Path(name), Path(pretrained), quick_gelu)
    return _named(name, pretrained, quick_gelu)


def _configured(name: str, config: Path, weights: Path, quick_gelu: bool | None) -> Source:
    model_cfg, preprocess_cfg = read_config(config)
    return Source(
        model_cfg=model_cfg,
        preprocess_cfg=preprocess_cfg,
        weights=weights,
        quick_gelu=_configured_activation(quick_gelu, model_cfg, name),
        tokenizer_name=name if name.startswith("hf-hub:") else "",
    )


def _named(name: str, pretrained: str | None, quick_gelu: bool | None) -> Source:
    known = name.replace("/", "-")
    model_cfg = open_clip.get_model_config(known) if known in open_clip.list_models() else None
    if model_cfg is None:
        near = get_close_matches(known, model_ids(), n=3, cutoff=0.5)
        meant = f" Did you mean {', '.join(near)}?" if near else ""
        folder = f" For a model folder write local-dir:{name}." if Path(name).is_dir() else ""
        raise ValueError(
            f"model={name!r} is not an open_clip name.{meant}{folder} Taken are the names of clipsight.models(), a "
            "model configuration .json, local-dir:FOLDER, hf-hub:org/name, or a live open_clip module."
        )
    tags = open_clip.list_pretrained_tags_by_model(known)
    if pretrained is None:
        raise ValueError(
            f"model={name!r} needs weights: pass pretrained= one of its tags ({', '.join(tags) or 'it has none'}) or "
            "the path of a weight file. (For random weights pass the module itself: clipsight.load(module).)"
        )
    settings = open_clip.get_pretrained_cfg(known, pretrained)
    built = bool(model_cfg.get("quick_gelu"))
    if settings:
        # Only tags trained with QuickGELU say so; where a tag is silent the architecture's configuration holds.
        trained = bool(settings.get("quick_gelu", built))
        chosen = _activation(quick_gelu, trained, f"the tag {pretrained!r} of {name}")
        weights = fetch_tag(known, pretrained)
    else:
        weights = Path(pretrained)
        if not weights.is_file():
            near = get_close_matches(pretrained, tags, n=3, cutoff=0.4)
            raise CheckpointError(
                f"pretrained={pretrained!r} is neither a tag of {name} nor a file. "
                f"{'Did you mean ' + ', '.join(near) + '? ' if near else ''}Its tags: {', '.join(tags) or 'none'}."
            )
        chosen = built if quick_gelu is None else quick_gelu
        if quick_gelu is None and not built and f"{known}-quickgelu" in open_clip.list_models():
            warnings.warn(
                f"weights {pretrained} do not say their activation, and {name} exists with both: GELU is used. If "
                "they come from OpenAI, MetaCLIP or DFN weights, pass quick_gelu=True; else quick_gelu=False.",
                ClipsightWarning,
                stacklevel=4,
            )
    return Source(
        model_cfg=model_cfg, preprocess_cfg=settings, weights=weights, quick_gelu=chosen, tokenizer_name=known
    )


def _configured_activation(asked: bool | None, model_cfg: Mapping[str, Any], name: str) -> bool:
    return _activation(asked, bool(model_cfg.get("quick_gelu")), f"the configuration of {name}")


def _activation(asked: bool | None, trained: bool, said_by: str) -> bool:
    if asked is None or asked == trained:
        return trained
    names = {True: "QuickGELU", False: "GELU"}
    warnings.warn(
        f"quick_gelu={asked} was asked for, but {said_by} says that the weights were trained with {names[trained]}; "
        f"{names[asked]} is used as asked. Leave quick_gelu out for the right one.",
        ClipsightWarning,
        stacklevel=5,
    )
    return asked


def _refuse_pretrained(name: str, pretrained: str | None) -> None:
    if pretrained is not None:
        raise ValueError(
            f"pretrained={pretrained!r} does not go with model={name!r}, which has its own weights; leave it out."
        )
