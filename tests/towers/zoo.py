"""Every architecture that open_clip lists, built small: the same classes, narrow, with few blocks and a 4 × 4 grid.

timm trunks are shrunk by the arguments that their constructors take; Hugging Face text towers by a small configuration
that is written to a folder, whose path stands in for the hub's name.
"""

import copy
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import open_clip
import timm
import torch
from torch import nn

GRID = 4
_VIT = {"embed_dim": 64, "num_heads": 4, "depth": 3}
_SIX_STAGES = {"layers": (1, 1, 1, 1, 1), "embed_dims": (8, 16, 16, 32, 32)}
_HF: dict[str, dict[str, Any]] = {
    "roberta": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    "xlm-roberta": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    "mt5": {"d_model": 32, "num_layers": 2, "num_heads": 2, "d_ff": 64, "d_kv": 16},
    "m2m_100": {
        "d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
    },
}  # fmt: skip
HF_IDS = {
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "vocab_size": 300,
    "max_position_embeddings": 98,
}


def configuration(name: str, folder: Path, *, size: tuple[int, int] | None = None) -> dict[str, Any]:
    """open_clip's configuration of `name`, shrunk; `folder` is where a Hugging Face text configuration goes."""
    config = copy.deepcopy(open_clip.get_model_config(name))
    assert config is not None
    vision, text = config["vision_cfg"], config["text_cfg"]
    # A trunk without a projection ends in its own width.
    config["embed_dim"] = _VIT["embed_dim"] if vision.get("timm_proj") == "none" else 32
    if "timm_model_name" in vision:
        vision["image_size"] = size or timm_size(vision["timm_model_name"])
        vision["timm_model_pretrained"] = False
    elif isinstance(vision["layers"], list):
        vision |= {"layers": [1, 1, 1, 1], "width": 16, "image_size": size or 128}
    else:
        patch = vision["patch_size"]
        vision |= {"width": 64, "head_width": 16, "layers": 3, "image_size": size or patch * GRID}
    if "hf_model_name" in text:
        text |= {
            "hf_model_name": str(_hf_folder(text["hf_model_name"], folder)),
            "hf_model_pretrained": False,
        }
        text.pop("hf_tokenizer_name", None)
    else:
        width = config["embed_dim"] if text.get("proj_type") == "none" else 32
        text |= {"width": width, "heads": 2, "layers": 2, "vocab_size": 300}
    if "multimodal_cfg" in config:
        config["multimodal_cfg"] |= {"width": 32, "heads": 2, "layers": 1, "vocab_size": 300}
    return config


def build(name: str, folder: Path, *, seed: int = 0, size: tuple[int, int] | None = None) -> nn.Module:
    """The shrunken model in evaluation mode, with no weight left at a special value."""
    config = configuration(name, folder, size=size)
    custom = config.pop("custom_text", False) or "hf_model_name" in config["text_cfg"]
    kind = (
        open_clip.CoCa
        if "multimodal_cfg" in config
        else open_clip.CustomTextCLIP
        if custom
        else open_clip.CLIP
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), _shrunken_timm(size):
        warnings.simplefilter("ignore")  # of timm and transformers while they build: nothing of ours
        torch.manual_seed(seed)
        model = kind(**config)
        with torch.no_grad():
            for parameter_name, parameter in model.named_parameters():
                if not parameter_name.endswith("logit_scale"):
                    parameter.add_(0.1 * torch.randn_like(parameter))
            for module in model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.running_mean.normal_(std=0.1)
                    module.running_var.uniform_(0.8, 1.2)
    return model.eval()


def timm_size(trunk: str) -> int:
    """A small picture size that the trunk can be built at: four patches, or what its strides need."""
    if "fastvit" in trunk:
        return 256 if trunk.endswith(("mci3", "mci4")) else 128
    if "convnext" in trunk:
        return 128
    if "swin" in trunk:
        return 224
    return GRID * next((p for p in (14, 32) if f"patch{p}" in trunk), 16)


@contextmanager
def _shrunken_timm(size: tuple[int, int] | None) -> Iterator[None]:
    create, config_of_vitamin = timm.create_model, timm.models.vitamin.VitCfg

    def small(name: str, **given: Any) -> nn.Module:
        return create(name, **given, **_timm_arguments(name, size))

    def narrow(**given: Any) -> Any:
        return config_of_vitamin(**given | {"embed_dim": (16, 16, 64), "depths": (1, 1, 1), "stem_width": 8})

    with (
        mock.patch.object(timm, "create_model", small),
        mock.patch.object(timm.models.vitamin, "VitCfg", narrow),
    ):
        yield


def _timm_arguments(trunk: str, size: tuple[int, int] | None) -> dict[str, Any]:
    if "fastvit" in trunk:
        return (
            _SIX_STAGES
            if trunk.endswith(("mci3", "mci4"))
            else {"layers": (1,) * 4, "embed_dims": (8, 16, 16, 32)}
        )
    if "convnext" in trunk:
        return {"depths": (1, 1, 1, 1), "dims": (8, 16, 16, 32)}
    if "swin" in trunk:
        return {"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 4)}
    if "mci" in trunk:  # its stem fixes the width
        return {"depth": 3, "img_size": size or timm_size(trunk)}
    return {**_VIT, "img_size": size or timm_size(trunk)}


def _hf_folder(name: str, folder: Path) -> Path:
    kind = next(
        kind
        for part, kind in (
            ("mt5", "mt5"),
            ("nllb", "m2m_100"),
            ("xlm", "xlm-roberta"),
            ("roberta", "roberta"),
        )
        if part in name
    )
    path = folder / kind
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(hf_config(kind)))
    return path


def hf_config(kind: str) -> dict[str, Any]:
    """The small configuration of a Hugging Face text model."""
    return {"model_type": kind, **HF_IDS, **_HF[kind]}
