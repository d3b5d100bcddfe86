"""A caption as foils need it: the extent and number of noun phrases, and edits of the text."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from clipsight.roles.inflection import article, plural
from clipsight.roles.lexicon import lexicon
from clipsight.roles.rules.candidates import NOUNS
from clipsight.roles.rules.function_words import GROUPS
from clipsight.roles.rules.tagger import Analysis, analyse, as_roles
from clipsight.roles.schema import CaptionRoles, Span, read_words

_ARTICLES = frozenset(("a", "an"))
_QUALIFIERS = frozenset(("JJ", "CD", "RB"))
_FINITE = frozenset(("VZ", "VB", "BE", "HV", "DO"))


@dataclass(frozen=True)
class TextEdit:
    """`caption[start:end]` becomes `text`; `start == end` puts something in."""

    start: int
    end: int
    text: str


class Sentence:
    """The parse of one caption."""

    def __init__(self, caption: str) -> None:
        """Parse it by the rules."""
        self.caption = caption
        read, inner, self.words = read_words(caption)
        self.parse: Analysis = analyse(read, inner)
        self.roles: CaptionRoles = as_roles(caption, self.words, self.parse)
        self.lower = self.parse.caption.words
        self.tags = self.parse.caption.tags

    @cached_property
    def lemmas(self) -> frozenset[str]:
        """All words, nouns also in the singular."""
        nouns = lexicon().noun_of
        return frozenset(self.lower) | {nouns[word] for word in self.lower if word in nouns}

    @cached_property
    def heads(self) -> tuple[int, ...]:
        """Words that stand for a noun phrase: nouns that no other noun follows in the same phrase."""
        objects = self.roles.numbers("object")
        return tuple(i for i in objects if self.tags[i] in NOUNS and self._tag(i + 1) not in NOUNS | {"NP"})

    def _tag(self, i: int) -> str:
        """The tag of a word, "" outside the caption and across a comma or full stop."""
        inside = 0 <= i < len(self.tags)
        return self.tags[i] if inside and not self.parse.caption.breaks[i] else ""

    def joined(self, i: int) -> bool:
        """Whether word i follows the one before with nothing but blanks between."""
        return i > 0 and not self.parse.caption.breaks[i]

    def tag_after(self, i: int) -> str:
        """The tag of the word after word i, "" at the end of what it belongs to."""
        return self._tag(i + 1)

    def noun_start(self, head: int) -> int:
        """The first noun of a compound."""
        i = head
        while i > 0 and self.joined(i) and self.tags[i - 1] in NOUNS and self.roles.roles[i - 1] == "object":
            i -= 1
        return i

    def first_quality(self, head: int) -> int:
        """The first word of the phrase after determiner and number."""
        i = self.noun_start(head)
        while i > 0 and self.joined(i) and self.tags[i - 1] in ("JJ", "RB", "CC"):
            i -= 1
        while self.tags[i] in ("CC", "CD"):
            i += 1
        return i

    def material_start(self, head: int) -> int:
        """Where a colour goes: before the compound and the material it is made of."""
        i = self.noun_start(head)
        while i > 0 and self.joined(i) and lexicon().adjective_is(self.lower[i - 1], "material"):
            i -= 1
        return i

    def start(self, head: int) -> int:
        """The first word of the phrase, determiner and a grouping before `of` included."""
        i = self.noun_start(head)
        while i > 0 and self.joined(i) and (self.tags[i - 1] in _QUALIFIERS or self.joins_qualities(i - 1)):
            i -= 1
        while i > 0 and self.joined(i) and self.tags[i - 1] in ("DT", "NP"):
            i -= 1
        grouped = i >= 2 and self.lower[i - 1] == "of" and self.lower[i - 2] in GROUPS
        return self.start(i - 2) if grouped and self.joined(i) and self.joined(i - 1) else i

    def joins_qualities(self, i: int) -> bool:
        """Whether word i is the "and" between two adjectives."""
        return (
            i > 0
            and self.tags[i] == "CC"
            and self._tag(i - 1) in ("JJ", "CD")
            and self.tags[i + 1] in ("JJ", "CD")
        )

    def end(self, head: int) -> int:
        """The last word of the phrase, with what follows `of`."""
        i = head
        while self._tag(i + 1) and self.lower[i + 1] == "of":
            after = next((h for h in self.heads if h > i + 1), None)
            if after is None or self.start(after) != i + 2:
                break
            i = after
        return i

    def plural(self, head: int) -> bool | None:
        """Whether the noun is in the plural; None when its form does not say ("sheep")."""
        noun = lexicon().noun_of.get(self.lower[head], self.lower[head])
        if plural(noun) == noun:
            return None
        return self.tags[head] == "NS"

    def noun(self, head: int) -> str:
        """The compound in the singular, in lower case."""
        last = lexicon().noun_of.get(self.lower[head], self.lower[head])
        return " ".join([*self.lower[self.noun_start(head) : head], last])

    def determined(self, head: int) -> bool:
        """Whether the phrase has a determiner, a number or a possessor."""
        words = range(self.start(head), head)
        return any(self.tags[i] in ("DT", "CD", "NP") for i in words)

    def grouped(self, head: int) -> bool:
        """Whether a grouping with `of` stands before the noun ("a herd of zebra")."""
        return "of" in self.lower[self.start(head) : head]

    @cached_property
    def has_articles(self) -> bool:
        """Whether it has any article; notes and headlines have none ("man riding horse")."""
        return not {"a", "an", "the"}.isdisjoint(self.lower)

    @property
    def has_finite_verb(self) -> bool:
        """Whether a verb agrees with its subject."""
        return not _FINITE.isdisjoint(self.tags)

    def span(self, first: int, last: int) -> Span:
        """Where words first to last stand."""
        return self.words[first].start, self.words[last].end

    def replace(self, first: int, last: int, text: str) -> TextEdit:
        """Replace some words by other text, keeping the capitals."""
        start, end = self.span(first, last)
        return TextEdit(start, end, self.cased(text, first))

    def insert(self, before: int, text: str) -> list[TextEdit]:
        """Insert words before word i; they take over the capital of a sentence's first word."""
        word = self.words[before]
        edits = [TextEdit(word.start, word.start, f"{self.cased(text, before)} ")]
        first = (
            (before == 0 or not self.joined(before)) and word.text[:1].isupper() and word.text[1:].islower()
        )
        return (
            [TextEdit(word.start, word.end, f"{self.cased(text, before)} {word.text.lower()}")]
            if first
            else edits
        )

    def cased(self, text: str, like: int) -> str:
        """Text in the capitals of word `like`."""
        if self.caption.isupper():
            return text.upper()
        return text[:1].upper() + text[1:] if self.words[like].text[:1].isupper() else text


def apply(sentence: Sentence, edits: Sequence[TextEdit]) -> tuple[str, tuple[Span, ...]]:
    """The changed caption, and where in it the new text is; a or an before a change follows its sound."""
    edits = sorted(edits, key=lambda edit: edit.start)
    every = sorted([*edits, *_articles(sentence, edits)], key=lambda edit: edit.start)
    text, spans, at = "", [], 0
    for edit in every:
        text += sentence.caption[at : edit.start]
        if edit in edits:
            new = edit.text.rstrip()
            lead = len(edit.text) - len(edit.text.lstrip())
            spans.append((len(text) + lead, len(text) + len(new)))
        text += edit.text
        at = edit.end
    return text + sentence.caption[at:], tuple(spans)


def _articles(sentence: Sentence, edits: Sequence[TextEdit]) -> list[TextEdit]:
    found = []
    for edit in edits:
        before = next((w for w in reversed(sentence.words) if w.end <= edit.start), None)
        if before is None or before.text.lower() not in _ARTICLES or not edit.text.strip():
            continue
        if sentence.caption[before.end : edit.start].strip():
            continue
        wanted = article(edit.text.strip())
        if wanted != before.text.lower():
            cased = (
                wanted.upper()
                if sentence.caption.isupper()
                else wanted.capitalize()
                if before.text[0].isupper()
                else wanted
            )
            found.append(TextEdit(before.start, before.end, cased))
    return found
