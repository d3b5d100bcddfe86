"""Prompts for the state of a thing: AnoCLIP's two sets, intact and damaged.

Wording of the 22 frames, 7 + 7 states and domain words: hq-deng/AnoVL at 3a70bfd (arXiv 2308.15939); "a abnormal" is
theirs. A prompt is frame ∘ state ∘ name, frames outermost: 22 · 3 · 7 = 462 prompts a pole.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

NORMAL_STATES = (
    "normal {}", "flawless {}", "perfect {}", "unblemished {}",
    "{} without flaw", "{} without defect", "{} without damage",
)  # fmt: skip
ABNORMAL_STATES = (
    "damaged {}", "abnormal {}", "imperfect {}", "blemished {}",
    "{} with flaw", "{} with defect", "{} with damage",
)  # fmt: skip

DOMAINS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "objects": ("industrial photo", "industrial image", "manufacturing image"),
        "textures": ("industrial photo", "textural photo", "surface picture"),
    }
)
"""What kind of picture it is, by domain."""

TEXTURES = frozenset(("carpet", "leather", "grid", "tile", "wood"))
"""MVTec AD's names that are textures; "auto" takes every other name for an object."""

NAMES: Mapping[str, str] = MappingProxyType({"macaroni1": "macaroni", "macaroni2": "macaroni"})
"""Folder names of data sets -> what is written into prompts."""

_STYLES = ("cropped", "close-up", "bright", "dark", "jpeg corrupted", "blurry")
_ARTICLES = ("a", "the")

Encode = Callable[[Sequence[str]], Tensor]
"""Prompts -> (prompts, E) features, not L2-normalised, such as `lens.encode_text`."""


@dataclass(frozen=True, kw_only=True)
class StatePrompts:
    """The prompts of both states, and the words that they were made from."""

    name: str
    normal: tuple[str, ...]
    abnormal: tuple[str, ...]
    normal_states: tuple[str, ...]
    abnormal_states: tuple[str, ...]
    media: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Poles:
    """Text features of the two states, float32.

    Attributes:
        pair: unit features, row 0 normal, row 1 abnormal.
        prompts: unit features of every single prompt, normal first; what test-time adaptation writes its answer in.
    """

    pair: Float[Tensor, "2 E"]
    prompts: Float[Tensor, "P E"]


def frames(medium: str) -> tuple[str, ...]:
    """The 22 templates around a kind of picture such as "industrial photo"."""
    one = f"{_article(medium)} {medium} of"
    return (
        *(f"a {style} {medium} of {article} {{}}" for style in _STYLES for article in _ARTICLES),
        *(f"{one} {article} {{}}" for article in _ARTICLES),
        *(f"{one} {article} {size} {{}}" for size in ("small", "large") for article in _ARTICLES),
        *(
            f"{one} {article} {{}} for {purpose}"
            for purpose in ("visual inspection", "anomaly detection")
            for article in _ARTICLES
        ),
    )


def state_prompts(
    name: str,
    *,
    domain: str | Sequence[str] = "auto",
    normal: Sequence[str] | None = None,
    abnormal: Sequence[str] | None = None,
    names: Mapping[str, str] = NAMES,
) -> StatePrompts:
    """All prompts that describe a thing as normal, and all that describe it as damaged.

    Args:
        name: what the picture shows, such as "bottle".
        domain: "objects", "textures", "auto" (textures for MVTec AD's five), or kinds of pictures in your own words,
            such as ("photo", "X-ray image").
        normal, abnormal: states with "{}" where the name goes, such as "scratched {}" and "{} with a hole"; None takes
            the seven of AnoCLIP. The two poles may differ in number.
        names: how names are written into prompts; names that are not in it are taken as they are.

    Raises:
        ValueError: an empty name, an unknown domain, no states, a state without "{}", or one that is in both poles.
        TypeError: one string where a list of states belongs.
    """
    if not name.strip():
        raise ValueError('the name of the thing is empty; say what the picture shows, as in "bottle".')
    written, media = names.get(name, name), _media(name, domain)
    whole = _states(NORMAL_STATES if normal is None else normal, "normal", "intact {}")
    broken = _states(ABNORMAL_STATES if abnormal is None else abnormal, "abnormal", "{} with a hole")
    if both := set(whole) & set(broken):
        raise ValueError(
            f"{sorted(both)[0]!r} is given as a normal and as an abnormal state; it would pull both poles together. "
            "Leave it out of one."
        )
    templates = [frame for medium in media for frame in frames(medium)]
    said = [
        tuple(frame.replace("{}", state.replace("{}", written)) for frame in templates for state in states)
        for states in (whole, broken)
    ]
    return StatePrompts(
        name=written,
        normal=said[0],
        abnormal=said[1],
        normal_states=whole,
        abnormal_states=broken,
        media=media,
    )


@torch.no_grad()
def encode_poles(encode: Encode, prompts: StatePrompts) -> Poles:
    """Features of both states: the mean of the prompts' unnormalised features, scaled to unit length.

    Longer features weigh more, unlike in the usual ensemble (`encode_texts`), which normalises first.

    Args:
        encode: see `Encode`; called once for each pole.
        prompts: of `state_prompts`.
    """
    said = [encode(pole).float() for pole in (prompts.normal, prompts.abnormal)]
    pair = F.normalize(torch.stack([features.mean(0) for features in said]), dim=-1)
    return Poles(pair=pair, prompts=F.normalize(torch.cat(said), dim=-1))


def _article(phrase: str) -> str:
    return "an" if phrase[0].lower() in "aeiou" else "a"


def _media(name: str, domain: str | Sequence[str]) -> tuple[str, ...]:
    if isinstance(domain, str):
        chosen = ("textures" if name in TEXTURES else "objects") if domain == "auto" else domain
        if chosen not in DOMAINS:
            raise ValueError(
                f"domain={domain!r} is unknown; give 'auto', {', '.join(map(repr, DOMAINS))}, or kinds of pictures in "
                f"your own words as a list: [{domain!r}]."
            )
        return DOMAINS[chosen]
    media = tuple(domain)
    if not media or not all(medium.strip() for medium in media):
        raise ValueError(
            f"domain={media} holds no kind of picture, or an empty one; leave it out, or give words such as ['photo']."
        )
    return media


def _states(states: Sequence[str], pole: str, example: str) -> tuple[str, ...]:
    if isinstance(states, str):
        raise TypeError(f"{pole} is one string, {states!r}; pass a list of states: [{states!r}].")
    chosen = tuple(states)
    if not chosen:
        raise ValueError(
            f"{pole} is empty; leave it out (None) for the states of AnoCLIP, or give ({example!r},)."
        )
    for state in chosen:
        if "{}" not in state:
            raise ValueError(
                f'the {pole} state {state!r} has no "{{}}" where the name of the thing goes; write "{state} {{}}" or '
                f'"{{}} {state}".'
            )
    return chosen
