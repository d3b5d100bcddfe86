"""CLIP Surgery written a second time, slowly, from the weights and the formulas: what the executor is compared with."""

import torch
from torch import Tensor
from torch.nn import functional as F


def stretched(table: Tensor, native: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Positions stretched bilinearly, prefix row kept."""
    image = table[1:].T.reshape(1, -1, *native)
    patches = F.interpolate(image, size=grid, mode="bilinear", align_corners=False)
    return torch.cat([table[:1], patches.reshape(table.shape[1], -1).T])


def tokens_of(visual: torch.nn.Module, images: Tensor) -> Tensor:
    """Tokens before the first block, patch by patch."""
    p = visual.patch_size[0]
    grid = images.shape[-2] // p, images.shape[-1] // p
    flat = visual.conv1.weight.flatten(1)
    rows = [
        torch.stack(
            [
                flat @ image[:, r * p : r * p + p, c * p : c * p + p].flatten()
                for r in range(grid[0])
                for c in range(grid[1])
            ]
        )
        for image in images
    ]
    tokens = torch.stack([torch.cat([visual.class_embedding[None], patches]) for patches in rows])
    table = visual.positional_embedding
    return visual.ln_pre(
        tokens + (table if grid == visual.grid_size else stretched(table, visual.grid_size, grid))
    )


def heads_of(block: torch.nn.Module, y: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """(q, k, v) of one sequence (S, D), head by head."""
    width, heads = y.shape[1], block.attn.num_heads
    q, k, v = (y @ block.attn.in_proj_weight.T + block.attn.in_proj_bias).split(width, dim=1)
    d = width // heads
    return [(q[:, i : i + d], k[:, i : i + d], v[:, i : i + d]) for i in range(0, width, d)]


def attention(block: torch.nn.Module, x: Tensor, branches: list[tuple[str, str, float]]) -> Tensor:
    """out_proj of the weighted sum of softmax maps times the values, per picture and head; (B, S, D)."""
    out = []
    for y in block.ln_1(x):
        merged = []
        for q, k, v in heads_of(block, y):
            parts = {"q": q, "k": k, "v": v}
            maps = sum(
                w * torch.softmax(parts[a] @ parts[b].T / q.shape[1] ** 0.5, dim=1) for a, b, w in branches
            )
            merged.append(maps @ v)
        out.append(torch.cat(merged, dim=1) @ block.attn.out_proj.weight.T + block.attn.out_proj.bias)
    return block.ls_1(torch.stack(out))


def network(block: torch.nn.Module, x: Tensor) -> Tensor:
    """Second norm, feed-forward network, layer scale."""
    return block.ls_2(block.mlp(block.ln_2(x)))


def surgery(
    visual: torch.nn.Module,
    images: Tensor,
    *,
    depth: int,
    branches: list[tuple[str, str, float]],
    residual: bool = True,
    ffn: bool = False,
) -> tuple[Tensor, Tensor]:
    """(patches (B, N, E), pooled (B, E)): two full streams of all tokens, row 0 of the result from the original."""
    x = tokens_of(visual, images)
    blocks = list(visual.transformer.resblocks)
    for block in blocks[: len(blocks) - depth]:
        x = x + attention(block, x, [("q", "k", 1.0)])
        x = x + network(block, x)
    new = x if residual else torch.zeros_like(x)
    for block in blocks[len(blocks) - depth :]:
        new = new + attention(block, x, branches)
        x = x + attention(block, x, [("q", "k", 1.0)])
        x = x + network(block, x)
    if ffn:
        new = new + network(blocks[-1], new)
    features = visual.ln_post(torch.cat([x[:, :1], new[:, 1:]], dim=1)) @ visual.proj
    return features[:, 1:], features[:, 0]
