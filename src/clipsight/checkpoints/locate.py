"""Find architecture and weights by name, file, configuration, folder or hub id."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import open_clip

from clipsight.checkpoints.activation import (
    Activation,
    from_evidence,
    published_as,
    said_model,
    settled,
    tag_activation,
)
from clipsight.checkpoints.folder import CONFIG, bundled_folder, read_config, read_model_folder
from clipsight.checkpoints.hub import fetch_repository, fetch_tag
from clipsight.checkpoints.infer import fits, infer_architecture, with_layout
from clipsight.checkpoints.transformers_files import REPOSITORY
from clipsight.checkpoints.weight_files import WeightFile, is_weight_path, read_weights, split_entry
from clipsight.errors import CheckpointError

BUNDLED = "clipsight-tiny"
"""The model that ships with clipsight."""
BUNDLED_MODELS = (BUNDLED, "clipsight-tiny-cae")
"""All that ship: that one, and it tuned for composition."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelSource:
    """A model on its way: architecture known, weights read.

    Attributes:
        model_cfg: open_clip's architecture.
        preprocess_cfg: open_clip's picture settings, as far as they are given.
        weights: the weight file, read.
        activation: the activation to build, and what decided.
        tokenizer_name: what open_clip's `get_tokenizer` knows the model by, "" for nothing.
        extras: content of the folder's card.json; its `notes` also say what was decided here.
    """

    model_cfg: Mapping[str, Any]
    preprocess_cfg: Mapping[str, Any]
    weights: WeightFile
    activation: Activation
    tokenizer_name: str = ""
    extras: Mapping[str, Any] = field(default_factory=dict)


def model_ids() -> tuple[str, ...]:
    """Names that `load_model` takes: the bundled models, then open_clip's architectures."""
    return (*BUNDLED_MODELS, *open_clip.list_models())


def resolve_source(
    name: str, pretrained: str | None, quick_gelu: bool | None, *, trust_program: bool = False
) -> ModelSource:
    """Find what `load_model` was asked for; downloads if it must. Same arguments and errors as there."""
    if name in BUNDLED_MODELS or name.startswith("local-dir:"):
        _refuse_pretrained(name, pretrained)
        path = bundled_folder(name) if name in BUNDLED_MODELS else Path(name.removeprefix("local-dir:"))
        folder = read_model_folder(path)
        return _configured(
            name,
            folder.model_cfg,
            folder.preprocess_cfg,
            read_weights(str(folder.weights), trust_program=trust_program),
            quick_gelu,
            tokenizer_name=f"local-dir:{folder.path}",
            extras=folder.card,
        )
    if name.startswith("hf-hub:"):
        _refuse_pretrained(name, pretrained)
        config, path = fetch_repository(name.removeprefix("hf-hub:"))
        return _configured(
            name, *read_config(config), read_weights(str(path)), quick_gelu, tokenizer_name=name
        )
    if name.endswith(".json"):
        if pretrained is None:
            raise ValueError(
                f"model={name!r} is an architecture without weights; add pretrained=PATH of a weight file. (For random "
                "weights pass the module itself: clipsight.load(module).)"
            )
        weights = read_weights(pretrained, trust_program=trust_program)
        return _configured(name, *read_config(Path(name)), weights, quick_gelu)
    if is_weight_path(name):
        _refuse_pretrained(name, pretrained)
        return _bare(read_weights(name, trust_program=trust_program), quick_gelu)
    return _named(name, pretrained, quick_gelu, trust_program)


def _configured(
    name: str,
    model_cfg: Mapping[str, Any],
    preprocess_cfg: Mapping[str, Any],
    weights: WeightFile,
    quick_gelu: bool | None,
    tokenizer_name: str = "",
    extras: Mapping[str, Any] | None = None,
) -> ModelSource:
    said = extras or {}
    return ModelSource(
        model_cfg=model_cfg,
        preprocess_cfg=preprocess_cfg,
        weights=weights,
        activation=settled(quick_gelu, bool(model_cfg.get("quick_gelu")), f"the configuration of {name}"),
        tokenizer_name=tokenizer_name,
        extras={**said, "notes": [*(said.get("notes") or ()), *weights.notes]},
    )


def _bare(weights: WeightFile, quick_gelu: bool | None) -> ModelSource:
    """A weight file that must say itself what it is: by a configuration beside it, its own words, or its shapes."""
    if (beside := _beside(weights)) is not None:
        model_cfg, preprocess_cfg = beside
        activation = from_evidence(quick_gelu, weights, "", model_cfg)
        found = f"Architecture: {CONFIG} beside the file."
        return _from_file(
            model_cfg, preprocess_cfg, weights, activation, f"local-dir:{weights.path.parent}", found
        )
    published = published_as(weights.path)
    said = published[0] if published else said_model(weights.said)
    inferred = infer_architecture(weights.state, str(weights.path), said)
    activation = from_evidence(quick_gelu, weights, inferred.name)
    settings: dict[str, Any] = open_clip.get_pretrained_cfg(*published) if published else {}
    return _from_file(inferred.model_cfg, settings, weights, activation, inferred.name, inferred.note)


def _from_file(
    model_cfg: Mapping[str, Any],
    preprocess_cfg: Mapping[str, Any],
    weights: WeightFile,
    activation: Activation,
    tokenizer_name: str,
    *found: str,
) -> ModelSource:
    """Weights by their path: what was decided about them goes onto the card."""
    return ModelSource(
        model_cfg=model_cfg,
        preprocess_cfg=preprocess_cfg,
        weights=weights,
        activation=activation,
        tokenizer_name=tokenizer_name,
        extras={"notes": [*found, f"Activation: {activation}.", *weights.notes]},
    )


def _beside(weights: WeightFile) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The configuration in the same folder, if these weights have its shapes."""
    path = weights.path.parent / CONFIG
    if not path.is_file():
        return None
    model_cfg, preprocess_cfg = read_config(path)
    return (model_cfg, preprocess_cfg) if fits(model_cfg, weights.state) else None


def _named(name: str, pretrained: str | None, quick_gelu: bool | None, trust_program: bool) -> ModelSource:
    known = name.replace("/", "-")
    model_cfg = open_clip.get_model_config(known) if known in open_clip.list_models() else None
    if model_cfg is None:
        raise ValueError(
            f"model={name!r} is not an open_clip name.{_meant(name)} Taken are the names of clipsight.models(), a "
            "weight file, a configuration .json, local-dir:FOLDER, hf-hub:org/name, hf:org/name, or a live module."
        )
    tags = open_clip.list_pretrained_tags_by_model(known)
    if pretrained is None:
        raise ValueError(
            f"model={name!r} needs weights: pass pretrained= one of its tags ({', '.join(tags) or 'it has none'}) or "
            "the path of a weight file. (For random weights pass the module itself: clipsight.load(module).)"
        )
    if settings := open_clip.get_pretrained_cfg(known, pretrained):
        said_by = f"the tag {pretrained!r} of {name}"
        return ModelSource(
            model_cfg=model_cfg,
            preprocess_cfg=settings,
            weights=read_weights(str(fetch_tag(known, pretrained)), trust_program=trust_program),
            activation=settled(quick_gelu, tag_activation(known, pretrained), said_by),
            tokenizer_name=known,
        )
    if not split_entry(pretrained)[0].is_file():
        near = get_close_matches(pretrained, tags, n=3, cutoff=0.4)
        raise CheckpointError(
            f"pretrained={pretrained!r} is neither a tag of {name} nor a file. "
            f"{'Did you mean ' + ', '.join(near) + '? ' if near else ''}Its tags: {', '.join(tags) or 'none'}."
        )
    weights = read_weights(pretrained, trust_program=trust_program)
    beside = _beside(weights)
    activation = from_evidence(quick_gelu, weights, known, beside[0] if beside else None)
    model_cfg, notes = _with_context(with_layout(model_cfg, weights.state), weights, name)
    return _from_file(model_cfg, {}, weights, activation, known, *notes)


def _with_context(
    model_cfg: dict[str, Any], weights: WeightFile, name: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The architecture with as many text positions as the file has, which then need no resampling; and a note."""
    text = model_cfg["text_cfg"]
    table = weights.state.get("positional_embedding", weights.state.get("text.positional_embedding"))
    rows = 0 if table is None or table.ndim != 2 else len(table) - bool(text.get("embed_cls"))
    if rows < 3 or text.get("hf_model_name") or rows == (built := text.get("context_length", 77)):
        return model_cfg, ()
    note = f"Text positions: {rows}, as the file has; {name} is built with {built}."
    return {**model_cfg, "text_cfg": {**text, "context_length": rows}}, (note,)


def _meant(name: str) -> str:
    """What a name that nothing is called by was probably meant as, as a sentence with a blank before it."""
    path = Path(name)
    if path.is_dir():
        kind = "hf" if (path / "config.json").is_file() and not (path / CONFIG).is_file() else "local-dir"
        return f" For a model folder write {kind}:{name}."
    known = {one.lower(): one for one in model_ids()}
    said = name.replace("/", "-").lower()
    near = get_close_matches(said, known, n=3, cutoff=0.5)
    if "/" in name and REPOSITORY.fullmatch(name) and not get_close_matches(said, near, cutoff=0.8):
        return (
            f" For a repository of the Hugging Face hub write hf:{name} (transformers' format) or hf-hub:{name} "
            "(open_clip's)."
        )
    return f" Did you mean {', '.join(known[one] for one in near)}?" if near else ""


def _refuse_pretrained(name: str, pretrained: str | None) -> None:
    if pretrained is not None:
        raise ValueError(
            f"pretrained={pretrained!r} does not go with model={name!r}, which has its own weights; leave it out."
        )
