"""The whole way: planted similarities give exact scores, and neither caches nor processes nor batches change them."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import clipsight
from clipsight.bench.composition import ReadOptions, Report, encode, evaluate
from clipsight.bench.composition.encoder import LensEncoder
from clipsight.bench.emoji import foil_accuracy
from clipsight.bench.runner import Share
from clipsight.errors import ClipsightWarning
from clipsight.session.lens import Lens
from clipsight.world import make_scenes

BUNDLED = Path(clipsight.__file__).parent / "assets" / "clipsight-tiny"
needs_bundled = pytest.mark.skipif(not BUNDLED.exists(), reason="the bundled model is not trained yet")


@pytest.fixture
def ask(tmp_path):
    def run(model, *benchmarks, **options) -> Report:
        return evaluate(model, benchmarks, tmp_path / "annotations", tmp_path / "pictures", **options)

    return run


def rows(report: Report) -> dict[str, dict]:
    return {row["split"]: row for row in report.to_dicts() if row["kind"] == "split"}


def figures(report: Report) -> list:
    """All that is measured, without what says how."""
    return [(row.to_dict(), row.counts) for row in report.rows] + [mean.to_dict() for mean in report.means]


def pair(number: int, right: str = "right", wrong: str = "wrong") -> dict[str, str]:
    return {"filename": f"{number}.png", "caption": right, "negative_caption": wrong}


RIGHT = {(1, "right"): 0.5, (1, "wrong"): 0.25}  # won by picture 1
TIED = {(2, "right"): 0.5, (2, "wrong"): 0.5}
LOST = {(3, "right"): 0.25, (3, "wrong"): 0.5}
PAIRS: Mapping[tuple[int, str], float] = RIGHT | TIED | LOST


@pytest.fixture
def sugarcrepe(put, paint, plant):
    """swap_obj: won, tied, lost, without picture, unreadable, malformed; swap_att: one that is won."""
    records = {str(number): pair(number) for number in range(1, 6)} | {"bad": {"filename": "6.png"}}
    put("sugarcrepe/swap_obj.json", records)
    put("sugarcrepe/swap_att.json", {"0": pair(1)})
    paint({f"val2017/{number}.png": number for number in (1, 2, 3)})
    return plant(PAIRS)


def test_pairs_ties_missing_unreadable_and_malformed(sugarcrepe, ask, tmp_path):
    (tmp_path / "pictures/val2017/5.png").write_bytes(b"no picture")
    report = ask(sugarcrepe, "sugarcrepe", protocol="vl_compo")
    made = rows(report)
    objects = made["swap_obj"]
    assert objects["score"] == pytest.approx(100 / 3)
    assert objects["metrics"]["accuracy"] == {
        "micro": pytest.approx(100 / 3), "macro": pytest.approx(100 / 3), "scored": 3, "wins": 1, "ties": 1,
        "tie_rate": pytest.approx(100 / 3), "chance": 50.0,
    }  # fmt: skip
    assert objects["counts"] == {
        "expected": 245, "items": 5, "counted": 5, "missing": 2, "malformed": 1, "pictures": 5,
        "missing_pictures": 2, "unreadable_pictures": 1, "texts": 2, "cut_texts": 0,
    }  # fmt: skip
    assert objects["missing_names"] == ["4.png", "5.png"]
    assert made["swap_att"]["score"] == 100
    means = {mean.name: mean for mean in report.means}
    assert means["mean of 7 subsets"].score == pytest.approx((100 + 100 / 3) / 2)
    assert set(means["mean of 7 subsets"].absent) == {
        "add_att", "add_obj", "replace_att", "replace_obj", "replace_rel",
    }  # fmt: skip
    assert means["all items"].score == pytest.approx(100 * 2 / 4)
    assert means["swap"].complete
    assert means["add"].score is None
    assert str(report.malformed[0]) == "swap_obj.json:27: 'caption' is missing"
    (line,) = [row.line() for row in report.rows if row.split == "swap_obj"]
    assert line == (
        "sugarcrepe swap_obj: 33.3 % accuracy (micro) of 3, chance 50.0, ties 33.33 %, 2 of 5 without picture, "
        "1 malformed, the release has 245"
    )
    assert "without add_att" in means["mean of 7 subsets"].line()
    assert any("not read, no such file: add_att.json, add_obj.json" in note for note in report.notes)
    assert (
        "sugarcrepe: not as many records as in the release: swap_att 1 of 666, swap_obj 6 of 245."
        in report.notes
    )
    assert not report.failures


def test_a_row_holds_what_is_needed_to_make_it_again(sugarcrepe, ask):
    row = rows(ask(sugarcrepe, "sugarcrepe"))["swap_att"]
    assert json.loads(json.dumps(row)) == row
    assert row["model"]["fingerprint"] == "0"
    assert row["model"]["activation"] == "gelu"
    assert (row["protocol"], row["settings"]["protocol"]) == ("official", "official")
    assert {"clipsight", "torch", "open_clip_torch", "pillow", "numpy"} <= set(row["versions"])
    assert row["files"][0] == {
        "split": "swap_att", "file": "swap_att.json", "sha256": row["files"][0]["sha256"], "rows": 1, "malformed": 0,
    }  # fmt: skip
    assert len(row["texts_sha256"]) == 64


def test_every_picture_and_text_is_encoded_once(sugarcrepe, ask, put):
    put("sugarcrepe/add_obj.json", {str(index): pair(1) for index in range(30)})
    ask(sugarcrepe, "sugarcrepe", batch=3)
    assert sorted(map(str, sugarcrepe.encoded)) == ["1", "2", "3", "right", "wrong"]


def test_a_tie_of_equal_captions_is_exact(put, paint, plant, ask):
    put("sugarcrepe/swap_obj.json", {"0": pair(1, "same words", "same words")})
    paint({"val2017/1.png": 1})
    tallied = rows(ask(plant({(1, "same words"): 0.3}), "sugarcrepe"))["swap_obj"]["metrics"]["accuracy"]
    assert (tallied["wins"], tallied["ties"]) == (0, 1)


def test_sugarcrepe_pp_compares_texts_too(put, paint, plant, ask):
    record = {"id": 0, "filename": "1.png", "caption": "p", "caption2": "q", "negative_caption": "n"}
    put("sugarcrepe_pp/swap_obj.json", [record, {**record, "id": 1, "filename": "2.png"}])
    paint({"val2017/1.png": 1, "val2017/2.png": 2})
    scores = {(1, "p"): 0.5, (1, "q"): 0.4, (1, "n"): 0.3, (2, "p"): 0.5, (2, "q"): 0.2, (2, "n"): 0.3}
    apart = rows(ask(plant(scores), "sugarcrepe_pp"))["swap_obj"]["metrics"]
    assert (apart["itt"]["wins"], apart["tot"]["wins"], apart["tot"]["ties"]) == (
        1,
        0,
        2,
    )  # texts are orthogonal
    # q leans to p: <p,q> is above 0, n stays orthogonal
    near = rows(ask(plant(scores, {("q", "p"): 0.5}), "sugarcrepe_pp"))["swap_obj"]["metrics"]
    assert near["tot"]["wins"] == 2


WINO = {
    # (picture, caption): text, image and group won; text alone; image alone; all tied
    0: ({(10, "a"): 0.5, (10, "b"): 0.2, (11, "a"): 0.2, (11, "b"): 0.5}, (1, 1, 1), (0, 0, 0)),
    1: ({(10, "a"): 0.5, (10, "b"): 0.4, (11, "a"): 0.6, (11, "b"): 0.7}, (1, 0, 0), (0, 0, 0)),
    2: ({(10, "a"): 0.5, (10, "b"): 0.6, (11, "a"): 0.4, (11, "b"): 0.7}, (0, 1, 0), (0, 0, 0)),
    3: ({(10, "a"): 0.5, (10, "b"): 0.5, (11, "a"): 0.5, (11, "b"): 0.5}, (0, 0, 0), (1, 1, 1)),
}


@pytest.mark.parametrize("case", WINO)
def test_winoground_cola_and_mmvp_on_planted_pairs(case, put, paint, plant, ask):
    planted, wins, ties = WINO[case]
    scores = planted | {(key[0], f"a photo of {key[1]}"): value for key, value in planted.items()}
    put(
        "winoground/examples.jsonl",
        json.dumps({"id": 7, "image_0": "x", "image_1": "y", "caption_0": "a", "caption_1": "b"}),
    )
    put("cola/COLA_multiobjects_matching_benchmark.json", [["http://h/x.png", "a", "http://h/y.png", "b"]])
    kind = "Color and Appearance"
    put("mmvp_vlm/Questions.csv", f"Question ID,Type,Statement\n1,{kind},a\n2,{kind},b\n")
    paint({"x.png": 10, "y.png": 11, f"mmvp_vlm/{kind}/1.jpg": 10, f"mmvp_vlm/{kind}/2.jpg": 11})
    plain = {key: value for key, value in scores.items() if not key[1].startswith("a photo")}
    prompted = {key: value for key, value in scores.items() if key[1].startswith("a photo")}
    official = rows(ask(plant(plain), "winoground", "cola")) | rows(ask(plant(prompted), "mmvp_vlm"))
    for split, headline in (("test", "group"), ("multi_object", "image"), (kind, "image")):
        metrics = official[split]["metrics"]
        assert tuple(metrics[name]["wins"] for name in ("text", "image", "group")) == wins
        assert tuple(metrics[name]["ties"] for name in ("text", "image", "group")) == ties
        assert official[split]["metric"] == headline
        assert official[split]["score"] == metrics[headline]["micro"]
    assert rows(ask(plant(prompted), "mmvp_vlm", protocol="vl_compo"))[kind]["metric"] == "group"


def test_whatsup_counts_pairs_and_sets(put, paint, plant, ask):
    names = [f"mug_{where}_table" for where in ("on", "under", "left_of", "right_of")]
    names += [f"cup_{where}_desk" for where in ("on", "under", "left_of", "right_of")]
    put(
        "whatsup/controlled_images_dataset.json",
        [
            {"image_path": f"data/controlled_images/{name}.jpeg", "caption_options": ["t", "f", "g", "h"]}
            for name in names
        ],
    )
    paint({f"whatsup/controlled_images/{name}.jpeg": 200 + index for index, name in enumerate(names[:7])})
    model = plant({(200 + index, "t"): 0.5 for index in range(7)} | {(205, "f"): 0.5} | {(206, "f"): 0.6})
    row = rows(ask(model, "whatsup"))["A"]
    assert row["metrics"]["accuracy"]["wins"] == 5
    assert (
        row["metrics"]["pair"]["wins"],
        row["metrics"]["pair"]["ties"],
        row["metrics"]["pair"]["scored"],
    ) == (2, 1, 3)
    assert (row["metrics"]["set"]["wins"], row["metrics"]["set"]["scored"]) == (
        1,
        1,
    )  # the other has lost a picture
    assert row["metrics"]["accuracy"]["groups"]["left"] == {"score": 50.0, "scored": 2, "wins": 1}


def test_hard_positives_and_svo(put, paint, plant, ask):
    record = {"image_path": "data/VG_100K/1.png", "true_caption": "c", "false_caption": "w"}
    put(
        "hard_positives/data/vl_checklist_relations.json",
        [record] * 2 + [{**record, "image_path": "data/2.png"}],
    )
    put(
        "hard_positives/swapped_data/vl_checklist_relations.json",
        [
            {**record, "true_caption": "r"},
            {**record, "true_caption": "s"},
            {**record, "true_caption": "r", "image_path": "data/2.png"},
        ],
    )
    put(
        "svo_probes/svo_probes.csv",
        "sentence,pos_image_id,neg_image_id,subj_neg,verb_neg,obj_neg\nc,1,2,False,True,False\nc,2,1,False,True,False\n"
        "c,1,absent,True,False,False\n",
    )
    paint({"vg/VG_100K/1.png": 1, "vg/2.png": 2, "svo_probes/1.jpg": 1, "svo_probes/2.jpg": 2})
    model = plant(
        {
            (1, "c"): 0.6,
            (1, "r"): 0.5,
            (1, "s"): 0.2,
            (1, "w"): 0.4,
            (2, "c"): 0.3,
            (2, "r"): 0.4,
            (2, "w"): 0.4,
        }
    )
    made = rows(ask(model, "hard_positives", "svo_probes"))
    metrics = made["replace_rel"]["metrics"]
    assert {name: (one["wins"], one["ties"]) for name, one in metrics.items()} == {
        "original": (2, 0), "augmented": (1, 0), "brittle": (1, 1),
    }  # fmt: skip
    assert made["verb_neg"]["metrics"]["accuracy"]["wins"] == 1
    assert made["subj_neg"]["score"] is None
    assert made["subj_neg"]["counts"]["missing"] == 1


def test_aro_drops_relations_and_small_pairs_by_protocol(put, paint, plant, ask):
    box = {"image_path": "1.png", "bbox_x": 0, "bbox_y": 0, "bbox_w": 8, "bbox_h": 8}
    won = {**box, "true_caption": "right", "false_caption": "wrong"}
    lost = {**box, "true_caption": "wrong", "false_caption": "right"}
    relations = [("on", won), ("on", lost), ("near", lost), ("pulling", lost), ("eating", won)]
    put("aro/visual_genome_relation.json", [{**record, "relation_name": name} for name, record in relations])
    put(
        "aro/visual_genome_attribution.json",
        [{**won, "attributes": ["red", "old"]}] * 25 + [{**lost, "attributes": ["old", "red"]}] * 24,
    )
    paint({"aro/images/1.png": 1})
    official, macco = (rows(ask(plant(RIGHT), "aro", protocol=name)) for name in ("official", "macco"))
    assert official["vg_relation"]["score"] == pytest.approx((50 + 0 + 100) / 3)
    assert macco["vg_relation"]["score"] == pytest.approx((50 + 100) / 2)
    assert set(macco["vg_relation"]["metrics"]["accuracy"]["groups"]) == {"on", "eating"}
    assert official["vg_relation"]["metrics"]["accuracy"]["micro"] == pytest.approx(40)
    assert official["vg_attribution"]["score"] == 100
    assert official["vg_attribution"]["metrics"]["accuracy"]["micro"] == pytest.approx(100 * 25 / 49)


def test_valse_counts_the_validated_and_vl_checklist_the_first_thousand(put, paint, plant, ask):
    record = {"dataset": "coco_2017", "image_file": "1.png", "caption": "right", "foil": "wrong"}
    votes = [{"caption": 2, "foil": 0, "other": 1}, {"caption": 1, "foil": 1, "other": 1}, None]
    put("valse/relations.json", {str(index): {**record, "mturk": one} for index, one in enumerate(votes)})
    first, then = (
        [["1.png", {"POS": [right], "NEG": [wrong]}]]
        for right, wrong in (("right", "wrong"), ("wrong", "right"))
    )
    put("vl_checklist/data/Relation/vg/spatial.json", first * 1000 + then * 1000)
    put("vl_checklist/data/Relation/vg/action.json", then)
    paint({"val2017/1.png": 1, "vg/1.png": 1})
    report = ask(plant(RIGHT), "valse", "vl_checklist")
    made = rows(report)
    assert (made["relations"]["counts"]["items"], made["relations"]["counts"]["counted"]) == (3, 1)
    assert made["relations"]["counts"]["expected"] == 535
    assert (made["Relation/vg/spatial"]["score"], made["Relation/vg/spatial"]["counts"]["expected"]) == (
        100,
        1000,
    )
    assert report.find("vl_checklist", "Relation") == 50
    all_items = ask(plant(RIGHT), "vl_checklist", protocol="macco")
    assert rows(all_items)["Relation/vg/spatial"]["score"] == 50
    assert all_items.find("vl_checklist", "Relation") == 25


def test_retrieval_with_and_without_ties(put, paint, plant, ask):
    put(
        "negbench/COCO_val_retrieval.csv",
        "filepath,captions\nval2017/1.png,\"['a', 'b']\"\nval2017/2.png,\"['c']\"\n",
    )
    paint({"val2017/1.png": 1, "val2017/2.png": 2})
    model = plant({(1, "a"): 0.5, (1, "b"): 0.1, (1, "c"): 0.4, (2, "b"): 0.3, (2, "c"): 0.4})
    row = rows(ask(model, "negbench"))["coco_retrieval"]
    metrics = row["metrics"]
    assert (metrics["i2t@1"]["wins"], metrics["i2t@1"]["scored"]) == (2, 2)
    # a is nearest to its picture, b to the other one, c ties between both
    assert (metrics["t2i@1"]["wins"], metrics["t2i@1"]["ties"], metrics["t2i@1"]["scored"]) == (1, 1, 3)
    assert row["metric"] == "t2i@5"
    assert row["score"] == 100


def test_negbench_by_kind_of_answer(put, paint, plant, ask):
    header = "image_path,correct_answer,caption_0,caption_1,caption_2,caption_3,correct_answer_template\n"
    put(
        "negbench/COCO_val_mcq_llama3.1_rephrased.csv",
        header
        + "1.png,1,wrong,right,x,y,negative\n1.png,0,wrong,right,x,y,hybrid\n1.png,2,wrong,right,z,z,hybrid\n",
    )
    paint({"1.png": 1})
    row = rows(ask(plant(RIGHT), "negbench"))["coco_mcq"]
    assert row["metrics"]["accuracy"]["groups"]["negative"]["score"] == 100
    assert row["metrics"]["accuracy"]["groups"]["hybrid"]["score"] == 0
    assert row["metrics"]["accuracy"]["chance"] == 25


def test_a_split_of_which_nothing_counts_says_so(put, plant, ask):
    record = {
        "dataset": "coco_2017",
        "image_file": "1.png",
        "caption": "right",
        "foil": "wrong",
        "mturk": None,
    }
    put("valse/relations.json", {"0": record})
    (row,) = ask(plant(RIGHT), "valse").rows
    assert (
        row.line() == "valse relations: not scored: the protocol counts none of 1 items, the release has 535"
    )


def test_a_protocol_that_is_not_defined_is_said(sugarcrepe, put, ask):
    put("cola/COLA_multiobjects_matching_benchmark.json", [["1.png", "right", "2.png", "wrong"]])
    report = ask(sugarcrepe, "cola", protocol="macco")
    assert report.rows[0].protocol == "official"
    assert any("macco is not defined" in note for note in report.notes)
    assert report.settings["protocol"] == "macco"


def test_what_is_absent_fails_beside_what_is_there(sugarcrepe, ask, put):
    put("cola/COLA_multiobjects_matching_benchmark.json", [["9.png", "right", "8.png", "wrong"]])
    put("winoground/examples.jsonl", '{"id": 1}\n')
    report = ask(sugarcrepe, "sugarcrepe", "valse", "cola", "winoground")
    assert rows(report)["swap_att"]["score"] == 100
    valse, cola, winoground = report.failures
    assert "has none of its files" in valse
    assert "none of its 1 items has its pictures" in cola
    assert "9.png" in cola
    assert "└── cola/" in cola
    assert "no record of examples.jsonl could be read" in winoground


@pytest.mark.parametrize(
    ("benchmarks", "options", "said"),
    [
        ([], {}, "at least one id"),
        (["cola", "cola"], {}, "each once"),
        ("cola", {}, "give a list"),
        (["none"], {}, "no benchmark is called 'none'"),
        (["cola"], {"protocol": "mine"}, "no protocol is called 'mine'"),
        (["cola"], {"batch": 0}, "batch is 0"),
    ],
)
def test_what_cannot_be_asked_is_refused(benchmarks, options, said, plant):
    with pytest.raises(ValueError, match=said):
        evaluate(plant({}), benchmarks, **options)


def test_features_that_are_not_finite_are_refused(sugarcrepe, ask):
    sugarcrepe.texts = lambda texts: torch.full((len(texts), 4), torch.nan)
    with pytest.raises(ValueError, match="2 of 2 texts are not finite, among them 'right'"):
        ask(sugarcrepe, "sugarcrepe")


def test_caches_change_nothing(sugarcrepe, ask, plant, tmp_path):
    cold = ask(sugarcrepe, "sugarcrepe")
    cache = tmp_path / "cache"
    assert figures(ask(plant(PAIRS), "sugarcrepe", cache=cache)) == figures(cold)
    warm = plant(PAIRS)
    assert figures(ask(warm, "sugarcrepe", cache=cache)) == figures(cold)
    assert warm.encoded == []
    for batch in (1, 2, 3, 64):
        assert figures(ask(plant(PAIRS), "sugarcrepe", batch=batch)) == figures(cold)


def test_another_state_of_the_model_has_features_of_its_own(sugarcrepe, ask, plant, tmp_path):
    cache = tmp_path / "cache"
    ask(sugarcrepe, "sugarcrepe", cache=cache)
    for change in (
        {"fingerprint": "1"},
        {"activation": "quick_gelu"},
        {"view": "crop"},
        {"dtype": "float16"},
        {"size": (4, 4)},
    ):
        other = plant(PAIRS)
        about = replace(other.about, **change)
        changed = type("Changed", (type(other),), {"about": about})(PAIRS, {})
        ask(changed, "sugarcrepe", cache=cache)
        assert changed.encoded, change


class Interrupted(Exception):
    pass


def test_an_interrupted_run_goes_on_where_it_was(sugarcrepe, ask, plant, tmp_path):
    cache = tmp_path / "cache"

    def stop(what: str, done: int, total: int) -> None:
        if (what, done) == ("pictures", 2):
            raise Interrupted

    with pytest.raises(Interrupted):
        ask(sugarcrepe, "sugarcrepe", cache=cache, batch=2, progress=stop)
    again = plant(PAIRS)
    report = ask(again, "sugarcrepe", cache=cache, batch=2)
    assert figures(report) == figures(ask(plant(PAIRS), "sugarcrepe"))
    assert (
        len([one for one in again.encoded if not isinstance(one, str)]) == 2
    )  # a full batch of the last one


def test_processes_share_the_work(sugarcrepe, ask, plant, tmp_path):
    cache = tmp_path / "cache"
    folders = (tmp_path / "annotations", tmp_path / "pictures", cache)
    shares = []
    for index in range(3):
        one = plant(PAIRS)
        encode(one, ["sugarcrepe"], *folders, share=Share(index=index, count=3), batch=1)
        shares.append(set(map(str, one.encoded)))
    assert sum(map(len, shares)) == len(set.union(*shares)) == 5
    last = plant(PAIRS)
    assert figures(ask(last, "sugarcrepe", cache=cache)) == figures(ask(sugarcrepe, "sugarcrepe"))
    assert not last.encoded


def test_progress_is_told_to_the_end(sugarcrepe, ask):
    told = []
    ask(sugarcrepe, "sugarcrepe", batch=2, progress=lambda *facts: told.append(facts))
    assert told == [("files", 5, 5), ("pictures", 2, 3), ("pictures", 3, 3), ("texts", 2, 2)]


@pytest.mark.slow
def test_other_processes_may_read_the_pictures(sugarcrepe, ask, plant):
    assert figures(ask(plant(PAIRS), "sugarcrepe", workers=1)) == figures(ask(sugarcrepe, "sugarcrepe"))


@pytest.fixture(scope="module")
def lens() -> Lens:
    return clipsight.load("clipsight-tiny", device="cpu")


@needs_bundled
def test_the_worlds_rows_are_the_benchs_figures(lens):
    report = evaluate(lens, ["world"], options=ReadOptions(world_seeds=(101,), world_count=24))
    expected = foil_accuracy(lens, list(make_scenes(24, 101, "heldout")))
    assert {row.split: row.score() for row in report.rows} == pytest.approx(
        {kind: 100 * share for kind, share in expected.items()}
    )
    assert report.find("world", "mean of 7 kinds") == pytest.approx(100 * np.mean(list(expected.values())))


@needs_bundled
def test_sugarcrepe_end_to_end_on_photographs(lens, shared, tmp_path):
    """The release's layout, real records and photographs; what the bundled model scores on them means nothing."""
    folders = (shared / "realset", shared / "realset" / "images")
    state = {name: tensor.clone() for name, tensor in lens.module.state_dict().items()}
    cold = evaluate(lens, ["sugarcrepe"], *folders, protocol="vl_compo", cache=tmp_path)
    assert {row.split: row.counts.counted for row in cold.rows} == {
        "add_att": 15, "add_obj": 45, "replace_att": 20, "replace_obj": 28, "replace_rel": 30, "swap_att": 12,
        "swap_obj": 4,
    }  # fmt: skip
    assert all(row.counts.missing == row.counts.malformed == 0 for row in cold.rows)
    assert not cold.failures
    # by hand, without the engine
    records = json.loads((shared / "realset/sugarcrepe/swap_att.json").read_text()).values()
    wins = 0
    for record in records:
        pixels = lens.preprocess(folders[1] / record["filename"], "square")
        said = lens.encode_text([record["caption"], record["negative_caption"]])
        right, wrong = torch.nn.functional.cosine_similarity(lens.encode_image(pixels), said)
        wins += bool(right > wrong)
    assert cold.find("sugarcrepe", "swap_att") == pytest.approx(100 * wins / len(records))
    warm = evaluate(lens, ["sugarcrepe"], *folders, protocol="vl_compo", cache=tmp_path)
    assert figures(warm) == figures(cold)
    both = evaluate(lens, ["sugarcrepe", "sugarcrepe_pp"], *folders, protocol="vl_compo", cache=tmp_path)
    assert figures(both)[: len(cold.rows)] == figures(cold)[: len(cold.rows)]
    assert any("SugarCrepe++" in failure for failure in both.failures)
    assert all(torch.equal(tensor, state[name]) for name, tensor in lens.module.state_dict().items())


@needs_bundled
def test_a_lens_is_asked_as_it_was_evaluated_unless_told_otherwise(lens, rng):
    from PIL import Image

    encoder = LensEncoder(lens)
    assert encoder.about.view == "square"  # the bundled model was trained on stretched pictures
    assert encoder.about.fingerprint == lens.fingerprint
    assert encoder.about.mark.startswith(f"{lens.fingerprint}-quick_gelu-float32-square-112x112-")
    pictures = [
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8))
        for size in ((90, 120), (130, 100), (90, 120))
    ]
    native = LensEncoder(lens, "native").pictures(pictures)
    for row, picture in zip(native, pictures, strict=True):
        torch.testing.assert_close(row[None], lens.encode_image(lens.preprocess(picture, "native")))
    shown = LensEncoder(lens, "crop").view(pictures[0])
    assert shown.size == (112, 112)
    with pytest.raises(ValueError, match="view='whole' is unknown"):
        LensEncoder(lens, "whole")


@needs_bundled
def test_texts_that_are_cut_are_counted_not_warned_of(lens):
    encoder = LensEncoder(lens)
    long = "a dog and a cat " * 30
    with warnings.catch_warnings():
        warnings.simplefilter("error", ClipsightWarning)
        encoder.texts([long, "a dog"])
    assert encoder.cut([long, "a dog", long]) == [True, False, True]
    assert encoder.cut(["a dog"]) == [False]
