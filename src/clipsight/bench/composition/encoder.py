"""The model under test, as far as a benchmark asks it: pictures to features, texts to features."""

import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from clipsight.bench.composition.views import BY_MODE, VIEWS, PictureView, Shown
from clipsight.errors import ClipsightWarning
from clipsight.language.tokens import dropped_tails
from clipsight.session.lens import Lens
from clipsight.store import code_of, key_of
from clipsight.towers.identity import model_identity, tokenizer_identity


@dataclass(frozen=True, kw_only=True)
class About:
    """Which model in which state: everything that changes its features.

    Attributes:
        activation: "quick_gelu" or "gelu"; the fingerprint does not hold it, and a wrong one moves scores by points.
        view: what of a picture it is shown, see `clipsight.bench.composition.views`.
        size: (H, W) pixels it is shown.
        made_by: hash of everything else that determines its features: architecture, settings, weights in full,
            preprocessing, libraries and their code; None where no hash could promise that, and nothing is kept on disk.
        width: E of its features; None where it is not known before.
    """

    model: str
    pretrained: str | None
    fingerprint: str
    activation: str
    dtype: str
    device: str
    view: str
    size: tuple[int, int]
    made_by: str | None = ""
    width: int | None = None

    @property
    def mark(self) -> str:
        """A name for features that were made in the same way, wherever they were computed."""
        height, width = self.size
        made_by = "" if not self.made_by else f"-{self.made_by[:16]}"
        return f"{self.fingerprint}-{self.activation}-{self.dtype}-{self.view}-{height}x{width}{made_by}"


@runtime_checkable
class Encoder(Protocol):
    """What the engine needs of a model.

    Attributes:
        about: which one. view: how a picture is brought to its size; sent to other processes.
    """

    @property
    def about(self) -> About:
        """Which model in which state."""
        ...

    @property
    def view(self) -> PictureView:
        """How a picture is brought to the model's size."""
        ...

    def pictures(self, pictures: Sequence[Image.Image]) -> Float[Tensor, "B E"]:
        """Features of pictures that `view` has seen, of any length."""
        ...

    def texts(self, texts: Sequence[str]) -> Float[Tensor, "T E"]:
        """Features of texts, of any length; `ValueError` when the model cannot read one of them."""
        ...

    def cut(self, texts: Sequence[str]) -> list[bool]:
        """For each text whether its end is beyond what the model reads."""
        ...


class LensEncoder:
    """A `Lens` under test.

    Args:
        lens: the model.
        view: "model" shows pictures as open_clip's own evaluation does for this model, which is what published scores
            are made with; else one of `VIEWS`.

    Raises:
        ValueError: an unknown view.
    """

    def __init__(self, lens: Lens, view: Shown | str = "model") -> None:
        expects = lens.loaded.preprocess
        kind = BY_MODE[expects.resize_mode] if view == "model" else view
        if kind not in VIEWS:
            raise ValueError(
                f'view={view!r} is unknown; give "model" for the way the model was evaluated, or one of '
                f"{', '.join(VIEWS)}."
            )
        self._lens = lens
        self.view = PictureView(kind=kind, size=expects.size, resampling=expects.interpolation)

    @property
    def about(self) -> About:
        """Which model in which state."""
        return About(
            model=self._lens.loaded.name,
            pretrained=self._lens.loaded.pretrained,
            fingerprint=self._lens.fingerprint,
            activation=self._lens.card.activation,
            dtype=str(self._lens.dtype).removeprefix("torch."),
            device=self._lens.device.type,
            view=self.view.kind,
            size=self.view.size,
            made_by=self._made_by(),
            width=self._lens.card.embed_dim,
        )

    def _made_by(self) -> str | None:
        loaded = self._lens.loaded
        if (model := model_identity(loaded.module)) is None:
            return None
        return key_of(
            "encoder",
            {
                "model": model,
                "preprocess": asdict(loaded.preprocess),
                "view": asdict(self.view),
                "tokenizer": tokenizer_identity(loaded.tokenizer),
                "code": code_of("bench/composition", "pictures", "session"),
                "versions": [version(name) for name in ("pillow", "numpy", "torch", "open_clip_torch")],
            },
        )

    def pictures(self, pictures: Sequence[Image.Image]) -> Float[Tensor, "B E"]:
        """Pooled features, of pictures of one shape together."""
        shown = "native" if self.view.kind == "native" else "square"
        pixels = [self._lens.preprocess(picture, shown) for picture in pictures]
        rows: list[Tensor] = [torch.empty(0)] * len(pixels)
        for shape in dict.fromkeys(one.shape for one in pixels):
            places = [index for index, one in enumerate(pixels) if one.shape == shape]
            features = self._lens.encode_image(torch.cat([pixels[index] for index in places]))
            for index, feature in zip(places, features, strict=True):
                rows[index] = feature
        return torch.stack(rows)

    def texts(self, texts: Sequence[str]) -> Float[Tensor, "T E"]:
        """Text features as given, without templates; that an end was cut is told by `cut`, not warned of."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ClipsightWarning)
            return self._lens.encode_text(texts)

    def cut(self, texts: Sequence[str]) -> list[bool]:
        """For each text whether its end is beyond the model's context."""
        context, tokenizer = self._lens.card.context, self._lens.loaded.tokenizer
        # A token takes at least one byte: shorter texts cannot be cut.
        long = [text for text in dict.fromkeys(texts) if len(text.encode()) > context - 2]
        if not long or tokenizer is None:
            return [False] * len(texts)
        tails = dict(zip(long, dropped_tails(tokenizer, long, context), strict=True))
        return [bool(tails.get(text)) for text in texts]


def versions() -> dict[str, str]:
    """Versions of all that changes scores: of the models' code, of what reads pictures, of a tagger if there is one."""
    found = {}
    for package in ("clipsight", "torch", "open_clip_torch", "pillow", "numpy", "spacy", "en_core_web_sm"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
