"""The answer to "which words of this sentence does the picture support, and where?"."""

import operator
import os
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from clipsight.draw import number, printable
from clipsight.untrusted import strings

from .explanation import Explanation
from .io import FORMAT, json_numbers, naming, read_npz
from .provenance import Provenance
from .shown import Shown

SUFFIXES = (".png", ".npz", ".json", ".html")
TRUST = "The features of single words were never trained to match pictures; read this map as a hint."
_UNMEASURED = "single words of a sentence are not compared with names that are absent"


@dataclass(frozen=True, kw_only=True)
class SentenceWord:
    """A word of a sentence, or a mark of punctuation.

    Attributes:
        text: as it stands in the sentence.
        span: (first character, the one after the last) in the sentence.
        tokens: positions of its tokens among the model's, 0 being the first.
        kind: "word" or "mark".
    """

    text: str
    span: tuple[int, int]
    tokens: tuple[int, ...]
    kind: Literal["word", "mark"] = "word"


@dataclass(frozen=True, kw_only=True, eq=False)
class SentenceView(Shown):
    """A picture asked with each word of a sentence.

    Scores are raw and signed. Arrays are not copied: treat them as read-only.

    Attributes:
        image: the original picture, RGB.
        sentence: as given. tokens: what each position of `matrix` holds.
        words: words and marks that the model sees, in order.
        matrix: map of every token, start and end included; float32 on the CPU.
        maps: of the words, the mean of their tokens' maps.
        source: name of the picture, "" if unknown. provenance: how all this was made.

    Not claimed: that a word of a high score is true of the picture; see `TRUST`.

    Raises:
        ValueError: counts or shapes that do not agree.
    """

    image: UInt8[np.ndarray, "H W 3"]
    sentence: str
    tokens: tuple[str, ...]
    words: tuple[SentenceWord, ...]
    matrix: Float[Tensor, "S h w"]
    maps: Float[Tensor, "P h w"]
    source: str
    provenance: Provenance

    def __post_init__(self) -> None:
        """Refuse fields that do not fit each other."""
        grid = self.provenance.grid
        for name, count in (("matrix", len(self.tokens)), ("maps", len(self.words))):
            shape = tuple(getattr(self, name).shape)
            if not count or shape != (count, *grid):
                raise ValueError(
                    f"{name} must have the shape {(count, *grid)} and at least a row, got {shape}."
                )

    def __repr__(self) -> str:
        """The sentence and the words that the picture supports most."""
        best = ", ".join(f"{word} {number(score)}" for word, score in self.top(3))
        return f"SentenceView({printable(self.sentence)[:60]!r}: {best}; {self.provenance.method})"

    def __len__(self) -> int:
        """The number of words and marks."""
        return len(self.words)

    def index(self, word: str | int) -> int:
        """The row of a word (the first of equal ones), or a checked row number; KeyError, IndexError."""
        if isinstance(word, str):
            texts = [one.text for one in self.words]
            if word not in texts:
                raise KeyError(
                    f"{word!r} is no word of the sentence; its words are {', '.join(map(repr, texts))}"
                )
            return texts.index(word)
        row = operator.index(word)
        if not -len(self) <= row < len(self):
            raise IndexError(f"word {row} of {len(self)}")
        return row % len(self)

    def __getitem__(self, word: str | int) -> Float[Tensor, "h w"]:
        """The raw map of a word, by the word itself or by its number."""
        return self.maps[self.index(word)]

    @property
    def word_scores(self) -> Float[Tensor, " P"]:
        """Mean of each word's map over the patches."""
        return self.maps.mean((1, 2))

    @property
    def scores(self) -> Float[Tensor, " P"]:
        """The same as `word_scores`."""
        return self.word_scores

    @property
    def token_maps(self) -> Float[Tensor, "S h w"]:
        """The same as `matrix`."""
        return self.matrix

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The `k` highest (word, score) pairs, highest first; all of them when there are fewer."""
        order = self.scores.argsort(descending=True, stable=True)[: max(k, 0)]
        return [(self.words[index].text, float(self.scores[index])) for index in order.tolist()]

    def lines(self) -> list[str]:
        """The words with their scores, highest first; then how far to trust them."""
        return [*(f"{printable(word)}: {number(score)}" for word, score in self.top(len(self))), TRUST]

    @cached_property
    def explanation(self) -> Explanation:
        """The words' maps as an `Explanation` with the words as texts, for drawings and points."""
        unknown = torch.full((len(self),), torch.nan)
        return Explanation(
            image=self.image,
            texts=tuple(word.text for word in self.words),
            maps=self.maps,
            similarity=unknown,
            presence=unknown,
            presence_reason=_UNMEASURED,
            trust=(TRUST,) * len(self),
            source=self.source,
            provenance=self.provenance,
        )

    def overlay(self, word: str | int, **how: Any) -> Image.Image:
        """The map of one word over the pale picture; options as for `Explanation.overlay`."""
        return self.explanation.overlay(self.index(word), **how)

    def grid(self, **how: Any) -> Image.Image:
        """The picture and every word's overlay on one sheet; options as for `Explanation.grid`."""
        return self.explanation.grid(**how)

    def to_html(self) -> str:
        """One self-contained page; see `Explanation.to_html`."""
        return self.explanation.to_html()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without the picture; scores as for `Explanation.to_dict`."""
        return {
            **self._meta(),
            "scores": json_numbers(self.scores.numpy()),
            "maps": json_numbers(self.maps.numpy()),
            "matrix": json_numbers(self.matrix.numpy()),
        }

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the result as .png, .npz (for `load`), .json or .html; errors as for `Explanation.save`."""
        return self._write(path, SUFFIXES, overwrite)

    def _arrays(self) -> dict[str, np.ndarray]:
        return {"image": self.image, "matrix": self.matrix.numpy(), "maps": self.maps.numpy()}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "SentenceView":
        """Read a .npz that `save` wrote; no code in the file is run.

        Raises:
            FileNotFoundError; ValueError: not such a file, or from a newer clipsight.
        """
        meta, arrays = read_npz(path, ("image", "matrix", "maps"), kind="sentence")
        with naming(path):
            return cls(
                image=arrays["image"],
                sentence=meta["sentence"],
                tokens=strings(meta["tokens"], "tokens"),
                words=tuple(
                    SentenceWord(
                        text=word["text"],
                        span=(word["span"][0], word["span"][1]),
                        tokens=tuple(word["tokens"]),
                        kind=word["kind"],
                    )
                    for word in meta["words"]
                ),
                matrix=torch.from_numpy(arrays["matrix"]),
                maps=torch.from_numpy(arrays["maps"]),
                source=meta["source"],
                provenance=Provenance.from_dict(meta["provenance"]),
            )

    def _meta(self) -> dict[str, Any]:
        return {
            "kind": "sentence",
            "format": FORMAT,
            "sentence": self.sentence,
            "tokens": list(self.tokens),
            "words": [asdict(word) for word in self.words],
            "source": self.source,
            "provenance": self.provenance.to_dict(),
        }

    def _settings(self) -> dict[str, Any]:
        return self._meta()
