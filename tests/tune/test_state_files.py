"""A state of training is always there: after SIGKILL, a truncated file, a full disk."""

import errno
import json
import os
import random
import subprocess
import sys
import warnings
from collections import OrderedDict
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from clipsight.errors import CheckpointError, ClipsightError, ClipsightWarning
from clipsight.results import io
from clipsight.tune.state import NEWEST, NEXT, PREVIOUS, load_state, save_state
from inputs.test_writers import FullDisk

SETTINGS = {"lr": 5e-7, "loss": {"name": "cae", "weights": (1.0, 0.5)}}


def state(step: int) -> dict:
    return {
        "step": step,
        "model": OrderedDict(w=torch.full((50,), float(step)), n=torch.tensor(step)),
        "optimizer": {
            "state": {0: {"exp_avg": torch.ones(3)}},
            "groups": [{"lr": 0.1, "betas": (0.9, 0.98)}],
        },
        "notes": ["a", None, True],
    }


def test_what_was_saved_is_read_back(tmp_path):
    assert load_state(tmp_path / "nowhere") is None
    path = save_state(tmp_path / "run", state(1), SETTINGS)
    assert path == tmp_path / "run" / NEWEST
    read = load_state(tmp_path / "run", SETTINGS)
    assert read is not None
    assert str(read) == str(state(1))
    assert read["optimizer"]["groups"][0]["betas"] == (0.9, 0.98)
    torch.load(path, weights_only=True)


def test_the_one_before_is_kept(tmp_path):
    for step in (1, 2, 3):
        save_state(tmp_path, state(step))
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([NEWEST, PREVIOUS])
    (tmp_path / NEWEST).unlink()
    assert load_state(tmp_path)["step"] == 2  # type: ignore[index]


def test_a_training_can_be_kept(tmp_path):
    model = torch.nn.Linear(3, 2)
    maker = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(1, 3)).sum().backward()
    maker.step()
    save_state(
        tmp_path, {"model": model.state_dict(), "optimizer": maker.state_dict(), "rng": torch.get_rng_state()}
    )
    read = load_state(tmp_path)
    assert read is not None
    other = torch.optim.AdamW(model.parameters(), lr=1.0)
    other.load_state_dict(read["optimizer"])
    assert other.state_dict()["param_groups"][0]["lr"] == 0.1
    assert torch.equal(read["rng"], torch.get_rng_state())


@pytest.mark.parametrize("seed", range(3))
def test_a_truncated_newest_falls_back_with_a_warning(tmp_path, seed):
    save_state(tmp_path, state(1))
    save_state(tmp_path, state(2))
    whole = (tmp_path / NEWEST).read_bytes()
    for length in (0, 1, 3, len(whole) - 1, *random.Random(seed).sample(range(len(whole)), 20)):
        (tmp_path / NEWEST).write_bytes(whole[:length])
        with pytest.warns(ClipsightWarning, match=rf"{NEWEST} \({length:,} bytes\).*{PREVIOUS}"):
            read = load_state(tmp_path)
        assert read is not None
        assert read["step"] == 1


def test_a_flipped_bit_is_never_trained_on(tmp_path):
    save_state(tmp_path, state(1))
    save_state(tmp_path, state(2))
    whole, draw, passed_over = (tmp_path / NEWEST).read_bytes(), random.Random(0), 0
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        (tmp_path / NEWEST).write_bytes(damaged)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            read = load_state(tmp_path)
        passed_over += bool(said)
        assert str(read) == str(state(1 if said else 2))  # some bits are padding
    assert passed_over > 10


def test_saving_after_a_damaged_newest_never_leaves_only_it(tmp_path, monkeypatch):
    save_state(tmp_path, state(1))
    save_state(tmp_path, state(2))
    (tmp_path / NEWEST).write_bytes(b"damaged")
    real, renames = os.replace, []

    def replace(source, target):
        if Path(target).parent == tmp_path and len(renames) == died_at:
            raise KeyboardInterrupt
        renames.append(target)
        real(source, target)

    for died_at in (0, 1, 2):
        renames.clear()
        monkeypatch.setattr(os, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            save_state(tmp_path, state(3))
        monkeypatch.undo()
        if died_at == 0:
            with pytest.warns(ClipsightWarning, match="damaged|cannot be read"):
                assert load_state(tmp_path)["step"] == 1  # type: ignore[index]
        else:
            assert load_state(tmp_path)["step"] == 3  # type: ignore[index]
    save_state(tmp_path, state(4))
    assert load_state(tmp_path)["step"] == 4  # type: ignore[index]
    assert not (tmp_path / NEXT).exists()


def test_nothing_whole_is_an_error(tmp_path):
    save_state(tmp_path, state(1))
    save_state(tmp_path, state(2))
    (tmp_path / NEWEST).write_bytes(b"x" * 100)
    torch.save({"w": torch.ones(1)}, tmp_path / PREVIOUS)
    with pytest.raises(
        CheckpointError, match=r"no state there is whole: .*state\.pt.*state\.previous\.pt.*no state of"
    ):
        load_state(tmp_path)


def test_code_in_a_state_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"format": 1, "settings": {}, "state": Evil()}, tmp_path / NEWEST)
    with pytest.raises(CheckpointError, match="no state there is whole"):
        load_state(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_newer_format_is_refused(tmp_path):
    torch.save({"format": 2, "settings": {}, "state": {}}, tmp_path / NEWEST)
    with pytest.raises(CheckpointError, match="upgrade"):
        load_state(tmp_path)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({**SETTINGS, "lr": 1e-6}, r"lr was 5e-07 and is now 1e-06"),
        ({**SETTINGS, "loss": {"name": "cae", "weights": (1.0, 0.4)}}, r"loss\.weights was \[1\.0, 0\.5\]"),
        ({"lr": 5e-7, "loss": {"name": "cae"}}, r"loss\.weights was .* is now 'absent'"),
        ({**SETTINGS, "seed": 3}, "seed was 'absent' and is now 3"),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path, now, said):
    save_state(tmp_path, state(1), SETTINGS)
    with pytest.raises(CheckpointError, match=said):
        load_state(tmp_path, now)
    assert load_state(tmp_path) is not None


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        ({"rng": np.zeros(3)}, r"state\['rng'\] is a ndarray"),
        ({"a": [0, {"b": np.float64(3)}]}, r"state\['a'\]\[1\]\['b'\] is a float64"),
        ({"a": {(1, 2): 3}}, "key of type tuple"),
        ({"model": torch.nn.Linear(1, 1)}, "Linear"),
    ],
)
def test_what_could_not_be_read_back_is_refused_at_once(tmp_path, bad, where):
    with pytest.raises(TypeError, match=where):
        save_state(tmp_path, bad)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("room", [0, 10, 500, 1500])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_a_full_disk_is_said_and_loses_nothing(tmp_path, monkeypatch, room, code):
    save_state(tmp_path, state(1))
    save_state(tmp_path, state(2))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    class Full(FullDisk):
        def write(self, data):
            try:
                return super().write(data)
            except OSError:
                raise OSError(code, os.strerror(code)) from None

    @contextmanager
    def opened(*args):
        with open(*args) as file:
            yield Full(file, room)

    monkeypatch.setattr(io, "open", opened, raising=False)
    kind = (ClipsightError, "disk is full.*untouched") if code == errno.ENOSPC else (PermissionError, "state")
    with pytest.raises(kind[0], match=kind[1]):
        save_state(tmp_path, state(3))
    monkeypatch.undo()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert load_state(tmp_path)["step"] == 2  # type: ignore[index]


KILLED = """
import json, os, random, signal, sys, time
from pathlib import Path
import torch
from clipsight.tune.state import load_state, save_state

torch.set_num_threads(1)
folder, draw, seen = Path(sys.argv[1]), random.Random(0), []
step = 0
for round in range(30):
    report, say = os.pipe()
    child = os.fork()
    if child == 0:
        while True:
            step += 1
            save_state(folder, {"step": step, "w": torch.full((20_000,), float(step))}, {"lr": 1})
            os.write(say, step.to_bytes(4, "big"))
    os.close(say)
    told = os.read(report, 4)  # however slow the machine, each round saves once at least
    time.sleep(draw.uniform(0.001, 0.05))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while part := os.read(report, 65536):
        told += part
    os.close(report)
    last = int.from_bytes(told[-4:], "big")
    state = load_state(folder, {"lr": 1})
    found = 0 if state is None else state["step"]
    assert state is None or bool((state["w"] == found).all())
    seen.append((last, found, sum(f.name.endswith("-tmp") for f in folder.iterdir()) if folder.exists() else 0))
    step = found
print(json.dumps(seen))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_sigkill_at_any_moment_leaves_the_newest_whole(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", KILLED, str(tmp_path / "run")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rounds = json.loads(done.stdout)
    assert len(rounds) == 30
    for told, found, left in rounds:
        assert found in (told, told + 1)  # every state that was said to be saved is there
        assert left <= 1  # what a killed save leaves goes with the next
    assert rounds[-1][1] > 10
    assert any(left for *_, left in rounds)  # some were killed in the middle of writing
