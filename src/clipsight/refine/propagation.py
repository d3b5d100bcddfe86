"""Text-aware Laplacian propagation: scores spread between neighbouring cells with similar colours and texts.

One linear system for each picture, solved for all texts together. Source: TLP of PEARL (arXiv 2603.21528),
PGSmall/PEARL at c26062b.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from einops import einsum, reduce
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Coupling = Literal["diag", "full"]

_TEMPERATURE = 0.5
_IDENTITY = 10.0
_LEAST_CONFIDENCE = 0.05
_EDGE = 5.0
_LUMA = (0.299, 0.587, 0.114)


def text_coupling(texts: Float[Tensor, "T E"]) -> Float[Tensor, "T T"]:
    """How similar each text is to each other text; rows sum to 1, and the text itself has the largest weight.

    softmax over the rows of t·t' / 0.5, plus 10 on the diagonal, rows divided by their sums.

    Args:
        texts: features of any length; they are taken at unit length.
    """
    unit = F.normalize(texts.float(), dim=-1)
    coupling = (unit @ unit.T / _TEMPERATURE).softmax(-1) + _IDENTITY * torch.eye(len(unit)).to(unit)
    return coupling / coupling.sum(-1, keepdim=True)


def propagate(
    maps: Float[Tensor, "B T H W"],
    image: Float[Tensor, "B 3 H W"],
    texts: Float[Tensor, "T E"],
    *,
    grid: int = 80,
    steps: int = 25,
    coupling: Coupling = "diag",
) -> Float[Tensor, "B T H W"]:
    """Scores smoothed where the picture is smooth, and kept where one text clearly wins.

    Maps Z and picture are averaged to about `grid` cells a side. With P = softmax over texts of Z and the coupling S,

        agree(x)    = clamp(P(x)ᵀ S P(x), 0, 1),
        C(x)        = max(max P(x), 0.05)² (1 + agree(x)),
        w(x, x')    = clamp(exp(-5 |Δgray| / mean |Δgray|) (1 + clamp(P(x)ᵀ S P(x'), 0, 1)), 0, 1) for the 4-neighbours,

    and F solves (diag(C) + Laplacian(w)) F = C Z by conjugate gradients from F = Z, whose step lengths are each
    picture's own and shared by its texts. F is resized bilinearly.

    Args:
        maps: cosines, not multiplied by a logit scale, at the size of the picture.
        image: normalised pixels of the same pictures.
        texts: features of the texts of the maps, of any length.
        grid: cells a side: blocks of round(H / grid) by round(W / grid) pixels, at least one.
        steps: conjugate-gradient steps; 0 only averages over the blocks and resizes.
        coupling: "diag" uses only the diagonal of S, as the released program does; "full" is the formula above.

    Returns:
        Scores in float32 on the scale of `maps`.

    Raises:
        ValueError: sizes or numbers that do not belong together, or an unknown coupling.
    """
    _check(maps, image, texts, grid, steps, coupling)
    size = (maps.shape[-2], maps.shape[-1])
    block = [max(1, round(side / grid)) for side in size]
    scores = F.avg_pool2d(maps.float(), block)
    colours = F.avg_pool2d(image.float(), block)
    system = _system(scores, colours, text_coupling(texts), coupling)
    solved = _conjugate_gradients(system, scores, steps)
    return F.interpolate(solved, size=size, mode="bilinear", align_corners=False)


def _check(maps: Tensor, image: Tensor, texts: Tensor, grid: int, steps: int, coupling: str) -> None:
    if coupling not in get_args(Coupling):
        raise ValueError(f"coupling={coupling!r} is not known; take one of {', '.join(get_args(Coupling))}.")
    if len(maps) != len(image) or maps.shape[1] != len(texts):
        raise ValueError(
            f"propagate needs a picture for each row of maps and a text for each map; got maps {tuple(maps.shape)}, "
            f"{len(image)} pictures and {len(texts)} texts. Pass the features of the very texts that were scored."
        )
    if grid < 1 or steps < 0:
        raise ValueError(
            f"propagate needs grid >= 1 and steps >= 0; got grid={grid}, steps={steps}. Published: 80 and 25."
        )


@dataclass(frozen=True)
class _System:
    """diag(confidence) + Laplacian of the edges; `down` and `right` lead to the next row and column."""

    confidence: Float[Tensor, "B 1 h w"]
    down: Float[Tensor, "B 1 h2 w"]
    right: Float[Tensor, "B 1 h w2"]

    def __call__(self, x: Float[Tensor, "B T h w"]) -> Float[Tensor, "B T h w"]:
        """The operator, applied to every map."""
        down, right = self.down * x.diff(dim=-2), self.right * x.diff(dim=-1)
        return (
            self.confidence * x
            + F.pad(down, (0, 0, 1, 0))
            - F.pad(down, (0, 0, 0, 1))
            + F.pad(right, (1, 0))
            - F.pad(right, (0, 1))
        )


def _system(
    scores: Float[Tensor, "B T h w"],
    colours: Float[Tensor, "B 3 h w"],
    matrix: Float[Tensor, "T T"],
    coupling: Coupling,
) -> _System:
    likely = scores.softmax(1)
    coupled = (
        einsum(matrix.diagonal(), likely, "T, B T h w -> B T h w")
        if coupling == "diag"
        else einsum(matrix, likely, "T other, B other h w -> B T h w")
    )
    agree = (likely * coupled).sum(1, keepdim=True).clamp(0, 1)
    sure = likely.amax(1, keepdim=True).clamp_min(_LEAST_CONFIDENCE)
    gray = einsum(colours, torch.tensor(_LUMA).to(colours), "B C h w, C -> B h w")[:, None]
    edges = []
    for axis in (-2, -1):
        size = likely.shape[axis] - 1
        near, far = likely.narrow(axis, 0, size), coupled.narrow(axis, 1, size)
        contrast = gray.diff(dim=axis).abs()
        mean = contrast.mean((1, 2, 3), keepdim=True) if size else contrast.new_zeros(())
        alike = (-_EDGE * contrast / (mean + 1e-6)).exp()
        edges.append((alike * (1 + (near * far).sum(1, keepdim=True).clamp(0, 1))).clamp(0, 1))
    return _System(sure.square() * (1 + agree), edges[0], edges[1])


def _conjugate_gradients(
    system: _System, scores: Float[Tensor, "B T h w"], steps: int
) -> Float[Tensor, "B T h w"]:
    """F of system F = confidence Z from F = Z; coefficients are per picture over all its texts."""
    x = scores
    residual = system.confidence * scores - system(x)
    direction, energy = residual, _energy(residual, residual)
    for _ in range(steps):
        image = system(direction)
        step = energy / _energy(direction, image).clamp_min(_TINY)
        x = x + step * direction
        residual = residual - step * image
        previous, energy = energy, _energy(residual, residual)
        direction = residual + energy / previous.clamp_min(_TINY) * direction
    return x


_TINY = torch.finfo(torch.float32).tiny
"""Keeps a solved system from dividing 0 by 0."""


def _energy(a: Float[Tensor, "B T h w"], b: Float[Tensor, "B T h w"]) -> Float[Tensor, "B 1 1 1"]:
    return reduce(a * b, "B T h w -> B 1 1 1", "sum")
