"""Text features: one per text, or one per prompt ensemble."""

from collections.abc import Sequence

import torch
from einops import reduce
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from clipsight.language.prompts import expand, resolve_templates
from clipsight.language.tokens import Tokenizer, check_texts, tokenize
from clipsight.towers.view import TextView

_PROMPTS_HELD = 16_384
"""Prompt features held at a time, however many names an ensemble has."""


@torch.no_grad()
def encode_texts(
    view: TextView,
    tokenizer: Tokenizer | None,
    texts: Sequence[str],
    templates: str | Sequence[str] | None = None,
    device: torch.device | str | None = None,
    batch: int = 512,
) -> Float[Tensor, "T E"]:
    """Text features of these texts.

    With templates: every prompt encoded, each L2-normalised, averaged per text (arXiv 2103.00020, §3.1.4); the average
    is not normalised again; scoring does that. Without: the library's `encode_text`, not normalised.

    Args:
        view: the text tower.
        tokenizer: its tokenizer; None raises `Unsupported`.
        texts: one or more strings; duplicates are encoded once.
        templates: None, the name of a set, one template with "{}" or several; see `clipsight.language.prompts`.
        device: where the result goes; None leaves it with the tower.
        batch: prompts encoded at once; the memory knob.

    Returns:
        Features in the tower's number type; no autograd graph (`view.encode` keeps one).

    Raises:
        TypeError, ValueError: see `check_texts` and `resolve_templates`.
    """
    checked, chosen = check_texts(texts, tokenizer), resolve_templates(templates)
    features = _encode(view, tokenizer, checked, chosen, batch)
    return features if device is None else features.to(device)


@torch.no_grad()
def encode_empty(
    view: TextView,
    tokenizer: Tokenizer | None,
    templates: str | Sequence[str] | None = None,
    device: torch.device | str | None = None,
    batch: int = 512,
) -> Float[Tensor, "1 E"]:
    """The empty prototype: the templates with nothing in their slot, or the prompt "" without templates.

    CLIP Surgery subtracts it to take away what is common to all texts (arXiv 2304.05653). Same conventions as
    `encode_texts`.
    """
    features = _encode(view, tokenizer, ("",), resolve_templates(templates), batch)
    return features if device is None else features.to(device)


@torch.no_grad()
def encode_ids(
    view: TextView, ids: Int[Tensor, "T S"], device: torch.device | str | None = None, batch: int = 512
) -> Float[Tensor, "T E"]:
    """Features of token ids, `batch` texts at a time, not L2-normalised; equals the library's `encode_text`.

    Neighbours in a batch share what they begin with, so the texts are ordered by their ids first.

    Raises:
        TypeError: not integers, or not rows of them.
        ValueError: no texts, ids out of the vocabulary, more positions than the model has.
    """
    if ids.ndim != 2 or ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise TypeError(
            f"token ids are integers of shape (texts, positions), got {ids.dtype} of shape {tuple(ids.shape)}; "
            "features need no encoding, and for words pass a list of strings."
        )
    if not ids.numel():
        raise ValueError(
            f"there are no token ids to encode in shape {tuple(ids.shape)}; pass at least one row of one position."
        )
    distinct, inverse = torch.unique(ids.cpu(), dim=0, return_inverse=True)
    features = torch.cat([view.encode(part) for part in distinct.split(batch)])[inverse.to(view.device)]
    return features if device is None else features.to(device)


def _encode(
    view: TextView, tokenizer: Tokenizer | None, texts: Sequence[str], templates: Sequence[str], batch: int
) -> Float[Tensor, "T E"]:
    if not templates:
        return encode_ids(view, tokenize(tokenizer, texts, view.context), batch=batch)
    ids = tokenize(tokenizer, expand(texts, templates), view.context)
    prototypes = []
    for part in ids.split(max(1, _PROMPTS_HELD // len(templates)) * len(templates)):
        features = encode_ids(view, part, batch=batch)
        unit = F.normalize(features.float(), dim=-1)
        prototypes.append(reduce(unit, "(T P) E -> T E", "mean", P=len(templates)).to(features.dtype))
    return torch.cat(prototypes)
