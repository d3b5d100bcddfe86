"""Which words of a caption carry its match with a picture?

Tokens are attributed by `clipsight.attribution`, merged into words by
`clipsight.language.spans`, given roles by `clipsight.roles.extract`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, overload

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from clipsight.attribution import TokenScores, attribute, get_attribution, why_not
from clipsight.attribution.faithfulness import kendall, spearman
from clipsight.attribution.randomised import randomised_text
from clipsight.language.reading import ReadCaptions, groups_of, read_captions
from clipsight.language.spans import CaptionPart, Merge, find_phrases, shares
from clipsight.language.spans import merge as merged
from clipsight.language.tokens import check_texts
from clipsight.results import WordAttribution, WordScore
from clipsight.roles.extract import CaptionRoles, extract_roles
from clipsight.scoring import pooled_similarity
from clipsight.session.encoded import EncodedPicture
from clipsight.session.engine import Engine
from clipsight.towers.view import TextView

Units = Literal["words", "tokens", "spans"]
"""What is taken out together by methods that take something out."""
Spans = Sequence[str | tuple[int, int]]
Roles = str | CaptionRoles | None

CHECK_DRAWS = 5
"""Random towers of a sanity check."""
SUSPICIOUS = 0.5
"""Mean rank correlation with random towers from which scores are said to be no news of the model."""
FEW = 4
"""Fewer words than this have no ranks to speak of."""


@overload
def words(seen: EncodedPicture, caption: str, *how: Any, **options: Any) -> WordAttribution: ...


@overload
def words(
    seen: EncodedPicture, caption: list[str] | tuple[str, ...], *how: Any, **options: Any
) -> list[WordAttribution]: ...


def words(
    seen: EncodedPicture,
    caption: str | list[str] | tuple[str, ...],
    method: str = "attention",
    against: str | Sequence[str] | None = None,
    spans: Spans | None = None,
    roles: Roles = "rules",
    *,
    units: Units = "words",
    merge: Merge = "sum",
    check: bool = False,
    **options: Any,
) -> WordAttribution | list[WordAttribution]:
    """Scores of a caption's words, or of each of a list; see `Lens.words` for the arguments."""
    found = attribute_captions(
        seen.engine,
        [caption] if isinstance(caption, str) else caption,
        seen,
        method=method,
        against=against,
        spans=spans,
        roles=roles,
        units=units,
        merge_by=merge,
        check=check,
        options=options,
    )
    return found[0] if isinstance(caption, str) else found


def attribute_captions(
    engine: Engine,
    captions: Sequence[str],
    seen: EncodedPicture | None = None,
    *,
    method: str = "attention",
    against: str | Sequence[str] | None = None,
    spans: Spans | None = None,
    roles: Roles = "rules",
    units: Units = "words",
    merge_by: Merge = "sum",
    check: bool = False,
    options: Mapping[str, Any] | None = None,
) -> list[WordAttribution]:
    """Word attributions of captions that share a picture, or have none; see `Lens.words` for the arguments."""
    tokenizer = engine.loaded.tokenizer
    asked = check_texts(captions, tokenizer)
    foils = (
        () if against is None else check_texts([against] if isinstance(against, str) else against, tokenizer)
    )
    if isinstance(roles, CaptionRoles) and roles.caption not in asked:
        raise ValueError(
            f"the roles given are those of {roles.caption!r:.60}, which is not asked about; extract them from the "
            "caption."
        )
    if seen is None and foils:
        raise ValueError("against compares matches with a picture; give one, or leave against out.")
    phrases = [find_phrases(caption, spans or ()) for caption in asked]
    read = _read(engine, asked)
    unseen = [
        one.text
        for found, mine in zip(read.found, phrases, strict=True)
        for one in mine
        if one.end > found.seen
    ]
    if unseen:
        raise ValueError(
            f"the span {unseen[0]!r} lies beyond the {engine.text_view.context} tokens that the model sees; shorten "
            "the caption, or leave the span out."
        )
    feature = None if seen is None else seen.pooled()
    question = _Question(engine, feature, read, _read(engine, foils) if foils else None, phrases, units)
    scores = question.ask(engine.text_view, method, options or {})
    checks = question.check(scores, method, options or {}) if check else [{} for _ in asked]
    cosines: Sequence[Tensor] = ()
    if feature is not None and foils:
        cosines = tuple(pooled_similarity(feature, engine.encode_text(foils))[0])
    return [
        _result(engine, seen, question, scores, row, merge_by, roles, foils, cosines, checks[row])
        for row in range(len(asked))
    ]


def _read(engine: Engine, captions: Sequence[str]) -> ReadCaptions:
    return read_captions(engine.loaded.tokenizer, captions, engine.text_view.context)


class _Question:
    """Captions, foils and what goes together, to be put to any method and any tower with this tokenizer."""

    def __init__(
        self,
        engine: Engine,
        feature: Float[Tensor, "1 E"] | None,
        read: ReadCaptions,
        foils: ReadCaptions | None,
        phrases: Sequence[Sequence[CaptionPart]],
        units: Units,
    ) -> None:
        if units not in ("words", "tokens", "spans"):
            raise ValueError(f'units is {units!r}; it is "words", "tokens" or "spans".')
        if units == "spans" and not any(phrases):
            raise ValueError('units="spans" takes out the spans that were asked for; give spans=["red car"].')
        self.engine, self.feature, self.read, self.foils = engine, feature, read, foils
        self.phrases, self.units = phrases, units

    def ask(self, view: TextView, method: str, options: Mapping[str, Any]) -> TokenScores:
        """Scores of all tokens."""
        against: dict[str, Any] = {}
        together = self._together(method, options)
        if self.foils is not None:
            against = {"against": self.foils.ids, "against_content": self.foils.content}
            if together:
                groups = [[group for group in groups_of(table) if group] for table in self.foils.tables]
                against["against_spans"] = [groups] * len(self.read.ids)
        feature = self.feature
        if self.foils is not None and len(self.foils.ids) > 1 and options.get("contrast") != "difference":
            against["scale"] = self.engine.logit_scale  # what the softmax over captions is the model's with
        return attribute(
            view,
            self.read.ids,
            None if feature is None else feature[0].float(),
            method=method,
            spans=self._spans() if together else None,
            content=self.read.content.to(view.device),
            **{**against, **options},
        )

    def words(self, scores: TokenScores, row: int) -> Float[Tensor, " W"]:
        """Scores of the words of a caption."""
        rows = [k for k, part in enumerate(self.read.parts[row]) if part.kind == "word"]
        return merged(scores.scores[row].cpu(), self.read.tables[row][rows])

    def check(self, scores: TokenScores, method: str, options: Mapping[str, Any]) -> list[dict[str, float]]:
        """Figures of the sanity check of each caption: NaN where words are too few."""
        count = len(self.read.ids)
        drawn = [
            self.ask(randomised_text(self.engine.loaded.module, seed), method, options)
            for seed in range(CHECK_DRAWS)
        ]
        other, its_options = _second_opinion(self.engine.text_view, method, options)
        opinion = self.ask(self.engine.text_view, other, its_options)
        name = f"agreement with {other}" + (f" ({its_options['op']})" if "op" in its_options else "")
        found = []
        for row in range(count):
            own = self.words(scores, row)
            ranks = [spearman(own, self.words(one, row)) for one in drawn]
            few = len(own) < FEW
            found.append(
                {
                    "rank correlation with random towers": float("nan") if few else float(np.mean(ranks)),
                    name: float("nan") if few else kendall(own, self.words(opinion, row)),
                }
            )
        return found

    def _together(self, method: str, options: Mapping[str, Any]) -> bool:
        """Whether the method takes out groups of tokens, and groups are wanted."""
        chosen = get_attribution(method)
        takes_out = chosen.spans and (method != "gradient" or options.get("kind") == "fd")
        return takes_out and self.units != "tokens"

    def _spans(self) -> list[list[list[int]]]:
        """For each caption the positions that go together."""
        rows = []
        for row, (found, phrases) in enumerate(zip(self.read.found, self.phrases, strict=True)):
            groups = self.read.groups(row)
            if self.units == "spans":
                phrase_table = shares(found, phrases)
                if bool((phrase_table > 0).sum(0).gt(1).any()):
                    raise ValueError(
                        "spans that share a word cannot be taken out one by one; ask for them in calls of their own."
                    )
                whole = groups_of(phrase_table)
                taken = {place for group in whole for place in group}
                groups = whole + [[place for place in group if place not in taken] for group in groups]
            rows.append([group for group in groups if group])
        return rows


def _second_opinion(view: TextView, method: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Another method to agree with: leaving out words one by one; for that itself, leaving out by other means."""
    zero = (
        {"op": "zero_emb"} if not why_not("perturbation", view, {"op": "zero_emb"}) else {"op": "mask_token"}
    )
    if method == "perturbation" and options.get("op", "zero_emb") == zero["op"]:
        # where the context is read whole, a shorter caption has other padding too
        return "perturbation", {"op": "drop" if view.cuttable else "mask_token"}
    return "perturbation", zero


def _result(
    engine: Engine,
    seen: EncodedPicture | None,
    question: _Question,
    scores: TokenScores,
    row: int,
    how: Merge,
    roles: Roles,
    foils: Sequence[str],
    cosines: Sequence[Tensor],
    checks: dict[str, float],
) -> WordAttribution:
    read = question.read
    found, parts, table = read.found[row], read.parts[row], read.tables[row]
    own = scores.scores[row].detach().float().cpu()
    labels = None if roles in (None, "none") else _roles(found.caption, roles)
    named = iter(labels.roles if labels is not None else ())
    scored = _scored(parts, merged(own, table, how), table)
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
        spans=tuple(_scored(phrases, merged(own, phrase_table, how), phrase_table)),
        dropped=found.dropped,
        similarity=_decimal(scores.similarity[row]),
        against=tuple(foils),
        against_similarity=tuple(map(_decimal, cosines)),
        against_words=_of_foils(question, scores, row),
        unit=_unit(scores),
        merge=how,
        roles_by="" if labels is None else f"{labels.extractor} {labels.version}",
        checks=checks,
        trust=(*_trust(scores, own, chosen.signed), *_verdicts(checks)),
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


def _of_foils(question: _Question, scores: TokenScores, row: int) -> tuple[tuple[WordScore, ...], ...]:
    """The words that a foil alone has, with what they speak for the caption."""
    if question.foils is None:
        return ()
    lists = []
    pairs = zip(question.foils.parts, question.foils.tables, scores.extras["foil_scores"][row], strict=True)
    for parts, table, values in pairs:
        own = values.detach().float().cpu()
        scored = _scored(parts, merged(own, table), table)
        lists.append(tuple(one for one in scored if any(float(own[place]) for place in one.tokens)))
    return tuple(lists)


def _roles(caption: str, roles: str | CaptionRoles | None) -> CaptionRoles:
    if isinstance(roles, CaptionRoles):
        return roles if roles.caption == caption else extract_roles(caption)
    return extract_roles(caption, str(roles))


def _unit(scores: TokenScores) -> str:
    """What a score is, in words."""
    return _plain_unit(scores) + (", against the foils" if scores.settings.get("against") else "")


def _plain_unit(scores: TokenScores) -> str:
    options, method = scores.settings, scores.method
    text = options.get("measure") == "text" or bool(scores.similarity.isnan().all())
    measure = "log-probability" if options.get("contrast") == "log_softmax" else "cosine"
    match method:
        case "attention":
            return "attention after roll-out" if options.get("rollout") else "share of attention"
        case "perturbation":
            return "change of the text without the word" if text else f"{measure} lost without the word"
        case "gradient":
            kinds = {"norm": "length of the gradient", "fd": "slope of the cosine"}
            return kinds.get(options["kind"], "gradient × input")
        case "integrated_gradients" | "shapley":
            return "likeness to the whole text" if text else f"{measure} gained by the word"
        case "gradcam":
            return "class activation"
        case "legrad":
            return "sensitivity to attention"
        case _:
            return "relevance"


def _trust(scores: TokenScores, own: Float[Tensor, " S"], signed: bool) -> list[str]:
    """What a reader must know, most important first."""
    said = []
    if not bool(own.isfinite().all()):
        said.append("Not to be trusted: scores are not finite (NaN or infinite).")
    if not own.any():
        said.append("Every score is zero: nothing can be read from them.")
    if scores.method == "attention":
        said.append("Attention does not look at the picture: these scores are the same for every picture.")
    elif not signed or scores.settings.get("kind") in ("norm", "input_abs", "input_pos"):
        said.append(
            f"{scores.method} says how much a word counts, not whether it speaks for the match or against it."
        )
    return [*said, *scores.notes]


def _verdicts(checks: Mapping[str, float]) -> list[str]:
    """The sanity line."""
    said = []
    for name, value in checks.items():
        if value != value:
            said.append(f"Sanity, {name}: not measured, the words are too few or all alike.")
        elif name.startswith("rank"):
            verdict = (
                "high: the scores say little of what the model has learnt"
                if value >= SUSPICIOUS
                else "so the scores depend on what the model has learnt"
            )
            said.append(f"Sanity, {name}: {value:+.2f} ({CHECK_DRAWS} draws), {verdict}.")
        else:
            said.append(f"Sanity, {name}: Kendall's tau {value:+.2f} (1 the same order, 0 none).")
    return said
