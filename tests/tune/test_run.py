"""`tune` from end to end: weights by gradients, runs that stop and go on, models that leave as they were trained."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import open_clip
import pytest
import torch
from torch import nn

import clipsight
from clipsight.errors import CheckpointError, ClipsightError, ClipsightWarning, Unsupported
from clipsight.towers.families import towers_of
from clipsight.towers.loading import Loaded, load_model
from clipsight.tune import (
    Distill,
    Matching,
    NegativeContrastive,
    OwnNegatives,
    TuneSettings,
    WeightedObjective,
)
from clipsight.tune import run as run_module
from clipsight.tune.data.collate import Collate
from clipsight.tune.data.crop import Crop
from clipsight.tune.data.example import Example, Examples, First
from clipsight.tune.data.loader import Loader
from clipsight.tune.data.opening import open_examples
from clipsight.tune.data.plan import BatchPlan
from clipsight.tune.encode import TrainingTowers, joined_needs
from clipsight.tune.journal import read_log
from clipsight.tune.objectives.objective import StepInputs
from clipsight.tune.state import NEWEST
from clipsight.tune.tower_of_parameter import tower_of_parameter
from tiny import pixels
from tune.small_run import WORLD, cae, contrastive, pairs, small_folder, small_run, stop_after

by_folder = pytest.mark.skipif(
    not hasattr(open_clip.factory, "parse_model_name"), reason="this open_clip has no local-dir: of its own"
)
IDS = open_clip.SimpleTokenizer()(["a red car left of a small dog", "there is a ship"])


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    """A small model's name."""
    return small_folder(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def loaded(base) -> Loaded:
    return load_model(base, device="cpu")


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one: nn.Module, other: nn.Module) -> bool:
    """To the last bit."""
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def furthest(one: nn.Module, other: nn.Module) -> float:
    """The largest difference of two runs' weights whose sums were added in another order.

    Without the bias of the keys: it moves all scores of a row alike, which softmax takes no notice of, so its gradient
    is rounding alone; and Adam makes a step of full length of that, whichever way it points.
    """
    first, second, found = one.state_dict(), other.state_dict(), 0.0
    for name, value in first.items():
        apart = (second[name] - value).abs()
        if name.endswith("in_proj_bias"):
            apart = apart.view(3, -1)[[0, 2]]
        found = max(found, apart.max().item())
    return found


def changed_sides(module: nn.Module, before: nn.Module) -> set[str]:
    start = before.state_dict()
    return {
        tower_of_parameter(name)
        for name, value in module.state_dict().items()
        if not torch.equal(value, start[name])
    }


def features(module: Any) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([module.encode_image(pixels(2, 32, 32)), module.encode_text(IDS)])


@pytest.mark.parametrize("variants", [("ab",), ("gcb",), ("pb",), ("gb",), ("ab", "gcb", "pb", "gb")])
def test_each_variant_trains_and_leaves_a_model(loaded, tmp_path, variants):
    rows: list[Any] = []
    made = small_run(loaded, tmp_path, contrastive(), *map(cae, variants), on_row=rows.append)
    names = ["contrastive", *(f"cae_{one}" for one in variants)]
    assert made.folder == tmp_path / "model"
    assert (made.outcome.step, made.outcome.stopped, made.outcome.skipped) == (4, "", 0)
    assert list(made.weights) == names
    assert made.weights["contrastive"] == 1
    assert all(weight > 0 for weight in made.weights.values())
    assert json.loads((tmp_path / "weights.json").read_text()) == made.weights
    assert rows == list(made.outcome.rows) == read_log(tmp_path)
    assert set(names) < set(rows[0])
    assert changed_sides(made.module, loaded.module) == {"text", "vision", "scale"}
    assert not made.module.training
    card = (made.folder / "README.md").read_text(encoding="utf-8")
    assert all(f"- {name}: " in card for name in names)
    assert "reconstructed" in card
    lens = clipsight.load(f"local-dir:{made.folder}", device="cpu")
    assert torch.equal(features(lens.module), features(made.module))
    assert not torch.allclose(features(lens.module), features(loaded.module), atol=1e-3)


@by_folder
def test_open_clip_loads_the_model_as_it_was_trained(loaded, tmp_path):
    made = small_run(loaded, tmp_path, contrastive(), cae("pb", 0.5))
    model = open_clip.create_model(f"local-dir:{made.folder}").eval()
    assert torch.equal(features(model), features(made.module))


@pytest.mark.parametrize(
    ("train", "sides"),
    [
        ("lora", {"text", "vision"}),
        ("text", {"text"}),
        ("vision", {"vision"}),
        ("layernorm", {"text", "vision"}),
    ],
)
def test_every_choice_of_parameters_with_the_other_losses(loaded, tmp_path, train, sides):
    terms = [
        WeightedObjective(objective=NegativeContrastive(foils=1, foil_kinds=("swap", "replace")), weight=1.0),
        WeightedObjective(objective=OwnNegatives(foils=2, foil_kinds=("given", "shuffle")), weight=0.5),
        WeightedObjective(objective=Distill(momentum=0.99), weight=0.1),
        *([] if train == "vision" else [cae("ab"), cae("pb")]),
    ]
    made = small_run(loaded, tmp_path, *terms, train=train)
    assert changed_sides(made.module, loaded.module) - {"scale"} == sides
    assert made.module.state_dict().keys() == loaded.module.state_dict().keys()
    if train == "layernorm":
        start = loaded.module.state_dict()
        now = made.module.state_dict()
        assert all(value.ndim < 2 for name, value in now.items() if not torch.equal(value, start[name]))
    assert all(one.requires_grad for one in made.module.parameters())
    lens = clipsight.load(f"local-dir:{made.folder}", device="cpu")
    assert torch.equal(features(lens.module), features(made.module))


def test_a_weight_left_open_pulls_a_share_as_hard_as_the_rest(base, loaded, tmp_path):
    terms = [contrastive(), cae("pb", ramp=0.0), cae("ab", ratio=0.7)]
    made = small_run(loaded, tmp_path, *terms, calibrate=2, train="text", train_scale=False)

    module = load_model(base, device="cpu").module.train()
    view = towers_of(module).text
    encode = TrainingTowers(module, view, joined_needs(term.objective.needs(view) for term in terms))
    collate = Collate(
        tokenizer=loaded.tokenizer,
        context=view.context,
        preprocess=loaded.preprocess,
        matching=Matching(),
    )
    batches = Loader(pairs(), collate, BatchPlan(count=len(pairs()), batch=8))(0)
    text = [one for name, one in module.named_parameters() if tower_of_parameter(name) == "text"]
    lengths = torch.zeros(3)
    for step in range(2):
        batch = next(batches)
        found, question = encode(batch)
        passed = StepInputs(module=module, batch=batch, features=found, question=question, step=step)
        for number, term in enumerate(terms):
            scope = term.objective.scope
            loss = term.objective.loss(found if scope == "features" else passed).loss
            if scope == "samples":
                loss = loss / term.objective.counts(batch).sum()
            grads = torch.autograd.grad(loss, text, retain_graph=True, allow_unused=True)
            lengths[number] += torch.cat([one.flatten() for one in grads if one is not None]).norm()
    ratios = torch.tensor([made.weights["cae_pb"], made.weights["cae_ab"]]) * lengths[1:] / lengths[0]
    torch.testing.assert_close(ratios, torch.tensor([0.3, 0.7]), rtol=1e-3, atol=0)


def test_the_log_shows_the_ratio_that_was_asked_for(loaded, tmp_path):
    terms = [contrastive(), cae("pb", ramp=0.0), cae("gb", ratio=0.6, ramp=0.0)]
    made = small_run(loaded, tmp_path, *terms, train="text", train_scale=False, steps=1)
    row = made.outcome.rows[0]
    assert row["cae_pb.gradient_ratio"] == pytest.approx(0.3, rel=1e-3)
    assert row["cae_gb.gradient_ratio"] == pytest.approx(0.6, rel=1e-3)


def test_a_run_that_goes_on_does_not_measure_again(loaded, tmp_path, monkeypatch):
    open_ones = []
    calibrated = run_module.calibrated

    def noted(terms, *rest):
        open_ones.append([term.objective.name for term in terms if term.weight is None])
        return calibrated(terms, *rest)

    monkeypatch.setattr(run_module, "calibrated", noted)
    terms = [contrastive(), cae("gb")]
    first = small_run(loaded, tmp_path, *terms, save_every=1, stop_rules=[stop_after(2)])
    second = small_run(loaded, tmp_path, *terms, save_every=1)
    assert open_ones == [["cae_gb"], []]
    assert first.weights == second.weights


def test_weights_of_a_run_without_a_checkpoint_are_measured_anew(loaded, tmp_path):
    tmp_path.joinpath("weights.json").write_text('{"contrastive": 5.0, "cae_pb": 123.0}')
    made = small_run(loaded, tmp_path, contrastive(), cae("pb"), steps=1)
    assert made.weights["contrastive"] == 1
    assert 0 < made.weights["cae_pb"] < 100


class ObjectsOnly:
    """Captions that name objects and nothing else."""

    about: ClassVar = {"name": "objects"}

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> Example:
        noun = ("dog", "car", "ship", "tree")[index % 4]
        return Example(
            picture=pairs()[index].picture, caption=f"a {noun}", spans=((2, 2 + len(noun), "object"),)
        )


def test_a_loss_without_gradient_gets_a_sentence_instead_of_a_weight(loaded, tmp_path):
    with pytest.raises(ClipsightError, match="weight of cae_pb cannot be told"):
        small_run(loaded, tmp_path, contrastive(), cae("pb"), examples=ObjectsOnly())
    teacher = WeightedObjective(objective=Distill(), weight=1.0)
    with pytest.raises(
        ClipsightError, match=r"measured beside distill, whose gradient before the first step has the length"
    ):
        small_run(loaded, tmp_path, teacher, cae("pb"))
    with pytest.raises(ValueError, match="every weight was left open"):
        small_run(loaded, tmp_path, cae("ab"), cae("pb"))
    with pytest.raises(ValueError, match="one name"):
        small_run(loaded, tmp_path, contrastive(), cae("pb", 1.0), cae("pb", 2.0))
    assert not (tmp_path / NEWEST).exists()


@pytest.mark.parametrize(
    ("variant", "weight", "pieces"), [("ab", None, 1), ("gcb", 1.0, 2), ("pb", None, 2), ("gb", 1.0, 1)]
)
def test_a_loss_that_nothing_trained_can_change_is_refused(loaded, tmp_path, variant, weight, pieces):
    with pytest.raises(Unsupported, match=f"cae_{variant} does not depend on anything that is trained"):
        small_run(loaded, tmp_path, contrastive(), cae(variant, weight), train="vision", micro_batches=pieces)


def test_the_image_tower_alone_trains_where_the_picture_s_gradient_is_let_in(loaded, tmp_path):
    made = small_run(loaded, tmp_path, contrastive(), cae("pb", image_grad=True), train="vision", steps=1)
    assert made.weights["cae_pb"] > 0


def test_a_loss_of_weight_0_changes_nothing_to_the_last_bit(loaded, tmp_path):
    plain = small_run(loaded, tmp_path / "plain", contrastive(), train="lora", patch_dropout=0.5)
    beside = small_run(
        loaded,
        tmp_path / "beside",
        contrastive(),
        cae("gb", 0.0),
        WeightedObjective(objective=Distill(), weight=0.0),
        WeightedObjective(objective=OwnNegatives(foils=3), weight=0.0),
        train="lora",
        patch_dropout=0.5,
    )
    assert same(plain.module, beside.module)
    figures = [
        [
            {name: value for name, value in row.items() if name != "seconds_per_step"}
            for row in one.outcome.rows
        ]
        for one in (plain, beside)
    ]
    assert figures[0] == figures[1]
    other = small_run(
        loaded, tmp_path / "other", contrastive(), cae("gb", 0.1), train="lora", patch_dropout=0.5
    )
    assert not same(plain.module, other.module)


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(loaded, tmp_path):
    def go(folder: str, **more: Any) -> Any:
        terms = [
            WeightedObjective(objective=NegativeContrastive(foils=1), weight=1.0),
            cae("pb", granularity="word_sample"),
            WeightedObjective(objective=Distill(momentum=0.9), weight=0.5),
        ]
        return small_run(loaded, tmp_path / folder, *terms, train="lora", patch_dropout=0.5, steps=6, **more)

    whole = go("whole")
    stopped = go("parts", stop_rules=[stop_after(2)])
    assert stopped.folder is None
    assert (stopped.outcome.step, stopped.outcome.stopped) == (2, "enough")
    assert not (tmp_path / "parts" / "model").exists()
    again = go("parts", stop_rules=[stop_after(5)])
    assert (again.outcome.step, len(again.outcome.rows)) == (5, 5)
    last = go("parts")
    assert last.folder is not None
    assert same(whole.module, last.module)
    for one, two in zip(whole.outcome.rows, last.outcome.rows, strict=True):
        assert one | {"seconds_per_step": 0} == two | {"seconds_per_step": 0}
    once_more = go("parts")
    assert once_more.outcome.rows == last.outcome.rows
    assert same(once_more.module, last.module)


@pytest.mark.parametrize(
    "changes",
    [
        {"lr": 2e-3},
        {"epochs": 2.0, "steps": None},
        {"seed": 1},
        {"train": "text"},
        {"crop": Crop(kind="none")},
        {"matching": Matching(match="first_bpe")},
        {"terms": [contrastive(), cae("pb", loss="ratio")]},
        {"terms": [contrastive(), cae("pb", 0.7)]},
        {"terms": [contrastive(), cae("pb", ratio=0.4)]},
        {"terms": [WeightedObjective(objective=contrastive().objective, weight=2.0), cae("pb")]},
        {"terms": [contrastive()]},
        {"data": "world:8:24"},
    ],
    ids=lambda changes: " ".join(changes) if isinstance(changes, dict) else None,
)
def test_a_run_of_other_settings_is_not_gone_on_with(loaded, stopped_run, changes):
    changes = dict(changes)
    terms = changes.pop("terms", [contrastive(), cae("pb")])
    examples = pairs(changes.pop("data", WORLD))
    before = (stopped_run / NEWEST).read_bytes()
    with pytest.raises(CheckpointError, match="with other settings"):
        small_run(loaded, stopped_run, *terms, examples=examples, **changes)
    assert (stopped_run / NEWEST).read_bytes() == before


@pytest.fixture(scope="module")
def stopped_run(loaded, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stopped")
    small_run(loaded, folder, contrastive(), cae("pb"), stop_rules=[stop_after(1)])
    return folder


def test_a_model_that_lies_there_is_replaced_only_when_asked(loaded, tmp_path):
    small_folder(tmp_path / "model", seed=5)
    before = features(clipsight.load(f"local-dir:{tmp_path / 'model'}", device="cpu").module)
    with pytest.raises(FileExistsError, match="overwrite"):
        small_run(loaded, tmp_path, contrastive())
    assert sorted(one.name for one in tmp_path.iterdir()) == ["model"]
    made = small_run(loaded, tmp_path, contrastive(), overwrite=True)
    after = features(clipsight.load(f"local-dir:{made.folder}", device="cpu").module)
    assert torch.equal(after, features(made.module))
    assert not torch.allclose(before, after, atol=1e-3)


def test_a_readme_of_others_is_replaced_only_when_asked(loaded, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "README.md").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds README.md already.*--overwrite"):
        small_run(loaded, tmp_path, contrastive())
    assert (tmp_path / "model" / "README.md").read_text() == "mine"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["model"]
    small_run(loaded, tmp_path, contrastive(), overwrite=True)
    assert (tmp_path / "model" / "README.md").read_text() != "mine"
    again = small_run(loaded, tmp_path, contrastive())  # the same run, done already
    assert again.folder == tmp_path / "model"


def test_a_run_goes_on_with_the_same_data_alone(loaded, tmp_path):
    """The same names, lines and captions, and every picture another one."""
    from PIL import Image

    lines = ["filepath\ttitle"]
    for number in range(16):
        Image.new("RGB", (32, 32), (number * 15, 99, 200 - number * 9)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png\ta picture of number {number}")
    (tmp_path / "data.tsv").write_text("\n".join(lines))

    def run(**more):
        examples = open_examples(str(tmp_path / "data.tsv"))
        return small_run(loaded, tmp_path / "run", contrastive(), examples=examples, **more)

    run(stop_rules=[stop_after(2)])
    paths = [tmp_path / f"{number}.png" for number in range(16)]
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, contents[1:] + contents[:1], strict=True):
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"data.fingerprint was '\w+' and is now"):
        run()
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    assert run().outcome.step == 4


@pytest.mark.parametrize(("train", "fails"), [("full", False), ("lora", False), ("lora", True)])
def test_the_model_given_stays_as_it_was(base, tmp_path, train, fails):
    loaded = load_model(base, device="cpu")
    module: Any = loaded.module
    module.visual.conv1.requires_grad_(False)
    before, dropout = weights(module), module.visual.patch_dropout
    asked = [one.requires_grad for one in module.parameters()]

    def broken(rows: Any) -> str:
        if fails:
            raise RuntimeError("in the middle")
        return ""

    terms = [contrastive(), cae("gb")]
    more = {"train": train, "patch_dropout": 0.5, "stop_rules": [broken]}
    if fails:
        with pytest.raises(RuntimeError, match="middle"):
            small_run(loaded, tmp_path, *terms, **more)
    else:
        made = small_run(loaded, tmp_path, *terms, **more)
        assert [one.requires_grad for one in made.module.parameters()] == asked
        assert type(made.module.visual.patch_dropout) is type(dropout)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert module.state_dict().keys() == before.keys()
    assert [one.requires_grad for one in module.parameters()] == asked
    assert not any(one.training for one in module.modules())
    assert module.visual.patch_dropout is dropout
    assert all(one.grad is None for one in module.parameters())
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in module.modules())


def test_steps_follow_from_epochs(loaded, tmp_path):
    count = len(pairs())
    assert TuneSettings(epochs=3.0, batch=10).steps_of(105) == 30
    assert TuneSettings(epochs=3.0, batch=10, validate=10).steps_of(105) == 27
    assert TuneSettings(epochs=0.01, batch=10).steps_of(105) == 1
    assert TuneSettings(steps=7).steps_of(3) == 7
    made = small_run(loaded, tmp_path, contrastive(), steps=None, epochs=1.5, batch=50, validate=10)
    assert made.outcome.step == round(1.5 * ((count - 10) // 50))
    with pytest.raises(ValueError, match=f"validate is {count} and there are {count} examples"):
        small_run(loaded, tmp_path / "none", contrastive(), validate=count)


def test_what_is_kept_apart_is_not_trained_on_even_where_an_example_is_broken(loaded):
    class Broken:
        about: ClassVar = {"name": "broken"}

        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> Example:
            one = pairs()[index]
            return replace(one, picture="/nowhere.png") if index == 5 else one

    some: Examples = First(Broken(), 6)
    assert (len(some), some.about) == (6, {"name": "broken"})
    collate = Collate(tokenizer=loaded.tokenizer, context=77, preprocess=loaded.preprocess)
    batches = Loader(some, collate, BatchPlan(count=6, batch=6, shuffle=False))(0)
    with pytest.warns(ClipsightWarning, match="replaced by the next"):
        assert next(batches).index.tolist() == [0, 1, 2, 3, 4, 0]


def test_validations_are_in_the_log_and_change_nothing(loaded, tmp_path):
    options = {"crop": Crop(kind="none"), "patch_dropout": 0.5}
    made = small_run(
        loaded, tmp_path / "seen", contrastive(), cae("pb"), validate=20, validate_every=3, **options
    )
    seen = {row["step"]: (row["eval.t2i"], row["eval.i2t"]) for row in made.outcome.rows if "eval.t2i" in row}
    assert list(seen) == [3, 4]
    assert all(0 <= value <= 1 for pair in seen.values() for value in pair)
    rare = small_run(
        loaded, tmp_path / "rare", contrastive(), cae("pb"), validate=20, validate_every=100, **options
    )
    assert same(made.module, rare.module)


def test_patience_ends_a_run_that_gets_no_better(loaded, tmp_path):
    options = {"lr": 1e-12, "steps": 9, "validate": 10, "validate_every": 2}
    made = small_run(loaded, tmp_path, contrastive(), patience=2, **options)
    assert made.folder is not None
    assert made.outcome.step == 6
    assert "eval.t2i has not risen" in made.outcome.stopped
    on = small_run(loaded, tmp_path, contrastive(), patience=0, **options)
    assert on.folder is not None
    assert on.outcome.step == 9


def test_a_run_whose_time_is_up_goes_on_at_the_next_call(loaded, tmp_path):
    whole = small_run(loaded, tmp_path / "whole", contrastive(), cae("ab"))
    for steps in (1, 2, 3):
        made = small_run(loaded, tmp_path / "parts", contrastive(), cae("ab"), max_seconds=1e-9)
        assert (made.folder, made.outcome.step) == (None, steps)
        assert "seconds are over" in made.outcome.stopped
    last = small_run(loaded, tmp_path / "parts", contrastive(), cae("ab"), max_seconds=1e9)
    assert last.folder is not None
    assert same(whole.module, last.module)


def test_pieces_give_the_run_of_the_whole(loaded, tmp_path):
    terms = [
        WeightedObjective(objective=NegativeContrastive(foils=1), weight=1.0),
        cae("ab"),
        cae("pb"),
        cae("gb"),
    ]
    one, two = (
        small_run(loaded, tmp_path / str(pieces), *terms, micro_batches=pieces, lr=1e-4, train="text")
        for pieces in (1, 3)
    )
    assert furthest(one.module, two.module) < 2e-6
    assert (features(one.module) - features(two.module)).abs().max() < 1e-5
    assert (features(one.module) - features(loaded.module)).abs().max() > 1e-3
    assert one.weights == pytest.approx(two.weights, rel=1e-4)


def test_bfloat16_is_near_float32(loaded, tmp_path):
    variants = ("ab", "gcb", "pb", "gb")
    full, half = (
        small_run(loaded, tmp_path / kind, contrastive(), *map(cae, variants), precision=kind, lr=1e-5)
        for kind in ("fp32", "bf16")
    )
    assert all(value.dtype == torch.float32 for value in half.module.state_dict().values())
    for one, two in zip(full.outcome.rows, half.outcome.rows, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=0.05)
        for variant in variants:
            assert two[f"cae_{variant}"] == pytest.approx(one[f"cae_{variant}"], rel=0.1, abs=0.02)
    assert half.weights != full.weights
    assert half.weights == pytest.approx(full.weights, rel=0.1)
    assert torch.isfinite(features(half.module)).all()


def test_models_that_cannot_be_trained_say_why(loaded, tmp_path):
    with pytest.raises(Unsupported, match="no tokenizer"):
        small_run(replace(loaded, tokenizer=None), tmp_path, contrastive())
    with pytest.raises(Unsupported, match="live module"):
        small_run(load_model(loaded.module), tmp_path, contrastive())
    transformers = pytest.importorskip("transformers")
    config = transformers.CLIPConfig(
        text_config={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
        vision_config={
            "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
            "image_size": 32, "patch_size": 16,
        },
        projection_dim=16,
    )  # fmt: skip
    other = replace(loaded, module=transformers.CLIPModel(config).eval())
    with pytest.raises(Unsupported, match="model of transformers"):
        small_run(other, tmp_path, contrastive())
    assert not any(tmp_path.iterdir())


def test_what_is_not_installed_is_named_with_its_install_line(loaded, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(Unsupported, match=r'pip install "clipsight\[tune\]"'):
        small_run(loaded, tmp_path, contrastive())
    assert not any(tmp_path.iterdir())


LAUNCHED = """
import os, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from clipsight.cli import main
import clipsight.tune.run, accelerate
child = os.fork()
rank = 0 if child else 1
os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
sys.stdout = Path(sys.argv[1], f"{rank}.out").open("w")
code = main(sys.argv[2:])
sys.stdout.flush()
torch.distributed.destroy_process_group()
if child:
    sys.exit(code or os.waitpid(child, 0)[1] != 0)
os._exit(code)
"""


def test_two_launched_processes_give_the_model_of_one(base, loaded, tmp_path):
    """As `torchrun -m clipsight tune …` starts them: they meet on this machine, and one of them writes and speaks."""
    if not hasattr(os, "fork") or not torch.distributed.is_gloo_available():
        pytest.skip("needs fork and gloo")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = (
        f"tune cae --model {base} --data {WORLD} --variant pb ab --steps 4 --batch 8 --lr 1e-4 --warmup 1 "
        f"--calibrate 2 --precision fp32 --negatives denominator --distill 0.5 --validate 16 "
        f"--log-every 1 --json --device cpu --out {tmp_path / 'two'}"
    )
    done = subprocess.run(
        [sys.executable, "-c", LAUNCHED, str(tmp_path), *words.split()],
        env={
            **os.environ, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo",
        },
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "1.out").read_text() == ""
    two = json.loads((tmp_path / "0.out").read_text())
    one = small_run(
        loaded,
        tmp_path / "one",
        WeightedObjective(objective=NegativeContrastive(foils=1), weight=1.0, ramp=0.0),
        WeightedObjective(objective=Distill(momentum=1.0), weight=0.5, ramp=0.0),
        cae("pb"),
        cae("ab"),
        lr=1e-4,
        calibrate=2,
        validate=16,
    )
    # Lengths over both processes' gradients are those of the whole batch.
    assert two["weights"] == pytest.approx(one.weights, rel=1e-4)
    row = one.outcome.rows[-1]
    assert two["last"].keys() == row.keys()
    # Float32 sums in another order differ by up to n · 2^-24 of their size; a gradient adds 8 captions of 77 positions.
    row |= {"seconds_per_step": two["last"]["seconds_per_step"]}
    assert two["last"] == pytest.approx(row, rel=8 * 77 * 2**-24, abs=1e-4)
    made = load_model(f"local-dir:{two['model']}", device="cpu").module
    assert furthest(made, loaded.module) > 1e-4
    assert furthest(made, one.module) < 1e-5
