"""Nouns that belong together: "a bowl of rice", "the man's hat", "knives and forks"."""

from collections.abc import Sequence

from clipsight.roles.lexicon import lexicon
from clipsight.roles.rules.phrases import Phrase, Tagged

_ALIVE = frozenset(("person", "animal"))


class NounGroups:
    """Reads noun phrases with everything joined to them, and links their attributes."""

    def __init__(self, caption: Tagged, phrases: Sequence[Phrase]) -> None:
        """Of one caption."""
        self.words, self.tags, self.phrases = caption.words, caption.tags, phrases
        self.links: list[tuple[int, int]] = []

    def kind(self, k: int) -> str:
        """The kind of phrase k, "" where there is none."""
        return self.phrases[k].kind if 0 <= k < len(self.phrases) else ""

    def link_all(self, phrase: Phrase, heads: Sequence[int]) -> None:
        """The phrase's attributes belong to these nouns."""
        for head in heads:
            self._link(phrase.attributes, head)

    def _link(self, attributes: Sequence[int], head: int) -> None:
        self.links += [(a, head) for a in attributes if (a, head) not in self.links]

    def read(self, k: int, subject: Sequence[int], whole: bool) -> tuple[list[int], int]:
        """The heads of noun phrase k and of those joined to it, and the place after them.

        Args:
            k: place of the first noun phrase.
            subject: heads of the clause's subject.
            whole: as the subject of a sentence, which takes in everything up to the verb; an object lets go of a noun
                phrase that has a verb of its own.
        """
        first = self.phrases[k]
        heads, shared = [first.head], first.attributes
        self._link(first.attributes, first.head)
        k += 1
        while True:
            if self.kind(k) == "OF" and self.kind(k + 1) == "NP":
                k = self._part(k + 1, heads)
            elif self.tags[heads[-1]] == "NP" and self.kind(k) == "NP":
                owned = self.phrases[k]
                heads[-1], shared = owned.head, owned.attributes
                self._link(owned.attributes, owned.head)
                k += 1
            else:
                j = k
                while self.kind(j) in ("COMMA", "CC"):
                    j += 1
                if j == k or self.kind(j) != "NP" or not self._joins(k, j, heads, subject, whole):
                    return heads, k
                other = self.phrases[j]
                heads.append(other.head)
                self._link(other.attributes, other.head)
                if other.bare and self.kind(k) == "CC":
                    self._link(shared, other.head)
                shared = other.attributes or shared
                k = j + 1

    def _part(self, k: int, heads: list[int]) -> int:
        """Noun phrase k after `of`: the thing before stands for both, unless a living being does what follows."""
        part = self.phrases[k]
        self._link(part.attributes, part.head)
        if self._alive(part.head) and not self._alive(heads[-1]) and self.kind(k + 1) == "V":
            heads[-1] = part.head
        return k + 1

    def _alive(self, head: int) -> bool:
        return lexicon().kind(self.words[head]) in _ALIVE

    def _joins(self, k: int, j: int, heads: Sequence[int], subject: Sequence[int], whole: bool) -> bool:
        """Whether noun phrase j is one more of the same, and does not begin something new."""
        if whole:
            return True
        after = j + 1
        while self.kind(after) == "OF" and self.kind(after + 1) == "NP":
            after += 2
        if self.tags[self.phrases[j].head] == "NP":
            after += 1
        verb = self.phrases[after] if self.kind(after) in ("V", "BE") else None
        if verb is not None and (verb.finite or self.kind(k) == "COMMA"):
            return False
        new_being = self._alive(self.phrases[j].head) and not self._alive(heads[-1])
        return not (new_being and subject and self._alive(subject[-1]))
