"""Which name fits each pixel best? Labels at the size of the picture, for any number of names.

Scores of all names at all pixels would take gigabytes (171 names at 2048 × 1024 pixels: 1.4 GB), and only the best is
wanted. So scores are made tile by tile, and each pixel keeps the best score, its class, and the logarithm of the
softmax's denominator.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import isqrt

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int32, Int64
from torch import Tensor

from clipsight.language.names import Names
from clipsight.tasks.background import Background, Number, Policy
from clipsight.tasks.head import Stitched, large_enough
from clipsight.tasks.windows import Span, Windows

TILE_NUMBERS = 1_000_000
"""Scores held at a time, in float32 numbers: 4 MB, which with their copies stay in a processor's cache."""

_LEAST_TILE = 16


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """A function that refines maps by the picture, applied to raw scores before the softmax.

    Attributes:
        function: (T, H, W) scores of some queries at the pixels of the picture -> the same shape and scale. What it
            raises is raised: the unrefined map is never passed on as refined.
        name: for messages and provenance.
        chunk: queries refined at a time, which must not change the result; None hands over all of them at once, for
            functions that compare queries, and takes their memory.
        grid: give the function means over blocks instead, about so many cells a side (see `blocks`), of all queries at
            once; what it gives back is resized bilinearly. For functions that work on such means anyway, as
            text-aware propagation does (grid 80), it is the same in little memory.

    Example:
        >>> from clipsight.refine import pamr
        >>> Refinement(function=lambda maps: pamr(maps[None], pixels)[0], name="pamr")
        >>> from clipsight.refine import propagate
        >>> small = F.avg_pool2d(pixels, blocks(size, 80))
        >>> Refinement(function=lambda maps: propagate(maps[None], small, texts)[0], name="propagation", grid=80)
    """

    function: Callable[[Tensor], Tensor]
    name: str
    chunk: int | None = 16
    grid: int | None = None

    def apply(self, maps: Float[Tensor, "T H W"]) -> Float[Tensor, "T H W"]:
        """What the function makes of the maps, checked."""
        shape = tuple(maps.shape)
        made = self.function(maps)
        if tuple(made.shape) != shape or not bool(made.isfinite().all()):
            what = "NaN or infinity" if tuple(made.shape) == shape else f"shape {tuple(made.shape)}"
            raise RuntimeError(
                f"the refinement {self.name} was given scores of shape {shape} and gave {what} back; nothing was "
                "segmented. Leave refine out, or give a function that keeps shape and scale."
            )
        return made.float()


def blocks(size: tuple[int, int], grid: int) -> tuple[int, int]:
    """(height, width) in pixels of blocks that cut a picture of `size` = (H, W) into about `grid` cells a side."""
    return max(1, round(size[0] / grid)), max(1, round(size[1] / grid))


@dataclass(frozen=True, kw_only=True, eq=False)
class Segments:
    """Labels of all pixels, and their confidence; float32 and int32 on the CPU.

    Attributes:
        labels: number of the class; where no class has the pixel, 0 if the names have a background class, else -1.
        probability: of the best class that was left in; below the threshold where that made the pixel background.
        scores: mean probability over the pixels of each class, 0 where it has none.
        areas: each class's share of the pixels.
        notes: what was removed and why, one sentence each.
    """

    labels: Int32[Tensor, "H W"]
    probability: Float[Tensor, "H W"]
    scores: Float[Tensor, " C"]
    areas: Float[Tensor, " C"]
    notes: tuple[str, ...] = ()


@torch.no_grad()
def segment_windows(
    scores: Float[Tensor, "Q n h w"],
    windows: Windows,
    names: Names,
    size: tuple[int, int],
    *,
    logit_scale: Number,
    background: Policy = None,
    area: Number = 0,
    presence: Float[Tensor, " C"] | None = None,
    refine: Refinement | None = None,
    tile: int = TILE_NUMBERS,
    progress: Callable[[int, int], None] | None = None,
) -> Segments:
    """The label map of a picture from the scores of its windows.

    Scores are stitched at the size of the picture (`Stitched`), refined if asked, then P_q = softmax over queries of
    λ S_q, a class is as likely as its likeliest query, small classes lose their pixels to the next best (`area`), and
    pixels whose best class is less likely than the threshold are background. The same as `class_probabilities` and an
    argmax, in memory that does not grow with the number of names.

    Args:
        scores: raw cosines, or a method's own scores, of each query in each window; see `window_scores`.
        windows: where they lie.
        names: their classes; background words of the policy included, see `Background.names`.
        size: (H, W) pixels of the original picture.
        logit_scale: λ.
        background: the policy; its words must be in `names` already.
        area: classes with this share or less of all foreground pixels are removed; 0 keeps all.
        presence: of each class in the whole picture; read only by the policy "presence".
        refine: applied to scores at the pixels of the picture, a chunk of queries at a time.
        tile: scores held at a time; it bounds memory and does not change the result.
        progress: called with (done, all) after each part of the work.

    Raises:
        ValueError: scores that do not belong to the names or windows, or are not finite; numbers out of range.
        RuntimeError: a refinement gave another shape, or NaN.
    """
    policy, stitched = Background.of(background), Stitched(scores, windows, size)
    _check(scores, names, policy, logit_scale, area, tile)
    race = _Race(names, size, float(logit_scale), policy.allowed(names, presence).to(scores.device))
    if refine and refine.grid:
        stitched, refine = _coarse(stitched, refine, refine.grid), None
    parts = _refined(stitched, refine) if refine else _tiles(stitched, tile)
    steps = parts.steps
    for done, (place, maps, queries) in enumerate(parts.run(), 1):
        race.enter(place, maps, queries, first=True)
        if progress:
            progress(done, steps)
    notes = list(_absent(names, race.allowed))
    if area:
        small = race.allowed & ~large_enough(race.pixels(), area, names.background).to(race.allowed.device)
        small &= race.pixels().to(small.device) > 0
        if bool(small.any()):
            _run_again(race, parts, small)
            notes.append(_small(names, small, area))
    return race.result(policy.threshold, tuple(notes))


Place = tuple[Span, Span]


@dataclass
class _Race:
    """The best class so far at each pixel, and the denominator of the softmax so far."""

    names: Names
    size: tuple[int, int]
    scale: float
    allowed: Bool[Tensor, " C"]
    best: Tensor = field(init=False)
    winner: Tensor = field(init=False)
    total: Tensor = field(init=False)
    owner: Tensor = field(init=False)

    def __post_init__(self) -> None:
        device = self.allowed.device
        self.best = torch.full(self.size, -torch.inf, device=device)
        self.winner = torch.full(self.size, -1, dtype=torch.int32, device=device)
        self.total = torch.full(self.size, -torch.inf, device=device)
        self.owner = torch.tensor(self.names.owner, dtype=torch.int32, device=device)

    def enter(self, place: Place, maps: Float[Tensor, "q r c"], queries: slice, *, first: bool) -> None:
        """Let queries compete at some pixels; at their first time they also count in the softmax."""
        rows, columns = slice(*place[0]), slice(*place[1])
        if first:
            total = self.total[rows, columns]
            total.copy_(torch.logaddexp(total, (self.scale * maps).logsumexp(0)))
        owner = self.owner[queries]
        runs = self.allowed[owner.long()]
        if not bool(runs.any()):
            return
        if not bool(runs.all()):
            maps, owner = maps[runs], owner[runs]
        top, at = maps.max(0)
        best, winner = self.best[rows, columns], self.winner[rows, columns]
        better = top > best  # equal scores go to the earlier class
        winner.copy_(torch.where(better, owner[at], winner))
        best.copy_(torch.where(better, top, best))

    def pixels(self) -> Int64[Tensor, " C"]:
        """How many pixels each class has won."""
        return torch.bincount(self.winner.flatten() + 1, minlength=len(self.names) + 1)[1:]

    def result(self, threshold: Number, notes: tuple[str, ...]) -> Segments:
        sure = (self.scale * self.best - self.total).exp().cpu()
        nothing = 0 if self.names.background else -1
        labels = torch.where(sure < threshold, nothing, self.winner.cpu())
        labels = torch.where(labels < 0, nothing, labels).int()
        flat = labels.flatten().long() + 1
        pixels = torch.bincount(flat, minlength=len(self.names) + 1)[1:]
        mass = torch.bincount(flat, sure.flatten().double(), minlength=len(self.names) + 1)[1:]
        return Segments(
            labels=labels,
            probability=sure,
            scores=(mass / pixels.clamp_min(1)).float(),
            areas=pixels.float() / labels.numel(),
            notes=notes,
        )


@dataclass(frozen=True)
class _Parts:
    """The work in parts: each gives some queries' maps at some pixels."""

    jobs: tuple[tuple[Place, slice], ...]
    make: Callable[[Place, slice], Tensor]

    @property
    def steps(self) -> int:
        return len(self.jobs)

    def run(self) -> Iterator[tuple[Place, Tensor, slice]]:
        return ((place, self.make(place, queries), queries) for place, queries in self.jobs)

    def only(self, wanted: Callable[[Place, slice], bool]) -> "_Parts":
        return _Parts(tuple(job for job in self.jobs if wanted(*job)), self.make)


def _tiles(stitched: Stitched, tile: int) -> _Parts:
    """All queries at tiles of the picture."""
    side = max(isqrt(tile // len(stitched.scores)), _LEAST_TILE)
    height, width = stitched.size
    rows = [(top, min(top + side, height)) for top in range(0, height, side)]
    columns = [(left, min(left + side, width)) for left in range(0, width, side)]
    jobs = tuple(((r, c), slice(0, len(stitched.scores))) for r in rows for c in columns)
    return _Parts(jobs, lambda place, queries: stitched.part(*place, queries))


def _refined(stitched: Stitched, refine: Refinement) -> _Parts:
    """Chunks of queries at all pixels."""
    count = len(stitched.scores)
    chunk = refine.chunk or count
    everywhere = ((0, stitched.size[0]), (0, stitched.size[1]))
    jobs = tuple((everywhere, slice(start, min(start + chunk, count))) for start in range(0, count, chunk))

    return _Parts(jobs, lambda _, queries: refine.apply(stitched.whole(queries)))


def _coarse(stitched: Stitched, refine: Refinement, grid: int) -> Stitched:
    """Refined means over blocks, laid over the picture like one window."""
    made = refine.apply(stitched.means(blocks(stitched.size, grid)))
    height, width = made.shape[-2:]
    whole = Windows(size=(height, width), rows=((0, height),), columns=((0, width),))
    return Stitched(rearrange(made, "Q h w -> Q 1 h w"), whole, stitched.size)


def _run_again(race: _Race, parts: _Parts, small: Bool[Tensor, " C"]) -> None:
    """Without the small classes, where they had won; everybody else keeps their pixels."""
    lost = small[race.winner.clamp_min(0).long()] & (race.winner >= 0)
    race.allowed = race.allowed & ~small
    race.best[lost], race.winner[lost] = -torch.inf, -1
    runs = race.allowed[race.owner.long()]

    def wanted(place: Place, queries: slice) -> bool:
        return bool(lost[slice(*place[0]), slice(*place[1])].any()) and bool(runs[queries].any())

    for place, maps, queries in parts.only(wanted).run():
        race.enter(place, maps, queries, first=False)


def _check(
    scores: Tensor, names: Names, policy: Background, logit_scale: Number, area: Number, tile: int
) -> None:
    if len(scores) != len(names.queries):
        raise ValueError(
            f"scores of {len(scores)} queries were given for names with {len(names.queries)}; encode names.queries, "
            "in their order, with the background words if the policy has any: Background.of(...).names(names)."
        )
    if policy.words and (not names.background or names.words[0] != policy.words):
        raise ValueError(
            "the background words are not the first class of the names; score Background.of(...).names(names).queries."
        )
    if not logit_scale > 0 or not 0 <= area < 1 or tile < 1:
        raise ValueError(
            f"logit_scale={logit_scale}, area={area}, tile={tile}: the scale must be above 0 (published 40 to 100), "
            "area in [0, 1) and tile at least 1."
        )


def _absent(names: Names, allowed: Bool[Tensor, " C"]) -> Iterator[str]:
    absent = [name for name, kept in zip(names.classes, allowed.tolist(), strict=True) if not kept]
    if absent:
        yield f"Not seen in the picture as a whole, and given no pixel: {_listed(absent)}."


def _small(names: Names, small: Bool[Tensor, " C"], area: Number) -> str:
    taken = [name for name, out in zip(names.classes, small.tolist(), strict=True) if out]
    return f"At most {area:.3g} of the foreground, and taken out by the area rule: {_listed(taken)}."


def _listed(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
