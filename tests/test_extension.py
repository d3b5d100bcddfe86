"""Adding a recipe, an attribution, a verb, a benchmark, a task or a kind of tower takes one file (and its test).

Each toy is added as one file to a copy of the package. No other file of the copy changes; the registries must find the
toys, the command line must list and run them.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import clipsight

PACKAGE = Path(clipsight.__file__).parent

TOYS = {
    "features/recipes/toy_recipe.py": '''
"""A toy: keys attend to keys."""

from clipsight.features.branches import Branch, Kernel
from clipsight.features.recipe import Recipe

RECIPES = (
    Recipe(
        id="toy_recipe",
        summary="A toy: keys attend to keys in the last block.",
        kernel=Kernel(branches=(Branch(left="k", right="k"),)),
        residual="drop",
        ffn="skip",
        positions="bicubic",
    ),
)
''',
    "attribution/toy_attribution.py": '''
"""A toy: every word counts the same."""

from clipsight.attribution.question import Answer, Question
from clipsight.attribution.registry import attribution
from clipsight.attribution.sources import GRAD_CAM


@attribution(
    "toy_attribution",
    summary="A toy: every word counts the same.",
    side="text", unit="constant",
    image=False, gradients=False, inside="ids", signed=False, linear=False, spans=False,
    sources=(GRAD_CAM,),
)
def toy_attribution(question: Question, *, level: float = 1.0) -> Answer:
    """r_i = level for words, 0 elsewhere."""
    return Answer(scores=level * question.marks.content.float())
''',
    "attribution/image/toy_image_attribution.py": '''
"""A toy: every patch counts the same."""

import torch

from clipsight.attribution.image.registry import ImageAnswer, ImageQuestion, image_attribution
from clipsight.attribution.sources import GRAD_CAM


@image_attribution(
    "toy_image_attribution",
    summary="A toy: every patch counts the same.",
    unit="constant", signed=False, linear=False, gradients=False, needs=lambda view: "",
    sources=(GRAD_CAM,),
)
def toy_image_attribution(question: ImageQuestion) -> ImageAnswer:
    """1 everywhere."""
    return ImageAnswer(maps=torch.ones(len(question.images), len(question.directions), *question.grid))
''',
    "cli/toyverb.py": '''
"""`clipsight toyverb`: a toy."""

from clipsight.cli.outcome import SUCCESS, say
from clipsight.cli.registry import verb


@verb(900)
def toyverb(word: str = "hello", /) -> int:
    """Say a word.

    Args:
        word: What is said.
    """
    say(word)
    return SUCCESS
''',
    "bench/composition/readers/toy_reader.py": '''
"""A toy benchmark: a picture, a true caption and a false one."""

from collections.abc import Iterator

from clipsight.bench.composition.benchmark import Annotation, Benchmark, BenchmarkFiles, reader
from clipsight.bench.composition.item import Item
from clipsight.bench.composition.protocol import Protocol
from clipsight.records import Row


@reader(
    Benchmark(
        id="toy_benchmark",
        title="Toy",
        origin="the tests",
        folders=("toy",),
        annotations=(Annotation(split="all", files=("toy.json",), rows=1, collection="coco"),),
        protocols={"official": Protocol()},
    )
)
def toy_benchmark(row: Row, source: BenchmarkFiles) -> Iterator[Item]:
    """One item for each record."""
    yield source.item(
        row,
        rule="pair_text",
        pictures=(source.picture(row.text("image")),),
        positives=(row.text("true"),),
        negatives=(row.text("false"),),
    )
''',
    "bench/tasks/toy_task.py": '''
"""A toy task: how many objects a scene has."""

from clipsight.bench.task import Task, one_row

TASKS = (
    Task(
        id="toy_task",
        question="How many objects does a scene have?",
        figures={"objects": "mean number of objects; not in [0, 1]"},
        jobs=lambda lens, recipes, contrast: [
            one_row({}, lambda drawn: {"objects": sum(len(s.objects) for s in drawn.mixed) / len(drawn.mixed)})
        ],
    ),
)
''',
    "towers/families/toy_family.py": '''
"""A toy kind of tower: an open_clip vision transformer inside another module."""

from torch import nn

from clipsight.towers.open_clip_vit import OpenClipVision


class ToyView(OpenClipVision):
    """The wrapped transformer."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__(visual.get_submodule("wrapped"))


def vision_family(visual: nn.Module, module: nn.Module) -> tuple[str, type[ToyView]] | None:
    """(kind, adapter) of a module that wraps a transformer."""
    return ("toy", ToyView) if hasattr(visual, "wrapped") else None
''',
}

SCRIPT = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import clipsight
import torch
from torch import nn
from clipsight.bench.composition import benchmark_ids, read_benchmark, get_benchmark
from clipsight.bench.tasks import TASKS
from clipsight.cli import main
from clipsight.world import make_scene

def run(*words):
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(words)
    return code, out.getvalue() + err.getvalue()

class Wrapper(nn.Module):
    def __init__(self, wrapped):
        super().__init__()
        self.wrapped = wrapped
        self.image_size = wrapped.image_size
    def forward(self, x):
        return self.wrapped(x)

found = {"package": str(Path(clipsight.__file__).parent)}
lens = clipsight.load("clipsight-tiny")
image = make_scene(0, size=224).image
_, listed = run("methods", "--json")
found["listed"] = json.loads(listed)
found["recipe"] = lens.explain(image, ["dog"], method="toy_recipe").provenance.method
scores = lens.words(image, "a red dog", method="toy_attribution", level=2.0)
found["attribution"] = [scores.provenance.method, *scores.scores.tolist()]
to_patches = lens.explain(image, ["dog"], method="toy_image_attribution", contrast=None)
found["image_attribution"] = to_patches.maps.unique().tolist()
found["help"] = run("--help")[1]
found["verb"] = run("toyverb", "hi")
found["benchmarks"] = benchmark_ids()
found["sets"] = run("bench", "composition", "--sets", "nobody", "--annotations", ".", "--images", ".")
Path("toy").mkdir()
Path("toy/toy.json").write_text(json.dumps([{"image": "a.jpg", "true": "a dog", "false": "a cat"}]))
found["items"] = [item.negatives for item in read_benchmark(get_benchmark("toy_benchmark"), Path(".")).items]
found["tasks"] = [task.id for task in TASKS]

plain = lens.module
pixels = lens.preprocess(image)
expected = lens.patch_features(pixels, "naclip")
plain.visual = Wrapper(plain.visual)
toy = clipsight.load(plain)
found["family"] = toy.card.family
found["same"] = torch.equal(toy.patch_features(pixels, "naclip"), expected)
print(json.dumps(found))
"""


def _files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What a copy of the package, with every toy added, lists and does."""
    root = tmp_path_factory.mktemp("extended")
    copy = root / "clipsight"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in TOYS.items():
        (copy / path).write_text(text.lstrip(), encoding="utf-8")
    before, after = _files(PACKAGE), _files(copy)
    touched = {path for path in after if before.get(path) != after[path]} | (set(before) - set(after))
    (root / "work").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=root / "work",
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert Path(result["package"]).samefile(copy)
    return {**result, "touched": touched}


def test_each_takes_one_file(found):
    assert found["touched"] == set(TOYS)


def test_a_recipe(found):
    assert "toy_recipe" in [one["id"] for one in found["listed"]["methods"]]
    assert found["recipe"] == "toy_recipe"


def test_an_attribution(found):
    assert "toy_attribution" in [one["id"] for one in found["listed"]["attributions"]]
    assert found["attribution"] == ["toy_attribution", 2.0, 2.0, 2.0]


def test_an_image_attribution(found):
    assert "toy_image_attribution" in [one["id"] for one in found["listed"]["image_attributions"]]
    assert found["image_attribution"] == [1.0]


def test_a_verb(found):
    assert "toyverb" in found["help"]
    assert found["verb"] == [0, "hi\n"]


def test_a_reader(found):
    assert "toy_benchmark" in found["benchmarks"]
    assert found["sets"][0] == 2
    assert "toy_benchmark" in found["sets"][1]
    assert found["items"] == [["a cat"]]


def test_a_task(found):
    assert "toy_task" in found["tasks"]


def test_a_kind_of_tower(found):
    assert found["family"] == "toy"
    assert found["same"]
