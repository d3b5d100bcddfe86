"""Patch features: recipes as data, and the one executor that runs them."""

from clipsight.features.adapt_to_depth import Fitted, adapt_to_depth, why_not
from clipsight.features.blocks import Span
from clipsight.features.branches import Applied, Averaged, Bias, Branch, Heads, Identity, Kernel, Term
from clipsight.features.citation import Citation, Published
from clipsight.features.dataset_setting import DatasetSetting
from clipsight.features.edit import Denoise, Refocus
from clipsight.features.executor import ImagePass, run
from clipsight.features.feedback import second_pass
from clipsight.features.heads import HeadChoice
from clipsight.features.image_features import ImageFeatures
from clipsight.features.maps import (
    Attention,
    Balanced,
    Correlation,
    Focus,
    Given,
    Nearness,
    Similarity,
    Smooth,
)
from clipsight.features.operands import Centred, Rotated, SelfAttended, Unit
from clipsight.features.recipe import (
    Accumulate,
    ClassToken,
    EveryBlock,
    LastBlock,
    Path,
    Recipe,
    Stream,
    with_bias,
    with_depth,
)
from clipsight.features.recipes import BUILT_IN
from clipsight.features.registry import get_recipe, recipe_ids, register
from clipsight.features.repair import ClassFocus, LargestNorm, LocalOutliers, Repair
from clipsight.features.token_streams import Entered, MeanStream, Plus, Repaired, SideOutput, Total, after
from clipsight.features.trunk import Trunk

for _recipe in BUILT_IN:
    register(_recipe)

__all__ = [
    "Accumulate",
    "Applied",
    "Attention",
    "Averaged",
    "Balanced",
    "Bias",
    "Branch",
    "Centred",
    "Citation",
    "ClassFocus",
    "ClassToken",
    "Correlation",
    "DatasetSetting",
    "Denoise",
    "Entered",
    "EveryBlock",
    "Fitted",
    "Focus",
    "Given",
    "HeadChoice",
    "Heads",
    "Identity",
    "ImageFeatures",
    "ImagePass",
    "Kernel",
    "LargestNorm",
    "LastBlock",
    "LocalOutliers",
    "MeanStream",
    "Nearness",
    "Path",
    "Plus",
    "Published",
    "Recipe",
    "Refocus",
    "Repair",
    "Repaired",
    "Rotated",
    "SelfAttended",
    "SideOutput",
    "Similarity",
    "Smooth",
    "Span",
    "Stream",
    "Term",
    "Total",
    "Trunk",
    "Unit",
    "adapt_to_depth",
    "after",
    "get_recipe",
    "recipe_ids",
    "register",
    "run",
    "second_pass",
    "why_not",
    "with_bias",
    "with_depth",
]
