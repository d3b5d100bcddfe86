"""S10: a training step with each CAE loss against the same without; targets AB 1.05, PB 1.45, GCB 1.3, GB 2.2 x.

ViT-B/32, batch 32, float32, random weights and pixels. Captions fill the 77 positions, the worst case for losses on the
text tower; with captions of 14 tokens, as people write them, both sides cut the text.
"""

import sys
from collections.abc import Callable

import open_clip
import torch
from timing import ratio, report

from clipsight.towers.families import towers_of
from clipsight.tune import Cae, CaeOptions, Contrastive
from clipsight.tune.data.batch import Batch
from clipsight.tune.encode import TrainingTowers, joined_needs
from clipsight.tune.objectives.weighted import WeightedObjective
from clipsight.tune.schedule import constant
from clipsight.tune.trainer import Loop, Trainer
from clipsight.tune.tuned import choose_parameters, decay_groups

BATCH, CONTEXT = 32, 77
TARGETS = {
    "ab": "<= 1.05 x",
    "pb": "<= 1.45 x",
    "gcb": "<= 1.3 x",
    "gb": "<= 2.2 x",
    "gb fd": "-",
    "gcb second order": "-",
}
OPTIONS = {
    "gb fd": {"variant": "gb", "gb": "fd"},
    "gcb second order": {"variant": "gcb", "alpha_grad": True},
}
model = open_clip.create_model("ViT-B-32", force_quick_gelu=True).train()
text = towers_of(model).text
named = choose_parameters(model).named
groups = [{**group, "initial_lr": 1e-6} for group in decay_groups(named, 0.2)]
optimizer = torch.optim.AdamW(groups, 1e-6)


def batch(length: int) -> Batch:
    """Captions of so many tokens, a third of them objects, a third of composition."""
    draw = torch.Generator().manual_seed(length)
    ids = torch.zeros(BATCH, CONTEXT, dtype=torch.long)
    ids[:, 0], ids[:, length - 1] = 49406, 49407
    ids[:, 1 : length - 1] = torch.randint(300, 40000, (BATCH, length - 2), generator=draw)
    content = torch.zeros(BATCH, CONTEXT, dtype=torch.bool)
    content[:, 1 : length - 1] = True
    roles = torch.zeros(BATCH, CONTEXT, dtype=torch.uint8)
    roles[:, 1 : length - 1 : 3], roles[:, 2 : length - 1 : 3] = 1, 3
    images = torch.randn(BATCH, 3, 224, 224, generator=draw)
    return Batch(images=images, ids=ids, content=content, roles=roles, index=torch.arange(BATCH))


def stepper(name: str | None, length: int) -> Callable[[], None]:
    """A function that takes one step with, or for None without, the CAE loss of that name."""
    terms = [WeightedObjective(objective=Contrastive(), weight=1.0, ramp=0.0)]
    if name is not None:
        terms.append(
            WeightedObjective(
                objective=Cae(CaeOptions(**OPTIONS.get(name, {"variant": name}))), weight=0.1, ramp=0.0
            )
        )
    needs = joined_needs(term.objective.needs(text) for term in terms)
    trainer = Trainer(
        module=model,
        encode=TrainingTowers(model, text, needs),
        terms=terms,
        optimizers=[optimizer],
        schedule=constant(1, 0),
        batches=lambda start: iter(()),
        loop=Loop(steps=1),
    )
    given = batch(length)

    def step() -> None:
        trainer.gradients(given)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


rounds = int(next((word.partition("=")[2] for word in sys.argv if word.startswith("--rounds=")), "5"))
rows = []
for length in (CONTEXT, 14):
    for name, target in TARGETS.items():
        row = ratio(stepper(name, length), stepper(None, length), rounds=rounds, warm=1)
        facts = {
            "work": f"step with {name}, {length} tokens",
            "baseline": "the same step, contrastive loss alone",
        }
        rows.append({**facts, **row, "target": target})
report("S10", rows)
