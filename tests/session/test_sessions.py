"""A lens over a long day: memory, exceptions, threads, other processes, compiled code, other number types."""

import gc
import multiprocessing
import pickle
import resource
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import clipsight
from clipsight.features import run
from clipsight.towers.families import towers_of
from clipsight.world import make_scene
from tiny import past_type_checks, pixels, tiny_clip
from towers.test_vision_view import assert_as_found, trace

TEXTS = ["a dog", "a red car", "two cats"]
RESNET = {"layers": (1, 1, 1, 1), "patch_size": None, "width": 16}


@pytest.fixture(scope="module")
def lens() -> clipsight.Lens:
    return clipsight.load(tiny_clip(), device="cpu")


@pytest.fixture(scope="module")
def picture():
    return make_scene(3, size=64).image


def resident_mb() -> float:
    """Memory of this process that is in use now."""
    gc.collect()
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


@pytest.mark.slow
def test_a_thousand_explains_leave_no_memory_behind(picture):
    lens = clipsight.load(tiny_clip(layers=2, width=32, head_width=16), device="cpu")
    before, marks = trace(lens.module), []
    with past_type_checks():
        for number in range(1000):
            size = (64, 16 * (2 + number % 5))
            lens.explain(picture, [f"a dog {number}", "a car"], method="naclip", resolution=size)
            if number % 200 == 199:
                marks.append(resident_mb())
    assert marks[-1] - marks[0] < 8, marks  # 800 explains: a picture's maps kept by mistake would be 30 MB
    assert_as_found(lens.module, before)


class Breaks(nn.Module):
    """A network that fails when it is told to."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.failing = inner, False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.failing:
            raise RuntimeError("broken in the middle")
        return self.inner(x)


@pytest.mark.parametrize("vision", [{}, {"qk_norm": True}, RESNET], ids=str)
@pytest.mark.parametrize("method", ["clip", "clip_surgery", "naclip"])
def test_a_failure_in_the_middle_changes_nothing(vision, method, picture):
    model = tiny_clip(**vision)
    part = model.visual.layer4[0] if "width" in vision else model.visual.transformer.resblocks[3]
    name = "act3" if "width" in vision else "ln_1"
    breaking = Breaks(getattr(part, name))
    setattr(part, name, breaking)
    lens = clipsight.load(model, device="cpu")
    expected = lens.explain(picture, TEXTS, method=method, contrast=None).maps
    before = trace(model)
    breaking.failing = True
    with pytest.raises(RuntimeError, match="in the middle"):
        lens.explain(picture, TEXTS, method=method, contrast=None)
    breaking.failing = False
    assert_as_found(model, before)
    assert torch.equal(lens.explain(picture, TEXTS, method=method, contrast=None).maps, expected)


def test_eight_threads_get_what_one_gets(lens, picture):
    jobs = [
        (method, size, texts)
        for method in ("clip", "clip_surgery", "naclip", "sclip")
        for size in ((64, 64), (64, 96), (32, 48))
        for texts in (TEXTS, TEXTS[:1])
    ]
    alone = [lens.explain(picture, t, method=m, contrast="empty", resolution=s).maps for m, s, t in jobs]
    shared = clipsight.load(tiny_clip(), device="cpu")
    start = threading.Barrier(8)

    def ask(number: int) -> list[torch.Tensor]:
        start.wait()
        order = np.random.default_rng(number).permutation(len(jobs))
        made = {
            i: shared.explain(
                picture, jobs[i][2], method=jobs[i][0], contrast="empty", resolution=jobs[i][1]
            ).maps
            for i in order
        }
        return [made[i] for i in range(len(jobs))]

    with ThreadPoolExecutor(8) as pool:
        for answers in pool.map(ask, range(8)):
            for ours, theirs in zip(answers, alone, strict=True):
                torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def _in_a_spawned_process(
    lens: clipsight.Lens, picture: np.ndarray, queue: "multiprocessing.Queue[object]"
) -> None:
    queue.put((lens.fingerprint, lens.explain(picture, TEXTS, method="naclip").maps.numpy()))


def test_a_lens_goes_to_a_spawned_process(lens, picture):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_in_a_spawned_process, args=(lens, np.asarray(picture), queue))
    process.start()
    try:
        mark, maps = queue.get(timeout=120)
    finally:
        process.join(30)
    assert mark == lens.fingerprint
    np.testing.assert_allclose(maps, lens.explain(picture, TEXTS, method="naclip").maps.numpy(), atol=1e-5)


def test_a_lens_is_pickled_without_its_caches(lens, picture):
    expected = lens.explain(picture, TEXTS)
    other = pickle.loads(pickle.dumps(lens))
    assert torch.equal(other.explain(picture, TEXTS).maps, expected.maps)
    assert other.card == lens.card
    assert len(pickle.dumps(lens)) == pytest.approx(len(pickle.dumps(other)), rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("vision", "recipe"), [({}, "clip_surgery"), ({}, "naclip"), (RESNET, "clip_surgery")], ids=str
)
def test_compiled_code_keeps_the_values(vision, recipe):
    view = towers_of(tiny_clip(**vision)).vision
    x = pixels(1, 64, 96)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler, about what it leaves to Python
        expected = run(view, x, recipe)
        made = torch.compile(lambda images: run(view, images, recipe).patches, backend="aot_eager")(x)
    torch.testing.assert_close(made, expected.patches, atol=1e-5, rtol=1e-5)


def test_a_compiled_module_is_a_model(picture):
    model = tiny_clip()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = clipsight.load(torch.compile(model, backend="aot_eager"), device="cpu")
    expected = clipsight.load(model, device="cpu").explain(picture, TEXTS)
    torch.testing.assert_close(compiled.explain(picture, TEXTS).maps, expected.maps, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["bf16", "fp16"])
@pytest.mark.parametrize("vision", [{}, RESNET], ids=str)
def test_half_precision_stays_near_and_finite(vision, kind, picture):
    exact = clipsight.load(tiny_clip(**vision), device="cpu")
    half = clipsight.load(tiny_clip(**vision), device="cpu", dtype=kind)
    for method in ("clip", "clip_surgery", "naclip"):
        ours = half.explain(picture, TEXTS, method=method, contrast=None)
        theirs = exact.explain(picture, TEXTS, method=method, contrast=None)
        assert ours.maps.dtype == torch.float32
        assert (ours.maps - theirs.maps).abs().max() < 0.05
        assert (ours.similarity - theirs.similarity).abs().max() < 0.05
