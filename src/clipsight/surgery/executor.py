"""The one executor of all recipes: pixels to patch features in one pass of the tower.

Order of steps, the same for every recipe: embed; trunk (the tower's own blocks); head (the blocks in which the
kernel works, beside the original path); residual and feed-forward network; read-out. The original path always runs
on, so the pooled feature is the tower's own. In the last block only the class token needs it: that single row, and
nothing else, takes the block's own attention and network there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from clipsight.errors import Unsupported
from clipsight.surgery.kernel import attend
from clipsight.surgery.recipe import Kernel, Recipe
from clipsight.surgery.registry import get_recipe
from clipsight.towers.view import BlockView, VisionView


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """What one pass gives, in the tower's dtype, after the final norm and projection, not L2-normalised.

    Attributes:
        patches: one feature per patch, rows top to bottom, columns left to right.
        pooled: the tower's own image feature (`encode_image`), whatever the recipe.
    """

    patches: Float[Tensor, "B h w E"]
    pooled: Float[Tensor, "B E"]


def run(view: VisionView, images: Float[Tensor, "B 3 H W"], recipe: str | Recipe) -> Features:
    """Patch features of `images` by a recipe, and the pooled feature of the same pass.

    Args:
        view: the image tower; nothing of it is changed.
        images: normalised pixels, both sides multiples of the patch, any aspect.
        recipe: an id of `recipe_ids()` or a `Recipe`.

    Returns:
        Features that carry gradients when autograd is on.

    Raises:
        ValueError: unknown recipe, or a size that cuts patches.
        Unsupported: the recipe wants more blocks than the tower has.
    """
    recipe = get_recipe(recipe)
    h, _ = view.grid(*images.shape[-2:])
    trunk, head = _split(view, recipe)
    x = view.embed(images, recipe.positions)
    for block in trunk:
        x = block(x)
    stream, prefix = (
        _plain_head(head, x, view.prefix) if recipe.is_plain else _head(head, x, recipe, view.prefix)
    )
    patches = rearrange(view.readout(stream), "B (h w) E -> B h w E", h=h)
    return Features(patches=patches, pooled=view.readout(prefix)[:, 0])


def _split(view: VisionView, recipe: Recipe) -> tuple[Sequence[BlockView], Sequence[BlockView]]:
    first = len(view.blocks) - recipe.path.blocks
    if first < 0:
        raise Unsupported(
            f"recipe {recipe.id!r} works in the last {recipe.path.blocks} blocks, and this image tower has "
            f"{len(view.blocks)}; use clipsight.surgery.with_depth(recipe, {len(view.blocks)}) or less."
        )
    return view.blocks[:first], view.blocks[first:]


def _plain_head(
    blocks: Sequence[BlockView], x: Float[Tensor, "B S D"], prefix: int
) -> tuple[Float[Tensor, "B N D"], Float[Tensor, "B P D"]]:
    """The tower's own blocks to the end: patches and prefix, bit-equal to the library."""
    for block in blocks:
        x = block(x)
    return x[:, prefix:], x[:, :prefix]


def _head(
    blocks: Sequence[BlockView], x: Float[Tensor, "B S D"], recipe: Recipe, prefix: int
) -> tuple[Float[Tensor, "B N D"], Float[Tensor, "B P D"]]:
    """The new stream of the patches, and the original path's prefix tokens after the last block."""
    entered, total = x[:, prefix:], None
    for block in blocks:
        attention = _last_attention if block is blocks[-1] else _both_attentions
        new, own = attention(block, x, recipe.kernel, prefix)
        total = new if total is None else total + new
        x = x[:, : own.shape[1]] + own
        x = x + block.ffn(x)
    assert total is not None  # every path has at least one block
    stream = entered + total if recipe.residual == "keep" else total
    if recipe.ffn == "keep":
        stream = stream + blocks[-1].ffn(stream)
    return stream, x


def _both_attentions(
    block: BlockView, x: Float[Tensor, "B S D"], kernel: Kernel, prefix: int
) -> tuple[Float[Tensor, "B N D"], Float[Tensor, "B S D"]]:
    """From one projection: the kernel's output for the patches, and the block's own for all tokens."""
    q, k, v = block.qkv(block.norm1(x))
    new = attend(kernel, {"q": q, "k": k, "v": v}, scale=block.scale, prefix=prefix)
    own = F.scaled_dot_product_attention(q, k, v, scale=block.scale)
    return block.merge(new), block.merge(own)


def _last_attention(
    block: BlockView, x: Float[Tensor, "B S D"], kernel: Kernel, prefix: int
) -> tuple[Float[Tensor, "B N D"], Float[Tensor, "B P D"]]:
    """As `_both_attentions`, for the block behind which only the prefix is read: projects what the kernel needs."""
    y = block.norm1(x)
    letters = "qkv"[min("qkv".index(operand) for operand in kernel.operands) :]
    parts = dict(zip(letters, block.qkv(y, letters), strict=True))
    new = attend(kernel, parts, scale=block.scale, prefix=prefix)
    own = block.scores(y[:, :prefix], y).float().softmax(-1).to(y.dtype) @ parts["v"]
    return block.merge(new), block.merge(own)
