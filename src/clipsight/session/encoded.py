"""A picture with what passes of the model made of it: the state that all questions share."""

import warnings
from collections.abc import Sequence
from functools import cached_property
from threading import RLock
from typing import Any

from jaxtyping import Float
from torch import Tensor

from clipsight.errors import ClipsightWarning
from clipsight.features import ImageFeatures, ImagePass, Recipe
from clipsight.features.own_scores import own_scores
from clipsight.pictures import PictureSource, picture_name, read_noted
from clipsight.results import Provenance
from clipsight.scoring import ContrastKind, contrast_maps
from clipsight.session.engine import Engine
from clipsight.towers.preprocess import Resolution

NOT_FINITE = (
    "The model gave scores that are not finite (NaN or infinite): nothing can be read from them. Check the weights, "
    "and the number type if it is not float32."
)


class EncodedPicture:
    """A picture with its pixels and, once asked for, its features; safe to share between threads.

    Attributes:
        engine: the model. picture: the picture, RGB. source: its name, "" if unknown.
        size: (H, W) pixels the model sees. read_notes: what was noticed while reading the picture.
        notes: these, and what was done differently from what was asked.
    """

    def __init__(self, engine: Engine, image: PictureSource, resolution: Resolution = "native") -> None:
        self.engine = engine
        self.picture, self.read_notes = read_noted(image)
        self.source = picture_name(image)
        self._fit = engine.fit(self.picture, resolution)
        self.size, self.notes = self._fit.size, (*self.read_notes, *self._fit.notes)
        self._kept: dict[Recipe, ImageFeatures] = {}
        self._passes: dict[Recipe, ImagePass] = {}
        self._pooled: Tensor | None = None
        self._lock = RLock()

    @cached_property
    def pixels(self) -> Float[Tensor, "1 3 H W"]:
        """Normalised pixels."""
        return self.engine.pixels(self.picture, self._fit)

    def keep(self, recipe: Recipe, features: ImageFeatures) -> None:
        """Remember features that were made elsewhere."""
        with self._lock:
            self._kept[recipe] = features

    def forget_pixels(self) -> None:
        """Free the pixels; they are made again when they are needed."""
        self.__dict__.pop("pixels", None)

    def features(self, method: str | Recipe = "clip_surgery") -> ImageFeatures:
        """Patch and pooled features by a recipe; encoded once."""
        recipe = self.engine.recipe(method)
        with self._lock:
            if recipe not in self._kept:
                self._kept[recipe] = self.engine.features(self.pixels, recipe)
            return self._kept[recipe]

    def pooled(self) -> Float[Tensor, "1 E"]:
        """The tower's own image feature, from a pass made before if there was one."""
        with self._lock:
            if self._pooled is None:
                done = next(iter(self._kept.values()), None)
                begun = next(iter(self._passes.values()), None)
                if done is None and begun is not None:
                    done = begun.features()
                self._pooled = self.engine.encode_image(self.pixels) if done is None else done.pooled
            return self._pooled

    def maps(
        self,
        recipe: Recipe,
        texts: Float[Tensor, "T E"],
        kind: ContrastKind = "none",
        contrast_texts: Float[Tensor, "M E"] | None = None,
    ) -> tuple[Float[Tensor, "1 T h w"], ImageFeatures]:
        """Maps of texts, by the recipe's scoring or by contrast if it has none of its own, and their features."""
        if not recipe.needs_texts:
            found = self.features(recipe)
            maps = contrast_maps(found.patches, found.pooled, texts, kind=kind, contrast_texts=contrast_texts)
            return maps, found
        with self._lock:  # a pass keeps what it makes on the way
            if recipe not in self._passes:
                self._passes[recipe] = self.engine.start(self.pixels, recipe)
            return own_scores(
                self._passes[recipe],
                self.pixels,
                texts,
                logit_scale=self.engine.logit_scale,
                kind=kind,
                contrast_texts=contrast_texts,
            )

    def provenance(
        self, *, size: tuple[int, int] | None = None, notes: Sequence[str] = (), **made: Any
    ) -> Provenance:
        """How an answer about this picture was made; see `Engine.provenance`.

        Args:
            size: (H, W) at which the question saw the picture, if not at that of `pixels`.
            notes: the question's own, after what was noticed of the picture.
        """
        own = self.notes if size is None else self.read_notes
        return self.engine.provenance(size=size or self.size, notes=(*own, *notes), **made)


def finite_notes(scores: Tensor) -> tuple[str, ...]:
    """A note, also given as a warning, where scores are not finite."""
    if scores.isfinite().all():
        return ()
    warnings.warn(NOT_FINITE, ClipsightWarning, stacklevel=4)
    return (NOT_FINITE,)
