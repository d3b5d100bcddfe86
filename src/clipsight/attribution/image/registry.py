"""Attributions to patches by id: the function, its unit and sign, what it needs of a tower.

A method is a file of this folder with one function, registered by `image_attribution`. It is asked for maps of scores
s_t = ⟨e, d_t⟩ / |e| of a pooled feature e with directions d_t; a unit text feature as direction makes s a cosine, the
difference of two of them a contrast.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from clipsight.attribution.exact.stream import Tokens
from clipsight.attribution.match import exact
from clipsight.errors import Unsupported
from clipsight.features import Citation
from clipsight.towers.view import PositionRule, VisionView


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageQuestion:
    """From which patches do these scores come?

    Attributes:
        view: the image tower.
        images: normalised pixels, both sides multiples of the patch.
        directions: d_t, one for each score; of any length.
        live: keep the graph through to the parameters.
        tokens: of a pass of these pictures that was begun before; None without.
        positions: rule for other grids than the native one; None is the tower's own.
    """

    view: VisionView
    images: Float[Tensor, "B 3 H W"]
    directions: Float[Tensor, "T E"]
    live: bool = False
    tokens: Tokens | None = None
    positions: PositionRule | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) in patches."""
        return self.view.grid(*self.images.shape[-2:])

    def entered(self) -> Float[Tensor, "B S D"]:
        """Tokens that enter the first block."""
        pixels = self.images.to(self.view.device)
        return self.view.embed(pixels) if self.positions is None else self.view.embed(pixels, self.positions)

    def scores(self, features: Float[Tensor, "N E"]) -> Float[Tensor, "N T"]:
        """S of pooled features with every direction, at least in float32."""
        unit = F.normalize(exact(features), dim=-1)
        return unit @ self.directions.to(unit).mT


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageAnswer:
    """The answer of a method.

    Attributes:
        maps: in the method's unit, float32.
        pooled: the tower's own features, not normalised; None where the method did not make them.
        notes: what a reader must know.
    """

    maps: Float[Tensor, "B T h w"]
    pooled: Float[Tensor, "B E"] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ImageAttribution:
    """A method and the facts about it.

    Attributes:
        id: its name. function: `function(question, **options)`.
        summary: one sentence.
        unit: what a score is, in words, such as "share of the cosine".
        signed: True when scores below zero speak against.
        linear: True when the map of a difference is the difference of the maps.
        gradients: True when it differentiates.
        needs: why a tower does not do, "" when it does.
        sources: papers and programs, the first one first.
    """

    id: str
    function: Callable[..., ImageAnswer]
    summary: str
    unit: str
    signed: bool
    linear: bool
    gradients: bool
    needs: Callable[[VisionView], str]
    sources: tuple[Citation, ...]

    @property
    def options(self) -> Mapping[str, Any]:
        """Options and their defaults."""
        parameters = inspect.signature(self.function).parameters.values()
        return {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}


_METHODS: dict[str, ImageAttribution] = {}


def image_attribution(
    id: str, **facts: Any
) -> Callable[[Callable[..., ImageAnswer]], Callable[..., ImageAnswer]]:
    """Register the decorated function under its id, with the facts of `ImageAttribution`.

    Raises:
        ValueError: another function has the id.
    """

    def register(function: Callable[..., ImageAnswer]) -> Callable[..., ImageAnswer]:
        if id in _METHODS:
            raise ValueError(
                f"an image attribution with the id {id!r} is registered already; give yours its own."
            )
        _METHODS[id] = ImageAttribution(id=id, function=function, **facts)
        return function

    return register


def image_attribution_ids() -> tuple[str, ...]:
    """Ids of all methods, `exact` first, then by name."""
    return ("exact", *sorted(set(_METHODS) - {"exact"}))


def get_image_attribution(id: str) -> ImageAttribution:
    """The method of this id.

    Raises:
        ValueError: there is none.
    """
    if (known := _METHODS.get(id)) is not None:
        return known
    near = difflib.get_close_matches(str(id), _METHODS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise ValueError(
        f"no image attribution is called {id!r}{hint} There are {', '.join(image_attribution_ids())}."
    )


def why_not_image(id: str, view: VisionView) -> str:
    """Why this method does not run on a tower; "" if it does.

    Raises:
        ValueError: no method has the id.
    """
    return get_image_attribution(id).needs(view)


def attribute_patches(
    view: VisionView,
    images: Float[Tensor, "B 3 H W"],
    directions: Float[Tensor, "T E"],
    *,
    method: str,
    differentiable: bool = False,
    tokens: Tokens | None = None,
    positions: PositionRule | None = None,
    **options: Any,
) -> ImageAnswer:
    """From which patches does the score of each direction come?

    Args:
        view: the image tower; nothing of it is changed.
        images: normalised pixels.
        directions: d_t of s_t = ⟨e, d_t⟩ / |e|; see this module.
        method: one of `image_attribution_ids()`.
        differentiable: keep the graph.
        tokens: of a pass begun before, such as a `clipsight.features.Trunk`.
        positions: rule for other grids than the native one, for methods that make a pass of their own.
        options: the method's own; `get_image_attribution(method).options` has the defaults.

    Raises:
        ValueError: no such method, or directions of another width. TypeError: an option that it does not have.
        Unsupported: not for this tower; the message says why.
    """
    chosen = get_image_attribution(method)
    if unknown := set(options) - set(chosen.options):
        raise TypeError(
            f"the image attribution {method!r} has no option {min(unknown)!r}; it has "
            f"{', '.join(chosen.options) or 'none'}."
        )
    if directions.shape[-1] != view.embed_dim:
        raise ValueError(
            f"directions have shape {tuple(directions.shape)}, and this tower's features have {view.embed_dim} "
            "channels."
        )
    if why := chosen.needs(view):
        raise Unsupported(f"{method} cannot be asked of this image tower: {why}")
    with torch.inference_mode(False), torch.set_grad_enabled(differentiable or chosen.gradients):
        question = ImageQuestion(
            view=view,
            images=images.clone() if images.is_inference() else images,
            directions=directions.clone() if directions.is_inference() else directions,
            live=differentiable,
            tokens=tokens,
            positions=positions,
        )
        answer = chosen.function(question, **{**chosen.options, **options})
    if differentiable:
        return answer
    pooled = None if answer.pooled is None else answer.pooled.detach()
    return replace(answer, maps=answer.maps.detach(), pooled=pooled)
