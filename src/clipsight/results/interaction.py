"""The answer to "which word of the caption is matched by which region of the picture?"."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from clipsight.draw import Drawing, Number, Scale, ScaleChoice, choose_scale, heat, number, printable

from .interaction_drawn import interaction_notebook, interaction_page, interaction_sheet
from .io import FORMAT, json_numbers, naming, read_npz
from .provenance import Provenance
from .shown import Shown
from .words import Place, WordScore

SUFFIXES = (".png", ".npz", ".json", ".html")
MOST = 12
"""Words that a sheet shows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Interaction(Shown):
    """One caption, one picture, and what each token and each patch carry of their match together.

    `matrix` and `rest` add up to `cosine` where `additive` says so; `error` is what rounding leaves. Values are raw and
    signed: above zero a pair speaks for the match, below it against. Patch (row, column) of the h×w grid covers the
    pixels row·H/h … (row+1)·H/h and column·W/w … (column+1)·W/w. Arrays are not copied: treat them as read-only.

    Not claimed: that a patch's pixels alone bring what is read there. A token has mixed with others when it is read.

    Errors: ValueError naming the field when counts, places or types do not agree.

    >>> j = clipsight.load("clipsight-tiny").interact("photo.jpg", "a red car left of a dog")
    >>> j["red car"].shape, j.word_scores, j.rest
    >>> j.save("photo.html")
    """

    image: UInt8[np.ndarray, "H W 3"]  # the picture, RGB
    caption: str
    tokens: tuple[str, ...]  # the caption's own, as it is written
    places: tuple[Place, ...]  # first character and the one after the last of each
    matrix: Float[Tensor, "S h w"]  # float32 on the CPU
    words: tuple[WordScore, ...]  # in order; `tokens` are rows of `matrix`
    marks: tuple[WordScore, ...] = ()  # punctuation
    table: Float[Tensor, "words S"]  # what each word has of each token: its map is table @ matrix
    spans: tuple[WordScore, ...] = ()  # phrases that were asked for
    cosine: float | int
    rest: Mapping[str, float] = field(default_factory=dict)  # what is no pair's, by name
    additive: bool = True  # whether matrix and rest add up to the cosine
    unit: str = "share of the cosine"
    roles_by: str = ""  # which extractor, with its version; "" if roles were not asked for
    dropped: str = ""  # the end of the caption that the model does not see
    trust: tuple[str, ...] = ()
    source: str = ""
    provenance: Provenance

    def __post_init__(self) -> None:
        """Refuse fields that do not fit each other."""
        for name in ("tokens", "words", "marks", "spans", "trust"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "places", tuple((int(a), int(b)) for a, b in self.places))
        object.__setattr__(self, "rest", {str(k): float(v) for k, v in self.rest.items()})
        count, (h, w) = len(self.tokens), self.provenance.grid
        wanted = {"matrix": (count, h, w), "table": (len(self.words), count)}
        for name, shape in wanted.items():
            value = getattr(self, name)
            if value.dtype != torch.float32 or value.device.type != "cpu" or tuple(value.shape) != shape:
                raise ValueError(
                    f"{name} must be float32 of shape {shape} on the CPU for {count} tokens on a {h}×{w} grid, got "
                    f"{value.dtype} of {tuple(value.shape)} on {value.device}."
                )
        if len(self.places) != count:
            raise ValueError(f"{count} tokens have {len(self.places)} places; each has one.")
        for one in (*self.words, *self.marks, *self.spans):
            if self.caption[one.start : one.end] != one.text or not one.text:
                raise ValueError(f"{one.text!r} is not at {one.start}:{one.end} of the caption.")

    def __repr__(self) -> str:
        """One line: the three strongest words, cosine, method, model."""
        best = sorted(self.words, key=lambda word: -word.score)[:3]
        said = ", ".join(f"{word.text!r} {word.score:.3g}" for word in best)
        made = self.provenance
        return f"Interaction({said}; cosine {self.cosine:.3f}, {made.method} on {made.model})"

    @property
    def method(self) -> str:
        """Id of the method."""
        return self.provenance.method

    @property
    def word_maps(self) -> Float[Tensor, "words h w"]:
        """The map of every word: its tokens' rows added up."""
        return torch.einsum("ws,syx->wyx", self.table, self.matrix)

    @property
    def word_scores(self) -> Float[Tensor, " words"]:
        """What every word carries over the whole picture."""
        return torch.tensor([word.score for word in self.words], dtype=torch.float32)

    @property
    def patch_map(self) -> Float[Tensor, "h w"]:
        """What every patch carries for the whole caption."""
        return self.matrix.sum(0)

    @property
    def roles(self) -> tuple[str, ...]:
        """Of the words, in order; "" where roles were not asked for."""
        return tuple(word.role for word in self.words)

    @property
    def strongest(self) -> float:
        """The largest absolute score of a word or mark: full colour in drawings; 0 where nothing is finite."""
        sizes = [abs(one.score) for one in (*self.words, *self.marks) if np.isfinite(one.score)]
        return max(sizes, default=0.0)

    @property
    def pairs(self) -> float:
        """What all pairs of a token and a patch carry together."""
        return float(self.matrix.double().sum())

    @property
    def error(self) -> float:
        """|sum of all parts − cosine|, rounding alone; NaN where the method shares no cosine out."""
        return abs(self.pairs + sum(self.rest.values()) - self.cosine) if self.additive else nan

    def index(self, text: str | int) -> tuple[int, ...]:
        """The numbers of the words that a word or a phrase of the caption is made of.

        Raises:
            KeyError: it is not in the caption, naming the words. IndexError: no word has that number.
        """
        if isinstance(text, int):
            if not -len(self.words) <= text < len(self.words):
                raise IndexError(f"word {text} of {len(self.words)}")
            return (text % len(self.words),)
        for found in re.finditer(re.escape(text.strip()), self.caption, re.IGNORECASE):
            inside = [
                k for k, w in enumerate(self.words) if found.start() <= w.start and w.end <= found.end()
            ]
            # "red" in "covered" is no word
            cut = [w for w in self.words if w.start < found.end() and w.end > found.start()]
            if inside and len(cut) == len(inside):
                return tuple(inside)
        listed = ", ".join(word.text for word in self.words)
        raise KeyError(f"{text!r} is no word or phrase of the caption; its words are {listed}")

    def __getitem__(self, text: str | int) -> Float[Tensor, "h w"]:
        """The map of a word or a phrase, which is the sum of its words' maps."""
        rows = self.table[list(self.index(text))].sum(0)
        return torch.einsum("s,syx->yx", rows, self.matrix)

    def role_map(self, role: str) -> Float[Tensor, "h w"]:
        """The map of all words of a role: "object", "attribute", "relation" or "other"."""
        chosen = torch.tensor([float(one == role) for one in self.roles])
        return torch.einsum("w,wyx->yx", chosen, self.word_maps)

    def words_in(self, box: tuple[Number, Number, Number, Number]) -> Float[Tensor, " words"]:
        """What every word carries with the patches of a region.

        Args:
            box: (left, top, right, bottom) in pixels of the picture; a patch that is covered in part counts so much.

        Raises:
            ValueError: a box without pixels of the picture.
        """
        height, width = self.image.shape[:2]
        left, top, right, bottom = (float(side) for side in box)
        rows = _covered(top, bottom, height, self.matrix.shape[1])
        columns = _covered(left, right, width, self.matrix.shape[2])
        if not rows.any() or not columns.any():
            raise ValueError(f"the box {box} holds no pixel of a picture of {width} × {height} pixels.")
        return torch.einsum("wyx,y,x->w", self.word_maps, rows, columns)

    def centred(self) -> "Interaction":
        """The same, minus what all tokens have in common at a patch: where a word differs from the others.

        What was subtracted is a separate remainder, so that the sum does not change.
        """
        mean = self.matrix.mean(0)
        matrix = self.matrix - mean
        scores = torch.einsum("ws,syx->w", self.table, matrix)
        words = tuple(replace(one, score=float(s)) for one, s in zip(self.words, scores, strict=True))
        shared = {"what all tokens share": float(mean.double().sum()) * len(self.tokens)}
        return replace(
            self,
            matrix=matrix,
            words=words,
            spans=(),
            rest={**self.rest, **shared} if self.additive else self.rest,
        )

    def scale_of(self, text: str | int, scale: ScaleChoice = "shared", *, cmap: str = heat.CMAP) -> Scale:
        """The scores that a drawing shows as nothing and as full colour; see `Explanation.scale_of`."""
        every, own = self.word_maps.numpy(), self[text].numpy()
        return _scale(own, every, scale, cmap)

    def overlay(
        self,
        words: str | int | Sequence[str | int],
        *,
        scale: ScaleChoice = "own",
        cmap: str = heat.CMAP,
        alpha: Number = heat.ALPHA,
        size: tuple[int, int] | None = None,
    ) -> Image.Image:
        """The map of a word, a phrase, or several added up, over the pale picture, RGB; options as of `Explanation`."""
        asked = [words] if isinstance(words, str | int) else list(words)
        scores = torch.stack([self[one] for one in asked]).sum(0).numpy()
        picture, drawing = Image.fromarray(self.image), Drawing(scale=scale, cmap=cmap, alpha=alpha)
        chosen = _scale(scores, self.word_maps.numpy(), scale, cmap)
        return drawing.over(picture, scores, chosen, size or heat.limited(picture))

    def shown_words(self, most: int = MOST) -> list[int]:
        """Words that a sheet shows: those with a role other than "other", else all; the strongest, in order."""
        named = [k for k, word in enumerate(self.words) if word.role in ("object", "attribute", "relation")]
        chosen = named or list(range(len(self.words)))
        return sorted(sorted(chosen, key=lambda k: -abs(self.words[k].score))[:most])

    def grid(self) -> Image.Image:
        """The caption in colour, a map for each content word, and bars of what makes up the cosine; RGB."""
        return interaction_sheet(self)

    def lines(self) -> list[str]:
        """For a terminal: the cosine and what makes it up, then each word's share and its highest place."""
        h, w = self.matrix.shape[1:]
        height, width = self.image.shape[:2]
        said = [f"cosine {number(float(self.cosine))}"]
        if self.additive:
            parts = [f"words × patches {number(self.pairs)}"]
            parts += [f"{name} {number(value)}" for name, value in self.rest.items()]
            said = [f"cosine {number(float(self.cosine))} = {' + '.join(parts)}"]
        for word, own in zip(self.words, self.word_maps, strict=True):
            at = int(own.argmax())
            x, y = (at % w + 0.5) * width / w, (at // w + 0.5) * height / h
            role = f" ({word.role})" if word.role else ""
            said.append(
                f"{printable(word.text)}{role}: {number(word.score)}, highest {number(float(own.max()))} at x {x:.0f}, "
                f"y {y:.0f}"
            )
        return said

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without the picture; `from_dict` reads it."""
        return {
            **self._meta(),
            "matrix": json_numbers(self.matrix.numpy()),
            "table": json_numbers(self.table.numpy()),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], image: UInt8[np.ndarray, "H W 3"]) -> "Interaction":
        """What `to_dict` wrote, with the picture.

        Raises:
            ValueError: it is something else, or a part is missing.
        """
        if data.get("kind") != "interaction":
            raise ValueError(f"this is {data.get('kind', 'no clipsight result')!r}, not 'interaction'.")
        try:
            grid = tuple(data["provenance"]["grid"])
            count = len(data["tokens"])
            plain: dict[str, Any] = {name: data[name] for name in _PLAIN}
            plain |= {name: tuple(data[name]) for name in ("tokens", "trust")}
            return cls(
                image=image,
                matrix=_tensor(data["matrix"], (count, *grid)),
                table=_tensor(data["table"], (len(data["words"]), count)),
                **plain,
                places=tuple((a, b) for a, b in data["places"]),
                cosine=_known(data["cosine"]),
                rest={name: _known(value) for name, value in data["rest"].items()},
                words=tuple(map(_word, data["words"])),
                marks=tuple(map(_word, data["marks"])),
                spans=tuple(map(_word, data["spans"])),
                provenance=Provenance.from_dict(data["provenance"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"a part of an interaction is missing or of another kind: {error}.") from error

    def to_html(self) -> str:
        """One page without outside parts: choose words and see their region, choose a region and see its words."""
        return interaction_page(self)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the result; the suffix chooses the format. Gives back the path.

        .png the sheet of `grid()` · .html the page of `to_html()` · .json everything but the picture · .npz everything,
        for `load`. Errors as for `Explanation.save`.
        """
        return self._write(path, SUFFIXES, overwrite)

    def _arrays(self) -> dict[str, np.ndarray]:
        return {"image": self.image, "matrix": self.matrix.numpy(), "table": self.table.numpy()}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Interaction":
        """Read a .npz that `save` wrote; no code in the file is run.

        Errors: FileNotFoundError; ValueError when it is not such a file or from a newer clipsight.
        """
        meta, arrays = read_npz(path, ("image", "matrix", "table"), kind="interaction")
        with naming(path):
            return cls.from_dict(
                {**meta, "matrix": arrays["matrix"], "table": arrays["table"]}, arrays["image"]
            )

    def _meta(self) -> dict[str, Any]:
        return {
            "kind": "interaction",
            "format": FORMAT,
            **{name: getattr(self, name) for name in _PLAIN},
            **{name: list(getattr(self, name)) for name in ("tokens", "trust")},
            "cosine": _finite(self.cosine),
            "rest": {name: _finite(value) for name, value in self.rest.items()},
            "error": _finite(self.error),
            "places": [list(place) for place in self.places],
            **{
                name: [
                    vars(one) | {"tokens": list(one.tokens), "score": _finite(one.score)}
                    for one in getattr(self, name)
                ]
                for name in _WORDS
            },
            "provenance": self.provenance.to_dict(),
        }

    def _settings(self) -> dict[str, Any]:
        return self._meta()

    def _repr_html_(self) -> str:
        return interaction_notebook(self)


def _scale(own: np.ndarray, every: np.ndarray, scale: ScaleChoice, cmap: str) -> Scale:
    signed, symmetric = cmap == heat.CMAP, heat.is_diverging(cmap)
    return choose_scale(own, every, scale, zero=True, symmetric=symmetric, signed=signed)


_PLAIN = ("caption", "additive", "unit", "roles_by", "dropped", "source")
_WORDS = ("words", "marks", "spans")


def _word(record: Mapping[str, Any]) -> WordScore:
    return WordScore(**{**record, "tokens": tuple(record["tokens"]), "score": _known(record["score"])})


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    return value if isfinite(value) else None


def _known(value: float | None) -> float:
    return nan if value is None else value


def _tensor(values: Any, shape: tuple[int, ...]) -> Tensor:
    made = np.array(values, dtype=np.float32)  # None becomes NaN
    return torch.from_numpy(made.reshape(shape))


def _covered(begin: float, end: float, pixels: int, cells: int) -> Float[Tensor, " cells"]:
    """How much of each cell lies between two pixels, from 0 to 1."""
    edges = torch.arange(cells + 1) * (pixels / cells)
    low, high = edges[:-1].clamp(min=begin), edges[1:].clamp(max=end)
    return (high - low).clamp(min=0) * (cells / pixels)
