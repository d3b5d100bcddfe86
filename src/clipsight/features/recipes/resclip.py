"""ResCLIP: the last block's attention, as changed by the host method, mixed with that of blocks 6 to 9.

First pass (RCS): A ← τ_c ((1 - λ_c) A + λ_c · mean of the attention of blocks 6..9), head h with head h. Second pass
(SFR), which needs
texts: the labels of the first pass give a map of which patches belong together, and the host's scores become
τ_s ((1 - λ_s) E + λ_s S) before everything else; see `clipsight.features.steps.Feedback`.
"""

from dataclasses import replace
from typing import Any

from clipsight.features.blocks import Span
from clipsight.features.branches import Applied, Kernel
from clipsight.features.citation import Citation, mious
from clipsight.features.maps import Attention
from clipsight.features.recipe import Recipe
from clipsight.features.recipes.clearclip import CLEARCLIP
from clipsight.features.recipes.clip import CLIP
from clipsight.features.recipes.naclip import NACLIP
from clipsight.features.recipes.sclip import SCLIP
from clipsight.features.steps import Feedback
from clipsight.features.variants import data_sets

CONTEXT = Attention(Span(6, 9))
"""Attention of the blocks that the released code takes, at any depth of the tower."""


def with_context(host: Kernel, tau: float = 2.0, mix: float = 0.3) -> Kernel:
    """A host's kernel mixed with the attention of earlier blocks: τ ((1 - λ) A + λ A_c)."""
    if not mix:
        return replace(host, branches=tuple(replace(one, weight=one.weight * tau) for one in host.branches))
    own = tuple(replace(branch, weight=branch.weight * tau * (1 - mix)) for branch in host.branches)
    return replace(host, branches=(*own, Applied(by=CONTEXT, weight=tau * mix)))


_SOURCE = Citation(
    title="ResCLIP: Residual Attention for Training-free Dense Vision-language Inference",
    arxiv="2411.15851",
    venue="CVPR 2025",
    repository="yvhangyang/ResCLIP",
    commit="0e085f7",
)
_WHERE = "result image of yvhangyang/ResCLIP at 0e085f7"
_DIFFERENCES = (
    "The semantic map of the second pass stays in the tower's precision; the released code casts it to float16.",
    "The second pass takes any number of pictures; its path check is made in chunks.",
)


def resclip(
    host: Recipe, name: str, b16: tuple[float | None, ...] = (), l14: tuple[float | None, ...] = ()
) -> Recipe:
    """ResCLIP on a host."""
    return replace(
        host,
        id=f"resclip.{name}",
        summary=f"{host.id}'s attention mixed with that of blocks 6 to 9; with texts, a second pass by its own labels.",
        kernel=with_context(host.kernel),
        positions="dino_bicubic",
        scoring=(Feedback(gain=2.1, mix=0.7, threshold=0.25),),
        written_for=12,
        source=_SOURCE,
        published=(mious(b16, setting="ViT-B-16, both passes", where=_WHERE) if b16 else ())
        + (mious(l14, setting="ViT-L-14, both passes", where=_WHERE) if l14 else ()),
        differences=_DIFFERENCES,
    )


ON_NACLIP = resclip(
    NACLIP,
    "naclip",
    (61.1, 33.5, 35.0, 86.0, 36.8, 24.7, 35.9, 18.0),
    (54.1, 30.9, 32.5, 85.5, 34.5, 23.4, 33.7, 18.2),
)
ON_CLEARCLIP = resclip(
    CLEARCLIP,
    "clearclip",
    (59.0, 32.9, 34.0, 87.1, 36.4, 24.3, 34.5, 17.8),
    (50.7, 29.8, 31.1, 84.2, 33.4, 22.3, 34.1, 17.9),
)
ON_SCLIP = resclip(
    SCLIP,
    "sclip",
    (60.7, 32.9, 34.3, 84.6, 35.8, 23.9, 34.4, 17.6),
    (52.8, 28.7, 30.9, 83.9, 30.6, 21.2, 32.2, 15.8),
)
ON_CLIP = replace(resclip(CLIP, "clip"), variant_of="resclip.naclip")
ON_CLIP_REDUCED = replace(
    resclip(replace(CLIP, residual="drop", ffn="skip"), "clip-reduced"), variant_of="resclip.naclip"
)

_CONTEXT_MIX = {
    "ade": 0.3,
    "city": 0.2,
    "object": 0.4,
    "stuff": 0.4,
    "pc59": 0.4,
    "pc60": 0.3,
    "voc20": 0.6,
    "voc21": 0.3,
}
_FEEDBACK = {
    "ade": (2.1, 0.7, 0.25),
    "city": (2.1, 0.6, 0.10),
    "object": (1.8, 0.7, 0.11),
    "stuff": (1.8, 0.7, 0.11),
    "pc59": (1.8, 0.7, 0.25),
    "pc60": (1.8, 0.7, 0.30),
    "voc20": (2.1, 0.6, 0.10),
    "voc21": (2.2, 0.7, 0.50),
}
_SETTINGS: dict[str, dict[str, Any]] = {
    "voc21": {"crop": 0, "prob_threshold": 0.1},
    "pc60": {"prob_threshold": 0.1},
    "object": {"prob_threshold": 0.1},
    "voc20": {"crop": 0},
    "pc59": {},
    "stuff": {},
    "city": {"short_side": 560},
    "ade": {},
}


def _for_data_sets(recipe: Recipe, host: Recipe) -> tuple[Recipe, ...]:
    changes = {
        key: {
            "kernel": with_context(host.kernel, mix=_CONTEXT_MIX[key]),
            "scoring": (Feedback(gain=gain, mix=mix, threshold=threshold),),
        }
        for key, (gain, mix, threshold) in _FEEDBACK.items()
    }
    return data_sets(recipe, _SETTINGS, changes=changes)


RECIPES = (
    ON_NACLIP,
    ON_CLEARCLIP,
    ON_SCLIP,
    ON_CLIP,
    ON_CLIP_REDUCED,
    *_for_data_sets(ON_NACLIP, NACLIP),
    *_for_data_sets(ON_CLEARCLIP, CLEARCLIP),
    *_for_data_sets(ON_SCLIP, SCLIP),
)
