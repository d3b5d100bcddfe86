"""The entry point of attributions: token ids, picture features and a method in, token scores out."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from clipsight.attribution.asking import AttributionRunner, Spans, TokenAttribution
from clipsight.attribution.contrast import FoilSet, with_foils
from clipsight.attribution.match import Contrast, Match, Similarity, exact
from clipsight.attribution.question import opened
from clipsight.attribution.reading import reading
from clipsight.attribution.registry import attribution_ids, get_attribution, why_not
from clipsight.attribution.scores import TokenScores
from clipsight.errors import Unsupported
from clipsight.towers.view import TextView


def attribute(
    view: TextView,
    ids: Int[Tensor, "T S"],
    image_features: Float[Tensor, "*texts E"] | None = None,
    *,
    method: str,
    against: Tensor | None = None,
    differentiable: bool = False,
    spans: Spans | None = None,
    content: Bool[Tensor, "T S"] | None = None,
    contrast: Contrast | None = None,
    against_spans: Sequence[Spans] | None = None,
    against_content: Bool[Tensor, "*foils W"] | None = None,
    similarity: Similarity = "cosine",
    scale: float = 1.0,
    image_grad: bool = False,
    batch: int = 64,
    **options: Any,
) -> TokenScores:
    """Which tokens carry the match of these texts with these pictures?

    The model is looked at, never changed: no hooks, no flags, no gradients left in parameters.

    Args:
        view: a text tower.
        ids: token ids as its tokenizer makes them, (T, S).
        image_features: pooled picture features of any length, one (E,) for all texts or (T, E); None for methods that
            need no picture (`attention`; `perturbation` and `shapley` then measure the text's own change).
        method: id, one of `attribution_ids()`.
        against: foils. Integers: token ids (F, W) for all texts or (T, F, W), whose words are attributed too, the
            contrastive attribution proper (see `clipsight.attribution.contrast`). Floats: features (F, E) or
            (T, F, E), which shift s and nothing else.
        differentiable: keep the graph of the scores through to the parameters, second order included where a score is
            itself a gradient.
        spans: for each text groups of word positions that go together, for methods that take words out (perturbation,
            shapley, gradient with kind="fd"); None: every token by itself.
        content: True at the tokens of words, from the tokenizer. None: read off the ids, certain for towers that pool
            at an end token, a guess for others.
        contrast: "difference" from the foils' mean (default for one foil), or the text's "log_softmax" among itself and
            the foils (for several), which needs the logit scale as `scale` to mean the model's choice.
        against_spans: `spans` of foils given as ids: for each text a list with the spans of each of its foils; of one
            length for all texts where `against` is. Needed with `spans`.
        against_content: `content` of foils given as ids, of their shape.
        similarity: "cosine", or "dot": the text's feature before normalisation with the picture's unit feature.
        scale: what s is multiplied by; 1 for cosines, the model's logit scale for logits.
        image_grad: with `differentiable`, let gradients into `image_features` too.
        batch: texts at a time, the memory knob.
        options: the method's own, see its docstring; `get_attribution(method).options` has the defaults.

    Returns:
        Scores (T, S) and what belongs to them.

    Raises:
        ValueError: no such method, shapes that do not fit, a picture missing, spans that are no words'.
        TypeError: an option that the method does not have.
        Unsupported: the tower cannot be looked into as far as the method needs; the message names the nearest.
    """
    chosen = get_attribution(method)
    full = chosen.checked(options)
    if chosen.side != "text":
        raise ValueError(
            f"{method} attributes to the {chosen.side} side, not to words; of words there are "
            f"{', '.join(attribution_ids())}."
        )
    if why := why_not(method, view, full):
        raise Unsupported(why)
    _check(ids, batch, similarity, contrast)
    if image_features is None and (chosen.image or against is not None):
        asked = f"the attribution {method!r}" if chosen.image else "a contrast"
        raise ValueError(
            f"{asked} asks what matches a picture; give image_features, of shape (E,) or (texts, E)."
        )
    with _autograd(chosen.gradients, differentiable):
        ids = _plain(ids).to(view.device)
        image = _image(image_features, len(ids), view, live=image_grad and differentiable)
        match = Match(image=image, similarity=similarity, scale=scale)
        asker = AttributionRunner(
            view=view, parts=opened(view), method=chosen, options=full, live=differentiable, batch=batch
        )
        notes: tuple[str, ...] = ()
        if against is None:
            found = asker.ask(ids, match, spans, content)
        else:
            foils = FoilSet.of(
                _plain(against).to(view.device), len(ids), contrast, against_spans, against_content
            )
            contrast = foils.contrast
            found, notes = with_foils(asker, ids, match, foils, spans, content)
    if chosen.inside == "blocks":
        notes = (*notes, reading(view))
    asked_for = {
        "spans": "given" if spans is not None else "tokens",
        "similarity": similarity,
        "scale": scale,
        "against": None if against is None else ("features" if against.is_floating_point() else "ids"),
        "contrast": contrast if against is not None else None,
        "differentiable": differentiable,
    }
    return _result(found, method, {**asked_for, **full, **found.settings}, notes)


def _result(
    found: TokenAttribution, method: str, settings: Mapping[str, Any], notes: tuple[str, ...]
) -> TokenScores:
    plain = {name: "given" if isinstance(value, Tensor) else value for name, value in settings.items()}
    return TokenScores(
        scores=found.scores,
        start=found.marks.start,
        end=found.marks.end,
        padding=found.marks.padding,
        similarity=found.cosine,
        method=method,
        settings=plain,
        notes=tuple(dict.fromkeys((*found.notes, *notes))),
        extras=found.extras,
    )


def _check(ids: Tensor, batch: int, similarity: str, contrast: str | None) -> None:
    if ids.ndim != 2 or ids.is_floating_point() or ids.dtype == torch.bool:
        raise TypeError(
            f"ids are integers of shape (texts, positions), got {ids.dtype} of shape {tuple(ids.shape)}; tokenize the "
            "texts first."
        )
    if not ids.numel():
        raise ValueError("there are no texts; give ids of at least one.")
    if batch < 1:
        raise ValueError(f"batch is {batch}; it is at least 1.")
    if similarity not in ("cosine", "dot"):
        raise ValueError(f'similarity is {similarity!r}; it is "cosine" or "dot".')
    if contrast not in (None, "difference", "log_softmax"):
        raise ValueError(f'contrast is {contrast!r}; it is "difference" or "log_softmax".')


def _image(
    features: Float[Tensor, "*texts E"] | None, texts: int, view: TextView, *, live: bool
) -> Float[Tensor, "T E"] | None:
    """Unit picture features, one for each text."""
    if features is None:
        return None
    rows = 1 if features.ndim == 1 else len(features)
    if features.ndim not in (1, 2) or features.shape[-1] != view.embed_dim or rows not in (1, texts):
        raise ValueError(
            f"image_features has shape {tuple(features.shape)}; with {texts} texts it is ({view.embed_dim},) or "
            f"({texts}, {view.embed_dim})."
        )
    if not features.isfinite().all():
        raise ValueError(
            "image_features holds NaN or infinite values; usual cause: a picture with them, or overflow."
        )
    unit = F.normalize(exact(_plain(features).to(view.device)), dim=-1).expand(texts, -1)
    return unit if live else unit.detach()


def _plain(tensor: Tensor) -> Tensor:
    """The tensor, or a copy that autograd takes if it was made in inference mode."""
    return tensor.clone() if tensor.is_inference() else tensor


@contextmanager
def _autograd(needed: bool, live: bool) -> Iterator[None]:
    """Autograd on if the method differentiates or its graph is kept, regardless of the caller's mode."""
    with torch.inference_mode(False), torch.set_grad_enabled(needed or live):
        yield
