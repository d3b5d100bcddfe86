"""A model whose similarities a test chooses, and files and pictures to ask it about."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from clipsight.bench.about import About
from clipsight.bench.composition.views import PictureView

SHARED = Path(__file__).resolve().parents[3].parent / "shared"


class Planted:
    """Cosines as told: a picture is known by the colour of its middle, a text by its words; others give 0.

    Each text is an axis of its own, unless `texts` says how near it is to another one.
    """

    view = PictureView(kind="square", size=(2, 2), resampling="bicubic")

    def __init__(
        self, scores: Mapping[tuple[int, str], float], alike: Mapping[tuple[str, str], float]
    ) -> None:
        self._axes = sorted({text for _, text in scores} | {text for pair in alike for text in pair})
        self._scores, self._alike = scores, alike
        self.encoded: list[Any] = []

    @property
    def about(self) -> About:
        return About(
            model="planted", pretrained=None, fingerprint="0", activation="gelu", dtype="float32",
            device="cpu", view="square", size=(2, 2),
        )  # fmt: skip

    def pictures(self, pictures: Sequence[Image.Image]) -> torch.Tensor:
        colours = [picture.getpixel((0, 0))[0] for picture in pictures]
        self.encoded += colours
        return torch.stack([self._picture(colour) for colour in colours])

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        self.encoded += texts
        return torch.stack([self._text(text) for text in texts])

    def cut(self, texts: Sequence[str]) -> list[bool]:
        return [len(text) > 200 for text in texts]

    def _picture(self, colour: int) -> torch.Tensor:
        row = [self._scores.get((colour, axis), 0.0) for axis in self._axes]
        rest = max(0.0, 1 - sum(value**2 for value in row)) ** 0.5
        return torch.tensor([*row, rest, 0.0])

    def _text(self, text: str) -> torch.Tensor:
        row = [1.0 if axis == text else self._alike.get((text, axis), 0.0) for axis in self._axes]
        return torch.tensor([*row, 0.0, 0.0 if text in self._axes else 1.0])


@pytest.fixture
def plant() -> Callable[..., Planted]:
    return lambda scores, alike=None: Planted(scores, alike or {})


@pytest.fixture
def paint(tmp_path: Path) -> Callable[..., None]:
    """Write grey pictures; a name without a number is of colour 0."""

    def write(names: Mapping[str, int], size: tuple[int, int] = (8, 8)) -> None:
        for name, colour in names.items():
            path = tmp_path / "pictures" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", size, (colour,) * 3).save(path)

    return write


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, Any], Path]:
    """Write an annotation file: text as it is, anything else as JSON."""

    def write(name: str, content: Any) -> Path:
        path = tmp_path / "annotations" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content, indent=1)
        path.write_text(text, encoding="utf-8", newline="")
        return path

    return write


@pytest.fixture(scope="session")
def shared() -> Path:
    if not (SHARED / "annotations").is_dir():
        pytest.skip("the real annotation files are not beside this checkout (../shared/annotations)")
    return SHARED


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
