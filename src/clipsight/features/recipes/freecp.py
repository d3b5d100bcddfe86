"""FreeCP: a host's maps are refined by the attention of earlier blocks, and names that do not survive this are
removed.

Patch features are the host's, MaskCLIP's; the filter works on scores and needs texts
(`clipsight.scoring.filter_vocabulary`). The language model's descriptions of the paper are not part of this: the
ordinary prompts decide between ambiguous names.
"""

from dataclasses import replace

from clipsight.features.blocks import Span
from clipsight.features.citation import Citation, mious
from clipsight.features.maps import Attention
from clipsight.features.recipe import Recipe
from clipsight.features.recipes.clearclip import CLEARCLIP
from clipsight.features.recipes.maskclip import MASKCLIP
from clipsight.features.recipes.sclip import SCLIP
from clipsight.features.steps import FilterVocabulary
from clipsight.features.variants import data_sets

AFFINITY = Attention(Span(1, -2), head_mean=True)


def freecp(host: Recipe, name: str, b16: tuple[float | None, ...], variant_of: str = "") -> Recipe:
    """FreeCP on a host."""
    return replace(
        host,
        id=name,
        summary=f"{host.id}'s maps refined by earlier attention, names that do not survive it taken out.",
        maps=(AFFINITY,),
        scoring=(FilterVocabulary(redundancy=0.05, ambiguity=0.7),),
        variant_of=variant_of,
        source=Citation(
            title="Training-Free Class Purification for Open-Vocabulary Semantic Segmentation",
            arxiv="2508.00557",
            venue="ICCV 2025",
            repository="chenqi1126/FreeCP",
            commit="6946aa7",
        ),
        published=mious(
            b16,
            setting=f"ViT-B-16 on {host.id}, with the language model",
            where="notes on the paper",
            grade="second-hand",
        ),
        differences=(
            "Without the paper's language model: the ordinary prompts decide between ambiguous names.",
            "No ground-truth file is opened; the released code needs one to learn the size.",
        ),
    )


_THRESHOLDS = {
    "voc21": (0.15, 0.8),
    "voc20": (0.15, 0.7),
    "object": (0.15, 0.8),
    "pc60": (0.1, 0.7),
    "pc59": (0.1, 0.7),
    "city": (0.1, 0.8),
    "ade": (0.05, 0.7),
    "stuff": (0.05, 0.7),
}

FREECP = freecp(MASKCLIP, "freecp", (64.4, 34.7, 36.2, 84.1, 36.6, 23.3, 32.5, 17.6))

RECIPES = (
    FREECP,
    freecp(SCLIP, "freecp.sclip", (65.8, 35.3, 37.2, 84.3, 38.0, 24.9, 33.3, 18.4), "freecp"),
    freecp(CLEARCLIP, "freecp.clearclip", (64.5, 35.7, 36.9, 81.5, 39.3, 26.1, 34.4, 18.9), "freecp"),
    *data_sets(
        FREECP,
        {
            "voc21": {},
            "pc60": {},
            "object": {},
            "voc20": {},
            "pc59": {},
            "stuff": {},
            "city": {"short_side": 560, "crop": 224},
            "ade": {},
        },
        changes={
            key: {"scoring": (FilterVocabulary(redundancy=redundancy, ambiguity=ambiguity),)}
            for key, (redundancy, ambiguity) in _THRESHOLDS.items()
        },
        short_side=448,
        crop=384,
    ),
)
