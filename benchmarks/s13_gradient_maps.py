"""S13: gradient maps of 16 texts for one image, from block 7 on, against the image repeated 16 times."""

import open_clip
import torch
from timing import ratio, report

from clipsight.attribution.image import attribute_patches
from clipsight.towers.open_clip_vit import OpenClipVision

TEXTS, FIRST = 16, 6
model = open_clip.create_model("ViT-B-16", force_quick_gelu=True).eval()
view = OpenClipVision(model.visual)
x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
texts = torch.nn.functional.normalize(
    torch.randn(TEXTS, 512, generator=torch.Generator().manual_seed(0)), dim=-1
)


def ours() -> torch.Tensor:
    return attribute_patches(view, x, texts, method="gradcam", layer=FIRST, act="signed").maps


def repeated(pruned: bool) -> torch.Tensor:
    """A batch of copies, each with its own text.

    Args:
        pruned: ask autograd for that one gradient; published programs call `backward`, which fills the parameters' too.
    """
    tokens, block = view.embed(x.expand(TEXTS, -1, -1, -1)), view.blocks[FIRST]
    for earlier in view.blocks[:FIRST]:
        tokens = earlier(tokens)
    kept = block.norm1(tokens)
    q, k, v = block.qkv(kept)
    tokens = tokens + block.merge(torch.nn.functional.scaled_dot_product_attention(q, k, v))
    tokens = tokens + block.ffn(tokens)
    for later in view.blocks[FIRST + 1 :]:
        tokens = later(tokens)
    s = (torch.nn.functional.normalize(view.pool(tokens), dim=-1) * texts).sum()
    if pruned:
        (slope,) = torch.autograd.grad(s, kept)
    else:
        kept.retain_grad()
        s.backward()
        slope = kept.grad
        model.zero_grad()
    return (kept[:, 1:] * slope[:, 1:].mean(1, keepdim=True)).sum(-1).reshape(1, TEXTS, 14, 14).detach()


rows = []
for pruned in (False, True):
    expected = repeated(pruned)
    row = ratio(ours, lambda p=pruned: repeated(p), rounds=7, warm=1)
    rows.append(
        {
            "work": "gradcam, 16 texts, from block 7",
            "baseline": f"the image repeated 16 times, {'autograd.grad' if pruned else 'backward'}",
            **row,
            "times_faster": 1 / row["ratio"],
            "relative_difference": float((ours() - expected).abs().max() / expected.abs().max()),
            "target": ">= 3.5 x",
        }
    )
report("S13", rows)
