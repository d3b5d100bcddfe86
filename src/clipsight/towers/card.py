"""A model's description, and the methods that it supports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from open_clip.transformer import QuickGELU
from torch import nn

from clipsight.towers.families import towers_of
from clipsight.towers.grids import pair

_HF_QUICK = "QuickGELUActivation"


@dataclass(frozen=True, kw_only=True)
class Card:
    """Facts about a model.

    Attributes:
        family: kind of image tower, such as "open_clip ViT".
        grid: (h, w) patches at the training size; None for towers without a patch grid of ours.
        size: (H, W) pixels of the training pictures.
        patch: (height, width) of a patch in pixels; None as for `grid`.
        width: width of the image tower's tokens; None as for `grid`.
        depth: number of its blocks; None as for `grid`.
        embed_dim: width of the joint space; None when the model does not say.
        context: token positions of the text side.
        activation: "quick_gelu" or "gelu".
        templates: prompt templates that the model's own card asks for, () for texts as given.
        contrast_vocabulary: names that `contrast="auto"` and `presence` compare with, () if the model has none.
        methods: method id -> "" when it runs on this model, else why not. Filled when the lens is built.
        surgery_depth: number of last blocks CLIP Surgery should rebuild, None for the recipe's own.
        notes: what was decided at loading and is worth knowing, one sentence each.
        noise_level: method id -> size of its scores where nothing is; drawings' scales are no narrower.
        figures: measured numbers that come with the weights, name -> value.
    """

    family: str
    size: tuple[int, int]
    context: int
    activation: str
    grid: tuple[int, int] | None = None
    patch: tuple[int, int] | None = None
    width: int | None = None
    depth: int | None = None
    embed_dim: int | None = None
    templates: tuple[str, ...] = ()
    contrast_vocabulary: tuple[str, ...] = ()
    methods: Mapping[str, str] = field(default_factory=dict)
    surgery_depth: int | None = None
    notes: tuple[str, ...] = ()
    noise_level: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """The card as lines to read."""
        return "\n".join(f"{name:<14} {value}" for name, value in self.rows())

    def rows(self) -> list[tuple[str, str]]:
        """The facts as (name, value) rows."""
        rows = [
            ("family", self.family),
            ("picture", f"{self.size[0]} × {self.size[1]} pixels"),
            ("grid", self._grid_line()),
            ("tower", self._tower_line()),
            ("joint width", str(self.embed_dim or "")),
            ("text", f"up to {self.context} tokens"),
            ("activation", {"quick_gelu": "QuickGELU", "gelu": "GELU"}.get(self.activation, self.activation)),
            ("templates", _few(self.templates)),
            ("contrast with", _few(self.contrast_vocabulary)),
            ("methods", ", ".join(name for name, reason in self.methods.items() if not reason)),
            *(("off", f"{name}: {reason}") for name, reason in self.methods.items() if reason),
            ("surgery depth", "" if self.surgery_depth is None else f"the last {self.surgery_depth} blocks"),
            *(("figure", f"{name}: {_figure(value)}") for name, value in self.figures.items()),
            *(("note", note) for note in self.notes),
        ]
        return [(name, value) for name, value in rows if value]

    def _tower_line(self) -> str:
        if not self.width:
            return ""
        return (
            f"{self.depth} blocks of width {self.width}"
            if self.depth
            else f"a feature map of width {self.width}"
        )

    def _grid_line(self) -> str:
        if self.grid is None or self.patch is None:
            return ""
        return f"{self.grid[0]} × {self.grid[1]} patches of {self.patch[0]} × {self.patch[1]} pixels"


def describe(module: nn.Module, extras: Mapping[str, Any] | None = None, context: int | None = None) -> Card:
    """The card of a model.

    Args:
        module: the model; it is looked at, never changed.
        extras: what a model folder's card.json says: `templates`, `contrast_vocabulary`, `surgery_depth`,
            `noise_level`, `figures`, `notes`; other keys are for its readers and are not used.
        context: token positions that the tokenizer fills, for models that do not say.
    """
    said = extras or {}
    towers = towers_of(module, context)
    view, tower = towers.vision, {}
    if view is not None:
        tower = {
            "grid": view.native_grid,
            "patch": view.patch,
            "width": view.width,
            "depth": len(view.blocks),
            "embed_dim": view.embed_dim,
        }
    visual: Any = getattr(module, "visual", None)
    own_notes = (f"No maps from this model: {towers.off}",) if towers.off else ()
    return Card(
        family=towers.family,
        size=pair(visual.image_size) if view is None else view.native_size,
        context=towers.text.context,
        activation=activation_of(module),
        templates=tuple(said.get("templates") or ()),
        contrast_vocabulary=tuple(said.get("contrast_vocabulary") or ()),
        surgery_depth=said.get("surgery_depth"),
        notes=(*(said.get("notes") or ()), *own_notes),
        noise_level=dict(said.get("noise_level") or {}),
        figures=dict(said.get("figures") or {}),
        **tower,
    )


def activation_of(module: nn.Module) -> str:
    """Which activation the model runs: "quick_gelu" if any part of it does, else "gelu"."""
    quick = (isinstance(part, QuickGELU) or type(part).__name__ == _HF_QUICK for part in module.modules())
    return "quick_gelu" if any(quick) else "gelu"


def _few(names: tuple[str, ...], most: int = 6) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{shown}, … ({len(names)} in all)" if len(names) > most else shown


def _figure(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
