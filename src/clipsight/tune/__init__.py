"""Fine-tuning: make a model stop ignoring relations and attributes, and prove it."""

from clipsight.tune.data.opening import open_examples
from clipsight.tune.data.options import DataOptions
from clipsight.tune.data.role_numbers import Matching
from clipsight.tune.interpolate import interpolate, knee, soup, wise_ft_sweep
from clipsight.tune.model_card import TuneFacts
from clipsight.tune.objectives.cae import Cae, CaeOptions
from clipsight.tune.objectives.contrastive import Contrastive
from clipsight.tune.objectives.distill import Distill
from clipsight.tune.objectives.negatives import NegativeContrastive, OwnNegatives
from clipsight.tune.objectives.objective import Objective
from clipsight.tune.objectives.weighted import WeightedObjective
from clipsight.tune.run import TunedModel, tune
from clipsight.tune.settings import TuneSettings

__all__ = [
    "Cae",
    "CaeOptions",
    "Contrastive",
    "DataOptions",
    "Distill",
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
