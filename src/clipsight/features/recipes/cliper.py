"""CLIPer: the attention of all blocks but the last, balanced, weighs the last block's values.

The map is the sum of the blocks' attention with columns and rows brought to equal sums as many times as the tower has
blocks, cleaned and normalised (`Balanced`). `cliper.levels` also reads every earlier block out through the last
block's values, with fewer rounds; the paper's scores are made of those (`clipsight.scoring.cliper`). The refinement
by a diffusion model is not part of this.
"""

from clipsight.features.blocks import Span
from clipsight.features.branches import Applied, Branch, Identity, Kernel
from clipsight.features.citation import Citation, mious
from clipsight.features.maps import Attention, Balanced
from clipsight.features.recipe import EveryBlock, Recipe
from clipsight.features.steps import LevelScores
from clipsight.features.variants import option

FUSED = Balanced(Attention(Span(1, -2)))

CLIPER = Recipe(
    id="cliper",
    summary="The balanced attention of all earlier blocks weighs the last block's values; residual dropped.",
    kernel=Kernel(branches=(Applied(by=FUSED),)),
    residual="drop",
    ffn="skip",
    positions="bilinear",
    source=Citation(
        title="CLIPer: Hierarchically Improving Spatial Representation of CLIP for Open-Vocabulary Semantic "
        "Segmentation",
        arxiv="2411.13836",
        venue="ICCV 2025",
        repository="linsun449/cliper.code",
        commit="c05fa41",
    ),
    published=mious(
        (60.7, 34.7, 36.3, 84.3, 38.4, 25.4, 35.9, 19.8),
        setting="ViT-B-16, own protocol, whole picture, all read-outs, thresholds tuned for each data set",
        where="tables of linsun449/cliper.code at c05fa41",
    )
    + mious(
        (62.5, 34.8, 40.4, 88.7, 39.6, 26.3, 37.9, 22.1),
        setting="ViT-L-14, own protocol, whole picture, all read-outs, thresholds tuned for each data set",
        where="tables of linsun449/cliper.code at c05fa41",
    ),
    differences=(
        "The stretched position table is not rounded to float16.",
        "Column sums of 0 divide by the smallest number instead of giving NaN.",
    ),
)

RECIPES = (
    CLIPER,
    option(
        CLIPER,
        "levels",
        "CLIPer with the read-outs of all blocks and the scores made of them.",
        path=EveryBlock(),
        maps=(FUSED,),
        scoring=(LevelScores(),),
    ),
    *(
        option(
            CLIPER, name, f"CLIPer's option: the last block alone, {said}.", kernel=Kernel(branches=(branch,))
        )
        for name, said, branch in (
            ("vanilla", "CLIP's own attention", Branch(left="q", right="k")),
            ("qq", "queries with queries", Branch(left="q", right="q")),
            ("kk", "keys with keys", Branch(left="k", right="k")),
            ("vv", "values with values", Branch(left="v", right="v")),
            ("identity", "the values as they are", Identity()),
        )
    ),
)
