"""CLIPtrase: queries, keys and values each attend to themselves in the last block, summed; regions vote on the labels.

A = softmax(s Q Qᵀ) + softmax(s K Kᵀ) + softmax(s V Vᵀ): rows sum to 3. The second half of the paper clusters the
patches by the
correlation of the last block but one and lets each region vote: `clipsight.refine.cluster_vote`.
"""

from clipsight.features.blocks import Span
from clipsight.features.branches import Branch, Kernel
from clipsight.features.citation import Citation, mious
from clipsight.features.maps import Correlation
from clipsight.features.recipe import Recipe

CORRELATION = Correlation(Span(-2, -2))
"""Correlation of the last block but one, from which regions are found."""

CLIPTRASE = Recipe(
    id="cliptrase",
    summary="Queries, keys and values attend to themselves in the last block, summed; the rest of the block kept.",
    kernel=Kernel(branches=tuple(Branch(left=letter, right=letter) for letter in ("q", "k", "v"))),
    residual="keep",
    ffn="keep",
    positions="dino_bicubic",
    maps=(CORRELATION,),
    source=Citation(
        title="Explore the Potential of CLIP for Training-Free Open Vocabulary Semantic Segmentation",
        arxiv="2407.08268",
        venue="ECCV 2024",
        repository="leaves162/CLIPtrase",
        commit="2b7de61",
    ),
    published=mious(
        (50.88, 29.87, None, 80.95, 33.83, 22.84, None, 16.35),
        setting="ViT-B-16, 224 px, own protocol: square crops, absent classes dropped, with the region vote",
        where="README of leaves162/CLIPtrase at 2b7de61",
    )
    + mious(
        (53.04, 30.79, None, 81.20, 34.92, 24.06, None, 17.04),
        setting="ViT-B-16, 336 px, own protocol: square crops, absent classes dropped, with the region vote",
        where="README of leaves162/CLIPtrase at 2b7de61",
    ),
    differences=("Blocks are counted from the end; the released code names blocks 11 and 12 of any tower.",),
)

RECIPES = (CLIPTRASE,)
