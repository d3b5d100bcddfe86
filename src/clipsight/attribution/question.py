"""The input and output of a method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from clipsight.attribution.marks import Marks
from clipsight.attribution.match import Match
from clipsight.attribution.passes import TextPass, Trace, run
from clipsight.errors import Unsupported
from clipsight.towers.view import OnePieceText, TextParts, TextView

Groups = tuple[tuple[tuple[int, ...], ...], ...]
"""For each text its groups of token positions."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """Which tokens of these texts carry their match?

    Attributes:
        view: the text tower. parts: the same opened, None where it cannot be.
        ids: token ids at the length that the texts need; given_ids: as they were given, never shorter.
        marks: which of `ids` are special.
        match: the number to attribute.
        spans: groups of positions that go together; None: each word token by itself.
        live: True to keep the graph through to the parameters.
        shared: a pass of the texts that was run already, with a graph if `live`; None where there is none.
    """

    view: TextView
    parts: TextParts | OnePieceText | None
    ids: Int[Tensor, "T S"]
    given_ids: Int[Tensor, "T W"]
    marks: Marks
    match: Match
    spans: Groups | None = None
    live: bool = False
    shared: TextPass | None = None

    def run(
        self, trace: Trace, *, explicit: bool = False, graph_from: int = 0
    ) -> tuple[Float[Tensor, "T E"], Trace]:
        """The texts' features and the trace of their pass: the shared pass if it kept enough, otherwise a new one.

        Args: as of `clipsight.attribution.passes.run`.
        """
        if self.shared is not None and self.shared.serves(trace, explicit):
            return self.shared.features, self.shared.trace
        features = run(self.inside, self.ids, trace=trace, explicit=explicit, graph_from=graph_from)
        return features, trace

    @property
    def groups(self) -> Groups:
        """The spans, or every word token as a group of its own."""
        if self.spans is not None:
            return self.spans
        return tuple(
            tuple((place,) for place, word in enumerate(row) if word) for row in self.marks.content.tolist()
        )

    @property
    def words(self) -> list[list[int]]:
        """The ids of each text's words, the key of random draws; independent of batch and padding."""
        pairs = zip(self.ids.tolist(), self.marks.content.tolist(), strict=True)
        return [[token for token, word in zip(*pair, strict=True) if word] for pair in pairs]

    @property
    def inside(self) -> TextParts:
        """The tower in parts; `attribute` has refused other towers for methods that need it."""
        assert isinstance(self.parts, TextParts)
        return self.parts

    @property
    def opened(self) -> TextParts | OnePieceText:
        """The tower from token embeddings on; as `inside`."""
        assert self.parts is not None
        return self.parts


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """The answer of a method.

    Attributes:
        scores: signed, special positions included.
        features: the whole texts' features as the tower gives them, None where the method did not make them.
        extras: by name, one row for each text or, with their texts in "owner", for each group.
        notes: what a reader must know.
        settings: options that were left to the method, as it chose them.
    """

    scores: Float[Tensor, "T S"]
    features: Float[Tensor, "T E"] | None = None
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def checked_spans(spans: Sequence[Sequence[Sequence[int]]], marks: Marks) -> Groups:
    """The spans as tuples, each a group of word positions of its text that no other group shares.

    Raises:
        ValueError: another number of texts, an empty group, a position twice or none that holds a word.
    """
    content = marks.content.tolist()
    if len(spans) != len(content):
        raise ValueError(
            f"spans were given for {len(spans)} texts and there are {len(content)}; give one list of groups for each "
            "text, as in [[[1], [2, 3]]] for one text of two words."
        )
    for text, (groups, words) in enumerate(zip(spans, content, strict=True)):
        places = [place for group in groups for place in group]
        if any(not len(group) for group in groups):
            raise ValueError(f"text {text} has a span without a position; leave it out.")
        if len(set(places)) != len(places):
            raise ValueError(
                f"text {text} has spans that share a position: {sorted(places)}; make them apart."
            )
        if wrong := [place for place in places if not 0 <= place < len(words) or not words[place]]:
            raise ValueError(
                f"text {text} has spans at {wrong}, where no word is; its words are at "
                f"{[place for place, word in enumerate(words) if word]} (0 is the first position)."
            )
    return tuple(tuple(tuple(int(place) for place in group) for group in groups) for groups in spans)


def opened(view: TextView) -> TextParts | OnePieceText | None:
    """The tower in parts as far as possible; None if it takes only whole texts."""
    try:
        return view.parts()
    except Unsupported:
        return None


def block_numbers(layers: str | int | Sequence[int], depth: int) -> tuple[int, ...]:
    """0-based numbers of blocks, ascending.

    Args:
        layers: "last"; "ends" (first, middle, last: 0, 5, 11 of twelve); "all"; a number or several, negative ones
            from the end.
        depth: how many there are.

    Raises:
        ValueError: another word, or a number that no block has.
    """
    named = {
        "last": (depth - 1,),
        "ends": (0, max(depth // 2 - 1, 0), depth - 1),
        "all": tuple(range(depth)),
    }
    if isinstance(layers, str):
        if layers not in named:
            raise ValueError(f'layers is {layers!r}; it is "last", "ends", "all", or block numbers from 0.')
        return tuple(sorted(set(named[layers])))
    numbers = (layers,) if isinstance(layers, int) else tuple(layers)
    if not numbers or any(not -depth <= number < depth for number in numbers):
        raise ValueError(
            f"layers is {layers!r}; this text tower has {depth} blocks, 0 to {depth - 1}, or -{depth} to -1 counted "
            "from the end."
        )
    return tuple(sorted({number % depth for number in numbers}))


def spread(
    values: Float[Tensor, " N"], groups: Sequence[Sequence[Sequence[int]]], like: Tensor, *, divide: bool
) -> Float[Tensor, "T S"]:
    """Values of groups, text after text, assigned to their positions: divided among them, or repeated.

    Args:
        like: a (T, S) tensor for shape and device.
    """
    rows, columns, index, sizes = [], [], [], []
    for text, group in ((text, group) for text, mine in enumerate(groups) for group in mine):
        rows += [text] * len(group)
        columns += group
        index += [len(sizes)] * len(group)
        sizes.append(len(group))
    scores = torch.zeros(like.shape, dtype=values.dtype, device=like.device)
    if not rows:
        return scores
    each = values / torch.tensor(sizes, device=values.device) if divide else values
    where = (torch.tensor(rows, device=like.device), torch.tensor(columns, device=like.device))
    return scores.index_put(where, each[torch.tensor(index, device=values.device)])
