"""A run that is killed at random moments, and begun again each time, ends as the run that was left alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from clipsight.tune.journal import read_log
from clipsight.tune.lora import LoraPlan
from clipsight.tune.objectives.cae import Cae, CaeOptions
from clipsight.tune.objectives.contrastive import Contrastive
from clipsight.tune.objectives.distill import Distill
from clipsight.tune.schedule import cosine
from clipsight.tune.state import load_state
from clipsight.tune.tuned import choose_parameters
from tune.training import toy_batches, toy_model, toy_trainer, weighted

STEPS, SETTINGS = 40, {"lr": 1e-3, "betas": (0.9, 0.98)}


def train(folder: Path, setup: str) -> None:
    """The whole run, or what is left of it."""
    module = toy_model(dtype=torch.float32)
    terms = [
        weighted(objective=Contrastive()),
        weighted(objective=Cae(CaeOptions(variant="pb", granularity="word_sample")), weight=0.5, ramp=0.3),
    ]
    named = None
    if setup == "adapters and teacher":
        named = choose_parameters(module, "lora", lora=LoraPlan(rank=2)).named
        terms.append(weighted(objective=Distill(momentum=0.9), weight=2.0))
    toy_trainer(
        module, terms, named=named, folder=folder, settings=SETTINGS, schedule=cosine(STEPS, 5),
        batches=toy_batches(dtype=torch.float32),
        loop={"steps": STEPS, "save_every": 3, "log_every": 2, "micro_batches": 2},
    ).run()  # fmt: skip


SCRIPT = """
import json, os, random, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from clipsight.tune.state import load_state
from tune.test_trainer_killed import train

folder, setup, draw, killed = Path(sys.argv[1]), sys.argv[2], random.Random(sys.argv[3]), []

def child(work):
    process = os.fork()
    if process == 0:
        try:
            work()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return process

began = time.monotonic()
whole = child(lambda: train(folder / "whole", setup))
assert os.waitpid(whole, 0)[1] == 0
length = time.monotonic() - began
while True:
    process = child(lambda: train(folder / "broken", setup))
    wait = draw.uniform(0.02, 0.3) * length if len(killed) < 5 else 10 * length
    until = time.monotonic() + wait
    while time.monotonic() < until and not (over := os.waitpid(process, os.WNOHANG))[0]:
        time.sleep(0.002)
    if over[0]:
        assert over[1] == 0
        break
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    state = load_state(folder / "broken")
    killed.append(0 if state is None else state["step"])
print(json.dumps(killed))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.parametrize("setup", ["full", pytest.param("adapters and teacher", marks=pytest.mark.slow)])
def test_sigkill_at_random_moments_changes_nothing(tmp_path, setup):
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests), str(tests.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, str(tmp_path), setup, "1"],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    killed = json.loads(done.stdout)
    assert len(killed) >= 3
    assert any(0 < step < STEPS for step in killed)
    one, two = (load_state(tmp_path / name, SETTINGS) for name in ("whole", "broken"))
    assert one is not None
    assert two is not None
    assert one["step"] == two["step"] == STEPS
    for part in ("model", "optimizers", "objectives"):
        assert flat(one[part]) == flat(two[part])
    rows = [
        [
            {key: value for key, value in row.items() if "seconds" not in key}
            for row in read_log(tmp_path / name)
        ]
        for name in ("whole", "broken")
    ]
    assert rows[0] == rows[1]
    assert [row["step"] for row in rows[0]] == list(range(2, STEPS + 1, 2))


def flat(value: object) -> object:
    """As something that can be compared to the last bit."""
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), value.numpy().tobytes())
    if isinstance(value, dict):
        return {name: flat(inner) for name, inner in value.items()}
    return [flat(inner) for inner in value] if isinstance(value, list | tuple) else value
