"""PEARL: queries meet keys that were turned onto them by a Procrustes rotation, and centred keys meet centred keys.

Scores s Q (K R)ᵀ + α s K_c K_cᵀ in the last block, R near the polar factor of K_cᵀ Q_c; the class token has no weight
in the means. The number-giving default finds R with five Newton-Schulz steps, which are far from converged. Scores
are then spread over the
picture: `clipsight.refine.propagate`.
"""

from clipsight.features.branches import Branch, Kernel, Term
from clipsight.features.citation import Citation, mious
from clipsight.features.operands import Centred, Rotated
from clipsight.features.recipe import Recipe
from clipsight.features.variants import data_sets, option


def pearl_kernel(alpha: float = 0.08, iterations: int | None = 5) -> Kernel:
    """PEARL's kernel.

    Args:
        alpha: factor on the term of centred keys; 0 leaves it out.
        iterations: Newton-Schulz steps; None is the exact polar factor.
    """
    term = Term(Centred("k"), Centred("k"), alpha)
    branch = Branch(
        left="q", right=Rotated("k", onto="q", iterations=iterations), also=(term,) if alpha else ()
    )
    return Kernel(branches=(branch,))


PEARL = Recipe(
    id="pearl",
    summary="Queries meet keys rotated onto them, with a share of centred keys among themselves; residual dropped.",
    kernel=pearl_kernel(),
    residual="drop",
    ffn="skip",
    positions="dino_bicubic",
    source=Citation(
        title="PEARL: Geometry Aligns Semantics for Training-Free Open-Vocabulary Semantic Segmentation",
        arxiv="2603.21528",
        venue="CVPR 2026",
        repository="PGSmall/PEARL",
        commit="c26062b",
    ),
    published=mious(
        (64.1, 35.1, 37.3, 86.9, 38.6, None, 37.6, 19.4),
        setting="ViT-B-16, with propagation",
        where="notes on the paper",
        grade="second-hand",
    )
    + mious(
        (59.2, None, None, None, 35.3, None, 35.0, None),
        setting="ViT-B-16, attention alone",
        where="notes on the paper",
        grade="second-hand",
    ),
)

RECIPES = (
    PEARL,
    option(PEARL, "nokk", "PEARL without the term of centred keys.", kernel=pearl_kernel(alpha=0.0)),
    option(PEARL, "a03", "PEARL with α = 0.3, as for ADE20K and Cityscapes.", kernel=pearl_kernel(alpha=0.3)),
    option(PEARL, "svd", "PEARL with the exact polar factor.", kernel=pearl_kernel(iterations=None)),
    *data_sets(
        PEARL,
        {
            "voc21": {"crop": 0, "prob_threshold": 0.1},
            "pc60": {"prob_threshold": 0.1},
            "object": {"prob_threshold": 0.1},
            "voc20": {"crop": 0},
            "pc59": {},
            "stuff": {},
            "city": {"short_side": 560, "propagation": 224},
            "ade": {},
        },
        changes={key: {"kernel": pearl_kernel(alpha=0.3)} for key in ("ade", "city")},
        propagation=80,
    ),
)
