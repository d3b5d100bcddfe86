"""Text towers of every family that attributions look into, small and random, with ids and picture features for them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import open_clip
import pytest
import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from torch import nn

from clipsight.towers.open_clip_text import OpenClipText
from tiny import TINY_VISION, needs_options, tiny_clip
from towers.hf_tiny import tiny_hf
from towers.zoo import HF_IDS, build

EOS = 7
CONTEXT = 12


def custom(**text: Any) -> nn.Module:
    """A CustomTextCLIP of three blocks and two heads, ids below 50, no parameter at a special value."""
    settings: dict[str, Any] = {
        "context_length": CONTEXT,
        "vocab_size": 50,
        "width": 64,
        "heads": 2,
        "layers": 3,
    }
    settings |= text | ({"eos_id": EOS} if text.get("pool_type") == "eos" else {})
    needs_options(settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = open_clip.CustomTextCLIP(32, CLIPVisionCfg(**TINY_VISION), CLIPTextCfg(**settings)).eval()
        with torch.no_grad():
            for name, parameter in model.text.named_parameters():
                if name in ("positional_embedding", "token_embedding.weight"):
                    parameter.normal_(std=0.5)
                elif parameter.ndim <= 1:
                    parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def captions(end: int, *, length: int = CONTEXT, start: int = 48, pad: int = 0) -> torch.Tensor:
    """Five texts of one to seven tokens between a start and an end token, padded."""
    draw = torch.Generator().manual_seed(1)
    ids = torch.full((5, length), pad)
    for row, words in zip(ids, (3, 1, 7, 5, 3), strict=True):
        row[0] = start
        row[1 : 1 + words] = torch.randint(8, 48, (words,), generator=draw)
        row[1 + words] = end
    return ids


def _clip() -> tuple[nn.Module, torch.Tensor]:
    ids = open_clip.SimpleTokenizer(context_length=77)(
        ["a dog", "a dog left of a red car", "a", "two cats on a mat"]
    )
    return tiny_clip(seed=3), ids


def _padding_hidden() -> nn.Module:
    model = custom(no_causal_mask=True, pool_type="first")
    if not hasattr(model.text, "use_pad_mask"):
        pytest.skip(f"open_clip {open_clip.__version__} does not hide padding")
    model.text.use_pad_mask = True
    return model


def _hf_inside(name: str) -> tuple[nn.Module, torch.Tensor]:
    pytest.importorskip("transformers")
    folder = Path(mkdtemp())
    ids = captions(
        HF_IDS["eos_token_id"], length=16, start=HF_IDS["bos_token_id"], pad=HF_IDS["pad_token_id"]
    )
    return build(name, folder), ids


def _hf(kind: str) -> tuple[nn.Module, torch.Tensor]:
    pytest.importorskip("transformers")
    if kind == "clip":
        words = {"vocab_size": 50, "max_position_embeddings": CONTEXT, "eos_token_id": EOS}
        return tiny_hf("clip", text=words), captions(EOS)
    ids = captions(1, length=16, start=9, pad=1)
    return tiny_hf(kind), ids


FAMILIES: dict[str, Callable[[], tuple[nn.Module, torch.Tensor]]] = {
    "clip": _clip,
    "eos": lambda: (custom(pool_type="eos"), captions(EOS)),
    "custom blocks": lambda: (custom(qk_norm=True, scale_heads=True, scale_attn=True), captions(49)),
    "causal, last": lambda: (custom(pool_type="last"), captions(49)),
    "both ways, last": lambda: (
        custom(no_causal_mask=True, pool_type="last", proj_bias=True),
        captions(1, pad=1),
    ),
    "both ways, end": lambda: (custom(no_causal_mask=True), captions(49)),
    "both ways, first, padding hidden": lambda: (_padding_hidden(), captions(49)),
    "class token": lambda: (custom(embed_cls=True, pad_id=0), captions(49)),
    "transformers CLIP": lambda: _hf("clip"),
    "transformers SigLIP": lambda: _hf("siglip"),
}
ONE_PIECE = ("roberta-ViT-B-32", "xlm-roberta-base-ViT-B-32", "mt5-base-ViT-B-32", "nllb-clip-base")


@cache
def family(name: str) -> tuple[nn.Module, Any, torch.Tensor]:
    """(model, text view, ids) of a family of `FAMILIES` or `ONE_PIECE`."""
    module, ids = FAMILIES[name]() if name in FAMILIES else _hf_inside(name)
    if name.startswith("transformers"):
        from clipsight.towers.hf_models import hf_towers

        return module, hf_towers(module).text, ids
    return module, OpenClipText(module), ids


def picture(view: Any, seed: int = 2) -> torch.Tensor:
    """A picture feature, not of unit length."""
    return 3 * torch.randn(view.embed_dim, generator=torch.Generator().manual_seed(seed))


def library(module: Any, view: Any, ids: torch.Tensor) -> torch.Tensor:
    """What the library itself makes of the ids."""
    if hasattr(module, "encode_text"):
        return module.encode_text(ids, normalize=False)
    from clipsight.towers.hf_results import feature_of

    return feature_of(module.get_text_features(input_ids=ids), view.embed_dim)
