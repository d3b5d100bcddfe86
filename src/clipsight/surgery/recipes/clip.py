"""CLIP as it is: the last block's own patch tokens through the projection that is trained on the class token alone.

The baseline that every other recipe is measured against: its maps are known to be noisy and often opposite (high on
the background, low on the object).
"""

from clipsight.surgery.recipe import Branch, Kernel, LastBlock, Published, Recipe, Source

_TABLE = "backbone table of mc-lan/ClearCLIP at ad68a40 (result image), row 'plain CLIP B'"

CLIP = Recipe(
    id="clip",
    summary="CLIP's own patch tokens, nothing changed: the baseline.",
    kernel=Kernel(branches=(Branch(left="q", right="k"),)),
    path=LastBlock(),
    residual="keep",
    ffn="keep",
    positions="bicubic_antialias",
    source=Source(
        title="Learning Transferable Visual Models From Natural Language Supervision",
        arxiv="2103.00020",
        venue="ICML 2021",
        repository="mlfoundations/open_clip",
        commit="release 3.3.0",
    ),
    published=tuple(
        Published(
            benchmark=name,
            metric="mIoU",
            value=value,
            setting="ViT-B/16, ClearCLIP's protocol",
            grade="read",
            where=_TABLE,
        )
        for name, value in (
            ("VOC20", 41.8),
            ("PASCAL Context-59", 9.2),
            ("COCO-Stuff", 4.4),
            ("Cityscapes", 5.5),
            ("ADE20K", 2.1),
        )
    ),
)
