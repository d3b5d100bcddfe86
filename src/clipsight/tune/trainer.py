"""The training loop: steps that can be stopped at any moment and go on exactly, whatever the losses are."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from clipsight.attribution import Question
from clipsight.errors import ClipsightError, Unsupported
from clipsight.tune.data.batch import Batch
from clipsight.tune.distributed import Parallel, SingleProcess
from clipsight.tune.journal import Journal, read_log
from clipsight.tune.locking import folder_held
from clipsight.tune.objectives.objective import Objective, StepFeatures, StepInputs
from clipsight.tune.objectives.weighted import WeightedObjective
from clipsight.tune.schedule import Schedule
from clipsight.tune.state import load_state, save_state
from clipsight.tune.stopping import StopRule

Row = dict[str, Any]
MOST_SCALE = math.log(100)
_LOOKED_AT = 32
"""Pairs of a batch whose features say whether the model is sound."""
_RANKS_APART = 1_000_000_007


@runtime_checkable
class Encode(Protocol):
    """A batch to its features, with their graph, and the question that losses of the scope "samples" are handed."""

    def __call__(self, batch: Batch, *, keep: bool = True) -> tuple[StepFeatures, Question | None]:
        """`keep` False: the features alone will be read."""
        ...


@dataclass(frozen=True, kw_only=True)
class Loop:
    """How the loop goes, whatever is trained.

    Attributes:
        steps: how many.
        micro_batches: each process's batch runs in so many parts; losses are those of the whole batch.
        clip: longest gradient that is not shortened; 0 shortens none.
        save_every: steps between checkpoints. log_every: steps between log rows.
        ratio_every: steps between measures of each term's gradient beside the first term's; 0 for none.
        evaluate_every: steps between evaluations; 0 for none but at the end.
        seed: of everything drawn in the model.
        most_bad: steps in a row with a loss or gradient that is no number, after which the run stops.
    """

    steps: int
    micro_batches: int = 1
    clip: float = 0.0
    save_every: int = 100
    log_every: int = 10
    ratio_every: int = 0
    evaluate_every: int = 0
    seed: int = 0
    most_bad: int = 3


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """What a run came to.

    Attributes:
        step: steps done. rows: the whole log, earlier parts of an interrupted run too.
        stopped: why it ended before its last step, "" when it did not.
        skipped: steps that were left out because their loss or gradient was no number.
        seconds: time spent in steps, earlier parts included.
    """

    step: int
    rows: tuple[Row, ...]
    stopped: str
    skipped: int
    seconds: float


@dataclass(kw_only=True, eq=False)
class Trainer:
    """Everything that a run needs; `run` trains, or goes on from the folder's checkpoint.

    Attributes:
        module: in training mode; all its state is kept in checkpoints.
        encode: runs its towers. terms: of the loss; the first is what others' gradients are compared with.
        optimizers: each group's "initial_lr" is multiplied by the schedule.
        batches: step -> this process's batches from that step on.
        settings: plain data that a run's checkpoint must agree with.
        folder: of checkpoints and log; None keeps neither.
        before_step: called with the step first. evaluate: figures of the model as it is.
        on_row: called with each row of the log; only by process 0.
        stop_rules: each may end the run early.
        tensorboard: also write TensorBoard's files.
    """

    module: nn.Module
    encode: Encode
    terms: Sequence[WeightedObjective]
    optimizers: Sequence[torch.optim.Optimizer]
    schedule: Schedule
    batches: Callable[[int], Iterator[Batch]]
    loop: Loop
    settings: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    parallel: Parallel = field(default_factory=SingleProcess)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    before_step: Callable[[int], None] | None = None
    evaluate: Callable[[], Mapping[str, float]] | None = None
    on_row: Callable[[Row], None] | None = None
    stop_rules: Sequence[StopRule] = ()
    tensorboard: bool = False
    _reaching: set[str] = field(default_factory=set, init=False, repr=False)

    def run(self) -> RunOutcome:
        """Train to the end.

        Raises:
            ClipsightError: too many steps in a row whose loss or gradient is no number; a model at the end that gives
                no finite features; a checkpoint cannot be written; another run holds the folder.
            ValueError: no term has a weight, or two have one name.
            Unsupported: a term that depends on nothing that is trained.
        """
        with nullcontext() if self.folder is None or self.parallel.rank else folder_held(self.folder):
            return self._run()

    def _run(self) -> RunOutcome:
        self.terms = [term for term in self.terms if term.weight]
        names = [term.objective.name for term in self.terms]
        if not names or len(set(names)) < len(names):
            raise ValueError(
                f"the terms of the loss are {names}, those of weight 0 left out; there is at least one, and no name is "
                "there twice, for the log tells them apart by it. Give a weight, or give the objectives' .name."
            )
        self._step = self._skipped = self._bad = 0
        self._seconds = 0.0
        self._good: Batch | None = None
        self._rows: list[Row] = []
        self._resume()
        journal = self._journal()
        stopped = ""
        try:
            batches = self.batches(self._step)
            since, at = time.perf_counter(), self._step
            while self._step < self.loop.steps and not stopped:
                row = self._train_step(next(batches))
                self._seconds += time.perf_counter() - since
                since = time.perf_counter()
                done = self._step
                last = done == self.loop.steps
                if done % self.loop.log_every and not last:
                    row = {}
                else:
                    row["seconds_per_step"] = round((self._seconds - self._logged_at) / max(1, done - at), 4)
                    self._logged_at, at = self._seconds, done
                every = self.loop.evaluate_every
                if self.evaluate is not None and (last or (every and done % every == 0)):
                    row |= {f"eval.{name}": value for name, value in self.evaluate().items()}
                if row:
                    self._tell(journal, {"step": done, **row})
                    stopped = self._stopped()
                since = time.perf_counter()
                if done % self.loop.save_every == 0 or last or stopped:
                    self._save_if_sound(last=last or bool(stopped))
        finally:
            if journal is not None:
                journal.close()
        return RunOutcome(
            step=self._step,
            rows=tuple(self._rows),
            stopped=stopped,
            skipped=self._skipped,
            seconds=self._seconds,
        )

    def gradients(self, batch: Batch, step: int = 0) -> Row:
        """Add the gradients of one step to the parameters, all processes together; the terms as they are logged."""
        batch = batch.to(self.device)
        row = (
            self._whole(batch, step) if self.loop.micro_batches == 1 else self._in_micro_batches(batch, step)
        )
        row["loss"] = sum(term.at(step, self.loop.steps) * row[term.objective.name] for term in self.terms)
        self.parallel.average_gradients(self._parameters())
        return row

    def _train_step(self, batch: Batch) -> Row:
        step = self._step
        if self.before_step is not None:
            self.before_step(step)
        buffers = [(one, one.clone()) for one in self.module.buffers()]
        row = self.gradients(batch, step)
        longest = self.loop.clip or math.inf
        norm = nn.utils.clip_grad_norm_(self._parameters(), longest)
        good = bool(torch.isfinite(norm))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * self.schedule(step)
            if good:
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if not good:  # what the pass itself has changed, such as running means
            with torch.no_grad():
                for one, before in buffers:
                    one.copy_(before)
        scale = getattr(self.module, "logit_scale", None)
        if isinstance(scale, Tensor):
            with torch.no_grad():
                scale.clamp_(0, MOST_SCALE)
            row["logit_scale"] = float(scale.detach().exp())
        if good:
            self._good = batch.rows(slice(0, _LOOKED_AT)).to(self.device)
            for term in self.terms:
                term.objective.after_step(step)
        self._step += 1
        self._count_bad(good)
        factor = self.schedule(step)
        rates = {group["initial_lr"] * factor for one in self.optimizers for group in one.param_groups}
        return {**row, "gradient_norm": float(norm), "lr": max(rates), "skipped": self._skipped}

    def _save_if_sound(self, *, last: bool) -> None:
        """Save, unless the model as it is gives no finite features: a checkpoint is what a run can go on from.

        Raises:
            ClipsightError: it gives none, and this is the end of the run.
        """
        if self.folder is None and not last:
            return
        unsound = torch.tensor(float(not self._is_sound()), device=self.device)
        if not self.parallel.total(unsound):
            self._save()
        elif last:
            raise ClipsightError(
                f"after step {self._step} the model gives no finite features any more. {self._kept_said()} Usual "
                "cause: a learning rate that is too high; take a smaller one."
            )

    @torch.no_grad()
    def _is_sound(self) -> bool:
        """Whether features of the last good batch have lengths that are numbers above 0; nothing is changed."""
        if self._good is None:
            return True  # nothing was changed yet
        training = [(part, part.training) for part in self.module.modules()]
        self.module.eval()
        try:
            with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
                features, _ = self.encode(self._good, keep=False)
        finally:
            for part, was in training:
                part.training = was
        lengths = torch.cat([one.float().norm(dim=-1).flatten() for one in (features.image, features.text)])
        return bool((lengths.isfinite() & (lengths > 0)).all())

    def _kept_said(self) -> str:
        if self._kept:
            return f"The last good checkpoint, of step {self._kept}, is in {self.folder}."
        return "No checkpoint was written before."

    def _count_bad(self, good: bool) -> None:
        self._skipped += not good
        self._bad = 0 if good else self._bad + 1
        if self._bad >= self.loop.most_bad:
            raise ClipsightError(
                f"the loss or its gradient was no number in {self._bad} steps in a row, up to step {self._step}; the "
                f"model was left as it was before them. {self._kept_said()} Usual causes: a learning rate "
                "that is too high, half precision without room; take a smaller lr, or precision fp32."
            )

    def _whole(self, batch: Batch, step: int) -> Row:
        """The batch as a whole."""
        self._draw(step, 0)
        features, question = self.encode(batch)
        counts = self._counts(batch)
        losses, row = [], {}
        joint = self._gathered(features)
        passed = self._passed(batch, features, question, step)
        for term in self.terms:
            loss, said = self._term(term, joint, passed, counts)
            losses.append(term.at(step, self.loop.steps) * loss)
            row |= said
        if self.loop.ratio_every and step % self.loop.ratio_every == 0:
            row |= self._ratios(losses)
        total = torch.stack(losses).sum() if len(losses) > 1 else losses[0]
        total.backward()
        return {**row, **self._valid(counts, batch)}

    def _in_micro_batches(self, batch: Batch, step: int) -> Row:
        """In parts that fit the memory, with the gradient of the whole: features first, then each part again.

        The way of GradCache (arXiv 2101.06983). Each part draws the same random numbers both times.
        """
        size = -(-len(batch) // self.loop.micro_batches)
        parts = [batch.rows(slice(k, k + size)) for k in range(0, len(batch), size)]
        seen: list[StepFeatures] = []
        for number, part in enumerate(parts):
            self._draw(step, number)
            with torch.no_grad():
                seen.append(self.encode(part, keep=False)[0])
        leaves = _leaves(seen)
        module: Any = self.module
        joint = self._gathered(
            StepFeatures(
                **leaves,
                scale=module.logit_scale.exp(),
                foil_valid=batch.foil_valid if "foils" in leaves else None,
                bias=getattr(module, "logit_bias", None),
            )
        )
        row: Row = {}
        for term in self.terms:
            if term.objective.scope == "features":
                loss, said = self._term(term, joint, None, {})
                (term.at(step, self.loop.steps) * loss).backward(retain_graph=True)
                row |= said
        counts = self._counts(batch)
        sums: dict[str, float] = {}
        for number, part in enumerate(parts):
            self._draw(step, number)
            features, question = self.encode(part)
            rows = slice(number * size, number * size + len(part))
            surrogate = sum(
                (getattr(features, name) * leaf.grad[rows]).sum()
                for name, leaf in leaves.items()
                if leaf.grad is not None
            )
            passed = self._passed(part, features, question, step)
            for term in self.terms:
                if term.objective.scope == "samples":
                    loss, said = self._term(term, None, passed, counts)
                    surrogate = surrogate + term.at(step, self.loop.steps) * loss
                    for name, value in said.items():
                        sums[name] = sums.get(name, 0.0) + value
            if isinstance(surrogate, Tensor):
                surrogate.backward()
        return {**row, **sums, **self._valid(counts, batch)}

    def _term(
        self,
        term: WeightedObjective,
        joint: StepFeatures | None,
        passed: StepInputs | None,
        counts: Mapping[str, Tensor],
    ) -> tuple[Tensor, Row]:
        """The unweighted loss with its graph, and what it says, the mean over all that counts."""
        objective = term.objective
        if objective.scope == "features":
            terms = objective.loss(joint)
            said = {f"{objective.name}.{key}": float(value) for key, value in terms.log.items()}
            return terms.loss, {objective.name: float(terms.loss.detach()), **said}
        terms, count = objective.loss(passed), counts[objective.name]
        self._check_reach(objective, terms.loss)
        world = self.parallel.world
        loss = terms.loss * (world / count.clamp(min=1))
        values = torch.stack([terms.loss.detach(), *terms.log.values()]).float()
        mean = (self.parallel.total(values) / count.clamp(min=1)).tolist()
        names = [objective.name, *(f"{objective.name}.{key}" for key in terms.log)]
        return loss, dict(zip(names, mean, strict=True))

    def _counts(self, batch: Batch) -> dict[str, Tensor]:
        """Samples that count, in the batches of all processes."""
        return {
            term.objective.name: self.parallel.total(term.objective.counts(batch).sum(dtype=torch.float32))
            for term in self.terms
            if term.objective.scope == "samples"
        }

    def _check_reach(self, objective: Objective, loss: Tensor) -> None:
        """Refuse, the first time it is seen, a loss that no trained parameter can change."""
        if objective.name in self._reaching:
            return
        if not loss.requires_grad or all(one is None for one in _gradients(loss, self._parameters())):
            raise Unsupported(
                f"the loss {objective.name} does not depend on anything that is trained, so it would change nothing. "
                "Usual cause: it reads the text tower, and only the image tower is trained. Train the text tower too, "
                "or leave this loss out."
            )
        self._reaching.add(objective.name)

    def _valid(self, counts: Mapping[str, Tensor], batch: Batch) -> Row:
        """Share of the global batch that counts, for each term that asks."""
        everyone = len(batch) * self.parallel.world
        return {f"{name}.valid": float(count) / everyone for name, count in counts.items()}

    def _gathered(self, features: StepFeatures) -> StepFeatures:
        gather = self.parallel.gather
        return StepFeatures(
            image=gather(features.image),
            text=gather(features.text),
            scale=features.scale,
            foils=None if features.foils is None else gather(features.foils),
            foil_valid=None if features.foil_valid is None else gather(features.foil_valid),
            bias=features.bias,
        )

    def _passed(
        self, batch: Batch, features: StepFeatures, question: Question | None, step: int
    ) -> StepInputs:
        return StepInputs(module=self.module, batch=batch, features=features, question=question, step=step)

    def _ratios(self, losses: Sequence[Tensor]) -> Row:
        """Length of each weighted term's gradient beside the first term's, over all trained parameters."""
        lengths = [gradient_length(loss, self._parameters()) for loss in losses]
        return {
            f"{term.objective.name}.gradient_ratio": length / lengths[0] if lengths[0] else math.inf
            for term, length in list(zip(self.terms, lengths, strict=True))[1:]
        }

    def _parameters(self) -> list[nn.Parameter]:
        """What is trained, in the module's order: to the last bit a norm must not depend on the optimizers' groups."""
        trained = [
            one
            for optimizer in self.optimizers
            for group in optimizer.param_groups
            for one in group["params"]
        ]
        place = {id(one): number for number, one in enumerate(self.module.parameters())}
        return sorted(trained, key=lambda one: place.get(id(one), len(place)))

    def _draw(self, step: int, part: int) -> None:
        """What is drawn depends on seed, step, process and micro-batch alone."""
        number = self.parallel.rank * self.loop.micro_batches + part
        torch.manual_seed(self.loop.seed * 1_000_003 + step + _RANKS_APART * number)

    def _stopped(self) -> str:
        """Why the run is to end, "" where it is not; process 0 decides, for clocks differ."""
        why = next((why for rule in self.stop_rules if (why := rule(self._rows))), "")
        if self.stop_rules:
            stop = torch.tensor(float(bool(why)), device=self.device)
            self.parallel.same([stop])
            why = (why or "process 0 ended the run") if stop else ""
        return why

    def _tell(self, journal: Journal | None, row: Row) -> None:
        plain = {key: round(value, 6) if isinstance(value, float) else value for key, value in row.items()}
        self._rows.append(plain)
        if journal is not None:
            journal.write(plain)
        if self.on_row is not None and self.parallel.rank == 0:
            self.on_row(plain)

    def _journal(self) -> Journal | None:
        if self.folder is None or self.parallel.rank:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        return Journal(self.folder, self._step, self.tensorboard)

    def _resume(self) -> None:
        self._logged_at = 0.0
        self._kept = 0
        if self.folder is None:
            return
        state = load_state(self.folder, self.settings)
        if state is None:
            return
        self.module.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for term, saved in zip(self.terms, state["objectives"], strict=True):
            term.objective.load_state_dict(saved)
        self._step = self._kept = state["step"]
        self._skipped, self._bad = state["skipped"], state["bad"]
        self._seconds = self._logged_at = state["seconds"]
        self._rows = [row for row in read_log(self.folder) if row["step"] <= self._step]

    def _save(self) -> None:
        if self.folder is None:
            return
        self._kept = self._step
        if self.parallel.rank:
            return
        save_state(
            self.folder,
            {
                "model": self.module.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "objectives": [term.objective.state_dict() for term in self.terms],
                "step": self._step,
                "skipped": self._skipped,
                "bad": self._bad,
                "seconds": self._seconds,
            },
            self.settings,
        )


def gradient_length(loss: Tensor, parameters: Sequence[nn.Parameter]) -> float:
    """Euclidean length of a loss's gradient; the graph is kept."""
    found = _gradients(loss, parameters)
    return math.sqrt(sum(float(one.float().square().sum()) for one in found if one is not None))


def _gradients(loss: Tensor, parameters: Sequence[nn.Parameter]) -> tuple[Tensor | None, ...]:
    return torch.autograd.grad(loss, list(parameters), retain_graph=True, allow_unused=True)


def _leaves(seen: Sequence[StepFeatures]) -> dict[str, Tensor]:
    """Features of all micro-batches, joined, as leaves that gradients can be asked of."""
    made = {}
    for name in ("image", "text", "foils"):
        found = [getattr(one, name) for one in seen]
        if all(one is not None for one in found):
            made[name] = torch.cat(found).detach().requires_grad_()
    return made
