"""Run a method on texts in small batches, each at the length that it needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from clipsight.attribution.marks import Marks, marks_of
from clipsight.attribution.match import Match, cosine
from clipsight.attribution.question import Answer, Question, checked_spans
from clipsight.attribution.registry import Attribution
from clipsight.towers.view import OnePieceText, TextParts, TextView

Spans = Sequence[Sequence[Sequence[int]]]


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenAttribution:
    """The result of a method for T texts.

    Attributes:
        s: what was attributed, NaN without a picture. cosine: the plain similarity, NaN without a picture.
    """

    scores: Float[Tensor, "T S"]
    marks: Marks
    s: Float[Tensor, " T"]
    cosine: Float[Tensor, " T"]
    extras: Mapping[str, Tensor]
    notes: tuple[str, ...]
    settings: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class AttributionRunner:
    """One method with its options on one tower, to be run on texts.

    Attributes:
        live: keep graphs. batch: texts at a time.
    """

    view: TextView
    parts: TextParts | OnePieceText | None
    method: Attribution
    options: Mapping[str, Any]
    live: bool
    batch: int

    def ask(
        self,
        ids: Int[Tensor, "T S"],
        match: Match,
        spans: Spans | None = None,
        content: Bool[Tensor, "T S"] | None = None,
    ) -> TokenAttribution:
        """Scores of all the texts.

        Raises:
            ValueError: spans that are no words', or what the method refuses.
        """
        marks = marks_of(self.parts, ids, content)
        groups = None if spans is None else checked_spans(spans, marks)
        scores, values, cosines, notes = [], [], [], []
        extras: dict[str, list[Tensor]] = {}
        settings: dict[str, Any] = {}
        for first in range(0, len(ids), self.batch):
            rows = slice(first, first + self.batch)
            length = self._length(ids[rows])
            question = Question(
                view=self.view,
                parts=self.parts,
                ids=ids[rows, :length],
                given_ids=ids[rows],
                marks=marks.of(rows, length),
                match=match.of(rows),
                spans=None if groups is None else groups[rows],
                live=self.live,
            )
            answer = self.method.function(question, **self.options)
            s, plain = self._values(question, answer)
            scores.append(_widened(answer.scores, ids.shape[1]))
            values.append(s)
            cosines.append(plain)
            notes += answer.notes
            settings |= answer.settings
            for name, tensor in answer.extras.items():
                if name == "owner":
                    tensor = tensor + first
                extras.setdefault(name, []).append(_widened(tensor, ids.shape[1]))
        joined = {name: self._kept(torch.cat(pieces)) for name, pieces in extras.items()}
        return TokenAttribution(
            scores=self._kept(torch.cat(scores)).float(),
            marks=marks,
            s=self._kept(torch.cat(values)),
            cosine=self._kept(torch.cat(cosines)).float(),
            extras=joined,
            notes=tuple(notes),
            settings=settings,
        )

    def _length(self, ids: Int[Tensor, "T S"]) -> int:
        """Positions that these texts need: up to the last end where what is behind changes nothing."""
        whole = isinstance(self.parts, TextParts) and not self.parts.cuttable
        if self.parts is None or whole:
            return ids.shape[1]
        ends = self.parts.ends(ids)
        return ids.shape[1] if ends is None else int(ends.max()) + 1

    def _values(self, question: Question, answer: Answer) -> tuple[Float[Tensor, " T"], Float[Tensor, " T"]]:
        """(s, cosine) of the whole texts."""
        image = question.match.image
        if image is None:
            unknown = torch.full((len(question.ids),), torch.nan, device=question.ids.device)
            return unknown, unknown
        features = answer.features
        if features is None:
            with torch.set_grad_enabled(self.live):
                features = question.view.encode(question.ids)
        return question.match(features), cosine(features, image)

    def _kept(self, tensor: Tensor) -> Tensor:
        return tensor if self.live else tensor.detach()


def _widened(tensor: Tensor, width: int) -> Tensor:
    """A table of positions with the ones that were cut off, as zeros."""
    return F.pad(tensor, (0, width - tensor.shape[1])) if tensor.ndim == 2 else tensor
