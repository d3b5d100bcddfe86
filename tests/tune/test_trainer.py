"""The trainer: gradients in pieces, exact going on, steps that are no number, full disks, logs and reasons to stop."""

import errno
import math
import os
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clipsight.errors import CheckpointError, ClipsightError, Unsupported
from clipsight.results import io
from clipsight.towers.open_clip_text import OpenClipText
from clipsight.tune import journal as journals
from clipsight.tune.encode import TrainingTowers, joined_needs, patch_dropout
from clipsight.tune.journal import LOG, Journal, read_log
from clipsight.tune.lora import LoraPlan
from clipsight.tune.objectives.cae import Cae, CaeOptions
from clipsight.tune.objectives.contrastive import Contrastive, info_nce, sigmoid_loss, similarity_logits
from clipsight.tune.objectives.distill import Distill
from clipsight.tune.objectives.negatives import NegativeContrastive
from clipsight.tune.objectives.objective import Needs, Objective, StepFeatures
from clipsight.tune.objectives.weighted import WeightedObjective
from clipsight.tune.schedule import SCHEDULES, constant, cosine
from clipsight.tune.state import load_state, save_state
from clipsight.tune.stopping import fell, no_better, time_is_up
from clipsight.tune.trainer import MOST_SCALE, Trainer, gradient_length
from clipsight.tune.tuned import choose_parameters
from inputs.test_writers import FullDisk
from tiny import past_type_checks
from tune.training import (
    assert_same_gradients,
    gradients_of,
    passed,
    picked,
    toy_batch,
    toy_batches,
    toy_model,
    toy_trainer,
    weighted,
)


def cae(variant: str = "ab", weight: float = 0.5, **options: Any) -> WeightedObjective:
    return weighted(objective=Cae(CaeOptions(variant=variant, **options)), weight=weight)


def plain(weight: float = 1.0) -> WeightedObjective:
    return weighted(objective=Contrastive(), weight=weight)


def weights_of(module: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def rows_of(rows: Any) -> list[str]:
    """Rows without what the clock decides; NaN equals NaN."""
    return [repr({key: value for key, value in row.items() if "seconds" not in key}) for row in rows]


# --- gradients -------------------------------------------------------------------------------------------------------

TERMS = {
    "contrastive": lambda: [plain()],
    "negatives": lambda: [weighted(objective=NegativeContrastive(foils=2))],
    "cae alone": lambda: [cae("gb", 1.0)],
    "all": lambda: [
        weighted(objective=NegativeContrastive(foils=2)),
        cae("ab", 0.5),
        cae("gcb", 0.3, alpha_grad=True),
        cae("pb", 2.0, granularity="word_sample"),
        cae("gb", 0.7, object_side="live"),
        weighted(objective=Distill(), weight=3.0),
    ],
}


@pytest.mark.parametrize("pieces", [2, 3, 8])
@pytest.mark.parametrize("terms", TERMS)
def test_pieces_give_the_gradients_and_the_log_of_the_whole(terms, pieces):
    # five, three and no counting captions: the last piece of three has two rows, one of which counts
    found = {}
    for number in (1, pieces):
        module = toy_model()
        trainer = toy_trainer(module, TERMS[terms](), loop={"micro_batches": number})
        for one in module.parameters():  # away from the teacher
            one.data.mul_(1.01)
        row = trainer.gradients(toy_batch(foils=2), step=3)
        found[number] = (gradients_of(module), row)
    assert_same_gradients(found[1][0], found[pieces][0], atol=1e-9)
    assert found[1][1].keys() == found[pieces][1].keys()
    for name, value in found[1][1].items():
        assert found[pieces][1][name] == pytest.approx(value, abs=1e-5), name
    expected = sum(term.weight * found[1][1][term.objective.name] for term in TERMS[terms]())
    assert found[1][1]["loss"] == pytest.approx(expected)


@pytest.mark.parametrize("rows", [(2, 5, 6), (2, 5, 0), (0, 2, 1)])
@pytest.mark.parametrize("pieces", [1, 3])
def test_captions_that_do_not_count_thin_nothing_out(rows, pieces):
    module, batch = toy_model(), picked(toy_batch(), rows)
    row = toy_trainer(module, [cae("pb")], loop={"micro_batches": pieces}).gradients(batch)
    made, counted = gradients_of(module), [one for one in rows if one in (0, 1, 3, 4, 7)]
    if not counted:
        assert row["cae_pb"] == row["loss"] == 0
        assert not any(value.any() for value in made.values())
        return
    objective = Cae(CaeOptions(variant="pb"))
    given = passed(module, picked(toy_batch(), counted), objective.needs(OpenClipText(module)))
    mean = objective.loss(given).loss / len(counted)
    (0.5 * mean).backward()
    assert_same_gradients(made, gradients_of(module), atol=1e-10)
    assert row["cae_pb"] == pytest.approx(mean.item(), abs=1e-5)


def test_pieces_draw_the_same_numbers_both_times():
    module, batch = toy_model(), toy_batch(foils=1)
    objective = NegativeContrastive(foils=1)
    with patch_dropout(module.train(), 0.5):
        trainer = toy_trainer(module, [weighted(objective=objective)], loop={"micro_batches": 2, "seed": 9})
        trainer.gradients(batch, step=4)
        made, seen = gradients_of(module), []
        for piece, rows in enumerate((slice(0, 4), slice(4, 8))):
            trainer._draw(4, piece)
            seen.append(trainer.encode(batch.rows(rows))[0])
        joint = StepFeatures(
            **{name: torch.cat([getattr(one, name) for one in seen]) for name in ("image", "text", "foils")},
            foil_valid=batch.foil_valid,
            scale=module.logit_scale.exp(),
        )
        objective.loss(joint).loss.backward()
        assert_same_gradients(made, gradients_of(module), atol=1e-10)
        trainer.gradients(batch, step=5)
        other = gradients_of(module)
        assert any((made[name] - other[name]).abs().max() > 1e-4 for name in made)


@pytest.mark.parametrize("pieces", [1, 2])
def test_a_text_tower_in_one_piece_trains_with_what_does_not_look_inside(pieces):
    class Whole(OpenClipText):
        def parts(self) -> Any:
            raise Unsupported("whole texts alone")

    module, terms = toy_model(), [plain(), weighted(objective=Distill(), weight=2.0)]
    trainer = toy_trainer(module, terms, loop={"micro_batches": pieces})
    for one in module.parameters():
        one.data.mul_(1.01)
    trainer.gradients(toy_batch())
    expected = gradients_of(module)
    trainer.encode = TrainingTowers(module, Whole(module), Needs())
    assert trainer.encode(toy_batch())[1] is None
    trainer.gradients(toy_batch())
    assert_same_gradients(gradients_of(module), expected, atol=1e-9)
    with pytest.raises(Unsupported, match="in one piece"):
        TrainingTowers(module, Whole(module), Needs(explicit=True))


def test_gradients_are_added_to_those_that_are_there():
    module = toy_model()
    trainer = toy_trainer(module, [plain()])
    trainer.gradients(toy_batch())
    once = gradients_of(module)
    for _ in range(2):
        trainer.gradients(toy_batch())
    twice = gradients_of(module)
    assert all(torch.allclose(twice[name], 2 * once[name]) for name in once)


def test_the_ratio_is_that_of_the_gradients_lengths():
    module = toy_model()
    trainer = toy_trainer(module, [plain(2.0), cae("ab", 0.3)], loop={"ratio_every": 2})
    row = trainer.gradients(toy_batch(), step=2)
    assert "cae_ab.gradient_ratio" not in trainer.gradients(toy_batch(), step=1)
    module.zero_grad()
    lengths = []
    for term in (plain(2.0), cae("ab", 0.3)):
        toy_trainer(module, [term]).gradients(toy_batch())
        lengths.append(math.sqrt(sum(float(one.square().sum()) for one in gradients_of(module).values())))
    assert row["cae_ab.gradient_ratio"] == pytest.approx(lengths[1] / lengths[0], rel=1e-6)
    w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    assert gradient_length((w * w).sum() / 2, [torch.nn.Parameter(torch.zeros(1)), w]) == pytest.approx(5.0)


def test_similarities_of_double_precision_stay_so():
    module = toy_model()
    features = passed(module, toy_batch(), Needs()).features
    logits = similarity_logits(features)
    assert logits.dtype == torch.float64
    assert info_nce(10 * torch.tensor([[0.3, 0.1], [0.2, 0.4]])).item() == pytest.approx(0.153926, abs=1e-6)
    signs = torch.tensor([[2.0, -1.0], [0.5, 1.0]])
    written = sum(math.log1p(math.exp(z)) for z in (-2.0, -1.0, 0.5, -1.0)) / 2
    assert sigmoid_loss(signs).item() == pytest.approx(written, abs=1e-6)
    biased = Contrastive().loss(replace(features, bias=torch.tensor(-3.0).double()))
    assert biased.loss.item() == pytest.approx(sigmoid_loss(logits - 3).item())


def test_needs_are_joined():
    one = Needs(trace={"rows": (1,), "normed": (0,)}, foils=2, foil_kinds=("swap",))
    two = Needs(trace={"rows": (0, 1)}, explicit=True, roles=True, foils=1, foil_kinds=("shuffle", "swap"))
    joined = joined_needs([one, two])
    assert joined.trace == {"rows": (0, 1), "normed": (0,)}
    assert (joined.explicit, joined.roles, joined.foils) == (True, True, 2)
    assert joined.foil_kinds == ("swap", "shuffle")
    assert joined_needs([]) == Needs()


# --- runs ------------------------------------------------------------------------------------------------------------


def test_a_term_of_weight_zero_is_as_if_it_were_not_there(tmp_path):
    ends = []
    for number, terms in enumerate(([plain()], [plain(), cae("gb", 0.0), cae("ab", 0.0)])):
        module = toy_model(dtype=torch.float32)
        batches = toy_batches(dtype=torch.float32)
        outcome = toy_trainer(module, terms, batches=batches, folder=tmp_path / str(number)).run()
        ends.append((weights_of(module), rows_of(outcome.rows)))
    assert all(torch.equal(value, ends[1][0][name]) for name, value in ends[0][0].items())
    assert ends[0][1] == ends[1][1]
    start = toy_model(dtype=torch.float32).state_dict()
    assert not any(torch.equal(value, start[name]) for name, value in ends[0][0].items() if value.ndim > 1)


def full(module: Any) -> tuple[list[WeightedObjective], Any]:
    tuned = choose_parameters(module, "lora", lora=LoraPlan(rank=2))
    terms = [plain(), cae("ab", 0.5), cae("pb", 1.0, granularity="word_sample")]
    return [*terms, weighted(objective=Distill(momentum=0.9), weight=2.0, ramp=0.5)], tuned.named


class Dies(Exception):
    pass


@pytest.mark.parametrize("setup", ["plain", "adapters and teacher"])
@pytest.mark.parametrize("save_every", [1, 2, 5])
def test_a_run_that_goes_on_is_the_run_that_was_not_stopped(tmp_path, setup, save_every):
    def made(folder: Any, dies_at: tuple[int, ...]) -> tuple[Any, Trainer]:
        module = toy_model()
        terms, named = ([plain(), cae("gb")], None) if setup == "plain" else full(module)

        def before(step: int) -> None:
            if step in dies_at:
                raise Dies

        trainer = toy_trainer(
            module, terms, named=named, folder=folder, before_step=before, settings={"lr": (1, 2)},
            schedule=cosine(9, 2), loop={"steps": 9, "save_every": save_every, "log_every": 3, "micro_batches": 2},
            evaluate=lambda: {"scale": float(module.logit_scale.detach())},
        )  # fmt: skip
        return module, trainer

    whole, trainer = made(tmp_path / "whole", ())
    expected = trainer.run()
    broken = tmp_path / "broken"
    for dies in (1, 4, 6, 7):  # before anything was saved, before anything was logged, later
        with pytest.raises(Dies):
            made(broken, (dies,))[1].run()
    again, trainer = made(broken, ())
    outcome = trainer.run()
    assert outcome.step == expected.step == 9
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in whole.state_dict().items())
    states = [load_state(tmp_path / name, {"lr": [1, 2]}) for name in ("whole", "broken")]
    assert_equal_states(*states)
    assert rows_of(outcome.rows) == rows_of(expected.rows) == rows_of(read_log(broken))
    assert [row["step"] for row in outcome.rows] == [3, 6, 9]
    # a run that is over is over
    _, trainer = made(broken, tuple(range(9)))
    assert rows_of(trainer.run().rows) == rows_of(expected.rows)


def assert_equal_states(one: Any, two: Any) -> None:
    """All but the clock."""
    assert type(one) is type(two)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two)
    elif isinstance(one, dict):
        assert one.keys() == two.keys()
        for name in one.keys() - {"seconds"}:
            assert_equal_states(one[name], two[name])
    elif isinstance(one, list | tuple):
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            assert_equal_states(a, b)
    else:
        assert one == two


def test_other_settings_are_refused(tmp_path):
    toy_trainer(toy_model(), [plain()], folder=tmp_path, settings={"lr": 1}).run()
    with pytest.raises(CheckpointError, match="lr was 1 and is now 2"):
        toy_trainer(toy_model(), [plain()], folder=tmp_path, settings={"lr": 2}).run()


def test_rates_ramps_and_clipping_are_those_asked_for():
    module, seen = toy_model(), []
    trainer = toy_trainer(
        module, [plain(), replace(cae("ab", 0.8), ramp=0.5)], schedule=cosine(8, 2), lr=2e-3,
        loop={"steps": 8, "clip": 0.01}, on_row=seen.append,
    )  # fmt: skip
    outcome = trainer.run()
    assert list(outcome.rows) == seen
    expected = [0.001, 0.002] + [0.001 * (1 + math.cos(math.pi * k / 6)) for k in range(6)]
    assert [row["lr"] for row in outcome.rows] == pytest.approx(expected, abs=1e-6)
    assert all(row["gradient_norm"] > 0.01 for row in outcome.rows)
    for step, row in enumerate(outcome.rows):
        weight = 0.8 * min(1.0, (step + 1) / 4)
        assert row["loss"] == pytest.approx(row["contrastive"] + weight * row["cae_ab"], abs=2e-5)
    moment = trainer.optimizers[0].state_dict()["state"][0]["exp_avg"]
    assert moment.norm() <= 0.01


def test_the_logit_scale_stays_in_its_bounds():
    for start, bound in ((MOST_SCALE + 0.5, MOST_SCALE), (-0.3, 0.0)):
        module = toy_model()
        with torch.no_grad():
            module.logit_scale.fill_(start)
        outcome = toy_trainer(module, [plain()], loop={"steps": 1}).run()
        assert module.logit_scale.item() == pytest.approx(bound)
        assert outcome.rows[0]["logit_scale"] == pytest.approx(math.exp(bound), abs=1e-4)


def test_wrong_terms_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        toy_trainer(toy_model(), [plain(0.0)]).run()
    with pytest.raises(ValueError, match="twice"):
        toy_trainer(toy_model(), [cae("ab"), cae("ab", layers="all")]).run()


def test_patch_dropout_leaves_the_model_as_it_was():
    module = toy_model()
    before = module.visual.patch_dropout
    seen = []

    def dies() -> None:
        with patch_dropout(module, 0.5):
            seen.append(module.visual.patch_dropout)
            raise Dies

    with pytest.raises(Dies):
        dies()
    assert seen[0] is not before
    assert module.visual.patch_dropout is before
    with pytest.raises(ValueError, match="below 1"), patch_dropout(module, 1.0):
        pass
    module.visual = torch.nn.Linear(1, 1)
    with pytest.raises(Unsupported, match="Linear"), patch_dropout(module, 0.5):
        pass


# --- steps that are no number ----------------------------------------------------------------------------------------


def with_nan(*bad: int):
    def batches(first: int):
        for step in count(first):
            batch = toy_batch(seed=step)
            if step in bad:
                batch.images[1, 2, 3, 4] = math.nan
            yield batch

    return batches


def test_a_step_that_is_no_number_is_skipped_and_counted():
    seen = []

    class Watched(Contrastive):
        def after_step(self, step: int) -> None:
            seen.append(step)

    module, kept = toy_model(), {}
    trainer = toy_trainer(
        module, [weighted(objective=Watched()), cae("gb")], batches=with_nan(1, 2, 4), loop={"steps": 6},
        before_step=lambda step: kept.update({step: (weights_of(module), trainer.optimizers[0].state_dict()["state"])}),
    )  # fmt: skip
    outcome = trainer.run()
    assert (outcome.skipped, outcome.step, outcome.stopped) == (3, 6, "")
    assert seen == [0, 3, 5]
    assert [row["skipped"] for row in outcome.rows] == [0, 1, 2, 2, 3, 3]
    assert [math.isfinite(row["loss"]) for row in outcome.rows] == [True, False, False, True, False, True]
    for step in range(5):
        same = all(torch.equal(value, kept[step + 1][0][name]) for name, value in kept[step][0].items())
        assert same == (step in (1, 2, 4))
    assert all(value.isfinite().all() for value in module.state_dict().values())
    assert float(trainer.optimizers[0].state_dict()["state"][0]["step"]) == 3


@pytest.mark.parametrize(
    ("save_every", "says"), [(2, "checkpoint, of step 4, is in"), (50, "No checkpoint was written")]
)
def test_three_in_a_row_end_the_run_and_the_checkpoint_is_good(tmp_path, save_every, says):
    module, kept = toy_model(), {}
    trainer = toy_trainer(
        module, [plain()], folder=tmp_path, batches=with_nan(3, 4, 5), loop={"steps": 9, "save_every": save_every},
        before_step=lambda step: kept.update({step: weights_of(module)}),
    )  # fmt: skip
    with pytest.raises(ClipsightError, match=rf"3 steps in a row, up to step 6.*{says}") as raised:
        trainer.run()
    assert all(torch.equal(value, kept[3][name]) for name, value in module.state_dict().items())
    state = load_state(tmp_path)
    assert [row["step"] for row in read_log(tmp_path)] == [1, 2, 3, 4, 5]
    if save_every == 50:
        assert state is None
        return
    assert str(tmp_path) in str(raised.value)
    # The newest was written after a bad step; the weights in it are the good ones.
    assert state is not None
    assert (state["step"], state["bad"]) == (4, 1)
    assert all(torch.equal(value, kept[3][name]) for name, value in state["model"].items())


def test_bad_steps_are_counted_over_an_interruption(tmp_path):
    def run(bad: tuple[int, ...], steps_before_death: int | None = None) -> Any:
        def before(step: int) -> None:
            if step == steps_before_death:
                raise Dies

        return toy_trainer(
            toy_model(), [plain()], folder=tmp_path, batches=with_nan(*bad), before_step=before,
            loop={"steps": 9, "save_every": 1},
        ).run()  # fmt: skip

    with pytest.raises(Dies):
        run((1, 2, 3), 3)
    with pytest.raises(ClipsightError, match="3 steps in a row, up to step 4"):
        run((1, 2, 3))


# --- full disks ------------------------------------------------------------------------------------------------------


def test_a_full_disk_at_a_checkpoint_is_said_and_the_run_goes_on_later(tmp_path, monkeypatch):
    whole = toy_model()
    expected = toy_trainer(whole, [plain()], folder=tmp_path / "whole", loop={"steps": 6}).run()

    def fill(step: int) -> None:
        if step == 3:
            monkeypatch.setattr(io, "open", opened, raising=False)

    @contextmanager
    def opened(*args: Any):
        with open(*args) as file:
            yield FullDisk(file, 2000)

    folder = tmp_path / "full"
    with pytest.raises(ClipsightError, match=r"disk is full.*untouched"):
        toy_trainer(toy_model(), [plain()], folder=folder, loop={"steps": 6}, before_step=fill).run()
    monkeypatch.undo()
    state = load_state(folder)
    assert state is not None
    assert state["step"] == 2
    module = toy_model()
    outcome = toy_trainer(module, [plain()], folder=folder, loop={"steps": 6}).run()
    assert rows_of(outcome.rows) == rows_of(expected.rows)
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in whole.state_dict().items())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_at_a_log_row_is_said(tmp_path, monkeypatch, code):
    journal = Journal(tmp_path)
    journal.write({"step": 1, "loss": 0.5})

    def fails(*args: Any, **options: Any) -> str:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(journals.json, "dumps", fails)
        kind = ClipsightError if code == errno.ENOSPC else OSError
        with pytest.raises(kind, match="disk is full" if code == errno.ENOSPC else "Errno"):
            journal.write({"step": 2})
    assert read_log(tmp_path) == [{"step": 1, "loss": 0.5}]


# --- the log, reasons to stop, schedules -----------------------------------------------------------------------------


def test_the_log_is_cut_to_the_step_that_the_run_goes_on_from(tmp_path):
    journal = Journal(tmp_path)
    for step in range(1, 6):
        journal.write({"step": step, "loss": step / 2})
    journal.close()
    with (tmp_path / LOG).open("a") as file:
        file.write('{"step": 6, "lo')  # killed in the middle of a row
    assert [row["step"] for row in read_log(tmp_path)] == [1, 2, 3, 4, 5]
    again = Journal(tmp_path, step=3)
    again.write({"step": 4, "loss": math.nan})
    assert [row["step"] for row in read_log(tmp_path)] == [1, 2, 3, 4]
    assert math.isnan(read_log(tmp_path)[-1]["loss"])
    assert [path.name for path in tmp_path.iterdir()] == [LOG]
    assert read_log(tmp_path / "nowhere") == []


def test_tensorboard_holds_the_rows_of_the_run_that_went_on(tmp_path):
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="no TensorBoard"
    )
    for last in (3, 5):
        trainer = toy_trainer(
            toy_model(), [plain()], folder=tmp_path, loop={"steps": 5, "save_every": 2}, tensorboard=True,
            stop_rules=[lambda rows, last=last: "enough" if rows[-1]["step"] == last else ""],
        )  # fmt: skip
        outcome = trainer.run()
    events = reader.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    seen = [(event.step, round(event.value, 4)) for event in events.Scalars("contrastive")]
    assert seen == [(row["step"], pytest.approx(row["contrastive"], abs=1e-4)) for row in outcome.rows]
    assert "step" not in events.Tags()["scalars"]


def test_tensorboard_that_is_wanted_and_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(Unsupported, match="pip install tensorboard"):
        Journal(tmp_path, tensorboard=True)


def test_evaluations_are_rows_of_their_own_and_can_end_the_run(tmp_path):
    figures = iter([0.5, 0.7, 0.6, 0.65, 0.9, 0.9])
    rules = [no_better("eval.top1", 2)]
    trainer = toy_trainer(
        toy_model(), [plain()], folder=tmp_path, evaluate=lambda: {"top1": next(figures)}, stop_rules=rules,
        loop={"steps": 20, "evaluate_every": 2, "log_every": 4, "save_every": 100},
    )  # fmt: skip
    outcome = trainer.run()
    assert outcome.stopped == "eval.top1 has not risen above 0.7 in 2 evaluations"
    assert outcome.step == 8
    assert [(row["step"], row.get("eval.top1"), "loss" in row) for row in outcome.rows] == [
        (2, 0.5, False), (4, 0.7, True), (6, 0.6, False), (8, 0.65, True),
    ]  # fmt: skip
    state = load_state(tmp_path)
    assert state is not None
    assert state["step"] == 8  # also where no checkpoint was due


def test_reasons_to_stop():
    rows = [{"step": 1, "eval.a": 0.5}, {"step": 2}, {"step": 3, "eval.a": 0.6}, {"step": 4, "eval.a": 0.6}]
    assert no_better("eval.a", 1)(rows) == "eval.a has not risen above 0.6 in 1 evaluations"
    assert no_better("eval.a", 1)(rows[:3]) == ""
    assert no_better("eval.a", 2)(rows) == ""
    assert no_better("eval.b", 1)(rows) == ""
    assert fell("eval.a", 0.1, 0.7)(rows) == ""
    assert fell("eval.a", 0.05, 0.7)(rows) == "eval.a fell from 0.7 to 0.6"
    assert fell("eval.a", 0.05, 0.7)([*rows, {"eval.a": math.nan}]) == "eval.a fell from 0.7 to nan"
    assert fell("eval.b", 0.0, 0.7)(rows) == ""
    ticks = iter([1.0, 59.0, 61.0])
    rule = time_is_up(60.0, lambda: next(ticks))
    assert [rule(rows) for _ in range(3)] == ["", "", "60 seconds are over"]


@given(steps=st.integers(1, 300), warmup=st.integers(0, 50))
def test_schedules(steps, warmup):
    for name, made in SCHEDULES.items():
        schedule = made(steps, warmup)
        factors = [schedule(step) for step in range(max(steps, warmup + 1))]
        assert all(0 <= factor <= 1 for factor in factors)
        assert factors[:warmup] == pytest.approx([(k + 1) / warmup for k in range(warmup)])
        assert factors[warmup] == 1 if name == "constant" or steps > warmup else True
        behind = factors[warmup:]
        assert behind == sorted(behind, reverse=True)
    if steps > warmup:
        assert cosine(steps, warmup)(steps) == pytest.approx(0, abs=1e-12)
        assert cosine(steps, warmup)((steps + warmup) // 2) >= 0.5 - 1e-9
    assert constant(steps, warmup)(10**6) == 1


def test_objectives_are_objectives():
    assert isinstance(Contrastive(), Objective)
    with past_type_checks():
        assert Contrastive("sigmoid").export() == {"loss": "sigmoid"}


def with_norm(module: Any) -> Any:
    """The toy model with a layer of running means in its image tower, over its five tokens."""
    module.visual.ln_post = torch.nn.Sequential(module.visual.ln_post, torch.nn.BatchNorm1d(5).double())
    return module


def test_a_step_that_is_no_number_leaves_buffers_as_they_were():
    """The pass of a bad step has changed running means before its loss is known."""
    plain_run, bad_run = with_norm(toy_model()), with_norm(toy_model())
    for module in (plain_run, bad_run):
        module.train()
    good = toy_trainer(plain_run, [plain()], batches=with_nan(), loop={"steps": 2})
    good.run()
    toy_trainer(bad_run, [plain()], batches=with_nan(2), loop={"steps": 3}).run()
    means = bad_run.visual.ln_post[1].running_mean
    assert means.abs().sum() > 0
    for name, value in plain_run.named_buffers():
        assert torch.equal(value, dict(bad_run.named_buffers())[name]), name


@pytest.mark.parametrize("size", [1e30, 1e38])
def test_weights_that_give_no_finite_features_are_no_checkpoint(tmp_path, size):
    """A step of finite loss and gradient may leave weights with which nothing can be computed."""
    module = toy_model(dtype=torch.float32)

    def spoil(step: int) -> None:
        if step == 3:
            for group in trainer.optimizers[0].param_groups:
                group["initial_lr"] = size

    trainer = toy_trainer(
        module, [plain()], folder=tmp_path, batches=toy_batches(dtype=torch.float32),
        loop={"steps": 20, "save_every": 1}, before_step=spoil,
    )  # fmt: skip
    with pytest.raises(ClipsightError, match=r"The last good checkpoint, of step 3, is in"):
        trainer.run()
    state = load_state(tmp_path)
    assert state["step"] == 3
    assert all(value.abs().max() < 100 for value in state["model"].values() if value.is_floating_point())


def test_a_run_that_ends_unsound_says_so(tmp_path):
    trainer = toy_trainer(
        toy_model(dtype=torch.float32), [plain()], folder=tmp_path, batches=toy_batches(dtype=torch.float32), lr=1e30,
        loop={"steps": 1, "save_every": 1},
    )  # fmt: skip
    with pytest.raises(
        ClipsightError, match=r"after step 1 the model gives no finite features.*No checkpoint was"
    ):
        trainer.run()
    assert load_state(tmp_path) is None


HOLDER = """
import sys, time
from pathlib import Path
from clipsight.tune.locking import folder_held
with folder_held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_two_runs_in_one_folder(tmp_path):
    """The second is refused; a process that was killed holds nothing."""
    import subprocess
    import sys

    trainer = toy_trainer(toy_model(), [plain()], folder=tmp_path / "run")
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        for write in (trainer.run, lambda: save_state(tmp_path / "run", {"step": 1})):
            with pytest.raises(
                ClipsightError, match=r"another run is writing into .*run; wait until it has ended"
            ):
                write()
        assert list((tmp_path / "run").iterdir()) == []
        other.kill()
    assert trainer.run().step == 4
    assert not (tmp_path / "run" / ".lock").exists()
