"""The plain symmetric contrastive loss of CLIP, and the sigmoid loss of SigLIP."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from clipsight.attribution.match import exact
from clipsight.tune.objectives.objective import BaseObjective, Scope, StepFeatures, Terms


def similarity_logits(features: StepFeatures) -> Float[Tensor, "B B"]:
    """Scaled cosines of every picture (rows) with every text, at least in float32."""
    image, text = F.normalize(exact(features.image), dim=-1), F.normalize(exact(features.text), dim=-1)
    logits = features.scale * image @ text.T
    return logits if features.bias is None else logits + features.bias


def info_nce(logits: Float[Tensor, "B B"]) -> Float[Tensor, ""]:
    """Mean of the cross-entropies of rows and columns, the diagonal being true (arXiv 2103.00020)."""
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def sigmoid_loss(logits: Float[Tensor, "B B"]) -> Float[Tensor, ""]:
    """Every pair by itself, true or false; the sum over pairs divided by B (arXiv 2303.15343)."""
    signs = 2 * torch.eye(len(logits), device=logits.device, dtype=logits.dtype) - 1
    return -F.logsigmoid(signs * logits).sum() / len(logits)


class Contrastive(BaseObjective):
    """Which picture belongs to which text of the batch?

    Args:
        kind: "softmax", "sigmoid", or None: sigmoid for models that have a logit bias.
    """

    name = "contrastive"
    scope: Scope = "features"

    def __init__(self, kind: Literal["softmax", "sigmoid"] | None = None) -> None:
        self.kind = kind

    def loss(self, given: StepFeatures) -> Terms:
        """The loss, and how often the own text is the nearest."""
        logits = similarity_logits(given)
        kind = self.kind or ("softmax" if given.bias is None else "sigmoid")
        loss = info_nce(logits) if kind == "softmax" else sigmoid_loss(logits)
        hit = (logits.detach().argmax(1) == torch.arange(len(logits), device=logits.device)).float().mean()
        return Terms(loss=loss, log={"batch_top1": hit})

    def export(self) -> dict[str, str]:
        """What it is."""
        return {"loss": self.kind or "softmax (sigmoid for models with a logit bias)"}
