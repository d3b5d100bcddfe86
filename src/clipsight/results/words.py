"""The answer to "which words of this caption carry the match?"."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from clipsight.draw import caption_sheet

from . import words_text
from .io import (
    FORMAT,
    json_numbers,
    naming,
    read_json_result,
    read_npz,
    suffix_of,
)
from .pages import words_notebook, words_page
from .provenance import Provenance
from .shown import Shown
from .words_facts import caption_facts

if TYPE_CHECKING:
    from rich.console import RenderableType

SUFFIXES = (".png", ".npz", ".json", ".html")
ROLES = ("object", "attribute", "relation", "other")
KINDS = ("start", "text", "end", "padding")

Place = tuple[int, int]
"""First character and the one after the last, in the caption."""


@dataclass(frozen=True, kw_only=True)
class WordScore:
    """A word, a mark of punctuation or a phrase with its score; `caption[start:end]` is its text.

    Attributes:
        text, start, end: the word, and its characters in the caption.
        score: raw and signed, in the attribution's `unit`.
        role: "object", "attribute", "relation" or "other"; "" where roles were not asked for.
        tokens: positions of the tokens it takes, also those that it shares with its neighbour.
    """

    text: str
    start: int
    end: int
    score: float | int
    role: str = ""
    tokens: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RoleShare:
    """What the words of one role have together.

    `share` is the sum of their absolute scores over that of all words and marks: with scores that are never negative
    the part of the content's attribution that falls on them. NaN where all are zero.
    """

    count: int
    sum: float
    mean: float
    share: float


@dataclass(frozen=True, kw_only=True, eq=False)
class WordAttribution(Shown):
    """One caption, and how much of its match with a picture each of its words carries, by one method.

    Scores are raw and signed; they are scaled in drawings alone. Merged by "sum", the scores of words and marks, start,
    end and padding add up to those of the tokens. Start and end token are kept apart: the first is where attention goes
    that has nowhere else to go, the second is the text as a whole. Arrays are not copied: treat them as read-only.

    Not claimed: that a word of a high score is true of the picture, or that the model would notice if it were replaced.
    Look at `trust`, and ask with `against`.

    Errors: ValueError naming the field when counts, places or types do not agree.

    >>> w = clipsight.load("clipsight-tiny").words("photo.jpg", "a red car left of a dog")
    >>> w.top(3), w.by_role["relation"].share
    >>> w.save("photo.html")
    """

    image: UInt8[np.ndarray, "H W 3"] | None  # the picture, RGB; None if there was none
    caption: str
    tokens: tuple[str, ...]  # one a position: characters of the caption, or the name of a special token
    places: tuple[Place | None, ...]  # of each token; None for start, end and padding
    kinds: tuple[str, ...]  # of each token, one of KINDS
    token_scores: Float[Tensor, " S"]  # float32 on the CPU
    words: tuple[WordScore, ...]  # in order
    marks: tuple[WordScore, ...] = ()  # punctuation and symbols, in order
    spans: tuple[WordScore, ...] = ()  # phrases that were asked for; they may overlap
    dropped: str = ""  # the end of the caption that the model does not see
    similarity: float | int  # cosine of the picture and the caption; NaN without a picture
    against: tuple[str, ...] = ()  # foils that the caption was weighed against
    against_similarity: tuple[float | int, ...] = ()  # their cosines
    against_words: tuple[
        tuple[WordScore, ...], ...
    ] = ()  # of each foil, the words that it alone has, sign turned
    unit: str  # what a score is, in words: "share of attention", "cosine"
    merge: str = "sum"  # how tokens became words: "sum" or "mean"
    roles_by: str = ""  # which extractor, with its version; "" if roles were not asked for
    checks: Mapping[str, float] = field(default_factory=dict)  # figures of a sanity check; {} without one
    trust: tuple[str, ...] = ()  # plain sentences on what the scores are and are not
    source: str = ""  # name of the picture, "" if unknown
    provenance: Provenance

    def __post_init__(self) -> None:
        """Refuse fields that do not fit each other."""
        for name in ("tokens", "kinds", "words", "marks", "spans", "against", "trust"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "places", tuple(p and (int(p[0]), int(p[1])) for p in self.places))
        object.__setattr__(self, "against_similarity", tuple(map(float, self.against_similarity)))
        object.__setattr__(
            self, "against_words", tuple(map(tuple, self.against_words)) or ((),) * len(self.against)
        )
        object.__setattr__(self, "checks", {k: float(v) for k, v in self.checks.items()})
        count = len(self.tokens)
        if not (count == len(self.places) == len(self.kinds)) or tuple(self.token_scores.shape) != (count,):
            raise ValueError(
                f"tokens, places, kinds and token_scores have {count}, {len(self.places)}, {len(self.kinds)} and "
                f"{tuple(self.token_scores.shape)} entries; each token has one of each."
            )
        if self.token_scores.dtype != torch.float32 or self.token_scores.device.type != "cpu":
            raise ValueError(
                f"token_scores must be float32 on the CPU, got {self.token_scores.dtype} on "
                f"{self.token_scores.device}; write `.detach().float().cpu()`."
            )
        if unknown := set(self.kinds) - set(KINDS):
            raise ValueError(f"the kind {min(unknown)!r} of a token is not one of {', '.join(KINDS)}.")
        for one in (*self.words, *self.marks, *self.spans):
            written = self.caption[one.start : one.end]
            plain = written.isascii() and written.isprintable() and "&" not in written
            if not one.text or not written or (plain and written != one.text):
                raise ValueError(
                    f"{one.text!r} is not at {one.start}:{one.end} of the caption "
                    f"({self.caption[one.start : one.end]!r} is); places count characters of the caption as given."
                )
            if one.role and one.role not in ROLES:
                raise ValueError(f"the role {one.role!r} is not one of {', '.join(ROLES)}.")
        if not len(self.against) == len(self.against_similarity) == len(self.against_words):
            raise ValueError(
                f"{len(self.against)} foils have {len(self.against_similarity)} similarities and "
                f"{len(self.against_words)} lists of words; each has one."
            )

    def __repr__(self) -> str:
        """One line: the three highest words, method, model."""
        best = ", ".join(f"{word.text!r} {word.score:.3g}" for word in self.top(3))
        return f"WordAttribution({best}; {self.method} on {self.provenance.model})"

    def __str__(self) -> str:
        """The caption and its words as plain text; `rich.print` shows it in colour."""
        return words_text.plain(caption_facts(self))

    def __rich__(self) -> "RenderableType":
        """In colour, for rich's consoles."""
        return words_text.coloured(caption_facts(self))

    def __len__(self) -> int:
        """The number of words."""
        return len(self.words)

    def __getitem__(self, text: str) -> WordScore:
        """A word, mark or asked phrase by its text, the first of equal ones; KeyError naming the words."""
        for one in (*self.words, *self.spans, *self.marks):
            if one.text == text:
                return one
        raise KeyError(
            f"{text!r} is no word of the caption; its words are {', '.join(w.text for w in self.words)}"
        )

    @property
    def method(self) -> str:
        """Id of the attribution method."""
        return self.provenance.method

    @property
    def settings(self) -> Mapping[str, Any]:
        """Its options, all of them."""
        return self.provenance.settings

    @property
    def scores(self) -> Float[Tensor, " W"]:
        """Of the words, in order."""
        return torch.tensor([word.score for word in self.words], dtype=torch.float32)

    @property
    def roles(self) -> tuple[str, ...]:
        """Of the words, in order."""
        return tuple(word.role for word in self.words)

    @property
    def start_score(self) -> float:
        """Of the start token; 0 where the tokenizer has none."""
        return self.kind_score("start")

    @property
    def end_score(self) -> float:
        """Of the end token."""
        return self.kind_score("end")

    def kind_score(self, kind: str) -> float:
        """The sum over the tokens of one kind."""
        return float(
            sum(s.item() for s, own in zip(self.token_scores, self.kinds, strict=True) if own == kind)
        )

    @property
    def strongest(self) -> float:
        """The largest absolute score of a word or mark: full colour in drawings; 0 where nothing is finite."""
        sizes = [abs(one.score) for one in (*self.words, *self.marks) if np.isfinite(one.score)]
        return max(sizes, default=0.0)

    @property
    def by_role(self) -> dict[str, RoleShare]:
        """Role -> what its words have together; "other" holds the marks too. {} where roles were not asked for."""
        if not self.roles_by:
            return {}
        everything = [*self.words, *self.marks]
        total = sum(abs(one.score) for one in everything)
        found = {}
        for role in ROLES:
            scores = [one.score for one in everything if (one.role or "other") == role]
            size = sum(map(abs, scores))
            found[role] = RoleShare(
                count=len(scores),
                sum=float(sum(scores)),
                mean=float(sum(scores) / len(scores)) if scores else nan,
                share=float(size / total) if total else nan,
            )
        return found

    @property
    def gap(self) -> float:
        """Mean score of object words over that of attribute and relation words; above 1 objects carry more.

        CLIP-CAE's observation (EMNLP 2024) in one number for one caption. NaN where one of the two has no words, or a
        mean that is not above zero: a ratio of signed scores says nothing.
        """
        objects = [word.score for word in self.words if word.role == "object"]
        others = [word.score for word in self.words if word.role in ("attribute", "relation")]
        if not objects or not others or sum(objects) <= 0 or sum(others) <= 0:
            return nan
        return float(np.mean(objects) / np.mean(others))

    def top(self, n: int = 5) -> list[WordScore]:
        """The `n` words of the highest scores, highest first; all of them when there are fewer."""
        known = [word for word in self.words if word.score == word.score]
        return sorted(known, key=lambda word: -word.score)[: max(n, 0)]

    def grid(self) -> Image.Image:
        """The picture, the caption in colour and a bar for each word on one sheet, RGB, 1,440 pixels wide."""
        return caption_sheet(caption_facts(self))

    def figure(self) -> Image.Image:
        """The same as `grid()`, by its former name."""
        return self.grid()

    def lines(self) -> list[str]:
        """The caption and its words as plain text."""
        return str(self).splitlines()

    def to_html(self) -> str:
        """One page without outside parts: the caption in colour, its words, tokens and how this was made."""
        return words_page(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without the picture; None stands for NaN and infinity. `from_dict` reads it."""
        return {
            **self._meta(),
            "token_scores": json_numbers(self.token_scores.numpy()),
            "by_role": {
                role: dict(zip(vars(found), _plain(list(vars(found).values())), strict=True))
                for role, found in self.by_role.items()
            },
            "gap": _plain([self.gap])[0],
            "start_score": _plain([self.start_score])[0],
            "end_score": _plain([self.end_score])[0],
        }

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], image: UInt8[np.ndarray, "H W 3"] | None = None
    ) -> "WordAttribution":
        """What `to_dict` wrote, with the picture if it is at hand.

        Raises:
            ValueError: it is something else, or a part is missing.
        """
        if data.get("kind") != "words":
            raise ValueError(
                f"this is {data.get('kind', 'no clipsight result')!r}, not 'words'; give what "
                "WordAttribution.to_dict gives."
            )
        try:
            scores = torch.tensor(
                [nan if s is None else s for s in data["token_scores"]], dtype=torch.float32
            )
            return cls(**_fields(data), token_scores=scores, image=image)
        except (LookupError, TypeError, AttributeError, RuntimeError) as error:
            raise ValueError(
                f"a part of a word attribution is missing or of another kind: {error}."
            ) from error

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the result; the suffix chooses the format. Gives back the path.

        .png the sheet of `grid()`, with all numbers inside the file · .html one page with no outside parts · .json
        everything but the picture · .npz everything. Errors as for `Explanation.save`.
        """
        return self._write(path, SUFFIXES, overwrite)

    def _arrays(self) -> dict[str, np.ndarray]:
        return {"token_scores": self.token_scores.numpy(), "image": _image_or_nothing(self.image)}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "WordAttribution":
        """Read a .npz or .json that `save` wrote; a .json has no picture.

        Errors: FileNotFoundError; ValueError when it is not such a file or from a newer clipsight.
        """
        if suffix_of(path, (".npz", ".json")) == ".json":
            data = read_json_result(path, "words")
            with naming(path):
                return cls.from_dict(data)
        meta, arrays = read_npz(path, ("token_scores", "image"), kind="words")
        image = arrays["image"] if arrays["image"].size else None
        with naming(path):
            return cls.from_dict({**meta, "token_scores": arrays["token_scores"].tolist()}, image)

    def _meta(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in _WORDS}
        lists = {name: list(getattr(self, name)) for name in _LISTS}
        scored = {name: [_record(one) for one in getattr(self, name)] for name in _SCORED}
        return {
            "kind": "words",
            "format": FORMAT,
            **plain,
            **lists,
            **scored,
            "places": [p and list(p) for p in self.places],
            "similarity": _plain([self.similarity])[0],
            "against_similarity": _plain(self.against_similarity),
            "against_words": [[_record(one) for one in words] for words in self.against_words],
            "checks": dict(zip(self.checks, _plain(list(self.checks.values())), strict=True)),
            "provenance": self.provenance.to_dict(),
        }

    def _settings(self) -> dict[str, Any]:
        return self.to_dict()

    def _repr_html_(self) -> str:
        return words_notebook(self)


_WORDS = ("caption", "dropped", "unit", "merge", "roles_by", "source")
_LISTS = ("tokens", "kinds", "against", "trust")
_SCORED = ("words", "marks", "spans")


def _plain(values: Sequence[float | int]) -> list[float | int | None]:
    """The shortest decimals that give back each float32, None for NaN and infinity; whole numbers as they are."""
    return [value if isinstance(value, int) else json_numbers(np.array([value]))[0] for value in values]


def _record(one: WordScore) -> dict[str, Any]:
    return {**asdict(one), "score": _plain([one.score])[0], "tokens": list(one.tokens)}


def _fields(data: Mapping[str, Any]) -> dict[str, Any]:
    def number(value: float | None) -> float:
        return nan if value is None else value

    def scored(records: Sequence[Mapping[str, Any]]) -> tuple[WordScore, ...]:
        return tuple(
            WordScore(**{**one, "score": number(one["score"]), "tokens": tuple(one["tokens"])})
            for one in records
        )

    return {
        **{name: data[name] for name in _WORDS},
        **{name: tuple(data[name]) for name in _LISTS},
        **{name: scored(data[name]) for name in _SCORED},
        "against_words": tuple(map(scored, data["against_words"])),
        "places": tuple(p and (p[0], p[1]) for p in data["places"]),
        "similarity": number(data["similarity"]),
        "against_similarity": tuple(map(number, data["against_similarity"])),
        "checks": {name: number(value) for name, value in data["checks"].items()},
        "provenance": Provenance.from_dict(data["provenance"]),
    }


def _image_or_nothing(image: np.ndarray | None) -> np.ndarray:
    return np.zeros((0, 0, 3), np.uint8) if image is None else image
