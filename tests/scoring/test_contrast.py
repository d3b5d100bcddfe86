"""Feature surgery in closed form against its definition and the authors' tensors; the other contrasts."""

import inspect
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from clipsight.scoring import contrast_maps, feature_surgery, similarity_maps, subtract_empty

GOLDEN = load_file(Path(__file__).parents[1] / "data" / "goldens" / "feature_surgery.safetensors")


def unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def sample(
    batch: int, texts: int, h: int, w: int, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(batch, h, w, 16, generator=generator),
        torch.randn(batch, 16, generator=generator),
        torch.randn(texts, 16, generator=generator),
    )


def by_definition(patches: torch.Tensor, pooled: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    """The paper's product of features, picture by picture: (B, T, h, w)."""
    maps = []
    for image, cls in zip(unit(patches.double()), unit(pooled.double()), strict=True):
        shares = torch.softmax(2 * unit(texts.double()) @ cls, dim=0)
        weights = shares / shares.mean()
        product = image[None] * unit(texts.double())[:, None, None] * weights[:, None, None, None]
        maps.append((product - product.mean(0, keepdim=True)).sum(-1))
    return torch.stack(maps)


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    texts=st.integers(2, 9),
    h=st.integers(1, 4),
    w=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_closed_form_equals_the_definition(batch, texts, h, w, seed):
    arrays = sample(batch, texts, h, w, seed)
    torch.testing.assert_close(feature_surgery(*arrays).double(), by_definition(*arrays), atol=1e-6, rtol=0)


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(6)), seed=st.integers(0, 99))
def test_order_of_texts_does_not_matter(order, seed):
    patches, pooled, texts = sample(2, 6, 3, 2, seed)
    shuffled = feature_surgery(patches, pooled, texts[list(order)])
    torch.testing.assert_close(
        shuffled, feature_surgery(patches, pooled, texts)[:, list(order)], atol=1e-6, rtol=0
    )


def test_batch_equals_loop():
    patches, pooled, texts = sample(4, 5, 3, 2)
    alone = [feature_surgery(patches[i : i + 1], pooled[i : i + 1], texts) for i in range(4)]
    torch.testing.assert_close(feature_surgery(patches, pooled, texts), torch.cat(alone), atol=1e-6, rtol=0)


@pytest.mark.parametrize("image", ["img_native", "img_160"])
@pytest.mark.parametrize("name", ["multi", "multi_empty", "single_empty"])
def test_goldens_of_the_released_code(image, name):
    tokens = GOLDEN[f"{image}/patch_features"]
    side = int(tokens.shape[1] ** 0.5)
    patches, pooled = tokens.reshape(1, side, side, -1), GOLDEN[f"{image}/cls_feature"].reshape(1, -1)
    texts, empty = GOLDEN["text_embeddings"], GOLDEN["empty_text_embedding"]
    maps = {
        "multi": lambda: feature_surgery(patches, pooled, texts),
        "multi_empty": lambda: subtract_empty(patches, texts, empty),
        "single_empty": lambda: subtract_empty(patches, texts[:1], empty[0]),
    }[name]()
    golden = GOLDEN[f"{image}/feature_surgery_{name}"][:, 1:].mT.reshape(
        maps.shape
    )  # row 0 is the class token
    assert (maps - golden).abs().max() <= 1e-6 + 1e-4 * golden.abs().max()


def test_two_texts_mirror_each_other():
    maps = feature_surgery(*sample(2, 2, 3, 3))
    torch.testing.assert_close(maps[:, 0], -maps[:, 1])
    assert maps.abs().max() > 0.01


def test_one_text_is_refused_with_the_way_on():
    with pytest.raises(ValueError, match=r'at least two of them, got 1.*contrast="empty"'):
        feature_surgery(*sample(1, 1, 2, 2))


def test_duplicates_get_one_map():
    patches, pooled, texts = sample(1, 4, 3, 3)
    maps = feature_surgery(patches, pooled, texts[[0, 1, 0, 2]])
    assert torch.equal(maps[:, 0], maps[:, 2])
    assert maps.isfinite().all()


def test_maps_sum_to_zero_over_texts():
    assert feature_surgery(*sample(2, 7, 3, 2)).sum(1).abs().max() < 1e-5


def test_constant_picture_gives_flat_finite_maps():
    _, pooled, texts = sample(1, 5, 1, 1)
    maps = feature_surgery(torch.ones(1, 3, 4, 16), pooled, texts)
    assert maps.isfinite().all()
    assert (maps.amax((2, 3)) - maps.amin((2, 3))).abs().max() < 1e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_scored_in_float32(dtype):
    arrays = [x.to(dtype) for x in sample(2, 4, 2, 3)]
    maps = feature_surgery(*arrays)
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps.double(), by_definition(*arrays), atol=1e-6, rtol=0)


def test_gradients_flow_to_every_feature():
    arrays = [x.requires_grad_() for x in sample(2, 4, 2, 3)]
    feature_surgery(*arrays).square().sum().backward()
    assert all(x.grad is not None and x.grad.isfinite().all() and x.grad.abs().sum() > 0 for x in arrays)


def test_contrast_kinds_are_the_functions_they_name():
    patches, pooled, texts = sample(2, 5, 3, 2)
    said, others = texts[:2], texts[2:]
    assert torch.equal(contrast_maps(patches, pooled, said), similarity_maps(patches, said))
    assert torch.equal(
        contrast_maps(patches, pooled, texts, kind="labels"), feature_surgery(patches, pooled, texts)
    )
    empty = contrast_maps(patches, pooled, said, kind="empty", contrast_texts=others[:1])
    assert torch.equal(empty, subtract_empty(patches, said, others[0]))
    named = contrast_maps(patches, pooled, said, kind="names", contrast_texts=others)
    assert torch.equal(named, feature_surgery(patches, pooled, texts)[:, :2])


def test_one_text_with_names_has_a_map():
    patches, pooled, texts = sample(1, 4, 3, 2)
    named = contrast_maps(patches, pooled, texts[:1], kind="names", contrast_texts=texts[1:])
    assert named.shape == (1, 1, 3, 2)
    assert named.abs().max() > 0.01


@pytest.mark.parametrize(
    ("kind", "given_texts", "words"),
    [
        ("none", True, "'none' takes none; got contrast_texts=a tensor"),
        ("labels", True, "'labels' takes none"),
        ("empty", False, "'empty' needs the feature of the empty prompt"),
        ("names", False, "'names' needs .* or of the distractors"),
        ("other", False, "'other' is not known; the kinds are none, labels, empty, names"),
    ],
)
def test_what_does_not_fit_is_refused(kind, given_texts, words):
    patches, pooled, texts = sample(1, 3, 2, 2)
    plain = inspect.unwrap(contrast_maps)  # as users call it, without type checks
    with pytest.raises(ValueError, match=words):
        plain(patches, pooled, texts, kind=kind, contrast_texts=texts if given_texts else None)
