"""Exactness in a bare clone: the authors' tensors that one block determines, and every method as it was recorded.

All tensors of the authors are compared where `../shared/goldens` is (`tests/features/test_family.py` and others).
"""

import dataclasses

import pytest
import torch
from torch import Tensor

from clipsight.attribution import attribute
from clipsight.features import ImagePass, get_recipe
from clipsight.towers.open_clip_text import OpenClipText
from small_goldens import FOLDER, LastBlock, everything, last_block, one_block_model, recorded

EVERYTHING = everything()
IMAGE = torch.zeros(1, 3, 128, 128)
AUTHORS = (1e-5, 1e-4)
"""Absolute, and relative to the greatest value: the tolerance of the whole goldens."""


def close(ours: Tensor, theirs: Tensor) -> None:
    atol, rtol = AUTHORS
    assert ours.numel() == theirs.numel()
    error = (ours.reshape(theirs.shape) - theirs).abs().max().item()
    assert error <= atol + rtol * theirs.abs().max().item(), error


def run(recipe: str, **changes) -> ImagePass:
    return ImagePass(
        LastBlock(one_block_model().visual), IMAGE, dataclasses.replace(get_recipe(recipe), **changes)
    )


@pytest.mark.parametrize(
    ("tensor", "recipe", "changes"),
    [
        ("maskclip/patch_features_residual", "maskclip", {}),
        ("maskclip/patch_features_noresidual", "maskclip.attention", {}),
        ("sclip/patch_features", "sclip", {}),
        ("clearclip/patch_features_clearclip_noresidual", "clearclip", {"residual": "drop", "ffn": "skip"}),
        ("clearclip/patch_features_vanilla_noresidual", "naclip.qk", {"residual": "drop", "ffn": "skip"}),
        ("naclip/patch_features_reduced_naclip", "naclip", {}),
        ("naclip/patch_features_vanilla_naclip", "naclip.vanilla", {}),
        ("naclip/patch_features_reduced_kk", "naclip.kk", {}),
        ("naclip/patch_features_reduced_nonly", "naclip.nonly", {}),
        ("pearl/patch_features_polar5_a008", "pearl", {}),
        ("pearl/patch_features_svd_a008", "pearl.svd", {}),
        ("anovl/patch_features_original_stream", "clip", {}),
    ],
)  # fmt: skip
@torch.inference_mode()
def test_patches_are_the_authors(tensor, recipe, changes):
    ours = run(recipe, **changes).features().patches.flatten(1, 2)
    close(ours[:, ::4], last_block()[tensor])
    with pytest.raises(AssertionError):  # it tells one method from another
        close(
            ours[:, ::4],
            last_block()["sclip/patch_features" if recipe != "sclip" else "pearl/patch_features_svd_a008"],
        )


@torch.inference_mode()
def test_class_tokens_are_the_authors():
    close(run("sclip").class_token(), last_block()["sclip/cls_feature"])
    close(run("naclip").class_token(), last_block()["naclip/cls_feature_reduced_naclip"])


@pytest.mark.parametrize("sign", [1, -1])
def test_relevance_of_words_is_the_authors(sign):
    kept, suffix = last_block(), "_negproj" if sign < 0 else ""
    found = attribute(
        OpenClipText(one_block_model()), kept["text_ids"], sign * kept["cls_feature"][0], method="chefer",
        start_layer=-1, scale=float(kept["w/logit_scale"].float().exp()),
    )  # fmt: skip
    close(found.scores, kept[f"chefer_generic/text_relevance_eot_row_last{suffix}"])


@pytest.mark.filterwarnings("ignore::clipsight.errors.ClipsightWarning")
@pytest.mark.parametrize("name", sorted(recorded()))
def test_every_method_gives_what_was_recorded(name):
    """A method that decides by a threshold or a rank may decide otherwise in a cell or two on another machine."""
    ours, theirs = EVERYTHING[name](), recorded()[name]
    assert ours.shape == theirs.shape
    error = (ours - theirs).abs() / theirs.abs().max()
    assert float((error < 1e-3).float().mean()) > 0.97, float(error.max())


def test_no_method_is_lost_and_methods_differ():
    """A new one needs no record: its own test compares it with its authors or its formula."""
    assert set(recorded()) <= set(EVERYTHING)
    assert len(recorded()) >= 69
    maps = {name: one for name, one in recorded().items() if name.startswith("recipe/") and "." not in name}
    plain = maps["recipe/clip"]
    for name, one in maps.items():
        if name != "recipe/clip":
            same = one.shape == plain.shape and torch.allclose(one, plain, rtol=1e-3)
            assert not same, name


def test_the_files_stay_small():
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 1_000_000
