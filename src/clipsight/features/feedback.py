"""The second pass of a recipe with feedback: the last block again, the first pass's labels in its scores."""

from dataclasses import replace

from clipsight.features.branches import Bias, Branch
from clipsight.features.maps import Given
from clipsight.features.recipe import Recipe
from clipsight.features.steps import Feedback

SEMANTIC = Given("semantic")
"""Map of patches in [0, 1] that the caller brings: how far two patches share a label."""


def second_pass(recipe: Recipe, feedback: Feedback) -> Recipe:
    """Scores E become τ ((1 - λ) E + λ S), with S the semantic map; biases are added after that, as before."""
    bias = Bias(SEMANTIC, gain=feedback.gain * feedback.mix)
    branches = tuple(
        replace(one, gain=one.gain * feedback.gain * (1 - feedback.mix), bias=(*one.bias, bias))
        if isinstance(one, Branch)
        else one
        for one in recipe.kernel.branches
    )
    return replace(recipe, kernel=replace(recipe.kernel, branches=branches))
