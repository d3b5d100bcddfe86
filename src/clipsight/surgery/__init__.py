"""Architecture surgery: recipes as data, and the one executor that runs them."""

from clipsight.surgery.blocks import Span
from clipsight.surgery.branches import Applied, Averaged, Bias, Branch, Heads, Identity, Kernel, Term
from clipsight.surgery.edit import Denoise, Refocus
from clipsight.surgery.executor import Features, Pass, run
from clipsight.surgery.feedback import second_pass
from clipsight.surgery.fit import Fitted, fit, why_not
from clipsight.surgery.heads import HeadChoice
from clipsight.surgery.maps import (
    Attention,
    Balanced,
    Correlation,
    Focus,
    Given,
    Nearness,
    Similarity,
    Smooth,
)
from clipsight.surgery.operands import Centred, Rotated, SelfAttended, Unit
from clipsight.surgery.paper import Published, Source
from clipsight.surgery.recipe import (
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
from clipsight.surgery.recipes import BUILT_IN
from clipsight.surgery.registry import get_recipe, recipe_ids, register
from clipsight.surgery.repair import ClassFocus, LargestNorm, LocalOutliers, Repair
from clipsight.surgery.setting import Setting
from clipsight.surgery.sources import Entered, Mean, Plus, Repaired, SideOutput, Total, after

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
    "ClassFocus",
    "ClassToken",
    "Correlation",
    "Denoise",
    "Entered",
    "EveryBlock",
    "Features",
    "Fitted",
    "Focus",
    "Given",
    "HeadChoice",
    "Heads",
    "Identity",
    "Kernel",
    "LargestNorm",
    "LastBlock",
    "LocalOutliers",
    "Mean",
    "Nearness",
    "Pass",
    "Path",
    "Plus",
    "Published",
    "Recipe",
    "Refocus",
    "Repair",
    "Repaired",
    "Rotated",
    "SelfAttended",
    "Setting",
    "SideOutput",
    "Similarity",
    "Smooth",
    "Source",
    "Span",
    "Stream",
    "Term",
    "Total",
    "Unit",
    "after",
    "fit",
    "get_recipe",
    "recipe_ids",
    "register",
    "run",
    "second_pass",
    "why_not",
    "with_bias",
    "with_depth",
]
