"""SFP: SC-CLIP's skeleton with other detectors of patches to repair, and a second stream guided only by similarity.

Main stream: the mean of keys-with-keys, queries-with-queries and softmax(3 (M - mean M)), M = cos of the repaired X_9
with entries below 0.4 set to 0 first. Second stream X_4 + … + X_10: softmax(3 (M - mean M)) alone.
"""

from typing import Any

from clipsight.features.blocks import Span
from clipsight.features.branches import Applied, Branch, Kernel
from clipsight.features.citation import Citation, mious
from clipsight.features.context import Detector
from clipsight.features.maps import Focus, Similarity, Smooth
from clipsight.features.recipe import ClassToken, Recipe, Stream
from clipsight.features.recipes.sc_clip import BETA, SETTINGS
from clipsight.features.repair import CLASS_FOCUS, LargestNorm, LocalOutliers, Repair
from clipsight.features.token_streams import Entered, Repaired, Total, after
from clipsight.features.variants import data_sets, option

DETECTORS: dict[str, Detector] = {
    "som": CLASS_FOCUS,
    "l2": LargestNorm(Entered()),
    "lof": LocalOutliers(Entered()),
}


def sfp_parts(
    detector: Detector, pre: int = 9, post: int = 4, first: int = 4, last: int = 10
) -> dict[str, Any]:
    """Kernel, streams and residual for a detector and block numbers of one's own; as for SC-CLIP."""
    repair = Repair(detector)
    likeness = Similarity(Repaired(after(pre), repair), BETA)
    focus, smooth_after = Focus(likeness), Smooth(Similarity(after(post), BETA))
    third = 1 / 3
    return {
        "kernel": Kernel(
            branches=(
                Branch(left="k", right="k", weight=third),
                Branch(left="q", right="q", weight=third),
                Applied(by=focus, weight=third),
            ),
            keys="patches",
        ),
        "streams": (
            Stream(source=Repaired(Entered(), repair), before=Smooth(likeness), after=smooth_after),
            Stream(
                source=Total(Span(first, last)),
                after=smooth_after,
                kernel=Kernel(branches=(Applied(by=focus),), keys="patches"),
            ),
        ),
        "residual": ClassToken(0.3),
    }


SFP = Recipe(
    id="sfp",
    summary="Patches that the class token stares at are repaired, then smoothing and two streams as in SC-CLIP.",
    **sfp_parts(CLASS_FOCUS),
    ffn="skip",
    positions="dino_bicubic",
    written_for=12,
    source=Citation(
        title="Feature Purification Matters: Suppressing Outlier Propagation for Training-Free Open-Vocabulary "
        "Semantic Segmentation",
        arxiv="",
        venue="ICCV 2025",
        repository="Kimsure/SFP",
        commit="2804f5b",
    ),
    published=mious(
        (61.4,), benchmarks=("VOC21",), setting="ViT-B-16", where="public log in Kimsure/SFP at 2804f5b"
    )
    + mious(
        (56.8, 32.3, 32.1, 83.4, 36.0, None, 34.1, 18.1),
        setting="ViT-B-16",
        where="PEARL's table",
        grade="second-hand",
    ),
    differences=(
        "A flagged patch without a clean neighbour stays as it is, as in SC-CLIP; in the released code it becomes 0, "
        "and dividing by its norm spreads NaN to every patch.",
        "Rows and columns of flagged patches are right on grids that are not square.",
    ),
)

_DETECTORS_SAID = {"l2": "the ten patches of the largest norm", "lof": "SC-CLIP's local outliers"}

RECIPES = (
    SFP,
    *(
        option(SFP, name, f"SFP repairing {said}.", **sfp_parts(DETECTORS[name]))
        for name, said in _DETECTORS_SAID.items()
    ),
    *data_sets(SFP, {**SETTINGS, "ade": {"short_side": 384}}),
)
