"""Captions, foils and groups of words, for any attribution and any tower with the same tokenizer."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from clipsight.attribution import TokenScores, attribute, get_attribution
from clipsight.language.reading import ReadCaptions, groups_of
from clipsight.language.spans import CaptionPart, merge, shares
from clipsight.session.engine import Engine
from clipsight.towers.view import TextView

Units = Literal["words", "tokens", "spans"]
"""What is taken out together by methods that take something out."""


class WordQuestion:
    """Captions, foils and groups of words, for any method and any tower with this tokenizer."""

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
                groups = [[group for group in one.groups if group] for one in self.foils.each]
                against["against_spans"] = [groups] * len(self.read)
        feature = self.feature
        if self.foils is not None and len(self.foils) > 1 and options.get("contrast") != "difference":
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
        read = self.read.each[row]
        rows = [k for k, part in enumerate(read.parts) if part.kind == "word"]
        return merge(scores.scores[row].cpu(), read.table[rows])

    def _together(self, method: str, options: Mapping[str, Any]) -> bool:
        """Whether the method takes out groups of tokens, and groups are wanted."""
        return self.units != "tokens" and get_attribution(method).takes_groups(options)

    def _spans(self) -> list[list[list[int]]]:
        """For each caption the positions that go together."""
        rows = []
        for read, phrases in zip(self.read.each, self.phrases, strict=True):
            groups = read.groups
            if self.units == "spans":
                phrase_table = shares(read.found, phrases)
                if bool((phrase_table > 0).sum(0).gt(1).any()):
                    raise ValueError(
                        "spans that share a word cannot be taken out one by one; ask for them in calls of their own."
                    )
                whole = groups_of(phrase_table)
                taken = {place for group in whole for place in group}
                groups = whole + [[place for place in group if place not in taken] for group in groups]
            rows.append([group for group in groups if group])
        return rows
