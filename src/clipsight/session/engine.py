"""A loaded model's two towers behind one object: pixels, features, texts. What `Lens` and `Seen` share.

Safe to use from several threads: nothing here changes but the text cache, which locks itself.
"""

import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from importlib.metadata import PackageNotFoundError, version
from threading import Lock, local
from typing import Any, TypeVar, cast

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from clipsight.checkpoints.fingerprint import fingerprint
from clipsight.errors import ClipsightWarning, Unsupported
from clipsight.features import (
    Accumulate,
    ImageFeatures,
    ImagePass,
    Recipe,
    Trunk,
    adapt_to_depth,
    get_recipe,
    recipe_ids,
    why_not,
    with_depth,
)
from clipsight.features.own_scores import fed_features, own_scores
from clipsight.language.prompts import resolve_templates
from clipsight.language.tokens import check_texts, dropped_tails
from clipsight.results import Provenance
from clipsight.scoring import ContrastKind, contrast_maps, pooled_similarity
from clipsight.scoring.choice import same_names
from clipsight.scoring.presence import MIN_NAMES, presence
from clipsight.session.neutral import arithmetic_state, neutral
from clipsight.session.text_cache import TextCache
from clipsight.session.text_store import text_store
from clipsight.session.weight_watch import Marks, weight_marks
from clipsight.towers.card import Card
from clipsight.towers.encode_texts import encode_empty, encode_ids, encode_texts
from clipsight.towers.families import towers_of
from clipsight.towers.loading import LIVE, Loaded
from clipsight.towers.preprocess import Fit, Resolution, fit_size, to_pixels
from clipsight.towers.view import VisionView

Templates = str | Sequence[str] | None


Method = TypeVar("Method", bound=Callable[..., Any])


def _asked(method: Method) -> Method:
    """A method that runs as part of a question, or is one by itself."""

    @wraps(method)
    def run(self: "Engine", *given: Any, **more: Any) -> Any:
        with self.asked():
            return method(self, *given, **more)

    return cast(Method, run)


_KEPT = 16
_TAIL = 100
NOISE_LOGITS = 1.8
"""Noise level of models whose card has none, divided by their logit scale. It is the median of the bundled model's
(`scripts/measure_noise.py`: absent nouns, clip_surgery), and low on purpose: a level too high would fade what is there.
"""
"""Characters shown of either end of what a model cannot see of a text."""
_MORE_PATCHES = (
    "The model's own picture processor takes at most {0:,} patches; {1:,} were used as asked. Leave resolution out for "
    "its size."
)
_ONE_SIZE = "This tower takes pictures of {0} × {1} pixels alone: the picture was stretched to that size."


class Engine:
    """Encodes pictures and texts with one loaded model.

    Attributes:
        loaded: the model, its tokenizer and settings. card: its facts, methods filled in.
        text_view: the text tower. vision: the image tower's view, None when its patches cannot be read.
    """

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self._look()
        self._fit_notes: dict[Recipe, tuple[str, ...]] = {}
        self._lock = Lock()
        self.card: Card = replace(loaded.card, methods={name: self._why_off(name) for name in recipe_ids()})
        self._disk = text_store(loaded.module, loaded.tokenizer, self.text_view.context)
        self._cache = TextCache(disk=self._disk)
        self._kept: dict[Hashable, Any] = {}
        self._question = local()
        self._weights = self._marks()
        self._fingerprint: str | None = loaded.fingerprint

    def _look(self) -> None:
        """Views of the towers as they are; some of what they say, such as whether a mask is causal, is in buffers."""
        towers = towers_of(self.loaded.module, getattr(self.loaded.tokenizer, "context_length", None))
        self.text_view, self.vision, self.off = towers.text, towers.vision, towers.off

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return next(self.loaded.module.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The number type it computes in."""
        return next(self.loaded.module.parameters()).dtype

    @property
    def fingerprint(self) -> str:
        """Short hash of the weights as they are now."""
        with self.asked():
            if self._fingerprint is None:
                self._fingerprint = fingerprint(self.loaded.module)
            return self._fingerprint

    @property
    def logit_scale(self) -> float:
        """What the model multiplies cosines by before a softmax."""
        return float(self.loaded.module.get_parameter("logit_scale").detach().float().exp())

    @property
    def logit_bias(self) -> float | None:
        """What a model that was trained with a sigmoid adds to scaled cosines; None for models of a softmax."""
        bias = getattr(self.loaded.module, "logit_bias", None)
        return float(bias.detach().float()) if isinstance(bias, torch.Tensor) else None

    def fit(self, picture: Image.Image, resolution: Resolution) -> Fit:
        """The size at which a picture is seen; towers of one size, or without patches to see, take their own."""
        if self.vision is None:
            native = self.loaded.preprocess.size
            return fit_size((picture.height, picture.width), "square", native, native)
        native, patch = self.vision.native_size, self.vision.patch
        if self.vision.any_size:
            most = self.loaded.preprocess.max_patches
            fit = fit_size((picture.height, picture.width), resolution, native, patch, most)
            seen = fit.size[0] // patch[0] * (fit.size[1] // patch[1])
            if most is not None and seen > most:
                return replace(fit, notes=(*fit.notes, _MORE_PATCHES.format(most, seen)))
            return fit
        note = () if resolution in ("native", "square", native) else (_ONE_SIZE.format(*native),)
        return Fit(size=native, notes=note)

    @_asked
    def pixels(self, picture: Image.Image, fit: Fit) -> Float[Tensor, "1 3 H W"]:
        """Normalised pixels, in the model's number type on its device."""
        return to_pixels(picture, fit.size, self.loaded.preprocess).to(self.device, self.dtype)

    def recipe(self, method: str | Recipe) -> Recipe:
        """The recipe of a method, fitted to the tower if it is asked for by id; a `Recipe` is taken as it is.

        Fitting: the depth of accumulating methods that the model's card states, block numbers for the tower's depth. A
        setting that nobody tested is warned of once for each model, and `fit_notes` has the sentence.
        """
        if not isinstance(method, str):
            return get_recipe(method)
        recipe, notes = self._fitted(get_recipe(method))
        with self._lock:
            known = recipe in self._fit_notes
            self._fit_notes[recipe] = notes
        for note in () if known else notes:
            warnings.warn(note, ClipsightWarning, stacklevel=3)
        return recipe

    def fit_notes(self, recipe: Recipe) -> tuple[str, ...]:
        """What a user should know about a recipe of `recipe` on this tower."""
        return self._fit_notes.get(recipe, ())

    def _fitted(self, recipe: Recipe) -> tuple[Recipe, tuple[str, ...]]:
        depth = self.loaded.card.surgery_depth
        if depth is not None and isinstance(recipe.path, Accumulate) and recipe.path.blocks is not None:
            recipe = with_depth(recipe, depth)
        if self.vision is None:
            return recipe, ()
        fitted = adapt_to_depth(recipe, self.vision)
        return fitted.recipe, fitted.notes

    @_asked
    def remembered(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` gave for the key with the weights as they are; a few keys are kept."""
        with self._lock:
            if key in self._kept:
                return self._kept[key]
        made = make()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > _KEPT:
                self._kept.pop(next(iter(self._kept)))
        return made

    def require_patches(self, recipe: Recipe) -> VisionView:
        """The image tower's view.

        Raises:
            Unsupported: the tower's patches cannot be read; the message says why.
        """
        if self.vision is None:
            raise Unsupported(
                f"{recipe.id} was asked of {self.loaded.name}, but {self.off} "
                "lens.classify and lens.encode_image still work."
            )
        return self.vision

    @_asked
    def start(self, x: Float[Tensor, "B 3 H W"], recipe: Recipe, trunk: Trunk | None = None) -> ImagePass:
        """A pass of the image tower, on a trunk of `x` if given; with a graph only if `x` asks for gradients."""
        view = self.require_patches(recipe)
        with graph_if(x):
            return ImagePass(view, x, recipe, None, trunk)

    @_asked
    def features(
        self,
        x: Float[Tensor, "B 3 H W"],
        recipe: Recipe,
        texts: Float[Tensor, "T E"] | None = None,
        trunk: Trunk | None = None,
    ) -> ImageFeatures:
        """Patch and pooled features, with texts after a second pass if the recipe has one; see `start` for graphs."""
        started = self.start(x, replace(recipe, maps=()), trunk)
        with graph_if(x):
            return started.features() if texts is None else fed_features(started, x, texts)

    @_asked
    def maps(
        self,
        x: Float[Tensor, "B 3 H W"],
        texts: Float[Tensor, "T E"],
        recipe: Recipe,
        *,
        kind: ContrastKind,
        contrast_texts: Float[Tensor, "M E"] | None,
    ) -> Float[Tensor, "B T h w"]:
        """Maps of the texts by the recipe's scoring, or by contrast if it has none of its own."""
        if recipe.needs_texts:
            started = self.start(x, recipe)
            with graph_if(x, texts):
                return own_scores(
                    started, x, texts, logit_scale=self.logit_scale, kind=kind, contrast_texts=contrast_texts
                )[0]
        features = self.features(x, recipe)
        with graph_if(x, texts):
            return contrast_maps(
                features.patches, features.pooled, texts, kind=kind, contrast_texts=contrast_texts
            )

    @_asked
    def encode_image(self, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B E"]:
        """The library's own pooled feature, at any size the view takes; with a graph only if `x` asks for gradients."""
        module: Any = self.loaded.module
        with graph_if(x):
            return module.encode_image(x) if self.vision is None else self.vision.encode(x)

    @_asked
    def encode_text(
        self, texts: Sequence[str] | Int[Tensor, "T S"], templates: Templates = None
    ) -> Float[Tensor, "T E"]:
        """Text features, remembered by content; see `Lens.encode_text`."""
        prompts = resolve_templates(templates)
        if isinstance(texts, Tensor):
            if prompts:
                raise ValueError(
                    "templates cannot be filled with token ids; pass strings, or leave templates out."
                )
            return encode_ids(self.text_view, texts)
        return self._cache.get(
            check_texts(texts),
            prompts,
            lambda missing: encode_texts(self.text_view, self.loaded.tokenizer, missing, prompts or None),
        )

    def templates(self, asked: Templates, otherwise: str | None) -> tuple[str, ...]:
        """The prompt templates that "auto" means here: the card's, or `otherwise`."""
        return resolve_templates((self.card.templates or otherwise) if asked == "auto" else asked)

    @_asked
    def contrast_features(
        self, kind: ContrastKind, names: Sequence[str], prompts: tuple[str, ...]
    ) -> Float[Tensor, "M E"] | None:
        """What to compare with: distractors in the texts' templates, or the empty prompt in the card's (or CS85)."""
        if kind == "empty":
            slots = self.card.templates or resolve_templates("CS85")
            tower, tokenizer = self.text_view, self.loaded.tokenizer
            return self._cache.get(("",), slots, lambda _: encode_empty(tower, tokenizer, slots))
        return self.encode_text(names, prompts or None) if names else None

    @_asked
    def presence(
        self,
        pooled: Float[Tensor, "1 E"],
        asked: Sequence[str],
        said: Float[Tensor, "T E"],
        prompts: tuple[str, ...],
        vocabulary: Sequence[str] | None = None,
    ) -> tuple[Float[Tensor, " T"], str]:
        """How far each text stands out among a vocabulary (the card's unless given), and why where it is NaN."""
        names = self.card.contrast_vocabulary if vocabulary is None else vocabulary
        unmeasured = torch.full((len(asked),), torch.nan)
        if not names:
            return (
                unmeasured,
                "the model has no contrast vocabulary; give distractors as contrast=[names] to measure presence",
            )
        if len(names) < MIN_NAMES:
            return unmeasured, f"{len(names)} names are too few to compare with; give at least {MIN_NAMES}"
        others = self.encode_text(names, prompts or None)
        same = same_names(asked, names)
        scores = presence(
            pooled_similarity(pooled, said), pooled_similarity(pooled, others), self.logit_scale, same
        )[0].cpu()
        lost = f"fewer than {MIN_NAMES} names differ from the text, or its score is not finite"
        return scores, lost if scores.isnan().any() else ""

    def provenance(
        self,
        *,
        recipe: Recipe | None = None,
        texts: Sequence[str] = (),
        notes: Sequence[str] = (),
        size: tuple[int, int] = (0, 0),
        **made: Any,
    ) -> Provenance:
        """How a result was made: the model as it is now, the versions, what the caller adds.

        Args:
            recipe: whose fitting to the tower is noted. texts: noted where the model does not see their end.
            notes: what else a reader should know, before all that. size: (H, W) at which a picture was seen.
            made: further fields of `Provenance`.
        """
        fitted = () if recipe is None else self.fit_notes(recipe)
        return Provenance(
            model=self.loaded.name,
            pretrained=self.loaded.pretrained,
            fingerprint=self.fingerprint,
            activation=self.loaded.activation,
            noise_level=self._noise_level(made["method"]),
            versions=_versions(),
            size=size,
            notes=tuple(dict.fromkeys((*notes, *fitted, *self.card.notes, *self.cut_notes(texts)))),
            **{"grid": self.card.grid or (0, 0), **made},
        )

    def _noise_level(self, method: str) -> float:
        """Size of a map's scores where nothing is: of the card, else the bundled model's at this logit scale."""
        if method not in recipe_ids():
            return 0.0
        return float(self.card.noise_level.get(method, NOISE_LOGITS / float(self.logit_scale)))

    def cut_notes(self, texts: Sequence[str]) -> tuple[str, ...]:
        """A sentence for each text whose end the model cannot see."""
        context, tokenizer = self.text_view.context, self.loaded.tokenizer
        # A token takes at least one byte: shorter texts cannot be cut.
        long = [text for text in dict.fromkeys(texts) if len(text.encode()) > context - 2]
        if not long or tokenizer is None:
            return ()
        tails = zip(long, dropped_tails(tokenizer, long, context), strict=True)
        return tuple(
            f"Not seen, beyond the model's {context} tokens: the end of a text, {_ends(tail)!r}."
            for _, tail in tails
            if tail
        )

    @contextmanager
    def asked(self) -> Iterator[None]:
        """While a question is answered: no ambient state of torch, and the weights are looked at once."""
        if getattr(self._question, "marks", None) is not None:
            yield
            return
        with neutral(self.device):
            self._question.marks = self._marks()
            try:
                self._refresh(self._question.marks)
                yield
            finally:
                self._question.marks = None

    def _refresh(self, marks: Marks) -> None:
        """Forget what was made with other weights or other arithmetic."""
        with self._lock:
            if marks == self._weights:
                return
            if marks[:-1] != self._weights[:-1]:  # else the arithmetic alone
                self._look()
                self._fingerprint = None
            self._weights, self._cache, self._kept = marks, TextCache(disk=self._disk), {}

    def weight_marks(self) -> Marks:
        """What changes when the weights or the arithmetic do: a live module may be trained between two questions."""
        return getattr(self._question, "marks", None) or self._marks()

    def _marks(self) -> Marks:
        live = self.loaded.name == LIVE
        return (*weight_marks(self.loaded.module, live=live), arithmetic_state(self.device))

    def _why_off(self, name: str) -> str:
        if self.vision is None:
            return self.off
        return why_not(self._fitted(get_recipe(name))[0], self.vision)


@contextmanager
def graph_if(*inputs: Tensor) -> Iterator[None]:
    """Autograd on only if an input asks for gradients: answers about a frozen model need no graph."""
    with torch.set_grad_enabled(torch.is_grad_enabled() and any(one.requires_grad for one in inputs)):
        yield


def _ends(text: str) -> str:
    """A text, of a long one its beginning and its end."""
    return text if len(text) <= 2 * _TAIL else f"{text[:_TAIL]} … {text[-_TAIL:]}"


def _versions() -> dict[str, str]:
    found = {}
    for name, package in (("clipsight", "clipsight"), ("torch", "torch"), ("open_clip", "open_clip_torch")):
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found
