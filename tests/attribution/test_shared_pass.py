"""A pass that several losses share gives each of them what a pass of its own would."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from clipsight.attribution import passes
from clipsight.attribution import question as questions
from clipsight.attribution.attention import attention, attention_rows
from clipsight.attribution.gradcam import gradcam
from clipsight.attribution.gradient import gradient
from clipsight.attribution.marks import marks_of
from clipsight.attribution.match import Match
from clipsight.attribution.passes import TextPass, Trace, run
from clipsight.attribution.perturbation import perturbation
from clipsight.attribution.question import Question
from clipsight.towers.open_clip_text import OpenClipText
from tune.training import toy_batch, toy_model

SPANS = (((1,), (2, 3)), ((2,),), ((1, 2), (3,)), ())
CASES = {
    "attention": (attention, {}, {"rows": (1,)}, False),
    "attention of all": (attention, {"layers": "all", "heads": "max"}, {"rows": (0, 1)}, False),
    "roll-out": (attention, {"rollout": True}, {"weights": (0, 1)}, False),
    "gradcam": (gradcam, {"act": "softplus"}, {"normed": (1,)}, False),
    "gradcam, first block": (
        gradcam,
        {"layer": 0, "elementwise": True, "act": "abs"},
        {"normed": (0,)},
        False,
    ),
    "gradcam, second order": (gradcam, {"act": "abs", "alpha_grad": True}, {"normed": (1,)}, True),
    **{
        f"gradient {kind}": (gradient, {"kind": kind}, {"entered": (0,)}, True)
        for kind in ("norm", "input", "input_abs", "input_pos")
    },
    "gradient fd": (gradient, {"kind": "fd"}, {}, False),
    **{
        f"perturbation {op}": (perturbation, {"op": op}, {}, False)
        for op in ("zero_emb", "mask_token", "drop", "key_block")
    },
    "perturbation of the text": (perturbation, {"measure": "text"}, {}, False),
}


def asked(shared: bool, trace: dict, explicit: bool) -> tuple[Question, dict]:
    """A question with its own or a shared pass, and the parameters it can be differentiated to."""
    module = toy_model(seed=4)
    view, ids = OpenClipText(module), toy_batch(seed=3).ids[:4, :9]
    parts = view.parts()
    image = F.normalize(
        torch.randn(4, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64), dim=-1
    )
    made = Question(
        view=view, parts=parts, ids=ids, given_ids=ids, marks=marks_of(parts, ids), match=Match(image=image),
        spans=SPANS, live=True,
    )  # fmt: skip
    if shared:
        kept = Trace(**trace, left=(0,))
        made = replace(
            made,
            shared=TextPass(
                features=run(parts, ids, trace=kept, explicit=explicit), trace=kept, explicit=explicit
            ),
        )
    return made, {name: one for name, one in module.named_parameters() if not name.startswith("visual.")}


def slopes(scores: torch.Tensor, parameters: dict) -> dict[str, torch.Tensor]:
    weights = torch.rand(scores.shape, generator=torch.Generator().manual_seed(5), dtype=scores.dtype)
    found = torch.autograd.grad((weights * scores).sum(), list(parameters.values()), allow_unused=True)
    return {name: slope for name, slope in zip(parameters, found, strict=True) if slope is not None}


@pytest.fixture
def runs(monkeypatch) -> list[int]:
    """One entry for each pass that a question runs itself."""
    seen = []

    def counted(*args, **options):
        seen.append(1)
        return passes.run(*args, **options)

    monkeypatch.setattr(questions, "run", counted)
    return seen


@pytest.mark.parametrize("case", CASES)
def test_scores_and_gradients_are_those_of_a_pass_of_its_own(case, runs):
    method, options, trace, explicit = CASES[case]
    own, parameters = asked(False, trace, explicit)
    expected = method(own, **options)
    apart = slopes(expected.scores, parameters)
    runs.clear()
    question, parameters = asked(True, trace, explicit)
    found = method(question, **options)
    assert not runs
    assert torch.equal(found.features, question.shared.features)
    torch.testing.assert_close(found.scores, expected.scores, atol=1e-12, rtol=0)
    together = slopes(found.scores, parameters)
    assert together.keys() == apart.keys()
    for name, slope in together.items():
        torch.testing.assert_close(slope, apart[name], atol=1e-11, rtol=0)
    assert any(slope.abs().max() > 1e-6 for slope in together.values())


def test_rows_of_single_heads_come_of_the_shared_pass_too(runs):
    own, _ = asked(False, {}, False)
    shared, _ = asked(True, {"rows": (0, 1)}, False)
    expected = attention_rows(own, "all")[1]
    runs.clear()
    features, rows = attention_rows(shared, "all")
    assert not runs
    assert features is shared.shared.features
    torch.testing.assert_close(rows, expected, atol=1e-12, rtol=0)


def test_one_pass_serves_several_one_after_the_other(runs):
    question, parameters = asked(True, {"rows": (1,), "normed": (1,), "entered": (0,)}, True)
    scores = [
        attention(question).scores,
        gradcam(question, act="abs", alpha_grad=True).scores,
        gradcam(question).scores,
        gradient(question).scores,
        perturbation(question).scores,
    ]
    assert not runs
    together = slopes(sum(scores), parameters)
    assert all(slope.isfinite().all() for slope in together.values())
    assert any(slope.abs().max() > 1e-3 for slope in together.values())


@pytest.mark.parametrize(
    ("trace", "explicit", "method", "options"),
    [
        ({"rows": (0,)}, False, attention, {}),
        ({"rows": (1,)}, False, attention, {"rollout": True}),
        ({"normed": (0,)}, False, gradcam, {}),
        ({"normed": (1,)}, False, gradcam, {"alpha_grad": True}),
        ({"entered": (0,)}, False, gradient, {}),
        ({}, True, gradient, {}),
    ],
)  # fmt: skip
def test_what_the_shared_pass_lacks_is_run_anew(trace, explicit, method, options, runs):
    question, _ = asked(True, trace, explicit)
    found = method(question, **options)
    assert len(runs) == 1
    assert found.features is not question.shared.features
    runs.clear()
    expected = method(asked(False, {}, False)[0], **options)
    torch.testing.assert_close(found.scores, expected.scores, atol=1e-12, rtol=0)


@torch.no_grad()
def test_a_question_without_spans_to_take_out_is_its_pass_alone(runs):
    question, _ = asked(True, {}, False)
    answer = perturbation(replace(question, spans=((), (), (), ()), live=False))
    assert not answer.scores.any()
    assert torch.equal(answer.features, question.shared.features)
