"""Losses with false captions: in the contrastive denominators (NegCLIP), each picture with its own alone (FSC-CLIP).

NegCLIP (Yuksekgonul et al., ICLR 2023): L = ½ (CE over [all true, all false texts] for each image + CE over all images
for each true text). FSC-CLIP (Oh et al., EMNLP 2024, arXiv 2410.05210): z = logits over an image's [own text, own false
texts], p = softmax(z), n = how many there are, y₀ = 1 − β + β/n, y_k = β/n, L = Σ_k y_k (1 − p_k)^γ (−log p_k),
averaged over the images that have a false text. With β = γ = 0 that is the term of TSVLC and DeGLA.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from clipsight.attribution.match import exact
from clipsight.errors import Unsupported
from clipsight.towers.view import TextView
from clipsight.tune.objectives.contrastive import sigmoid_loss
from clipsight.tune.objectives.objective import BaseObjective, Needs, Scope, StepFeatures, Terms

DEFAULT_KINDS = ("swap", "replace", "shuffle")


def negative_contrastive(
    logits: Float[Tensor, "B B"], foil_logits: Float[Tensor, "B F"], foil_valid: Bool[Tensor, " F"]
) -> Float[Tensor, ""]:
    """NegCLIP's loss: InfoNCE whose image side also has the false texts of the whole batch to choose from.

    Args:
        logits: scaled cosines of images (rows) and true texts. foil_logits: of the same images and all false texts.
        foil_valid: which false texts are there; the others are in no denominator.
    """
    own = torch.arange(len(logits), device=logits.device)
    texts = torch.cat((logits, foil_logits.masked_fill(~foil_valid, -torch.inf)), dim=1)
    return (F.cross_entropy(texts, own) + F.cross_entropy(logits.mT, own)) / 2


def negative_sigmoid(
    logits: Float[Tensor, "B B"], foil_logits: Float[Tensor, "B F"], foil_valid: Bool[Tensor, " F"]
) -> Float[Tensor, ""]:
    """SigLIP's loss with every pair of an image and a false text as a further pair that does not match, summed / B.

    The logits have the model's bias in them. No paper; it is NegCLIP's idea in SigLIP's loss.
    """
    apart = F.logsigmoid(-foil_logits).masked_fill(~foil_valid, 0.0)
    return sigmoid_loss(logits) - apart.sum() / len(logits)


def own_focal(
    own: Float[Tensor, " B"],
    foil: Float[Tensor, "B k"],
    foil_valid: Bool[Tensor, "B k"],
    *,
    gamma: float = 2.0,
    smoothing: float = 0.02,
) -> Float[Tensor, " B"]:
    """FSC-CLIP's term of each image, exactly 0 where it has no false text; see the head of this file.

    Args:
        own: scaled cosine of each image and its own text. foil: of the image and its false texts.
        foil_valid: which of them are there.
        gamma: γ, 0 or from 1 up. smoothing: β, from 0 to below 1.
    """
    there = F.pad(foil_valid, (1, 0), value=True)
    scores = torch.cat((own[:, None], foil), dim=1).masked_fill(~there, -torch.inf)
    logp = scores.log_softmax(dim=1).masked_fill(~there, 0.0)
    present = there.to(scores.dtype)
    target = smoothing * present / present.sum(dim=1, keepdim=True)
    target[:, 0] += 1 - smoothing
    return -(target * (-torch.expm1(logp)) ** gamma * logp).sum(dim=1)


def own_hinge(
    own: Float[Tensor, " B"],
    foil: Float[Tensor, "B k"],
    foil_valid: Bool[Tensor, "B k"],
    *,
    margin: float = 0.2,
) -> Float[Tensor, " B"]:
    """max(0, margin + s⁻ − s⁺) of each image, mean over its false texts, exactly 0 where it has none.

    Args:
        own: cosine of each image and its own text. foil: of the image and its false texts. margin: in cosines.
    """
    short = F.relu(margin + foil - own[:, None]).masked_fill(~foil_valid, 0.0)
    return short.sum(dim=1) / foil_valid.sum(dim=1).clamp_min(1)


class NegativeContrastive(BaseObjective):
    """The contrastive loss with false captions; it replaces the plain one.

    Args:
        kind: "softmax" (NegCLIP), "sigmoid", or None: sigmoid for models that have a logit bias.
        foils: false captions of each example. foil_kinds: see `clipsight.tune.foils`.

    Raises:
        ValueError: another kind.
    """

    name: str = "contrastive_negatives"
    scope: Scope = "features"

    def __init__(
        self,
        kind: Literal["softmax", "sigmoid"] | None = None,
        *,
        foils: int = 1,
        foil_kinds: tuple[str, ...] = DEFAULT_KINDS,
    ) -> None:
        if kind not in ("softmax", "sigmoid", None):
            raise ValueError(f'kind is {kind!r}; it is "softmax", "sigmoid", or None to go by the model.')
        self.kind, self.foils, self.foil_kinds = kind, foils, foil_kinds

    def needs(self, view: TextView) -> Needs:
        """False captions."""
        return Needs(foils=self.foils, foil_kinds=self.foil_kinds)

    def loss(self, given: StepFeatures) -> Terms:
        """NegCLIP's loss, or SigLIP's with false texts where the model has a bias."""
        image, text, foils, valid = _units(given, self.foils)
        flat, there = rearrange(foils, "B k E -> (B k) E"), rearrange(valid, "B k -> (B k)")
        bias = 0.0 if given.bias is None else given.bias
        logits, foil_logits = given.scale * image @ text.mT + bias, given.scale * image @ flat.mT + bias
        kind = self.kind or ("softmax" if given.bias is None else "sigmoid")
        made = (negative_contrastive if kind == "softmax" else negative_sigmoid)(logits, foil_logits, there)
        own, foil = (image * text).sum(-1), einsum(image, foils, "B E, B k E -> B k")
        hit = logits.argmax(1) == torch.arange(len(logits), device=logits.device)
        return Terms(loss=made, log={"batch_top1": hit.float().mean(), **_shares(own, foil, valid)})

    def export(self) -> Mapping[str, Any]:
        """Its settings."""
        loss = self.kind or "softmax (sigmoid for models with a logit bias)"
        return {"loss": loss, "foils": self.foils, "foil_kinds": list(self.foil_kinds)}


class OwnNegatives(BaseObjective):
    """Each picture with its own caption and that caption's false ones alone; it is added to a contrastive loss.

    Args:
        form: "focal", on scaled cosines (γ = β = 0 is plain cross-entropy), or "hinge", on cosines.
        gamma: γ of "focal": 0, or from 1 up; between them its gradient is infinite where a caption is certain.
        smoothing: β of "focal", from 0 to below 1.
        margin: of "hinge", in cosines.
        foils: false captions of each example. foil_kinds: see `clipsight.tune.foils`.

    Raises:
        ValueError: another form, or a number out of its range.
    """

    name: str = "own_negatives"
    scope: Scope = "features"

    def __init__(
        self,
        *,
        form: Literal["focal", "hinge"] = "focal",
        gamma: float = 2.0,
        smoothing: float = 0.02,
        margin: float = 0.2,
        foils: int = 3,
        foil_kinds: tuple[str, ...] = DEFAULT_KINDS,
    ) -> None:
        if form not in ("focal", "hinge"):
            raise ValueError(f'form is {form!r}; it is "focal" or "hinge".')
        if not (gamma == 0 or gamma >= 1) or not 0 <= smoothing < 1 or margin < 0:
            raise ValueError(
                f"gamma={gamma}, smoothing={smoothing}, margin={margin}: gamma is 0 or at least 1, smoothing from 0 "
                "to below 1, margin not negative; the published values are gamma=2, smoothing=0.02."
            )
        self.form, self.gamma, self.smoothing, self.margin = form, gamma, smoothing, margin
        self.foils, self.foil_kinds = foils, foil_kinds

    def needs(self, view: TextView) -> Needs:
        """False captions."""
        return Needs(foils=self.foils, foil_kinds=self.foil_kinds)

    def loss(self, given: StepFeatures) -> Terms:
        """Mean over the images that have a false caption; 0 with its graph where none has one."""
        image, text, foils, valid = _units(given, self.foils)
        own, foil = (image * text).sum(-1), einsum(image, foils, "B E, B k E -> B k")
        if self.form == "hinge":
            each = own_hinge(own, foil, valid, margin=self.margin)
        else:
            scale = given.scale
            each = own_focal(scale * own, scale * foil, valid, gamma=self.gamma, smoothing=self.smoothing)
        return Terms(loss=each.sum() / valid.any(dim=1).sum().clamp_min(1), log=_shares(own, foil, valid))

    def export(self) -> Mapping[str, Any]:
        """Its settings."""
        numbers = {"gamma": self.gamma, "smoothing": self.smoothing}
        if self.form == "hinge":
            numbers = {"margin": self.margin}
        return {"form": self.form, **numbers, "foils": self.foils, "foil_kinds": list(self.foil_kinds)}


def _units(
    given: StepFeatures, count: int
) -> tuple[Float[Tensor, "B E"], Float[Tensor, "B E"], Float[Tensor, "B k E"], Bool[Tensor, "B k"]]:
    """Unit features at least in float32: images, texts, the first `count` false texts, and which of these are there.

    Another objective may have asked for more. False texts that are not there are replaced before they are used:
    whatever fills their rows, no NaN comes of it.
    """
    if given.foils is None or given.foil_valid is None:
        raise Unsupported(
            "a loss with false captions was asked for a batch that has none encoded: its features have foils=None. "
            'Give the data foils, with FoilMaker(kinds=("swap", "replace"), count=1) for one made of each caption.'
        )
    valid = given.foil_valid[:, :count]
    foils = given.foils[:, :count].masked_fill(~valid[..., None], 1.0)
    image, text, false = (F.normalize(exact(one), dim=-1) for one in (given.image, given.text, foils))
    return image, text, false, valid


def _shares(own: Tensor, foil: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """For the log: how many of the false captions are there, and how many of these score below the true one."""
    below = ((foil < own[:, None]) & valid).sum() / valid.sum().clamp_min(1)
    return {"foils_valid": valid.float().mean(), "foils_below": below}
