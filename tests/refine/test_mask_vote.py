"""Votes inside masks, and the way to SAM through a stand-in for transformers."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import clipsight
from clipsight.bench.emoji import BACKGROUND, noun_features, ready
from clipsight.errors import Unsupported
from clipsight.refine.mask_vote import mask_mean, mask_vote, sam_masks
from clipsight.world import make_scenes
from goldens import unchecked


def boxes(*corners: tuple[int, int, int, int], size: tuple[int, int] = (4, 6)) -> torch.Tensor:
    masks = torch.zeros(len(corners), *size, dtype=torch.bool)
    for mask, (top, left, bottom, right) in zip(masks, corners, strict=True):
        mask[top:bottom, left:right] = True
    return masks


def test_the_majority_wins_and_the_rest_stays():
    labels = torch.tensor([[1, 1, 2, 0, 0, 3], [1, 2, 2, 0, 3, 3], [0, 0, 0, 0, 0, 0], [5, 5, 5, 5, 5, 5]])
    voted = mask_vote(labels, boxes((0, 0, 2, 2), (0, 3, 2, 6)))
    assert voted.winners.tolist() == [1, 0]
    assert voted.agreement.tolist() == [0.75, 0.5]
    assert (voted.labels[:2, :2] == 1).all()
    assert (voted.labels[:2, 3:] == 0).all()
    assert torch.equal(voted.labels[2:], labels[2:])
    assert torch.equal(voted.labels[:2, 2], labels[:2, 2])
    assert voted.labels.dtype == labels.dtype


def test_a_mask_that_does_not_agree_is_refused_and_says_so():
    labels = torch.arange(24).reshape(4, 6) % 5
    voted = mask_vote(labels, boxes((0, 0, 4, 6)), least=0.5)
    assert torch.equal(voted.labels, labels)
    assert not voted.accepted.any()
    assert voted.winners.tolist() == [0]


def test_the_smaller_mask_lies_on_top_whatever_the_order():
    labels = torch.zeros(4, 6, dtype=torch.long)
    labels[1:3, 1:3] = 7
    masks = boxes((1, 1, 3, 3), (0, 0, 4, 6))
    for order in ([0, 1], [1, 0]):
        voted = mask_vote(labels, masks[order])
        assert torch.equal(voted.labels, labels)


def test_ignored_labels_do_not_vote_and_empty_masks_win_nothing():
    labels = torch.full((4, 6), 255)
    labels[0, 0] = 2
    voted = mask_vote(labels, boxes((0, 0, 2, 2), (2, 2, 4, 4), (0, 0, 0, 0)), ignore=255)
    assert voted.winners.tolist() == [2, -1, -1]
    assert voted.agreement[1:].isnan().all()
    assert voted.accepted.tolist() == [True, False, False]
    assert (voted.labels[:2, :2] == 2).all()
    assert (voted.labels[2:] == 255).all()


def test_no_masks_change_nothing():
    labels = torch.randint(0, 3, (4, 6))
    assert torch.equal(mask_vote(labels, boxes()).labels, labels)
    maps = torch.randn(2, 4, 6)
    painted, means = mask_mean(maps, boxes())
    assert torch.equal(painted, maps)
    assert means.shape == (0, 2)


def test_means_inside_masks():
    maps = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(0))
    masks = boxes((0, 0, 4, 6), (1, 1, 3, 4), (0, 0, 0, 0))
    painted, means = mask_mean(maps, masks)
    torch.testing.assert_close(means[0], maps.mean((1, 2)))
    torch.testing.assert_close(means[1], maps[:, 1:3, 1:4].mean((1, 2)))
    assert means[2].isnan().all()
    torch.testing.assert_close(painted[:, 1:3, 1:4], means[1][:, None, None].expand(3, 2, 3))
    torch.testing.assert_close(painted[:, 0], means[0][:, None].expand(3, 6))
    assert painted.isfinite().all()


@pytest.mark.parametrize(
    ("change", "match"),
    [({"least": 1.5}, "share"), ({"labels": -1}, "ignore=255"), ({"masks": (3, 6)}, "size")],
)
def test_what_cannot_be_voted_on_is_said(change, match):
    labels = torch.full((4, 6), change.get("labels", 0))
    masks = boxes((0, 0, 1, 1), size=change.get("masks", (4, 6)))
    with pytest.raises(ValueError, match=match):
        unchecked(mask_vote)(labels, masks, least=change.get("least", 0.0))


def test_naming_on_the_world_gets_better():
    """Patch labels by raw cosines, then one vote for every visible thing: more pixels are named rightly."""
    lens = clipsight.load("clipsight-tiny", device="cpu")
    scenes = list(make_scenes(12, 7, "heldout"))
    (part,) = ready(lens, scenes)
    maps = lens.maps(part.pixels, noun_features(lens), "sclip")
    large = torch.nn.functional.interpolate(maps, part.labels.shape[1:], mode="bilinear")
    right = []
    for scene, labels, truth in zip(scenes, large.argmax(1), torch.from_numpy(part.labels), strict=True):
        voted = mask_vote(labels, torch.from_numpy(scene.masks))
        inside = truth != BACKGROUND
        right.append([float((one == truth)[inside].float().mean()) for one in (labels, voted.labels)])
    before, after = torch.tensor(right).mean(0).tolist()
    assert after > before + 0.02, (before, after)


class Inputs(dict):
    def to(self, device):
        return self


def fake_transformers(kind: str) -> tuple[ModuleType, list]:
    """A module with the names that `sam_masks` uses; it remembers what the processor was given."""
    library, asked = ModuleType("transformers"), []
    library.__version__ = "0"

    class Processor:
        @classmethod
        def from_pretrained(cls, name, *, trust_remote_code):
            assert trust_remote_code is False
            return cls()

        def __init__(self):
            self.image_processor = SimpleNamespace(post_process_masks=self._sam)
            self.post_process_masks = self._sam2

        def __call__(self, images, input_points, input_labels, return_tensors):
            asked.append((input_points, input_labels))
            sizes = torch.tensor([[images.height, images.width]])
            return Inputs(original_sizes=sizes, reshaped_input_sizes=sizes, pixel_values=torch.zeros(1))

        def _sam(self, masks, sizes, seen):
            assert kind == "sam"
            return [masks[0] > 0]

        def _sam2(self, masks, sizes):
            assert kind != "sam"
            return [masks[0] > 0]

    class Model:
        config = SimpleNamespace(model_type=kind)

        @classmethod
        def from_pretrained(cls, name, *, trust_remote_code):
            assert trust_remote_code is False
            return cls()

        def to(self, device):
            return self

        def eval(self):
            return self

        def __call__(self, **inputs):
            height, width = inputs["original_sizes"][0].tolist()
            masks = torch.full((1, 1, 3, height, width), -1.0)
            for index in range(3):
                masks[0, 0, index, : index + 1] = 1
            return SimpleNamespace(pred_masks=masks, iou_scores=torch.tensor([[[0.3, 0.9, 0.5]]]))

    library.AutoConfig = SimpleNamespace(from_pretrained=lambda name, *, trust_remote_code: Model.config)
    for prefix in ("Sam", "Sam2"):
        setattr(library, f"{prefix}Model", Model)
        setattr(library, f"{prefix}Processor", Processor)
    return library, asked


POINTS = np.array([[3, 1], [5, 2]]), np.array([1, 0])


@pytest.mark.parametrize("kind", ["sam", "sam2", "sam2_video"])
def test_points_go_to_sam_and_masks_come_back_best_first(monkeypatch, kind):
    library, asked = fake_transformers(kind)
    monkeypatch.setitem(sys.modules, "transformers", library)
    found = sam_masks(Image.new("RGB", (7, 5)), *POINTS)
    assert found.masks.shape == (3, 5, 7)
    assert found.masks.sum((1, 2)).tolist() == [14, 21, 7]
    assert torch.allclose(found.scores, torch.tensor([0.9, 0.5, 0.3]))
    points, labels = [[[3, 1], [5, 2]]], [[1, 0]]
    assert asked == [([points], [labels])] if kind != "sam" else [(points, labels)]


def test_without_transformers_the_install_line_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(Unsupported, match=r"pip install 'clipsight\[hf\]'"):
        sam_masks(Image.new("RGB", (7, 5)), *POINTS)


def test_another_kind_and_an_old_library_are_refused(monkeypatch):
    library, _ = fake_transformers("bert")
    monkeypatch.setitem(sys.modules, "transformers", library)
    with pytest.raises(Unsupported, match="'bert', not a SAM"):
        sam_masks(Image.new("RGB", (7, 5)), *POINTS)
    library, _ = fake_transformers("sam2")
    del library.Sam2Model
    monkeypatch.setitem(sys.modules, "transformers", library)
    with pytest.raises(Unsupported, match="pip install -U"):
        sam_masks(Image.new("RGB", (7, 5)), *POINTS)


def test_no_points_are_not_asked():
    with pytest.raises(ValueError, match="at least one point"):
        sam_masks(Image.new("RGB", (7, 5)), np.zeros((0, 2), int), np.zeros(0, int))
