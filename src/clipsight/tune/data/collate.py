"""Examples to a batch: pixels, ids, roles of tokens, foils. What is drawn depends on (seed, epoch, index) alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from clipsight.errors import PictureError
from clipsight.language.spans import caption_tokens
from clipsight.language.tokens import Tokenizer, check_texts, dropped_tails, tokenize
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
    _checked: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    _warned: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.foils < 0:
            raise ValueError(
                f"foils is {self.foils}; give 0 for none, or how many false captions an example has."
            )

    def __getstate__(self) -> dict[str, Any]:
        """Without the captions it has read: each of their tensors would be a file shared with the other process."""
        return {**self.__dict__, "_texts": {}, "_checked": set()}

    def __call__(self, rows: Sequence[tuple[int, Example]], epoch: int = 0) -> Batch:
        """A batch of examples with their numbers.

        Captions that the context cuts are warned of once.

        Raises:
            Unusable: an example cannot be trained on; the message names it.
            ValueError: roles are asked for and nobody has looked for them.
            Unsupported: no tokenizer, or one that says nothing of its tokens.
        """
        return self.stacked([(index, *self.see(index, example, epoch)) for index, example in rows])

    def see(
        self, index: int, example: Example, epoch: int
    ) -> tuple[UInt8[np.ndarray, "H W 3"], Text, tuple[str, ...]]:
        """Pixels, text and foils of an example; raises as a call does."""
        if self.matching is not None and example.spans is None:
            raise ValueError(
                f"the roles of {example.key or index}'s words were asked for and nobody has looked for them; open the "
                'data with roles="auto" or an extractor.'
            )
        assert not isinstance(example.picture, int | tuple)  # it was opened
        try:
            picture = read_picture(example.picture)
        except PictureError as error:
            raise Unusable(f"{example.key or index}: {error}") from error
        pixels = self.crop(picture, self.preprocess, np.random.default_rng((self.seed, epoch, index)))
        foils = self._foils(example, index, epoch)
        return pixels, self._text(index, example), foils

    def stacked(self, rows: Sequence[tuple[int, UInt8[np.ndarray, "H W 3"], Text, tuple[str, ...]]]) -> Batch:
        """A batch of what `see` gave, each behind its number."""
        numbers, pixels, texts, foils = zip(*rows, strict=True)
        ids = torch.stack([text.ids for text in texts])
        foil_ids, foil_valid = self._stacked_foils(foils, ids) if self.foils else (None, None)
        return Batch(
            images=_normalised(np.stack(pixels), self.preprocess),
            ids=ids,
            content=torch.stack([text.content for text in texts]),
            roles=torch.stack([text.roles for text in texts]),
            index=torch.tensor(numbers),
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
        self._check_text(example.caption, index, example)
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
        foils = tuple(foil for foil in source if foil.strip())[: self.foils]
        for foil in foils if self.foil_source is None or example.foils else ():
            self._check_text(foil, index, example)
        return foils

    def _check_text(self, text: str, index: int, example: Example) -> None:
        """Refuse what `Lens.explain` refuses, such as the token that ends a text for the model."""
        if self.tokenizer is None or text in self._checked:
            return
        try:
            check_texts([text], self.tokenizer)
        except ValueError as error:
            raise Unusable(f"{example.key or index}: {error}") from error
        if len(self._checked) < KEPT_TEXTS:
            self._checked.add(text)

    def _stacked_foils(
        self, foils: Sequence[tuple[str, ...]], ids: Int[Tensor, "B S"]
    ) -> tuple[Int[Tensor, "B k S"], Bool[Tensor, "B k"]]:
        """Ids of foils, and which are there; missing ones have the ids of the caption, which any tower reads."""
        foil_ids = ids[:, None].repeat(1, self.foils, 1)
        valid = torch.zeros(len(foils), self.foils, dtype=torch.bool)
        places = [(b, k) for b, some in enumerate(foils) for k in range(len(some))]
        if places:
            b, k = torch.tensor(places).T
            foil_ids[b, k] = self._ids([foil for some in foils for foil in some])
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
