"""The script that trained the bundled model, under the trainer: its losses are the plain loop's, also after a kill."""

import importlib
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

SCRIPTS = Path(__file__).parents[2] / "scripts"
CHOSEN = {
    "horizon": 8,
    "decay_from": 3,
    "batch": 6,
    "lr": 1.5e-3,
    "warmup": 2,
    "weight_decay": 0.05,
    "single": 20,
    "mixed": 20,
    "dropout": 0.75,
    "late_dropout": 0.5,
    "late": 0.5,
    "color_drop": 0.4,
    "color_drop_from": 1,
    "seed": 3,
}


@pytest.fixture
def script(monkeypatch):
    """The script, run as it is written, without the minutes of a compiler."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.setattr(torch, "compile", lambda function: function)
    return importlib.import_module("train_tiny")


@pytest.fixture
def pool(script, tmp_path, monkeypatch):
    """Forty training scenes, rendered by the script's own renderer in this process."""
    tiny_pool = importlib.import_module("tiny_pool")
    monkeypatch.setattr(tiny_pool, "ProcessPoolExecutor", ThreadPoolExecutor)
    return tiny_pool.render_pool(tmp_path / "pool", CHOSEN["single"], CHOSEN["mixed"], CHOSEN["seed"], 1)


def made(script, pool, folder, optimizer="muon", steps=6):
    """The script's trainer, every step logged and no evaluation, which takes longer than the training."""
    settings = script.Settings(**CHOSEN, optimizer=optimizer, steps=steps)
    trainer = script.make_trainer(settings, pool, folder, save_every=2, eval_every=1000)
    trainer.loop = replace(trainer.loop, log_every=1)
    trainer.evaluate = None
    return trainer


def run(trainer):
    with sdpa_kernel(SDPBackend.MATH):
        return trainer.run()


def told(outcome):
    """All that a log says but the time."""
    return [{k: v for k, v in row.items() if k != "seconds_per_step"} for row in outcome.rows]


def plain_loop(script, pool, settings):
    """Losses and weights of the same training, written out."""
    torch.manual_seed(settings.seed)
    vocabulary = script.Vocabulary(pool)
    clip = script.build(vocabulary, settings.dropout).train()
    trainee = script.Trainee(clip)
    inner = [
        p
        for n, p in clip.named_parameters()
        if "resblocks" in n and p.ndim == 2 and settings.optimizer == "muon"
    ]
    outer = [p for p in clip.parameters() if not any(p is one for one in inner)]
    groups = [
        {"params": [p for p in outer if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in outer if p.ndim <= 1], "weight_decay": 0.0},
    ]
    makers = [torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), foreach=True)]
    if inner:
        decay = settings.weight_decay
        makers.append(torch.optim.Muon(inner, lr=0.0, weight_decay=decay, adjust_lr_fn="match_rms_adamw"))
    losses = []
    for step in range(settings.steps):
        batch = script.make_batch(pool, vocabulary, settings, step)
        torch.manual_seed(settings.seed * 1_000_003 + step)
        late = step >= settings.late * settings.steps
        clip.visual.patch_dropout.prob = settings.late_dropout if late else settings.dropout
        half = {name: p.bfloat16() for name, p in trainee.named_parameters()}
        seen, said = torch.func.functional_call(trainee, half, (batch.images.bfloat16(), batch.ids))
        image, text = F.normalize(seen.float(), dim=-1), F.normalize(said.float(), dim=-1)
        logits = clip.logit_scale.exp() * image @ text.T
        true = torch.arange(len(logits))
        loss = (F.cross_entropy(logits, true) + F.cross_entropy(logits.T, true)) / 2
        loss.backward()
        torch.nn.utils.clip_grad_norm_(clip.parameters(), 1.0)
        for maker in makers:
            for group in maker.param_groups:
                group["lr"] = script.rate(step, settings)
            maker.step()
            maker.zero_grad()
        with torch.no_grad():
            clip.logit_scale.clamp_(max=math.log(100))
        losses.append(round(loss.item(), 6))
    return losses, clip.state_dict()


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_losses_and_weights_are_those_of_a_plain_loop(script, pool, tmp_path, optimizer):
    trainer = made(script, pool, tmp_path / "run", optimizer)
    outcome = run(trainer)
    with sdpa_kernel(SDPBackend.MATH):
        losses, state = plain_loop(script, pool, script.Settings(**trainer.settings))
    assert [row["loss"] for row in outcome.rows] == losses
    assert len(set(losses)) == len(losses)
    for name, tensor in trainer.module.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_a_killed_run_goes_on_as_if_nothing_had_happened(script, pool, tmp_path):
    whole = made(script, pool, tmp_path / "whole")
    unbroken = run(whole)

    def die(row):
        if row["step"] == 5:  # one step after the last checkpoint: its row is on disk, its weights are not
            raise KeyboardInterrupt

    killed = made(script, pool, tmp_path / "killed")
    killed.on_row = die
    with pytest.raises(KeyboardInterrupt):
        run(killed)
    resumed = made(script, pool, tmp_path / "killed")
    started = []
    resumed.on_row = lambda row: started.append(row["step"])
    outcome = run(resumed)
    assert started == [5, 6]
    assert told(outcome) == told(unbroken)
    for name, tensor in resumed.module.state_dict().items():
        assert torch.equal(tensor, whole.module.state_dict()[name]), name


def test_the_batch_says_which_tokens_are_captions(script, pool):
    settings = script.Settings(**CHOSEN, optimizer="muon", steps=6)
    vocabulary = script.Vocabulary(pool)
    batch = script.make_batch(pool, vocabulary, settings, 0)
    ids = torch.from_numpy(vocabulary.ids.astype("int64"))[batch.ids]
    start, end = 49406, 49407
    assert torch.equal(batch.content, (ids != 0) & (ids != start) & (ids != end))
    assert batch.content.any(1).all()
    assert not batch.roles.any()
