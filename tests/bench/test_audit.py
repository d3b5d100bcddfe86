"""The audit: what it says of planted scores, and that its page is whole, closed to the outside, and of real models."""

import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import clipsight
from clipsight.bench.about import About
from clipsight.bench.audit.charts import WIDTH, Point, gaps, percents
from clipsight.bench.audit.findings import changes, headlines
from clipsight.bench.audit.measure import Audit, Audited, audit
from clipsight.bench.composition import Counts, MeanRow, ReadOptions, Report, SplitRow, get_benchmark
from clipsight.bench.composition.averages import Answers, ItemTally
from clipsight.bench.composition.report import mean_rows
from clipsight.errors import Unsupported
from clipsight.session.lens import Lens

BUNDLED = Path(clipsight.__file__).parent / "assets" / "clipsight-tiny"
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "realset"
needs_bundled = pytest.mark.skipif(not BUNDLED.exists(), reason="the bundled model is not trained yet")
ABOUT = About(
    model="planted", pretrained=None, fingerprint="0", activation="gelu", dtype="float32", device="cpu",
    view="square", size=(2, 2),
)  # fmt: skip


def split(benchmark: str, name: str, score: float, n: int = 10_000, **facts) -> SplitRow:
    """A row as it would be with that score."""
    rule, metric, chance = {
        "coco_retrieval": ("retrieval", "t2i@1", None), "zero_shot": ("classes", "top1", 0.1),
    }.get(benchmark, ("pair_text", "accuracy", 50.0))  # fmt: skip
    # Which items are won is dealt out by the score: two scores win mostly the same items, and differ on some both ways.
    rng = np.random.default_rng([7, round(100 * score)])
    wins = np.zeros(n, bool)
    wins[np.argsort(np.arange(n) + rng.normal(scale=n / 20, size=n))[: round(n * score / 100)]] = True
    names = tuple(map(str, range(n)))
    answers = Answers(names=names, clusters=names, groups=("",) * n, wins=wins, ties=np.zeros(n, bool))
    tallied = ItemTally(
        scored=n, wins=int(wins.sum()), ties=facts.pop("ties", 0), chance=chance, answers=answers
    )
    metrics = {metric: tallied}
    if rule == "retrieval":
        metrics |= {f"{side}@{k}": tallied for side in ("i2t", "t2i") for k in (1, 5, 10)}
    counts = Counts(
        expected=facts.pop("expected", n), items=n, counted=n, missing=facts.pop("missing", 0), malformed=0,
        pictures=n, missing_pictures=0, unreadable_pictures=0, texts=2 * n, cut_texts=0,
    )  # fmt: skip
    return SplitRow(
        benchmark=benchmark, split=name, protocol=facts.pop("protocol", "official"), rule=rule, metric=metric,
        average="micro", metrics=metrics, counts=counts, **facts,
    )  # fmt: skip


def report(*rows: SplitRow, **facts) -> Report:
    means: list[MeanRow] = []
    for id in dict.fromkeys(row.benchmark for row in rows):
        own = {row.split: row for row in rows if row.benchmark == id}
        protocol = next(iter(own.values())).protocol
        means += mean_rows(id, protocol, get_benchmark(id).protocols[protocol].means, own)
    return Report(
        about=ABOUT, settings={"protocol": "official", **facts.pop("settings", {})}, versions={"clipsight": "0"},
        rows=rows, means=tuple(means), **facts,
    )  # fmt: skip


def audited(label: str, made: Report) -> Audited:
    return Audited(label=label, report=made, beside=(), gap=None, without_gap="It was not asked for.")


def of(*models: Audited, asked: tuple[str, ...] = ("sugarcrepe",)) -> Audit:
    return Audit(models=models, asked=asked, without=("flickr30k_retrieval",), captions="")


SUBSETS = ("add_att", "add_obj", "replace_att", "replace_obj", "replace_rel", "swap_att", "swap_obj")


def sugarcrepe(score: float, n: int = 10_000) -> tuple[SplitRow, ...]:
    return tuple(split("sugarcrepe", name, score, n) for name in SUBSETS)


def test_headlines_are_the_first_mean_then_what_it_leaves_out():
    made = report(
        *sugarcrepe(70),
        split("coco_retrieval", "karpathy_test", 40),
        split("zero_shot", "imagenet", 60, missing=10),
    )
    assert [(one.benchmark, one.name, one.guard, one.apart) for one in headlines(made)] == [
        ("sugarcrepe", "mean of 7 subsets", False, ""),
        ("coco_retrieval", "i2t R@1", True, ""),
        ("coco_retrieval", "t2i R@1", True, ""),
        ("zero_shot", "imagenet top1", True, "9,990 of 10,000 items"),
    ]
    macco = report(
        *(split("sugarcrepe", name, 70, protocol="macco") for name in SUBSETS),
        split("aro", "vg_relation", 60, protocol="macco"),
    )
    assert [(one.benchmark, one.name) for one in headlines(macco)] == [
        ("sugarcrepe", "Relation"), ("sugarcrepe", "Attribute"), ("sugarcrepe", "add_obj accuracy"),
        ("sugarcrepe", "replace_obj accuracy"), ("sugarcrepe", "swap_obj accuracy"), ("aro", "vg_relation accuracy"),
    ]  # fmt: skip
    (part,) = headlines(report(split("sugarcrepe", "swap_obj", 70, 245)))
    assert part.apart.startswith("without add_att, add_obj")


@pytest.mark.parametrize(("after", "direction"), [(74, "up"), (67, "down"), (70.2, "same")])
def test_a_difference_is_judged_on_the_items_that_both_answered(after, direction):
    (made,) = changes(report(*sugarcrepe(70, 2000)), report(*sugarcrepe(after, 2000)))
    assert made.difference.direction == direction
    assert made.difference.value == pytest.approx(after - 70, abs=1e-9)
    without = report(*sugarcrepe(70), split("zero_shot", "imagenet", 60))
    assert [one.headline.benchmark for one in changes(report(*sugarcrepe(70)), without)] == ["sugarcrepe"]


def test_a_gain_that_a_guard_pays_for_is_called_bought():
    guard = split("coco_retrieval", "karpathy_test", 40)
    first = audited("before", report(*sugarcrepe(70), guard))
    bought = audited("bought", report(*sugarcrepe(80), split("coco_retrieval", "karpathy_test", 30)))
    honest = audited("honest", report(*sugarcrepe(80), split("coco_retrieval", "karpathy_test", 40.2)))
    same = audited("same", report(*sugarcrepe(70.1), split("coco_retrieval", "karpathy_test", 30)))
    blind = audited("blind", report(*sugarcrepe(80)))
    made = of(first, bought, honest, same, blind)
    said = ["\n".join(made.findings(index)) for index in range(5)]
    assert "against" not in said[0]
    assert "Composition against before: up in SugarCrepe: mean of 7 subsets +10.0." in said[1]
    assert "down in COCO retrieval: i2t R@1 −10.0, COCO retrieval: t2i R@1 −10.0" in said[1]
    assert "was bought" in said[1]
    assert "cost no guard" in said[2]
    assert "bought" not in said[3] + said[2]
    assert "no clear difference in SugarCrepe: mean of 7 subsets +0.1" in said[3]
    assert "No guard was measured" in said[4]
    assert "cost no guard" not in said[4]
    assert [change.difference.direction for change in changes(first.report, bought.report)] == [
        "up",
        "down",
        "down",
    ]


def test_chance_ties_and_parts_are_said():
    made = report(
        split("sugarcrepe", "swap_obj", 52, 245),
        split("sugarcrepe", "add_att", 90, 100, ties=5, expected=692),
    )
    said = of(audited("one", made)).findings(0)
    assert "Not clearly above chance: sugarcrepe swap_obj 51.8 (chance 50)." in said
    assert "Ties decided, and were not won: sugarcrepe add_att (5.0 %)." in said
    assert "Measured in part, and not to be compared with published scores: SugarCrepe." in said
    assert of(audited("one", report(*sugarcrepe(90), split("zero_shot", "imagenet", 60)))).findings(0) == ()


class Whole(HTMLParser):
    """Notes tags that are not closed in their order, texts, and what could load something."""

    VOID = frozenset(("meta", "br", "img"))

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.texts: list[str] = []
        self.outside: list[str] = []
        self.styled: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name == "style" or name.startswith("on"):
                self.styled.append(name)
            if name in ("src", "href") and not (value or "").startswith("#"):
                self.outside.append(value or "")
        if tag in ("script", "link", "iframe", "object"):
            self.outside.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_is_whole_and_closed_to_the_outside():
    label = '<b onclick="x()">né & co</b>\u202e'
    made = of(
        audited(label, report(*sugarcrepe(70), split("coco_retrieval", "karpathy_test", 40))),
        audited("other", report(*sugarcrepe(80), failures=("VALSE was asked for\n└── <valse>/",))),
    )
    page = made.to_html()
    found = Whole(page)
    assert not found.open
    assert (found.wrong, found.outside, found.styled) == ([], [], [])
    text = "".join(found.texts)
    assert '<b onclick="x()">né & co</b>\\u202e' in text
    assert "└── <valse>/" in text
    assert "It was not asked for." in text
    assert "Not measured, there are no data: Flickr30k retrieval." in text
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page
    for score in ("70.0", "80.0", "+10.0", "40.0"):
        assert score in text


def test_rails_place_points_where_their_values_are():
    def places(drawn: str) -> list[float]:
        return [float(x) for x in re.findall(r'cx="([\d.]+)"', drawn)]

    def point(value: float) -> list[Point]:
        return [Point(value, value - 1, value + 1, f"<{value}>")]

    drawn = percents([point(0.0), point(50.0), point(100.0), point(float("nan"))], chance=50.0)
    left, middle, right = places(drawn)
    assert middle == pytest.approx(WIDTH / 2)
    assert left + right == pytest.approx(WIDTH)
    assert 'class="chance" x1="130.0"' in drawn
    assert "<title>&lt;50.0&gt;</title>" in drawn
    half, one, two, far = places(gaps([point(0.5), point(1.0), point(2.0), point(1e9)]))
    assert two - one == pytest.approx(one - half, abs=0.11)
    assert far == pytest.approx(right, abs=0.11)


@pytest.fixture(scope="module")
def lens() -> Lens:
    return clipsight.load("clipsight-tiny", device="cpu")


FEW = ReadOptions(world_seeds=(101,), world_count=12)


@needs_bundled
def test_the_bundled_model_audited(lens, tmp_path):
    told = []

    class Watch:
        def __init__(self, label):
            self.label = label

        def __enter__(self):
            return lambda what, done, total: told.append((self.label, what, done, total))

        def __exit__(self, *_):
            told.append((self.label, "closed", 0, 0))

    made = audit([("a", lens), ("b", lens)], options=FEW, captions=10, watch=Watch)
    first, second = made.models
    assert first.report.rows == second.report.rows
    assert first.report.guards == ("world_nouns", "world_retrieval")
    assert made.without[0] == "coco_retrieval"
    assert first.gap is not None
    assert 0 < first.gap.comparable <= first.gap.captions <= 10
    assert {row.column.name for row in first.gap.setups} >= {"attention", "perturbation", "gradient"}
    assert "5 held-out scenes of the emoji world" in made.captions
    assert any(
        "no clear difference in the emoji world: mean of 7 kinds +0.0" in one for one in made.findings(1)
    )
    assert any(one.startswith("Object words get more attribution") for one in made.findings(0))
    assert [one for one in told if one[1] == "closed"] == [("a", "closed", 0, 0), ("b", "closed", 0, 0)]
    assert ("a", "attribution", 1, 1) in told
    page, data = made.save(tmp_path / "audit.html")
    said = json.loads(data.read_text())
    assert said["models"][0]["gap"]["rows"][0]["gap"]["composition"][0] > 0
    assert [row["kind"] for row in said["models"][0]["rows"]].count("split") == len(first.report.rows)
    text = "".join(Whole(page.read_text(encoding="utf-8")).texts)
    gap = next(
        row.figures.gap["composition"] for row in first.gap.setups if row.column.name == "perturbation"
    )
    assert f"{gap.value:.2f}" in text
    with pytest.raises(FileExistsError):
        made.save(tmp_path / "audit.html")
    with pytest.raises(ValueError, match="suffix"):
        made.save(tmp_path / "audit.pdf")


@needs_bundled
def test_a_gap_that_cannot_be_measured_is_said_with_its_reason(lens):
    def refuses(_: Lens):
        raise Unsupported("this text tower is one piece.")

    made = audit([("one", lens)], options=FEW, gap=refuses)
    (model,) = made.models
    assert (model.gap, model.without_gap) == (None, "this text tower is one piece.")
    assert "this text tower is one piece." in made.to_html()
    (none,) = audit([("one", lens)], guards=[], options=FEW, captions=0).models
    assert none.without_gap == "It was not asked for."
    assert none.report.guards == ()
    (absent,) = audit([("one", lens)], ["valse"], guards=["world_nouns"], options=FEW).models
    assert absent.without_gap == "VALSE was not there to take captions from."
    assert absent.report.failures
    with pytest.raises(ValueError, match="called 'one'"):
        audit([("one", lens), ("one", lens)], options=FEW, captions=0)
    with pytest.raises(ValueError, match="no model"):
        audit([], options=FEW)


@needs_bundled
@pytest.mark.skipif(
    not SHARED.is_dir(), reason="the photographs are not beside this checkout (../shared/realset)"
)
def test_the_gap_of_a_benchmarks_own_captions(lens, tmp_path):
    made = audit(
        [("one", lens)], ["sugarcrepe"], SHARED, SHARED / "images", guards=[], captions=6, cache=tmp_path
    )
    (model,) = made.models
    assert model.gap is not None
    assert model.gap.captions <= 6
    assert made.captions == "captions of 6 items of SugarCrepe, roles by the rules"
    (absent,) = audit([("one", lens)], ["sugarcrepe"], SHARED, tmp_path, guards=[]).models
    assert absent.without_gap == "No item of SugarCrepe has a caption and its picture."
