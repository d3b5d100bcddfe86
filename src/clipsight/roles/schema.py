"""The roles of a caption's words: one schema for every extractor, with positions in the original caption."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from clipsight.roles.cleaned import as_read, in_caption

Role = Literal["object", "attribute", "relation", "other"]
ROLES: tuple[Role, ...] = get_args(Role)

Span = tuple[int, int]
"""First character and the one after the last, in the caption."""

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


@dataclass(frozen=True, kw_only=True)
class RoleWord:
    """One word as a model reads it; `caption[start:end]` is it as written: "Jerry's" may be written "Jerry&#39;s"."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class RoleRelation:
    """A relation and the words that it connects, by word number: "man [riding] horse".

    Attributes:
        subject: head word of the subject, None when the caption names none.
        words: the words of the relation, ascending; at least one.
        object: head word of the object, None when there is none.
    """

    subject: int | None
    words: tuple[int, ...]
    object: int | None


@dataclass(frozen=True, kw_only=True)
class CaptionRoles:
    """The words of a caption, the role of each, and how they belong together.

    Attributes:
        caption: the text as given; all places are in it.
        words: its words in order: letters and digits, with apostrophes and hyphens inside.
        roles: one a word.
        links: (attribute, object) word numbers: what the attribute belongs to.
        relations: with subject and object where they are known.
        extractor: the id of what found the roles.
        version: of the extractor; roles of different versions should not be mixed in one figure.

    Raises:
        ValueError: numbers that do not fit each other, such as a link to a word that is no object.
    """

    caption: str
    words: tuple[RoleWord, ...]
    roles: tuple[Role, ...]
    links: tuple[tuple[int, int], ...] = ()
    relations: tuple[RoleRelation, ...] = ()
    extractor: str
    version: str

    def __post_init__(self) -> None:
        """Refuse what no reader could use."""
        if len(self.roles) != len(self.words):
            raise ValueError(f"{len(self.words)} words have {len(self.roles)} roles; every word has one.")
        wrong = next((w for w in self.words if self.caption[w.start : w.end] != w.text), None)
        if wrong is not None and not set(self.words) <= set(find_words(self.caption)):
            raise ValueError(
                f"the word {wrong.text!r} is not at {wrong.start}:{wrong.end} of the caption "
                f"({self.caption[wrong.start : wrong.end]!r} is); offsets count characters of the caption as given."
            )
        if unknown := set(self.roles) - set(ROLES):
            raise ValueError(f"the role {min(unknown)!r} is not one of {', '.join(ROLES)}.")
        for attribute, thing in self.links:
            self._check("attribute", attribute, "a link")
            self._check("object", thing, "a link")
        for relation in self.relations:
            if not relation.words:
                raise ValueError("a relation has no words; give at least one.")
            for word in relation.words:
                self._check("relation", word, "a relation")
            for end in (relation.subject, relation.object):
                if end is not None:
                    self._check("object", end, "a relation")

    def _check(self, role: Role, word: int, where: str) -> None:
        if not 0 <= word < len(self.words):
            raise ValueError(f"{where} names word {word}, and there are {len(self.words)}.")
        if self.roles[word] != role:
            raise ValueError(
                f"{where} has word {word}, {self.words[word].text!r}, as {role}, and its role is {self.roles[word]}."
            )

    def numbers(self, *roles: Role) -> tuple[int, ...]:
        """The numbers of the words with one of these roles."""
        return tuple(i for i, role in enumerate(self.roles) if role in roles)

    def spans(self, *roles: Role) -> tuple[Span, ...]:
        """Where the words with one of these roles are; neighbours with the same role and only blanks between are
        one span.

        Example:
            >>> from clipsight.roles.extract import extract_roles
            >>> extract_roles("a big red dog").spans("attribute")
            ((2, 9),)
        """
        found: list[Span] = []
        last = -2
        for i in self.numbers(*roles):
            word = self.words[i]
            joined = i == last + 1 and self.roles[i] == self.roles[last]
            between = self.caption[found[-1][1] : word.start] if joined else ""
            if between and not as_read(between).strip():
                found[-1] = (found[-1][0], word.end)
            else:
                found.append((word.start, word.end))
            last = i
        return tuple(found)

    def mask(self, tokens: Sequence[Span], *roles: Role) -> tuple[bool, ...]:
        """Which tokens overlap, by at least one character, a word with one of these roles.

        Args:
            tokens: places of tokens in the same caption; an empty span (a start or end token) is in no word.
            roles: one or more.
        """
        words = [self.words[i] for i in self.numbers(*roles)]
        return tuple(any(start < w.end and w.start < end for w in words) for start, end in tokens)

    def texts(self, *roles: Role) -> tuple[str, ...]:
        """The words with one of these roles, as written."""
        return tuple(self.words[i].text for i in self.numbers(*roles))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers for JSON, for `from_dict`."""
        return {
            "caption": self.caption,
            "words": [[w.text, w.start, w.end] for w in self.words],
            "roles": list(self.roles),
            "links": [list(link) for link in self.links],
            "relations": [[r.subject, list(r.words), r.object] for r in self.relations],
            "extractor": self.extractor,
            "version": self.version,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "CaptionRoles":
        """Read the output of `to_dict`.

        Raises:
            ValueError: something is missing, or does not fit.
        """
        try:
            return cls(
                caption=record["caption"],
                words=tuple(
                    RoleWord(text=text, start=start, end=end) for text, start, end in record["words"]
                ),
                roles=tuple(record["roles"]),
                links=tuple((attribute, thing) for attribute, thing in record["links"]),
                relations=tuple(
                    RoleRelation(subject=subject, words=tuple(words), object=thing)
                    for subject, words, thing in record["relations"]
                ),
                extractor=record["extractor"],
                version=record["version"],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"the record of a caption's roles cannot be read ({type(error).__name__}: {error}); it should be what "
                "CaptionRoles.to_dict gives."
            ) from error


def find_words(caption: str) -> tuple[RoleWord, ...]:
    """The words of a text: letters and digits of any script, with apostrophes and hyphens inside.

    They are those of the text as CLIP's tokenizer reads it (`as_read`), so HTML entities and odd Unicode are no words;
    places are in the text as given.

    Example:
        >>> [w.text for w in find_words("A man's t-shirt, 2 dogs")]
        ['A', "man's", 't-shirt', '2', 'dogs']
    """
    read = as_read(caption)
    found = words_of(read)
    spans = in_caption(caption, read, [(word.start, word.end) for word in found])
    words: list[RoleWord] = []
    for word, (start, end) in zip(found, spans, strict=True):
        start = max(start, words[-1].end if words else 0)  # no character belongs to two words
        if start < end:
            words.append(RoleWord(text=word.text, start=start, end=end))
    return tuple(words)


def read_words(caption: str) -> tuple[str, tuple[RoleWord, ...], tuple[RoleWord, ...]]:
    """(text as read, its words with places there, the same words with places in the caption), as many of each.

    Where two words have one place in the caption, as in some damaged Unicode, the text is that of the words that are
    left, one after the other.
    """
    read, words = as_read(caption), find_words(caption)
    inner = words_of(read)
    if len(inner) == len(words):
        return read, inner, words
    read = " ".join(word.text for word in words)
    at, placed = 0, []
    for word in words:
        placed.append(RoleWord(text=word.text, start=at, end=at + len(word.text)))
        at += len(word.text) + 1
    return read, tuple(placed), words


def words_of(read: str) -> tuple[RoleWord, ...]:
    """The words of a text that is as the tokenizer reads it."""
    return tuple(RoleWord(text=m.group(), start=m.start(), end=m.end()) for m in _WORD.finditer(read))
