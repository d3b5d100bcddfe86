"""Maps by image attributions: where the score of a whole picture comes from."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from clipsight.attribution.image import (
    ImageAnswer,
    attribute_patches,
    get_image_attribution,
    image_attribution_ids,
)
from clipsight.errors import Unsupported
from clipsight.features.trunk import Trunk
from clipsight.scoring import ContrastKind
from clipsight.session.engine import Engine


def is_attribution(method: Any) -> bool:
    """Whether a method is an image attribution and no recipe."""
    return isinstance(method, str) and method in image_attribution_ids()


def directions(
    texts: Float[Tensor, "T E"], kind: ContrastKind = "none", others: Float[Tensor, "M E"] | None = None
) -> Float[Tensor, "T E"]:
    """What a score is measured along: unit text features, less the mean of what they are contrasted with.

    Args:
        texts: of any length.
        kind: "labels" contrasts the texts with their own mean; "empty" and "names" with the mean of `others`.
        others: of any length.
    """
    unit = F.normalize(texts.float(), dim=-1)
    if kind == "none":
        return unit
    if kind == "labels":
        return unit - unit.mean(0)
    assert others is not None  # the engine made them
    return unit - F.normalize(others.float(), dim=-1).mean(0)


def attributed(
    engine: Engine,
    x: Float[Tensor, "B 3 H W"],
    along: Float[Tensor, "T E"],
    method: str,
    tokens: Trunk | None = None,
    **options: Any,
) -> ImageAnswer:
    """Maps of any image attribution.

    Raises:
        Unsupported: the tower's patches cannot be read, or not by this method.
    """
    view = engine.vision
    if view is None:
        raise Unsupported(
            f"{method} was asked of {engine.loaded.name}, but {engine.off} lens.classify and lens.encode_image still "
            "work."
        )
    live = torch.is_grad_enabled() and (x.requires_grad or along.requires_grad)
    return attribute_patches(
        view, x, along, method=method, differentiable=live, tokens=None if live else tokens, **options
    )


def facts_of(method: str, options: Sequence[tuple[str, Any]] = ()) -> dict[str, Any]:
    """What is recorded of an image attribution beside its id."""
    chosen = get_image_attribution(method)
    return {"unit": chosen.unit, "signed": chosen.signed, **chosen.options, **dict(options)}
