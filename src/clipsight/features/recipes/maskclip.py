"""MaskCLIP: in the last block every token attends to itself alone; residual and feed-forward network stay.

With V the values of the last block and x its input, y = x + out_proj(V), y + MLP(LN2(y)). Two refinements act on the
scores, both off in every published configuration: prompt denoising, then key smoothing (`maskclip.refined`).
"""

from dataclasses import replace

from clipsight.features.branches import Identity, Kernel
from clipsight.features.citation import Citation, mious
from clipsight.features.recipe import Recipe
from clipsight.features.steps import KeySmoothing, PromptDenoising
from clipsight.features.variants import option

_TABLE = "backbone table of mc-lan/ClearCLIP at ad68a40 (result image), rows 'MaskCLIP attn'"

MASKCLIP = Recipe(
    id="maskclip",
    summary="The last block's values pass as they are; residual and feed-forward network kept.",
    kernel=Kernel(branches=(Identity(),)),
    residual="keep",
    ffn="keep",
    positions="dino_bicubic",
    source=Citation(
        title="Extract Free Dense Labels from CLIP",
        arxiv="2112.01071",
        venue="ECCV 2022",
        repository="chongzhou96/MaskCLIP",
        commit="83e0853",
    ),
    published=mious(
        (49.5, 21.7, 12.5),
        benchmarks=("VOC20", "PC59", "COCO-Stuff"),
        setting="ViT-B-16, own protocol",
        where="tables of chongzhou96/MaskCLIP at 83e0853",
    )
    + mious(
        (None, None, None, 74.9, 26.4, 16.4, 12.6, 9.8),
        setting="ViT-B-16, ClearCLIP's protocol",
        where=_TABLE,
    )
    + mious(
        (None, None, None, 30.1, 12.6, 8.9, 10.1, 6.9), setting="ViT-L-14, ClearCLIP's protocol", where=_TABLE
    ),
    differences=(
        "Pictures are normalised as the checkpoint asks; the released code feeds ImageNet's mean and deviation and "
        "runs GELU where the weights were trained with QuickGELU.",
        "Positions follow the rule of its re-implementations (`dino_bicubic`); the released code stretches to the "
        "exact size (`maskclip.mmseg`).",
    ),
)

RECIPES = (
    MASKCLIP,
    option(
        MASKCLIP,
        "refined",
        "MaskCLIP with prompt denoising and key smoothing on its scores.",
        scoring=(PromptDenoising(threshold=0.5), KeySmoothing(threshold=1.0)),
    ),
    option(
        MASKCLIP,
        "attention",
        "MaskCLIP without residual and network, as ClearCLIP runs it.",
        residual="drop",
        ffn="skip",
    ),
    replace(
        option(MASKCLIP, "mmseg", "MaskCLIP with its released code's position rule."), positions="bicubic"
    ),
)
