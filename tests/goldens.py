"""The authors' tensors and the model behind them: reading, and comparing within their own tolerance."""

import inspect
import json
from functools import cache
from pathlib import Path

import open_clip
import pytest
import torch
from einops import rearrange
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from safetensors.torch import load_file

GOLDENS = Path(__file__).resolve().parents[1].parent / "shared" / "goldens"
needs_goldens = pytest.mark.skipif(
    not (GOLDENS / "index.json").exists(), reason="needs ../shared/goldens, which is not here"
)


@cache
def tensors(name: str) -> dict[str, torch.Tensor]:
    with torch.inference_mode(False):  # kept for tests that do need gradients
        return load_file(GOLDENS / f"{name}.safetensors")


@cache
def index() -> dict[tuple[str, str], dict]:
    entries = json.loads((GOLDENS / "index.json").read_text())["entries"]
    return {(entry["method"], entry["tensor"]): entry for entry in entries}


def agree(ours: torch.Tensor, method: str, tensor: str) -> None:
    """Within the tolerance of the index: exact, a share of label cells, or an error relative to the greatest value."""
    assert not (said := difference(ours, method, tensor)), said


def difference(ours: torch.Tensor, method: str, tensor: str) -> str:
    """What goes beyond the tolerance; empty where nothing does."""
    golden, rule = tensors(method)[tensor], index()[method, tensor]["tolerance"]
    assert ours.numel() == golden.numel()
    ours = ours.reshape(golden.shape)
    if "atol" in rule:
        error = (ours - golden).abs().max().item()
        allowed = rule["atol"] + rule["rtol"] * golden.abs().max().item()
        return "" if error <= allowed else f"{tensor}: {error:.2e}"
    differing = (ours != golden).float().mean().item()
    allowed = 0.002 if "0.2%" in rule["rule"] else 0
    return "" if differing <= allowed else f"{tensor}: {differing:.4f} of the cells"


def unchecked(function):
    """Without the shape checks of the tests, so that a user's mistake meets its own message."""
    return inspect.unwrap(function)


def picture(name: str) -> torch.Tensor:
    return tensors("inputs")[name].float()


def texts() -> torch.Tensor:
    return tensors("inputs")["text_embeddings"]


def on_grid(features: torch.Tensor, image: str) -> torch.Tensor:
    """(1, N, E) features as (1, h, w, E); patches are 16 pixels."""
    return rearrange(features, "B (h w) E -> B h w E", h=picture(image).shape[-2] // 16)


@cache
def model() -> open_clip.CLIP:
    """The small CLIP of random weights that all programs were run on."""
    config = json.loads((GOLDENS / "open_clip_config.json").read_text())
    with torch.inference_mode(False):
        made = open_clip.CLIP(
            config["embed_dim"],
            CLIPVisionCfg(**config["vision_cfg"]),
            CLIPTextCfg(**config["text_cfg"]),
            quick_gelu=config["quick_gelu"],
        )
        state = {name: value.float() for name, value in tensors("weights").items()}
        made.load_state_dict(state, strict=False)
    return made.eval()
