"""Train clipsight-tiny from scratch: the plain symmetric contrastive loss on pictures and captions, nothing else.

No mask, role or foil is seen in training. The loop is clipsight's own trainer: one JSON line per logged step, and a
killed run goes on from its last checkpoint with the same batches. On two cores:

    python scripts/train_tiny.py --out runs/tiny

What makes it fit a small machine: batches run in bfloat16 with float32 master weights, three quarters of the patches
are dropped, token rows that no caption uses are left out (they become the mean row on export), and hidden matrices
take Muon steps (https://kellerjordan.github.io/posts/muon/).
"""

import argparse
import itertools
import math
import os
from collections.abc import Iterator
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

from clipsight.checkpoints.folder import write_model_folder
from clipsight.tune.data.batch import Batch
from clipsight.tune.objectives.contrastive import Contrastive
from clipsight.tune.objectives.objective import StepFeatures
from clipsight.tune.objectives.weighted import WeightedObjective
from clipsight.tune.trainer import Loop, Trainer
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


def make_batch(pool: Pool, vocabulary: Vocabulary, settings: Settings, step: int) -> Batch:
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
    ids = vocabulary.compact(tokens[:, :length])
    place, end = torch.arange(length), ids.argmax(-1, keepdim=True)
    return Batch(
        images=pixels(pool.images[rows]),
        ids=ids,
        content=(place > 0) & (place < end),
        roles=torch.zeros(ids.shape, dtype=torch.uint8),
        index=torch.from_numpy(rows),
    )


def without_colors(
    tokens: np.ndarray, colors: np.ndarray, share: float, rng: np.random.Generator
) -> np.ndarray:
    """Captions with a share of their colour words left out, so that a dog is a dog whatever its colour."""
    gone = np.isin(tokens, colors) & (rng.random(tokens.shape) < share)
    order = np.argsort(gone, axis=1, kind="stable")
    return np.take_along_axis(np.where(gone, 0, tokens), order, axis=1)


def optimizers(model: nn.Module, settings: Settings) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices (unless AdamW is asked for all), AdamW for the rest; `rate` is their whole rate."""
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
    for group in itertools.chain.from_iterable(one.param_groups for one in made):
        group["initial_lr"] = 1.0
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


def make_trainer(settings: Settings, pool: Pool, out: Path, save_every: int, eval_every: int) -> Trainer:
    """A fresh model under the trainer; its `run` trains, or goes on from the checkpoint in `out`."""
    torch.manual_seed(settings.seed)
    vocabulary = Vocabulary(pool)
    clip = build(vocabulary, settings.dropout).train()
    trainee = Trainee(clip)
    forward = torch.compile(lambda params, x, t: functional_call(trainee, params, (x, t)))

    def encode(batch: Batch, *, keep: bool = True) -> tuple[StepFeatures, None]:
        half = {name: p.bfloat16() for name, p in trainee.named_parameters()}
        image, text = forward(half, batch.images.bfloat16(), batch.ids)
        return StepFeatures(image=image, text=text, scale=clip.logit_scale.exp()), None

    def set_dropout(step: int) -> None:
        late = step >= settings.late * settings.steps
        clip.visual.patch_dropout.prob = settings.late_dropout if late else settings.dropout

    def batches(start: int) -> Iterator[Batch]:
        return (make_batch(pool, vocabulary, settings, step) for step in itertools.count(start))

    return Trainer(
        module=clip,
        encode=encode,
        terms=[WeightedObjective(objective=Contrastive(), weight=1.0, ramp=0.0)],
        optimizers=optimizers(clip, settings),
        schedule=lambda step: rate(step, settings),
        batches=batches,
        loop=Loop(
            steps=settings.steps,
            clip=1.0,
            save_every=save_every,
            log_every=20,
            evaluate_every=eval_every,
            seed=settings.seed,
        ),
        settings=asdict(settings),
        folder=out,
        before_step=set_dropout,
        evaluate=lambda: evaluate(clip, vocabulary),
    )


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
    chosen = {name: getattr(args, name) for name in Settings.__dataclass_fields__}
    pool = render_pool(args.pool, args.single, args.mixed, args.seed, os.cpu_count() or 1)
    trainer = make_trainer(Settings(**chosen), pool, args.out, args.save_every, args.eval_every)
    with sdpa_kernel(SDPBackend.MATH):
        trainer.run()
    export(trainer.module, Vocabulary(pool), args.out / "clipsight-tiny", chosen)


if __name__ == "__main__":
    main()
