"""Tensors of the authors' own programs: features, and recipes that other papers would write in this language.

The weights (5 MB for the image tower) stay outside the repository, so these need `../shared/goldens`; the formulas are
also checked without them in `test_executor.py`, and feature surgery against its goldens in `tests/scoring`.
"""

import dataclasses
import json
from functools import cache
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from safetensors.torch import load_file

import clipsight
from clipsight.scoring import feature_surgery, pooled_similarity, subtract_empty
from clipsight.surgery import Accumulate, Branch, Features, Kernel, LastBlock, Recipe, get_recipe, run
from clipsight.towers.open_clip_vit import OpenClipVision
from clipsight.towers.view import PositionRule

GOLDENS = Path(__file__).resolve().parents[2].parent / "shared" / "goldens"
pytestmark = pytest.mark.skipif(
    not (GOLDENS / "index.json").exists(), reason="needs ../shared/goldens, which is not here"
)


@cache
def tensors(name: str) -> dict[str, torch.Tensor]:
    return load_file(GOLDENS / f"{name}.safetensors")


@cache
def index() -> dict[tuple[str, str], dict]:
    entries = json.loads((GOLDENS / "index.json").read_text())["entries"]
    return {(entry["method"], entry["tensor"]): entry for entry in entries}


@cache
def model() -> open_clip.CLIP:
    config = json.loads((GOLDENS / "open_clip_config.json").read_text())
    made = open_clip.CLIP(
        config["embed_dim"],
        CLIPVisionCfg(**config["vision_cfg"]),
        CLIPTextCfg(**config["text_cfg"]),
        quick_gelu=config["quick_gelu"],
    )
    made.load_state_dict({name: value.float() for name, value in tensors("weights").items()}, strict=False)
    return made.eval()


@cache
@torch.inference_mode()
def features(image: str, recipe: Recipe) -> Features:
    return run(OpenClipVision(model().visual), tensors("inputs")[image].float(), recipe)


def agree(ours: torch.Tensor, method: str, tensor: str) -> None:
    golden, rule = tensors(method)[tensor], index()[method, tensor]["tolerance"]
    assert ours.numel() == golden.numel()
    error = (ours.reshape(golden.shape) - golden).abs().max().item()
    assert error <= rule["atol"] + rule["rtol"] * golden.abs().max().item(), f"{tensor}: {error:.2e}"


@pytest.mark.parametrize(
    ("image", "suffix", "rule"),
    [
        ("img_native", "", "bicubic"),
        ("img_160", "_bicubic", "bicubic"),
        ("img_160", "_bicubic_antialias", "bicubic_antialias"),
        ("img_rect", "_bicubic", "bicubic"),
        ("img_rect", "_bicubic_antialias", "bicubic_antialias"),
    ],
)
def test_clip_raw(image: str, suffix: str, rule: PositionRule):
    made = features(image, dataclasses.replace(get_recipe("clip"), positions=rule))
    agree(made.patches, "clip_raw", f"{image}/patch_features{suffix}")
    agree(made.pooled, "clip_raw", f"{image}/cls_feature{suffix}")


@torch.inference_mode()
def test_clip_raw_last_tokens_and_cosines():
    view = OpenClipVision(model().visual)
    x = view.embed(tensors("inputs")["img_native"].float())
    for block in view.blocks:
        x = block(x)
    agree(x, "clip_raw", "img_native/last_hidden_tokens")
    texts = tensors("clip_raw")["token_ids/text_features"]
    agree(pooled_similarity(view.readout(x)[:, 0], texts), "clip_raw", "img_native/image_text_cosine")


@pytest.mark.parametrize("image", ["img_native", "img_160"])
def test_clip_surgery(image: str):
    made = features(image, get_recipe("clip_surgery"))
    agree(made.patches, "clip_surgery", f"{image}/patch_features")
    agree(made.pooled, "clip_surgery", f"{image}/cls_feature")


@pytest.mark.parametrize("image", ["img_native", "img_160"])
def test_clip_surgery_maps_end_to_end(image: str):
    made, inputs = features(image, get_recipe("clip_surgery")), tensors("inputs")
    texts, empty = inputs["text_embeddings"], inputs["empty_text_embedding"]
    for name, maps in (
        ("multi", feature_surgery(made.patches, made.pooled, texts)),
        ("multi_empty", subtract_empty(made.patches, texts, empty)),
        ("single_empty", subtract_empty(made.patches, texts[:1], empty)),
    ):
        golden = f"{image}/feature_surgery_{name}"
        of_patches = tensors("clip_surgery")[golden][:, 1:]
        rule = index()["clip_surgery", golden]["tolerance"]
        error = (maps.flatten(2).mT - of_patches).abs().max()
        assert error <= rule["atol"] + rule["rtol"] * of_patches.abs().max()


def test_sizes_seen_before_do_not_matter():
    """The released code fails this: `patch_features_after_img_160` shows its position table resampled twice."""
    view, inputs = OpenClipVision(model().visual), tensors("inputs")
    with torch.inference_mode():
        run(view, inputs["img_160"].float(), "clip_surgery")
        again = run(view, inputs["img_native"].float(), "clip_surgery").patches
    agree(again, "clip_surgery", "img_native/patch_features")
    spoilt = tensors("clip_surgery")["img_native/patch_features_after_img_160"]
    assert (again.reshape(spoilt.shape) - spoilt).abs().max() > 1e-2


def written(*pairs: str, last: int = 1, keep: bool) -> Recipe:
    return Recipe(
        id="written",
        summary="Another paper's recipe in this language.",
        kernel=Kernel(branches=tuple(Branch(left=left, right=right) for left, right in pairs)),
        path=LastBlock() if last == 1 else Accumulate(last),
        residual="keep" if keep else "drop",
        ffn="keep" if keep else "skip",
        positions="dino_bicubic",
    )


@pytest.mark.parametrize("image", ["img_native", "img_160", "img_rect"])
@pytest.mark.parametrize(
    ("method", "suffix", "recipe"),
    [
        ("sclip", "", written("qq", "kk", keep=True)),
        ("sclip", "_csa_off", written("qk", keep=True)),
        ("clearclip", "_clearclip_noresidual", written("qq", keep=False)),
        ("clearclip", "_clearclip_noresidual_last2", written("qq", last=2, keep=False)),
        ("clearclip", "_clearclip_residual", written("qq", keep=True)),
        ("clearclip", "_vanilla_noresidual", written("qk", keep=False)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_language_carries_other_papers_and_their_position_rule(
    image: str, method: str, suffix: str, recipe: Recipe
):
    agree(features(image, recipe).patches, method, f"{image}/patch_features{suffix}")


@cache
def public_lens() -> clipsight.Lens:
    return clipsight.load(
        GOLDENS / "open_clip_config.json", pretrained=GOLDENS / "weights.safetensors", device="cpu"
    )


@pytest.mark.parametrize("image", ["img_native", "img_160"])
def test_the_public_names_give_the_goldens(image):
    """What a script outside the project calls, from files to numbers."""
    lens, x = public_lens(), tensors("inputs")[image].float()
    side = x.shape[-1] // 16
    patches = lens.patch_features(x, recipe="clip_surgery")
    assert patches.shape == (1, side, side, 64)
    agree(patches.flatten(1, 2), "clip_surgery", f"{image}/patch_features")
    maps = lens.maps(x, tensors("inputs")["text_embeddings"], method="clip_surgery", contrast="labels")
    multi = tensors("clip_surgery")[f"{image}/feature_surgery_multi"][:, 1:]
    assert torch.allclose(maps.flatten(2).mT, multi, atol=1e-5)


def test_the_public_names_give_the_raw_goldens():
    lens, inputs = public_lens(), tensors("inputs")
    agree(
        lens.patch_features(inputs["img_native"].float(), "clip").flatten(1, 2),
        "clip_raw",
        "img_native/patch_features",
    )
    agree(lens.encode_image(inputs["img_native"].float()), "clip_raw", "img_native/cls_feature")
    for image in ("img_160", "img_rect"):
        x = inputs[image].float()
        agree(
            lens.patch_features(x, "clip").flatten(1, 2),
            "clip_raw",
            f"{image}/patch_features_bicubic_antialias",
        )
        agree(lens.encode_image(x), "clip_raw", f"{image}/cls_feature_bicubic_antialias")
    agree(lens.encode_text(inputs["token_ids"]), "clip_raw", "token_ids/text_features")
    assert lens.card.activation == "quick_gelu"
