"""A model as a folder: what ships with clipsight, and what `open_clip.create_model("local-dir:…")` loads as well.

open_clip_config.json       {"model_cfg": …, "preprocess_cfg": …}, open_clip's own format
open_clip_model.safetensors the weights, float16 unless asked otherwise
card.json                   what else clipsight should know: templates, contrast vocabulary, surgery depth, figures
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from clipsight.checkpoints.fit_weights import read_json
from clipsight.checkpoints.schema import CARD as CARD_SCHEMA
from clipsight.checkpoints.schema import PREPROCESS, check, check_model
from clipsight.errors import CheckpointError
from clipsight.results import atomic_write

CONFIG, WEIGHTS, CARD = "open_clip_config.json", "open_clip_model.safetensors", "card.json"
_OTHER_WEIGHTS = ("open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors")
_ARCHITECTURE = ("embed_dim", "vision_cfg", "text_cfg")


@dataclass(frozen=True, kw_only=True)
class ModelFolder:
    """The parts of a model folder, read.

    Attributes:
        path: the folder.
        model_cfg: open_clip's architecture.
        preprocess_cfg: open_clip's picture settings, {} for its defaults.
        weights: the weight file.
        card: content of card.json, {} without one.
    """

    path: Path
    model_cfg: dict[str, Any]
    preprocess_cfg: dict[str, Any]
    weights: Path
    card: dict[str, Any]


def bundled_folder(name: str) -> Path:
    """Where the model `name` that ships with clipsight lies."""
    return Path(__file__).parent.parent / "assets" / name


def read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(model_cfg, preprocess_cfg) of an open_clip configuration file, wrapped as in a folder or bare.

    Raises:
        CheckpointError: unreadable, not an architecture, or with keys or values that `schema` does not list.
    """
    content = read_json(path)
    model_cfg = content.get("model_cfg", content)
    if not isinstance(model_cfg, dict):
        raise CheckpointError(
            f"{path}: model_cfg is a {type(model_cfg).__name__}, an object {{…}} was expected."
        )
    if missing := [key for key in _ARCHITECTURE if key not in model_cfg]:
        raise CheckpointError(
            f"{path} is not an open_clip model configuration: {', '.join(missing)} missing; it needs "
            f"{', '.join(_ARCHITECTURE)}, as in open_clip's model_configs."
        )
    preprocess_cfg = content.get("preprocess_cfg") or {}
    check_model(model_cfg, str(path))
    check(preprocess_cfg, PREPROCESS, str(path), "preprocess_cfg")
    return model_cfg, preprocess_cfg


def read_model_folder(path: Path) -> ModelFolder:
    """Read everything in a model folder but the weights themselves.

    Raises:
        CheckpointError: no such folder, no configuration, no weights.
    """
    if not path.is_dir():
        raise CheckpointError(
            f"model folder {path} does not exist; local-dir: takes a folder with {CONFIG} and {WEIGHTS}."
        )
    model_cfg, preprocess_cfg = read_config(path / CONFIG)
    weights = next((path / name for name in (WEIGHTS, *_OTHER_WEIGHTS) if (path / name).is_file()), None)
    if weights is None:
        raise CheckpointError(f"model folder {path} has no weights; put them there as {WEIGHTS}.")
    card = read_json(path / CARD) if (path / CARD).is_file() else {}
    check(card, CARD_SCHEMA, str(path / CARD), "", others=True)
    return ModelFolder(
        path=path, model_cfg=model_cfg, preprocess_cfg=preprocess_cfg, weights=weights, card=card
    )


def write_model_folder(
    path: str | os.PathLike[str],
    module: nn.Module,
    model_cfg: Mapping[str, Any],
    preprocess_cfg: Mapping[str, Any],
    card: Mapping[str, Any],
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write a model folder; an older one at the same place is replaced file by file.

    Args:
        path: the folder, made if needed.
        module: the open_clip model.
        model_cfg: the architecture it was built from, with `quick_gelu` where it runs QuickGELU.
        preprocess_cfg: `size`, `mean`, `std`, `interpolation`, `resize_mode` as open_clip names them.
        card: json-able content of card.json; see `clipsight.towers.card.describe`.
        dtype: number type of the stored weights.

    Raises:
        ValueError: a weight is not finite in that number type.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    state = stored_state(module, dtype)
    config = {"model_cfg": dict(model_cfg), "preprocess_cfg": dict(preprocess_cfg)}
    for name, content in ((CONFIG, config), (CARD, dict(card))):
        with atomic_write(folder / name, overwrite=True) as file:
            file.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
    with atomic_write(folder / WEIGHTS, overwrite=True) as file:
        file.write(save(state, metadata={"format": "pt"}))


def stored_state(module: nn.Module, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """A copy of a model's weights as files hold them: on the CPU, in that number type, nothing shared between names.

    Raises:
        ValueError: a weight is not finite in that number type.
    """
    state = {}
    for name, tensor in module.state_dict().items():
        kind = dtype if tensor.is_floating_point() else tensor.dtype
        stored = tensor.detach().to("cpu", kind, copy=True, memory_format=torch.contiguous_format)
        if stored.is_floating_point() and not torch.isfinite(stored).all():
            raise ValueError(
                f"weight {name} is not finite as {str(kind).removeprefix('torch.')} (largest "
                f"{tensor.abs().max():g}); not written."
            )
        state[name] = stored
    return state
