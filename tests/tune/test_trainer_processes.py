"""Two processes, joined by gloo, give the gradients, the log and the weights of one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from clipsight.tune.objectives.cae import Cae, CaeOptions
from clipsight.tune.objectives.contrastive import Contrastive
from clipsight.tune.objectives.distill import Distill
from clipsight.tune.objectives.negatives import NegativeContrastive
from tune.training import gradients_of, picked, toy_batch, toy_model, toy_trainer, weighted

WORLD = 2
TERMS = {
    "contrastive": lambda: [weighted(objective=Contrastive())],
    "negatives": lambda: [weighted(objective=NegativeContrastive(foils=2))],
    **{
        f"cae {variant}": lambda variant=variant: [
            weighted(objective=Cae(CaeOptions(variant=variant, loss="ratio")))
        ]
        for variant in ("ab", "gcb", "pb", "gb")
    },
    "all": lambda: [
        weighted(objective=NegativeContrastive(foils=2)),
        weighted(objective=Cae(CaeOptions(variant="ab", loss="ratio", rollout=True)), weight=0.5),
        weighted(
            objective=Cae(CaeOptions(variant="pb", loss="ratio", granularity="word_sample")), weight=2.0
        ),
        weighted(objective=Cae(CaeOptions(variant="gb", loss="ratio", object_side="live")), weight=0.7),
        weighted(objective=Distill(), weight=3.0),
    ],
}
# Rows of the batch, half of them of each process: captions that count are 2 and 3, 1 and 3, 0 and 3.
ORDERS = {"2 and 3": range(8), "1 and 3": (0, 2, 5, 6, 1, 3, 4, 7), "0 and 3": (2, 5, 6, 6, 0, 1, 3, 2)}
CASES = [
    (terms, order, pieces)
    for terms in TERMS
    for order in ("1 and 3", "0 and 3", "2 and 3")
    for pieces in (1, 2)
    if terms == "all" or pieces == 1 or order == "0 and 3"
]


def gradients(terms: str, order: str, pieces: int, rank: int = 0, parallel: Any = None) -> tuple[Any, Any]:
    """Gradients and log row; of the joined batch without `parallel`."""
    module, batch = toy_model(), picked(toy_batch(foils=2), ORDERS[order])
    if parallel is not None:
        batch = batch.rows(slice(4 * rank, 4 * rank + 4))
    trainer = toy_trainer(module, TERMS[terms](), parallel=parallel, loop={"micro_batches": pieces})
    for one in module.parameters():  # away from the teacher
        one.data.mul_(1.01)
    row = trainer.gradients(batch, step=3)
    return gradients_of(module), row


def run(folder: Path, terms: str, rank: int = 0, parallel: Any = None) -> tuple[Any, Any]:
    """Weights and rows of a run, whose clock stops it early in process 0 alone."""
    module = toy_model()

    def batches(first: int) -> Any:
        for step in range(first, 9):
            batch = picked(toy_batch(foils=2, seed=step), ORDERS["1 and 3"])
            yield batch if parallel is None else batch.rows(slice(4 * rank, 4 * rank + 4))

    def late(rows: Any) -> str:
        return "late" if rank == 0 and len(rows) == 3 else ""

    trainer = toy_trainer(
        module,
        TERMS[terms](),
        batches=batches,
        parallel=parallel,
        folder=folder,
        stop_rules=[late],
        loop={"steps": 9},
    )
    outcome = trainer.run()
    return dict(module.state_dict()), {"rows": outcome.rows, "stopped": outcome.stopped, "step": outcome.step}


def main(folder: Path, rank: int) -> None:
    """What each of the processes does."""
    from torch import distributed as dist

    from clipsight.tune.distributed import Distributed, parallel

    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=WORLD)
    joined = parallel()
    assert isinstance(joined, Distributed)
    made = {repr(case): gradients(*case, rank=rank, parallel=joined) for case in CASES}
    for terms in ("all", "cae pb"):
        made[terms] = run(folder / terms, terms, rank, joined)
    own = torch.full((2,), float(rank))
    joined.same([own])
    made["same"] = own
    joined.wait()
    torch.save(made, folder / f"{rank}.pt")
    dist.destroy_process_group()


SCRIPT = """
import os, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tune.test_trainer_processes import main
child = os.fork()
main(Path(sys.argv[1]), 0 if child else 1)
if child:
    sys.exit(os.waitpid(child, 0)[1] != 0)
"""


@pytest.fixture(scope="module")
def processes(tmp_path_factory) -> list[dict[str, Any]]:
    """What two processes found: each starts from the same imports, and they meet in a file."""
    if not hasattr(os, "fork") or not torch.distributed.is_gloo_available():
        pytest.skip("needs fork and gloo")
    folder = tmp_path_factory.mktemp("processes")
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests), str(tests.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, str(folder)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(WORLD)]
    found[0]["log"] = (folder / "all" / "log.jsonl").read_text()
    return found


@pytest.mark.parametrize("case", CASES, ids=[", ".join(map(str, case)) for case in CASES])
def test_gradients_and_log_are_those_of_one_process(processes, case):
    expected, row = gradients(*case)
    reached = {name for name, value in expected.items() if value.abs().max() > 1e-7}
    assert len(reached) > 10
    assert ("logit_scale" in reached) == (case[0] in ("contrastive", "negatives", "all"))
    for rank in range(WORLD):
        made, said = processes[rank][repr(case)]
        for name, value in expected.items():
            torch.testing.assert_close(
                made[name], value, atol=1e-6, rtol=0, msg=lambda text, name=name: name + text
            )
        assert said.keys() == row.keys()
        assert said == pytest.approx(row, abs=1e-5)


@pytest.mark.parametrize("terms", ["all", "cae pb"])
def test_a_run_is_that_of_one_process_and_ends_in_all_at_once(processes, tmp_path, terms):
    weights, said = run(tmp_path, terms)
    assert said["step"] == 3
    for rank in range(WORLD):
        made, rows = processes[rank][terms]
        assert rows["step"] == 3
        assert rows["stopped"] == ("late" if rank == 0 else "process 0 ended the run")
        for name, value in weights.items():
            torch.testing.assert_close(
                made[name], value, atol=1e-6, rtol=0, msg=lambda text, name=name: name + text
            )
    for name, start in (
        toy_model().state_dict().items()
    ):  # CAE alone leaves the image tower as it was, decay included
        assert torch.equal(weights[name], start) == (
            terms == "cae pb" and name.startswith(("visual.", "logit_scale"))
        )


def test_process_0_alone_writes_the_log(processes):
    steps = [json.loads(line)["step"] for line in processes[0]["log"].splitlines()]
    assert steps == [1, 2, 3]


def test_values_of_process_0_go_to_all(processes):
    assert [one["same"].tolist() for one in processes] == [[0, 0], [0, 0]]
