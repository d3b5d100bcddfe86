"""AnoCLIP (AnoVL): values attend to values in every block, summed beside the original stream; made for finding damage.

Xn_L = X_0 + sum over all blocks of out_proj_l( softmax(s V_l V_lᵀ) V_l ), V_l from the original stream. Its two poles
of prompts, views and test-time adaptation are the anomaly task's.
"""

from clipsight.features.branches import Branch, Kernel
from clipsight.features.citation import Citation, Published
from clipsight.features.recipe import Accumulate, Recipe

ANOCLIP = Recipe(
    id="anoclip",
    summary="Values attend to values in every block; outputs summed, feed-forward networks skipped.",
    kernel=Kernel(branches=(Branch(left="v", right="v"),)),
    path=Accumulate(None),
    residual="keep",
    ffn="skip",
    positions="bicubic_antialias",
    source=Citation(
        title="Bootstrap Fine-Grained Vision-Language Alignment for Unified Zero-Shot Anomaly Localization",
        arxiv="2308.15939",
        venue="arXiv 2023",
        repository="hq-deng/AnoVL",
        commit="3a70bfd",
    ),
    published=tuple(
        Published(
            benchmark=name,
            metric="image AUROC",
            value=value,
            setting="ViT-B-16-plus-240, LAION-400M, whole method",
            grade="read",
            where="the paper's table",
        )
        for name, value in (("MVTec AD", 92.5), ("VisA", 79.2))
    ),
    differences=(
        "The softmax of the original path is a real one; the released code exponentiates without a maximum.",
        "Other grids than the native one are taken, with open_clip's position rule; the released code has none.",
    ),
)

RECIPES = (ANOCLIP,)
