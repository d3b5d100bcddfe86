"""CLIP Surgery, architecture part: attention of values with values in the last six blocks, summed without the networks.

With X the original stream, V_l from LN1_l(X_{l-1}) and the original path left alone,

    Xn_L = X_{L-6} + sum_{l = L-5..L} out_proj_l( softmax(s V_l V_lᵀ) V_l ).

Rows of patches come from Xn_L, the pooled feature from X_L, so classification is untouched. The other half of the
paper, feature surgery, is `clipsight.scoring.feature_surgery`. A block depth of six is hard-coded in the released
code for every ViT; `with_depth` gives others.

A ResNet has one attention layer, its pool, without residual stream or network. There the patches are

    c_proj( softmax(8 s v̂ v̂ᵀ) V ),  v̂ the values of a head divided by their length,

`clip_surgery.pool`, which `clip_surgery` becomes on such a tower. The released model is built without that setting:
`clip_surgery.pool-released` has plain values and scale s. Its so-called original path is value-value attention too, so
that its first row is not CLIP's pooled feature; here the pooled feature is the tower's own in both.
"""

from dataclasses import replace

from clipsight.features.branches import Branch, Kernel
from clipsight.features.citation import Citation, mious
from clipsight.features.operands import Unit
from clipsight.features.recipe import Accumulate, LastBlock, Recipe
from clipsight.features.variants import option

_TABLE = "result image of xmed-lab/CLIP_Surgery at d4696d4"

_ON_VIT = Recipe(
    id="clip_surgery",
    summary="Values attend to values in the last six blocks; outputs summed, feed-forward networks skipped.",
    kernel=Kernel(branches=(Branch(left="v", right="v"),)),
    path=Accumulate(6),
    residual="keep",
    ffn="skip",
    positions="bilinear",
    source=Citation(
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

POOL_RELEASED = option(
    _ON_VIT,
    "pool-released",
    "In a ResNet's pool, values attend to values, as the released model runs it.",
    path=LastBlock(),
    residual="drop",
)
POOL = option(
    _ON_VIT,
    "pool",
    "In a ResNet's pool, values of length 1 attend to values at eight times the scale, as the paper has it.",
    kernel=Kernel(branches=(Branch(left=Unit("v"), right=Unit("v"), gain=8.0),)),
    path=LastBlock(),
    residual="drop",
)
CLIP_SURGERY = replace(_ON_VIT, on_pool=POOL)

RECIPES = (CLIP_SURGERY, POOL, POOL_RELEASED)
