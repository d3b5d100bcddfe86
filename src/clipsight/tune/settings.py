"""Everything about a run that is not a loss or data."""

from dataclasses import dataclass
from typing import Literal

from clipsight.tune.schedule import SCHEDULES
from clipsight.tune.tuned import Which


@dataclass(frozen=True, kw_only=True)
class TuneSettings:
    """How a model is tuned. The defaults are those of tuning ViT-B/32 on COCO (110,000 pairs, batch 256, 5 epochs).

    Attributes:
        epochs: how often all examples are seen; steps: how many steps, instead.
        batch: pairs of a step, all processes together: what the contrastive loss compares.
        micro_batches: each process runs its share in so many parts, with the gradient of the whole: less memory.
        lr, warmup, schedule, weight_decay, beta2, clip: of AdamW; a clip of 0 shortens no gradient.
        precision: "bf16" or "fp32"; losses, attributions and what is differentiated twice are float32 in both.
        seed: of everything that is drawn.
        train: "full", "text", "vision", "layernorm" or "lora". lora_rank, lora_alpha: of "lora"; an alpha of None is
            the rank. train_scale: the logit scale trains too.
        patch_dropout: share of patches left out in training.
        calibrate: batches that open weights are measured on.
        workers: processes that make batches.
        save_every, log_every, ratio_every, validate_every: steps between checkpoints, log rows, measures of gradients,
            validations.
        validate: examples that are kept apart to be validated on; 0 for none.
        patience: end the run when `patience` validations in a row were no better; 0 goes on.
        max_seconds: end the run after so long; what was reached is kept, and the same command goes on.
        tensorboard: also write TensorBoard's files.

    Raises:
        ValueError: a number out of its range.
    """

    epochs: float = 5.0
    steps: int | None = None
    batch: int = 256
    micro_batches: int = 1
    lr: float = 1e-6
    warmup: int = 50
    schedule: Literal["cosine", "constant"] = "cosine"
    weight_decay: float = 0.2
    beta2: float = 0.98
    clip: float = 0.0
    precision: Literal["bf16", "fp32"] = "bf16"
    seed: int = 0
    train: Which = "full"
    lora_rank: int = 4
    lora_alpha: float | None = None
    train_scale: bool = True
    patch_dropout: float = 0.0
    calibrate: int = 20
    workers: int = 0
    save_every: int = 100
    log_every: int = 10
    ratio_every: int = 50
    validate: int = 0
    validate_every: int = 100
    patience: int = 0
    max_seconds: float | None = None
    tensorboard: bool = False

    def __post_init__(self) -> None:
        """Refuse what no run can have."""
        least = {"batch": 2, "micro_batches": 1, "warmup": 0, "calibrate": 1, "save_every": 1, "log_every": 1}
        least |= {
            "ratio_every": 0,
            "validate": 0,
            "validate_every": 1,
            "patience": 0,
            "workers": 0,
            "clip": 0,
        }
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} is {getattr(self, name)}; it is at least {bound}.")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps is {self.steps}; give 1 or more, or leave it out and give epochs.")
        if not self.epochs > 0 or not self.lr > 0:
            raise ValueError(f"epochs is {self.epochs} and lr {self.lr}; both lie above 0.")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule is {self.schedule!r}; it is one of {', '.join(SCHEDULES)}.")
        if self.precision not in ("bf16", "fp32"):
            raise ValueError(f'precision is {self.precision!r}; it is "bf16" or "fp32".')
        if self.patience and not self.validate:
            raise ValueError("patience looks at validations, and validate is 0; give validate=500, say.")

    def steps_of(self, examples: int) -> int:
        """Steps of a run over so many examples, those that are kept apart among them.

        Raises:
            ValueError: nothing is left to train on.
        """
        left = examples - self.validate
        if left < 1:
            raise ValueError(
                f"validate is {self.validate} and there are {examples} examples, so none is left to train on; keep "
                "fewer apart, or give more data."
            )
        return self.steps or max(1, round(self.epochs * (left // self.batch)))
