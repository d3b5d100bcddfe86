"""A picture with the results of the model's passes: the state that all questions share."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from threading import RLock
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from clipsight.attribution.exact import ImageShares, image_shares
from clipsight.errors import ClipsightWarning, Unsupported
from clipsight.features import ImageFeatures, ImagePass, Recipe, Trunk, get_recipe
from clipsight.features.own_scores import own_scores
from clipsight.pictures import PictureSource, ValueRange, picture_name, read_noted
from clipsight.results import Provenance
from clipsight.scoring import ContrastKind, contrast_maps
from clipsight.session.engine import Engine
from clipsight.towers.preprocess import Resolution

TRUNK_BYTES = 64 * 2**20
"""Memory for tokens that entered the blocks of a tower, of one picture under one rule for positions."""
_OWN_RULES = {
    "Hugging Face CLIP": "bicubic",
    "Hugging Face SigLIP": "bicubic",
    "Hugging Face SigLIP 2": "its own",
}
"""How transformers' models stretch their positions; open_clip's do so with antialias."""
_POSITIONS = (
    "At {0} × {1} pixels the positions were stretched as {3}'s authors do ({2}), not as transformers does with "
    "interpolate_pos_encoding=True, so the cosines of the whole picture differ a little from its own; "
    "lens.classify and lens.encode_image give those."
)
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

    def __init__(
        self,
        engine: Engine,
        image: PictureSource,
        resolution: Resolution = "native",
        value_range: ValueRange | None = None,
    ) -> None:
        self.engine = engine
        self.picture, self.read_notes = read_noted(image, value_range)
        self.source = picture_name(image)
        self._fit = engine.fit(self.picture, resolution)
        self.size, self.notes = self._fit.size, (*self.read_notes, *self._fit.notes)
        self._kept: dict[Recipe, ImageFeatures] = {}
        self._passes: dict[Recipe, ImagePass] = {}
        self._trunks: list[Trunk] = []
        self._pooled: Tensor | None = None
        self._shares: ImageShares | None = None
        self._weights = engine.weight_marks()
        self._lock = RLock()

    @cached_property
    def pixels(self) -> Float[Tensor, "1 3 H W"]:
        """Normalised pixels."""
        return self.engine.pixels(self.picture, self._fit)

    def keep(self, recipe: Recipe, features: ImageFeatures) -> None:
        """Remember features that were made elsewhere."""
        with self._store():
            self._kept[recipe] = features

    def forget_pixels(self) -> None:
        """Free the pixels; they are made again when they are needed."""
        self.__dict__.pop("pixels", None)

    def features(self, method: str | Recipe = "clip_surgery") -> ImageFeatures:
        """Patch and pooled features by a recipe; encoded once, from the blocks on that other recipes left to do."""
        recipe = self.engine.recipe(method)
        with self._store():
            if recipe not in self._kept:
                self._kept[recipe] = self.engine.features(self.pixels, recipe, None, self._trunk(recipe))
            return self._kept[recipe]

    def pooled(self) -> Float[Tensor, "1 E"]:
        """The tower's own image feature.

        From a pass made before if there was one with the positions that the model itself has at this size, so the
        answer does not depend on what was asked before.
        """
        with self._store(), torch.no_grad():
            if self._pooled is None:
                made = next((one for recipe, one in self._kept.items() if self._as_own(recipe)), None)
                begun = next((one for recipe, one in self._passes.items() if self._as_own(recipe)), None)
                plain = get_recipe("clip")
                if made is not None:
                    self._pooled = made.pooled
                elif begun is not None:
                    self._pooled = begun.pooled()
                elif self._as_own(plain) and (trunk := self._trunk(plain)) is not None:
                    self._pooled = trunk.pooled()
                else:
                    self._pooled = self.engine.encode_image(self.pixels)
            return self._pooled

    def _as_own(self, recipe: Recipe) -> bool:
        """Whether a recipe's pass has the positions that the model itself has at this size."""
        own = _OWN_RULES.get(self.engine.card.family, "bicubic_antialias")
        return self.size == self.engine.loaded.preprocess.size or recipe.positions == own

    def position_notes(self, recipe: Recipe) -> tuple[str, ...]:
        """A note where cosines of a recipe's pass are not those of transformers at this size."""
        if self.engine.card.family not in _OWN_RULES or self._as_own(recipe):
            return ()
        return (_POSITIONS.format(*self.size, recipe.positions, recipe.id),)

    def shares(self) -> ImageShares:
        """Parts of the pooled feature, as whole vectors: the exact map of any text is a product with them.

        Raises:
            Unsupported: the tower's patches cannot be read, or its feature has no affine end.
        """
        view = self.engine.vision
        if view is None:
            raise Unsupported(f"the exact map was asked of {self.engine.loaded.name}, but {self.engine.off}")
        with self._store(), torch.no_grad():
            if self._shares is None:
                tokens = self._trunk(get_recipe("clip"))
                self._shares = image_shares(view, self.pixels, tokens=tokens)
            return self._shares

    @contextmanager
    def _store(self) -> Iterator[None]:
        """What is kept, for one thread at a time; nothing of it outlives the weights it was made with."""
        with self.engine.asked(), self._lock:
            marks = self.engine.weight_marks()
            if marks != self._weights:
                self._weights, self._pooled, self._shares = marks, None, None
                self._kept, self._passes, self._trunks = {}, {}, []
                self.forget_pixels()  # they have the model's number type and device
            yield

    def _trunk(self, recipe: Recipe) -> Trunk | None:
        """The blocks that recipes with this position rule share; None for a tower that shows none."""
        view = self.engine.vision
        if view is None or not view.blocks:
            return None
        for trunk in self._trunks:
            if trunk.serves(recipe.positions):
                return trunk
        self._trunks.append(Trunk(view, self.pixels, recipe.positions, TRUNK_BYTES))
        return self._trunks[-1]

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
        with self._store():  # a pass keeps what it makes on the way
            if recipe not in self._passes:
                self._passes[recipe] = self.engine.start(self.pixels, recipe, self._trunk(recipe))
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
