"""The context of a word: the tags before it, what can follow it, and the state of the clause."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from clipsight.roles.lexicon import lexicon
from clipsight.roles.rules.candidates import NOUNS, VERBS, Tags, word_tags
from clipsight.roles.rules.function_words import NOUNS_IN_ING

STOP, COMMA, AND = "stop", "comma", "and"
"""What can stand before a word besides a blank (""): the end of a sentence, a comma or bracket, "&" and the like."""

OPENERS: Tags = frozenset(("DT", "NP", "CD", "JJ"))
"""After these a noun phrase is open."""
_FINITE: Tags = frozenset(("VZ", "VB", "BE", "HV", "MD", "DO"))
_PASSED_OVER: Tags = frozenset(("RB", "XX"))


@dataclass
class Place:
    """The words of one caption while they are tagged from left to right.

    Attributes:
        words: in lower case, with straight apostrophes.
        breaks: what stands before each word: "", STOP, COMMA or AND.
        can: what each word can be.
        tags: what the words so far are.
        finite: the clause has its verb.
        plural_subject: two nouns with "and" between them came before it.
        last_verb: tag of the last verb of the sentence.
        in_phrase: a preposition came after the last verb.
    """

    words: Sequence[str]
    breaks: Sequence[str]
    can: Sequence[Tags]
    tags: list[str] = field(default_factory=list)
    finite: bool = False
    plural_subject: bool = False
    last_verb: str = ""
    in_phrase: bool = False

    def arrive(self, i: int) -> None:
        """Process the text between word i and the word before it."""
        if self.breaks[i]:
            self.finite = False
        if self.breaks[i] == STOP:
            self._new_sentence()

    def settle(self, tag: str) -> None:
        """Set the tag of the next word."""
        i = len(self.tags)
        self.tags.append(tag)
        if tag in _FINITE:
            self.finite = True
        if tag in VERBS:
            self.last_verb = tag
        self.in_phrase = tag in ("IN", "FR") or (self.in_phrase and tag not in VERBS | {"BE", "WH", "SC"})
        if tag in ("SC", "WH", "CC"):
            self.finite = False
        if tag == "SC":
            self._new_sentence()
        if tag == "CC" and not self.last_verb and i and self.tags[i - 1] in NOUNS:
            self.plural_subject = True

    def _new_sentence(self) -> None:
        self.plural_subject = False
        self.last_verb = ""

    def before(self, i: int) -> str:
        """The tag before word i, adverbs passed over; "" where a sentence begins, CC after a comma."""
        j = i - 1
        while j >= 0 and self.tags[j] in _PASSED_OVER and not self.breaks[j + 1]:
            j -= 1
        if j < 0 or self.breaks[j + 1] == STOP:
            return ""
        return "CC" if self.breaks[j + 1] else self.tags[j]

    def next(self, i: int) -> str:
        """The word after word i in the same sentence, "" for none."""
        return self.words[i + 1] if i + 1 < len(self.words) and self.breaks[i + 1] != STOP else ""

    def next_can(self, i: int) -> Tags:
        """What the word after word i can be; nothing after a comma."""
        return self.can[i + 1] if i + 1 < len(self.words) and not self.breaks[i + 1] else frozenset()

    def joined(self, i: int) -> bool:
        """Whether there is a word i, with nothing but blanks before it."""
        return 0 < i < len(self.words) and not self.breaks[i]

    def alive(self, i: int) -> bool:
        """Whether word i names a person or an animal."""
        known = lexicon()
        kinds = known.noun_kinds.get(known.noun_of.get(self.words[i], ""), ())
        return "person" in kinds or "animal" in kinds

    def colour(self, i: int) -> bool:
        """Whether word i is a colour."""
        return i >= 0 and lexicon().adjective_is(self.words[i], "color")

    def strong(self, i: int) -> bool:
        """Whether word i is more likely a verb than a noun, given the words before it."""
        word, known = self.words[i], lexicon()
        if word in known.strong:
            return True
        moves = i > 0 and (
            self.alive(i - 1) or ("VZ" in self.can[i] and known.kind(self.words[i - 1]) == "vehicle")
        )
        return moves and word in known.either

    def rather_verb(self, i: int) -> bool:
        """Whether word i, which could be a noun, looks like the verb of a noun before it."""
        if not self.can[i] & {"VZ", "VG"} or not self.strong(i) or self.words[i] in NOUNS_IN_ING:
            return False
        return bool(self.next_can(i) & {"IN", "DT", "TO", "FR"})

    def qualifies(self, i: int) -> bool:
        """Whether the participle i is directly before a noun."""
        after = self.next_can(i)
        return bool(after & NOUNS) and "DT" not in after and not self.rather_verb(i + 1)

    def noun_follows(self, i: int) -> bool:
        """Whether a noun directly follows word i, or follows attributes directly after it."""
        j = i + 1
        while j < len(self.words):
            can = self.can[j]
            if self.breaks[j] == STOP or (self.breaks[j] == COMMA and not ("JJ" in can and j > i)):
                return False
            opened = j == i + 1 and self.can[i] & {"DT", "CD", "JJ"} and self.words[i] not in ("one", "that")
            opened = opened and not self.alive(i)
            if can & NOUNS and (opened or not self.rather_verb(j)):
                return True
            if can == {"CC"}:
                found = self._noun_after_and(i, j)
                if found is not None:
                    return found
                j += 2
            elif self._passes(j, can):
                j += 1
            else:
                return False
        return False

    def _noun_after_and(self, i: int, j: int) -> bool | None:
        """As `noun_follows` for what stands after "and" at j; None when an adjective does, and the search goes on."""
        other = self.can[j + 1] if j + 1 < len(self.words) else frozenset()
        if "JJ" in other:
            return True if j + 2 < len(self.words) and other & NOUNS else None
        return "VN" in self.can[i] and "VN" in other and self.qualifies(j + 1)

    def _passes(self, j: int, can: Tags) -> bool:
        """Whether word j can stand between a word and the noun it qualifies."""
        if can == {"RB"}:
            return bool(self.next_can(j) & {"JJ", "VN"})
        if self.words[j] in ("outside", "inside"):
            return bool(self.next_can(j) & NOUNS) and not self.rather_verb(j + 1)
        return bool(can & {"JJ", "CD"}) or (bool(can & {"VN", "VG"}) and self.qualifies(j))


def possible_tags(words: Sequence[str], forced: Sequence[str]) -> list[Tags]:
    """The possible tags of each word of a caption.

    Args:
        words: in lower case.
        forced: tags that are already decided, "" for none.
    """
    return [frozenset((tag,)) if tag else word_tags(word) for word, tag in zip(words, forced, strict=True)]
