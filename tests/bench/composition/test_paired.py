"""Two reports on the same items: the paired difference is that of the scores, however they are averaged."""

import json

import pytest

import clipsight
from clipsight.bench.composition import ReadOptions, compare, differences, evaluate, rows_beside
from tiny import tiny_clip

FEW = ReadOptions(world_seeds=(3,), world_count=40)


@pytest.fixture(scope="module")
def reports():
    models = (clipsight.load("clipsight-tiny"), clipsight.load(tiny_clip(2)))
    ids = ["world", "world_retrieval", "world_nouns"]
    return [evaluate(one, ids, options=FEW) for one in models]


def test_every_score_has_a_paired_difference_of_the_same_size(reports):
    first, other = reports
    found = differences(first, other)
    scores = [(row.benchmark, row.split) for row in first.rows]
    scores += [(mean.benchmark, mean.name) for mean in first.means]
    assert set(found) == {figure for figure in scores if first.find(*figure) is not None}
    for (benchmark, name), made in found.items():
        after, before = (one.find(benchmark, name) for one in (other, first))
        assert made.value == pytest.approx(after - before, abs=1e-9), name
        assert made.items >= made.clusters > 0
    assert found["world", "mean of 7 kinds"].direction == "down"
    assert found["world_nouns", "nouns"].test == "mcnemar"


def test_a_model_against_itself_is_the_same(reports):
    for made in differences(reports[0], reports[0]).values():
        assert (made.value, made.differing, made.direction) == (0, 0, "same")


def test_rows_carry_the_difference_and_no_answers(reports):
    rows = rows_beside(reports[1], compare(reports[1]), reports[0])
    text = json.dumps(rows, allow_nan=False)
    assert "answers" not in text
    assert {"difference", "low", "high", "clear", "test", "p", "items", "clusters", "differing"} == set(
        rows[0]["against"]
    )
    assert "against" not in rows_beside(reports[0], compare(reports[0]))[0]


def test_macro_averages_and_sets_are_compared_as_they_are_averaged(put, paint, plant, tmp_path):
    """ARO's relations: a group a relation, weighted alike however many items it has."""
    records = [
        {"image_path": f"{n}.png", "image_id": n, "bbox_x": 0, "bbox_y": 0, "bbox_w": 8, "bbox_h": 8,
         "relation_name": "on" if n < 3 else "in", "true_caption": f"right {n}", "false_caption": f"wrong {n}"}
        for n in range(1, 5)
    ]  # fmt: skip
    put("aro/visual_genome_relation.json", records)
    paint({f"{n}.png": n for n in range(1, 5)})

    def ask(won: set[int]):
        scores = {(n, f"right {n}"): 0.5 if n in won else 0.1 for n in range(1, 5)}
        model = plant(scores | {(n, f"wrong {n}"): 0.3 for n in range(1, 5)})
        return evaluate(model, ["aro"], tmp_path / "annotations", tmp_path / "pictures", protocol="official")

    first, other = ask({1}), ask({1, 2, 3})
    rows = [row for row in first.rows if row.score() is not None]
    assert rows
    for row in rows:
        made = differences(first, other)["aro", row.split]
        assert made.value == pytest.approx(other.find("aro", row.split) - row.score())


def test_the_names_of_the_questions_are_those_of_the_items(reports):
    row = next(row for row in reports[0].rows if row.benchmark == "world_retrieval")
    i2t, t2i = (row.metrics[name].answers for name in ("i2t@1", "t2i@1"))
    assert i2t is not None
    assert t2i is not None
    assert len(set(t2i.names)) == len(t2i.names) > len(i2t.names)
    assert set(t2i.clusters) == set(i2t.clusters)
