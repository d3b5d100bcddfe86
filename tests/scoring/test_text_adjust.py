"""RF-CLIP's text side against loops over pictures and groups."""

import pytest
import torch
from torch.nn import functional as F

from clipsight.scoring import pooled_similarity, similarity_maps
from clipsight.scoring.text_adjust import adjust_texts, cluster_texts, mix_class


def sample(batch=3, texts=9, patches=10, width=6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return (
        torch.randn(texts, width, generator=generator),
        torch.randn(batch, patches, width, generator=generator),
        torch.randn(batch, width, generator=generator),
    )


def by_definition(texts, patches, pooled, move, cut):
    unit, groups = F.normalize(texts, dim=-1), cluster_texts(texts, cut=cut)
    result = unit.repeat(len(patches), 1, 1)
    for b, cells in enumerate(F.normalize(patches, dim=-1)):
        whole = F.normalize(pooled[b], dim=-1) @ unit.T
        for group in set(groups.tolist()):
            best = max((t for t in range(len(texts)) if groups[t] == group), key=lambda t: whole[t].item())
            order = (cells @ unit[best]).argsort(descending=True)[:2]
            towards = F.normalize(cells[order].mean(0), dim=0)
            result[b, best] = F.normalize((1 - move) * unit[best] + move * towards, dim=0)
    return result


@pytest.mark.parametrize("cut", [0.0, 0.3, 0.8, 2.0])
def test_the_definition(cut):
    arrays = sample()
    ours = adjust_texts(*arrays, move=0.2, cut=cut)
    torch.testing.assert_close(ours, by_definition(*arrays, 0.2, cut))
    torch.testing.assert_close(ours.norm(dim=-1), torch.ones(3, 9))


def test_one_text_of_each_group_moves_nearer_to_the_patches():
    texts, patches, pooled = sample()
    unit = F.normalize(texts, dim=-1)
    groups = cluster_texts(texts, cut=0.8)
    assert 1 < len(groups.unique()) < 9
    ours = adjust_texts(texts, patches, pooled, move=0.3, cut=0.8)
    moved = (ours - unit).abs().amax(-1) > 1e-6
    for group in groups.unique():
        assert (moved[:, groups == group].sum(1) == 1).all()
    nearest = (F.normalize(patches, dim=-1) @ ours.mT).amax(1)
    before = (F.normalize(patches, dim=-1) @ unit.T).amax(1)
    assert (nearest[moved] > before[moved]).all()


def test_groups_are_complete_linkage():
    """Neighbours 20 degrees apart: a chain is not one group, since its ends are too far from each other."""
    angles = torch.deg2rad(torch.tensor([0.0, 20.0, 40.0, 90.0]))
    texts = 5 * torch.stack([angles.cos(), angles.sin()], -1)
    cut = 1 - torch.deg2rad(torch.tensor(25.0)).cos().item()
    groups = cluster_texts(texts, cut=cut)
    assert groups[0] == groups[1] or groups[1] == groups[2]
    assert groups[0] != groups[2]
    assert groups[3] not in groups[:3]
    assert len(cluster_texts(texts, cut=2.0).unique()) == 1
    assert len(cluster_texts(texts, cut=0.0).unique()) == 4
    assert len(cluster_texts(torch.cat([texts, 2 * texts]), cut=0.0).unique()) == 4


def test_the_ends_of_the_range_and_small_cases():
    texts, patches, pooled = sample()
    unit = F.normalize(texts, dim=-1)
    torch.testing.assert_close(adjust_texts(texts, patches, pooled, move=0.0, cut=0.3), unit.expand(3, 9, 6))
    assert cluster_texts(texts[:1], cut=0.5).tolist() == [0]
    assert cluster_texts(texts[:0], cut=0.5).tolist() == []
    one = adjust_texts(texts[:1], patches[:, :1], pooled, move=1.0, cut=0.1)
    torch.testing.assert_close(one, F.normalize(patches[:, :1], dim=-1))
    many = sample(batch=1, texts=600)
    assert adjust_texts(*many, move=0.1, cut=0.0).isfinite().all()
    torch.testing.assert_close(adjust_texts(*many, move=0.1, cut=0.0), by_definition(*many, 0.1, 0.0))


def test_class_share():
    texts, patches, pooled = sample(patches=8)
    maps = similarity_maps(patches.reshape(3, 2, 4, 6), texts)
    mixed = mix_class(maps, pooled, texts, share=0.4)
    whole = pooled_similarity(pooled, texts)
    for t in range(9):
        torch.testing.assert_close(mixed[:, t], 0.6 * maps[:, t] + 0.4 * whole[:, t, None, None])
    assert torch.equal(mix_class(maps, pooled, texts, share=0.0), maps)


def test_what_is_out_of_range_is_said():
    texts, patches, pooled = sample()
    for wrong in ({"move": 1.5, "cut": 0.1}, {"move": 0.1, "cut": -0.1}):
        with pytest.raises(ValueError, match="VOC20"):
            adjust_texts(texts, patches, pooled, **wrong)
    with pytest.raises(ValueError, match="share"):
        mix_class(torch.zeros(3, 9, 2, 2), pooled, texts, share=2.0)
