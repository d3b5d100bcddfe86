"""What a model was built from: what a folder must say so that it is built the same again."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import open_clip
import torch
from torch import nn

from clipsight.checkpoints.build import build_module
from clipsight.checkpoints.fit_weights import differences, foreign
from clipsight.errors import Unsupported
from clipsight.towers.card import activation_of
from clipsight.towers.families import is_transformers
from clipsight.towers.loading import Loaded


def architecture_of(loaded: Loaded) -> tuple[dict[str, Any], dict[str, Any]]:
    """(model_cfg, preprocess_cfg) of a model as open_clip's folders have them, `quick_gelu` as it runs.

    Raises:
        Unsupported: a model of transformers', or a live module, which does not keep what it was built from.
    """
    if is_transformers(loaded.module):
        raise Unsupported(
            f"{loaded.name} is a model of transformers', which open_clip's folders cannot hold; keep it with its own "
            "save_pretrained(FOLDER) and load it as hf:FOLDER."
        )
    if loaded.model_cfg is None:
        raise Unsupported(
            "a live module was to be exported, and it does not say the architecture it was built from; pass model_cfg= "
            "(open_clip.get_model_config(NAME) with quick_gelu), or load the model by name, path or folder."
        )
    return dict(loaded.model_cfg), preprocess_of(loaded)


def preprocess_of(loaded: Loaded) -> dict[str, Any]:
    """open_clip's picture settings of a model, as its folders have them."""
    settings = asdict(loaded.preprocess)
    del settings["max_patches"]  # of transformers' models alone, which open_clip's folders cannot hold
    height, width = settings["size"]
    settings["size"] = height if height == width else [height, width]
    # What clipsight itself does not use of open_clip's settings, such as the colour that pads, is kept too.
    return {**open_clip.get_model_preprocess_cfg(loaded.module), **settings}


def listed_name(model_cfg: Mapping[str, Any]) -> str:
    """open_clip's name of an architecture, its activation left aside; "" where it lists none that is exactly this."""
    names, wanted = set(open_clip.list_models()), _without_activation(model_cfg)
    for name in sorted(names):
        plain = name.removesuffix("-quickgelu")
        if plain != name and plain in names:
            continue
        if _without_activation(open_clip.get_model_config(name) or {}) == wanted:
            return name
    return ""


def check_architecture(module: nn.Module, model_cfg: Mapping[str, Any]) -> None:
    """Whether a configuration builds this model, names, shapes and activation.

    Raises:
        ValueError: it does not, or adapters are not merged.
    """
    state = module.state_dict()
    if any("lora_" in name for name in state):
        raise ValueError(f"a model was to be exported, but {foreign(state)}.")
    if "hf_model_name" in model_cfg["text_cfg"]:
        return  # its shapes are on the hub
    with torch.device("meta"):
        twin = build_module(model_cfg, bool(model_cfg.get("quick_gelu")))
    if difference := differences(twin.state_dict(), state):
        raise ValueError(
            f"the model does not have the architecture of model_cfg: {difference.replace('in the file', 'it has')}. "
            "Usual cause: a wrapper of a training framework, or the configuration of another model; pass the bare "
            "module and its own configuration."
        )
    runs, said = activation_of(module), activation_of(twin)
    if runs != said:
        raise ValueError(
            f"the model runs {runs}, but model_cfg says {said}; set its quick_gelu to {runs == 'quick_gelu'}."
        )


def _without_activation(model_cfg: Mapping[str, Any]) -> str:
    return json.dumps({k: v for k, v in model_cfg.items() if k != "quick_gelu"}, sort_keys=True, default=str)
