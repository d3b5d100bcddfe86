"""One pass of an image tower with what gradients are taken of, and the gradients of many scores from it."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from clipsight.attribution.image.registry import ImageQuestion
from clipsight.attribution.passes import Trace
from clipsight.features.trunk import onward
from clipsight.towers.block import softmax_seen
from clipsight.towers.view import VisionView


def run_image(question: ImageQuestion, trace: Trace, first: int = 0) -> Float[Tensor, "B E"]:
    """Pooled features, with a graph from block `first` on (from 0), or from the pixels where the question is live.

    Args:
        question: see `ImageQuestion`.
        trace: what to keep: "entered" and "left", "normed", "weights" (attention, float32), by block number from 0.
    """
    view = question.view
    blocks = view.blocks_at(question.grid)
    with torch.set_grad_enabled(question.live):
        x = question.entered()
    for index, block in enumerate(blocks):
        with torch.set_grad_enabled(question.live or index >= first):
            x = trace.keep("entered", index, x)
            whole = trace.wants("weights", index) or trace.wants("left", index)
            if index + 1 == len(blocks) and view.pools == "class" and not whole:
                # Nothing reads the other rows of the last block's output.
                y, prefix = trace.keep("normed", index, block.norm1(x)), slice(0, view.prefix)
                x = onward(block, x[:, prefix], block.merge(block.attend_rows(y[:, prefix], y)))
            elif trace.wants("normed", index) or trace.wants("weights", index):
                q, k, v = block.qkv(trace.keep("normed", index, block.norm1(x)))
                weights = trace.keep("weights", index, softmax_seen((q * block.scale) @ k.mT, None))
                x = onward(block, x, block.merge(weights.to(v.dtype) @ v))
            else:
                x = block(x)
            x = trace.keep("left", index, x)
    return view.pool(x)


def slopes(
    question: ImageQuestion, scores: Float[Tensor, "B T"], wanted: Sequence[Tensor]
) -> Iterator[tuple[Tensor, ...]]:
    """Of each score in turn its gradients with what is wanted: one forward pass serves all texts."""
    count = scores.shape[1]
    for number in range(count):
        keep = question.live or number + 1 < count
        yield torch.autograd.grad(
            scores[:, number].sum(), list(wanted), retain_graph=keep, create_graph=question.live
        )


def block_number(layer: int, view: VisionView) -> int:
    """0-based number of a block, negative from the end.

    Raises:
        ValueError: no block has it.
    """
    depth = len(view.blocks)
    if not -depth <= layer < depth:
        raise ValueError(
            f"layer is {layer}; this image tower has {depth} blocks, 0 to {depth - 1}, or negative."
        )
    return layer % depth


def needs_blocks(view: VisionView) -> str:
    """Why not, of methods that look into blocks."""
    return "" if view.blocks else "it is seen as one piece, without blocks to look into."


def needs_class_row(view: VisionView) -> str:
    """Why not, of methods that read the class token's row of attention."""
    if why := needs_blocks(view):
        return why
    if view.pools != "class":
        return f"its pooled feature is no class token's but by {view.pools}, so no row of attention stands for it."
    return ""
