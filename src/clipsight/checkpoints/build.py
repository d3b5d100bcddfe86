"""An open_clip architecture with random weights, or without any."""

import copy
from collections.abc import Mapping
from typing import Any

import open_clip
import torch
from torch import nn


def build_module(model_cfg: Mapping[str, Any], quick_gelu: bool) -> nn.Module:
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


def build_shapes(model_cfg: Mapping[str, Any]) -> nn.Module:
    """The architecture without values, in hundredths of a second: names and shapes only."""
    with torch.device("meta"):
        return build_module(model_cfg, quick_gelu=False)
