"""DIH-CLIP: SC-CLIP without its repair, with the sharpest third of the heads mixing values of full width.

The four heads of twelve with the lowest entropy are kept, in block 9, whose likeness then takes in their side output,
and in the last block, whose output is the sum of the kept maps times all values, divided by the number of all heads.
On 24 blocks the second stream is the sum of blocks 9 to 19: the released setting is the half-open range 8:19, counted
from 0, one block less than SC-CLIP's 8:20.
"""

from dataclasses import replace
from typing import Any

from clipsight.features.blocks import Span
from clipsight.features.branches import Applied, Branch, Kernel
from clipsight.features.citation import Citation, mious
from clipsight.features.heads import HeadChoice
from clipsight.features.maps import Focus, Similarity, Smooth
from clipsight.features.recipe import ClassToken, Recipe, Stream
from clipsight.features.recipes.sc_clip import BETA, SETTINGS
from clipsight.features.token_streams import Entered, Plus, SideOutput, Total, after
from clipsight.features.variants import data_sets


def dih_clip_parts(
    pre: int, post: int, first: int, last: int, share: float, heads: HeadChoice
) -> dict[str, Any]:
    """Kernel, streams and residual for block numbers of one's own; as for SC-CLIP, and which heads are kept."""
    likeness = Similarity(Plus(after(pre), SideOutput(Span(pre, pre), heads)))
    smooth_after = Smooth(Similarity(after(post), BETA))
    return {
        "kernel": Kernel(
            branches=(Applied(by=Focus(likeness), weight=0.5), Branch(left="k", right="k", weight=0.5)),
            keys="patches",
            heads=heads,
        ),
        "streams": (
            Stream(source=Entered(), before=Smooth(replace(likeness, floor=BETA)), after=smooth_after),
            Stream(source=Total(Span(first, last)), after=smooth_after),
        ),
        "residual": ClassToken(share),
    }


FOUR_OF_TWELVE = HeadChoice(4 / 12)

DIH_CLIP = Recipe(
    id="dih_clip",
    summary="SC-CLIP without repair, the sharpest third of the heads mixing values of full width.",
    **dih_clip_parts(9, 4, 4, 10, 0.3, FOUR_OF_TWELVE),
    ffn="skip",
    positions="dino_bicubic",
    written_for=12,
    source=Citation(
        title="DIH-CLIP: Unleashing the Diversity of Multi-Head Self-Attention for Training-Free Open-Vocabulary "
        "Semantic Segmentation",
        arxiv="",
        venue="ICCV 2025",
        repository="duan-song/DiH-CLIP",
        commit="775b609",
    ),
    published=mious(
        (64.2, 36.0, 37.4, 84.9, 39.7, 26.7, 40.2, 19.6),
        setting="ViT-B-16",
        where="result image of duan-song/DiH-CLIP at 775b609",
    ),
    differences=(
        "Heads are chosen by number; in the released code equal entropies can keep more than four.",
        "Of K heads max(1, round(K · 4 / 12)) are kept; the released code always keeps four.",
    ),
)
DIH_CLIP = replace(
    DIH_CLIP,
    others=(DIH_CLIP, replace(DIH_CLIP, written_for=24, **dih_clip_parts(17, 7, 9, 19, 0.1, FOUR_OF_TWELVE))),
)

RECIPES = (DIH_CLIP, *data_sets(DIH_CLIP, SETTINGS))
