"""The image side: a pooled image feature as the sum of each patch's contribution, and named remainders."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from clipsight.attribution.exact.stream import By, Parts, Tokens, along, read_row
from clipsight.attribution.match import exact
from clipsight.errors import Unsupported
from clipsight.towers.paths import Path
from clipsight.towers.pooling import MeanPooling, ProbePooling, RowPooling
from clipsight.towers.view import BlockView, VisionView


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageShares:
    """Parts of B pooled image features; they add up to `feature` in the joint space.

    Each part is held as products with C directions where directions were given, else as vectors of the joint space
    (C = E). Units are those of the feature before it is normalised.

    Attributes:
        patches: of the patches, rows top to bottom. With `by` block or heads stand in front: (L, B, h, w, C),
            (L, K, B, h, w, C).
        prefix: of the class token and registers as sources; zero where there are none.
        networks: of the networks that the pooled row went through.
        constant: biases, and what entered the first block at the pooled row.
        feature: the pooled feature itself (B, E), not normalised.
    """

    patches: Float[Tensor, "*split B h w C"]
    prefix: Float[Tensor, "B C"]
    networks: Float[Tensor, "B C"]
    constant: Float[Tensor, "B C"]
    feature: Float[Tensor, "B E"]

    def along(self, directions: Float[Tensor, "C E"]) -> "ImageShares":
        """The products of whole vectors with directions given later."""
        parts = (self.patches, self.prefix, self.networks, self.constant)
        patches, prefix, networks, constant = (part @ directions.to(part).mT for part in parts)
        return replace(self, patches=patches, prefix=prefix, networks=networks, constant=constant)


def image_shares(
    view: VisionView,
    images: Float[Tensor, "B 3 H W"],
    directions: Float[Tensor, "C E"] | None = None,
    *,
    by: By | None = None,
    differentiable: bool = False,
    tokens: Tokens | None = None,
) -> ImageShares:
    """From which patches does the pooled feature get its components along these directions?

    ⟨part, direction⟩ / (|feature| |direction|) is the part's share of the cosine. One pass of the tower, whose last
    block runs for the pooled row alone; no tensor of patches × channels × blocks is made.

    Args:
        view: the image tower; nothing of it is changed.
        images: normalised pixels, both sides multiples of the patch.
        directions: text features of any length; None keeps whole vectors, for directions that come later.
        by: split the patches' shares by block, or by block and head.
        differentiable: keep the graph.
        tokens: of a pass of these pictures that was begun before, such as a `clipsight.features.Trunk`; what was made
            is used, what is made is kept there.

    Raises:
        Unsupported: the tower's pooled feature has no affine end, or there are no blocks to split by.
    """
    pooling, grid = view.pooling(), view.grid(*images.shape[-2:])
    if by is not None and not (view.blocks and isinstance(pooling, RowPooling)):
        raise Unsupported(
            f"shares by {by} were asked for, and this tower's pooled feature reads the patches once, behind its "
            "blocks; ask without `by`."
        )
    with torch.inference_mode(False), torch.set_grad_enabled(differentiable):
        pixels = images.clone() if images.is_inference() else images
        x = view.embed(pixels.to(view.device)) if tokens is None else tokens.entering(1)
        if directions is not None:
            directions = directions.clone() if directions.is_inference() else directions
            directions = directions.to(view.device, torch.promote_types(view.dtype, torch.float32))
        blocks = view.blocks_at(grid)
        match pooling:
            case RowPooling(after=after):
                parts, prefix = read_row(blocks, x, 0, after, directions, by=by, tokens=tokens), view.prefix
            case MeanPooling(before=before, after=after):
                left = _run(blocks, x, tokens)[:, view.prefix :]
                parts, prefix = _read_mean(left, before, after, directions), 0
            case ProbePooling():
                # A ResNet's one block is its pool.
                left = _run(blocks, x, tokens) if all(block.residual for block in blocks) else x
                parts, prefix = _read_probe(left, grid, pooling, directions), view.prefix
        before_patches = parts.sources[..., :prefix, :].sum(-2)
        return ImageShares(
            patches=rearrange(parts.sources[..., prefix:, :], "... (h w) C -> ... h w C", h=grid[0]),
            prefix=before_patches if by is None else before_patches.flatten(0, -3).sum(0),
            networks=parts.networks,
            constant=parts.constant,
            feature=parts.feature,
        )


def _read_mean(
    tokens: Float[Tensor, "B N D"], before: Path, after: Path, directions: Float[Tensor, "C E"] | None
) -> Parts:
    inner, count = before.at(tokens), tokens.shape[1]
    outer = after.at(inner.value.mean(1))
    if directions is None or after.gated or before.gated:
        sources = along(outer.linear(inner.linear(tokens) / count), directions)
    else:
        scale = outer.scale[:, None] * inner.scale / count
        sources = (exact(tokens) @ before.pull(after.pull(directions)).mT) * scale[..., None]
    constant = along(outer.linear(inner.constant.mean(1)) + outer.constant, directions)
    return Parts(sources=sources, networks=torch.zeros_like(constant), constant=constant, feature=outer.value)


def _read_probe(
    tokens: Float[Tensor, "B S D"],
    grid: tuple[int, int],
    pooling: ProbePooling,
    directions: Float[Tensor, "C E"] | None,
) -> Parts:
    read, merge, after = pooling.read(tokens, grid), pooling.merge, pooling.after
    heads = rearrange(read.weights[..., None] * read.values, "B K S d -> B S (K d)")
    aside = torch.zeros_like(heads[:, 0])
    if read.aside is not None:
        aside = rearrange(exact(read.aside), "B K d -> B (K d)")
    merged = merge.at(heads.sum(1) + aside)
    network = torch.zeros_like(merged.value)
    if pooling.network is not None:
        network = exact(pooling.network(merged.value.to(tokens.dtype)))
    held = after.at(merged.value + network)
    if directions is None or after.gated:
        sources = along(held.linear(merged.linear(heads)), directions)
    else:
        scale = (merged.scale * held.scale)[:, None, None]
        sources = (heads @ merge.pull(after.pull(directions)).mT) * scale
    rest = held.linear(merged.constant + merged.linear(aside)) + held.constant
    return Parts(
        sources=sources,
        networks=along(held.linear(network), directions),
        constant=along(rest, directions),
        feature=held.value,
    )


def _run(
    blocks: Sequence[BlockView], x: Float[Tensor, "B S D"], tokens: Tokens | None
) -> Float[Tensor, "B S D"]:
    if tokens is not None:
        return tokens.entering(len(blocks) + 1)
    for block in blocks:
        x = block(x)
    return x
