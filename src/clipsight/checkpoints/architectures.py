"""Facts about each open_clip architecture, written by `scripts/make_model_table.py`, without building one.

The facts are those of the real sizes; which recipes run follows from them (`clipsight.features.why_not`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent.parent / "assets" / "architectures.json"


@dataclass(frozen=True)
class _Listed:
    residual: bool


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """An image tower in plain facts; says as much of itself as `TowerShape` asks for.

    Attributes:
        family: kind of tower, such as "open_clip ViT".
        size: (H, W) pixels. grid: (h, w) patches at that size.
        depth: blocks seen one by one, 0 for a tower seen as one piece. width: channels of a token.
        prefix: tokens before the patches. class_token: whether the first of them stands for the picture.
        pools: "class", "mean" or "attention".
        pool_only: the one block is a ResNet's pooling layer.
        any_size: pictures of other sizes are taken.
        context: token positions of the text tower. text: its kind, such as "open_clip, causal".
    """

    family: str
    size: tuple[int, int]
    grid: tuple[int, int]
    depth: int
    width: int
    prefix: int
    class_token: bool
    pools: str
    pool_only: bool
    any_size: bool
    context: int
    text: str

    @property
    def blocks(self) -> tuple[_Listed, ...]:
        """As many as there are."""
        return (_Listed(not self.pool_only),) * self.depth


@cache
def architectures() -> Mapping[str, Architecture]:
    """By open_clip's name; those of the version that the file was made with."""
    rows: dict[str, dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))["architectures"]
    return {
        name: Architecture(**{**row, "size": tuple(row["size"]), "grid": tuple(row["grid"])})
        for name, row in rows.items()
    }
