"""Scores of a caption's tokens as a result: words with roles, trust lines, provenance."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from clipsight.attribution import TokenScores, get_attribution
from clipsight.language.spans import CaptionPart, Merge, merge, shares
from clipsight.results import WordAttribution, WordScore
from clipsight.roles.extract import CaptionRoles, extract_roles
from clipsight.session.encoded import EncodedPicture
from clipsight.session.engine import Engine
from clipsight.session.word_question import WordQuestion
from clipsight.session.word_sanity import verdicts

Roles = str | CaptionRoles | None


def word_attribution(
    engine: Engine,
    seen: EncodedPicture | None,
    question: WordQuestion,
    scores: TokenScores,
    row: int,
    how: Merge,
    roles: Roles,
    foils: Sequence[str],
    cosines: Sequence[Tensor],
    checks: dict[str, float],
) -> WordAttribution:
    """What was found of one caption, as a result.

    Args:
        row: number of the caption. how: merging of tokens. cosines: of the foils with the picture.
        checks: figures of its sanity check.
    """
    read = question.read.each[row]
    found, parts, table = read.found, read.parts, read.table
    own = scores.scores[row].detach().float().cpu()
    labels = None if roles in (None, "none") else _roles(found.caption, roles)
    named = iter(labels.roles if labels is not None else ())
    scored = _scored(parts, merge(own, table, how), table)
    scored = [
        (part, replace(one, role=next(named, "") if part.kind == "word" else ""))
        for part, one in zip(parts, scored, strict=True)
    ]
    phrases = question.phrases[row]
    phrase_table = shares(found, phrases)
    chosen = get_attribution(scores.method)
    settings = {**scores.settings, "units": question.units, "spans": "given" if phrases else None}
    return WordAttribution(
        image=None if seen is None else np.asarray(seen.picture),
        caption=found.caption,
        tokens=found.tokens,
        places=found.places,
        kinds=found.kinds,
        token_scores=own,
        words=tuple(one for part, one in scored if part.kind == "word"),
        marks=tuple(one for part, one in scored if part.kind == "mark" and one.tokens),
        spans=tuple(_scored(phrases, merge(own, phrase_table, how), phrase_table)),
        dropped=found.dropped,
        similarity=_decimal(scores.similarity[row]),
        against=tuple(foils),
        against_similarity=tuple(map(_decimal, cosines)),
        against_words=_of_foils(question, scores, row),
        unit=chosen.unit_of(scores),
        merge=how,
        roles_by="" if labels is None else f"{labels.extractor} {labels.version}",
        checks=checks,
        trust=(*_trust(scores, own), *verdicts(checks)),
        source="" if seen is None else seen.source,
        provenance=(engine if seen is None else seen).provenance(
            texts=(found.caption, *foils),
            method=scores.method,
            settings=settings,
            templates=(),
            contrast="names" if foils else "none",
            contrast_texts=tuple(foils),
        ),
    )


def _scored(
    parts: Sequence[CaptionPart], values: Float[Tensor, " P"], table: Float[Tensor, "P S"]
) -> list[WordScore]:
    return [
        WordScore(
            text=part.text,
            start=part.start,
            end=part.end,
            score=_decimal(value),
            tokens=tuple(torch.nonzero(line).flatten().tolist()),
        )
        for part, value, line in zip(parts, values, table, strict=True)
    ]


def _decimal(value: Float[Tensor, ""]) -> float:
    """The shortest decimal that gives back a float32: files and results hold the same number."""
    return float(str(np.float32(value.item())))


def _of_foils(question: WordQuestion, scores: TokenScores, row: int) -> tuple[tuple[WordScore, ...], ...]:
    """The words that a foil alone has, with what they speak for the caption."""
    if question.foils is None:
        return ()
    lists = []
    for read, values in zip(question.foils.each, scores.extras["foil_scores"][row], strict=True):
        own = values.detach().float().cpu()
        scored = _scored(read.parts, merge(own, read.table), read.table)
        lists.append(tuple(one for one in scored if any(float(own[place]) for place in one.tokens)))
    return tuple(lists)


def _roles(caption: str, roles: str | CaptionRoles | None) -> CaptionRoles:
    if isinstance(roles, CaptionRoles):
        return roles if roles.caption == caption else extract_roles(caption)
    return extract_roles(caption, str(roles))


def _trust(scores: TokenScores, own: Float[Tensor, " S"]) -> list[str]:
    """What a reader must know, most important first."""
    said = []
    if not bool(own.isfinite().all()):
        said.append("Not to be trusted: scores are not finite (NaN or infinite).")
    if not own.any():
        said.append("Every score is zero: nothing can be read from them.")
    if about := get_attribution(scores.method).trust_of(scores):
        said.append(about)
    return [*said, *scores.notes]
