"""SC-CLIP: anomalous patches repaired, patches smoothed by middle blocks, two streams through the last block.

With X_l what left block l: anomalies of X_{L-1} (local outlier factor) are replaced by their clean neighbours there
and in a copy of X_9; M = cos(X_9, X_9). Main stream: X_{L-1} smoothed by M ≥ 0.4, through the last block with the
mean of keys-with-keys and softmax(3 (M - mean M)) over patches alone, plus 0.3 of the class token, smoothed by
cos(X_4, X_4) ≥ 0.4. Second
stream: X_4 + … + X_10 likewise, without the first smoothing. Their outputs are summed.
"""

from dataclasses import replace
from typing import Any

from clipsight.features.blocks import Span
from clipsight.features.branches import Applied, Branch, Kernel
from clipsight.features.citation import Citation, mious
from clipsight.features.maps import Focus, Similarity, Smooth
from clipsight.features.recipe import ClassToken, Recipe, Stream
from clipsight.features.repair import LocalOutliers, Repair
from clipsight.features.token_streams import Entered, Repaired, Total, after
from clipsight.features.variants import data_sets

BETA = 0.4
OUTLIERS = LocalOutliers(Entered())


def sc_clip_parts(
    pre: int, post: int, first: int, last: int, share: float, outliers: LocalOutliers = OUTLIERS
) -> dict[str, Any]:
    """Kernel, streams and residual for block numbers of one's own.

    Args:
        pre: block whose similarity smooths before the last block and shapes its attention.
        post: block whose similarity smooths after it.
        first, last: blocks whose sum is the second stream.
        share: of the class token.
        outliers: who flags the anomalies.
    """
    repair = Repair(outliers)
    likeness = Similarity(Repaired(after(pre), repair))
    smooth_after = Smooth(Similarity(after(post), BETA))
    return {
        "kernel": Kernel(
            branches=(Applied(by=Focus(likeness), weight=0.5), Branch(left="k", right="k", weight=0.5)),
            keys="patches",
        ),
        "streams": (
            Stream(
                source=Repaired(Entered(), repair),
                before=Smooth(replace(likeness, floor=BETA)),
                after=smooth_after,
            ),
            Stream(source=Total(Span(first, last)), after=smooth_after),
        ),
        "residual": ClassToken(share),
    }


SC_CLIP = Recipe(
    id="sc_clip",
    summary="Outlier patches repaired, patches smoothed by middle blocks, two streams through the last block.",
    **sc_clip_parts(9, 4, 4, 10, 0.3),
    ffn="skip",
    positions="dino_bicubic",
    written_for=12,
    source=Citation(
        title="Self-Calibrated CLIP for Training-Free Open-Vocabulary Segmentation",
        arxiv="2411.15869",
        venue="IEEE TIP 2025",
        repository="SuleBai/SC-CLIP",
        commit="0417ba9",
    ),
    published=mious(
        (64.6, 36.8, 37.7, 84.3, 40.1, 26.6, 41.0, 20.1),
        setting="ViT-B-16",
        where="comparison tables of later papers",
        grade="second-hand",
    )
    + mious(
        (65.0, 36.9, None, None, None, 26.9, 41.3, 21.7),
        setting="ViT-L-14",
        where="comparison tables of later papers",
        grade="second-hand",
    ),
    differences=(
        "Rows and columns of flagged patches are right on grids that are not square; the released code divides by the "
        "wrong side.",
        "Batches of any size; below 31 patches the outlier factor takes as many neighbours as there are.",
    ),
)
SC_CLIP = replace(
    SC_CLIP, others=(SC_CLIP, replace(SC_CLIP, written_for=24, **sc_clip_parts(17, 7, 9, 20, 0.1)))
)

SETTINGS: dict[str, dict[str, Any]] = {
    "voc21": {"logit_scale": 50.0, "prob_threshold": 0.15, "area_threshold": 0.1},
    "pc60": {"prob_threshold": 0.15},
    "object": {"logit_scale": 55.0, "prob_threshold": 0.35},
    "voc20": {},
    "pc59": {},
    "stuff": {},
    "city": {"short_side": 560},
    "ade": {},
}

RECIPES = (SC_CLIP, *data_sets(SC_CLIP, SETTINGS))
