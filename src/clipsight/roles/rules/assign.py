"""Roles of words, and which attribute belongs to which object, from the phrases of a caption.

What counts as what is the guideline's: groupings ("a herd of"), kinds ("different types of"), times, the picture
itself and nouns that nothing can be drawn around are no objects; a preposition of such a noun is no relation.
"""

from collections.abc import Sequence

from clipsight.roles.rules.function_words import (
    ALWAYS_PICTURES,
    BEFORE_CLAUSES,
    GROUPS,
    KINDS,
    KINDS_OF_VIEW,
    NO_THINGS,
    PICTURES,
    PLAIN_TIMES,
    SHOWING,
    TAKING,
    TIMES,
)
from clipsight.roles.rules.phrases import Phrase, Tagged


class Meaning:
    """The phrases of a caption while their roles are decided; `phrases` shrinks as some are merged."""

    def __init__(self, caption: Tagged, phrases: list[Phrase]) -> None:
        """Of the words with their tags, and their phrases."""
        self.words, self.tags, self.phrases = caption.words, caption.tags, phrases
        self.loose: list[int] = []

    def settle(self) -> list[Phrase]:
        """Merge and drop phrases until only objects, attributes and relations are left."""
        for k in range(len(self.phrases) - 1, -1, -1):
            phrase = self.phrases[k]
            if phrase.kind == "NP" and self.tags[phrase.head] != "NP":
                self._noun_phrase(k, phrase)
            elif phrase.kind == "P" and self._introduces_clause(k):
                phrase.kind = "X"
        return [phrase for phrase in self.phrases if phrase.kind != "GONE"]

    def _kind(self, k: int) -> str:
        return self.phrases[k].kind if 0 <= k < len(self.phrases) else ""

    def _after(self, k: int) -> int:
        """The place of the next phrase that is still there."""
        k += 1
        while self._kind(k) == "GONE":
            k += 1
        return k

    def _noun_phrase(self, k: int, phrase: Phrase) -> None:
        head = self.words[phrase.head]
        of = self._after(k)
        thing = self._after(of) if self._kind(of) == "OF" else of
        followed = self._kind(of) == "OF" and self._kind(thing) == "NP"
        if head in PICTURES and self._is_picture(k, phrase):
            self._picture(k, phrase, of)
        elif head in GROUPS and len(phrase.words) == 1 and self._kind(of) == "OF":
            if followed:
                self._hand_on(phrase, self.phrases[thing], [*phrase.attributes, phrase.head])
                self.phrases[of].kind = "GONE"
            elif self._kind(thing) == "PRO":
                phrase.kind, phrase.attributes = "LOOSE", [*phrase.attributes, phrase.head]
                self.loose += phrase.attributes
        elif head in KINDS and len(phrase.words) == 1:
            self._sort_of(k, phrase, followed, of, thing)
        elif head in TIMES and all(self.words[w] in TIMES for w in phrase.words):
            told = [a for a in phrase.attributes if self.words[a] not in PLAIN_TIMES and self.tags[a] == "JJ"]
            self._drop(k, phrase, told)
        elif head in NO_THINGS and len(phrase.words) == 1:
            self._drop(k, phrase, phrase.attributes)

    def _hand_on(self, phrase: Phrase, thing: Phrase, attributes: list[int]) -> None:
        thing.attributes = [*attributes, *thing.attributes]
        thing.bare = False
        phrase.kind = "GONE"

    def _drop(self, k: int, phrase: Phrase, attributes: list[int]) -> None:
        """The noun is no thing, nor is the preposition before it a relation; what qualifies it has no object."""
        phrase.kind = "LOOSE"
        phrase.attributes = attributes
        self.loose += attributes
        self._no_relation(k - 1)
        if self._kind(k + 1) == "OF":
            self.phrases[k + 1].kind = "X"

    def _no_relation(self, k: int) -> None:
        """The preposition k goes with no thing; what is before it in the phrase stays ("outside | on a sunny day")."""
        if self._kind(k) != "P":
            return
        phrase = self.phrases[k]
        phrase.words = phrase.words[:-1]
        if not phrase.words or self.tags[phrase.words[-1]] == "FR":
            phrase.kind = "X"

    def _sort_of(self, k: int, phrase: Phrase, followed: bool, of: int, thing: int) -> None:
        if followed:
            self._hand_on(phrase, self.phrases[thing], phrase.attributes)
            self.phrases[of].kind = "GONE"
            return
        before = k - 2 if self._kind(k - 1) in ("OF", "P") else k - 1
        if self._kind(k - 1) in ("OF", "P"):
            self.phrases[k - 1].kind = "GONE"
        if self._kind(before) == "NP":
            self.phrases[before].attributes += phrase.attributes
            phrase.kind = "GONE"
        else:
            phrase.kind = "ADJ"
            phrase.words = phrase.attributes

    def _is_picture(self, k: int, phrase: Phrase) -> bool:
        head = self.words[phrase.head]
        first = not any(p.kind in ("NP", "V") for p in self.phrases[:k])
        after = self.words[phrase.head + 1] if phrase.head + 1 < len(self.words) else ""
        if head in ALWAYS_PICTURES:
            return head not in ("shot", "shots") or first or after == "of"
        last = self.words[self.phrases[k - 1].words[-1]] if self._kind(k - 1) in ("V", "P") else ""
        taken, posed = last in TAKING, last in ("for", "in") and k > 1
        return taken or posed or (after == "of" and first) or (first and (after in SHOWING or not after))

    def _picture(self, k: int, phrase: Phrase, of: int) -> None:
        others = [w for w in phrase.words if self.words[w] not in PICTURES | KINDS_OF_VIEW]
        looks = [a for a in phrase.attributes if self.words[a] not in KINDS_OF_VIEW]
        if self._kind(of) == "OF":
            self.phrases[of].kind = "GONE"
        self._no_relation(k - 1)
        if others:
            phrase.words, phrase.head = others, others[-1]
        else:
            phrase.kind, phrase.attributes = "LOOSE", looks
            self.loose += looks

    def _introduces_clause(self, k: int) -> bool:
        """Whether the preposition k is "before" or the like, and a verb follows."""
        phrase = self.phrases[k]
        if len(phrase.words) != 1 or self.words[phrase.words[0]] not in BEFORE_CLAUSES:
            return False
        after = self._after(k)
        if self._kind(after) == "V":
            return True
        verb = self._after(after)
        clause = self._kind(after) in ("NP", "PRO") and self._kind(verb) in ("V", "BE")
        return clause and self.phrases[verb].finite


def letters(count: int, phrases: Sequence[Phrase], loose: Sequence[int]) -> list[str]:
    """The role of each of `count` words: "o", "a", "r" or "-"."""
    roles = ["-"] * count
    for word in loose:
        roles[word] = "a"
    for phrase in phrases:
        if phrase.kind in ("NP", "ADJ"):
            for word in phrase.attributes:
                roles[word] = "a"
        if phrase.kind == "NP":
            for word in phrase.words:
                roles[word] = "o"
        elif phrase.kind in ("V", "P"):
            for word in phrase.words:
                roles[word] = "r"
    return roles
