"""MaskCLIP's repairs of scores against loops over patches."""

import pytest
import torch

from clipsight.scoring.denoising import key_smoothing, prompt_denoising
from goldens import unchecked


def sample(batch=2, texts=5, h=3, w=4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return (
        0.02 * torch.randn(batch, texts, h, w, generator=generator),
        torch.randn(batch, h * w, 8, generator=generator),
    )


def test_only_texts_that_win_somewhere_stay():
    scores, _ = sample()
    likely = (100 * scores).softmax(1)
    ours = prompt_denoising(scores, threshold=0.6)
    for b in range(2):
        for t in range(5):
            stays = likely[b, t].max() >= 0.6
            wanted = scores[b, t] if stays else torch.full((3, 4), -100.0)
            assert torch.equal(ours[b, t], wanted)
    dropped = (ours == -100).all(3).all(2)
    assert dropped.any()
    assert not dropped.all()


def test_thresholds_at_the_ends():
    scores, keys = sample()
    assert torch.equal(prompt_denoising(scores, threshold=0.0), scores)
    assert (prompt_denoising(torch.zeros(1, 4, 2, 3)) == -100).all()
    likely = (100 * scores).softmax(1)
    assert torch.equal(key_smoothing(scores, keys, threshold=0.0), likely)


@pytest.mark.parametrize("mode", ["paper", "compat"])
@pytest.mark.parametrize("threshold", [0.5, 1.0])
def test_unsure_patches_take_the_sum_over_like_keys(mode, threshold):
    scores, keys = sample()
    ours = key_smoothing(scores, keys, threshold=threshold, mode=mode).flatten(2)
    likely = (100 * scores).softmax(1).flatten(2)
    axis = 1 if mode == "paper" else 0
    changed = 0
    for b in range(2):
        k = keys[b] / keys[b].norm(dim=axis, keepdim=True)
        for i in range(12):
            wanted = likely[b, :, i]
            if wanted.max() < threshold:
                wanted = sum((k[i] @ k[j]) * likely[b, :, j] for j in range(12))
                changed += 1
            torch.testing.assert_close(ours[b, :, i], wanted, atol=1e-5, rtol=0)
    assert changed
    if threshold < 1:
        assert changed < 24


def test_orthogonal_keys_change_nothing_and_zero_keys_give_numbers():
    scores, _ = sample(h=2, w=4)
    likely = (100 * scores).softmax(1)
    keys = 3 * torch.eye(8).expand(2, 8, 8)
    torch.testing.assert_close(key_smoothing(scores, keys), likely)
    assert key_smoothing(scores, 0 * keys).isfinite().all()


def test_half_precision_gives_float32_and_batch_is_a_loop():
    scores, keys = sample()
    assert key_smoothing(scores.half(), keys.half()).dtype == torch.float32
    assert prompt_denoising(scores.half()).dtype == torch.float32
    single = torch.cat([key_smoothing(scores[i : i + 1], keys[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(key_smoothing(scores, keys), single)


def test_prefix_tokens_and_unknown_modes_are_said():
    scores, keys = sample()
    with pytest.raises(ValueError, match="prefix"):
        key_smoothing(scores, torch.cat([keys[:, :1], keys], 1))
    with pytest.raises(ValueError, match="paper, compat"):
        unchecked(key_smoothing)(scores, keys, mode="raw")
