"""Where should a promptable segmenter such as SAM look for these words?"""

from collections.abc import Sequence
from typing import Any, overload

from clipsight.features import Recipe
from clipsight.language.tokens import check_texts
from clipsight.results import Points
from clipsight.scoring.choice import Contrast
from clipsight.session.encoded import EncodedPicture
from clipsight.session.engine import Templates
from clipsight.session.explain import explain


@overload
def points(seen: EncodedPicture, text: str, *how: Any, **options: Any) -> Points: ...


@overload
def points(
    seen: EncodedPicture, text: list[str] | tuple[str, ...], *how: Any, **options: Any
) -> list[Points]: ...


def points(
    seen: EncodedPicture,
    text: str | Sequence[str],
    method: str | Recipe = "clip_surgery",
    contrast: Contrast = "auto",
    templates: Templates = "auto",
    *,
    threshold: float = 0.8,
    downsample: int = 2,
) -> Points | list[Points]:
    """Points of a text, or of each of a list; see `Lens.points` for the arguments."""
    asked = check_texts([text] if isinstance(text, str) else text)
    parts = tuple(dict.fromkeys(part for one in asked for part in joined_texts(one)))
    found = explain(seen, parts, method, contrast, templates)
    made = [found.points(one, threshold=threshold, downsample=downsample) for one in asked]
    return made[0] if isinstance(text, str) else made


def joined_texts(text: str) -> tuple[str, ...]:
    """The texts that a "+" joins; a text such as "C++", where it joins nothing, is one."""
    parts = tuple(part.strip() for part in text.split("+"))
    return parts if all(parts) else (text,)
