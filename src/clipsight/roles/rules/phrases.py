"""From tagged words to phrases: noun phrases with their head and what qualifies it, verbs with their helpers,
prepositions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from clipsight.roles.lexicon import lexicon
from clipsight.roles.rules.candidates import NOUNS, VERBS
from clipsight.roles.rules.function_words import DEGREES
from clipsight.roles.rules.position import AND, COMMA, STOP
from clipsight.roles.word_files import word_set

_HELPERS = frozenset(("TO", "MD", "BE", "HV", "DO"))
_NAMED_BY_TAG = {"PR": "PRO", "WH": "WH", "CC": "CC", "SC": "SC", "EX": "EX"}
_NAMED_BY_BREAK = {STOP: "STOP", COMMA: "COMMA", AND: "CC"}
# "go surfing", "starts to rain": these and the verb after them are one.
_CHAINED = word_set("grammar", "chained")


@dataclass(eq=False)
class Phrase:
    """Words that belong together.

    Attributes:
        kind: NP noun phrase, ADJ qualities without a noun, PRO pronoun, V verbs, P prepositions, OF, BE copula, EX
            "there", WH, CC, SC, COMMA, STOP; LOOSE qualities of nothing that could be drawn; X has no part in
            anything.
        words: numbers of the words that have a role, without those that qualify.
        head: the noun that stands for a noun phrase, -1 in others.
        attributes: words that qualify the head.
        bare: a noun phrase begins with its noun: it may share the attributes of the one before ("big cats and dogs").
        finite: a verb that has a subject of its own.
    """

    kind: str
    words: list[int]
    head: int = -1
    attributes: list[int] = field(default_factory=list)
    bare: bool = False
    finite: bool = False


@dataclass(frozen=True)
class Tagged:
    """A caption's words in lower case, their tags, and the text before each."""

    words: Sequence[str]
    tags: Sequence[str]
    breaks: Sequence[str]

    def __len__(self) -> int:
        """The number of words."""
        return len(self.words)

    def tag(self, i: int) -> str:
        """The tag of word i, "" outside the caption."""
        return self.tags[i] if 0 <= i < len(self.tags) else ""

    def leads_to(self, i: int, through: frozenset[str], to: frozenset[str]) -> bool:
        """Whether words of some tags, from i on, lead to a word of others in the same sentence."""
        while i < len(self) and self.tags[i] in through and self.breaks[i] != STOP:
            i += 1
        return i < len(self) and self.tags[i] in to and not self.breaks[i]


def gather(caption: Tagged) -> list[Phrase]:
    """Phrases in the order of the caption."""
    found: list[Phrase] = []
    i = 0
    while i < len(caption):
        if caption.breaks[i]:
            found.append(Phrase(kind=_NAMED_BY_BREAK[caption.breaks[i]], words=[]))
        phrase, i = _reader(caption, i)(caption, i)
        found.append(phrase)
    return found


def _reader(caption: Tagged, i: int) -> Callable[[Tagged, int], tuple[Phrase, int]]:
    tag = caption.tags[i]
    if tag in ("DT", "CD", "JJ", "NN", "NS", "NP") or (tag == "RB" and _qualifying_adverb(caption, i)):
        return _noun_phrase
    if tag in VERBS or tag in _HELPERS:
        return _verb_phrase
    return _preposition if tag in ("IN", "FR") else _single


def _single(caption: Tagged, i: int) -> tuple[Phrase, int]:
    return Phrase(kind=_NAMED_BY_TAG.get(caption.tags[i], "X"), words=[i]), i + 1


def _preposition(caption: Tagged, i: int) -> tuple[Phrase, int]:
    """All prepositions in a row; `of` by itself, unless a fixed relation holds it."""
    if caption.words[i] == "of" and caption.tags[i] == "IN":
        return Phrase(kind="OF", words=[i]), i + 1
    j = i
    while j < len(caption) and (j == i or not caption.breaks[j]):
        inner_article = caption.tags[j] == "DT" and caption.tag(j + 1) == "FR"
        of = caption.words[j] == "of" and caption.tags[j] == "IN"
        if of or not (caption.tags[j] in ("IN", "FR") or inner_article):
            break
        j += 1
    return Phrase(kind="P", words=[k for k in range(i, j) if caption.tags[k] != "DT"]), j


def _qualifying_adverb(caption: Tagged, i: int) -> bool:
    """Whether the adverb i qualifies an adjective after it ("brightly lit", "very big")."""
    if caption.tag(i + 1) != "JJ" or caption.breaks[i + 1]:
        return False
    return caption.words[i].endswith("ly") or caption.words[i] in DEGREES


def _noun_phrase(caption: Tagged, i: int) -> tuple[Phrase, int]:
    nouns, qualities = [], []
    j = i
    while j < len(caption):
        tag = caption.tags[j]
        if j > i and caption.breaks[j] and not _listed_quality(caption, j, nouns, qualities):
            break
        if tag in NOUNS:
            nouns.append(j)
        elif nouns:
            break
        elif tag == "NP":
            return Phrase(kind="NP", words=[j], head=j, attributes=qualities), j + 1
        elif tag in ("JJ", "CD"):
            qualities.append(j)
        elif tag == "RB" and caption.tag(j + 1) == "JJ":
            qualities += [j] if caption.words[j].endswith("ly") else []
        elif not (tag == "DT" and not qualities) and not _joins_qualities(caption, j, qualities):
            break
        j += 1
    if nouns:
        bare = caption.tags[i] in NOUNS
        return Phrase(kind="NP", words=nouns, head=nouns[-1], attributes=qualities, bare=bare), j
    if qualities:
        return Phrase(kind="ADJ", words=[], attributes=qualities), j
    return Phrase(kind="PRO", words=[]), max(j, i + 1)


_QUALITIES = frozenset(("JJ", "CD", "CC", "RB"))


def _listed_quality(caption: Tagged, j: int, nouns: Sequence[int], qualities: Sequence[int]) -> bool:
    """Whether word j, after a comma, is another attribute of a following noun ("a big, red car")."""
    if caption.breaks[j] == STOP or nouns or not qualities or caption.tags[j] not in ("JJ", "CD"):
        return False
    return caption.leads_to(j, _QUALITIES, NOUNS)


def _joins_qualities(caption: Tagged, j: int, qualities: Sequence[int]) -> bool:
    """Whether word j is the "and" of "a black and white cow"."""
    if caption.tags[j] != "CC" or not qualities or caption.tags[j - 1] not in ("JJ", "CD"):
        return False
    return caption.leads_to(j + 1, _QUALITIES, NOUNS)


def _verb_phrase(caption: Tagged, i: int) -> tuple[Phrase, int]:
    verbs: list[int] = []
    finite = copula = False
    j = i
    while j < len(caption) and not (j > i and caption.breaks[j]):
        tag, word = caption.tags[j], caption.words[j]
        if tag in VERBS:
            if verbs and caption.tags[j - 1] in VERBS and not _one_verb(caption, verbs[-1], tag):
                break
            finite |= not verbs and tag in ("VZ", "VB") and "TO" not in caption.tags[i:j]
            verbs.append(j)
        elif tag in ("BE", "MD", "HV", "DO"):
            whole = word not in ("being", "be", "been")
            if verbs and caption.tags[j - 1] != "TO" and whole:
                break
            finite |= tag != "BE" or whole
            copula |= tag == "BE"
        elif tag != "TO" and not (tag == "XX" and word == "about") and not _verb_later(caption, j):
            break
        j += 1
    kind = "V" if verbs else "BE" if copula else "X"
    return Phrase(kind=kind, words=verbs, finite=finite), max(j, i + 1)


def _one_verb(caption: Tagged, first: int, second_tag: str) -> bool:
    """Whether two verbs in a row are one ("sits perched", "goes surfing") and not two ("stands holding")."""
    if second_tag == "VN" and caption.tags[first] in ("VZ", "VB", "VG"):
        return True
    return lexicon().verb_of.get(caption.words[first]) in _CHAINED


def _verb_later(caption: Tagged, j: int) -> bool:
    return caption.tags[j] == "RB" and caption.leads_to(j, _HELPERS | {"RB"}, VERBS)
