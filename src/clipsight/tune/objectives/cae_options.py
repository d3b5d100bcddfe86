"""Options of the CAE losses. Loads neither torch nor numpy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Loss = Literal["parity", "ratio", "share", "linear", "margin", "kl"]
Normalise = Literal["content", "all", "none"]
Reduce = Literal["mean", "sum"]
ObjectSide = Literal["live", "detach"]
Variant = Literal["ab", "gcb", "pb", "gb"]
VARIANTS: Mapping[Variant, str] = {
    "ab": "attention",
    "gcb": "gradcam",
    "pb": "perturbation",
    "gb": "gradient",
}
"""Variant -> the attribution it trains."""
_LAYERS = ("last", "ends", "all")


@dataclass(frozen=True, kw_only=True)
class CaeLossOptions:
    """Options of a CAE loss that several variants can share.

    None stands for the variant's own default. `composition_losses` defines the losses.

    Raises:
        ValueError: options that contradict each other.
    """

    loss: Loss = "parity"
    """Loss that compares the scores of composition words with those of object words."""

    rho: float = 1.0
    """Target ratio of composition score to object score, for the parity loss."""

    margin: float = 0.0
    """How far composition words must lead, for the margin loss."""

    normalise: Normalise = "content"
    """Divide scores by their sum over words (`content`) or over all positions (`all`); `none` keeps raw scores."""

    reduce: Reduce = "mean"
    """How the scores of several tokens become the score of their group."""

    object_side: ObjectSide | None = None
    """`detach` blocks the gradient that would lower object scores, `live` allows it. Defaults to `live` for ab, whose
    softmax makes words compete anyway, and to `detach` for the others."""

    split_rt: bool = False
    """Average one loss for relations and one for attributes instead of pooling the two."""

    act: Literal["softplus", "relu", "abs"] | None = None
    """Function that makes signed scores positive. Defaults to `softplus`, which keeps a gradient just below 0, for gcb,
    pb and first-order gb."""

    layers: str | int | Sequence[int] = "last"
    """ab: text blocks to read attention from: `last`, `ends`, `all`, or block numbers such as 0,5,11."""

    heads: Literal["mean", "max", "per_head"] = "mean"
    """ab: combine attention heads by mean or maximum, or average one loss per head."""

    rollout: bool = False
    """ab: use attention rollout."""

    layer: int = -1
    """gcb: text block to read; negative numbers count from the last block."""

    alpha_grad: bool = False
    """gcb: differentiate through the channel weights too (second order)."""

    elementwise: bool = False
    """gcb: weight each token by its own gradient."""

    gb: Literal["norm", "input_abs", "input_pos", "fd"] = "norm"
    """gb: gradient norm, gradient times input (absolute or positive part), or finite difference, which is first
    order."""

    eta: float = 1e-2
    """gb fd: step of the finite difference."""

    pb_op: Literal["zero_emb", "mask_token", "drop", "key_block"] = "zero_emb"
    """pb: how words are removed."""

    pb_score: Literal["similarity", "text"] = "similarity"
    """pb: score the loss of similarity to the image, or the change of the text feature."""

    granularity: Literal["group", "word_sample", "words"] = "group"
    """pb and gb fd: remove all words of a group at once, one random word per group and step, or each word by itself."""

    image_grad: bool = False
    """Let the gradient flow into the image feature."""

    shuffled: bool = False
    """Assign roles to words at random at every step: the control experiment."""

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if isinstance(self.layers, str) and self.layers not in _LAYERS:
            try:
                object.__setattr__(self, "layers", tuple(int(part) for part in self.layers.split(",")))
            except ValueError:
                raise ValueError(
                    f"layers is {self.layers!r}; give {', '.join(_LAYERS)}, or block numbers such as 0,5,11."
                ) from None
        if self.heads == "per_head" and self.rollout:
            raise ValueError(
                "heads is per_head, which rollout does not support: it combines the heads of each block."
            )


@dataclass(frozen=True, kw_only=True)
class CaeOptions(CaeLossOptions):
    """All options of one CAE loss.

    Raises:
        ValueError: an unknown variant, or options that contradict each other.
    """

    variant: Variant
    """Attribution to train: attention (`ab`), Grad-CAM (`gcb`), perturbation (`pb`) or gradients (`gb`)."""

    seed: int = 0
    """Seed of sampled words and shuffled roles."""

    def __post_init__(self) -> None:
        """Refuse what the variant cannot have."""
        super().__post_init__()
        if self.variant not in VARIANTS:
            raise ValueError(f"variant is {self.variant!r}; it is one of {', '.join(VARIANTS)}.")

    @property
    def side(self) -> ObjectSide:
        """`object_side`, or the variant's own default."""
        return self.object_side or ("live" if self.variant == "ab" else "detach")

    @property
    def takes_out(self) -> bool:
        """Whether scores are differences of features, with and without words."""
        return self.variant == "pb" or (self.variant == "gb" and self.gb == "fd")

    @property
    def explicit(self) -> bool:
        """Whether the pass must be differentiable twice."""
        return (self.variant == "gb" and self.gb != "fd") or (self.variant == "gcb" and self.alpha_grad)
