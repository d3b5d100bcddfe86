"""A picture that a model has seen: encoded once, asked often."""

import warnings
from collections.abc import Sequence
from functools import cached_property
from threading import Lock
from typing import Any, overload

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from clipsight.errors import ClipsightWarning, PictureError
from clipsight.features import ImageFeatures, ImagePass, Recipe
from clipsight.features.own_scores import own_scores
from clipsight.language.tokens import check_texts
from clipsight.pictures import PictureSource, ValueRange, picture_name, read_noted
from clipsight.results import Classification, Explanation, WordAttribution
from clipsight.scoring import contrast_maps, pooled_similarity
from clipsight.scoring.choice import Contrast, choose_contrast
from clipsight.scoring.presence import MIN_NAMES
from clipsight.scoring.trust import trust_line
from clipsight.session.engine import Engine, Templates
from clipsight.session.words import (
    Faithfulness,
    Merge,
    Operator,
    Picture,
    Roles,
    Spans,
    Units,
    attribute_caption,
    measure_faithfulness,
)
from clipsight.towers.preprocess import Resolution

_FLAT = 1e-7
"""Maps that vary by less are the same everywhere."""

_MOST_NAMED = 20
"""Unreadable pictures of a list that an error names."""

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

_NOT_FINITE = (
    "The model gave scores that are not finite (NaN or infinite): nothing can be read from them. Check the weights, "
    "and the number type if it is not float32."
)


class Seen:
    """A picture with its pixels and, once asked for, its features. Made by `Lens.see`; safe to share between threads.

    Attributes:
        picture: the picture, RGB. source: its name, "" if unknown. size: (H, W) pixels the model sees.
        notes: what was done differently from what was asked.
    """

    def __init__(
        self,
        engine: Engine,
        image: PictureSource,
        resolution: Resolution = "native",
        value_range: ValueRange | None = None,
    ) -> None:
        self.picture, read_notes = read_noted(image, value_range)
        self.source = picture_name(image)
        self._engine = engine
        self._fit = engine.fit(self.picture, resolution)
        self.size, self.notes = self._fit.size, (*read_notes, *self._fit.notes)
        self._kept: dict[Recipe, ImageFeatures] = {}
        self._passes: dict[Recipe, ImagePass] = {}
        self._pooled: Tensor | None = None
        self._lock, self._own_lock = Lock(), Lock()

    @cached_property
    def pixels(self) -> Float[Tensor, "1 3 H W"]:
        """Normalised pixels."""
        return self._engine.pixels(self.picture, self._fit)

    def keep(self, recipe: Recipe, features: ImageFeatures) -> None:
        """Remember features that were made elsewhere."""
        with self._lock:
            self._kept[recipe] = features

    def forget_pixels(self) -> None:
        """Free the pixels; they are made again when they are needed."""
        self.__dict__.pop("pixels", None)

    def features(self, method: str | Recipe = "clip_surgery") -> ImageFeatures:
        """Patch and pooled features by a recipe; encoded once."""
        recipe = self._engine.recipe(method)
        with self._lock:
            if recipe not in self._kept:
                self._kept[recipe] = self._engine.features(self.pixels, recipe)
            return self._kept[recipe]

    def _pass(self, recipe: Recipe) -> ImagePass:
        """The tower's pass by a recipe that goes on with texts; run once."""
        with self._lock:
            if recipe not in self._passes:
                self._passes[recipe] = self._engine.start(self.pixels, recipe)
            return self._passes[recipe]

    def pooled(self) -> Float[Tensor, "1 E"]:
        """The tower's own image feature, from a pass made before if there was one."""
        with self._lock:
            if self._pooled is None:
                done = next((kept for recipe, kept in self._kept.items() if self._as_own(recipe)), None)
                begun = next((one for recipe, one in self._passes.items() if self._as_own(recipe)), None)
                if done is None and begun is not None:
                    done = begun.features()
                self._pooled = self._engine.encode_image(self.pixels) if done is None else done.pooled
            return self._pooled

    def _as_own(self, recipe: Recipe) -> bool:
        """Whether a recipe's pass has the positions that the model itself has at this size."""
        own = _OWN_RULES.get(self._engine.card.family, "bicubic_antialias")
        return self.size == self._engine.loaded.preprocess.size or recipe.positions == own

    def _position_notes(self, recipe: Recipe) -> tuple[str, ...]:
        if self._engine.card.family not in _OWN_RULES or self._as_own(recipe):
            return ()
        return (_POSITIONS.format(*self.size, recipe.positions, recipe.id),)

    @torch.no_grad()
    def explain(
        self,
        texts: Sequence[str],
        method: str | Recipe = "clip_surgery",
        contrast: Contrast = "auto",
        templates: Templates = "auto",
    ) -> Explanation:
        """Where in the picture does the model see these words? See `Lens.explain`."""
        engine, asked = self._engine, check_texts(texts)
        recipe, prompts = engine.recipe(method), engine.templates(templates, None)
        against = choose_contrast(contrast, len(asked), asked, engine.card.contrast_vocabulary)
        said = engine.encode_text(asked, prompts or None)
        others = engine.contrast_features(against.kind, against.names, prompts)
        if recipe.needs_texts:
            with self._own_lock:  # a pass keeps what it makes on the way
                scored, features = own_scores(
                    self._pass(recipe),
                    self.pixels,
                    said,
                    logit_scale=engine.logit_scale,
                    kind=against.kind,
                    contrast_texts=others,
                )
        else:
            features = self.features(recipe)
            scored = contrast_maps(
                features.patches, features.pooled, said, kind=against.kind, contrast_texts=others
            )
        maps = scored[0].cpu()
        made = against.kind
        if recipe.has_own_scores and made != "names":
            made = "none"  # its own scores are contrasted with nothing
        vocabulary = (
            against.names
            if len(against.names) >= MIN_NAMES
            else engine.card.contrast_vocabulary or against.names
        )
        there, reason = engine.presence(features.pooled, asked, said, prompts, vocabulary)
        return Explanation(
            image=np.asarray(self.picture),
            texts=asked,
            maps=maps,
            similarity=pooled_similarity(features.pooled, said)[0].cpu(),
            presence=there,
            presence_reason=reason,
            trust=tuple(
                trust_line(
                    float(present),
                    names=len(vocabulary),
                    contrast=made,
                    contrasted=len(against.names),
                    texts=len(asked),
                    plain=recipe.is_plain,
                    constant=bool(one.max() - one.min() < _FLAT),
                    finite=bool(one.isfinite().all()),
                )
                for present, one in zip(there, maps, strict=True)
            ),
            source=self.source,
            provenance=engine.provenance(
                size=self.size,
                method=recipe.id,
                settings=recipe.settings,
                templates=prompts,
                contrast=made,
                contrast_texts=against.names,
                grid=tuple(maps.shape[1:]),
                notes=(
                    *engine.fit_notes(recipe),
                    *self._position_notes(recipe),
                    *self._all_notes(asked, maps),
                ),
            ),
        )

    @torch.no_grad()
    def classify(self, labels: Sequence[str], templates: Templates = "auto") -> Classification:
        """Which label fits the whole picture best? See `Lens.classify`."""
        engine, asked = self._engine, check_texts(labels)
        prompts = engine.templates(templates, "IN80")
        cosines = pooled_similarity(self.pooled(), engine.encode_text(asked, prompts or None))[0]
        scale, bias = engine.logit_scale, engine.logit_bias
        return Classification(
            labels=asked,
            probabilities=(scale * cosines).softmax(-1).cpu(),
            similarity=cosines.cpu(),
            sigmoid=None if bias is None else (scale * cosines + bias).sigmoid().cpu(),
            source=self.source,
            provenance=engine.provenance(
                size=self.size,
                method="classify",
                settings={"logit_scale": scale} | ({} if bias is None else {"logit_bias": bias}),
                templates=prompts,
                contrast="none",
                contrast_texts=(),
                grid=engine.card.grid or (0, 0),
                notes=self._all_notes(asked, cosines),
            ),
        )

    @overload
    def words(self, caption: str, *how: Any, **options: Any) -> WordAttribution: ...

    @overload
    def words(
        self, caption: list[str] | tuple[str, ...], *how: Any, **options: Any
    ) -> list[WordAttribution]: ...

    def words(
        self,
        caption: str | list[str] | tuple[str, ...],
        method: str = "attention",
        against: str | Sequence[str] | None = None,
        spans: Spans | None = None,
        roles: Roles = "rules",
        *,
        units: Units = "words",
        merge: Merge = "sum",
        check: bool = False,
        **options: Any,
    ) -> WordAttribution | list[WordAttribution]:
        """Which words of a caption carry its match with this picture? See `Lens.words`."""
        found = attribute_caption(
            self._engine,
            [caption] if isinstance(caption, str) else caption,
            Picture(
                feature=self.pooled(),
                image=np.asarray(self.picture),
                source=self.source,
                size=self.size,
                notes=self.notes,
            ),
            method=method,
            against=against,
            spans=spans,
            roles=roles,
            units=units,
            merge_by=merge,
            check=check,
            options=options,
        )
        return found[0] if isinstance(caption, str) else found

    def faithfulness(self, attribution: WordAttribution, removal: Operator = "zero_emb") -> Faithfulness:
        """Do the scores say what becomes of the match when words go? See `Lens.faithfulness`."""
        return measure_faithfulness(self._engine, attribution, self.pooled(), removal)

    def _all_notes(self, texts: Sequence[str], scores: Tensor) -> tuple[str, ...]:
        """Everything about this answer that its reader should know."""
        notes = [*self.notes, *self._engine.card.notes, *self._engine.cut_notes(texts)]
        if not scores.isfinite().all():
            warnings.warn(_NOT_FINITE, ClipsightWarning, stacklevel=4)
            notes.append(_NOT_FINITE)
        return tuple(notes)


def see_all(engine: Engine, images: Sequence[PictureSource], resolution: Resolution) -> list[Seen]:
    """Every picture, read before any is encoded.

    Raises:
        PictureError: one for all that cannot be read, each with its place in `images` from 0.
    """
    seen, refused = [], []
    for place, image in enumerate(images):
        try:
            seen.append(Seen(engine, image, resolution))
        except PictureError as error:
            refused.append(f"[{place}] {error}")
    if refused:
        more = f" And {len(refused) - _MOST_NAMED:,} more." if len(refused) > _MOST_NAMED else ""
        raise PictureError(
            f"{len(refused):,} of {len(images):,} pictures cannot be read, so none was encoded; take them out of the "
            f"list: {' '.join(refused[:_MOST_NAMED])}{more}"
        )
    return seen


def encode_together(engine: Engine, seen: Sequence[Seen], recipe: Recipe, batch: int) -> None:
    """Encode pictures of one size in common passes and hand each its features."""
    if batch < 1:
        raise ValueError(f"batch={batch}; at least one picture goes in a pass.")
    sizes: dict[tuple[int, int], list[Seen]] = {}
    for one in seen:
        sizes.setdefault(one.size, []).append(one)
    for pending in sizes.values():
        while pending:
            part = pending[:batch]
            try:
                features = engine.features(torch.cat([one.pixels for one in part]), recipe)
            except RuntimeError as error:  # torch.OutOfMemoryError is one; Apple's MPS raises it bare
                if len(part) == 1 or "out of memory" not in str(error):
                    raise
                batch = len(part) // 2
                note = f"Memory ran out with {len(part)} pictures in a pass; went on with {batch}."
                warnings.warn(note, ClipsightWarning, stacklevel=3)
                for one in pending:
                    one.notes = (*one.notes, note)
                continue
            for row, one in enumerate(part):
                rows = slice(row, row + 1)
                one.keep(recipe, ImageFeatures(patches=features.patches[rows], pooled=features.pooled[rows]))
                one.forget_pixels()
            pending = pending[batch:]
