"""One question of a compositional benchmark: pictures, texts, and the rule that says when it is answered."""

from dataclasses import dataclass
from functools import cached_property

from clipsight.bench.composition.rules import RULES
from clipsight.language.prompts import expand


@dataclass(frozen=True, kw_only=True)
class PictureRef:
    """A picture by name; where it lies is for `ImageRoot` to say.

    Attributes:
        file: path inside its collection, with forward slashes.
        collection: a name of `COLLECTIONS`, such as "coco_val2017".
        crop: (x, y, width, height) in pixels of the picture that the model is to see, None for all of it.
    """

    file: str
    collection: str
    crop: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Choices:
    """The classes that a picture may be of; one object for all items of a split.

    Attributes:
        classes: each once. names: of each, what is put into the templates; classes of one name tie.
        templates: a class is the mean of the unit features of its name in each of these; () takes the name itself.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    templates: tuple[str, ...] = ()

    @cached_property
    def prompts(self) -> tuple[str, ...]:
        """Every name in every template, name by name."""
        return tuple(expand(self.names, self.templates))


@dataclass(frozen=True, kw_only=True)
class Item:
    """One row of a benchmark, in the one form that all of them share.

    What is right stands first: `pictures[0]` belongs to `positives[0]`. For rules with two pictures and two captions
    both captions are positives, and picture i belongs to caption i.

    Attributes:
        id: unique within its benchmark, the same at every reading.
        split: the part of the benchmark whose score it counts for.
        rule: a key of `RULES`.
        group: what macro averages are taken over inside the split (a relation, a kind of negation); "" for none.
        sets: (metric, key): items that share a key are one question of that further metric, answered when all are.
        tags: words that protocols choose items by, such as "validated".
        choices: for a rule that classifies, the classes; `group` is the right one, and the item has no texts itself.
        source, line: annotation file as found below the folder, and the line on which the record begins.

    Raises:
        ValueError: an unknown rule, or a shape that the rule does not take.
    """

    id: str
    benchmark: str
    split: str
    rule: str
    pictures: tuple[PictureRef, ...]
    positives: tuple[str, ...]
    negatives: tuple[str, ...] = ()
    group: str = ""
    sets: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()
    choices: Choices | None = None
    source: str = ""
    line: int = 0

    def __post_init__(self) -> None:
        """Refuse a shape that the rule does not take."""
        if self.rule not in RULES:
            raise ValueError(f"no rule is called {self.rule!r}; the rules are {', '.join(RULES)}.")
        rule = RULES[self.rule]
        wrong = rule.misfit(len(self.pictures), len(self.positives), len(self.negatives))
        if rule.classifies and (self.choices is None or self.group not in self.choices.classes):
            wrong = f"the rule {rule.id} takes one of the item's choices as its group, got {self.group!r}"
        if wrong:
            raise ValueError(f"{self.id}: {wrong}.")

    @property
    def texts(self) -> tuple[str, ...]:
        """Positives, then negatives: the columns of the item's scores."""
        return self.positives + self.negatives
