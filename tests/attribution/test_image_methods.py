"""What every image attribution must do: batches, many texts, towers, gradients; and what single ones promise."""

import copy

import pytest
import torch
from torch.nn import functional as F

from clipsight.attribution.exact import image_shares
from clipsight.attribution.image import (
    attribute_patches,
    get_image_attribution,
    image_attribution_ids,
    why_not_image,
)
from clipsight.errors import Unsupported
from clipsight.towers.families import towers_of
from clipsight.towers.open_clip_vit import OpenClipVision
from tiny import past_type_checks, pixels, tiny_clip
from towers.test_zoo import opened

METHODS = image_attribution_ids()
FEW = {"rise": {"masks": 12}, "integrated_gradients": {"steps": 4}}
"""Options that make the slow ones quick."""


@pytest.fixture(scope="module")
def model():
    return tiny_clip(seed=6)


@pytest.fixture(scope="module")
def view(model):
    return OpenClipVision(model.visual)


def directions(count: int = 3, width: int = 32) -> torch.Tensor:
    return F.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(5)), dim=-1)


def ask(view, method: str, x: torch.Tensor, d: torch.Tensor, **options):
    return attribute_patches(view, x, d, method=method, **{**FEW.get(method, {}), **options})


def test_the_register_says_what_each_one_is(view):
    assert METHODS[0] == "exact"
    assert set(METHODS[1:]) == {
        "chefer", "grad_eclip", "gradcam", "integrated_gradients", "legrad", "occlusion", "rise", "rollout",
    }  # fmt: skip
    for name in METHODS:
        facts = get_image_attribution(name)
        assert facts.unit
        assert facts.summary.endswith(".")
        assert facts.sources[0].title
    with pytest.raises(ValueError, match="did you mean 'gradcam'"):
        get_image_attribution("grad_cam")
    with pytest.raises(TypeError, match="has no option 'layers'; it has start_layer"):
        attribute_patches(view, pixels(1), directions(), method="chefer", layers=2)


@pytest.mark.parametrize("method", METHODS)
def test_batches_and_texts_one_by_one_on_any_grid(view, method):
    x, d = pixels(2, 48, 96), directions()
    together = ask(view, method, x, d)
    assert together.maps.shape == (2, 3, 3, 6)
    assert together.maps.dtype == torch.float32
    assert not together.maps.requires_grad
    assert together.maps.isfinite().all()
    size = float(together.maps.abs().max())
    for image in range(2):
        for text in range(3):
            alone = ask(view, method, x[image : image + 1], d[text : text + 1]).maps[0, 0]
            torch.testing.assert_close(alone, together.maps[image, text], atol=2e-5 * size, rtol=1e-3)
    if together.pooled is not None:
        torch.testing.assert_close(together.pooled, view.encode(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_sign_and_linearity_are_as_declared(view, method):
    facts, x, d = get_image_attribution(method), pixels(1), directions(2)
    maps = ask(view, method, x, torch.stack([d[0], d[1], d[0] - d[1], -d[0]])).maps[0]
    if facts.linear:
        torch.testing.assert_close(maps[2], maps[0] - maps[1], atol=1e-5, rtol=1e-3)
        assert facts.signed
    if facts.signed:
        assert (maps < 0).any()
        torch.testing.assert_close(maps[3], -maps[0], atol=1e-5, rtol=1e-3)
    else:
        assert (maps >= 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_model_is_left_as_found_and_nothing_is_asked_of_autograd_outside(model, view, method):
    before = copy.deepcopy(model.state_dict())
    with torch.inference_mode():
        frozen = ask(view, method, pixels(1), directions())
    with torch.no_grad():
        again = ask(view, method, pixels(1), directions())
    assert torch.equal(frozen.maps, again.maps)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("rise", "integrated_gradients")])
def test_the_graph_is_kept_where_asked(view, method):
    x = pixels(1).requires_grad_()
    maps = ask(view, method, x, directions(2), differentiable=True).maps
    (slope,) = torch.autograd.grad(maps.square().sum(), x)
    assert slope.abs().sum() > 0


@pytest.mark.parametrize(
    ("kind", "off"),
    [
        ("ViT-L-14-CLIPA", {"chefer", "rollout", "grad_eclip"}),  # mean of the patches
        ("ViT-B-16-SigLIP", {"chefer", "rollout", "grad_eclip"}),  # attention pool
        ("coca_ViT-B-32", {"chefer", "rollout", "grad_eclip"}),
        ("EVA02-B-16", set()),  # rotary positions
        ("RN50", {"legrad"}),
        ("convnext_base", {"chefer", "rollout", "grad_eclip", "gradcam", "legrad"}),
    ],
)
def test_other_towers_run_or_refuse_with_the_reason(kind, off, tmp_path_factory):
    view = opened(kind, tmp_path_factory.mktemp("hf"))[1].vision
    x = torch.randn(1, 3, *view.native_size, generator=torch.Generator().manual_seed(2))
    d = directions(2, view.embed_dim)
    for method in METHODS:
        if method in off:
            assert why_not_image(method, view)
            with pytest.raises(Unsupported, match=f"{method} cannot be asked"):
                ask(view, method, x, d)
        else:
            maps = ask(view, method, x, d).maps
            assert maps.shape == (1, 2, *view.native_grid), method
            assert maps.isfinite().all(), method


def test_exact_is_the_exact_map(view):
    x, d = pixels(), directions()
    shares = image_shares(view, x, d)
    found = ask(view, "exact", x, d)
    expected = shares.patches.permute(0, 3, 1, 2) / shares.feature.norm(dim=-1)[:, None, None, None]
    torch.testing.assert_close(found.maps, expected)


def test_integrated_gradients_add_up(view):
    x, d = pixels(1), directions()
    found = attribute_patches(view, x, d, method="integrated_gradients", steps=40)
    with torch.no_grad():
        unit, base = (F.normalize(view.encode(one), dim=-1) for one in (x, torch.zeros_like(x)))
        gained = (unit - base) @ d.T
    torch.testing.assert_close(found.maps.sum((2, 3)), gained, atol=2e-3, rtol=2e-2)
    assert "adds up" in found.notes[0]


def test_occlusion_of_everything_is_the_whole_loss(view):
    x, d = pixels(1), directions()
    found = attribute_patches(view, x, d, method="occlusion", window=4).maps
    with torch.no_grad():
        unit, base = (F.normalize(view.encode(one), dim=-1) for one in (x, torch.zeros_like(x)))
    expected = ((unit - base) @ d.T)[..., None, None].expand(1, 3, 4, 4)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_rise_finds_the_one_patch_that_counts(view):
    """A tower that sees patch (1, 2) alone."""

    class One(OpenClipVision):
        def encode(self, images, positions="bicubic_antialias"):
            seen = torch.zeros_like(images)
            seen[..., 16:32, 32:48] = images[..., 16:32, 32:48]
            return super().encode(seen)

    one, x = One(view._visual), pixels(1)
    with torch.no_grad():
        d = F.normalize(one.encode(x) - one.encode(torch.zeros_like(x)), dim=-1)
    maps = attribute_patches(one, x, d, method="rise", masks=300, cells=4).maps[0, 0]
    assert int(maps.argmax()) == 6
    assert torch.equal(maps, attribute_patches(one, x, d, method="rise", masks=300, cells=4).maps[0, 0])
    assert not torch.equal(
        maps, attribute_patches(one, x, d, method="rise", masks=300, cells=4, seed=1).maps[0, 0]
    )


def test_what_is_out_of_range_is_refused(view):
    x, d = pixels(1), directions()
    with past_type_checks(), pytest.raises(ValueError, match="at is 'left'"):
        attribute_patches(view, x, d, method="gradcam", at="left")
    for method, options, said in (
        ("gradcam", {"layer": 9}, "6 blocks"),
        ("chefer", {"start_layer": -7}, "6 blocks"),
        ("grad_eclip", {"last": 0}, "at least 1"),
        ("occlusion", {"window": 5}, "fits 4 × 4"),
        ("rise", {"keep": 1.0}, "between 0 and 1"),
        ("integrated_gradients", {"steps": 0}, "at least 1"),
    ):
        with pytest.raises(ValueError, match=said):
            attribute_patches(view, x, d, method=method, **options)
    with pytest.raises(ValueError, match="have 32 channels"):
        attribute_patches(view, x, directions(2, 16), method="exact")


def test_hugging_face_towers():
    from towers.hf_tiny import tiny_hf

    view = towers_of(tiny_hf("clip")).vision
    for method in METHODS:
        assert ask(view, method, pixels(1), directions(2)).maps.shape == (1, 2, 4, 4)
