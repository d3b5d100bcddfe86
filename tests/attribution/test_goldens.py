"""Tensors of the authors' own programs for texts; rows that they make NaN (0 / 0) must be so here too."""

import pytest
import torch
from torch.nn import functional as F

from clipsight.attribution import attribute
from clipsight.attribution.attention import rolled_out
from clipsight.attribution.passes import Trace, run
from clipsight.towers.open_clip_text import OpenClipText
from goldens import agree, index, model, needs_goldens, tensors

pytestmark = needs_goldens


def view() -> OpenClipText:
    return OpenClipText(model())


def ids() -> torch.Tensor:
    return tensors("inputs")["token_ids"]


def picture(sign: int = 1) -> torch.Tensor:
    return sign * tensors("clip_raw")["img_native/cls_feature"][0]


def shares(found) -> torch.Tensor:
    """As the programs display them: words alone, divided by their sum; NaN where that is 0 / 0."""
    words = found.scores * found.content
    return words / words.sum(-1, keepdim=True)


def agree_where_finite(ours: torch.Tensor, method: str, tensor: str) -> int:
    """Compare the rows that are finite in the golden; the number of them. The others must be NaN here too."""
    golden, rule = tensors(method)[tensor], index()[method, tensor]["tolerance"]
    finite = golden.isfinite().all(-1)
    error = (ours - golden)[finite].abs()
    if finite.any():
        assert error.max() <= rule["atol"] + rule["rtol"] * golden[finite].abs().max()
    assert ours[~finite].isnan().any(-1).all()
    return int(finite.sum())


@pytest.mark.parametrize(
    ("name", "start", "sign"),
    [("last", -1, 1), ("last", -1, -1), ("last4", 8, 1), ("all", 0, 1), ("all", 0, -1)],
)
def test_chefer(name, start, sign):
    suffix = name + ("_negproj" if sign < 0 else "")
    scale = float(model().logit_scale.detach().exp())  # the authors explain logits
    found = attribute(view(), ids(), picture(sign), method="chefer", start_layer=start, scale=scale)
    agree(found.scores, "chefer_generic", f"img_native/text_relevance_eot_row_{suffix}")
    agree_where_finite(shares(found), "chefer_generic", f"img_native/text_scores_{suffix}")


@torch.no_grad()
def test_roll_out():
    parts, first = view().parts(), ids()[:1]
    trace = Trace(weights=range(12))
    run(parts, first, trace=trace)
    joint = rolled_out([trace["weights", layer].mean(1) for layer in range(12)])
    agree(joint, "rollout", "token_ids/text_rollout_all_text0")
    found = attribute(view(), first, method="attention", rollout=True)
    end = int(first[0].argmax())
    torch.testing.assert_close(found.scores[0], joint[0, end], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("version", ["notebook", "script"])
@pytest.mark.parametrize("last", [1, 8])
@pytest.mark.parametrize("sign", [1, -1])
def test_grad_eclip(version, last, sign):
    found = attribute(view(), ids(), picture(sign), method="grad_eclip", version=version, last=last)
    suffix = f"{version}_n{last}" + ("_negimage" if sign < 0 else "")
    compared = agree_where_finite(shares(found), "grad_eclip", f"img_native/text_scores_{suffix}")
    assert compared == 6 or sign > 0
    own = attribute(
        view(), ids(), picture(sign), method="grad_eclip", version=version, last=last, heads="own"
    )
    torch.testing.assert_close(own.scores, found.scores)  # this tower has one head


@pytest.mark.parametrize("text", [0, 1])
@pytest.mark.parametrize(
    ("name", "baseline", "rule", "steps"),
    [
        ("padtoken_gausslegendre32", "pad", "gauss_legendre", 32),
        ("padtoken_riemann_trapezoid20", "pad", "trapezoid", 20),
        ("zero_gausslegendre32", "zero", "gauss_legendre", 32),
    ],
)
def test_integrated_gradients(text, name, baseline, rule, steps):
    found = attribute(
        view(),
        ids()[[text]],
        picture(),
        method="integrated_gradients",
        baseline=baseline,
        rule=rule,
        steps=steps,
    )
    # captum's trapezoid has n points at a step of 1/n instead of 1/(n - 1): its weights sum to 1 - 1/n.
    short = 1 - 1 / steps if rule == "trapezoid" else 1.0
    agree(short * found.scores, "captum", f"img_native/ig_text{text}_{name}")
    whole = found.scores.sum(-1) - found.extras["residual"]
    theirs = tensors("captum")[f"img_native/ig_delta_text{text}_{name}"]
    torch.testing.assert_close(short * found.scores.sum(-1) - whole, theirs, atol=3e-6, rtol=0.1)


@pytest.mark.parametrize("text", [0, 1])
def test_word_ablation(text):
    one = ids()[[text]]
    end = int(one[0].argmax())
    alone = attribute(view(), one, picture(), method="perturbation", op="mask_token")
    agree(alone.scores, "captum", f"img_native/ablation_text{text}_one")
    pairs = [[list(range(place, min(place + 2, end))) for place in range(1, end, 2)]]
    found = attribute(
        view(), one, picture(), method="perturbation", op="mask_token", spans=pairs, divide=False
    )
    agree(found.scores, "captum", f"img_native/ablation_text{text}_pairs")


@torch.no_grad()
def test_similarity_is_that_of_the_model():
    found = attribute(view(), ids(), picture(), method="attention")
    cosines = F.normalize(tensors("clip_raw")["token_ids/text_features"], dim=-1) @ F.normalize(
        picture(), dim=0
    )
    torch.testing.assert_close(found.similarity, cosines, atol=1e-6, rtol=1e-4)
