"""A lens without a model: real results over made-up numbers, so that the command line is tested alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import clipsight
from clipsight.cli import main
from clipsight.errors import PictureError
from clipsight.results import Classification, Explanation, Provenance


class FakeLens:
    """Answers like a lens; remembers what it was asked."""

    def __init__(self) -> None:
        self.loaded: list[tuple[str, dict[str, Any]]] = []
        self.asked: list[dict[str, Any]] = []

    def load(self, model: str, **arguments: Any) -> "FakeLens":
        self.loaded.append((model, arguments))
        return self

    def see(self, image: str, resolution: object) -> "FakeSeen":
        return FakeSeen(self, image, resolution)

    def explain(self, image: str, texts: Sequence[str], **arguments: Any) -> Explanation:
        self.asked.append({"image": image, "texts": tuple(texts), **arguments})
        pixels = _read(image)
        count = len(texts)
        maps = torch.linspace(-0.1, 0.3, count * 12).reshape(count, 3, 4)
        return Explanation(
            image=pixels,
            texts=tuple(texts),
            maps=maps,
            similarity=torch.full((count,), 0.25),
            presence=torch.full((count,), torch.nan),
            presence_reason="no contrast vocabulary",
            trust=tuple(f"Trust line of {text}." for text in texts),
            source=image,
            provenance=_provenance(("The fake lens looked.",)),
        )

    def classify(self, image: str, labels: Sequence[str], **arguments: Any) -> Classification:
        self.asked.append({"image": image, "labels": tuple(labels), **arguments})
        _read(image)
        similarity = torch.linspace(0.1, 0.3, len(labels))
        return Classification(
            labels=tuple(labels),
            probabilities=(100 * similarity).softmax(0),
            similarity=similarity,
            source=image,
            provenance=_provenance(()),
        )


class FakeSeen:
    """A picture that the fake has seen."""

    def __init__(self, lens: FakeLens, image: str, resolution: object) -> None:
        self.lens, self.image, self.resolution = lens, image, resolution

    def explain(self, texts: Sequence[str], **arguments: Any) -> Explanation:
        return self.lens.explain(self.image, texts, resolution=self.resolution, **arguments)


def _read(image: str) -> np.ndarray:
    try:
        with Image.open(image) as picture:
            return np.asarray(picture.convert("RGB"))
    except OSError as error:
        raise PictureError(f"{image} is not a picture that can be read.") from error


def _provenance(notes: tuple[str, ...]) -> Provenance:
    return Provenance(
        model="fake",
        pretrained=None,
        fingerprint="0000",
        method="clip_surgery",
        settings={},
        templates=(),
        contrast="empty",
        contrast_texts=("",),
        grid=(3, 4),
        size=(24, 32),
        versions={"clipsight": "0"},
        notes=notes,
    )


@pytest.fixture
def lens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeLens:
    """The fake, in place of every model; the working directory is empty but for two pictures and a broken one."""
    fake = FakeLens()
    monkeypatch.setattr(clipsight, "load", fake.load, raising=False)
    monkeypatch.chdir(tmp_path)
    for name, colour in (("dog.jpg", "brown"), ("cat.png", "grey")):
        Image.new("RGB", (32, 24), colour).save(name)
    Path("broken.png").write_bytes(b"not a picture")
    return fake


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """Run one command line; gives (exit code, standard output, standard error)."""

    def call(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
