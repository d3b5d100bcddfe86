"""CLIP Surgery, architecture part: attention of values with values in the last six blocks, summed without the networks.

With X the original stream, V_l from LN1_l(X_{l-1}) and the original path left alone,

    Xn_L = X_{L-6} + sum_{l = L-5..L} out_proj_l( softmax(s V_l V_lᵀ) V_l ).

Rows of patches come from Xn_L, the pooled feature from X_L, so classification is untouched. The other half of the
paper, feature surgery, is `clipsight.scoring.feature_surgery`. A block depth of six is hard-coded in the released
code for every ViT; `with_depth` gives others.
"""

from clipsight.surgery.branches import Branch, Kernel
from clipsight.surgery.paper import Source, mious
from clipsight.surgery.recipe import Accumulate, Recipe

_TABLE = "result image of xmed-lab/CLIP_Surgery at d4696d4"

CLIP_SURGERY = Recipe(
    id="clip_surgery",
    summary="Values attend to values in the last six blocks; outputs summed, feed-forward networks skipped.",
    kernel=Kernel(branches=(Branch(left="v", right="v"),)),
    path=Accumulate(6),
    residual="keep",
    ffn="skip",
    positions="bilinear",
    source=Source(
        title="A Closer Look at the Explainability of Contrastive Language-Image Pre-training",
        arxiv="2304.05653",
        venue="Pattern Recognition 162:111409, 2025",
        repository="xmed-lab/CLIP_Surgery",
        commit="d4696d47f49cfe70f49140afe5eb94f94c5f59bc",
    ),
    published=mious(
        (29.3, 21.9, 31.4),
        benchmarks=("PASCAL Context", "COCO-Stuff", "Cityscapes"),
        setting="ViT-B-16, segmentation without feature surgery; input size and background rule unreleased",
        where=_TABLE,
    ),
    differences=(
        "The position table is stretched from the original each time; the released code overwrites it, so "
        "that its results depend on the sizes seen before.",
        "Any grid is taken; the released code takes square ones only.",
        "The last block's original path is computed for the class token alone, the only row that is read; an identity.",
    ),
)

RECIPES = (CLIP_SURGERY,)
