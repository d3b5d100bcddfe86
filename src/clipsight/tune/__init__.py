"""Fine-tuning: make a model attend to relations and attributes, and measure the effect.

Names load what they need on first use, so that the options of a run can be read without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipsight.tune.data.opening import open_examples
    from clipsight.tune.data.options import DataOptions, Matching
    from clipsight.tune.interpolation import interpolate, knee, soup, wise_ft_sweep
    from clipsight.tune.loss_options import LossOptions
    from clipsight.tune.model_card import TuneFacts
    from clipsight.tune.objectives.cae import Cae
    from clipsight.tune.objectives.cae_options import CaeOptions
    from clipsight.tune.objectives.contrastive import Contrastive
    from clipsight.tune.objectives.distill import Distill
    from clipsight.tune.objectives.negatives import NegativeContrastive, OwnNegatives
    from clipsight.tune.objectives.objective import Objective
    from clipsight.tune.objectives.weighted import WeightedObjective
    from clipsight.tune.run import TunedModel, tune
    from clipsight.tune.settings import TuneSettings

_HOME = {
    "Cae": "objectives.cae",
    "CaeOptions": "objectives.cae_options",
    "Contrastive": "objectives.contrastive",
    "DataOptions": "data.options",
    "Distill": "objectives.distill",
    "LossOptions": "loss_options",
    "Matching": "data.options",
    "NegativeContrastive": "objectives.negatives",
    "Objective": "objectives.objective",
    "OwnNegatives": "objectives.negatives",
    "TuneFacts": "model_card",
    "TuneSettings": "settings",
    "TunedModel": "run",
    "WeightedObjective": "objectives.weighted",
    "interpolate": "interpolation",
    "knee": "interpolation",
    "open_examples": "data.opening",
    "soup": "interpolation",
    "tune": "run",
    "wise_ft_sweep": "interpolation",
}

__all__ = [
    "Cae",
    "CaeOptions",
    "Contrastive",
    "DataOptions",
    "Distill",
    "LossOptions",
    "Matching",
    "NegativeContrastive",
    "Objective",
    "OwnNegatives",
    "TuneFacts",
    "TuneSettings",
    "TunedModel",
    "WeightedObjective",
    "interpolate",
    "knee",
    "open_examples",
    "soup",
    "tune",
    "wise_ft_sweep",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'clipsight.tune' has no attribute {name!r}")
    value = getattr(import_module(f"clipsight.tune.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
