"""Do the scores of words reflect what the model does? Remove words and measure the change in the match.

Every measure plays a `Game`: the match of a caption of which only some words are there. What "not there" means, the
removal operator, is part of the game and of every result: measures of different operators are not comparable, and an
attribution that removes words itself is judged well by its own operator.

Sources: deletion and insertion arXiv 1806.07421; comprehensiveness and sufficiency arXiv 1911.03429 (ERASER); least
against most relevant first arXiv 1509.06321.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil, nan
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from clipsight.attribution.marks import marks_of
from clipsight.attribution.match import Match, exact
from clipsight.attribution.question import Question, checked_spans, opened
from clipsight.attribution.registry import why_not
from clipsight.attribution.variants import Operator, Removal, encode_variants
from clipsight.errors import Unsupported
from clipsight.towers.view import TextView

BINS = (0.01, 0.05, 0.1, 0.2, 0.5)
"""Shares of the words that ERASER takes away; at least one word."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Game:
    """The match of a caption with some of its words.

    Attributes:
        value: f of N variants, each a row that is True where a word is there.
        words: how many there are.
        removal: what is done to a word that is not there.
        measure: what f is.
    """

    value: Callable[[Bool[Tensor, "N W"]], Float[Tensor, " N"]]
    words: int
    removal: str
    measure: str


@dataclass(frozen=True, kw_only=True)
class Faithfulness:
    """How well scores of words predict the change of the match when words are removed.

    Areas lie under curves over the share of words, 0 to 1.

    Attributes:
        removal, measure: of the game, with which alone the numbers compare.
        words: how many.
        deletion: area while words go, highest score first; low is good.
        insertion: area while words come, highest score first; high is good.
        reversed_deletion: area while words go, lowest score first; minus `deletion` it is high where the order matters.
        comprehensiveness: fall of f when the highest words go, mean over bins; high is good.
        sufficiency: fall of f when the highest words alone stay, mean over bins; low is good.
        leave_one_out: Kendall's tau of the scores with the fall of f when each word alone goes.
    """

    removal: str
    measure: str
    words: int
    deletion: float
    insertion: float
    reversed_deletion: float
    comprehensiveness: float
    sufficiency: float
    leave_one_out: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data; NaN stays NaN."""
        return asdict(self)

    def line(self) -> str:
        """One line for a terminal."""
        return (
            f"removal {self.removal}: insertion {self.insertion:.3f}, deletion {self.deletion:.3f}, comprehensiveness "
            f"{self.comprehensiveness:.3f}, sufficiency {self.sufficiency:.3f}, leave-one-out tau "
            f"{self.leave_one_out:+.2f} ({self.measure})"
        )


@dataclass(frozen=True, kw_only=True)
class Plausibility:
    """How well scores of words find the words that should decide.

    Attributes:
        auprc: area under precision and recall (average precision).
        f1, iou: of as many highest words as there are decisive ones.
        chance: the share of decisive words: the `auprc` of scores that say nothing.
    """

    auprc: float
    f1: float
    iou: float
    chance: float


@torch.no_grad()
def word_game(
    view: TextView,
    ids: Int[Tensor, "1 S"],
    image_features: Float[Tensor, " E"],
    words: Sequence[Sequence[int]],
    *,
    removal: Operator = "zero_emb",
    content: Bool[Tensor, "1 S"] | None = None,
    candidates: Float[Tensor, "F E"] | None = None,
    scale: float = 1.0,
    batch: int = 1024,
) -> Game:
    """The game of a caption's words: f is its cosine with a picture as a share of the whole caption's.

    Tokens of no word (punctuation) stay where they are.

    Args:
        view: the text tower.
        ids: the caption.
        image_features: of the picture, any length.
        words: token positions of each word.
        removal: what becomes of a word that is not there: "zero_emb", "mask_token", "drop" or "key_block", see
            `clipsight.attribution.variants.Removal`.
        content: True at the tokens of words, from the tokenizer, as for `attribute`.
        candidates: text features to choose from; f is then the caption's probability among itself and them, with
            `scale`, the model's logit scale.
        scale: what cosines are multiplied by.
        batch: variants encoded at a time.

    Raises:
        ValueError: no words, or positions that hold none.
        Unsupported: the tower does not show what the removal changes.
    """
    if why := why_not("perturbation", view, {"op": removal}):
        raise Unsupported(why)
    parts, ids = opened(view), ids.to(view.device)
    marks = marks_of(parts, ids, None if content is None else content.to(view.device))
    (players,) = checked_spans([words], marks)
    if not players:
        raise ValueError("the caption has no words to take away; give at least one group of positions.")
    match = Match(
        image=F.normalize(exact(image_features.detach().to(view.device)), dim=-1)[None], scale=scale
    )
    if candidates is not None:
        others = match(candidates.detach().to(view.device), torch.zeros(len(candidates), dtype=torch.long))
        match = replace(match, foils=others[None], contrast="log_softmax")
    question = Question(view=view, parts=parts, ids=ids, given_ids=ids, marks=marks, match=match)
    how = Removal(op=removal)

    def value(there: Bool[Tensor, "N W"]) -> Float[Tensor, " N"]:
        removed = torch.zeros(len(there), ids.shape[1], dtype=torch.bool)
        for row, kept in zip(removed, there.tolist(), strict=True):
            row[[place for group, one in zip(players, kept, strict=True) if not one for place in group]] = (
                True
            )
        owner = torch.zeros(len(there), dtype=torch.long, device=ids.device)
        with torch.no_grad():
            features = encode_variants(question, owner, removed.to(ids.device), how, batch)
            return match(features, owner).float().cpu()

    whole = float(value(torch.ones(1, len(players), dtype=torch.bool)))
    if candidates is not None:
        measure = f"probability among {len(candidates) + 1} captions"
        return Game(
            value=lambda there: value(there).exp(), words=len(players), removal=removal, measure=measure
        )
    if whole <= 0:  # a share of it would turn the curves over
        measure = "similarity as it is: that of the whole caption is not above 0"
        return Game(value=value, words=len(players), removal=removal, measure=measure)
    measure = "share of the whole caption's similarity"
    return Game(
        value=lambda there: value(there) / whole, words=len(players), removal=removal, measure=measure
    )


def faithfulness(scores: Float[Tensor, " W"], game: Game) -> Faithfulness:
    """All measures of scores in one game.

    Raises:
        ValueError: another number of scores than the game has words, or scores that are not finite.

    Example:
        >>> weights = torch.tensor([0.5, 0.1, 0.4])
        >>> game = Game(value=lambda there: there.float() @ weights, words=3, removal="zero", measure="sum")
        >>> round(faithfulness(weights, game).leave_one_out, 3)
        1.0
    """
    _check(scores, game)
    down, up = deletion_curve(scores, game), insertion_curve(scores, game)
    return Faithfulness(
        removal=game.removal,
        measure=game.measure,
        words=game.words,
        deletion=area(down),
        insertion=area(up),
        reversed_deletion=area(deletion_curve(-scores, game)),
        comprehensiveness=_mean_fall(down[0], down, game.words),
        sufficiency=_mean_fall(down[0], up, game.words),
        leave_one_out=leave_one_out_agreement(scores, game),
    )


def deletion_curve(scores: Float[Tensor, " W"], game: Game) -> Float[Tensor, " V"]:
    """The match with 0, 1, … all words removed, highest score first; equal scores in the order of the caption."""
    return game.value(~_nested(scores))


def insertion_curve(scores: Float[Tensor, " W"], game: Game) -> Float[Tensor, " V"]:
    """The match with 0, 1, … all words present, highest score first."""
    return game.value(_nested(scores))


def area(curve: Float[Tensor, " V"]) -> float:
    """Area under a curve over [0, 1] by trapezoids; NaN for fewer than two points."""
    if len(curve) < 2:
        return nan
    return float(torch.trapezoid(curve.double()) / (len(curve) - 1))


def comprehensiveness(scores: Float[Tensor, " W"], game: Game, bins: Sequence[float] = BINS) -> float:
    """Mean over bins of f(all) - f(without the highest words); ERASER's AOPC without its bin of no words.

    Args:
        scores: of the words.
        game: see `Game`.
        bins: shares of the words; each takes at least one word, and bins of equally many words count once.
    """
    curve = deletion_curve(scores, game)
    return _mean_fall(curve[0], curve, game.words, bins)


def sufficiency(scores: Float[Tensor, " W"], game: Game, bins: Sequence[float] = BINS) -> float:
    """Mean over bins of f(all) - f(the highest words alone); as `comprehensiveness`."""
    curve = insertion_curve(scores, game)
    return _mean_fall(curve[-1], curve, game.words, bins)


def leave_one_out(game: Game) -> Float[Tensor, " W"]:
    """The drop of the match when each word alone is removed."""
    values = game.value(torch.cat([torch.ones(1, game.words), 1 - torch.eye(game.words)]).bool())
    return values[0] - values[1:]


def leave_one_out_agreement(scores: Float[Tensor, " W"], game: Game) -> float:
    """Kendall's tau-b of scores with `leave_one_out`; NaN where one of them is the same for all words."""
    return kendall(scores, leave_one_out(game))


def kendall(first: Float[Tensor, " W"], second: Float[Tensor, " W"]) -> float:
    """Kendall's tau-b: 1 same order, 0 none, -1 the other way round; NaN for constant values or fewer than two."""
    from scipy.stats import kendalltau

    a, b = first.detach().double().cpu().numpy(), second.detach().double().cpu().numpy()
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return nan
    return float(kendalltau(a, b)[0])  # pyright: ignore[reportArgumentType]


def spearman(first: Float[Tensor, " W"], second: Float[Tensor, " W"]) -> float:
    """Spearman's rank correlation, ties at their mean rank; NaN for constant values or fewer than two."""
    from scipy.stats import rankdata

    a, b = rankdata(first.detach().cpu().numpy()), rankdata(second.detach().cpu().numpy())
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return nan
    return float(np.corrcoef(a, b)[0, 1])


def plausibility(scores: Float[Tensor, " W"], decisive: Bool[Tensor, " W"]) -> Plausibility:
    """How well scores find the words that are known to decide, such as those that differ between caption and foil.

    A plausible attribution need not be faithful: it says what people expect, not what the model does.

    Raises:
        ValueError: no word decides, or another number of scores.
    """
    from sklearn.metrics import average_precision_score

    count = int(decisive.sum())
    if not count or scores.shape != decisive.shape:
        raise ValueError(
            f"{count} of {len(decisive)} words are decisive, and there are {len(scores)} scores; give one of each a "
            "word, and at least one that decides."
        )
    chosen = torch.zeros_like(decisive)
    chosen[_order(scores)[:count]] = True
    both = int((chosen & decisive).sum())
    return Plausibility(
        auprc=float(average_precision_score(decisive.cpu().numpy(), scores.detach().cpu().numpy())),
        f1=both / count,
        iou=both / (2 * count - both),
        chance=count / len(decisive),
    )


def chance(game: Game, draws: int = 20, seed: int = 0) -> list[Faithfulness]:
    """The measures of random scores: the baseline of this game."""
    random = torch.Generator().manual_seed(seed)
    return [faithfulness(torch.rand(game.words, generator=random), game) for _ in range(draws)]


def _order(scores: Float[Tensor, " W"]) -> Tensor:
    return scores.detach().cpu().argsort(descending=True, stable=True)


def _nested(scores: Float[Tensor, " W"]) -> Bool[Tensor, "V W"]:
    """Row k is True at the k highest words."""
    rank = torch.empty(len(scores), dtype=torch.long)
    rank[_order(scores)] = torch.arange(len(scores))
    return rank < torch.arange(len(scores) + 1)[:, None]


def _mean_fall(whole: Tensor, curve: Float[Tensor, " V"], words: int, bins: Sequence[float] = BINS) -> float:
    counts = sorted({min(max(ceil(share * words), 1), words) for share in bins})
    return float((whole - curve[counts]).double().mean()) if words else nan


def _check(scores: Float[Tensor, " W"], game: Game) -> None:
    if len(scores) != game.words or not bool(scores.isfinite().all()):
        raise ValueError(
            f"{len(scores)} scores were given for a caption of {game.words} words, "
            f"{int((~scores.isfinite()).sum())} of them not finite; give one finite number a word."
        )
