"""ClearCLIP: the last block's output is its attention of queries with queries alone; no residual, no network."""

from clipsight.features.branches import Branch, Kernel
from clipsight.features.citation import Citation, mious
from clipsight.features.recipe import Accumulate, Recipe
from clipsight.features.variants import data_sets, option

_TABLE = "backbone table of mc-lan/ClearCLIP at ad68a40 (result image)"

CLEARCLIP = Recipe(
    id="clearclip",
    summary="Queries attend to queries in the last block; residual and feed-forward network dropped.",
    kernel=Kernel(branches=(Branch(left="q", right="q"),)),
    residual="drop",
    ffn="skip",
    positions="dino_bicubic",
    source=Citation(
        title="ClearCLIP: Decomposing CLIP Representations for Dense Vision-Language Inference",
        arxiv="2407.12442",
        venue="ECCV 2024",
        repository="mc-lan/ClearCLIP",
        commit="ad68a40",
    ),
    published=mious(
        (51.8, 32.6, 33.0, 80.9, 35.9, 23.9, 30.0, 16.7),
        setting="ViT-B-16, plain names, windows 448/224",
        where=_TABLE,
    )
    + mious(
        (None, None, None, 80.0, 29.6, 19.9, 27.9, 15.0),
        setting="ViT-L-14, plain names, windows 448/224",
        where=_TABLE,
    ),
)

RECIPES = (
    CLEARCLIP,
    option(
        CLEARCLIP,
        "residual",
        "ClearCLIP's attention with residual and network kept.",
        residual="keep",
        ffn="keep",
    ),
    option(CLEARCLIP, "last2", "ClearCLIP summed over the last two blocks.", path=Accumulate(2)),
    *data_sets(
        CLEARCLIP,
        {
            "voc21": {"prob_threshold": 0.5},
            "pc60": {"prob_threshold": 0.15},
            "object": {"prob_threshold": 0.4},
            "voc20": {},
            "pc59": {},
            "stuff": {},
            "city": {"crop": 224},
            "ade": {},
        },
        **{"short_side": 448, "crop": 448, "stride": 224, "logit_scale": 50.0, "names": "P"},
    ),
)
