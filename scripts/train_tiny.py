"""Train clipsight-tiny from scratch: the plain symmetric contrastive loss on pictures and captions, nothing else.

No mask, role or foil is seen in training. Seeded; writes one JSON line per logged step; a killed run goes on from
its last checkpoint with the same batches. On two cores:

    python scripts/train_tiny.py --out runs/tiny

What makes it fit a small machine: batches run in bfloat16 with float32 master weights, three quarters of the patches
are dropped, token rows that no caption uses are left out (they become the mean row on export), and hidden matrices
take Muon steps (https://kellerjordan.github.io/posts/muon/).
"""

import argparse
import json
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from open_clip import get_tokenizer
from open_clip.model import CLIP
from tiny_pool import SIZE, TOKENS, Pool, render_pool
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from clipsight.towers.folder import write_model_folder
from clipsight.world import COLORS, make_scenes, nouns

MODEL = {
    "embed_dim": 128,
    "quick_gelu": True,
    "vision_cfg": {"image_size": SIZE, "layers": 6, "width": 192, "head_width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 4},
}
TEMPLATES = ("{}", "a photo of {}", "a picture of {}", "an image of {}")
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that the weights depend on."""

    steps: int
    horizon: int
    decay_from: int
    batch: int
    lr: float
    warmup: int
    weight_decay: float
    optimizer: str
    single: int
    mixed: int
    dropout: float
    late_dropout: float
    late: float
    color_drop: float
    color_drop_from: int
    seed: int


class Vocabulary:
    """The token ids that occur, mapped to 0..V-1 in order, so that the end token stays the largest."""

    def __init__(self, pool: Pool) -> None:
        self.ids = np.unique(pool.tokens)
        self.tokenizer = get_tokenizer("ViT-B-32", context_length=TOKENS)
        self.colors = self.tokenizer(list(COLORS))[:, 1].numpy()

    def compact(self, tokens: np.ndarray) -> Tensor:
        return torch.from_numpy(np.searchsorted(self.ids, tokens))

    def __call__(self, texts: list[str]) -> Tensor:
        return self.compact(self.tokenizer(texts).numpy())


class Trainee(nn.Module):
    """An open_clip CLIP whose text tower runs on as many positions as the batch needs."""

    def __init__(self, clip: CLIP) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        clip, length = self.clip, tokens.shape[1]
        x = clip.token_embedding(tokens) + clip.positional_embedding[:length]
        x = clip.ln_final(clip.transformer(x, attn_mask=clip.attn_mask[:length, :length]))
        x = x[torch.arange(len(tokens)), tokens.argmax(-1)] @ clip.text_projection
        return clip.visual(images), x


def build(vocabulary: Vocabulary, dropout: float) -> CLIP:
    """A fresh model over the compact vocabulary."""
    vision = {**MODEL["vision_cfg"], "patch_dropout": dropout}
    text = {**MODEL["text_cfg"], "vocab_size": len(vocabulary.ids)}
    return CLIP(MODEL["embed_dim"], vision, text, quick_gelu=MODEL["quick_gelu"])


def pixels(images: np.ndarray) -> Tensor:
    """Normalised pixels of uint8 pictures, (B,3,H,W)."""
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD


def batch(pool: Pool, vocabulary: Vocabulary, settings: Settings, step: int) -> tuple[Tensor, Tensor]:
    """The batch of a step; one-object scenes lead at first."""
    rng = np.random.default_rng([settings.seed, step])
    alone = np.flatnonzero(pool.objects == 1)
    share = 0.75 if step < 0.3 * settings.horizon else 0.45
    count = int(rng.binomial(settings.batch, share))
    several = np.flatnonzero(pool.objects > 1)
    rows = np.concatenate(
        [rng.choice(alone, count, False), rng.choice(several, settings.batch - count, False)]
    )
    tokens = pool.tokens[rows, rng.integers(pool.tokens.shape[1], size=len(rows))]
    if step >= settings.color_drop_from:
        tokens = without_colors(tokens, vocabulary.colors, settings.color_drop, rng)
    length = min(TOKENS, 8 * math.ceil(int((tokens != 0).sum(1).max()) / 8))
    return pixels(pool.images[rows]), vocabulary.compact(tokens[:, :length])


def without_colors(
    tokens: np.ndarray, colors: np.ndarray, share: float, rng: np.random.Generator
) -> np.ndarray:
    """Captions with a share of their colour words left out, so that a dog is a dog whatever its colour."""
    gone = np.isin(tokens, colors) & (rng.random(tokens.shape) < share)
    order = np.argsort(gone, axis=1, kind="stable")
    return np.take_along_axis(np.where(gone, 0, tokens), order, axis=1)


def optimizers(model: nn.Module, settings: Settings) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices (unless AdamW is asked for all), AdamW for the rest."""
    named = list(model.named_parameters())
    hidden = [p for n, p in named if "resblocks" in n and p.ndim == 2 and settings.optimizer == "muon"]
    taken = {id(p) for p in hidden}
    rest = [p for _, p in named if id(p) not in taken]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    made: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, settings.lr, betas=(0.9, 0.98), foreach=True)
    ]
    if hidden:
        decay = settings.weight_decay
        made.append(torch.optim.Muon(hidden, settings.lr, weight_decay=decay, adjust_lr_fn="match_rms_adamw"))
    return made


def rate(step: int, settings: Settings) -> float:
    """Warm-up, then a cosine towards zero at `horizon`, left at `decay_from` for a straight line to zero at `steps`."""
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    done = (min(step, settings.decay_from) - settings.warmup) / (settings.horizon - settings.warmup)
    curve = settings.lr * 0.5 * (1 + math.cos(math.pi * done))
    left = (settings.steps - step) / (settings.steps - settings.decay_from)
    return curve * min(1.0, left)


@torch.no_grad()
def evaluate(clip: CLIP, vocabulary: Vocabulary, count: int = 300, seed: int = 7) -> dict[str, float]:
    """Held-out noun top-1 on one-object scenes and accuracy per kind of foil (share of foils that score lower)."""
    clip.eval()
    trainee = Trainee(clip)
    blank = torch.zeros(1, 3, SIZE, SIZE)

    def texts(strings: list[str]) -> Tensor:
        return torch.cat(
            [
                F.normalize(trainee(blank, vocabulary(strings[i : i + 256]))[1], dim=-1)
                for i in range(0, len(strings), 256)
            ]
        )

    def images(scenes: list) -> Tensor:
        stack = np.stack([np.asarray(s.image) for s in scenes])
        return torch.cat(
            [F.normalize(clip.visual(pixels(stack[i : i + 50])), dim=-1) for i in range(0, len(stack), 50)]
        )

    names = nouns()
    prototypes = sum(texts([t.format(n) for n in names]) for t in TEMPLATES)
    alone = list(make_scenes(count, seed, "heldout", objects=1))
    guess = (images(alone) @ F.normalize(prototypes, dim=-1).T).argmax(1)
    result = {
        "noun_top1": np.mean([names[g] == s.objects[0].name for g, s in zip(guess, alone, strict=True)])
    }
    mixed = list(make_scenes(count, seed, "heldout"))
    features = images(mixed)
    rows = [(i, foil) for i, scene in enumerate(mixed) for foil in scene.foils]
    gap = texts([f.caption for _, f in rows]) - texts([f.foil for _, f in rows])
    wins = ((features[[i for i, _ in rows]] * gap).sum(-1) > 0).numpy()
    kinds = np.array([f.kind for _, f in rows])
    result |= {str(kind): wins[kinds == kind].mean() for kind in np.unique(kinds)}
    clip.train()
    return {key: round(float(value), 4) for key, value in result.items()}


def train(settings: Settings, pool: Pool, out: Path, save_every: int, eval_every: int) -> CLIP:
    """Train, or go on from the last checkpoint."""
    torch.manual_seed(settings.seed)
    vocabulary = Vocabulary(pool)
    clip = build(vocabulary, settings.dropout).train()
    trainee = Trainee(clip)
    makers = optimizers(clip, settings)
    checkpoint, start = out / "checkpoint.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        if state["settings"] != asdict(settings):
            raise SystemExit(
                f"{checkpoint} was made with other settings: {state['settings']}; choose another --out"
            )
        clip.load_state_dict(state["model"])
        for maker, saved in zip(makers, state["optimizers"], strict=True):
            maker.load_state_dict(saved)
        start = state["step"]
    forward = torch.compile(lambda params, x, t: functional_call(trainee, params, (x, t)))
    clock = time.time()
    with (out / "log.jsonl").open("a") as log, sdpa_kernel(SDPBackend.MATH):
        for step in range(start, settings.steps):
            torch.manual_seed(settings.seed * 1_000_003 + step)
            late = step >= settings.late * settings.steps
            clip.visual.patch_dropout.prob = settings.late_dropout if late else settings.dropout
            images, tokens = batch(pool, vocabulary, settings, step)
            half = {name: p.bfloat16() for name, p in trainee.named_parameters()}
            seen, said = forward(half, images.bfloat16(), tokens)
            logits = (
                clip.logit_scale.exp()
                * F.normalize(seen.float(), dim=-1)
                @ F.normalize(said.float(), dim=-1).T
            )
            target = torch.arange(len(logits))
            loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
            loss.backward()
            norm = nn.utils.clip_grad_norm_(clip.parameters(), 1.0)
            for maker in makers:
                for group in maker.param_groups:
                    group["lr"] = rate(step, settings)
                if torch.isfinite(norm):
                    maker.step()
                maker.zero_grad(set_to_none=True)
            with torch.no_grad():
                clip.logit_scale.clamp_(max=math.log(100))
            done = step + 1
            row: dict[str, float] = {}
            if done % 20 == 0:
                row = {"loss": round(loss.item(), 4), "scale": round(clip.logit_scale.exp().item(), 2)}
                row["seconds_per_step"] = round((time.time() - clock) / 20, 3)
                clock = time.time()
            if done % eval_every == 0 or done == settings.steps:
                row |= evaluate(clip, vocabulary)
            if row:
                log.write(json.dumps({"step": done, **row}) + "\n")
                log.flush()
            if done % save_every == 0 or done == settings.steps:
                state = {"model": clip.state_dict(), "optimizers": [m.state_dict() for m in makers]}
                torch.save(
                    {**state, "step": done, "settings": asdict(settings)}, checkpoint.with_suffix(".part")
                )
                os.replace(checkpoint.with_suffix(".part"), checkpoint)
    return clip


def full_state(state: dict[str, Tensor], ids: np.ndarray) -> dict[str, Tensor]:
    """The state over the whole CLIP vocabulary: rows that were never trained hold the mean row."""
    trained = state["token_embedding.weight"]
    table = trained.mean(0, keepdim=True).repeat(MODEL["text_cfg"]["vocab_size"], 1)
    table[torch.from_numpy(ids.astype(np.int64))] = trained
    return {**state, "token_embedding.weight": table}


def export(clip: CLIP, vocabulary: Vocabulary, folder: Path, settings: dict[str, object]) -> None:
    """Write the folder that ships; `scripts/evaluate_tiny.py` adds the figures."""
    whole = CLIP(**MODEL)
    whole.load_state_dict(full_state(clip.state_dict(), vocabulary.ids))
    preprocess = {
        "size": SIZE,
        "mean": MEAN.flatten().tolist(),
        "std": STD.flatten().tolist(),
        "interpolation": "bicubic",
    }
    card = {
        "about": "Trained from scratch on the emoji world by scripts/train_tiny.py; knows nothing of photographs.",
        "training_command": "python scripts/train_tiny.py --out runs/tiny",
        "training": settings,
        "templates": TEMPLATES,
        "contrast_vocabulary": nouns(),
    }
    write_model_folder(folder, whole, MODEL, {**preprocess, "resize_mode": "squash"}, card)


def main() -> None:
    """Render, train, export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/tiny"))
    parser.add_argument("--pool", type=Path, default=Path("runs/pool"))
    parser.add_argument("--steps", type=int, default=4200)
    parser.add_argument("--horizon", type=int, default=5600)
    parser.add_argument("--decay-from", type=int, default=2300)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--warmup", type=int, default=200)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--optimizer", choices=["muon", "adamw"], default="muon")
    parser.add_argument("--single", type=int, default=40000)
    parser.add_argument("--mixed", type=int, default=100000)
    parser.add_argument("--dropout", type=float, default=0.75)
    parser.add_argument("--late-dropout", type=float, default=0.5)
    parser.add_argument("--late", type=float, default=0.9)
    parser.add_argument("--color-drop", type=float, default=0.4)
    parser.add_argument("--color-drop-from", type=int, default=2100)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--save-every", type=int, default=100)
    parser.add_argument("--eval-every", type=int, default=500)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    chosen = {name: getattr(args, name) for name in Settings.__dataclass_fields__}
    pool = render_pool(args.pool, args.single, args.mixed, args.seed, os.cpu_count() or 1)
    clip = train(Settings(**chosen), pool, args.out, args.save_every, args.eval_every)
    export(clip, Vocabulary(pool), args.out / "clipsight-tiny", chosen)


if __name__ == "__main__":
    main()
