"""From a model's name, data and losses to a tuned model in a folder."""

import copy
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clipsight.checkpoints.fit_weights import read_json
from clipsight.checkpoints.folder import CARD, CONFIG
from clipsight.checkpoints.folder import WEIGHTS as WEIGHTS_FILE
from clipsight.errors import Unsupported
from clipsight.results import atomic_write
from clipsight.towers.families import towers_of
from clipsight.towers.loading import Loaded, load_model
from clipsight.tune.architecture import architecture_of
from clipsight.tune.calibrate import calibrated
from clipsight.tune.data.batch import Batch
from clipsight.tune.data.collate import Collate
from clipsight.tune.data.crop import Crop
from clipsight.tune.data.example import Examples, First
from clipsight.tune.data.loader import Loader
from clipsight.tune.data.plan import BatchPlan
from clipsight.tune.data.role_numbers import Matching
from clipsight.tune.distributed import Parallel, parallel
from clipsight.tune.encode import TrainingTowers, joined_needs, patch_dropout
from clipsight.tune.export import README, STAGING, export_model
from clipsight.tune.foils import FoilMaker
from clipsight.tune.locking import folder_held
from clipsight.tune.lora import LoraPlan
from clipsight.tune.model_card import TuneFacts
from clipsight.tune.objectives.objective import Needs, Stage
from clipsight.tune.objectives.weighted import WeightedObjective
from clipsight.tune.schedule import SCHEDULES
from clipsight.tune.settings import TuneSettings
from clipsight.tune.state import NEWEST
from clipsight.tune.stopping import StopRule, no_better, time_is_up
from clipsight.tune.tower_of_parameter import tower_of_parameter
from clipsight.tune.trainer import Loop, Row, RunOutcome, Trainer
from clipsight.tune.tuned import Tuned, choose_parameters, decay_groups
from clipsight.tune.validation import halves, retrieval

_BARE = (".pt", ".safetensors")
MODEL, WEIGHTS = "model", "weights.json"
"""Below a run's folder: the exported model, and the weights of its losses."""
WATCHED = "eval.t2i"
"""The figure of the log that patience looks at."""


@dataclass(frozen=True, kw_only=True)
class TunedModel:
    """What a run gave.

    Attributes:
        folder: of the exported model, for `clipsight.load("local-dir:FOLDER")`; None if time or a rule of
            the caller ended the run early; the same call goes on.
        outcome: how training went. weights: of the losses, those that were open too.
        module: the tuned model, on its device, in evaluation mode.
    """

    folder: Path | None
    outcome: RunOutcome
    weights: Mapping[str, float]
    module: nn.Module


def tune(
    model: str | Path | Loaded,
    examples: Examples,
    terms: Sequence[WeightedObjective],
    out: Path,
    *,
    settings: TuneSettings | None = None,
    pretrained: str | Path | None = None,
    quick_gelu: bool | None = None,
    device: torch.device | str | None = None,
    crop: Crop | None = None,
    matching: Matching | None = None,
    facts: TuneFacts | None = None,
    overwrite: bool = False,
    on_row: Callable[[Row], None] | None = None,
    stop_rules: Sequence[StopRule] = (),
) -> TunedModel:
    """Fine-tune a model of open_clip's; the same call goes on with a run that was interrupted.

    Started by `torchrun` or `accelerate launch`, the processes share each batch; process 0 writes.

    Args:
        model: what `clipsight.load` takes as model, or one that is loaded; it is not changed.
        examples: of `clipsight.tune.data.opening.open_examples`.
        terms: the losses; one at least has a weight.
        out: folder of the run: checkpoints, `log.jsonl`, `weights.json`, and at the end `model`.
        settings: None for those of ViT-B/32 on COCO.
        pretrained, quick_gelu, device: as of `clipsight.load`.
        crop: what of each picture is seen; None is open_clip's random part without mirroring.
        matching: how roles become tokens.
        facts: of the model card, completed by what is known here.
        overwrite: replace a model that lies in `out` already.
        on_row: called with each row of the log.
        stop_rules: reasons to end early, beside those of the settings.

    Raises:
        ValueError: settings, data or losses that do not fit each other.
        FileExistsError: `out` holds a model of another run.
        Unsupported: a model that cannot be trained, or not by these losses; the message says why.
        CheckpointError: `out` holds a run with other settings.
        ClipsightError: too many steps whose loss is no number; a full disk; another run in `out`.

    Example:
        >>> from clipsight.tune import Cae, CaeOptions, Contrastive, WeightedObjective, open_examples, tune
        >>> cae = WeightedObjective(objective=Cae(CaeOptions(variant="pb")))
        >>> terms = [WeightedObjective(objective=Contrastive(), weight=1.0), cae]
        >>> tuned = tune("clipsight-tiny", open_examples("world:7:64"), terms, Path("runs/pb"))  # doctest: +SKIP
        >>> lens = clipsight.load(f"local-dir:{tuned.folder}")  # doctest: +SKIP
    """
    chosen = settings or TuneSettings()
    target = out / MODEL
    if not overwrite:
        _refuse_others(out)
    place, group = launched(device)
    loaded = model if isinstance(model, Loaded) else load_model(model, pretrained, "cpu", None, quick_gelu)
    architecture_of(loaded)  # a model that cannot be exported is refused before it is trained
    if loaded.tokenizer is None:
        raise Unsupported(f"{loaded.name} has no tokenizer that is known, so captions cannot be read for it.")
    with folder_held(out) if group.rank == 0 else nullcontext():
        module = copy.deepcopy(loaded.module).to(device=place, dtype=torch.float32).train()
        with ExitStack() as stack:
            tuned = choose_parameters(
                module,
                chosen.train,
                logit_scale=chosen.train_scale,
                lora=LoraPlan(rank=chosen.lora_rank, alpha=chosen.lora_alpha)
                if chosen.train == "lora"
                else None,
            )
            stack.callback(tuned.restore)
            stack.enter_context(patch_dropout(module, chosen.patch_dropout))
            run = _Run(
                loaded=loaded,
                module=module,
                tuned=tuned,
                examples=examples,
                terms=terms,
                out=out,
                settings=chosen,
                device=place,
                parallel=group,
                crop=crop or Crop(),
                matching=matching or Matching(),
                on_row=on_row,
                stop_rules=stop_rules,
            )
            weighted = run.weighted()
            outcome = run.trainer(weighted, journalled=True).run()
            if tuned.adapter is not None:
                tuned.adapter.merge()
        module.eval()
        weights = {term.objective.name: term.weight or 0.0 for term in weighted}
        impatient = chosen.patience and no_better(WATCHED, chosen.patience)(outcome.rows)
        ended = outcome.step == run.steps or bool(impatient)
        if ended and group.rank == 0:
            known = facts or TuneFacts(base="")
            complete = replace(
                known,
                base=known.base or " ".join(filter(None, (loaded.name, loaded.pretrained))),
                base_fingerprint=loaded.fingerprint,
                data=examples.about,
                objectives={
                    term.objective.name: {"weight": term.weight, **term.objective.export()}
                    for term in weighted
                    if term.weight
                },
                settings={**asdict(chosen), "steps": run.steps, "processes": group.world, **known.settings},
                seeds=(chosen.seed,),
            )
            export_model(target, replace(loaded, module=module), complete, overwrite=True)
        group.wait()
        folder = target if ended else None
        return TunedModel(folder=folder, outcome=outcome, weights=weights, module=module)


def _refuse_others(out: Path) -> None:
    """Refuse to replace files of a model that this run did not write."""
    target = out / MODEL
    if not target.is_dir():
        return
    ours = (CONFIG, WEIGHTS_FILE, CARD, README)
    there = sorted(one.name for one in target.iterdir() if one.name in ours or one.suffix in _BARE)
    interrupted = any(target.glob(f"{STAGING}*.tmp"))
    mine = (out / NEWEST).exists() and ((target / CONFIG).exists() or interrupted)
    if there and not mine:
        raise FileExistsError(
            f"{target} holds {', '.join(there)} already; choose another folder, or pass overwrite (--overwrite)."
        )


def launched(device: torch.device | str | None) -> tuple[torch.device, Parallel]:
    """This process's device and its fellows, as `torchrun` or `accelerate launch` started them.

    Raises:
        Unsupported: accelerate is not installed.
    """
    try:
        from accelerate import PartialState
    except ImportError:
        raise Unsupported('tuning needs accelerate: pip install "clipsight[tune]".') from None
    from clipsight.towers.placing import as_device

    wanted = as_device(device)
    state = PartialState(cpu=wanted.type == "cpu")
    if state.num_processes == 1 or state.device is None:
        return wanted, parallel()
    return state.device, parallel()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """Everything at hand, to be put together."""

    loaded: Loaded
    module: nn.Module
    tuned: Tuned
    examples: Examples
    terms: Sequence[WeightedObjective]
    out: Path
    settings: TuneSettings
    device: torch.device
    parallel: Parallel
    crop: Crop
    matching: Matching
    on_row: Callable[[Row], None] | None
    stop_rules: Sequence[StopRule]

    @property
    def needs(self) -> Needs:
        """Of all losses that may run."""
        text = towers_of(self.module).text
        return joined_needs(term.objective.needs(text) for term in self.terms if term.weight != 0)

    @property
    def count(self) -> int:
        """Examples that are trained on."""
        return len(self.examples) - self.settings.validate

    @property
    def steps(self) -> int:
        """How many there will be."""
        return self.settings.steps_of(len(self.examples))

    def weighted(self) -> list[WeightedObjective]:
        """The losses with their weights; open ones come from an earlier part of the run or are measured now."""
        names = [term.objective.name for term in self.terms]
        if len(set(names)) != len(names):
            raise ValueError(f"two losses have one name ({', '.join(names)}); each is given once.")
        stage = Stage(
            module=self.module,
            text=towers_of(self.module).text,
            device=self.device,
            seed=self.settings.seed,
            steps=self.steps,
            autocast=self.autocast(),
        )
        for term in self.terms:
            term.objective.setup(stage)
        path = self.out / WEIGHTS
        # Without a checkpoint the run begins anew, perhaps with other losses.
        kept = read_json(path) if path.is_file() and (self.out / NEWEST).is_file() else {}
        self.parallel.wait()  # until all have looked: process 0 writes the file below
        terms = [
            replace(term, weight=kept.get(term.objective.name)) if term.weight is None else term
            for term in self.terms
        ]
        text = [one for name, one in self.tuned.named if tower_of_parameter(name) == "text"] or [
            one for _, one in self.tuned.named
        ]
        batches = islice(self.batches(0), self.settings.calibrate)
        found = calibrated(terms, self.trainer, batches, text)
        if self.parallel.rank == 0:
            self.out.mkdir(parents=True, exist_ok=True)
            with atomic_write(path, overwrite=True) as file:
                file.write(json.dumps({term.objective.name: term.weight for term in found}).encode())
        return found

    def trainer(self, terms: Sequence[WeightedObjective], *, journalled: bool = False) -> Trainer:
        """A trainer of these losses; `journalled` is the one that really trains."""
        chosen, loop = self.settings, self._loop()
        groups = decay_groups(self.tuned.named, chosen.weight_decay)
        groups += [group for term in terms for group in term.objective.param_groups()]
        optimizer = torch.optim.AdamW(groups, chosen.lr, betas=(0.9, chosen.beta2), eps=1e-6)
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        text = towers_of(self.module).text
        return Trainer(
            module=self.module,
            encode=TrainingTowers(self.module, text, self.needs, self.autocast()),
            terms=terms,
            optimizers=[optimizer],
            schedule=SCHEDULES[chosen.schedule](self.steps, min(chosen.warmup, self.steps)),
            batches=self.batches,
            loop=loop,
            settings=self._agreed(terms) if journalled else {},
            folder=self.out if journalled else None,
            parallel=self.parallel,
            device=self.device,
            evaluate=self._validate if chosen.validate else None,
            on_row=self.on_row,
            stop_rules=self._rules(),
            tensorboard=chosen.tensorboard,
        )

    def batches(self, start: int) -> Iterator[Batch]:
        """This process's batches from a step on."""
        plan = BatchPlan(
            count=self.count,
            batch=self.settings.batch,
            seed=self.settings.seed,
            rank=self.parallel.rank,
            world=self.parallel.world,
        )
        return Loader(First(self.examples, self.count), self._collate(), plan, workers=self.settings.workers)(
            start
        )

    def autocast(self) -> Callable[[], AbstractContextManager[Any]]:
        """What the towers run under."""
        if self.settings.precision == "fp32":
            return nullcontext
        return partial(torch.autocast, self.device.type, torch.bfloat16)

    def _collate(self, crop: Crop | None = None) -> Collate:
        needs = self.needs
        maker = FoilMaker(
            kinds=needs.foil_kinds or ("given",), count=max(1, needs.foils), seed=self.settings.seed
        )
        return Collate(
            tokenizer=self.loaded.tokenizer,
            context=towers_of(self.module).text.context,
            preprocess=self.loaded.preprocess,
            crop=crop or self.crop,
            seed=self.settings.seed,
            matching=self.matching if needs.roles else None,
            foils=needs.foils,
            foil_source=maker if needs.foils else None,
        )

    def _validate(self) -> Mapping[str, float]:
        rows = [(index, self.examples[index]) for index in range(self.count, len(self.examples))]
        text = towers_of(self.module).text
        encode = TrainingTowers(self.module, text, Needs(), self.autocast())
        self.module.eval()
        try:
            seen = halves(encode, self._collate(Crop(kind="none")), rows, self.device, self.settings.batch)
        finally:
            self.module.train()
        return retrieval(*seen)

    def _loop(self) -> Loop:
        chosen = self.settings
        return Loop(
            steps=self.steps,
            micro_batches=chosen.micro_batches,
            clip=chosen.clip,
            save_every=chosen.save_every,
            log_every=chosen.log_every,
            ratio_every=chosen.ratio_every,
            evaluate_every=chosen.validate_every if chosen.validate else 0,
            seed=chosen.seed,
        )

    def _rules(self) -> list[StopRule]:
        rules, chosen = list(self.stop_rules), self.settings
        if chosen.patience:
            rules.append(no_better(WATCHED, chosen.patience))
        if chosen.max_seconds is not None:
            began = time.perf_counter()
            rules.append(time_is_up(chosen.max_seconds, lambda: time.perf_counter() - began))
        return rules

    def _agreed(self, terms: Sequence[WeightedObjective]) -> dict[str, Any]:
        """What a run that goes on must have in common with its beginning."""
        free = {
            "max_seconds",
            "workers",
            "save_every",
            "log_every",
            "tensorboard",
            "patience",
            "micro_batches",
        }
        return {
            "base": self.loaded.fingerprint,
            "data": dict(self.examples.about),
            "losses": {
                term.objective.name: {
                    "weight": term.weight,
                    "ramp": term.ramp,
                    **({"ratio": asked.ratio} if asked.weight is None else {}),
                    **term.objective.export(),
                }
                for asked, term in zip(self.terms, terms, strict=True)
            },
            "crop": asdict(self.crop),
            "matching": asdict(self.matching),
            **{name: value for name, value in asdict(self.settings).items() if name not in free},
            "steps": self.steps,
        }
