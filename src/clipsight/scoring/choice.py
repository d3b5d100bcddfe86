"""Which contrast to use if the user does not choose one, and which names count as the same."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from clipsight.language.tokens import check_texts
from clipsight.scoring.contrast import ContrastKind

Contrast = Literal["auto", "none", "labels", "empty"] | Sequence[str] | None
"""What a user may ask for; `None` is "none", a list of names is distractors."""

LABELS_FROM = 8
"""From so many texts on, "auto" contrasts them with each other."""


@dataclass(frozen=True, kw_only=True)
class ChosenContrast:
    """The chosen contrast; `names` are the distractors of the kind "names"."""

    kind: ContrastKind
    names: tuple[str, ...] = ()


def choose_contrast(
    asked: Contrast, count: int, texts: Sequence[str] = (), vocabulary: Sequence[str] = ()
) -> ChosenContrast:
    """The contrast for `count` texts.

    Args:
        asked: "auto" takes "labels" from eight texts up, below that the vocabulary as distractors if there is one, else
            "empty".
        count: how many texts are scored.
        texts: the texts, if known: a distractor that names the same thing as one of them is left out.
        vocabulary: the model's contrast vocabulary.

    Raises:
        ValueError: an unknown word, "labels" for one text, or no distractor left.
    """
    if asked == "auto":
        asked = "labels" if count >= LABELS_FROM else (tuple(vocabulary) or "empty")
    if asked is None or asked == "none":
        return ChosenContrast(kind="none")
    if asked == "labels" and count < 2:
        raise ValueError(
            "contrast='labels' contrasts the texts with each other and needs at least two, got one; take "
            "contrast='auto', 'empty' or a list of names."
        )
    if asked == "labels" or asked == "empty":
        return ChosenContrast(kind="labels" if asked == "labels" else "empty")
    if isinstance(asked, str):
        raise ValueError(
            f"contrast={asked!r} is unknown; give 'auto', 'none', 'labels', 'empty' or a list of names such as "
            f"[{asked!r}]."
        )
    taken = {bare(text) for text in texts}
    names = tuple(name for name in dict.fromkeys(check_texts(asked)) if bare(name) not in taken)
    if not names:
        raise ValueError(
            "no name of the contrast differs from the texts; give other names, or contrast='labels'."
        )
    return ChosenContrast(kind="names", names=names)


def bare(text: str) -> str:
    """A text in lower case without article and outer blanks, to test whether two texts name the same thing."""
    return re.sub(r"^(an?|the)\s+", "", text.strip().lower())


def same_names(texts: Sequence[str], names: Sequence[str]) -> Bool[Tensor, "T M"]:
    """Which texts and names mean the same thing, ignoring articles and case."""
    known = [bare(name) for name in names]
    return torch.tensor([[one == name for name in known] for one in map(bare, texts)])
