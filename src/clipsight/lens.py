"""A session with one model: encode a picture once, ask many questions.

`load` gives a `Lens`; `Lens.see` encodes a picture and gives a `Seen`; questions to it cost a fraction of the encoding.
Everything is safe to call from several threads at once, and the model is never changed.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from threading import Lock
from typing import Literal, TypeGuard

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor, nn

from clipsight.errors import ClipsightWarning, Unsupported
from clipsight.language.cache import TextCache
from clipsight.language.encode import encode_empty, encode_ids, encode_texts
from clipsight.language.prompts import resolve_templates
from clipsight.language.tokens import check_texts
from clipsight.models.card import Card, vision_family
from clipsight.models.loading import Loaded, load_model
from clipsight.models.open_clip_text import OpenClipText
from clipsight.models.open_clip_vit import OpenClipVision
from clipsight.models.preprocess import Fit, Resolution, fit_size, to_pixels
from clipsight.pictures import PictureSource, picture_name, read_picture
from clipsight.results import Classification, Explanation, Provenance
from clipsight.scoring import contrast_maps, pooled_similarity
from clipsight.scoring.presence import MIN_NAMES, presence
from clipsight.scoring.trust import trust_line
from clipsight.surgery import Accumulate, Features, Recipe, get_recipe, recipe_ids, run, with_depth

Contrast = Literal["auto", "none", "labels", "empty"] | Sequence[str] | None
Templates = str | Sequence[str] | None

_LABELS_FROM = 8
"""From so many texts on, `contrast="auto"` contrasts them with each other."""


def load(
    model: str | PathLike[str] | nn.Module,
    pretrained: str | PathLike[str] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    quick_gelu: bool | None = None,
) -> "Lens":
    """Open a model.

    Args:
        model: open_clip name, path of an open_clip model-config .json, "local-dir:PATH", "hf-hub:org/name",
            "clipsight-tiny" (bundled, offline) or a live open_clip module.
        pretrained: open_clip tag or path of a weight file; None with a live module, a folder or the bundled model.
        device: None takes CUDA, else MPS, else the CPU.
        dtype: None is float32.
        quick_gelu: None takes what the tag or the configuration says.

    Raises:
        ValueError, CheckpointError, HubUnreachable, Unsupported: see `clipsight.models.loading.load_model`.

    Example:
        >>> import clipsight
        >>> lens = clipsight.load("clipsight-tiny")
        >>> lens.card.family
        'open_clip ViT'
    """
    return Lens(load_model(model, pretrained, device, dtype, quick_gelu))


def recipes() -> tuple[str, ...]:
    """Ids of the methods that make patch features."""
    return recipe_ids()


class Lens:
    """A model with its two towers, its text cache and its card.

    Attributes:
        card: the model in plain facts: family, grid, context, activation, contrast vocabulary, templates, methods.
        module: the open_clip model, as found.
        text_view: its text tower, seen through one narrow view.
    """

    def __init__(self, loaded: Loaded) -> None:
        self.module = loaded.module
        self._loaded = loaded
        self.text_view = OpenClipText(loaded.module)
        self._cache = TextCache()
        _, reason = vision_family(loaded.module)
        self._off = reason
        self._vision = None if reason else OpenClipVision(loaded.module.visual)
        self.card: Card = replace(loaded.card, methods={name: self._why_off(name) for name in recipe_ids()})

    def __repr__(self) -> str:
        return f"Lens({self._loaded.name!r}, {self.card.family}, {self.device}, {self.dtype})"

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return next(self.module.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The number type it computes in."""
        return next(self.module.parameters()).dtype

    # --- tensors -------------------------------------------------------------------------------------------------

    def preprocess(self, image: PictureSource, resolution: Resolution = "native") -> Float[Tensor, "1 3 H W"]:
        """Normalised pixels of a picture, in the model's dtype on its device.

        Args:
            image: path, PIL picture or uint8 array (H, W, 3).
            resolution: "native" short side at the training size, aspect kept, whole patches; an int that short side;
                (H, W) exactly; "square" the model's own size, picture stretched. Above 4,096 patches the long side
                is limited.

        Raises:
            PictureError: not a picture. ValueError: a resolution that cuts patches.
        """
        picture = read_picture(image)
        return self._pixels(picture, self._fit(picture, resolution))

    def encode_image(self, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B E"]:
        """Pooled feature, not L2-normalised; equals open_clip's `encode_image` of a model built at that size.

        Carries a graph only if `x` requires gradients.
        """
        with _graph_if(x):
            return self.module.encode_image(x) if self._vision is None else self._vision.encode(x)

    def encode_text(self, texts: Sequence[str] | Int[Tensor, "T S"], templates: Templates = None) -> Float[Tensor, "T E"]:
        """Text features, not L2-normalised; with templates the mean of the L2-normalised prompts.

        Args:
            texts: strings, or token ids (T, S) with the end token the largest id of its row.
            templates: None for the texts as given; a set ("IN80", "CS85", …); one template; several.

        Raises:
            TypeError, ValueError: no texts, blank texts, a string instead of a list, a template without "{}".
            Unsupported: strings for a model without a tokenizer.
        """
        if isinstance(texts, Tensor):
            if resolve_templates(templates):
                raise ValueError("templates cannot be filled with token ids; pass strings, or leave templates out.")
            return encode_ids(self.text_view, texts)
        prompts = resolve_templates(templates)
        return self._cache.get(
            check_texts(texts),
            prompts,
            lambda missing: encode_texts(self.text_view, self._loaded.tokenizer, missing, prompts or None),
        )

    def patch_features(
        self, x: Float[Tensor, "B 3 H W"], recipe: str | Recipe = "clip_surgery"
    ) -> Float[Tensor, "B h w E"]:
        """Patch features after the final norm and projection, not L2-normalised.

        Raises:
            ValueError: unknown recipe, or a size that cuts patches. Unsupported: not for this tower.
        """
        return self.features(x, recipe).patches

    def features(self, x: Float[Tensor, "B 3 H W"], recipe: str | Recipe = "clip_surgery") -> Features:
        """Patch features as `patch_features`, and the pooled feature of the same pass."""
        return self._features(x, self._recipe(recipe))

    def maps(
        self,
        x: Float[Tensor, "B 3 H W"],
        t: Float[Tensor, "T E"],
        method: str | Recipe = "clip_surgery",
        contrast: Contrast = None,
    ) -> Float[Tensor, "B T h w"]:
        """Raw signed scores of every patch with every text feature, float32.

        Args:
            x: normalised pixels.
            t: text features of any length.
            method: recipe id or `Recipe`.
            contrast: None raw cosines; "labels" feature surgery among `t`; "empty" against the empty prompt; a list of
                names as distractors; "auto" labels from eight texts up, below that the card's contrast vocabulary if
                there is one, else empty.
        """
        features = self._features(x, self._recipe(method))
        with _graph_if(x, t):
            kind, names = self._contrast(contrast, len(t), ())
            return contrast_maps(
                features.patches, features.pooled, t, kind=kind, contrast_texts=self._contrast_features(kind, names, None)
            )

    # --- pictures ------------------------------------------------------------------------------------------------

    def see(self, image: PictureSource, resolution: Resolution = "native") -> "Seen":
        """Encode a picture for many questions; see `preprocess` for the arguments."""
        return Seen(self, image, resolution)

    def explain(
        self,
        image: PictureSource | Sequence[PictureSource],
        texts: Sequence[str],
        method: str | Recipe = "clip_surgery",
        contrast: Contrast = "auto",
        resolution: Resolution = "native",
        templates: Templates = "auto",
        batch: int = 16,
    ) -> "Explanation | list[Explanation]":
        """Where in the picture does the model see these words?

        Args:
            image: path, PIL picture, uint8 array; or a list of them, which gives a list of results.
            texts: what to look for.
            method: recipe id or `Recipe`.
            contrast: as in `maps`; None or "none" is raw.
            resolution: as in `preprocess`.
            templates: "auto" takes the card's templates, or the texts as given if it has none; else as in `encode_text`.
            batch: most pictures in one pass; halved when an accelerator runs out of memory.

        Returns:
            `Explanation`: raw signed maps, cosines, presence, trust lines, provenance.

        Not claimed: that a bright spot means the thing is there. Read `presence`.

        Example:
            >>> from clipsight.world import make_scene
            >>> ex = load("clipsight-tiny").explain(make_scene(0).image, ["a dog", "a car"])
            >>> tuple(ex.maps.shape)
            (2, 14, 14)
        """
        if not _is_many(image):
            return self.see(image, resolution).explain(texts, method, contrast, templates)
        seen = [self.see(one, resolution) for one in image]
        self._encode_together(seen, self._recipe(method), batch)
        return [one.explain(texts, method, contrast, templates) for one in seen]

    def classify(
        self, image: PictureSource, labels: Sequence[str], templates: Templates = "auto", resolution: Resolution = "native"
    ) -> Classification:
        """Which label fits the whole picture best? Softmax of the scaled cosines, as CLIP classifies.

        Args:
            image: path, PIL picture or uint8 array.
            labels: names; duplicates share their probability.
            templates: "auto" takes the card's templates, or IN80 if it has none; None the labels as given.
            resolution: as in `preprocess`.
        """
        return self.see(image, resolution).classify(labels, templates)

    # --- inside --------------------------------------------------------------------------------------------------

    def _why_off(self, name: str) -> str:
        if self._off:
            return self._off
        needed, there = self._recipe(name).path.blocks, self.card_depth
        return "" if needed <= there else f"it works in {needed} blocks, and this tower has {there}."

    @property
    def card_depth(self) -> int:
        """Blocks of the image tower; 0 when they cannot be read."""
        return 0 if self._vision is None else len(self._vision.blocks)

    def _recipe(self, method: str | Recipe) -> Recipe:
        """The recipe; by id with the depth that the model's card asks for."""
        recipe = get_recipe(method)
        depth = self._loaded.card.surgery_depth
        if isinstance(method, str) and depth is not None and isinstance(recipe.path, Accumulate):
            return with_depth(recipe, depth)
        return recipe

    def _features(self, x: Float[Tensor, "B 3 H W"], recipe: Recipe) -> Features:
        if self._vision is None:
            raise Unsupported(
                f"{recipe.id} was asked of {self._loaded.name}, but {self._off} lens.classify and lens.encode_image still work."
            )
        with _graph_if(x):
            return run(self._vision, x, recipe)

    def _fit(self, picture: Image.Image, resolution: Resolution) -> Fit:
        native = self._loaded.preprocess.size
        patch = native if self._vision is None else self._vision.patch
        return fit_size(picture.size[::-1], "square" if self._vision is None else resolution, native, patch)

    def _pixels(self, picture: Image.Image, fit: Fit) -> Float[Tensor, "1 3 H W"]:
        return to_pixels(picture, fit.size, self._loaded.preprocess).to(self.device, self.dtype)

    def _templates(self, asked: Templates, otherwise: str | None) -> tuple[str, ...]:
        return resolve_templates((self.card.templates or otherwise) if asked == "auto" else asked)

    def _contrast(self, asked: Contrast, count: int, texts: Sequence[str]) -> tuple[str, tuple[str, ...]]:
        """The kind of contrast and its distractors; a distractor that is one of the texts is left out."""
        if asked == "auto":
            vocabulary = self.card.contrast_vocabulary
            asked = "labels" if count >= _LABELS_FROM else vocabulary or "empty"
        if asked is None or asked == "none":
            return "none", ()
        if isinstance(asked, str):
            if asked not in ("labels", "empty"):
                raise ValueError(
                    f"contrast={asked!r} is unknown; give 'auto', 'none', 'labels', 'empty' or a list of names such as "
                    f"[{asked!r}]."
                )
            if asked == "labels" and count < 2:
                raise ValueError(
                    "contrast='labels' contrasts the texts with each other and needs at least two, got one; take "
                    "contrast='auto', 'empty' or a list of names."
                )
            return asked, ()
        taken = {_bare(text) for text in texts}
        names = tuple(name for name in dict.fromkeys(check_texts(asked)) if _bare(name) not in taken)
        if not names:
            raise ValueError("every name of the contrast is one of the texts; give other names, or contrast='labels'.")
        return "names", names

    def _contrast_features(
        self, kind: str, names: tuple[str, ...], prompts: tuple[str, ...] | None
    ) -> Float[Tensor, "M E"] | None:
        chosen = self.card.templates if prompts is None else prompts
        if kind == "empty":
            return self._empty(self.card.templates or resolve_templates("CS85"))
        return self.encode_text(names, chosen or None) if names else None

    def _empty(self, prompts: tuple[str, ...]) -> Float[Tensor, "1 E"]:
        return self._cache.get(("",), prompts, lambda _: encode_empty(self.text_view, self._loaded.tokenizer, prompts))

    def _encode_together(self, seen: Sequence["Seen"], recipe: Recipe, batch: int) -> None:
        """Encode pictures of one size in common passes and hand each its features."""
        if batch < 1:
            raise ValueError(f"batch={batch}; at least one picture goes in a pass.")
        sizes: dict[tuple[int, int], list[Seen]] = {}
        for one in seen:
            sizes.setdefault(one.size, []).append(one)
        for group in sizes.values():
            pending = group
            while pending:
                part = pending[:batch]
                try:
                    features = self._features(torch.cat([one.pixels for one in part]), recipe)
                except torch.OutOfMemoryError:
                    if len(part) == 1:
                        raise
                    batch = len(part) // 2
                    note = f"Memory ran out with {len(part)} pictures in a pass; went on with {batch}."
                    warnings.warn(note, ClipsightWarning, stacklevel=3)
                    for one in group:
                        one.notes = (*one.notes, note)
                    continue
                for row, one in enumerate(part):
                    one.keep(recipe, Features(patches=features.patches[row : row + 1], pooled=features.pooled[row : row + 1]))
                pending = pending[batch:]

    def _provenance(self, seen: "Seen", method: str, settings: dict, prompts: tuple[str, ...], **more: object) -> Provenance:
        chosen = {"contrast": "none", "contrast_texts": (), "grid": (0, 0), "notes": (), **more}
        return Provenance(
            model=self._loaded.name,
            pretrained=self._loaded.pretrained,
            fingerprint=self._loaded.fingerprint,
            method=method,
            settings=settings,
            templates=prompts,
            size=seen.size,
            versions=_versions(),
            **chosen,  # pyright: ignore[reportArgumentType]
        )


class Seen:
    """A picture the model has seen: its pixels and, once asked for, its features. Made by `Lens.see`.

    Attributes:
        picture: the picture, RGB. source: its name, "" if unknown. size: (H, W) pixels the model saw.
        notes: what was done differently from what was asked.
    """

    def __init__(self, lens: Lens, image: PictureSource, resolution: Resolution = "native") -> None:
        self.lens = lens
        self.picture = read_picture(image)
        self.source = picture_name(image)
        fit = lens._fit(self.picture, resolution)
        self.size, self.notes = fit.size, fit.notes
        self._fitted = fit
        self._kept: dict[Recipe, Features] = {}
        self._pooled: Tensor | None = None
        self._lock = Lock()

    @cached_property
    def pixels(self) -> Float[Tensor, "1 3 H W"]:
        """Normalised pixels."""
        return self.lens._pixels(self.picture, self._fitted)

    def keep(self, recipe: Recipe, features: Features) -> None:
        """Remember features that were made elsewhere."""
        self._kept[recipe] = features

    def features(self, method: str | Recipe = "clip_surgery") -> Features:
        """Patch and pooled features by a recipe; encoded once."""
        recipe = self.lens._recipe(method)
        with self._lock:
            if recipe not in self._kept:
                self._kept[recipe] = self.lens._features(self.pixels, recipe)
            return self._kept[recipe]

    def pooled(self) -> Float[Tensor, "1 E"]:
        """The tower's own image feature; taken from a pass made before if there was one."""
        with self._lock:
            if self._pooled is None:
                done = next(iter(self._kept.values()), None)
                self._pooled = self.lens.encode_image(self.pixels) if done is None else done.pooled
            return self._pooled

    @torch.no_grad()
    def explain(
        self,
        texts: Sequence[str],
        method: str | Recipe = "clip_surgery",
        contrast: Contrast = "auto",
        templates: Templates = "auto",
    ) -> Explanation:
        """Where in the picture does the model see these words? See `Lens.explain`."""
        lens, asked = self.lens, check_texts(texts)
        recipe, prompts = lens._recipe(method), lens._templates(templates, None)
        kind, names = lens._contrast(contrast, len(asked), asked)
        features = self.features(recipe)
        said = lens.encode_text(asked, prompts or None)
        against = lens._contrast_features(kind, names, prompts)
        maps = contrast_maps(features.patches, features.pooled, said, kind=kind, contrast_texts=against)[0].cpu()
        similarity = pooled_similarity(features.pooled, said)[0].cpu()
        vocabulary = names if kind == "names" else lens.card.contrast_vocabulary
        there, reason = self._presence(features.pooled, asked, said, vocabulary, prompts)
        flat = [bool(m.max() - m.min() < 1e-7) for m in maps]
        return Explanation(
            image=np.asarray(self.picture),
            texts=asked,
            maps=maps,
            similarity=similarity,
            presence=there,
            presence_reason=reason,
            trust=tuple(
                trust_line(
                    float(p),
                    names=len(vocabulary),
                    contrast=kind,
                    contrasted=len(names),
                    texts=len(asked),
                    plain=recipe.is_plain,
                    constant=constant,
                )
                for p, constant in zip(there, flat, strict=True)
            ),
            source=self.source,
            provenance=lens._provenance(
                self,
                recipe.id,
                recipe.to_dict(),
                prompts,
                contrast=kind,
                contrast_texts=names,
                grid=tuple(maps.shape[1:]),
                notes=(*self.notes, *lens.card.notes),
            ),
        )

    @torch.no_grad()
    def classify(self, labels: Sequence[str], templates: Templates = "auto") -> Classification:
        """Which label fits the whole picture best? See `Lens.classify`."""
        lens, asked = self.lens, check_texts(labels)
        prompts = lens._templates(templates, "IN80")
        cosines = pooled_similarity(self.pooled(), lens.encode_text(asked, prompts or None))[0]
        scale = lens.module.logit_scale.detach().float().exp().to(cosines.device)
        return Classification(
            labels=asked,
            probabilities=(scale * cosines).softmax(-1).cpu(),
            similarity=cosines.cpu(),
            source=self.source,
            provenance=lens._provenance(self, "classify", {"logit_scale": float(scale)}, prompts, notes=self.notes),
        )

    def _presence(
        self, pooled: Tensor, asked: Sequence[str], said: Tensor, vocabulary: Sequence[str], prompts: tuple[str, ...]
    ) -> tuple[Float[Tensor, " T"], str]:
        if len(vocabulary) < MIN_NAMES:
            unmeasured = torch.full((len(asked),), torch.nan)
            if not vocabulary:
                return unmeasured, "the model has no contrast vocabulary; give distractors as contrast=[names] to measure presence"
            return unmeasured, f"{len(vocabulary)} names are too few to compare with; give at least {MIN_NAMES}"
        others = self.lens.encode_text(vocabulary, prompts or None)
        same = torch.tensor([[_bare(text) == _bare(name) for name in vocabulary] for text in asked])
        scores = presence(pooled_similarity(pooled, said), pooled_similarity(pooled, others), same)[0].cpu()
        return scores, "" if not scores.isnan().any() else "the names it is compared with all score alike"


def _bare(text: str) -> str:
    """A text without case, article and blanks at its ends, to tell whether two texts name the same thing."""
    return re.sub(r"^(an?|the)\s+", "", text.strip().lower())


def _is_many(image: PictureSource | Sequence[PictureSource]) -> TypeGuard[Sequence[PictureSource]]:
    return isinstance(image, list | tuple)


@contextmanager
def _graph_if(*inputs: Tensor) -> Iterator[None]:
    """Autograd on only if an input asks for gradients: answers about a frozen model need no graph."""
    with torch.set_grad_enabled(torch.is_grad_enabled() and any(one.requires_grad for one in inputs)):
        yield


def _versions() -> dict[str, str]:
    found = {}
    for name, package in (("clipsight", "clipsight"), ("torch", "torch"), ("open_clip", "open_clip_torch")):
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found
