"""Tensors of the authors' own programs for CLIP itself and CLIP Surgery; the other methods are in `test_family.py`.

The weights (5 MB for the image tower) stay outside the repository, so these need `../shared/goldens`; the formulas are
also checked without them in `test_executor.py`, and feature surgery against its goldens in `tests/scoring`.
"""

import dataclasses
from functools import cache

import pytest
import torch

import clipsight
from clipsight.features import ImageFeatures, Recipe, get_recipe, run
from clipsight.scoring import feature_surgery, pooled_similarity, subtract_empty
from clipsight.towers.open_clip_vit import OpenClipVision
from clipsight.towers.view import PositionRule
from goldens import GOLDENS, agree, index, model, needs_goldens, tensors

pytestmark = needs_goldens


@cache
@torch.inference_mode()
def features(image: str, recipe: Recipe) -> ImageFeatures:
    return run(OpenClipVision(model().visual), tensors("inputs")[image].float(), recipe)


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
