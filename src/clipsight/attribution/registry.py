"""Attributions by id: the function, what it needs of a tower, what its scores mean, where it comes from.

A new attribution is one new file of this folder: `find` imports them all, and each registers itself.
"""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Literal

from clipsight.attribution.question import Answer
from clipsight.attribution.scores import TokenScores
from clipsight.errors import Unsupported
from clipsight.features import Citation
from clipsight.towers.view import OnePieceText, TextParts, TextView

Inside = Literal["ids", "embeddings", "pooled", "blocks"]
"""How far a method looks into a tower: not at all, from token embeddings on, at what the pooled feature reads (blocks,
or the final states of a mean), or into its blocks."""

Side = Literal["text", "image", "joint"]
"""What the scores belong to: tokens of a caption, patches of a picture, or pairs of both."""

Method = Callable[..., Answer]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the unit of scores can depend on.

    Attributes:
        options: the method's own, as they were used.
        text_alone: True when no picture took part, so that changes of the text itself were measured.
        measure: "cosine", or "log-probability" among foils.
    """

    options: Mapping[str, Any]
    text_alone: bool
    measure: str


Unit = str | Callable[[Measured], str]


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """A method and the facts about it.

    Attributes:
        id: its name.
        function: `function(question, **options)`.
        summary: one sentence; begins with "Reconstructed" where no code of the authors is public.
        side: what its scores belong to.
        unit: what a score is, in words that follow "a score is": "share of attention".
        image: True when it needs a picture, False when it can do without or never looks at one.
        gradients: True when it differentiates.
        inside: how far it looks into the tower.
        signed: True when scores below zero mean "speaks against". unsigned_when: options, by name, with which they
            never do.
        linear: True when the scores of a difference are the difference of the scores, so that a contrast is exact.
        spans: True when groups of tokens are asked together. spans_when: options, by name, with which alone they are.
        trust: what a reader of any of its results must know, one sentence; "" for nothing but the sign.
        sources: papers and programs, the first one first.
    """

    id: str
    function: Method
    summary: str
    side: Side
    unit: Unit
    image: bool
    gradients: bool
    inside: Inside
    signed: bool
    linear: bool
    spans: bool
    sources: tuple[Citation, ...]
    unsigned_when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    spans_when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    trust: str = ""

    @property
    def options(self) -> Mapping[str, Any]:
        """Options and their defaults."""
        parameters = inspect.signature(self.function).parameters.values()
        return {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}

    def checked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options, with the given ones replacing their defaults.

        Raises:
            TypeError: one that the method does not have.
        """
        options = dict(self.options)
        for name in given:
            if name not in options:
                near = difflib.get_close_matches(name, options, n=1)
                hint = f"; did you mean {near[0]!r}" if near else ""
                raise TypeError(
                    f"the attribution {self.id!r} has no option {name!r}{hint}? It has "
                    f"{', '.join(options) or 'none'}."
                )
        return options | dict(given)

    def is_signed(self, options: Mapping[str, Any]) -> bool:
        """Whether scores below zero mean "speaks against" with these options."""
        full = {**self.options, **options}
        return self.signed and not any(full[name] in values for name, values in self.unsigned_when.items())

    def takes_groups(self, options: Mapping[str, Any]) -> bool:
        """Whether groups of tokens are scored together with these options."""
        full = {**self.options, **options}
        return self.spans and all(full[name] in values for name, values in self.spans_when.items())

    def unit_of(self, scores: TokenScores) -> str:
        """What one of these scores is, in words."""
        options = scores.settings
        measured = Measured(
            options=options,
            text_alone=options.get("measure") == "text" or bool(scores.similarity.isnan().all()),
            measure="log-probability" if options.get("contrast") == "log_softmax" else "cosine",
        )
        unit = self.unit if isinstance(self.unit, str) else self.unit(measured)
        return unit + (", against the foils" if options.get("against") else "")

    def trust_of(self, scores: TokenScores) -> str:
        """What a reader of these scores must know about the method; "" for nothing."""
        if self.trust or self.is_signed(scores.settings):
            return self.trust
        return f"{self.id} says how much a word counts, not whether it speaks for the match or against it."


_ATTRIBUTIONS: dict[str, Attribution] = {}


def attribution(id: str, **facts: Any) -> Callable[[Method], Method]:
    """Register the decorated function under its id, with the facts of `Attribution`.

    Raises:
        ValueError: another function has the id.
    """

    def register(function: Method) -> Method:
        if id in _ATTRIBUTIONS:
            raise ValueError(f"an attribution with the id {id!r} is registered already; give yours its own.")
        _ATTRIBUTIONS[id] = Attribution(id=id, function=function, **facts)
        return function

    return register


def get_attribution(id: str) -> Attribution:
    """The method of this id.

    Raises:
        ValueError: there is none.
    """
    if (known := _ATTRIBUTIONS.get(id)) is not None:
        return known
    near = difflib.get_close_matches(str(id), _ATTRIBUTIONS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise ValueError(f"no attribution is called {id!r}{hint} There are {', '.join(sorted(_ATTRIBUTIONS))}.")


def attribution_ids(side: Side = "text") -> tuple[str, ...]:
    """Ids of the methods of one side: the four of CLIP-CAE first, then the others by name."""
    first = ("attention", "gradcam", "perturbation", "gradient")
    found = {id for id, one in _ATTRIBUTIONS.items() if one.side == side}
    return tuple(sorted(found, key=lambda id: (first.index(id) if id in first else len(first), id)))


def find(package: str, paths: Iterable[str]) -> None:
    """Import every file of a package, so that the attributions among them register themselves."""
    for found in iter_modules(paths):
        import_module(f"{package}.{found.name}")


def why_not(id: str, view: TextView, options: Mapping[str, Any] | None = None) -> str:
    """Why this method does not run on a tower, and the nearest alternative; "" if it does.

    Args:
        options: the method's own; "op" decides how far removing words looks into the tower.

    Raises:
        ValueError: no method has the id.
    """
    method = get_attribution(id)
    try:
        parts = view.parts()
    except Unsupported as error:
        parts, closed = None, str(error)
    else:
        closed = f"this text tower, {type(view).__name__}, runs a model of another library in one piece."
    asked = (options or {}).get("op", method.options.get("op"))
    if isinstance(parts, TextParts) or (method.inside == "ids" and asked in ("drop", "mask_token")):
        return ""
    if isinstance(parts, OnePieceText) and (
        method.inside in ("ids", "embeddings") or (method.inside == "pooled" and parts.pools_mean)
    ):
        return ""
    needs = "the token embeddings" if method.inside in ("ids", "embeddings") else "the blocks"
    nearest = _BY_IDS if parts is None else "gradient, integrated_gradients, perturbation or shapley"
    return f"{id} needs {needs} of the text tower: {closed} Nearest: {nearest}."


_BY_IDS = 'perturbation or shapley with op="mask_token" or op="drop"'
