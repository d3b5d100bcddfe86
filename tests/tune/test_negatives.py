"""Losses with false captions: the numbers of the reference, the formulas written out, and what invalid ones do."""

import math

import pytest
import torch
from tests.tiny import tiny_clip
from torch.nn import functional as F

from clipsight.errors import Unsupported
from clipsight.towers.open_clip_text import OpenClipText
from clipsight.tune.objectives.contrastive import Contrastive, info_nce
from clipsight.tune.objectives.negatives import (
    NegativeContrastive,
    OwnNegatives,
    negative_contrastive,
    negative_sigmoid,
    own_focal,
    own_hinge,
)
from clipsight.tune.objectives.objective import Objective, StepFeatures

LOGITS = 10 * torch.tensor([[0.3, 0.1], [0.2, 0.4]], dtype=torch.float64)
FOIL_LOGITS = 10 * torch.tensor([[0.25, 0.05], [0.1, 0.35]], dtype=torch.float64)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def features(
    batch: int = 4, k: int = 3, *, valid: torch.Tensor | None = None, bias: float | None = None
) -> StepFeatures:
    there = torch.ones(batch, k, dtype=torch.bool) if valid is None else valid
    return StepFeatures(
        image=drawn(batch, 8).requires_grad_(),
        text=drawn(batch, 8, seed=1).requires_grad_(),
        scale=torch.tensor(7.0, dtype=torch.float64, requires_grad=True),
        foils=drawn(batch, k, 8, seed=2).requires_grad_(),
        foil_valid=there,
        bias=None if bias is None else torch.tensor(bias, dtype=torch.float64),
    )


def graded(loss: torch.Tensor, given: StepFeatures) -> list[torch.Tensor]:
    assert given.foils is not None
    return list(
        torch.autograd.grad(loss, [given.image, given.text, given.foils, given.scale], allow_unused=True)
    )


def test_golden_numbers():
    there = torch.ones(2, dtype=torch.bool)
    assert info_nce(LOGITS).item() == pytest.approx(0.153926, abs=5e-7)
    assert negative_contrastive(LOGITS, FOIL_LOGITS, there).item() == pytest.approx(0.386498, abs=5e-7)
    z = torch.tensor([[2.0, 1.0, 0.5]], dtype=torch.float64)
    each = own_focal(z[:, 0], z[:, 1:], torch.ones(1, 2, dtype=torch.bool), gamma=2.0, smoothing=0.02)
    assert each.item() == pytest.approx(0.078673, abs=5e-7)


def test_invalid_foils_are_in_no_denominator():
    one = torch.tensor([True, False])
    cut = negative_contrastive(LOGITS, FOIL_LOGITS[:, :1], torch.tensor([True]))
    assert torch.equal(negative_contrastive(LOGITS, FOIL_LOGITS, one), cut)
    assert torch.equal(negative_contrastive(LOGITS, FOIL_LOGITS, ~one & one), info_nce(LOGITS))
    whole = negative_sigmoid(LOGITS, FOIL_LOGITS, one)
    written = -(
        sum(F.logsigmoid(LOGITS[i, j] * (1 if i == j else -1)) for i in range(2) for j in range(2))
        + sum(F.logsigmoid(-FOIL_LOGITS[i, 0]) for i in range(2))
    )
    assert whole.item() == pytest.approx(written.item() / 2, abs=1e-12)


@pytest.mark.parametrize(("gamma", "smoothing"), [(0.0, 0.0), (2.0, 0.02), (1.0, 0.3)])
def test_own_focal_is_the_formula(gamma: float, smoothing: float):
    z, valid = drawn(4, 4), torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]], dtype=torch.bool)
    found = own_focal(z[:, 0], z[:, 1:], valid, gamma=gamma, smoothing=smoothing)
    for row in range(4):
        kept = [z[row, 0].item()] + [z[row, 1 + k].item() for k in range(3) if valid[row, k]]
        n, total = len(kept), sum(math.exp(value) for value in kept)
        written = 0.0
        for k, value in enumerate(kept):
            p, y = math.exp(value) / total, smoothing / n + (1 - smoothing if k == 0 else 0)
            written -= y * (1 - p) ** gamma * math.log(p)
        assert found[row].item() == pytest.approx(written, abs=1e-12)
    assert found[3].item() == 0


def test_own_focal_without_focus_is_cross_entropy():
    z, there = drawn(5, 3), torch.ones(5, 2, dtype=torch.bool)
    each = own_focal(z[:, 0], z[:, 1:], there, gamma=0.0, smoothing=0.0)
    torch.testing.assert_close(each, F.cross_entropy(z, torch.zeros(5, dtype=torch.long), reduction="none"))


def test_own_hinge_is_the_formula():
    own, foil = torch.tensor([0.5, 0.5]), torch.tensor([[0.4, 0.1], [0.6, 0.9]])
    valid = torch.tensor([[True, True], [True, False]])
    torch.testing.assert_close(own_hinge(own, foil, valid, margin=0.2), torch.tensor([0.05, 0.3]))


@pytest.mark.parametrize(
    "objective",
    [
        NegativeContrastive(foils=3),
        NegativeContrastive("sigmoid", foils=3),
        OwnNegatives(),
        OwnNegatives(gamma=0.0, smoothing=0.0),
        OwnNegatives(form="hinge", margin=0.7),
    ],
    ids=["negclip", "sigmoid", "focal", "plain", "hinge"],
)
class TestEveryObjective:
    def test_it_is_an_objective(self, objective: Objective):
        assert isinstance(objective, Objective)
        needs = objective.needs(OpenClipText(tiny_clip()))
        assert (needs.foils, needs.foil_kinds) == (3, ("swap", "replace", "shuffle"))
        assert objective.export()["foils"] == 3

    def test_its_gradient_is_that_of_finite_differences(self, objective: Objective):
        valid = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0]], dtype=torch.bool)
        base = features(3, valid=valid)
        assert base.foils is not None

        def loss(image, text, foils, scale):
            return objective.loss(
                StepFeatures(image=image, text=text, foils=foils, scale=scale, foil_valid=valid)
            ).loss

        assert torch.autograd.gradcheck(loss, (base.image, base.text, base.foils, base.scale))

    def test_what_fills_the_place_of_missing_foils_does_not_matter(self, objective: Objective):
        valid = torch.tensor([[1, 1, 0], [0, 0, 0], [1, 0, 1], [1, 1, 1]], dtype=torch.bool)
        given = features(valid=valid)
        assert given.foils is not None
        loss = objective.loss(given)
        grads = graded(loss.loss, given)
        for filling in (0.0, math.nan, math.inf, -3.0):
            filled = given.foils.detach().masked_fill(~valid[..., None], filling).requires_grad_()
            other = StepFeatures(
                image=given.image, text=given.text, scale=given.scale, foils=filled, foil_valid=valid
            )
            again = objective.loss(other)
            assert torch.equal(again.loss, loss.loss)
            found = graded(again.loss, other)
            for one, two in zip(found, grads, strict=True):
                assert (one is None) == (two is None)
                assert one is None or torch.equal(one, two)
            assert not found[2][~valid].any()

    def test_the_order_of_the_batch_does_not_matter(self, objective: Objective):
        valid = torch.tensor([[1, 1, 0], [0, 0, 0], [1, 0, 1], [1, 1, 1]], dtype=torch.bool)
        given, order = features(valid=valid), torch.tensor([2, 0, 3, 1])
        assert given.foils is not None
        turned = StepFeatures(
            image=given.image[order],
            text=given.text[order],
            foils=given.foils[order],
            foil_valid=valid[order],
            scale=given.scale,
        )
        torch.testing.assert_close(objective.loss(turned).loss, objective.loss(given).loss)

    def test_half_precision_gives_a_finite_float32_loss(self, objective: Objective):
        given = features()
        assert given.foils is not None
        half = StepFeatures(
            image=given.image.half() * 200,
            text=given.text.half() * 200,
            foils=given.foils.half() * 200,
            foil_valid=given.foil_valid,
            scale=torch.tensor(100.0),
        )
        loss = objective.loss(half).loss
        assert loss.dtype == torch.float32
        assert torch.isfinite(loss)

    def test_features_without_foils_are_refused(self, objective: Objective):
        given = features()
        bare = StepFeatures(image=given.image, text=given.text, scale=given.scale)
        with pytest.raises(Unsupported, match="none encoded"):
            objective.loss(bare)


@pytest.mark.parametrize("form", ["focal", "hinge"])
def test_without_a_valid_foil_the_own_term_is_an_exact_zero_with_its_graph(form: str):
    given = features(valid=torch.zeros(4, 3, dtype=torch.bool))
    terms = OwnNegatives(form=form).loss(given)
    assert terms.loss.item() == 0
    image, text, foils, _ = graded(terms.loss, given)
    assert not image.any()
    assert not text.any()
    assert not foils.any()
    assert terms.log["foils_valid"] == 0


def test_images_without_foils_do_not_thin_out_the_mean():
    valid = torch.tensor([[1, 1, 1], [1, 1, 0], [0, 0, 0], [0, 0, 0]], dtype=torch.bool)
    given = features(valid=valid)
    assert given.foils is not None
    two = StepFeatures(
        image=given.image[:2],
        text=given.text[:2],
        foils=given.foils[:2],
        foil_valid=valid[:2],
        scale=given.scale,
    )
    torch.testing.assert_close(OwnNegatives().loss(given).loss, OwnNegatives().loss(two).loss)


def test_without_valid_foils_the_contrastive_loss_is_the_plain_one():
    for bias in (None, -3.0):
        given = features(valid=torch.zeros(4, 3, dtype=torch.bool), bias=bias)
        plain = Contrastive().loss(given)
        made = NegativeContrastive().loss(given)
        torch.testing.assert_close(made.loss, plain.loss.to(made.loss.dtype), rtol=1e-5, atol=1e-6)
        assert torch.equal(made.log["batch_top1"], plain.log["batch_top1"])


def test_an_objective_takes_no_more_foils_than_it_asked_for():
    given = features()
    assert given.foils is not None
    assert given.foil_valid is not None
    first = StepFeatures(
        image=given.image,
        text=given.text,
        foils=given.foils[:, :1],
        foil_valid=given.foil_valid[:, :1],
        scale=given.scale,
    )
    assert torch.equal(
        NegativeContrastive(foils=1).loss(given).loss, NegativeContrastive(foils=3).loss(first).loss
    )


def test_the_log_says_how_many_foils_there_are_and_how_many_score_below():
    image = torch.eye(2, dtype=torch.float64)
    foils = torch.stack((0.9 * image + 0.1 * image.flip(0), image * 2, image.flip(0)), dim=1)
    text = torch.tensor([[1.0, 0.3], [0.3, 1.0]], dtype=torch.float64)
    valid = torch.tensor([[1, 1, 1], [0, 0, 1]], dtype=torch.bool)
    given = StepFeatures(
        image=image, text=text, foils=foils, foil_valid=valid, scale=torch.tensor(1.0).double()
    )
    log = OwnNegatives().loss(given).log
    assert log["foils_valid"].item() == pytest.approx(4 / 6)
    assert log["foils_below"].item() == pytest.approx(2 / 4)  # the third of each; the first two are nearer
    assert not any(value.requires_grad for value in NegativeContrastive().loss(features()).log.values())


def test_training_on_the_own_term_pushes_foils_below():
    torch.manual_seed(0)
    given = features(6)
    text, foils = given.text.detach().requires_grad_(), given.foils.detach().requires_grad_()
    optimizer = torch.optim.Adam([text, foils], lr=0.05)
    objective = OwnNegatives()

    def terms():
        return objective.loss(
            StepFeatures(
                image=given.image.detach(),
                text=text,
                foils=foils,
                foil_valid=given.foil_valid,
                scale=torch.tensor(10.0).double(),
            )
        )

    before = terms()
    for _ in range(40):
        optimizer.zero_grad()
        terms().loss.backward()
        optimizer.step()
    after = terms()
    assert before.log["foils_below"] < 0.9
    assert after.log["foils_below"] == 1
    assert after.loss < before.loss / 5


@pytest.mark.parametrize(
    "wrong", [{"gamma": 0.5}, {"smoothing": 1.0}, {"margin": -0.1}, {"form": "triplet"}], ids=str
)
def test_wrong_settings_are_refused(wrong: dict):
    from tests.tiny import past_type_checks

    with past_type_checks(), pytest.raises(ValueError, match=r"gamma=|form is"):
        OwnNegatives(**wrong)
