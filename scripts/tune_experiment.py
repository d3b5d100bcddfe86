"""Fine-tune clipsight-tiny in every way that is compared, four seeds each, and keep a row of figures of each run.

    python scripts/tune_experiment.py                         # all runs that have no row yet, one after the other
    python scripts/tune_experiment.py --jobs 2                # two at a time
    python scripts/tune_experiment.py --arms ft cae-pb --seeds 1
    python scripts/tune_experiment.py --wise hn-cae           # then the sweep between clipsight-tiny and that arm

Rows go to benchmarks/tune/rows.jsonl as runs finish; a run that has a row is not made again, and one that was killed
goes on from its checkpoint. `scripts/tune_report.py` makes tables and plots of the rows.

All arms share everything but their losses: pairs of the training split of the emoji world with its true roles, the
contrastive loss over 256 pairs, AdamW, half of the patches left out. Weights of the losses were chosen on seed 90 of
the held-out split, which no figure comes from.
"""

import argparse
import copy
import json
import multiprocessing
import os
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tune_measures import measure
from tune_rows import read

import clipsight
from clipsight.bench.rows import versions
from clipsight.results.io import atomic_write
from clipsight.tune import (
    Cae,
    CaeOptions,
    Contrastive,
    DataOptions,
    NegativeContrastive,
    TuneFacts,
    TuneSettings,
    WeightedObjective,
    interpolate,
    knee,
    open_examples,
    tune,
    wise_ft_sweep,
)
from clipsight.tune.data.crop import Crop
from clipsight.tune.data.example import Examples
from clipsight.tune.export import export_model
from clipsight.tune.interpolation import SweepRow

ROOT = Path(__file__).parents[1]
ROWS, WISE = ROOT / "benchmarks" / "tune" / "rows.jsonl", ROOT / "benchmarks" / "tune" / "wise.json"
RUNS = ROOT / "runs" / "tune"
DATA = "world:7:12000"
SEEDS = (1, 2, 3, 4)
COMMAND = "python scripts/tune_experiment.py"
ALPHAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
SHIPPED = ROOT / "src" / "clipsight" / "assets" / "clipsight-tiny-cae"
SETTINGS = {
    "steps": 100, "batch": 256, "lr": 1e-4, "warmup": 10, "weight_decay": 0.05, "clip": 1.0, "patch_dropout": 0.5,
    "save_every": 20, "ratio_every": 40,
}  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """One way to tune: CAE losses by variant, with weight and options, and whether false captions are in the batch."""

    cae: dict[str, tuple[float, dict[str, Any]]] = field(default_factory=dict)
    negatives: bool = False

    def terms(self, seed: int) -> list[WeightedObjective]:
        """Its losses."""
        base = NegativeContrastive(foils=1, foil_kinds=("given",)) if self.negatives else Contrastive()
        made = [WeightedObjective(objective=base, weight=1.0)]
        for variant, (weight, options) in self.cae.items():
            objective = Cae(CaeOptions(**{"variant": variant, "seed": seed, **options}))
            made.append(WeightedObjective(objective=objective, weight=weight, ramp=0.1))
        return made


AB, GCB, PB, GB = (1.0, {"layers": "all"}), (1.0, {}), (1.0, {}), (0.3, {})
ARMS = {
    "ft": Arm(),
    "cae-ab": Arm({"ab": AB}),
    "cae-gcb": Arm({"gcb": GCB}),
    "cae-pb": Arm({"pb": PB}),
    "cae-gb": Arm({"gb": GB}),
    "control": Arm({"ab": (AB[0], {**AB[1], "shuffled": True})}),
    "ft-hn": Arm(negatives=True),
    "hn-cae": Arm({"ab": AB}, negatives=True),
    "control-pb": Arm({"pb": (PB[0], {"shuffled": True})}),
    "hn-pb": Arm({"pb": PB}, negatives=True),
    "cae-all": Arm({"ab": (0.3, AB[1]), "gcb": (0.3, {}), "pb": (0.3, {}), "gb": (0.1, {})}),
}


@cache
def pairs() -> Examples:
    """The training pairs, opened once in each process."""
    return open_examples(DATA, DataOptions(cache=RUNS / "data", processes=1))


def one(arm: str, seed: int, device: str, keep: bool) -> dict[str, Any]:
    """A run, and its row."""
    examples = pairs()
    out = RUNS / f"{arm}-{seed}"
    terms = ARMS[arm].terms(seed)
    made = tune(
        "clipsight-tiny",
        examples,
        terms,
        out,
        settings=TuneSettings(seed=seed, **SETTINGS),
        device=device,
        crop=Crop(kind="none"),
    )
    lens = clipsight.load(f"local-dir:{made.folder}", device=device)
    variants = "+".join(ARMS[arm].cae)
    row = {
        "arm": arm,
        "seed": seed,
        "settings": {
            "variant": variants or None,
            "data": DATA,
            "losses": {
                term.objective.name: {"weight": term.weight, **term.objective.export()} for term in terms
            },
            **SETTINGS,
        },
        "device": torch.cuda.get_device_name()
        if device.startswith("cuda")
        else f"CPU, {torch.get_num_threads()} threads",
        "train_seconds": round(made.outcome.seconds, 1),
        "ratios": {
            name: value
            for log in made.outcome.rows
            for name, value in log.items()
            if name.endswith("gradient_ratio")
        },
        "figures": {name: round(value, 5) for name, value in measure(lens).items()},
        "guard": {name: round(value, 5) for name, value in measure(lens, quick=True).items()},
        "versions": versions(),
    }
    if not keep:
        shutil.rmtree(out)
    return row


def write(path: Path, row: dict[str, Any]) -> None:
    """Add a row in one piece, so that several processes may write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(handle, (json.dumps(row) + "\n").encode())
    finally:
        os.close(handle)


def worker(queue: Any, rows: Path, device: str, threads: int, keep: Sequence[str]) -> None:
    """Runs of the queue, one after the other, until it is empty."""
    torch.set_num_threads(threads)
    warnings.simplefilter("ignore")
    while (job := queue.get()) is not None:
        arm, seed = job
        row = one(arm, seed, device, arm in keep)
        write(rows, row)
        print(f"{arm} {seed}: trained {row['train_seconds']} s", flush=True)


def sweep(arm: str, seed: int, device: str, ship: bool) -> None:
    """Between clipsight-tiny and a tuned model: figures of the test seeds, the place chosen on the guard's.

    Chosen is where a wrong attribute costs most while noun top-1 has lost a point at most, both of seed 90. `ship`
    writes the model there as clipsight-tiny-cae.
    """
    zero, tuned = (
        clipsight.load(name, device=device).loaded
        for name in ("clipsight-tiny", f"local-dir:{RUNS / f'{arm}-{seed}' / 'model'}")
    )

    def figures(module: torch.nn.Module) -> dict[str, float]:
        lens = clipsight.load(module)
        guard = {f"guard.{name}": value for name, value in measure(lens, quick=True).items()}
        return {**measure(lens), **guard}

    found = wise_ft_sweep(copy.deepcopy(zero.module), tuned.module, figures, ALPHAS)
    chosen = knee(found, gain="guard.delta_foil.attribute", guard="guard.noun_top1", allowed=0.01)
    with atomic_write(WISE, overwrite=True) as file:
        kept = {"arm": arm, "seed": seed, **chosen.to_dict()}
        file.write(json.dumps(kept, indent=1).encode() + b"\n")
    print(chosen.why)
    if ship and chosen.chosen:
        module = copy.deepcopy(tuned.module)
        module.load_state_dict(
            interpolate(zero.module.state_dict(), tuned.module.state_dict(), chosen.chosen)
        )
        facts = TuneFacts(
            base="clipsight-tiny",
            base_fingerprint=zero.fingerprint,
            title="clipsight-tiny-cae",
            data={"name": DATA},
            command=f"{COMMAND} --arms {arm} --seeds {seed} --keep {arm}; {COMMAND} --wise {arm} --ship",
            objectives={
                term.objective.name: {"weight": term.weight, **term.objective.export()}
                for term in ARMS[arm].terms(seed)
            },
            settings={**SETTINGS, "wise_ft_alpha": chosen.chosen},
            seeds=(seed,),
            scores={
                name: {"before": before, "after": after}
                for name, before, after in _beside(chosen.rows, chosen.chosen)
            },
            licence="MIT, as clipsight",
            notes=(f"Weights at α = {chosen.chosen:g} between clipsight-tiny and its tuned self.",),
        )
        loaded = replace(tuned, module=module)
        export_model(SHIPPED, loaded, facts, dtype="float16", bare=(), overwrite=True)


def _beside(rows: Sequence[SweepRow], alpha: float) -> list[tuple[str, float, float]]:
    """The figures that a card shows, before and at the chosen place."""
    before, after = (next(row.scores for row in rows if row.alpha == place) for place in (0.0, alpha))
    names = [
        name for name in before if name.startswith(("foil.", "noun_top1", "retrieval", "delta_foil", "map."))
    ]
    return [(name, round(before[name], 4), round(after[name], 4)) for name in names]


def main() -> None:
    """Make the rows that are missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, in processes of their own")
    parser.add_argument(
        "--threads", type=int, default=None, help="of each; all cores shared out unless given"
    )
    parser.add_argument(
        "--keep", nargs="*", choices=ARMS, default=[], help="arms whose models are kept in runs/tune"
    )
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument(
        "--ship", action="store_true", help="with --wise: write the model as clipsight-tiny-cae"
    )
    parser.add_argument("--wise", choices=ARMS, help="only make the sweep of this arm, whose model was kept")
    args = parser.parse_args()
    if args.wise:
        sweep(args.wise, args.seeds[0], args.device, args.ship)
        return
    done = {(row.arm, row.seed) for row in read(args.rows)} if args.rows.exists() else set()
    if ("zero", 0) not in done:
        lens = clipsight.load("clipsight-tiny", device=args.device)
        write(args.rows, {
            "arm": "zero", "seed": 0, "settings": {"fingerprint": lens.fingerprint}, "device": str(lens.device),
            "train_seconds": 0.0, "figures": {k: round(v, 5) for k, v in measure(lens).items()}, "versions": versions(),
        })  # fmt: skip
    # The scenes are drawn once, before several processes would draw them at once.
    open_examples(DATA, DataOptions(cache=RUNS / "data", processes=os.cpu_count() or 1))
    jobs = [(arm, seed) for seed in args.seeds for arm in args.arms if (arm, seed) not in done]
    threads = args.threads or max(1, (os.cpu_count() or 1) // args.jobs)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    for job in [*jobs, *[None] * args.jobs]:
        queue.put(job)
    several = [
        context.Process(target=worker, args=(queue, args.rows, args.device, threads, args.keep))
        for _ in range(args.jobs)
    ]
    for process in several:
        process.start()
    for process in several:
        process.join()
    if any(process.exitcode for process in several):
        raise SystemExit("a run failed; the same command makes what is missing")


if __name__ == "__main__":
    main()
