"""A model of two blocks a tower, captions with roles, and a trainer over them: milliseconds a step, always the same."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clipsight.towers.open_clip_text import OpenClipText
from clipsight.tune.data.batch import Batch
from clipsight.tune.distributed import Parallel, SingleProcess
from clipsight.tune.encode import TrainingTowers, joined_needs
from clipsight.tune.objectives.objective import Needs, Objective, Stage, StepInputs
from clipsight.tune.objectives.weighted import WeightedObjective
from clipsight.tune.schedule import constant
from clipsight.tune.trainer import Loop, Trainer
from tiny import tiny_clip

START, END, CONTEXT = 58, 59, 14
# The role of a word follows from its id, as it roughly does in a language.
OTHERS, OBJECTS, ATTRIBUTES, RELATIONS = (range(first, first + 12) for first in (1, 13, 25, 37))
ROLE_OF = {
    word: role for role, words in enumerate((OTHERS, OBJECTS, ATTRIBUTES, RELATIONS)) for word in words
}
TEXT = {"context_length": CONTEXT, "vocab_size": 60, "width": 32, "heads": 2, "layers": 2}
# Objects, attributes and relations of each caption: three of eight captions do not count for CAE.
PATTERN = ((2, 1, 1), (1, 0, 2), (0, 1, 1), (1, 1, 0), (3, 2, 1), (2, 0, 0), (0, 0, 0), (1, 1, 1))


def weighted(objective: Objective, weight: float = 1.0, ramp: float = 0.0) -> WeightedObjective:
    """A term whose weight is known."""
    return WeightedObjective(objective=objective, weight=weight, ramp=ramp)


def toy_model(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    """An open_clip CLIP of 4 patches and 14 text positions."""
    model = tiny_clip(seed, embed_dim=16, text=TEXT, image_size=32, width=32, head_width=16, layers=2)
    return model.to(dtype)


def toy_batch(
    pattern: Sequence[tuple[int, int, int]] = PATTERN,
    seed: int = 0,
    *,
    foils: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Batch:
    """A caption for each (objects, attributes, relations), words in a drawn order, one or two others among them."""
    draw = torch.Generator().manual_seed(seed)

    def some(words: range, number: int) -> list[int]:
        return [words[int(torch.randint(len(words), (), generator=draw))] for _ in range(number)]

    def caption(objects: int, attributes: int, relations: int) -> list[int]:
        words = some(OBJECTS, objects) + some(ATTRIBUTES, attributes) + some(RELATIONS, relations)
        words += some(OTHERS, 1 + len(words) % 2)
        return [words[place] for place in torch.randperm(len(words), generator=draw).tolist()]

    def padded(words: list[int]) -> list[int]:
        return [START, *words, END, *[0] * (CONTEXT - 2 - len(words))]

    ids = torch.tensor([padded(caption(*one)) for one in pattern])
    roles = torch.tensor([[ROLE_OF.get(word, 0) for word in row] for row in ids.tolist()], dtype=torch.uint8)
    valid = torch.rand(len(pattern), foils, generator=draw) < 0.7 if foils else None
    return Batch(
        images=torch.randn(len(pattern), 3, 32, 32, generator=draw).to(dtype),
        ids=ids,
        content=(ids > 0) & (ids < START),
        roles=roles,
        index=100 + torch.arange(len(pattern)),
        foil_ids=torch.tensor([[padded(caption(*one)) for _ in range(foils)] for one in pattern])
        if foils
        else None,
        foil_valid=valid,
    )


def picked(batch: Batch, rows: Sequence[int]) -> Batch:
    """Some of the examples, in this order."""
    return batch._of(lambda tensor: tensor[list(rows)])


def toy_batches(**options: Any) -> Callable[[int], Iterator[Batch]]:
    """A batch of its own for each step."""
    return lambda first: (toy_batch(seed=step, **options) for step in count(first))


def passed(module: nn.Module, batch: Batch, needs: Needs, step: int = 0, **towers: Any) -> StepInputs:
    """What a loss of the scope "samples" is handed."""
    features, question = TrainingTowers(module, OpenClipText(module), needs, **towers)(batch)
    return StepInputs(module=module, batch=batch, features=features, question=question, step=step)


def toy_trainer(
    module: nn.Module,
    terms: Sequence[WeightedObjective],
    *,
    batches: Callable[[int], Iterator[Batch]] | None = None,
    folder: Path | None = None,
    parallel: Parallel | None = None,
    named: Sequence[tuple[str, nn.Parameter]] | None = None,
    lr: float = 1e-3,
    loop: dict[str, Any] | None = None,
    **options: Any,
) -> Trainer:
    """A trainer of all parameters, or of those that are named."""
    view = OpenClipText(module)
    chosen = list(module.named_parameters()) if named is None else list(named)
    optimizer = torch.optim.AdamW([one for _, one in chosen], lr=lr, weight_decay=0.1, betas=(0.9, 0.98))
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    how = Loop(**{"steps": 4, "log_every": 1, "save_every": 2, **(loop or {})})
    for term in terms:
        term.objective.setup(
            Stage(module=module, text=view, device=torch.device("cpu"), seed=how.seed, steps=how.steps)
        )
    needs = joined_needs(term.objective.needs(view) for term in terms if term.weight)
    return Trainer(
        module=module,
        encode=TrainingTowers(module, view, needs),
        terms=terms,
        optimizers=[optimizer],
        schedule=options.pop("schedule", constant(how.steps, 0)),
        batches=batches or toy_batches(),
        loop=how,
        folder=folder,
        parallel=parallel or SingleProcess(),
        **options,
    )


def gradients_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter's gradient, zero where there is none; taken away from the model."""
    found = {
        name: torch.zeros_like(one) if one.grad is None else one.grad.clone()
        for name, one in module.named_parameters()
    }
    module.zero_grad(set_to_none=True)
    return found


def assert_same_gradients(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor], atol: float) -> None:
    """Within `atol`, and not all zero."""
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(
            one[name], two[name], atol=atol, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
        )
    assert any(value.abs().max() > 1e-3 for value in one.values())
