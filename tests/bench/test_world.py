"""Recipes beside each other: the measures against their definitions, the rows, and what may go wrong."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F

import clipsight
from clipsight.bench.emoji import BACKGROUND, EmojiPart, judge_maps, map_quality, ready
from clipsight.bench.metrics import mean_iou, pixel_auroc
from clipsight.bench.runner import Share
from clipsight.bench.world import FIGURES, compare
from clipsight.bench.world import measure as measuring
from clipsight.bench.world.cost import peak_bytes
from clipsight.bench.world.measure import naming_confusion
from clipsight.errors import ClipsightWarning
from clipsight.session.lens import Lens
from clipsight.world import make_scenes, nouns

FOLDER = Path(clipsight.__file__).parent / "assets" / "clipsight-tiny"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the bundled model is not trained yet")
QUALITY = ("auroc", "pointing", "miou")


class Told(Lens):
    """The bundled model with maps of a test's choosing."""

    def __init__(self, lens: Lens, answer) -> None:
        self.__dict__.update(vars(lens))
        self.answer = answer

    def maps(self, x, t, method="clip_surgery", contrast=None):
        return self.answer(x, method)


@pytest.fixture(autouse=True)
def _told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps of a test's choosing, where the bench makes both kinds from one encoding."""
    plain = measuring._raw_and_contrasted

    def both(lens, recipe, pixels, *rest):
        if isinstance(lens, Told):
            return (lens.answer(pixels, recipe),) * 2
        return plain(lens, recipe, pixels, *rest)

    monkeypatch.setattr(measuring, "_raw_and_contrasted", both)


@pytest.fixture(scope="module")
def lens() -> Lens:
    return clipsight.load("clipsight-tiny", device="cpu")


def _quality(rows: list) -> list:
    return [[getattr(one, name) for name in QUALITY] for row in rows for one in row.by_seed.values()]


@pytest.mark.parametrize("levels", [3, 1000])
def test_ranks_give_scikit_learns_auroc_with_and_without_ties(levels):
    rng = np.random.default_rng(0)
    scores = rng.integers(levels, size=(20, 300)).astype(np.float32)
    there = rng.random((20, 300)) < rng.random((20, 1))
    there[:, :2] = [True, False]
    expected = [roc_auc_score(*pair) for pair in zip(there, scores, strict=True)]
    np.testing.assert_allclose(pixel_auroc(scores, there), expected, atol=1e-12)


def test_a_constant_map_is_chance():
    assert pixel_auroc(np.zeros((1, 50), np.float32), np.arange(50)[None] < 10) == 0.5


@pytest.mark.parametrize(
    ("value", "mask"), [(np.nan, [True, False]), (np.inf, [True, False]), (1, [True, True])]
)
def test_what_has_no_auroc_is_refused(value, mask):
    with pytest.raises(ValueError, match=r"finite|wholly"):
        pixel_auroc(np.array([[value, 0]], np.float32), np.array([mask]))


def test_map_quality_is_its_definition(lens: Lens):
    scenes = list(make_scenes(20, 3, "heldout"))
    texts = lens.encode_text(nouns(), lens.card.templates)
    areas, hits = [], []
    for scene in scenes:
        maps = lens.maps(lens.preprocess(scene.image), texts, "clip_surgery", "labels")
        drawn = F.interpolate(maps, scene.masks.shape[1:], mode="bilinear", align_corners=False)[0].numpy()
        for name in {one.name for one in scene.objects}:
            mask, scores = scene.mask(name), drawn[nouns().index(name)]
            areas.append(roc_auc_score(mask.ravel(), scores.ravel()))
            hits.append(mask.ravel()[scores.argmax()])
    expected = np.mean(areas), np.mean(hits)
    assert map_quality(lens, scenes, "clip_surgery", "labels") == pytest.approx(expected, abs=1e-5)


def _part(labels: np.ndarray) -> EmojiPart:
    return EmojiPart(
        pixels=torch.zeros(len(labels), 3, 8, 8),
        picture=torch.zeros(1, dtype=torch.long),
        noun=torch.zeros(1, dtype=torch.long),
        masks=labels[:1] == 0,
        labels=labels,
    )


@pytest.mark.parametrize(("grid", "size"), [((3, 5), (30, 41)), ((14, 14), (112, 112)), ((6, 4), (6, 4))])
def test_naming_is_the_slow_definition_of_mean_iou(grid, size):
    rng = np.random.default_rng(1)
    labels = rng.choice([0, 1, 2, 4, BACKGROUND], size=(3, *size)).astype(np.uint8)
    maps = torch.from_numpy(rng.standard_normal((3, 5, *grid))).float()
    named = F.interpolate(maps, size, mode="bilinear", align_corners=False).argmax(1).numpy()
    counted = labels != BACKGROUND
    ious = [
        ((named == c) & (labels == c)).sum() / (counted & ((named == c) | (labels == c))).sum()
        for c in (0, 1, 2, 4)  # nobody drew 3: it has no line of its own, but takes pixels from the others
    ]
    confusion = naming_confusion(maps, _part(labels))
    assert confusion.sum() == counted.sum()
    assert (confusion[3].sum(), confusion[:, 3].sum() > 0) == (0, True)
    assert mean_iou(confusion) == pytest.approx(np.mean(ious), abs=2e-3)


def test_mean_iou_by_hand():
    confusion = np.array([[3, 1, 0], [0, 2, 2], [0, 0, 0]])
    assert mean_iou(confusion) == pytest.approx((3 / 4 + 2 / 5) / 2)
    assert np.isnan(mean_iou(np.zeros((2, 2), np.int64)))


def test_scenes_made_ready_hold_their_truth(lens: Lens):
    scenes = list(make_scenes(20, 5, "heldout"))
    parts = list(ready(lens, scenes))
    assert sum(len(part.labels) for part in parts) == 20
    for part in parts:
        for row, noun, mask in zip(part.picture, part.noun, part.masks, strict=True):
            assert ((part.labels[row] == int(noun)) == mask).all()
    assert {nouns()[int(i)] for i in parts[0].noun[parts[0].picture == 0]} == {
        one.name for one in scenes[0].objects
    }


def test_perfect_maps_reach_one_in_everything(lens: Lens):
    truth = {}
    for part in ready(lens, list(make_scenes(5, 11, "heldout"))):
        for pixels, labels in zip(part.pixels, part.labels, strict=True):
            shown = torch.from_numpy(labels)[None] == torch.arange(len(nouns()))[:, None, None]
            truth[pixels.numpy().tobytes()] = shown.float()
    told = Told(lens, lambda x, _: torch.stack([truth[one.numpy().tobytes()] for one in x]))
    assert _quality(compare(told, ["clip"], seeds=[11], count=5)) == [[1, 1, 1]]


def test_random_maps_are_chance(lens: Lens):
    torch.manual_seed(0)
    told = Told(lens, lambda x, _: torch.randn(len(x), len(nouns()), 28, 28))
    ((auroc, pointing, miou),) = _quality(compare(told, ["clip"], seeds=[11], count=30))
    assert auroc == pytest.approx(0.5, abs=0.05)
    assert pointing < 0.3
    assert miou < 0.02


def test_rows_are_plain_data_with_the_means_of_the_seeds(lens: Lens):
    rows = compare(lens, ["clip_surgery", "clip"], seeds=[1, 2], count=3)
    data = json.loads(json.dumps([row.to_dict() for row in rows], allow_nan=False))
    assert [row["recipe"] for row in data] == ["clip_surgery", "clip"]
    for row in data:
        assert list(row) == ["recipe", *FIGURES, "seeds", "by_seed"]
        assert row["seeds"] == [one["seed"] for one in row["by_seed"]] == [1, 2]
        for name in FIGURES:
            values = [one[name] for one in row["by_seed"]]
            assert all(isinstance(value, float) for value in values)
            assert row[name] == pytest.approx(np.mean(values))
        assert row["seconds_per_image"] > 0
        assert 0.5 < row["peak_mb"] < 100
    spread = rows[0].spread("auroc")
    assert spread.low < spread.mean < spread.high
    assert data[0]["auroc"] > data[1]["auroc"]


def test_a_seed_has_its_figures_whatever_else_is_asked(lens: Lens):
    both = compare(lens, ["clip", "clip_surgery"], seeds=[1, 2], count=3)
    alone = compare(lens, ["clip_surgery"], seeds=[2], count=3)
    assert _quality(both)[3] == pytest.approx(_quality(alone)[0], abs=1e-6)
    assert _quality(both)[2] != pytest.approx(_quality(alone)[0], abs=1e-3)


def test_contrast_changes_maps_and_not_names(lens: Lens):
    raw = compare(lens, ["clip_surgery"], seeds=[1], count=5, contrast="none")[0].by_seed[1]
    contrasted = compare(lens, ["clip_surgery"], seeds=[1], count=5)[0].by_seed[1]
    assert raw.auroc + 0.1 < contrasted.auroc
    assert raw.miou == contrasted.miou


def test_a_recipe_that_fails_has_a_row_and_the_others_go_on(lens: Lens):
    calls = []

    def answer(x, method):
        calls.append(method)
        if method == "clip":
            raise IndexError("no such\nblock")
        return torch.randn(len(x), len(nouns()), 14, 14)

    rows = compare(Told(lens, answer), ["clip", "clip_surgery"], seeds=[1, 2], count=2)
    failed, fine = (row.to_dict() for row in rows)
    assert failed["error"] == "IndexError: no such block"
    assert ([failed[name] for name in FIGURES], failed["by_seed"]) == ([None] * len(FIGURES), [])
    assert "error" not in fine
    assert len(fine["by_seed"]) == 2
    assert calls.count("clip") == 1, "once is enough to know"
    with pytest.raises(IndexError, match="no such"):
        compare(Told(lens, answer), ["clip"], seeds=[1], count=2, strict=True)


def test_maps_that_are_not_finite_are_an_error_not_a_figure(lens: Lens):
    told = Told(lens, lambda x, _: torch.full((len(x), len(nouns()), 14, 14), torch.nan))
    assert "not finite" in compare(told, ["clip"], seeds=[1], count=2)[0].error


def test_our_warnings_become_one_note_and_those_of_libraries_stay_warnings(lens: Lens):
    def answer(x, method):
        warnings.warn(f"{method} is untested at this depth.", ClipsightWarning, stacklevel=1)
        warnings.warn("something of a library", DeprecationWarning, stacklevel=1)
        return torch.randn(len(x), len(nouns()), 14, 14)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = compare(Told(lens, answer), ["clip"], seeds=[1, 2], count=2)
    assert rows[0].to_dict()["note"] == "clip is untested at this depth."
    assert {one.category for one in caught} == {DeprecationWarning}


def test_peak_memory_is_what_was_held_at_once():
    def work(megabytes: int) -> None:
        torch.empty(megabytes * 250_000).fill_(1)  # freed before the next
        kept = torch.empty(250_000)
        (kept[:1000] * 2).sum()

    before = torch.empty(1_000_000)
    assert peak_bytes(lambda: work(4)) == 4e6
    assert peak_bytes(lambda: work(9)) == 9e6
    assert peak_bytes(lambda: before.add_(1)) != peak_bytes(lambda: before + 1)


def test_memory_is_reported_without_a_word_on_standard_error(lens: Lens, capfd: pytest.CaptureFixture[str]):
    rows = [compare(lens, ["clip"], seeds=[1], count=1)[0] for _ in range(2)]
    assert rows[0].by_seed[1].peak_mb == rows[1].by_seed[1].peak_mb
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "asked",
    [
        {"recipes": []},
        {"recipes": ["clip", "clip"]},
        {"seeds": []},
        {"seeds": [1, 1]},
        {"seeds": [-1]},
        {"count": 0},
    ],
)
def test_nothing_to_measure_is_refused(lens: Lens, asked):
    with pytest.raises(ValueError, match=r"give|negative"):
        compare(lens, **{"recipes": ["clip"], "seeds": [1], "count": 1, **asked})


def test_judging_a_batch_is_judging_each(lens: Lens):
    scenes = list(make_scenes(4, 9, "heldout"))
    maps = torch.randn(4, len(nouns()), 7, 9)
    (together,) = ready(lens, scenes)
    areas, hits = judge_maps(maps, together)
    each = [judge_maps(maps[i : i + 1], next(ready(lens, [scene]))) for i, scene in enumerate(scenes)]
    np.testing.assert_allclose(areas, np.concatenate([one[0] for one in each]), atol=1e-6)
    assert (hits == np.concatenate([one[1] for one in each])).all()


@pytest.mark.parametrize("recipe", ["clip", "naclip", "freecp"])
@pytest.mark.parametrize("contrast", ["labels", "none", "empty"])
def test_both_kinds_of_maps_are_those_of_the_lens(lens: Lens, recipe, contrast):
    (part,) = ready(lens, list(make_scenes(2, 5, "heldout")))
    texts = lens.encode_text(nouns()[:12], lens.card.templates)
    raw, contrasted = measuring._raw_and_contrasted(lens, recipe, part.pixels, texts, contrast)
    torch.testing.assert_close(raw, lens.maps(part.pixels, texts, recipe, None), atol=1e-5, rtol=0)
    torch.testing.assert_close(contrasted, lens.maps(part.pixels, texts, recipe, contrast), atol=1e-5, rtol=0)


def test_a_run_goes_on_where_it_was_and_parts_make_the_whole(lens: Lens, tmp_path):
    torch.manual_seed(0)
    asked = {"recipes": ["clip", "clip_surgery"], "seeds": [1, 2], "count": 2}
    calls = []

    def answer(x, method):
        calls.append(method)
        return torch.randn(len(x), len(nouns()), 14, 14)

    told = Told(lens, answer)
    for index in range(3):
        compare(told, **asked, rows=tmp_path / "rows.jsonl", share=Share(index=index, count=3))
    made = len(calls)
    rows = compare(told, **asked, rows=tmp_path / "rows.jsonl")
    assert len(calls) == made, "all parts were there"
    assert [list(row.by_seed) for row in rows] == [[1, 2], [1, 2]]
    again = compare(told, **asked, rows=tmp_path / "rows.jsonl")
    assert _quality(again) == _quality(rows)
    with pytest.raises(ValueError, match="its count is 2, asked is 3"):
        compare(told, **{**asked, "count": 3}, rows=tmp_path / "rows.jsonl")


def test_recipes_are_compared_on_the_same_maps(lens: Lens):
    surgery, clip = compare(lens, ["clip_surgery", "clip"], seeds=[1, 2], count=8)
    made = surgery.against(clip, "auroc")
    assert made.value == pytest.approx(surgery.spread("auroc").mean - clip.spread("auroc").mean, abs=0.02)
    assert made.low < made.value < made.high
    assert (made.direction, made.test, made.clusters) == ("up", "bootstrap", 16)
    assert clip.against(clip, "pointing").direction == "same"
