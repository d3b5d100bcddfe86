"""Which attributions are asked, and with which settings: one column of scores for each, and for each layer of some."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clipsight.attribution import get_attribution, opened, why_not
from clipsight.towers.view import TextParts, TextView

SETUPS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "attention": ("attention", {"layers": "last"}),
    "attention.all": ("attention", {"layers": "all"}),
    "attention.rollout": ("attention", {"layers": "all", "rollout": True}),
    "chefer": ("chefer", {}),
    "gradcam": ("gradcam", {}),
    "gradient": ("gradient", {"kind": "norm"}),
    "gradient.input": ("gradient", {"kind": "input"}),
    "integrated_gradients": ("integrated_gradients", {}),
    "perturbation": ("perturbation", {"op": "zero_emb"}),
    "perturbation.drop": ("perturbation", {"op": "drop"}),
    "grad_eclip": ("grad_eclip", {}),
    "legrad": ("legrad", {}),
}
"""What is asked unless something else is named: name -> attribution and its options."""

LAYERED: Mapping[str, str] = {"attention": "layers", "gradcam": "layer"}
"""Attributions that are also asked at every block, and the option that says which."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One attribution with its settings.

    Attributes:
        name: a key of `SETUPS`, or the attribution's id. layer: block, from 0; None for the setup as it is.
        picture: whether it needs a picture. signed: whether its scores may be negative.
        together: whether it takes out the tokens of a word together.
    """

    name: str
    method: str
    options: Mapping[str, Any]
    layer: int | None
    picture: bool
    signed: bool
    together: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "method": self.method,
            "options": dict(self.options),
            "layer": self.layer,
            "picture": self.picture,
            "signed": self.signed,
            "together": self.together,
        }


def choose_columns(
    view: TextView, names: Sequence[str] | None = None, *, pictured: bool, layers: bool = True
) -> tuple[tuple[Column, ...], dict[str, str]]:
    """The columns that a tower and a corpus allow.

    Args:
        view: the text tower.
        names: keys of `SETUPS` or ids of attributions; None takes all setups.
        pictured: whether there are pictures.
        layers: ask the attributions of `LAYERED`, if they are among the names, at every block too.

    Returns:
        Columns, and for each name left out the reason.

    Raises:
        ValueError: an unknown name.
    """
    found: list[Column] = []
    left_out: dict[str, str] = {}
    for name in dict.fromkeys(SETUPS if names is None else names):
        method, options = SETUPS.get(name) or (get_attribution(name).id, {})
        facts = get_attribution(method)
        reason = why_not(method, view, options)
        if not reason and facts.image and not pictured:
            reason = f"{method} asks what matches a picture, and the corpus has captions alone"
        if reason:
            left_out[name] = reason
            continue
        together = facts.takes_groups(options)
        kind = {"method": method, "picture": facts.image, "signed": facts.signed, "together": together}
        found.append(Column(name=name, options=options, layer=None, **kind))
        if layers and name in LAYERED:
            parts = opened(view)
            depth = len(parts.blocks) if isinstance(parts, TextParts) else 0
            found += [
                Column(name=name, options={**options, LAYERED[name]: block}, layer=block, **kind)
                for block in range(depth)
            ]
    return tuple(found), left_out
