"""The tasks' figures against their definitions, with answers that are right, wrong and absent; and the command."""

import json
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

import clipsight
from clipsight.bench import measure_tasks as measuring
from clipsight.bench.measure_tasks import count_jobs, measure_tasks
from clipsight.bench.metrics import mean_precision, region_overlap
from clipsight.bench.task import IN_DEPTH, Task, TaskJob, draw, shown
from clipsight.bench.tasks import TASKS
from clipsight.bench.tasks.anomaly import anomaly_figures
from clipsight.bench.tasks.points import point_figures
from clipsight.bench.tasks.segment import (
    POLICIES,
    REFINEMENTS,
    background_figures,
    segmentation_figures,
    truth,
)
from clipsight.bench.tasks.sentence import named, sentence_figures
from clipsight.bench.tasks.tag import tag_figures
from clipsight.cli.app import main
from clipsight.results.points import Points
from clipsight.session.lens import Lens
from clipsight.tasks.background import Background
from clipsight.world import make_scenes, nouns

FOLDER = Path(clipsight.__file__).parent / "assets" / "clipsight-tiny"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the bundled model is not trained yet")
TABLES = ["anomaly", "points", "segmentation", "refinement", "background", "sentence", "tags"]


class Told(Lens):
    """The bundled model with answers of a test's choosing, by the name of the question."""

    def __init__(self, lens: Lens, **answers) -> None:
        self.__dict__.update(vars(lens))
        self.__dict__.update(answers)


@pytest.fixture(scope="module")
def lens() -> Lens:
    return clipsight.load("clipsight-tiny", device="cpu")


@pytest.fixture(scope="module")
def scenes() -> list:
    return list(make_scenes(12, 5, "heldout"))


def _of(image, scenes):
    return next(scene for scene in scenes if scene.image is image)


def _slow_overlap(scores, where, limit):
    """The curve from all thresholds, straight between them, cut at the limit."""
    regions = []
    for index, mask in enumerate(where):
        made: Any = ndimage.label(mask, np.ones((3, 3)))
        labelled, number = made
        regions += [(index, labelled == one) for one in range(1, number + 1)]
    x, y = [0.0], [0.0]
    for threshold in np.unique(scores)[::-1]:
        marked = scores >= threshold
        x.append(float(marked[~where].mean()))
        y.append(float(np.mean([marked[index][region].mean() for index, region in regions])))
    grid = np.unique([*[one for one in x if one < limit], limit])
    # The highest overlap at a rate counts from there on: vertical steps take no width.
    total = 0.0
    for left, right in pairwise(grid):
        after = max(k for k, one in enumerate(x) if one <= left)
        x0, x1, y0, y1 = x[after], x[after + 1], y[after], y[after + 1]
        ends = [y0 + (y1 - y0) * (at - x0) / (x1 - x0) for at in (left, right)]
        total += (right - left) * sum(ends) / 2
    return total / limit


@pytest.mark.parametrize("levels", [4, 12, 100000])
@pytest.mark.parametrize("limit", [0.3, 0.07, 1.0])
def test_region_overlap_is_the_area_under_the_curve_of_all_thresholds(levels, limit):
    rng = np.random.default_rng(levels)
    where = np.zeros((3, 9, 14), bool)
    where[0, 1:4, 2:5] = where[0, 6:8, 9:13] = where[1, 4, 4] = True
    where[1, 5, 5] = True  # touches by a corner: one region
    scores = (rng.integers(levels, size=where.shape) + where * levels * 0.2).astype(np.float32)
    assert region_overlap(scores, where, limit=limit) == pytest.approx(
        _slow_overlap(scores, where, limit), abs=1e-9
    )


def test_region_overlap_of_right_flat_and_wrong_maps():
    where = np.zeros((2, 8, 10), bool)
    where[0, 2:4, 3:6] = True
    found = where.astype(np.float32)
    assert region_overlap(found, where) == pytest.approx(1)
    assert region_overlap(np.zeros_like(found), where) == pytest.approx(0.15)
    assert region_overlap(-found, where) == 0
    counted = np.zeros_like(where)
    counted[0, 0:6, 0:8] = True
    assert region_overlap(found - 2 * ~counted, where, counted) == pytest.approx(1)
    assert np.isnan(region_overlap(found, np.zeros_like(where)))


def test_mean_precision_by_hand():
    values = np.array([[0.9, 0.8, 0.1], [0.9, 0.8, 0.1], [0.0, 0.0, 1.0]])
    there = np.array([[True, False, True], [False, False, True], [False, False, False]])
    assert mean_precision(values, there) == pytest.approx(((1 + 2 / 3) / 2 + 1 / 3) / 2)


def _segmenting(lens, scenes, background, answer):
    """Segmentations of a test's choosing: class numbers start at 1 where there is a background class."""

    def segment(image, names, recipe, window="auto", policy=None, refine=None):
        labels = answer(truth(_of(image, scenes), names)) + background
        return SimpleNamespace(labels=torch.from_numpy(labels).int(), background=background)

    return Told(lens, segment=segment)


@pytest.mark.parametrize("background", [False, True])
def test_right_labels_reach_one_and_all_wrong_ones_zero(lens, scenes, background):
    right = _segmenting(lens, scenes, background, lambda labels: labels)
    assert background_figures(right, scenes, "clip", Background()) == {
        "miou": 1,
        "objects": 1,
        "background": 1,
    }
    count = len(shown(scenes))
    wrong = _segmenting(
        lens, scenes, background, lambda labels: np.where(labels < 0, 0, (labels + 1) % count)
    )
    assert background_figures(wrong, scenes, "clip", Background()) == {
        "miou": 0,
        "objects": 0,
        "background": 0,
    }


def test_pixels_of_the_background_do_not_count_in_segmentation(lens, scenes):
    spilled = _segmenting(lens, scenes, False, lambda labels: np.where(labels < 0, 0, labels))
    figures = segmentation_figures(spilled, scenes, "clip", "whole", None)
    assert figures == {"miou": 1, "pixels": 1, "names": len(shown(scenes))}
    one = _segmenting(lens, scenes, False, np.zeros_like)
    share = np.mean(np.concatenate([truth(s, shown(scenes))[s.masks.any(0)] for s in scenes]) == 0)
    figures = segmentation_figures(one, scenes, "clip", "whole", None)
    assert figures["pixels"] == pytest.approx(share)
    assert figures["miou"] == pytest.approx(share / len(shown(scenes)))


def test_right_tags_reach_one_and_chance_stays_chance(lens, scenes):
    def tag(image, labels):
        there = torch.tensor([any(o.name == label for o in _of(image, scenes).objects) for label in labels])
        return SimpleNamespace(scores=there.float(), similarity=-there.float(), presence=there.float())

    rows = {settings["by"]: figures for settings, figures in tag_figures(Told(lens, tag=tag), scenes)}
    assert rows["presence"] == {"map": 1, "map_by_picture": 1, "precision": 1, "recall": 1}
    assert rows["score"]["map"] == 1
    assert rows["cosine"]["map_by_picture"] < 0.1
    assert rows["chance"]["map_by_picture"] < 0.1
    assert np.isnan(rows["score"]["precision"])


def test_points_are_counted_where_they_lie(lens, scenes):
    def explain(images, texts, recipe, contrast):
        return [SimpleNamespace(points=partial(spots, _of(image, scenes))) for image in images]

    def spots(scene, name):
        mask = scene.mask(name)
        on, off = np.argwhere(mask)[:, ::-1], np.argwhere(~mask)[:, ::-1]
        xy = np.stack([off[0], on[0], on[1], off[0], off[1], on[0]])  # two of three positives on, the best on
        return Points(text="", xy=xy, labels=np.array([1, 1, 1, 0, 0, 0]))

    figures = point_figures(Told(lens, explain=explain), scenes, "clip", None)
    assert figures["positives_on"] == figures["negatives_off"] == pytest.approx(2 / 3)
    assert (figures["best_on"], figures["without"]) == (1, 0)
    masks = [s.mask(name) for s in scenes for name in dict.fromkeys(o.name for o in s.objects)]
    assert figures["share"] == pytest.approx(np.mean([mask.mean() for mask in masks]))


def test_maps_without_points_are_said_and_not_counted(lens, scenes):
    none = Points(text="", xy=np.zeros((0, 2), np.int64), labels=np.zeros(0, np.int64))
    told = Told(lens, explain=lambda images, *_: [SimpleNamespace(points=lambda name: none)] * len(images))
    figures = point_figures(told, scenes, "clip", None)
    assert figures["without"] == 1
    assert np.isnan(figures["positives_on"])


def test_drawn_scenes_are_half_damaged_and_damage_shows():
    drawn = draw(3, 4, 2, 5)
    assert [len(drawn.mixed), len(drawn.few), len(drawn.alone)] == [4, 2, 10]
    assert drawn.few[0] is drawn.mixed[0]
    assert [bool(scene.damage_masks.any()) for scene in drawn.alone] == [True] * 5 + [False] * 5
    assert all(len(scene.objects) == 1 and scene.split == "heldout" for scene in drawn.alone)
    assert [s.index for s in draw(3, 1, 1, 3).alone[:3]] == [s.index for s in drawn.alone[:3]]


@pytest.mark.parametrize(("sign", "expected"), [(1, 1), (-1, 0)])
def test_damage_found_or_missed(lens, sign, expected):
    alone = draw(3, 1, 1, 3).alone

    def anomaly(image, name, recipe, *, views, **states):
        where = torch.from_numpy(_of(image, alone).damage_masks[0]).float() * sign
        return SimpleNamespace(upsample=lambda size: where, score=float(where.mean()))

    figures = anomaly_figures(Told(lens, anomaly=anomaly), alone, "anoclip", "world", "one")
    assert set(figures) == {"image_auroc", "inside_auroc", "pixel_auroc", "pro", "inside_pro"}
    assert list(figures.values()) == pytest.approx([expected] * 5)


def test_every_object_of_a_caption_is_known():
    found = [
        named(scene.captions[0].text[start:end], scene)
        for scene in make_scenes(150, 8, "heldout")
        for start, end, role in scene.captions[0].spans
        if role == "object"
    ]
    assert len(found) > 150
    assert set(found) <= set(nouns())


@pytest.mark.parametrize("right", [True, False])
def test_words_that_point_at_what_they_name_or_elsewhere(lens, scenes, right):
    def sentence(image, text, recipe):
        scene, real = _of(image, scenes), lens.sentence(image, text)
        maps = torch.zeros(len(real.words), *scene.masks.shape[1:])
        scores = torch.zeros(len(real.words))
        for start, end, role in scene.captions[0].spans:
            for k, word in enumerate(real.words):
                if role == "object" and word.span[0] < end and start < word.span[1]:
                    mask = torch.from_numpy(scene.mask(named(text[start:end], scene))).float()
                    maps[k], scores[k] = (mask, 1.0) if right else (1 - mask, -1.0)
        return SimpleNamespace(words=real.words, maps=maps, scores=scores)

    figures = sentence_figures(Told(lens, sentence=sentence), scenes, "clip_surgery")
    assert (figures["object_on"], figures["own"], figures["top"]) == ((1, 1, 1) if right else (0, 0, 0))
    assert 0 < figures["nouns"] < 1
    assert 0 < figures["share"] < 0.5


def test_jobs_cover_all_recipes_and_a_few_in_depth(lens):
    jobs = {task.id: task.jobs(lens, clipsight.recipes(), "labels") for task in TASKS}
    count = {task: len(some) for task, some in jobs.items()}
    few = len(IN_DEPTH)
    assert list(jobs) == TABLES
    assert count["segmentation"] == len(clipsight.recipes())
    assert count["refinement"] == few * 2 * len(REFINEMENTS)
    assert (count["background"], count["points"], count["sentence"]) == (few * len(POLICIES), few, few)
    (points,) = (task for task in TASKS if task.id == "points")
    assert [job.settings for job in points.jobs(lens, ["sclip"], "labels")] == [{"recipe": "sclip"}]
    names = {(task, *job.settings.values()) for task, some in jobs.items() for job in some}
    assert len(names) == sum(count.values()) == count_jobs(lens, clipsight.recipes())


def test_every_figure_of_a_task_is_explained(lens):
    made = measure_tasks(lens, ["clip"], seeds=[1], count=2, segmented=1, damaged=1)
    for task in TASKS:
        assert {name for row in made[task.id] for name in row.figures} == set(task.figures)


def _task(*jobs: TaskJob) -> Task:
    return Task(id="tags", question="", figures={}, jobs=lambda *_: list(jobs))


def test_a_piece_that_fails_has_a_row_and_the_others_go_on(lens):
    def work(drawn):
        raise IndexError("no such\nthing")

    fine = TaskJob(settings={"by": "it"}, work=lambda drawn: [({}, {"map": float(len(drawn.few))})])
    task = _task(TaskJob(settings={"by": "nothing"}, work=work), fine)
    arguments = {"seeds": [1, 2], "count": 1, "segmented": 1, "damaged": 1}
    failed, good = measure_tasks(lens, ["clip"], [task], **arguments)["tags"]
    assert failed.to_dict() == {
        "by": "nothing",
        "seeds": [],
        "by_seed": [],
        "error": "IndexError: no such thing",
    }
    assert (good.spread("map").mean, list(good.by_seed)) == (1, [1, 2])
    with pytest.raises(IndexError, match="no such"):
        measure_tasks(lens, ["clip"], [task], **arguments, strict=True)


def test_rows_that_are_there_are_not_measured_again(lens, tmp_path):
    calls = []

    def work(drawn):
        calls.append(drawn)
        return [({"of": "one"}, {"map": 0.5}), ({"of": "two"}, {"map": float("nan")})]

    task = _task(TaskJob(settings={"by": "it"}, work=work))
    arguments = {"seeds": [1, 2], "count": 1, "segmented": 1, "damaged": 1, "rows": tmp_path / "rows.jsonl"}
    first = measure_tasks(lens, ["clip"], [task], **arguments)["tags"]
    second = measure_tasks(lens, ["clip"], [task], **arguments)["tags"]
    assert len(calls) == 2
    assert [row.to_dict() for row in second] == [row.to_dict() for row in first]
    assert [row.settings["of"] for row in second] == ["one", "two"]
    assert np.isnan(second[1].spread("map").mean)


@pytest.mark.parametrize(
    "wrong",
    [
        {"recipes": []},
        {"recipes": ["clip", "clip"]},
        {"seeds": []},
        {"seeds": [-1]},
        {"count": 0},
        {"damaged": 0},
    ],
)
def test_what_cannot_be_measured_is_refused(lens, wrong):
    with pytest.raises(ValueError, match=r"once|1 or more|negative"):
        measure_tasks(lens, **{"recipes": ["clip"], **wrong})


def test_the_command_prints_a_list_of_rows_for_each_task(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    measure, measured = measure_tasks, []

    def once(*asked, **options):
        if not measured:
            measured.append(measure(*asked, **options))
        return measured[0]

    monkeypatch.setattr(measuring, "measure_tasks", once)
    words = [
        "bench",
        "tasks",
        "--recipes",
        "clip_surgery",
        "--seeds",
        "1",
        "--count",
        "1",
        "--out",
        "rows.json",
    ]
    assert main([*words, "--json"]) == 0
    out = capsys.readouterr().out
    tables = json.loads(out)
    assert list(tables) == TABLES
    assert json.loads(Path("rows.json").read_text()) == tables
    for rows in tables.values():
        for row in rows:
            assert row["seeds"] == [1]
            assert "error" not in row
    assert len(tables["tags"]) == 4
    assert main(words) == 1, "the file is kept"
    capsys.readouterr()
    assert main([*words, "--overwrite"]) == 0
    said = capsys.readouterr().out
    assert all(f"\n{task}" in said for task in TABLES)


def test_a_task_is_added_by_one_file(lens, tmp_path, monkeypatch):
    """The registry reads every module of the folder: the command and the documentation list it by themselves."""
    (tmp_path / "brightness.py").write_text(
        "from clipsight.bench.task import Task, one_row\n"
        "TASKS = (Task(id='brightness', question='How bright?', figures={'mean': 'of all pixels'},\n"
        "    jobs=lambda lens, recipes, contrast: [one_row({}, lambda drawn: {'mean': 0.5})]),)\n"
    )
    from clipsight.bench import tasks

    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    found = {task.id: task for task in tasks.found()}
    assert set(found) == {*TABLES, "brightness"}
    (row,) = measure_tasks(lens, ["clip"], [found["brightness"]], seeds=[1], count=1, segmented=1, damaged=1)[
        "brightness"
    ]
    assert row.spread("mean").mean == 0.5
