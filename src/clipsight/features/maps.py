"""Maps between tokens, used in recipes: similarity, attention of other blocks, balanced attention, nearness."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from clipsight.features.context import BlockStep, Context, Record, TokenStream
from clipsight.features.rules import broken
from clipsight.scoring import normalize


@dataclass(frozen=True)
class Similarity:
    """Cosine of every patch with every patch.

    Attributes:
        source: whose patches.
        floor: entries below it become 0; None keeps all.
    """

    source: TokenStream
    floor: float | None = None

    @property
    def over(self) -> str:
        """Patches by patches."""
        return "patches"

    def build(self, run: Context) -> Float[Tensor, "B 1 N N"]:
        """The map, symmetric."""
        patches = normalize(run.tokens(self.source)[:, run.prefix :])
        cosines = (patches @ patches.mT)[:, None]
        return cosines if self.floor is None else cosines * (cosines >= self.floor)


@dataclass(frozen=True)
class Focus:
    """softmax(gain · (M - mean M)) of a map M of patches, entries below the mean of the whole map shut out."""

    of: Similarity
    gain: float = 3.0

    @property
    def over(self) -> str:
        """Patches by patches."""
        return "patches"

    def build(self, run: Context) -> Float[Tensor, "B 1 N N"]:
        """Rows that sum to 1; on a constant map every row is even."""
        cosines = run.map(self.of)
        scores = self.gain * (cosines - cosines.mean((-2, -1), keepdim=True))
        # A patch is always as like itself as can be; rounding alone can put it below the mean of a constant map.
        barred = (scores < 0) & ~torch.eye(scores.shape[-1], dtype=torch.bool, device=scores.device)
        return scores.masked_fill(barred, -torch.inf).softmax(-1)


@dataclass(frozen=True)
class Attention(Record):
    """Mean over blocks of softmax(scale · left rightᵀ), all tokens; head by head, or the heads' mean."""

    left: Literal["q", "k", "v"] = "q"
    right: Literal["q", "k", "v"] = "k"
    head_mean: bool = False

    @property
    def over(self) -> str:
        """All tokens by all tokens."""
        return "tokens"

    def read(self, step: BlockStep) -> Float[Tensor, "B K S S"]:
        """One block's map."""
        weights = step.weights(self.left, self.right)
        return weights.mean(1, keepdim=True) if self.head_mean else weights

    def build(self, run: Context) -> Float[Tensor, "B K S S"]:
        """The mean."""
        return run.recorded(self) / len(self.span.indices(run.depth))


@dataclass(frozen=True)
class Correlation(Record):
    """Mean over heads, and over queries, keys and values, of the cosines between tokens in each; mean over the span."""

    @property
    def over(self) -> str:
        """All tokens by all tokens."""
        return "tokens"

    def read(self, step: BlockStep) -> Float[Tensor, "B 1 S S"]:
        """One block's correlation."""
        units = [normalize(part) for part in step.parts.values()]
        return torch.stack([(unit @ unit.mT).mean(1, keepdim=True) for unit in units]).mean(0)

    def build(self, run: Context) -> Float[Tensor, "B 1 S S"]:
        """The map, with ones on the diagonal."""
        return run.recorded(self) / len(self.span.indices(run.depth))


@dataclass(frozen=True)
class Balanced:
    """Attention with equal row and column sums, minus what every row gives to a column.

    From the attention summed over blocks: `rounds` times each column divided by its sum, then each row by its own;
    the mean with the transpose; the mean of each column subtracted; negative values set to 0; rows divided by their
    sums. CLIPer's map.

    Attributes:
        attention: over which blocks, and which map.
        rounds: None takes the number of the block that is read out.
    """

    attention: Attention
    rounds: int | None = None

    def __post_init__(self) -> None:
        if self.rounds is not None and self.rounds < 1:
            cause = "the map is balanced at least once"
            raise broken("balanced-rounds", f"rounds={self.rounds}", cause, "rounds=None for one a block")

    @property
    def over(self) -> str:
        """All tokens by all tokens."""
        return "tokens"

    def build(self, run: Context) -> Float[Tensor, "B K S S"]:
        """The map; rows sum to 1."""
        wanted = run.level if self.rounds is None else self.rounds
        done, weights = run.scratch.pop(self.attention, (0, None))
        if weights is None or done > wanted:
            done, weights = 0, run.recorded(self.attention)
        for _ in range(wanted - done):
            weights = weights / _above_zero(weights.sum(-2, keepdim=True))
            weights = weights / _above_zero(weights.sum(-1, keepdim=True))
        if run.level < run.depth:
            run.scratch[self.attention] = wanted, weights
        weights = (weights + weights.mT) / 2
        weights = (weights - weights.mean(-2, keepdim=True)).clamp_min(0)
        return weights / _above_zero(weights.sum(-1, keepdim=True))


def _above_zero(sums: Tensor) -> Tensor:
    return sums.clamp_min(torch.finfo(sums.dtype).tiny)


@dataclass(frozen=True)
class Given:
    """A map that the caller supplies by name: weights from another model, regions, feedback.

    Attributes:
        name: key of `run(..., given={name: map})`.
        over: "patches" for (B, 1, N, N), "tokens" for (B, K or 1, S, S).
    """

    name: str
    over: Literal["patches", "tokens"] = "patches"

    def build(self, run: Context) -> Float[Tensor, "B _ R C"]:
        """The map as supplied."""
        return run.given(self.name).to(run.entered.device).float()


@dataclass(frozen=True)
class Nearness:
    """exp(-‖p_i - p_j‖² / 2σ²) between the positions of patches on their grid, to be added to scores.

    Attributes:
        sigma: σ in patches.
    """

    sigma: float = 5.0

    @property
    def over(self) -> str:
        """Patches by patches."""
        return "patches"

    def build(self, run: Context) -> Float[Tensor, "1 1 N N"]:
        """Values in (0, 1], 1 on the diagonal."""
        return _nearness(run.grid, self.sigma)


@lru_cache(maxsize=4)
def _nearness(grid: tuple[int, int], sigma: float) -> Float[Tensor, "1 1 N N"]:
    with torch.inference_mode(False):
        rows, columns = (
            torch.exp(-((torch.arange(n)[:, None] - torch.arange(n)).float() ** 2) / (2 * sigma**2))
            for n in grid
        )
        return rearrange(torch.einsum("i k, j l -> i j k l", rows, columns), "i j k l -> 1 1 (i j) (k l)")


@dataclass(frozen=True)
class Smooth:
    """Patches replaced by their weighted sum under a map of patches.

    Attributes:
        by: the map.
        normalize: divide each row by its sum plus 1e-6; else the sum grows with the number of like patches.
    """

    by: Similarity | Given
    normalize: bool = True

    def apply(self, patches: Float[Tensor, "B N D"], run: Context) -> Float[Tensor, "B N D"]:
        """The smoothed patches."""
        weights = run.map(self.by)[:, 0]
        if self.normalize:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-6)
            return weights.to(patches.dtype) @ patches
        # Sums of many like patches leave the range of halves; the norm that follows does not see one factor for all.
        summed = weights @ patches.float()
        most = torch.finfo(patches.dtype).max / 4
        factor = (most / summed.detach().abs().amax((-2, -1), keepdim=True).clamp_min(1)).clamp_max(1)
        return (factor * summed).to(patches.dtype)
