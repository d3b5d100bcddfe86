"""Cosine maps: values, orientation, types, degenerate vectors."""

import pytest
import torch

from clipsight.scoring import normalize, pooled_similarity, similarity_maps


def features(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_maps_are_cosines_row_by_row():
    patches, texts = features(2, 3, 5, 8), features(4, 8, seed=1)
    maps = similarity_maps(patches, texts)
    assert maps.shape == (2, 4, 3, 5)
    for b, t, row, column in [(0, 0, 0, 0), (1, 3, 2, 4), (0, 2, 1, 3), (1, 0, 2, 0)]:
        expected = torch.cosine_similarity(patches[b, row, column], texts[t], dim=0)
        torch.testing.assert_close(maps[b, t, row, column], expected)


def test_length_of_features_does_not_matter():
    patches, texts = features(1, 2, 2, 8), features(3, 8, seed=1)
    torch.testing.assert_close(similarity_maps(7 * patches, 0.01 * texts), similarity_maps(patches, texts))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_scored_in_float32_without_overflow(dtype):
    patches, texts = (300 * features(1, 2, 2, 64)).to(dtype), (300 * features(2, 64, seed=1)).to(dtype)
    maps = similarity_maps(patches, texts)
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps, similarity_maps(patches.float(), texts.float()))
    assert pooled_similarity(patches[:, 0, 0], texts).dtype == torch.float32


def test_zero_vectors_score_zero():
    assert not normalize(torch.zeros(2, 4)).any()
    assert not similarity_maps(torch.zeros(1, 2, 2, 4), features(2, 4)).any()


def test_pooled_similarity_is_a_cosine():
    pooled, texts = features(3, 8), features(5, 8, seed=1)
    expected = torch.cosine_similarity(pooled[:, None], texts[None], dim=-1)
    torch.testing.assert_close(pooled_similarity(pooled, texts), expected)
