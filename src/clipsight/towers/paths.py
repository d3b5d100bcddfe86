"""Paths that act on each row, affine once their data-dependent factors are fixed: projections, norms, gates.

A layer norm divides by the deviation of its row, an activation multiplies by a gate that depends on it. With deviation
and gate held at what they are for one row x, the path is z ↦ A z + b, and A x + b is its value at x: an identity, no
approximation. `Path.at(x)` holds them; `Path.pull` carries directions of the output back to the input.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clipsight.errors import Unsupported

_GATES = ("GELU", "GELUTanh", "QuickGELU", "QuickGELUActivation", "SiLU", "ReLU", "PytorchGELUTanh")
_NOTHING = (nn.Identity, nn.Dropout, nn.Flatten)


@dataclass(frozen=True, eq=False)
class _Matrix:
    weight: Float[Tensor, "out in"]
    bias: Float[Tensor, " out"] | None


@dataclass(frozen=True, eq=False)
class _Diagonal:
    factor: Float[Tensor, " D"]
    bias: Float[Tensor, " D"] | None = None


@dataclass(frozen=True)
class _Normed:
    eps: float
    centred: bool


@dataclass(frozen=True, eq=False)
class _Gated:
    activation: nn.Module


_Step = _Matrix | _Diagonal | _Normed | _Gated


class Path:
    """A sequence of layers that each act on every row separately.

    Args:
        parts: linear layers, layer norms and RMS norms, layer scales, activations, sequences of them; a matrix
            (in, out) that rows are multiplied by from the right; a vector that scales channels; None is left out.

    Raises:
        Unsupported: a layer of another kind.
    """

    def __init__(self, *parts: nn.Module | Tensor | None) -> None:
        self._steps = tuple(step for part in parts if part is not None for step in _steps(part))

    @property
    def gated(self) -> bool:
        """True when it holds an activation, so that directions are carried back differently for every row."""
        return any(isinstance(step, _Gated) for step in self._steps)

    @property
    def measures(self) -> bool:
        """True when something of it depends on the row: a norm or a gate."""
        return any(isinstance(step, _Normed | _Gated) for step in self._steps)

    def pull(self, directions: Float[Tensor, "*many D_out"]) -> Float[Tensor, "*many D_in"]:
        """Directions of the output as directions of the input, up to the factor `Held.scale` of each row.

        Raises:
            AssertionError: the path is gated; hold a row and use its `linear`.
        """
        assert not self.gated
        for step in reversed(self._steps):
            match step:
                case _Matrix(weight=weight):
                    directions = directions @ weight.to(directions.dtype)
                case _Diagonal(factor=factor):
                    directions = directions * factor.to(directions.dtype)
                case _Normed(centred=True):
                    directions = directions - directions.mean(-1, keepdim=True)
        return directions

    def at(self, rows: Float[Tensor, "*rows D_in"]) -> "Held":
        """The path with what it measures held at these rows, computed at least in float32."""
        x = rows.float() if rows.dtype.itemsize < 4 else rows
        held: list[Tensor | None] = []
        for step in self._steps:
            measured = None
            if isinstance(step, _Normed):
                measured = _inverse_deviation(x, step)[..., None]
            elif isinstance(step, _Gated):
                activated = step.activation(x)
                measured = torch.where(x == 0, torch.zeros_like(x), activated / torch.where(x == 0, 1, x))
            held.append(measured)
            x = _applied(step, x, measured, with_bias=True)
        return Held(self._steps, held, x, rows.shape)


class Held:
    """A path that is affine at given rows: `value` = `linear`(rows) + `constant`.

    Attributes:
        value: the path at its rows.
    """

    def __init__(
        self, steps: tuple[_Step, ...], held: list[Tensor | None], value: Tensor, shape: torch.Size
    ) -> None:
        self._steps, self._held, self._shape = steps, held, shape
        self.value: Float[Tensor, "*rows D_out"] = value

    @property
    def constant(self) -> Float[Tensor, "*rows D_out"]:
        """b: what comes out of a zero row."""
        zero = self.value.new_zeros(self._shape)
        for step, measured in zip(self._steps, self._held, strict=True):
            zero = _applied(step, zero, measured, with_bias=True)
        return zero

    @property
    def scale(self) -> Float[Tensor, "*rows"]:
        """Product of the norms' factors 1 / σ, for directions that `Path.pull` carried back."""
        made = self.value.new_ones(self._shape[:-1])
        for step, measured in zip(self._steps, self._held, strict=True):
            if isinstance(step, _Normed) and measured is not None:
                made = made * measured[..., 0]
        return made

    def linear(self, z: Float[Tensor, "*rows_and_S D_in"]) -> Float[Tensor, "*rows_and_S D_out"]:
        """A z, of vectors that belong to the rows: z has the rows' axes first, and one more or none before channels."""
        wider = z.ndim > len(self._shape)
        z = z.to(self.value.dtype)
        for step, measured in zip(self._steps, self._held, strict=True):
            at = measured[..., None, :] if measured is not None and wider else measured
            z = _applied(step, z, at, with_bias=False)
        return z


def _inverse_deviation(x: Float[Tensor, "*rows D"], norm: _Normed) -> Float[Tensor, "*rows"]:
    square = x.var(-1, unbiased=False) if norm.centred else x.square().mean(-1)
    return (square + norm.eps).rsqrt()


def _applied(step: _Step, x: Tensor, measured: Tensor | None, *, with_bias: bool) -> Tensor:
    scale = 1.0 if measured is None else measured
    match step:
        case _Matrix(weight=weight, bias=bias):
            x = x @ weight.to(x.dtype).mT
        case _Diagonal(factor=factor, bias=bias):
            x = x * factor.to(x.dtype)
        case _Normed(centred=centred):
            bias = None
            x = (x - x.mean(-1, keepdim=True) if centred else x) * scale
        case _Gated():
            bias = None
            x = x * scale
    return x if bias is None or not with_bias else x + bias.to(x.dtype)


def _steps(part: nn.Module | Tensor) -> list[_Step]:
    """The steps of one part."""
    if isinstance(part, Tensor):
        return [_Matrix(part.mT, None) if part.ndim == 2 else _Diagonal(part)]
    layer: Any = part
    kind = type(part).__name__
    if isinstance(part, _NOTHING):
        return []
    if isinstance(part, nn.Sequential):
        return [step for one in part for step in _steps(one)]
    if isinstance(part, nn.Linear):
        return [_Matrix(layer.weight, layer.bias)]
    if isinstance(part, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.groups == 1:
        return [_Matrix(layer.weight[:, :, 0, 0], layer.bias)]
    centred = isinstance(part, nn.LayerNorm)
    if centred or kind in ("RMSNorm", "RmsNorm", "RmsNorm2d"):
        eps = layer.eps if layer.eps is not None else torch.finfo(torch.float32).eps
        made: list[_Step] = [_Normed(eps, centred)]
        if layer.weight is not None:
            made.append(_Diagonal(layer.weight, getattr(layer, "bias", None)))
        return made
    if kind == "LayerScale":
        return [_Diagonal(layer.gamma)]
    if kind == "Mlp" and hasattr(part, "fc1"):
        return [step for name in ("fc1", "act", "norm", "fc2") for step in _steps(getattr(part, name))]
    if kind in _GATES:
        return [_Gated(part)]
    raise Unsupported(
        f"the exact map needs what follows the attention or the pool to be affine, and here is a {kind}. "
        'The maps of recipes, such as method="naclip", do not.'
    )
