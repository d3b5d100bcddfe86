"""What runs of `tune` are tested with: a model of two blocks a tower, and two dozen scenes of the emoji world."""

from functools import cache
from pathlib import Path
from typing import Any

import torch

from clipsight.checkpoints.folder import write_model_folder
from clipsight.tune import (
    Cae,
    CaeOptions,
    Contrastive,
    TunedModel,
    TuneSettings,
    WeightedObjective,
    open_examples,
    tune,
)
from clipsight.tune.data.example import Examples
from tiny import tiny_clip

WORLD = "world:7:24"
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
VISION = {"image_size": 32, "patch_size": 16, "width": 16, "head_width": 8, "layers": 2}
CFG = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT, "quick_gelu": True}
PICTURES = {"size": 32, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1], "interpolation": "bilinear"}
QUICK = {"steps": 4, "batch": 8, "lr": 1e-3, "warmup": 1, "calibrate": 1, "log_every": 1, "precision": "fp32"}


def small_folder(folder: Path, seed: int = 0) -> str:
    """A model as `load` and `tune` take it; milliseconds a step."""
    model = tiny_clip(seed, embed_dim=16, text=TEXT, **VISION)
    write_model_folder(folder, model, CFG, PICTURES, {}, torch.float32)
    return f"local-dir:{folder}"


@cache
def pairs(name: str = WORLD) -> Examples:
    """Two hundred captions of two dozen scenes."""
    return open_examples(name)


def contrastive() -> WeightedObjective:
    return WeightedObjective(objective=Contrastive(), weight=1.0)


def cae(
    variant: Any, weight: float | None = None, ratio: float = 0.3, ramp: float = 0.1, **options: Any
) -> WeightedObjective:
    objective = Cae(CaeOptions(variant=variant, **options))
    return WeightedObjective(objective=objective, weight=weight, ratio=ratio, ramp=ramp)


def small_run(model: Any, out: Path, *terms: WeightedObjective, **settings: Any) -> TunedModel:
    """A run on the CPU; what are no settings goes to `tune`."""
    beside = ("crop", "matching", "facts", "overwrite", "on_row", "stop_rules", "examples")
    given = {name: settings.pop(name) for name in beside if name in settings}
    examples = given.pop("examples", None) or pairs()
    chosen = TuneSettings(**{**QUICK, **settings})
    return tune(model, examples, list(terms), out, settings=chosen, device="cpu", **given)


def stop_after(step: int) -> Any:
    """A rule that ends a run at a step."""
    return lambda rows: "enough" if rows[-1]["step"] >= step else ""
