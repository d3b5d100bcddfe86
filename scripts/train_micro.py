"""Train two small image towers of other families, to see what surgery does to them: a ResNet and a SigLIP-like ViT.

The ResNet starts from nothing, the SigLIP-like tower from clipsight-tiny's blocks under a new pooling head. Both learn
against the frozen text tower of clipsight-tiny, on training scenes of the emoji world with their captions: the ResNet
by the symmetric contrastive loss, the SigLIP-like tower by the sigmoid loss of pairs (arXiv 2303.15343), both with the
cosine distance to clipsight-tiny's own pooled feature added, so that minutes suffice. No mask, role or foil is seen.
Seeded; a killed run goes on from its last checkpoint.

    python scripts/train_micro.py resnet --out runs/micro
    python scripts/train_micro.py siglip --out runs/micro --steps 400 --lr 5e-4
    python scripts/train_micro.py measure --out runs/micro
    python scripts/train_micro.py draw --out runs/micro

`measure` writes docs/assets/micro_towers.json: noun top-1 on held-out scenes, and pixel AUROC and pointing of maps of
nouns with and without surgery, seeds 101-103. `draw` writes docs/assets/micro_maps.webp.
"""

import argparse
import copy
import json
import math
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import timm
import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from PIL import Image, ImageDraw, ImageFont
from tiny_pool import SIZE, Pool, render_pool
from torch import Tensor, nn
from torch.nn import functional as F
from train_tiny import pixels

import clipsight
from clipsight.bench.world import compare
from clipsight.session.lens import Lens
from clipsight.towers.loading import load_model
from clipsight.world import make_scenes, nouns

DISTANCE = 4.0
SEEDS = (101, 102, 103)
RECIPES = {
    "resnet": ("clip", "clip_surgery.pool-released", "clip_surgery", "naclip", "maskclip", "clearclip"),
    "siglip": ("clip", "clip_surgery", "naclip", "maskclip", "clearclip", "sclip"),
}
FIGURES = Path("docs/assets/micro_towers.json")
SHEET = Path("docs/assets/micro_maps.webp")
TILE, LABEL = 132, 118


class Siglip(TimmModel):
    """timm's SigLIP tower, small: attention pool with a latent query, no class token.

    Its blocks start from those of clipsight-tiny, whose class token is left out; the pooling head starts from nothing.
    """

    def __init__(self, embed_dim: int) -> None:
        nn.Module.__init__(self)
        self.image_size = (SIZE, SIZE)
        self.trunk = timm.create_model(
            "vit_base_patch16_siglip_224",
            img_size=SIZE,
            patch_size=8,
            embed_dim=192,
            depth=6,
            num_heads=3,
            num_classes=embed_dim,
            global_pool="map",
            pre_norm=True,
            act_layer="quick_gelu",
            patch_drop_rate=0.75,
        )
        self.head = nn.Sequential()
        self.trunk.load_state_dict(_blocks_of_tiny(), strict=False)


def _blocks_of_tiny() -> dict[str, Tensor]:
    """Weights of clipsight-tiny's image tower by timm's names."""
    visual = clipsight.load("clipsight-tiny", device="cpu").module.visual
    taken = {
        "patch_embed.proj.weight": visual.conv1.weight,
        "pos_embed": visual.positional_embedding[None, 1:],
        **{f"norm_pre.{name}": t for name, t in visual.ln_pre.state_dict().items()},
        **{f"norm.{name}": t for name, t in visual.ln_post.state_dict().items()},
    }
    for index, block in enumerate(visual.transformer.resblocks):
        taken |= {
            f"blocks.{index}.attn.qkv.weight": block.attn.in_proj_weight,
            f"blocks.{index}.attn.qkv.bias": block.attn.in_proj_bias,
        }
        parts = {
            "norm1": block.ln_1,
            "attn.proj": block.attn.out_proj,
            "norm2": block.ln_2,
            "mlp.fc1": block.mlp.c_fc,
            "mlp.fc2": block.mlp.c_proj,
        }
        for part, module in parts.items():
            taken |= {f"blocks.{index}.{part}.{name}": t for name, t in module.state_dict().items()}
    return {name: t.detach() for name, t in taken.items()}


def tower(kind: str) -> nn.Module:
    """A fresh image tower; the ResNet sees pictures of 160 pixels, a grid of 5 × 5."""
    if kind == "siglip":
        return Siglip(128)
    return ModifiedResNet([1, 1, 1, 1], 128, heads=8, image_size=160, width=16)


def as_model(visual: nn.Module) -> nn.Module:
    """clipsight-tiny with another image tower."""
    model = copy.deepcopy(clipsight.load("clipsight-tiny", device="cpu").module)
    model.visual = visual
    return model.eval()


def opened(model: nn.Module) -> Lens:
    """A lens on the model, with the templates that its text tower was trained with."""
    loaded = load_model(model, device="cpu")
    templates = clipsight.load("clipsight-tiny", device="cpu").card.templates
    return Lens(replace(loaded, card=replace(loaded.card, templates=templates)))


def sized(images: Tensor, visual: nn.Module) -> Tensor:
    """Pictures at the tower's own size."""
    side = visual.image_size if isinstance(visual.image_size, int) else visual.image_size[0]
    return (
        images if side == images.shape[-1] else F.interpolate(images, side, mode="bilinear", antialias=True)
    )


@torch.no_grad()
def taught(pool: Pool, teacher: Lens, folder: Path) -> tuple[Tensor, Tensor]:
    """clipsight-tiny's unit features of all pictures (N,E) and captions (N,C,E), float16, kept in the folder."""
    file = folder / "taught.pt"
    if not file.exists():
        parts = np.array_split(pool.images, len(pool.images) // 250)
        seen = [teacher.encode_image(pixels(part).to(teacher.dtype)) for part in parts]
        flat = torch.from_numpy(pool.tokens.reshape(-1, pool.tokens.shape[-1]).astype(np.int64))
        said = F.normalize(teacher.encode_text(flat).float(), dim=-1).reshape(*pool.tokens.shape[:2], -1)
        torch.save({"seen": F.normalize(torch.cat(seen).float(), dim=-1).half(), "said": said.half()}, file)
    kept = torch.load(file, weights_only=True)
    return kept["seen"], kept["said"]


def loss_of(kind: str, seen: Tensor, said: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """The contrastive or the sigmoid loss of unit features."""
    logits = scale.exp() * seen @ said.T
    if kind == "siglip":
        return -F.logsigmoid((2 * torch.eye(len(logits)) - 1) * (logits + bias)).sum(1).mean()
    target = torch.arange(len(logits))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def train(kind: str, out: Path, pool: Pool, *, steps: int, batch: int, lr: float, seed: int) -> nn.Module:
    """Train, or go on from the last checkpoint."""
    torch.manual_seed(seed)
    visual = tower(kind).to(memory_format=torch.channels_last).train()
    scale = nn.Parameter(torch.tensor(math.log(20.0 if kind == "resnet" else 10.0)))
    bias = nn.Parameter(torch.tensor(-6.0))
    groups = [
        {"params": [p for p in visual.parameters() if p.ndim > 1], "weight_decay": 0.05},
        {"params": [*(p for p in visual.parameters() if p.ndim <= 1), scale, bias], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr, betas=(0.9, 0.98))
    features, texts = taught(pool, clipsight.load("clipsight-tiny", device="cpu", dtype="bf16"), out)
    checkpoint, start = out / f"{kind}.pt", 0
    if checkpoint.exists():
        kept = torch.load(checkpoint, weights_only=True)
        visual.load_state_dict(kept["visual"])
        optimizer.load_state_dict(kept["optimizer"])
        with torch.no_grad():
            scale.copy_(kept["scale"])
            bias.copy_(kept["bias"])
        start = kept["step"]
    clock = time.time()
    for step in range(start, steps):
        rng = np.random.default_rng([seed, step])
        rows = rng.choice(len(pool.images), batch, False)
        said = texts[rows, rng.integers(texts.shape[1], size=batch)].float()
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
        images = sized(pixels(pool.images[rows]), visual).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            seen = visual(images)
        seen = F.normalize(seen.float(), dim=-1)
        distance = 1 - (seen * features[rows].float()).sum(-1).mean()
        loss = loss_of(kind, seen, said, scale, bias) + DISTANCE * distance
        loss.backward()
        nn.utils.clip_grad_norm_(visual.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if (step + 1) % 20 == 0:
            row = {"step": step + 1, "loss": round(loss.item(), 4), "distance": round(distance.item(), 4)}
            row["seconds_per_step"] = round((time.time() - clock) / 20, 3)
            with (out / f"{kind}.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
            clock = time.time()
        if (step + 1) % 50 == 0 or step + 1 == steps:
            state = {"visual": visual.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            torch.save(
                {**state, "scale": scale.detach(), "bias": bias.detach()}, checkpoint.with_suffix(".part")
            )
            os.replace(checkpoint.with_suffix(".part"), checkpoint)
    return visual.eval()


@torch.no_grad()
def noun_top1(lens: Lens, count: int, seed: int) -> float:
    """Share of held-out one-object scenes whose noun has the highest cosine among all."""
    names = nouns()
    texts = F.normalize(lens.encode_text(names, lens.card.templates), dim=-1)
    right = 0
    for scene in make_scenes(count, seed, "heldout", objects=1):
        guess = (lens.encode_image(lens.preprocess(scene.image)) @ texts.T).argmax()
        right += names[int(guess)] == scene.objects[0].name
    return right / count


def measure(out: Path) -> None:
    """Figures of both towers, and of clipsight-tiny beside them."""
    figures = {}
    for kind in ("resnet", "siglip", "clipsight-tiny"):
        if kind == "clipsight-tiny":
            lens, recipes = clipsight.load(kind, device="cpu"), ("clip", "clip_surgery", "naclip")
        else:
            visual = tower(kind)
            kept = torch.load(out / f"{kind}.pt", weights_only=True)
            visual.load_state_dict(kept["visual"])
            lens, recipes = opened(as_model(visual)), RECIPES[kind]
        rows = compare(lens, recipes, seeds=SEEDS, count=60)
        raw = compare(lens, recipes, seeds=SEEDS, count=60, contrast=None)
        top1 = [noun_top1(lens, 150, seed) for seed in SEEDS]
        figures[kind] = {
            "family": lens.card.family,
            "grid": lens.card.grid,
            "steps": None if kind == "clipsight-tiny" else kept["step"],
            "noun_top1": {"mean": sum(top1) / len(top1), "low": min(top1), "high": max(top1)},
            "labels": [row.to_dict() for row in rows],
            "none": [row.to_dict() for row in raw],
        }
        print(kind, figures[kind]["noun_top1"])
        for row, plain in zip(rows, raw, strict=True):
            print(
                f"  {row.recipe:28} AUROC {row.spread('auroc').mean:.3f} raw {plain.spread('auroc').mean:.3f}"
            )
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")


def draw(out: Path) -> None:
    """Both towers' maps of one noun in each of a few scenes: raw, and with the whole of CLIP Surgery."""
    scenes = [scene for scene in make_scenes(40, 101, "heldout", objects=2) if not scene.objects[0].color][:5]
    rows = [[scene.image.resize((TILE, TILE)) for scene in scenes]]
    labels = ["picture"]
    for kind in ("resnet", "siglip"):
        visual = tower(kind)
        visual.load_state_dict(torch.load(out / f"{kind}.pt", weights_only=True)["visual"])
        lens = opened(as_model(visual))
        for method, contrast in (("clip", None), ("clip_surgery", nouns())):
            maps = []
            for scene in scenes:
                name = scene.objects[0].name
                against = None if contrast is None else [other for other in contrast if other != name]
                explained = lens.explain(scene.image, [name], method=method, contrast=against)
                maps.append(explained.overlay(name).resize((TILE, TILE)))
            rows.append(maps)
            labels.append(f"{kind}: {'raw' if contrast is None else 'surgery'}")
    sheet = Image.new("RGB", (LABEL + len(scenes) * (TILE + 6), 22 + len(rows) * (TILE + 6)), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for column, scene in enumerate(scenes):
        pen.text((LABEL + column * (TILE + 6) + 4, 4), scene.objects[0].name, "black", font)
    for row, (label, tiles) in enumerate(zip(labels, rows, strict=True)):
        pen.text((4, 22 + row * (TILE + 6) + TILE // 2 - 8), label, "black", font)
        for column, tile in enumerate(tiles):
            sheet.paste(tile, (LABEL + column * (TILE + 6), 22 + row * (TILE + 6)))
    sheet.save(SHEET, quality=82, method=6)


def main() -> None:
    """Render, train, or measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["resnet", "siglip", "measure", "draw"])
    parser.add_argument("--out", type=Path, default=Path("runs/micro"))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--single", type=int, default=10000)
    parser.add_argument("--mixed", type=int, default=15000)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.what in ("measure", "draw"):
        {"measure": measure, "draw": draw}[args.what](args.out)
        return
    pool = render_pool(args.out / "pool", args.single, args.mixed, args.seed, os.cpu_count() or 1)
    train(args.what, args.out, pool, steps=args.steps, batch=args.batch, lr=args.lr, seed=args.seed)


if __name__ == "__main__":
    main()
