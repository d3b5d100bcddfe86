"""CLIP as it is: the last block's own patch tokens through the projection that is trained on the class token alone.

The baseline that every other recipe is measured against: its maps are known to be noisy and often opposite (high on
the background, low on the object).
"""

from clipsight.features.branches import Branch, Kernel
from clipsight.features.citation import Citation, mious
from clipsight.features.recipe import Recipe

_TABLE = "backbone table of mc-lan/ClearCLIP at ad68a40 (result image), rows 'plain CLIP'"

CLIP = Recipe(
    id="clip",
    summary="CLIP's own patch tokens, nothing changed: the baseline.",
    kernel=Kernel(branches=(Branch(left="q", right="k"),)),
    residual="keep",
    ffn="keep",
    positions="bicubic_antialias",
    source=Citation(
        title="Learning Transferable Visual Models From Natural Language Supervision",
        arxiv="2103.00020",
        venue="ICML 2021",
        repository="mlfoundations/open_clip",
        commit="release 3.3.0",
    ),
    published=mious(
        (None, None, None, 41.8, 9.2, 4.4, 5.5, 2.1), setting="ViT-B-16, ClearCLIP's protocol", where=_TABLE
    )
    + mious(
        (None, None, None, 15.8, 4.5, 2.4, 2.9, 1.2), setting="ViT-L-14, ClearCLIP's protocol", where=_TABLE
    ),
)

RECIPES = (CLIP,)
