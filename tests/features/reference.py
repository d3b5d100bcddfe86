"""The methods written a second time, slowly, picture by picture and head by head, from the weights and the formulas.

What the executor is compared with. Nothing here is shared with the package.
"""

import math
from collections.abc import Callable

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


Tower = torch.nn.Module
Numbers = dict[str, float]


@torch.no_grad()
def trunk(visual: Tower, images: Tensor, denoise: Callable[..., Tensor] | None = None) -> list[Tensor]:
    """Tokens before the first block and after each; with `denoise` patches are changed after every block."""
    stream = [tokens_of(visual, images)]
    p = visual.patch_size[0]
    grid = images.shape[-2] // p, images.shape[-1] // p
    for block in visual.transformer.resblocks:
        x = stream[-1] + attention(block, stream[-1], [("q", "k", 1.0)])
        x = x + network(block, x)
        if denoise is not None:
            x = torch.stack([torch.cat([one[:1], denoise(one[1:], grid)]) for one in x])
        stream.append(x)
    return stream


def own_maps(block: Tower, x: Tensor, a: str = "q", b: str = "k") -> Tensor:
    """softmax(s a bᵀ) of one sequence (S, D) before its norm, head by head; (K, S, S)."""
    maps = []
    for q, k, v in heads_of(block, block.ln_1(x)):
        parts = {"q": q, "k": k, "v": v}
        maps.append(torch.softmax(parts[a] @ parts[b].T / q.shape[1] ** 0.5, dim=1))
    return torch.stack(maps)


def merged(block: Tower, outputs: list[Tensor]) -> Tensor:
    """Heads side by side, projected; (S, D)."""
    return block.ls_1(torch.cat(outputs, dim=1) @ block.attn.out_proj.weight.T + block.attn.out_proj.bias)


def read(visual: Tower, rows: list[Tensor]) -> Tensor:
    """Final norm and projection, pictures stacked."""
    return visual.ln_post(torch.stack(rows)) @ visual.proj


def omega(grid: tuple[int, int], sigma: float, prefix: int = 1) -> Tensor:
    """NACLIP's Gaussian of the distance, pair by pair, 0 in the class token's row and column."""
    places = [(r, c) for r in range(grid[0]) for c in range(grid[1])]
    out = torch.zeros(prefix + len(places), prefix + len(places))
    for i, (r, c) in enumerate(places):
        for j, (y, x) in enumerate(places):
            out[prefix + i, prefix + j] = math.exp(-((r - y) ** 2 + (c - x) ** 2) / (2 * sigma**2))
    return out


def last_block(
    visual: Tower, stream: list[Tensor], head: Callable[..., Tensor], *, keep: bool = False
) -> Tensor:
    """out_proj of head(number, q, k, v) over all tokens of the last block; with `keep` residual and network."""
    block, rows = visual.transformer.resblocks[-1], []
    for x in stream[-2]:
        heads = heads_of(block, block.ln_1(x))
        out = merged(block, [head(index, q, k, v) for index, (q, k, v) in enumerate(heads)])
        if keep:
            out = x + out
            out = out + network(block, out[None])[0]
        rows.append(out[1:])
    return read(visual, rows)


def soft(a: Tensor, b: Tensor, bias: Tensor | float = 0.0) -> Tensor:
    return torch.softmax(a @ b.T / a.shape[1] ** 0.5 + bias, dim=1)


def naclip(visual: Tower, images: Tensor, grid: tuple[int, int], sigma: float = 5.0) -> Tensor:
    bias = omega(grid, sigma)
    return last_block(visual, trunk(visual, images), lambda _, q, k, v: soft(k, k, bias) @ v)


def resclip(visual: Tower, images: Tensor, grid: tuple[int, int], host: str, tau=2.0, mix=0.3) -> Tensor:
    """First pass: A = τ ((1 - λ) A + λ · mean of the attention of blocks 6 to 9), head with head."""
    stream, blocks = trunk(visual, images), visual.transformer.resblocks
    bias, rows = omega(grid, 5.0), []
    for number in range(len(images)):
        context = torch.stack([own_maps(blocks[i], stream[i][number]) for i in (5, 6, 7, 8)]).mean(0)

        def head(index, q, k, v, context=context):
            own = {
                "naclip": lambda: soft(k, k, bias),
                "clearclip": lambda: soft(q, q),
                "sclip": lambda: soft(q, q) + soft(k, k),
            }[host]()
            return tau * ((1 - mix) * own + mix * context[index]) @ v

        one = [x[number : number + 1] for x in stream]
        rows.append(last_block(visual, one, head, keep=host == "sclip")[0])
    return torch.stack(rows)


def pearl(visual: Tower, images: Tensor, alpha: float = 0.08, steps: int | None = 5) -> Tensor:
    def head(_, q, k, v):
        weights = q.norm(dim=1)
        weights[0] = 0
        weights = weights / (weights.sum() + 1e-6)
        q_c, k_c = q - weights @ q, k - weights @ k
        scores = q @ (k @ polar(k_c.T @ q_c, steps)).T + alpha * k_c @ k_c.T
        return torch.softmax(scores / q.shape[1] ** 0.5, dim=1) @ v

    return last_block(visual, trunk(visual, images), head)


def polar(m: Tensor, steps: int | None) -> Tensor:
    """M (MᵀM)^(-1/2), nearly: Newton-Schulz from the Frobenius norm with a ridge; None is exact."""
    if steps is None:
        left, _, right = torch.linalg.svd(m)
        return left @ right
    square, eye = m.T @ m, torch.eye(len(m))
    size = max(float(square.norm()), 1e-6)
    y, z = square / size + 1e-6 * eye, eye
    for _ in range(steps):
        step = (3 * eye - z @ y) / 2
        y, z = y @ step, step @ z
    return m @ z / math.sqrt(size)


def gem(visual: Tower, images: Tensor, blocks: int = 6, rounds: int = 1, temperature=None) -> Tensor:
    """The stream as it entered the last `blocks`, plus out_proj of the mean of three self-self maps' outputs."""
    stream, total = trunk(visual, images), None
    first = len(visual.transformer.resblocks) - blocks
    total = stream[first].clone()
    for at in range(first, len(visual.transformer.resblocks)):
        block = visual.transformer.resblocks[at]
        for number, x in enumerate(stream[at]):
            y, outputs = block.ln_1(x), []
            for q, k, v in heads_of(block, y):
                tau = temperature or y.norm(dim=1).mean() / q.shape[1] ** 0.5
                own = torch.zeros_like(v)
                for z in (v, k, q):
                    for _ in range(rounds):
                        z = z / z.norm(dim=1, keepdim=True)
                        z = torch.softmax(tau * z @ z.T, dim=1) @ z
                    z = z / z.norm(dim=1, keepdim=True)
                    own = own + torch.softmax(tau * z @ z.T, dim=1) @ v / 3
                outputs.append(own)
            total[number] = total[number] + merged(block, outputs)
    return read(visual, list(total[:, 1:]))


def cliper(visual: Tower, images: Tensor) -> Tensor:
    """All read-outs (L, B, N, E): after k rounds of columns and rows, in place on the sum of the attention."""
    stream, blocks, levels = trunk(visual, images), visual.transformer.resblocks, []
    sums = [
        sum(own_maps(block, stream[at][number]) for at, block in enumerate(blocks[:-1]))
        for number in range(len(images))
    ]
    for level, block in enumerate(blocks):
        rows = []
        for number in range(len(images)):
            sums[number] = sums[number] / sums[number].sum(1, keepdim=True)
            sums[number] = sums[number] / sums[number].sum(2, keepdim=True)
            maps = (sums[number] + sums[number].transpose(1, 2)) / 2
            maps = (maps - maps.mean(1, keepdim=True)).clamp(min=0)
            maps = maps / maps.sum(2, keepdim=True)
            x = stream[level][number]
            y = blocks[-1].ln_1(x if block is blocks[-1] else block.ln_1(x))
            outputs = [one @ v for one, (_, _, v) in zip(maps, heads_of(blocks[-1], y), strict=True)]
            rows.append(merged(blocks[-1], outputs)[1:])
        levels.append(read(visual, rows))
    return torch.stack(levels)


def cosines(x: Tensor) -> Tensor:
    unit = x / x.norm(dim=1, keepdim=True)
    return unit @ unit.T


def smooth(x: Tensor, likeness: Tensor) -> Tensor:
    return likeness / (likeness.sum(1, keepdim=True) + 1e-6) @ x


def focus(likeness: Tensor) -> Tensor:
    scores = 3 * (likeness - likeness.mean())
    return torch.softmax(scores.masked_fill(scores < 0, -math.inf), dim=1)


def outlier_scores(x: Tensor, k: int = 30) -> Tensor:
    """SC-CLIP's: mean over the k nearest of the own k-th squared distance over theirs."""
    squared = ((x[:, None] - x[None]) ** 2).sum(-1)
    near = [[j for j in row.argsort().tolist() if j != i][:k] for i, row in enumerate(squared)]
    far = torch.stack([squared[i, row[-1]] for i, row in enumerate(near)])
    return torch.stack([(far[i] / far[row]).mean() for i, row in enumerate(near)])


def mended(x: Tensor, flagged: Tensor, grid: tuple[int, int]) -> Tensor:
    """Each flagged patch the mean of its clean neighbours of eight, or itself without one."""
    out = x.clone()
    for i in flagged.nonzero().flatten().tolist():
        r, c = divmod(i, grid[1])
        around = [
            y * grid[1] + z
            for y in range(max(r - 1, 0), min(r + 2, grid[0]))
            for z in range(max(c - 1, 0), min(c + 2, grid[1]))
            if (y, z) != (r, c) and not flagged[y * grid[1] + z]
        ]
        if around:
            out[i] = x[around].mean(0)
    return out


def flagged_by(name: str, visual: Tower, stream: list[Tensor], number: int) -> Tensor:
    """The patches that a detector flags in one picture."""
    x = stream[-2][number][1:]
    flags = torch.zeros(len(x), dtype=torch.bool)
    if name == "lof":
        scores = outlier_scores(x)
        return scores > scores.quantile(0.95)
    if name == "l2":
        flags[x.norm(dim=1).topk(10).indices] = True
    if name == "som":
        maps = own_maps(visual.transformer.resblocks[-2], stream[-3][number])
        seen = (1.5 * maps[:, 0, 1:]).mean(0)
        own = torch.stack([one.diagonal()[1:] for one in maps]).mean(0)
        better = [i for i in seen.argsort(descending=True).tolist() if seen[i] > own[i]]
        flags[better[:10]] = True
    return flags


def two_streams(visual: Tower, images: Tensor, grid: tuple[int, int], kind: str, numbers: Numbers) -> Tensor:
    """SC-CLIP, DIH-CLIP, and SFP by detector: `kind` is "sc_clip", "dih_clip", "sfp", "sfp.l2" or "sfp.lof"."""
    stream, blocks, rows = trunk(visual, images), visual.transformer.resblocks, []
    pre, post, share = int(numbers["pre"]), int(numbers["post"]), numbers["share"]
    last = blocks[-1]
    for number in range(len(images)):
        entering, first = stream[-2][number], stream[pre][number]
        patches, guide = entering[1:], first[1:]
        if kind == "dih_clip":
            guide = (first + side_output(blocks[pre - 1], stream[pre - 1][number]))[1:]
        else:
            name = {"sc_clip": "lof", "sfp": "som"}.get(kind, kind.split(".")[-1])
            flags = flagged_by(name, visual, stream, number)
            patches, guide = mended(patches, flags, grid), mended(guide, flags, grid)
        likeness = cosines(guide)
        floored = likeness * (likeness >= 0.4)
        shared = focus(floored if kind.startswith("sfp") else likeness)
        after = cosines(stream[post][number][1:])
        after = after * (after >= 0.4)
        fused = sum(x[number] for x in stream[int(numbers["first"]) : int(numbers["last"]) + 1])
        total = torch.zeros(())
        for x, token, second in (
            (smooth(patches, floored), entering[0], False),
            (fused[1:], fused[0], True),
        ):
            out = patch_head(last, x, shared, kind, second=second) + share * token
            total = total + smooth(out, after)
        rows.append(total)
    return read(visual, rows)


def patch_head(block: Tower, x: Tensor, shared: Tensor, kind: str, *, second: bool) -> Tensor:
    """The last block's output for patches alone, after out_proj."""
    heads = heads_of(block, block.ln_1(x))
    if kind.startswith("sfp"):
        maps = [shared if second else (soft(k, k) + soft(q, q) + shared) / 3 for q, k, _ in heads]
    else:
        maps = [(soft(k, k) + shared) / 2 for _, k, _ in heads]
    if kind != "dih_clip":
        return merged(block, [one @ v for one, (_, _, v) in zip(maps, heads, strict=True)])
    full = torch.cat([v for _, _, v in heads], dim=1)
    return merged(block, [sum(maps[i] @ full for i in sharpest(maps)) / len(maps)])


def sharpest(maps: list[Tensor]) -> list[int]:
    """Numbers of the heads of lowest entropy: of K heads max(1, round(K · 4 / 12))."""
    entropies = torch.stack([-(p * torch.log2(p + 1e-6)).sum() for p in maps])
    return entropies.argsort()[: max(1, round(len(maps) * 4 / 12))].tolist()


def side_output(block: Tower, x: Tensor) -> Tensor:
    """DIH-CLIP's: keys with keys in the sharpest heads of the block's own attention, over values of full width."""
    chosen = sharpest(list(own_maps(block, x)))
    heads = heads_of(block, block.ln_1(x))
    full = torch.cat([v for _, _, v in heads], dim=1)
    return merged(block, [sum(soft(heads[i][1], heads[i][1]) @ full for i in chosen)])


def denoised(x: Tensor, grid: tuple[int, int], sinks: tuple[int, ...] | None, sigma: float) -> Tensor:
    """RF-CLIP's change of the patches (N, D) of one picture; sinks None are the eight channels of largest share."""
    shares = torch.stack([(row - row.min()) / (row - row.min()).sum() for row in x])
    channels = sinks or shares.amax(0).argsort(descending=True)[:8].tolist()
    out = x.clone()
    for i, row in enumerate(shares):
        if max(float(row[c]) for c in channels) > sigma / x.shape[1]:
            r, c = divmod(i, grid[1])
            nine = [
                x[y * grid[1] + z] if 0 <= y < grid[0] and 0 <= z < grid[1] else torch.zeros_like(row)
                for y in (r - 1, r, r + 1)
                for z in (c - 1, c, c + 1)
            ]
            out[i] = 0.6 * x[i] + 0.4 * torch.stack(nine).mean(0)
    return out


def rf_clip(
    visual: Tower, images: Tensor, grid: tuple[int, int], sinks: tuple[int, ...] | None, sigma: float
) -> Tensor:
    stream = trunk(visual, images, lambda x, where: denoised(x, where, sinks, sigma))
    blocks, rows = visual.transformer.resblocks, []
    last = blocks[-1]
    for number in range(len(images)):
        guide = torch.stack([x[number] for x in stream[1:]]).mean(0)
        likeness = cosines(guide[1:])
        likeness = likeness * (likeness >= 0.4)
        earlier = [own_maps(block, stream[at][number], "k", "k") for at, block in enumerate(blocks[:-1])]
        total = torch.zeros(())
        for x in (stream[-2][number], guide):
            x = torch.cat([x[:1], likeness @ x[1:]])
            maps = torch.stack([*earlier, own_maps(last, x, "k", "k")]).mean(0)[:, 1:, 1:]
            values = [v[1:] for _, _, v in heads_of(last, last.ln_1(x))]
            total = total + merged(last, [one @ v for one, v in zip(maps, values, strict=True)]) / 2
        rows.append(total)
    return read(visual, rows)
