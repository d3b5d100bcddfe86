"""captum as the oracle: its own programs on the same tower give the same numbers."""

import pytest
import torch
from torch.nn import functional as F

from attribution.small import family, picture
from clipsight.attribution import attribute
from clipsight.attribution.passes import run

attr = pytest.importorskip("captum.attr", reason="captum is the oracle; pip install captum")
CLOSE = {"atol": 2e-6, "rtol": 1e-4}
TOWERS = ["clip", "both ways, last", "class token", "transformers SigLIP"]


class Words(torch.nn.Module):
    """From token embeddings, or from ids, to the cosine with one picture."""

    def __init__(self, name):
        super().__init__()
        self.module, self.view, self.ids = family(name)
        self.parts, self.image = self.view.parts(), F.normalize(picture(self.view), dim=0)

    def score(self, features):
        return F.normalize(features, dim=-1) @ self.image

    def of_tokens(self, tokens, ids):
        return self.score(run(self.parts, ids, tokens=tokens))

    def of_ids(self, ids):
        return self.score(self.view.encode(ids))


@pytest.fixture(scope="module", params=TOWERS)
def words(request):
    return Words(request.param)


def test_integrated_gradients(words):
    tokens = words.parts.tokens(words.ids).detach()
    oracle = attr.IntegratedGradients(words.of_tokens)
    theirs, delta = oracle.attribute(
        tokens, torch.zeros_like(tokens), additional_forward_args=(words.ids,), n_steps=12,
        return_convergence_delta=True,
    )  # fmt: skip
    ours = attribute(words.view, words.ids, words.image, method="integrated_gradients", steps=12)
    torch.testing.assert_close(ours.scores, theirs.sum(-1).float(), **CLOSE)
    torch.testing.assert_close(ours.extras["residual"], delta.float(), atol=1e-6, rtol=1e-3)


def test_gradient_times_input(words):
    entered = words.parts.entered(words.parts.tokens(words.ids)).detach().requires_grad_()
    oracle = attr.InputXGradient(lambda x: words.score(run(words.parts, words.ids, entered=x)))
    theirs = oracle.attribute(entered).sum(-1)[:, : words.ids.shape[1]].detach()
    ours = attribute(words.view, words.ids, words.image, method="gradient", kind="input")
    torch.testing.assert_close(ours.scores, theirs, **CLOSE)
    for kind, expected in (("input_abs", theirs.abs()), ("input_pos", theirs.relu())):
        made = attribute(words.view, words.ids, words.image, method="gradient", kind=kind).scores
        torch.testing.assert_close(made, expected, **CLOSE)


def test_words_replaced_one_by_one(words):
    found = attribute(words.view, words.ids, words.image, method="perturbation", op="mask_token", mask_id=3)
    for text, row in enumerate(words.ids):
        mask = torch.zeros_like(row)
        content = found.content[text]
        mask[content] = torch.arange(1, int(content.sum()) + 1)
        oracle = attr.FeatureAblation(words.of_ids)
        theirs = oracle.attribute(
            row[None], baselines=torch.where(content, 3, row)[None], feature_mask=mask[None]
        )
        ours = found.scores[text] * content
        torch.testing.assert_close(ours, (theirs[0] * content).float(), **CLOSE)


def test_shapley_values(words):
    found = attribute(words.view, words.ids[:2], words.image, method="shapley", op="mask_token", mask_id=3)
    for text, row in enumerate(words.ids[:2]):
        content = found.content[text]
        if content.sum() > 4:
            continue  # captum goes through every order
        mask = torch.zeros_like(row)
        mask[content] = torch.arange(1, int(content.sum()) + 1)
        theirs = attr.ShapleyValues(words.of_ids).attribute(
            row[None], baselines=torch.where(content, 3, row)[None], feature_mask=mask[None]
        )
        torch.testing.assert_close(found.scores[text] * content, (theirs[0] * content).float(), **CLOSE)
    assert found.extras["efficiency"].abs().max() < 1e-6


def test_element_wise_grad_cam_at_the_norms_of_the_blocks():
    words = Words("clip")

    def library(ids):
        return words.score(words.module.encode_text(ids))

    for layer in range(3):
        norm = words.module.transformer.resblocks[layer].ln_1
        theirs = attr.LayerGradientXActivation(library, norm).attribute(words.ids).sum(-1)
        ours = attribute(
            words.view, words.ids, words.image, method="gradcam", layer=layer, elementwise=True, act="signed"
        )
        torch.testing.assert_close(ours.scores, theirs.detach(), **CLOSE)
