"""SCLIP: in the last block queries attend to queries and keys to keys, and the two maps are summed.

A = softmax(s Q Qᵀ) + softmax(s K Kᵀ): its rows sum to 2, and stay so. Residual and feed-forward network are kept.
"""

from clipsight.features.branches import Branch, Kernel
from clipsight.features.citation import Citation, mious
from clipsight.features.recipe import Recipe
from clipsight.features.variants import data_sets

SCLIP = Recipe(
    id="sclip",
    summary="Queries attend to queries and keys to keys in the last block, summed; the rest of the block kept.",
    kernel=Kernel(branches=(Branch(left="q", right="q"), Branch(left="k", right="k"))),
    residual="keep",
    ffn="keep",
    positions="dino_bicubic",
    source=Citation(
        title="SCLIP: Rethinking Self-Attention for Dense Vision-Language Inference",
        arxiv="2312.01597",
        venue="ECCV 2024",
        repository="wangf3014/SCLIP",
        commit="b56bd30",
    ),
    published=mious(
        (59.63, 31.74, 33.52, 81.54, 34.46, 22.77, 32.34, 16.45),
        setting="ViT-B-16, released repository",
        where="README of wangf3014/SCLIP at b56bd30",
    )
    + mious(
        (44.4, 22.3, 24.9, 60.3, 20.5, 13.1, 17.0, 7.1),
        setting="ViT-L-14",
        where="ResCLIP's table",
        grade="second-hand",
    ),
)

RECIPES = (
    SCLIP,
    *data_sets(
        SCLIP,
        {
            "voc21": {"logit_scale": 65.0, "prob_threshold": 0.1, "area_threshold": 0.1},
            "pc60": {"logit_scale": 50.0, "prob_threshold": 0.1},
            "object": {"logit_scale": 50.0, "prob_threshold": 0.1},
            "voc20": {},
            "pc59": {},
            "stuff": {"short_side": 448},
            "city": {"short_side": 560},
            "ade": {},
        },
    ),
)
