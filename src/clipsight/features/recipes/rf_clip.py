"""RF-CLIP as released: patches that a few channels dominate are blended with their neighbours after every block.

Guide G = mean of what left all blocks; patches smoothed by cos(G, G) ≥ 0.4, not normalised; in the last block every
head has the mean over all blocks of its softmax(s K_l K_lᵀ), the class token cut out without normalising again; once
for what entered the last block and once for G, averaged. The paper's re-weighting of attention is off in the released
defaults (`rf_clip.refocus`).
"""

from dataclasses import replace
from typing import Any

from clipsight.features.blocks import Span
from clipsight.features.branches import Averaged, Kernel
from clipsight.features.citation import Citation, mious
from clipsight.features.edit import Denoise, Refocus
from clipsight.features.maps import Attention, Similarity, Smooth
from clipsight.features.recipe import Recipe, Stream
from clipsight.features.steps import AdjustTexts, MixClass
from clipsight.features.token_streams import Entered, MeanStream
from clipsight.features.variants import data_sets, option

SINKS = (
    (768, (4, 162, 189, 326, 429, 474, 633, 713)),
    (1024, (250, 261, 437, 650, 720, 779, 936, 1005)),
)
"""Published for OpenAI's ViT-B/16 and ViT-L/14."""

GUIDE = MeanStream(Span(1, -1))
_SMOOTH = Smooth(Similarity(GUIDE, 0.4), normalize=False)

RF_CLIP = Recipe(
    id="rf_clip",
    summary="Patches that a few channels dominate are denoised after every block; keys' mean attention in the last.",
    kernel=Kernel(branches=(Averaged(earlier=Attention(Span(1, -2), "k", "k")),), keys="cut"),
    streams=(
        Stream(source=Entered(), before=_SMOOTH, weight=0.5),
        Stream(source=GUIDE, before=_SMOOTH, weight=0.5),
    ),
    residual="drop",
    ffn="skip",
    positions="dino_bicubic",
    edit=Denoise(sinks=SINKS),
    source=Citation(
        title="Target Refocusing via Attention Redistribution for Open-Vocabulary Semantic Segmentation: An "
        "Explainability Perspective",
        arxiv="2511.16170",
        venue="AAAI 2026",
        repository="liblacklucy/RF-CLIP",
        commit="c2b333e",
    ),
    published=mious(
        (64.8, 36.4, 37.9, 87.0, 39.8, 26.3, 41.3, 20.4),
        setting="ViT-B-16, with text adjustment and class mixing",
        where="notes on the paper",
        grade="second-hand",
    )
    + mious(
        (67.2, 37.9, 39.1, 87.0, 41.4, 27.5, 43.0, 21.0),
        setting="ViT-B-16, with text adjustment, class mixing and PAMR",
        where="notes on the paper",
        grade="second-hand",
    ),
    differences=(
        "The pooled feature is the tower's own, from a plain pass where the edit changed something.",
        "At widths without published sink channels the eight channels with the largest share in the picture are taken.",
        "The reference was transcribed from the text of an early commit; its later commits hold no source.",
    ),
)

_MIX = {
    "voc21": 0.1,
    "voc20": 0.4,
    "pc59": 0.25,
    "pc60": 0.25,
    "object": 0.25,
    "stuff": 0.2,
    "ade": 0.3,
    "city": 0.1,
}
_ADJUST = {
    "voc21": (0.03, 0.10),
    "voc20": (0.02, 0.10),
    "pc59": (0.04, 0.09),
    "pc60": (0.04, 0.09),
    "object": (0.01, 0.10),
    "stuff": (0.02, 0.02),
    "ade": (0.05, 0.06),
    "city": (0.03, 0.14),
}
_SETTINGS: dict[str, dict[str, Any]] = {
    "voc21": {"crop": 0, "prob_threshold": 0.1},
    "pc60": {"prob_threshold": 0.1},
    "object": {"prob_threshold": 0.1},
    "voc20": {},
    "pc59": {},
    "stuff": {},
    "city": {"short_side": 560},
    "ade": {},
}


def rf_clip_edit(
    sinks: tuple[int, ...], width: int, sigma: float = 5.0, refocus: Refocus | None = None
) -> Denoise:
    """The edit with sink channels of one's own for towers of `width` channels."""
    return Denoise(sinks=((width, sinks),), sigma=sigma, refocus=refocus)


RECIPES = (
    RF_CLIP,
    option(
        RF_CLIP,
        "refocus",
        "RF-CLIP with attention taken from sinks in every block, as the paper has it.",
        edit=replace(Denoise(sinks=SINKS), refocus=Refocus()),
    ),
    *data_sets(
        RF_CLIP,
        _SETTINGS,
        changes={
            key: {"scoring": (AdjustTexts(move=move, cut=cut), MixClass(share=_MIX[key]))}
            for key, (move, cut) in _ADJUST.items()
        },
    ),
)
