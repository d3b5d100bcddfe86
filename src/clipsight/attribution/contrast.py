"""Contrastive attribution: which words make a caption match better than its foils.

A foil with fixed features cannot answer that: subtracting a number from s changes no word's share in it, and the
logarithm of a softmax only scales all shares equally. So the foil's words are attributed too. A word that both
captions have counts with the difference of its two scores, as if it were one word of both; a word of the caption alone
keeps its score; one of the foil alone is reported with the sign turned. For methods linear in s this is the attribution
of the difference itself, shared words being taken out of, or moved in, both captions at once.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from clipsight.attribution.asking import AttributionRunner, Spans, TokenAttribution
from clipsight.attribution.match import Contrast, Match

_FIXED = (
    "The foils were given as features: their words cannot answer, so the scores are those without a contrast{0}. Give "
    "the foils' token ids to see which words decide."
)
_ROUGH = (
    "{0} is not linear in the similarity: its contrast is the difference of the two captions' scores, not the "
    "attribution of their difference."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class FoilSet:
    """What T texts are compared with.

    Attributes:
        given: token ids (T, F, W), or features (T, F, E).
        contrast: how. spans: groups of token positions, text by text, foil by foil. content: True at words' tokens.
    """

    given: Tensor
    contrast: Contrast
    spans: Spans | None
    content: Bool[Tensor, "T F W"] | None

    @classmethod
    def of(
        cls,
        given: Tensor,
        texts: int,
        contrast: Contrast | None,
        spans: Sequence[Spans] | None,
        content: Bool[Tensor, "*foils W"] | None,
    ) -> "FoilSet":
        """The same foils for all texts, or separate ones for each text, as `attribute` takes them.

        Raises:
            ValueError: a shape that does not fit.
        """
        if given.ndim not in (2, 3) or (given.ndim == 3 and len(given) != texts) or not given.shape[-2]:
            raise ValueError(
                f"against has shape {tuple(given.shape)}; with {texts} texts it is (foils, …) or ({texts}, foils, …), "
                "token ids or features last."
            )
        if content is not None and content.shape != given.shape:
            raise ValueError(
                f"against_content has shape {tuple(content.shape)}, against {tuple(given.shape)}; they are the same."
            )
        if spans is not None:
            each = list(spans) * texts if given.ndim == 2 and len(spans) == 1 else list(spans)
            if len(each) != texts or any(len(one) != given.shape[-2] for one in each):
                raise ValueError(
                    f"against_spans were given for {[len(one) for one in spans]} foils of each text; there are "
                    f"{texts} texts and {given.shape[-2]} foils."
                )
            spans = each
        size = (texts, *given.shape[-2:])
        return cls(
            given=given.expand(size),
            contrast=contrast or ("difference" if given.shape[-2] == 1 else "log_softmax"),
            spans=None if spans is None else [groups for one in spans for groups in one],
            content=None if content is None else content.to(given.device).expand(size),
        )


def with_foils(
    asker: AttributionRunner,
    ids: Int[Tensor, "T S"],
    match: Match,
    foils: FoilSet,
    spans: Spans | None,
    content: Bool[Tensor, "T S"] | None,
) -> tuple[TokenAttribution, tuple[str, ...]]:
    """The texts' scores compared with their foils, and notes.

    Raises:
        ValueError: spans of the texts without spans of the foils.
    """
    count = foils.given.shape[1]
    owner = torch.arange(len(ids), device=ids.device).repeat_interleave(count)
    flat = rearrange(foils.given, "T F W -> (T F) W")
    if foils.given.is_floating_point():
        fixed = rearrange(match(flat, owner), "(T F) -> T F", F=count)
        found = asker.ask(ids, replace(match, foils=fixed, contrast=foils.contrast), spans, content)
        note = _FIXED.format("" if foils.contrast == "difference" else ", all stretched alike")
        return replace(found, extras={**found.extras, "contrast": found.s}), (note,)
    if asker.method.spans and (spans is None) != (foils.spans is None):
        raise ValueError("spans and against_spans go together: give both, or neither.")
    foil_content = None if foils.content is None else rearrange(foils.content, "T F W -> (T F) W")
    mine = asker.ask(ids, match, spans, content)
    theirs = asker.ask(flat, match.of(owner), foils.spans, foil_content)
    s = rearrange(theirs.s, "(T F) -> T F", F=count)
    weights = foil_weights(mine.s, s, foils.contrast)
    partner = partners(ids, ~mine.marks.padding, foils.given, _by_text(~theirs.marks.padding, count))
    scores, alone = contrasted(mine.scores, _by_text(theirs.scores, count), partner, weights.float())
    value = mine.s - s.mean(-1)
    if foils.contrast == "log_softmax":
        value = mine.s - torch.cat([mine.s[:, None], s], -1).logsumexp(-1)
    extras = {**mine.extras, "contrast": value, "foil_scores": alone}
    notes = () if asker.method.linear else (_ROUGH.format(asker.method.id),)
    return replace(mine, scores=scores, extras=extras), notes


def foil_weights(
    s: Float[Tensor, " T"], foils: Float[Tensor, "T F"], contrast: Contrast
) -> Float[Tensor, "T F"]:
    """The weight of each foil: equal parts of 1 in a difference, its probability in a log-softmax."""
    if contrast == "difference":
        return torch.full_like(foils, 1 / foils.shape[1])
    return torch.cat([s[:, None], foils], -1).softmax(-1)[:, 1:]


def contrasted(
    scores: Float[Tensor, "T S"],
    foil_scores: Float[Tensor, "T F W"],
    partner: Int[Tensor, "T F S"],
    weights: Float[Tensor, "T F"],
) -> tuple[Float[Tensor, "T S"], Float[Tensor, "T F W"]]:
    """(Σ over foils of w (r − r of the partner), −w r of the foils' tokens that have no partner)."""
    paired = foil_scores.gather(-1, partner.clamp(min=0)) * (partner >= 0)
    mine = (weights[..., None] * (scores[:, None] - paired)).sum(1)
    # One position more than there are takes the −1 of tokens without a partner.
    places = torch.where(partner >= 0, partner, foil_scores.shape[-1])
    alone = F.pad(torch.ones_like(foil_scores), (0, 1)).scatter(-1, places, 0.0)[..., :-1]
    return mine, -weights[..., None] * foil_scores * alone


def partners(
    ids: Int[Tensor, "T S"],
    kept: Bool[Tensor, "T S"],
    foil_ids: Int[Tensor, "T F W"],
    foil_kept: Bool[Tensor, "T F W"],
) -> Int[Tensor, "T F S"]:
    """For each token of a text the position of the same token in each foil, −1 without one; none is taken twice.

    Tokens in the same order are matched first (the longest common pieces), then moved ones from left to right.

    Args:
        kept: the positions to be matched. foil_kept: the same of the foils.
    """
    found = torch.full((*foil_ids.shape[:2], ids.shape[1]), -1, dtype=torch.long)
    for text, (row, mine) in enumerate(zip(ids.tolist(), kept.tolist(), strict=True)):
        places = [place for place, keep in enumerate(mine) if keep]
        for foil, theirs in enumerate(foil_ids[text].tolist()):
            others = foil_kept[text, foil].nonzero().flatten().tolist()
            for i, j in _same([row[place] for place in places], [theirs[place] for place in others]):
                found[text, foil, places[i]] = others[j]
    return found.to(ids.device)


def _same(a: list[int], b: list[int]) -> Iterator[tuple[int, int]]:
    """Pairs of indices of equal tokens."""
    left, right = set(range(len(a))), set(range(len(b)))
    for block in SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks():
        for i, j in zip(
            range(block.a, block.a + block.size), range(block.b, block.b + block.size), strict=True
        ):
            left.remove(i)
            right.remove(j)
            yield i, j
    moved = defaultdict(list)
    for j in sorted(right):
        moved[b[j]].append(j)
    for i in sorted(left):
        if moved[a[i]]:
            yield i, moved[a[i]].pop(0)


def _by_text(rows: Tensor, count: int) -> Tensor:
    return rearrange(rows, "(T F) W -> T F W", F=count)
