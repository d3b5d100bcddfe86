"""Examples to a batch: pixels, ids, roles of tokens, foils. What is drawn depends on (seed, epoch, index) alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from clipsight.errors import PictureError
from clipsight.language.spans import caption_tokens
from clipsight.language.tokens import Tokenizer, dropped_tails, tokenize
from clipsight.pictures import read_picture
from clipsight.towers.loading import Preprocess
from clipsight.tune.data.batch import Batch
from clipsight.tune.data.crop import Crop
from clipsight.tune.data.example import Example
from clipsight.tune.data.role_numbers import Matching, token_roles

FoilSource = Callable[[Example, int, int], Sequence[str]]
"""An example, its number and the epoch to captions that are false for its picture."""

KEPT_TEXTS = 20_000
"""Captions that are read once: in a small model's step reading takes longer than the rest. About 30 MB."""


class Unusable(ValueError):
    """An example that cannot be trained on: its picture is none, or its caption has no token."""


class Text(NamedTuple):
    """A caption as the model reads it; see `Batch`."""

    ids: Int[Tensor, " S"]
    content: Bool[Tensor, " S"]
    roles: UInt8[Tensor, " S"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """One example, ready to be stacked."""

    index: int
    pixels: UInt8[np.ndarray, "H W 3"]
    text: Text
    foils: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Collate:
    """Makes batches for a model.

    Args:
        tokenizer, context, preprocess: the model's own; the context in tokens.
        crop: what of a picture is seen.
        seed: of the crops.
        matching: how roles become tokens; None where no objective asks for them.
        foils: most foils of an example; 0 for none.
        foil_source: where they come from, such as `clipsight.tune.foils.FoilMaker`; None takes the data's own in order.

    Raises:
        ValueError: a negative number of foils.
    """

    tokenizer: Tokenizer | None
    context: int
    preprocess: Preprocess
    crop: Crop = field(default_factory=Crop)
    seed: int = 0
    matching: Matching | None = None
    foils: int = 0
    foil_source: FoilSource | None = None
    _texts: dict[Any, Text] = field(default_factory=dict, init=False, repr=False, compare=False)
    _warned: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.foils < 0:
            raise ValueError(
                f"foils is {self.foils}; give 0 for none, or how many false captions an example has."
            )

    def __getstate__(self) -> dict[str, Any]:
        """Without the captions it has read: each of their tensors would be a file shared with the other process."""
        return {**self.__dict__, "_texts": {}}

    def __call__(self, rows: Sequence[tuple[int, Example]], epoch: int = 0) -> Batch:
        """A batch of examples with their numbers.

        Captions that the context cuts are warned of once.

        Raises:
            Unusable: an example cannot be trained on; the message names it.
            ValueError: roles are asked for and nobody has looked for them.
            Unsupported: no tokenizer, or one that says nothing of its tokens.
        """
        return self.stack([self.prepare(index, example, epoch) for index, example in rows])

    def prepare(self, index: int, example: Example, epoch: int) -> Prepared:
        """One example; raises as a call does."""
        if self.matching is not None and example.spans is None:
            raise ValueError(
                f"the roles of {example.key or index}'s words were asked for and nobody has looked for them; open the "
                'data with roles="auto" or an extractor.'
            )
        try:
            picture = read_picture(example.picture)
        except PictureError as error:
            raise Unusable(f"{example.key or index}: {error}") from error
        pixels = self.crop(picture, self.preprocess, np.random.default_rng((self.seed, epoch, index)))
        foils = self._foils(example, index, epoch)
        return Prepared(index=index, pixels=pixels, text=self._text(index, example), foils=foils)

    def stack(self, rows: Sequence[Prepared]) -> Batch:
        """A batch of prepared examples."""
        ids = torch.stack([row.text.ids for row in rows])
        foil_ids, foil_valid = self._stacked_foils(rows, ids) if self.foils else (None, None)
        return Batch(
            images=_normalised(np.stack([row.pixels for row in rows]), self.preprocess),
            ids=ids,
            content=torch.stack([row.text.content for row in rows]),
            roles=torch.stack([row.text.roles for row in rows]),
            index=torch.tensor([row.index for row in rows]),
            foil_ids=foil_ids,
            foil_valid=foil_valid,
        )

    def _text(self, index: int, example: Example) -> Text:
        key = (example.caption, example.spans)
        if key not in self._texts:
            text = self._read(index, example)
            if len(self._texts) == KEPT_TEXTS:
                return text
            self._texts[key] = text
        return self._texts[key]

    def _read(self, index: int, example: Example) -> Text:
        ids = self._ids([example.caption])[0]
        assert self.tokenizer is not None  # `_ids` refuses to go without
        try:
            found = caption_tokens(self.tokenizer, example.caption, ids)
        except ValueError as error:
            raise Unusable(f"{example.key or index}: {error}") from error
        roles = torch.zeros(len(ids), dtype=torch.uint8)
        if self.matching is not None and example.spans is not None:
            roles = token_roles(found, ids, example.spans, self.tokenizer, self.matching)
        return Text(ids, torch.tensor([kind == "text" for kind in found.kinds]), roles)

    def _foils(self, example: Example, index: int, epoch: int) -> tuple[str, ...]:
        if not self.foils:
            return ()
        source = example.foils if self.foil_source is None else self.foil_source(example, index, epoch)
        return tuple(foil for foil in source if foil.strip())[: self.foils]

    def _stacked_foils(
        self, rows: Sequence[Prepared], ids: Int[Tensor, "B S"]
    ) -> tuple[Int[Tensor, "B k S"], Bool[Tensor, "B k"]]:
        """Ids of foils, and which are there; missing ones have the ids of the caption, which any tower reads."""
        foil_ids = ids[:, None].repeat(1, self.foils, 1)
        valid = torch.zeros(len(rows), self.foils, dtype=torch.bool)
        places = [(b, k) for b, row in enumerate(rows) for k in range(len(row.foils))]
        if places:
            b, k = torch.tensor(places).T
            foil_ids[b, k] = self._ids([foil for row in rows for foil in row.foils])
            valid[b, k] = True
        return foil_ids, valid

    def _ids(self, texts: Sequence[str]) -> Int[Tensor, "T S"]:
        """Token ids; the first texts that are cut are warned of."""
        if self.tokenizer is None or not self._warned:
            ids = tokenize(self.tokenizer, texts, self.context)
            if self.tokenizer is not None and _may_be_cut(texts, self.context):
                self._warned.extend(filter(None, dropped_tails(self.tokenizer, texts, self.context)))
            return ids
        return self.tokenizer(list(texts), context_length=self.context)


def _may_be_cut(texts: Sequence[str], context: int) -> bool:
    """A token takes at least one byte: shorter texts cannot be cut."""
    return any(len(text.encode()) > context - 2 for text in texts)


def _normalised(pixels: UInt8[np.ndarray, "B H W 3"], preprocess: Preprocess) -> Float[Tensor, "B 3 H W"]:
    """As `clipsight.towers.preprocess.to_pixels`, of many pictures at once."""
    values = rearrange(torch.from_numpy(pixels), "B H W C -> B C H W").to(
        torch.float32, memory_format=torch.contiguous_format
    )
    mean, std = (torch.tensor(given)[:, None, None] for given in (preprocess.mean, preprocess.std))
    return values.div_(255).sub_(mean).div_(std)


def tensors_of(batch: Batch) -> Mapping[str, Tensor]:
    """A batch's tensors by name, as processes hand them over; `Batch(**tensors)` is the batch."""
    return {name: tensor for name, tensor in vars(batch).items() if tensor is not None}
