"""One question of a compositional benchmark: pictures, texts, and the rule that says when it is answered."""

from dataclasses import dataclass

from clipsight.bench.composition.rules import RULES


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
    source: str = ""
    line: int = 0

    def __post_init__(self) -> None:
        """Refuse a shape that the rule does not take."""
        if self.rule not in RULES:
            raise ValueError(f"no rule is called {self.rule!r}; the rules are {', '.join(RULES)}.")
        wrong = RULES[self.rule].misfit(len(self.pictures), len(self.positives), len(self.negatives))
        if wrong:
            raise ValueError(f"{self.id}: {wrong}.")

    @property
    def texts(self) -> tuple[str, ...]:
        """Positives, then negatives: the columns of the item's scores."""
        return self.positives + self.negatives
