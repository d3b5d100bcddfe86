"""Everything about a run that is neither a loss nor data. Loads neither torch nor numpy."""

from dataclasses import dataclass
from typing import Literal, get_args

from clipsight.tune.schedule import SCHEDULES

Which = Literal["full", "text", "vision", "layernorm", "lora"]
WHICH: tuple[Which, ...] = get_args(Which)


@dataclass(frozen=True, kw_only=True)
class TuneSettings:
    """How a model is tuned. The defaults suit ViT-B/32 on COCO (110,000 pairs, batch 256, 5 epochs).

    Raises:
        ValueError: a number is out of range, or two settings contradict each other.
    """

    epochs: float = 5.0
    """Number of passes over the data."""

    steps: int | None = None
    """Number of optimizer steps; overrides the number of epochs."""

    batch: int = 256
    """Pairs per step, summed over all processes. The contrastive loss compares these."""

    micro_batches: int = 1
    """Split each batch into this many micro-batches to save memory. The gradient is that of the whole batch."""

    lr: float = 1e-6
    """Peak learning rate. The default suits ViT-B/32; use 1e-4 for `clipsight-tiny`."""

    warmup: int = 50
    """Steps of linear warm-up."""

    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning-rate schedule after the warm-up."""

    weight_decay: float = 0.2
    """Weight decay of weight matrices. Norms, biases and the logit scale are not decayed."""

    beta2: float = 0.98
    """AdamW's second beta."""

    clip: float = 0.0
    """Maximum gradient norm; 0 disables clipping."""

    precision: Literal["bf16", "fp32"] = "bf16"
    """Precision of the towers. Losses, attributions and second derivatives are always float32."""

    seed: int = 0
    """Seed of everything random."""

    train: Which = "full"
    """Which parameters to train."""

    lora_rank: int = 4
    """Rank of the LoRA adapters."""

    lora_alpha: float | None = None
    """LoRA's alpha. Defaults to the rank."""

    train_scale: bool = True
    """Train the logit scale too."""

    patch_dropout: float = 0.0
    """Fraction of image patches to drop at each training step."""

    calibrate: int = 20
    """Batches used to choose the loss weights that were not given."""

    workers: int = 0
    """Processes that load data; 0 loads in the main process."""

    save_every: int = 100
    """Steps between checkpoints."""

    log_every: int = 10
    """Steps between log rows."""

    ratio_every: int = 50
    """Steps between measurements of each loss's gradient; 0 disables them."""

    validate: int = 0
    """Pairs to hold out for validation."""

    validate_every: int = 100
    """Steps between validations."""

    patience: int = 0
    """Stop after this many validations in a row without improvement; 0 never stops early."""

    max_seconds: float | None = None
    """Stop after this many seconds. Run the same command again to continue."""

    tensorboard: bool = False
    """Also write TensorBoard event files."""

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
