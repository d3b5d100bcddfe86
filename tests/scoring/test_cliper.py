"""CLIPer's scores against the authors' tensors and a loop; its decision against a plain one."""

import pytest
import torch
from einops import rearrange
from torch.nn import functional as F

from clipsight.scoring.cliper import cliper_decision, cliper_scores
from goldens import agree, needs_goldens, picture, tensors, texts


@needs_goldens
@pytest.mark.parametrize(
    ("image", "suffix"),
    [
        ("img_native", ""),
        ("img_160", ""),
        ("img_160", "_nohalf"),
        ("img_rect", ""),
        ("img_rect", "_nohalf"),
    ],
)
def test_goldens(image, suffix):
    golden = tensors("cliper")
    readouts = rearrange(
        golden[f"{image}/readouts{suffix}"], "L (h w) E -> L 1 h w E", h=picture(image).shape[-2] // 16
    )
    last_map = golden[f"{image}/last_map{suffix}"].mean(0)[None, 1:, 1:]
    scores = cliper_scores(readouts, last_map, texts()[:4], texts()[4:])
    agree(scores, "cliper", f"{image}/seg{suffix}")


def sample(batch=2) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(7)
    return (
        torch.randn(3, batch, 2, 5, 8, generator=generator),
        torch.rand(batch, 10, 10, generator=generator),
        torch.randn(4, 8, generator=generator),
        torch.randn(2, 8, generator=generator),
    )


@pytest.mark.parametrize("select", [-1, -2, 0])
def test_the_definition(select):
    readouts, last_map, foreground, background = sample()
    ours = cliper_scores(
        readouts, last_map, foreground, background, logit_scale=5.0, attention_threshold=0.5, select=select
    )
    unit = F.normalize(foreground, dim=-1)
    named = torch.cat(
        [unit, F.normalize(background, dim=-1), F.normalize(unit.mean(0, keepdim=True), dim=-1)]
    )
    for b in range(2):
        shares = (5 * F.normalize(readouts[:, b].flatten(1, 2), dim=-1) @ named.T).softmax(-1)[..., :4]
        chosen = shares[select]
        chosen[chosen < 0.5 * chosen.amax(0)] = 0
        for f in range(4):
            wanted = chosen[:, f] @ last_map[b] + shares[:, :, f].mean(0)
            torch.testing.assert_close(ours[b, f].flatten(), wanted)


def test_batch_is_a_loop_and_there_may_be_no_background():
    readouts, last_map, foreground, background = sample(3)
    for names in (background, background[:0]):
        whole = cliper_scores(readouts, last_map, foreground, names)
        single = [
            cliper_scores(readouts[:, i : i + 1], last_map[i : i + 1], foreground, names) for i in range(3)
        ]
        torch.testing.assert_close(whole, torch.cat(single))
        assert (whole >= 0).all()


def test_a_class_token_left_in_is_said():
    readouts, _, foreground, background = sample()
    with pytest.raises(ValueError, match="1:, 1:"):
        cliper_scores(readouts, torch.rand(2, 11, 11), foreground, background)
    with pytest.raises(ValueError, match="select=3"):
        cliper_scores(readouts, torch.rand(2, 10, 10), foreground, background, select=3)


def plainly(scores, size, background_threshold, score_threshold, stretch):
    strength = scores.amax((2, 3))
    maps = F.interpolate(scores, size, mode="bilinear")
    maps = maps / (maps.amax((2, 3), keepdim=True) + 1e-5) * strength[..., None, None]
    if stretch:
        maps = maps - maps.amin((2, 3), keepdim=True)
        maps = maps / (maps.amax((2, 3), keepdim=True) + 1e-6)
    maps[maps < background_threshold] = 0
    maps[strength <= score_threshold] = 0
    best, label = maps.max(1)
    if background_threshold > 0:
        return torch.where(best == 0, 0, label + 1)
    return torch.cat([(1 - best[:, None]) ** 2, maps], 1).argmax(1)


@pytest.mark.parametrize("stretch", [False, True])
@pytest.mark.parametrize(
    ("background_threshold", "score_threshold"), [(0.0, 0.0), (0.0, 0.9), (0.4, 0.0), (0.6, 0.93), (0.5, 2.0)]
)
def test_the_decision(stretch, background_threshold, score_threshold):
    """More texts than are resized at a time."""
    scores = torch.rand(2, 21, 3, 4, generator=torch.Generator().manual_seed(2)) ** 2
    ours = cliper_decision(
        scores,
        (13, 22),
        background_threshold=background_threshold,
        score_threshold=score_threshold,
        stretch=stretch,
    )
    wanted = plainly(scores, (13, 22), background_threshold, score_threshold, stretch)
    assert torch.equal(ours, wanted)
    if score_threshold == 2:
        assert (ours == 0).all()


def test_nothing_anywhere_is_background_and_thresholds_are_checked():
    for threshold in (0.0, 0.3):
        labels = cliper_decision(
            torch.zeros(1, 2, 3, 4), (6, 8), background_threshold=threshold, score_threshold=0.0
        )
        assert (labels == 0).all()
    with pytest.raises(ValueError, match="VOC21"):
        cliper_decision(torch.zeros(1, 2, 3, 4), (6, 8), background_threshold=-0.1, score_threshold=0.0)
