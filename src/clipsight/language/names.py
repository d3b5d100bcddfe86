"""What to distinguish in a picture: classes, each with the words that stand for it.

A text model knows words, a user thinks in classes: "person" may be "man", "woman" and "child" to the model. Every
word is a query of its own, and a class is as likely at a pixel as the likeliest of its words.
"""

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from clipsight.errors import ClipsightWarning
from clipsight.language.tokens import check_texts

BACKGROUND = "background"
"""What the class of everything else is called."""


@dataclass(frozen=True, kw_only=True)
class Names:
    """Classes and their queries; `parse_names` reads them from the user's input.

    Attributes:
        classes: distinct labels. Their order is the order of label numbers.
        words: for each class its queries, at least one; they are what the text model reads.
        background: class 0 stands for everything that is none of the others.

    Raises:
        TypeError, ValueError: a class twice, a blank name or word, a word twice in a class, a class without words, or
            nothing but background.
    """

    classes: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]
    background: bool = False

    def __post_init__(self) -> None:
        """Refuse what no label map could be read by."""
        check_texts(self.classes)
        if len(self.words) != len(self.classes):
            raise ValueError(
                f"names has {len(self.classes)} classes and words for {len(self.words)}; give each class its own words."
            )
        if twice := _twice(self.classes):
            raise ValueError(
                f"the name {twice!r} is given twice (capitals and blanks make no difference to the model); drop one, "
                'or make one a word of the other, as in "person: man, woman".'
            )
        for name, words in zip(self.classes, self.words, strict=True):
            if not words:
                raise ValueError(
                    f"the class {name!r} has no word to look for; give it one, such as its own name."
                )
            check_texts(words)
            if twice := _twice(words):
                raise ValueError(f"the class {name!r} has the word {twice!r} twice; drop one.")
        if self.background and len(self.classes) == 1:
            raise ValueError("names holds only the background; give at least one thing to tell from it.")

    def __len__(self) -> int:
        """The number of classes, background included."""
        return len(self.classes)

    @cached_property
    def queries(self) -> tuple[str, ...]:
        """All words, class after class: the texts to encode."""
        return tuple(word for words in self.words for word in words)

    @cached_property
    def owner(self) -> tuple[int, ...]:
        """For each query the number of its class; never falls."""
        return tuple(index for index, words in enumerate(self.words) for _ in words)

    @cached_property
    def clashes(self) -> dict[str, tuple[str, ...]]:
        """Words that stand for several classes, with those classes. The first class wins their pixels."""
        owners: dict[str, list[str]] = defaultdict(list)
        for query, index in zip(self.queries, self.owner, strict=True):
            owners[_bare(query)].append(self.classes[index])
        return {word: tuple(found) for word, found in owners.items() if len(found) > 1}

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on the label map: one sentence for each word that stands for several classes."""
        return tuple(
            f"The word {word!r} stands for {' and '.join(map(repr, found))}: where it fits best, {found[0]!r} wins."
            for word, found in self.clashes.items()
        )

    def with_background(self, words: Iterable[str]) -> "Names":
        """The same classes, preceded by a background class of these words; warns if a class has the same word.

        Raises:
            ValueError: there is a background class already, or no words.
        """
        if self.background:
            raise ValueError(
                "background words were given for names that have a background class already: "
                f"{', '.join(self.words[0])}. Leave one of the two out."
            )
        if isinstance(words, str):
            raise TypeError(f"the background words are one string, {words!r}; pass a list: [{words!r}].")
        return _told(
            Names(
                classes=(BACKGROUND, *self.classes),
                words=(tuple(words), *self.words),
                background=True,
            )
        )


def parse_names(names: Names | Sequence[str] | Mapping[str, str | Sequence[str] | None]) -> Names:
    """Read classes from the user's input.

    | written | class | queries |
    |---|---|---|
    | `"cat"` | cat | cat |
    | `"person: man, woman"` | person | person, man, woman |
    | `"vehicle = car, bus"` | vehicle | car, bus; the class word is only a label |
    | `{"person": ["man", "woman"]}` | person | man, woman: a mapping gives each label exactly its words |
    | `{"cat": None}` | cat | cat |

    The forms with ":" and "=" can stand in one list. Words that hold a comma, a colon or "=" are given by the
    mapping. A class that is called "background" is a class like any other; `Names.with_background` makes a real one.

    A word of two classes is allowed, since published vocabularies have it (COCO-Object's bed is also a background
    word), and warned of: both classes are equally likely wherever it fits best, and the first one wins.

    Raises:
        TypeError: one string instead of a list, or something else than strings.
        ValueError: no names, a name twice, a blank name or word, or a list of words without a class before it.

    Example:
        >>> parse_names(["cat", "person: man, woman"]).owner
        (0, 1, 1, 1)
    """
    if isinstance(names, Names):
        return names
    if isinstance(names, Mapping):
        parts = [(label, _given(label, words)) for label, words in names.items()]
    else:
        parts = [_read(line) for line in check_texts(names)]
    if not parts:
        raise ValueError('names is empty; pass at least one, as in ["cat", "grass"].')
    return _told(Names(classes=tuple(label for label, _ in parts), words=tuple(words for _, words in parts)))


def _given(label: str, words: str | Sequence[str] | None) -> tuple[str, ...]:
    if words is None:
        return (label,)
    return (words,) if isinstance(words, str) else tuple(words)


def _read(line: str) -> tuple[str, tuple[str, ...]]:
    """Class and words of one string."""
    mark = next((char for char in line if char in ":="), "")
    if not mark:
        if "," in line:
            raise ValueError(
                f"the name {line!r} holds a comma: it is a list of words without a class before it, or several names "
                "in one string. Write two names, or 'animal: cat, dog' for one class of several words, or "
                f"{{{line!r}: [{line!r}]}} if the comma belongs to the text."
            )
        return line.strip(), (line.strip(),)
    label, _, rest = line.partition(mark)
    label, words = label.strip(), [word.strip() for word in rest.split(",")]
    if not label or not all(words):
        what = "no class before" if not label else "a blank word after"
        raise ValueError(
            f"the name {line!r} has {what} {mark!r}; write it as in 'person: man, woman', with no comma at the end."
        )
    if mark == "=":
        return label, tuple(words)
    return label, (label, *(word for word in words if _bare(word) != _bare(label)))


def _told(names: Names) -> Names:
    for note in names.notes:
        warnings.warn(note, ClipsightWarning, stacklevel=3)
    return names


def _twice(texts: Sequence[str]) -> str | None:
    bare = [_bare(text) for text in texts]
    counts = Counter(bare)
    return next((text for text, key in zip(texts, bare, strict=True) if counts[key] > 1), None)


def _bare(text: str) -> str:
    """As a tokenizer of CLIP's kind reads it."""
    return " ".join(text.lower().split())
