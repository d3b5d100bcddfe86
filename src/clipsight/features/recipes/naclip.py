"""NACLIP: keys attend to keys in the last block, with a Gaussian of the patches' distance added to the scores.

A = softmax(s K Kᵀ + ω), ω_ij = exp(-‖p_i - p_j‖² / 2σ²) in patch units, 0 in the class token's row and column. The
"reduced" architecture, the default, drops residual and feed-forward network.
"""

from dataclasses import replace

from clipsight.features.branches import Bias, Branch, Identity, Kernel
from clipsight.features.citation import Citation, mious
from clipsight.features.maps import Nearness
from clipsight.features.recipe import Recipe, with_bias
from clipsight.features.variants import data_sets, option

_KK = Kernel(branches=(Branch(left="k", right="k"),))


def naclip_kernel(sigma: float = 5.0) -> Kernel:
    """NACLIP's kernel; `sigma` in patches."""
    return with_bias(_KK, Bias(Nearness(sigma)))


NACLIP = Recipe(
    id="naclip",
    summary="Keys attend to keys in the last block, nearby patches favoured; residual and network dropped.",
    kernel=naclip_kernel(),
    residual="drop",
    ffn="skip",
    positions="dino_bicubic",
    source=Citation(
        title="Pay Attention to Your Neighbours: Training-Free Open-Vocabulary Semantic Segmentation",
        arxiv="2404.08181",
        venue="WACV 2025",
        repository="sinahmr/NACLIP",
        commit="0cac3a6",
    ),
    published=mious(
        (58.9, 32.2, 33.2, 79.7, 35.2, 23.3, 35.5, 17.4),
        setting="ViT-B-16",
        where="README of sinahmr/NACLIP at 0cac3a6",
    )
    + mious(
        (64.07, 34.99, 36.19, 83.03, 38.35, 25.69, 38.27, 19.05),
        setting="ViT-B-16, with PAMR",
        where="README of sinahmr/NACLIP at 0cac3a6",
    )
    + mious(
        (52.2, 28.7, 29.9, 78.7, 32.1, 21.4, 31.4, 17.3),
        setting="ViT-L-14",
        where="ResCLIP's table",
        grade="second-hand",
    ),
    differences=(
        "The Gaussian is computed in closed form; the released code convolves a window, an identity.",
    ),
)

KERNELS = {
    "kk": ("keys with keys, no Gaussian", _KK),
    "csa": ("SCLIP's kernel", Kernel(branches=(Branch(left="q", right="q"), Branch(left="k", right="k")))),
    "nonly": (
        "the Gaussian alone, scaled to the size of the scores",
        Kernel(branches=(Branch(bias=(Bias(Nearness(5.0), per_score=True),)),)),
    ),
    "qk": ("CLIP's own attention", Kernel(branches=(Branch(left="q", right="k"),))),
    "identity": ("MaskCLIP's kernel", Kernel(branches=(Identity(),))),
}

_WITH_BACKGROUND = {"prob_threshold": 0.1}

RECIPES = (
    NACLIP,
    *(
        option(NACLIP, name, f"NACLIP's ablation: {said}.", kernel=kernel)
        for name, (said, kernel) in KERNELS.items()
    ),
    option(NACLIP, "vanilla", "NACLIP's kernel with residual and network kept.", residual="keep", ffn="keep"),
    *(
        option(
            replace(NACLIP, residual="keep", ffn="keep"),
            f"vanilla-{name}",
            f"NACLIP's ablation with residual and network kept: {said}.",
            kernel=kernel,
        )
        for name, (said, kernel) in KERNELS.items()
    ),
    *data_sets(
        NACLIP,
        {
            "voc21": {"crop": 0, **_WITH_BACKGROUND},
            "pc60": _WITH_BACKGROUND,
            "object": _WITH_BACKGROUND,
            "voc20": {"crop": 0},
            "pc59": {},
            "stuff": {},
            "city": {"short_side": 560},
            "ade": {},
        },
    ),
)
