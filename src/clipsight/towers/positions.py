"""Position tables for other grids: four published rules, cached per grid; the parameter is never changed.

The rules are not interchangeable: on unit-variance tables they differ by 0.2 to 1.0 (max abs), so a recipe names
the one its authors used.

| rule | used by | definition |
|---|---|---|
| `bicubic_antialias` | open_clip on loading at another size; GEM | bicubic to the exact size, antialias |
| `bicubic` | MaskCLIP | bicubic to the exact size, no antialias |
| `bilinear` | CLIP Surgery, CLIPer | bilinear to the exact size |
| `dino_bicubic` | SCLIP, ClearCLIP, NACLIP, ResCLIP, SC-CLIP … | bicubic, scale factor (G + 0.1) / G0 per axis |
"""

import threading
from collections import OrderedDict
from typing import assert_never, get_args

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from clipsight.towers.view import PositionRule

POSITION_RULES: tuple[PositionRule, ...] = get_args(PositionRule)

_TABLES_KEPT = 16


def interpolate_positions(
    table: Float[Tensor, "S0 D"], native_grid: tuple[int, int], grid: tuple[int, int], rule: PositionRule
) -> Float[Tensor, "S D"]:
    """Position table of `native_grid` stretched to `grid`; the rows before the patches are kept as they are.

    Args:
        table: P prefix rows (class token; P may be 0), then h0·w0 patch rows in row-major order.
        native_grid: (h0, w0) in patches.
        grid: (h, w) in patches, any aspect.
        rule: one of `POSITION_RULES`; at the native grid every rule gives the table itself.

    Returns:
        (P + h·w, D) in the table's dtype; computed in float32 and differentiable with respect to the table.

    Raises:
        ValueError: unknown rule, an empty grid, or a table with fewer rows than the native grid.
    """
    if rule not in POSITION_RULES:
        raise ValueError(f"position rule {rule!r} is not known; the rules are {', '.join(POSITION_RULES)}.")
    if min(grid) < 1:
        raise ValueError(
            f"a grid of {grid[0]} × {grid[1]} patches was asked for; both sides must be at least 1."
        )
    prefix = table.shape[0] - native_grid[0] * native_grid[1]
    if prefix < 0:
        raise ValueError(
            f"a table for the grid {native_grid} needs {native_grid[0] * native_grid[1]} rows, got {table.shape[0]}; "
            "the usual cause is a native grid taken from another model."
        )
    if grid == native_grid:
        return table
    image = rearrange(table[prefix:].float(), "(h w) D -> 1 D h w", h=native_grid[0])
    stretched = rearrange(_resize(image, grid, rule), "1 D h w -> (h w) D")
    return torch.cat([table[:prefix], stretched.to(table.dtype)])


def _resize(
    image: Float[Tensor, "1 D h0 w0"], grid: tuple[int, int], rule: PositionRule
) -> Float[Tensor, "1 D h w"]:
    match rule:
        case "bicubic_antialias":
            return F.interpolate(image, size=grid, mode="bicubic", antialias=True, align_corners=False)
        case "bicubic":
            return F.interpolate(image, size=grid, mode="bicubic", align_corners=False)
        case "bilinear":
            return F.interpolate(image, size=grid, mode="bilinear", align_corners=False)
        case "dino_bicubic":
            # The 0.1 guards the authors' floor(G0 * factor) against rounding; it also shifts the samples, so it stays.
            factors = ((grid[0] + 0.1) / image.shape[-2], (grid[1] + 0.1) / image.shape[-1])
            return F.interpolate(image, scale_factor=factors, mode="bicubic", align_corners=False)
        case _:
            assert_never(rule)


class PositionCache:
    """Stretched tables of one position parameter, kept per grid, rule, device and dtype; safe in threads.

    A table is recomputed when the parameter's values have changed in any way, and is never
    cached while the parameter takes part in a gradient.
    """

    def __init__(self, native_grid: tuple[int, int]) -> None:
        self._native_grid = native_grid
        self._lock = threading.Lock()
        self._tables: OrderedDict[tuple[object, ...], tuple[Tensor, Tensor]] = OrderedDict()

    def get(
        self, table: Float[Tensor, "S0 D"], grid: tuple[int, int], rule: PositionRule, dtype: torch.dtype
    ) -> Float[Tensor, "S D"]:
        """`interpolate_positions(table, …)` in `dtype`, cached."""
        in_graph = torch.is_grad_enabled() and table.requires_grad
        if grid == self._native_grid or in_graph or table.is_inference():
            return interpolate_positions(table, self._native_grid, grid, rule).to(dtype)
        key = (grid, rule, dtype, table.device, table.dtype)
        with self._lock:
            kept = self._tables.get(key)
        # Outside inference mode, so that a table made there serves later calls that do need gradients.
        with torch.inference_mode(False), torch.no_grad():
            if kept is not None and torch.equal(kept[0], table):
                return kept[1]
            made = interpolate_positions(table, self._native_grid, grid, rule).to(dtype)
            source = table.detach().clone()
        with self._lock:
            self._tables[key] = source, made
            self._tables.move_to_end(key)
            while len(self._tables) > _TABLES_KEPT:
                self._tables.popitem(last=False)
        return made
