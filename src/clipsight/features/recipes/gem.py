"""GEM: values, keys and queries each attend to themselves, L2-normalised and gathered once, in the last six blocks.

For x in v, k, q of a block: z = x / ‖x‖; `iterations` times z ← softmax(τ z zᵀ) z, normalised again; then the map
softmax(τ z zᵀ), with τ the head scale times the mean length of the block's normed tokens. The three maps are averaged,
applied to the values, and summed over the blocks beside the original stream; no feed-forward network.
"""

from typing import Literal

from clipsight.features.branches import Branch, Kernel
from clipsight.features.citation import Citation, mious
from clipsight.features.operands import SelfAttended
from clipsight.features.recipe import Accumulate, Recipe
from clipsight.features.variants import option


def gem_kernel(iterations: int = 1, temperature: float | Literal["norms"] = "norms") -> Kernel:
    """GEM's kernel.

    Args:
        iterations: times each of v, k, q is gathered around itself before its map is made.
        temperature: factor on the cosines; "norms" adapts it to the picture and the block.
    """
    return Kernel(
        branches=tuple(
            Branch(left=z, right=z, weight=1 / 3, scale=temperature)
            for z in (SelfAttended(letter, iterations, temperature) for letter in ("v", "k", "q"))
        )
    )


GEM = Recipe(
    id="gem",
    summary="Normalised values, keys and queries attend to themselves in the last six blocks; outputs summed.",
    kernel=gem_kernel(),
    path=Accumulate(6),
    residual="keep",
    ffn="skip",
    positions="bicubic_antialias",
    source=Citation(
        title="Grounding Everything: Emerging Localization Properties in Vision-Language Transformers",
        arxiv="2312.00878",
        venue="CVPR 2024",
        repository="WalBouss/GEM",
        commit="5fa677c",
    ),
    published=mious(
        (46.2, 32.6, None, None, None, None, None, None),
        setting="ViT-B-16, own protocol",
        where="ResCLIP's table",
        grade="second-hand",
    )
    + mious(
        (None, None, None, 79.9, 35.9, 23.7, 30.8, 15.7),
        setting="ViT-B-16, ClearCLIP's protocol",
        where="backbone table of mc-lan/ClearCLIP at ad68a40 (result image)",
    )
    + mious(
        (None, None, None, 80.3, 26.4, 17.6, 22.6, 11.6),
        setting="ViT-L-14, ClearCLIP's protocol",
        where="backbone table of mc-lan/ClearCLIP at ad68a40 (result image)",
    ),
    differences=(
        "Runs on current open_clip; the released code needs 2.23 or older and permutes tokens silently on later ones.",
    ),
)

RECIPES = (
    GEM,
    option(GEM, "depth3", "GEM over the last three blocks.", path=Accumulate(3)),
    option(GEM, "iter2", "GEM with two rounds of gathering.", kernel=gem_kernel(iterations=2)),
    option(
        GEM, "temp10", "GEM with a fixed factor of 10 on the cosines.", kernel=gem_kernel(temperature=10.0)
    ),
)
