"""The model under test, as far as a benchmark asks it: pictures to features, texts to features."""

import warnings
from collections.abc import Sequence
from dataclasses import asdict
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from clipsight.bench.about import About
from clipsight.bench.composition.views import BY_MODE, VIEWS, PictureView, Shown
from clipsight.errors import ClipsightWarning
from clipsight.language.tokens import dropped_tails
from clipsight.session.lens import Lens


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
        own: Shown = "native" if expects.max_patches else BY_MODE[expects.resize_mode]
        kind = own if view == "model" else view
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
        return About.of(self._lens, self.view.kind, self.view.size, asdict(self.view))

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
