"""Is this thing damaged, and where? AnoCLIP: two sets of prompts, value-value patches, views, adaptation.

Source: arXiv 2308.15939, hq-deng/AnoVL at 3a70bfd. Patch features come from the recipe `anoclip`, prompts from
`clipsight.language.states`. What the paper calls position-enhanced features is not in its program; the nearest thing
there, the 3 × 3 mean, is what is done here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from clipsight.features import ImageFeatures
from clipsight.language.states import Poles
from clipsight.refine import smooth_box
from clipsight.scoring import normalize
from clipsight.tasks.adapt import PatchAdapter
from clipsight.tasks.views import AS_IT_IS, AnomalyView

Temperature = float | int | None
"""What cosines are divided by before the softmax; None is 1, the paper's, with which only ranks can be read."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AnomalyScores:
    """What was found in one picture, float32 on the device of the features.

    Attributes:
        map: share of the abnormal pole at every pixel the model saw, (H, W), in (0, 1).
        score: mean of `view_scores`, the picture's own share.
        view_scores: one for each view, the mean over its tiles.
        losses: of the adaptation, before each step; empty without it.
        rank_only: True without a temperature. Shares are then always near 0.5: they order pixels and pictures, but
            they are not probabilities and give no threshold.
    """

    map: Float[Tensor, "H W"]
    score: float
    view_scores: Float[Tensor, " V"]
    losses: tuple[float, ...]
    rank_only: bool


def abnormal_share(
    features: Float[Tensor, "*rows E"], pair: Float[Tensor, "2 E"], temperature: Temperature = None
) -> Float[Tensor, "*rows"]:
    """The abnormal share of the softmax over {normal, abnormal} of the cosines; 0.5 is undecided.

    Exchanging the two rows of `pair` gives 1 minus it.

    Args:
        features: patches or pooled features of any length.
        pair: text features, row 0 normal, row 1 abnormal.
        temperature: see `Temperature`; 0.01 is CLIP's own scale of 100.

    Raises:
        ValueError: a temperature that is not above 0.
    """
    if temperature is not None and not temperature > 0:
        raise ValueError(
            f"temperature={temperature} must be above 0; cosines are divided by it. Leave it out for the paper's "
            "score, or give 1 / lens.logit_scale."
        )
    normal, abnormal = (normalize(features) @ normalize(pair).T).unbind(-1)
    return torch.sigmoid((abnormal - normal) / (1.0 if temperature is None else temperature))


def anomaly_map(shares: Float[Tensor, "B h w"], size: tuple[int, int]) -> Float[Tensor, "B H W"]:
    """Shares of patches at `size` = (H, W) pixels: 3 × 3 mean, then bilinear with aligned corners, as released."""
    smooth = smooth_box(shares[:, None])
    return F.interpolate(smooth, size, mode="bilinear", align_corners=True)[:, 0]


def find_anomalies(
    x: Float[Tensor, "1 3 H W"],
    features_of: Callable[[Tensor], ImageFeatures],
    pooled_of: Callable[[Tensor], Tensor],
    poles: Poles,
    *,
    views: Sequence[AnomalyView] = (AS_IT_IS,),
    temperature: Temperature = None,
    adapter: PatchAdapter | None = None,
    tiles: bool = False,
    batch: int = 8,
    known: ImageFeatures | None = None,
) -> AnomalyScores:
    """The map and the score of one picture.

    Args:
        x: normalised pixels; with `tiles` at the model's own short side.
        features_of: pixels (B, 3, H, W) -> patch and pooled features by the recipe `anoclip`.
        pooled_of: pixels -> pooled features (B, E), for the other views; the tower's own `encode_image`.
        poles: of `encode_poles`.
        views: ways of seeing for the score (the map is of the picture as it is); see `choose_views`.
        temperature: see `Temperature`.
        adapter: adapts the patches before the map is made; None or 0 steps for none.
        tiles: cut the picture into overlapping squares along its long side and take means where they overlap, as
            released for VisA (there always two; here as many as cover the picture, two at least). The adapter sees all
            tiles together; the released one sees the joined map.
        batch: most pictures in one pass; the memory knob.
        known: what `features_of(x)` gives, if it was made before; without tiles it is taken instead.

    Returns:
        `AnomalyScores`; without views, adapter and tiles what the paper calls training-free, seen once.

    Raises:
        ValueError: no view, a batch below 1, or a temperature that is not above 0.
    """
    if not views or batch < 1:
        raise ValueError(
            f"{len(views)} views, batch={batch}: at least one picture must be seen; views=(AS_IT_IS,) and batch=8 are "
            "the defaults."
        )
    starts = tile_starts(x.shape[2], x.shape[3]) if tiles else ((0, 0),)
    side = min(x.shape[2:])
    parts = [x[:, :, top : top + side, left : left + side] for top, left in starts] if tiles else [x]
    squares = torch.cat(parts)
    seen = [known] if known is not None and not tiles else [features_of(few) for few in squares.split(batch)]
    patches = torch.cat([one.patches for one in seen]).float()
    losses: tuple[float, ...] = ()
    if adapter is not None and adapter.setting.steps:
        adapted, (losses,) = adapter(rearrange(patches, "P h w E -> 1 (P h) w E"))
        patches = rearrange(adapted, "1 (P h) w E -> P h w E", P=len(squares))
    shares = abnormal_share(patches, poles.pair, temperature)
    maps = anomaly_map(shares, (squares.shape[2], squares.shape[3]))
    pooled = _pooled(squares, torch.cat([one.pooled for one in seen]), pooled_of, views, batch)
    view_scores = abnormal_share(pooled, poles.pair, temperature).mean(1)
    return AnomalyScores(
        map=join_tiles(maps, starts, (x.shape[2], x.shape[3])),
        score=float(view_scores.mean()),
        view_scores=view_scores,
        losses=losses,
        rank_only=temperature is None,
    )


def tile_starts(height: int, width: int) -> tuple[tuple[int, int], ...]:
    """(top, left) of the squares that cover a picture along its long side, evenly spread; at least two."""
    side, long = min(height, width), max(height, width)
    count = max(2, -(-long // side))
    places = [round(index * (long - side) / (count - 1)) for index in range(count)]
    return tuple((0, place) if width >= height else (place, 0) for place in places)


def join_tiles(
    maps: Float[Tensor, "P side across"], starts: Sequence[tuple[int, int]], size: tuple[int, int]
) -> Float[Tensor, "H W"]:
    """Maps of tiles at their positions in a picture of `size` = (H, W); the mean where tiles overlap."""
    total = torch.zeros(size, device=maps.device)
    count = torch.zeros_like(total)
    for one, (top, left) in zip(maps, starts, strict=True):
        place = slice(top, top + one.shape[0]), slice(left, left + one.shape[1])
        total[place] += one
        count[place] += 1
    assert bool((count > 0).all())
    return total / count


def _pooled(
    x: Float[Tensor, "P 3 H W"],
    plain: Float[Tensor, "P E"],
    pooled_of: Callable[[Tensor], Tensor],
    views: Sequence[AnomalyView],
    batch: int,
) -> Float[Tensor, "V P E"]:
    """Pooled features of every view; views of one size go through the tower together."""
    found = [plain.float()] * len(views)
    sizes: dict[bool, list[int]] = {}
    for index, view in enumerate(views):
        if view != AS_IT_IS:
            sizes.setdefault(bool(view.turns % 2), []).append(index)
    for indices in sizes.values():
        shown = torch.cat([views[index](x) for index in indices])
        features = torch.cat([pooled_of(few) for few in shown.split(batch)]).float()
        for index, rows in zip(indices, features.split(len(x)), strict=True):
            found[index] = rows
    return torch.stack(found)
