"""Which object an attribute belongs to, and which objects a relation joins, from the phrases of a caption.

Phrases are read from left to right, and it is kept who is spoken of: the subject of the clause, the nouns named
last and how they came in, the doer of the last verb. Who a trailing phrase belongs to is a matter of sense ("a man
holding a racket on a court"); kinds of nouns and a few verbs stand in for it.
"""

from collections.abc import Sequence
from typing import Literal

from clipsight.roles.lexicon import lexicon
from clipsight.roles.rules.compounds import NounGroups
from clipsight.roles.rules.phrases import Phrase, Tagged
from clipsight.roles.word_files import word_set

Triple = tuple[int | None, tuple[int, ...], int | None]
"""Subject, relation words and object of a relation, by word number; None for what is not named."""

_WORN = frozenset(("clothing", "body"))
_WHERE = frozenset(("place", "nature", "furniture"))
_ALIVE = frozenset(("person", "animal"))
_MEANS = frozenset(("dish", "tool", "sport", "body"))
_TAKEN_ALONG = word_set("grammar", "taken along")
"""What is done to a thing wherever one is: the place after it is the doer's."""
_HERE = word_set("grammar", "here")
_BESIDE = frozenset(["next", "close", "beside", "between", "near", "behind"])
_SPATIAL = word_set("grammar", "spatial")
_OF_THE_DOER = frozenset(["dressed", "seated", "surrounded", "positioned"])
_PARTICLES = frozenset(["up", "down", "out", "off", "over", "away", "around"])
_STANDS_FOR_ITS_NOUN = frozenset(["who", "which", "that", "whom"])
_LISTED = frozenset(("CC", "COMMA"))


class Relations:
    """Reads the final phrases of a caption; the results are `links` and `triples`."""

    def __init__(self, caption: Tagged, phrases: Sequence[Phrase]) -> None:
        """Read them."""
        self.words, self.tags = caption.words, caption.tags
        self.phrases = [phrase for phrase in phrases if phrase.kind not in ("X", "LOOSE")]
        self.nouns = NounGroups(caption, self.phrases)
        self.triples: list[Triple] = []
        self.subject: list[int] = []
        self.doer: list[int] = []
        self.last: list[int] = []
        self.source: Literal["subject", "object", "with", "prep"] = "subject"
        self.verb = ""
        self.antecedent: list[int] = []
        self.owed: list[int] = []
        self.fronted: list[tuple[list[int], list[int]]] = []
        self.fresh = True
        k = 0
        steps = {
            "NP": self._noun_phrase, "PRO": self._pronoun, "V": self._verb, "BE": self._copula,
            "P": self._preposition, "ADJ": self._qualities, "WH": self._relative, "SC": self._subordinate,
            "STOP": self._stop, "EX": self._there,
        }  # fmt: skip
        while k < len(self.phrases):
            phrase = self.phrases[k]
            k = steps[phrase.kind](k, phrase) if phrase.kind in steps else k + 1
        for words, objects in self.fronted:
            self._add([], words, objects)

    @property
    def links(self) -> list[tuple[int, int]]:
        """Attribute word and the object it belongs to."""
        return self.nouns.links

    def _kind(self, k: int) -> str:
        return self.nouns.kind(k)

    def _kind_of(self, heads: Sequence[int]) -> str:
        return lexicon().kind(self.words[heads[-1]]) if heads else ""

    def _add(self, subjects: Sequence[int], words: Sequence[int], objects: Sequence[int]) -> None:
        for subject in subjects or [None]:
            for thing in objects or [None]:
                triple = (subject, tuple(sorted(words)), thing if thing != subject else None)
                if triple not in self.triples:
                    self.triples.append(triple)

    def _noun_phrase(self, k: int, phrase: Phrase) -> int:
        heads, after = self.nouns.read(k, self.subject, whole=not self.subject or self.fresh)
        if self.antecedent:
            # "the horse that a man rides": the man is the subject of what follows, and the horse its object.
            self.owed, self.antecedent = self.antecedent, heads
        else:
            self.subject = heads
        self.last, self.source = heads, "subject"
        for words, objects in self.fronted:
            self._add(heads, words, objects)
        self.fronted = []
        self.fresh = False
        return after

    def _pronoun(self, k: int, phrase: Phrase) -> int:
        if self._kind(k + 1) in ("V", "BE"):
            self.subject, self.last, self.source = [], [], "subject"
        return k + 1

    def _subordinate(self, k: int, phrase: Phrase) -> int:
        self.fresh, self.antecedent = True, []
        return k + 1

    def _stop(self, k: int, phrase: Phrase) -> int:
        self.subject, self.last, self.doer, self.antecedent, self.fresh = [], [], [], [], True
        return k + 1

    def _relative(self, k: int, phrase: Phrase) -> int:
        stands = self.words[phrase.words[0]] in _STANDS_FOR_ITS_NOUN
        self.antecedent = list(self.last) if stands else []
        return k + 1

    def _there(self, k: int, phrase: Phrase) -> int:
        self.subject, self.fresh = [], True
        return k + 1

    def _qualities(self, k: int, phrase: Phrase) -> int:
        """After a noun they are its own ("with the door open"), after a verb the subject's ("is red and white")."""
        before = k - 1
        while self._kind(before) in _LISTED:
            before -= 1
        predicate = self._kind(before) in ("BE", "V", "ADJ")
        self.nouns.link_all(
            phrase, (self.antecedent or self.subject) if predicate else self.last or self.subject
        )
        return k + 1

    def _copula(self, k: int, phrase: Phrase) -> int:
        subject = self.antecedent or self.subject
        after = k + 1
        if self._kind(after) == "P":
            self.last, self.source = subject, "subject"
            return self._preposition(after, self.phrases[after])
        if self._kind(after) == "ADJ":
            self.nouns.link_all(self.phrases[after], subject)
            self.last, self.source = subject, "subject"
            return after + 1
        if self._kind(after) == "NP" and subject:
            self.last, after = self.nouns.read(after, self.subject, whole=False)
            self.source = "subject"
        return after

    def _object(self, k: int) -> tuple[list[int], int]:
        """The nouns at k as an object, and the place after them; none for a pronoun or anything else."""
        if self._kind(k) == "NP":
            return self.nouns.read(k, self.subject, whole=False)
        return [], k + 1 if self._kind(k) == "PRO" else k

    def _verb(self, k: int, phrase: Phrase) -> int:
        subject = self._subject_of(k, phrase)
        words = list(phrase.words)
        self.verb = lexicon().verb_of.get(self.words[words[-1]], "")
        self.doer = subject
        k += 1
        if self._kind(k) == "ADJ":
            self.nouns.link_all(self.phrases[k], subject)
            k += 1
        if self._kind(k) == "P":
            words += self.phrases[k].words
            objects, k = self._object(k + 1)
            self.source = "prep"
        else:
            named = self._kind(k) in ("NP", "PRO")
            objects, k = self._object(k)
            self.source = "object"
            if named and self._is_particle(k):
                words += self.phrases[k].words
                k += 1
        self._add(subject, words, objects or self.owed)
        self.owed = []
        if objects:
            self.last = objects
        else:
            self.last, self.source = subject, "subject"
        self.antecedent = []
        self.fresh = False
        return k

    def _is_particle(self, k: int) -> bool:
        """Whether preposition k, after an object, belongs to the verb ("picks it up")."""
        if self._kind(k) != "P" or self._kind(k + 1) in ("NP", "PRO"):
            return False
        words = self.phrases[k].words
        return len(words) == 1 and self.words[words[0]] in _PARTICLES

    def _subject_of(self, k: int, phrase: Phrase) -> list[int]:
        """Whose verb it is."""
        before = self._kind(k - 1)
        if self.antecedent:
            return self.antecedent
        if phrase.finite:
            return self.subject or self.last
        if before in _LISTED and (self.doer or self.subject):
            return self.doer if before == "CC" and self.doer else self.subject
        if self.source == "subject" or not self.subject or before in ("SC", "V", "ADJ"):
            return self.subject or self.last
        first = phrase.words[0]
        if self.tags[first] == "VN" and self.words[first] not in _OF_THE_DOER:
            return self.last
        if self._kind_of(self.last) in _ALIVE:
            return self.last
        if self._kind_of(self.subject) in _ALIVE or not self._kind_of(self.subject):
            return self.subject
        return self.last if self.source == "with" else self.subject

    def _preposition(self, k: int, phrase: Phrase) -> int:
        objects, after = self._object(k + 1)
        if not self.last and not self.subject:
            self.fronted.append((phrase.words, objects))
            self.fresh = True
            return after
        self._add(self._holder(phrase, objects), phrase.words, objects)
        if objects:
            self.last = objects
            self.source = "with" if self.words[phrase.words[-1]] == "with" else "prep"
        self.antecedent = []
        return after

    def _holder(self, phrase: Phrase, objects: Sequence[int]) -> list[int]:
        """The nouns that a phrase with a preposition belongs to."""
        if self.source == "subject" or not self.subject:
            return self.last or self.subject
        first, place = self.words[phrase.words[0]], self._kind_of(objects)
        doer = self.doer or self.subject
        alive = self._kind_of(doer) in _ALIVE
        worn = self._kind_of(self.last) in _WORN and alive and first != "with"
        beside = self.source == "prep" and first in _BESIDE and self._kind_of(self.last) == "place"
        apart = self.source == "with" and first in _SPATIAL and len(phrase.words) > 1 and bool(objects)
        if worn or beside or apart:
            return doer
        if self.source == "object" and self.verb in _TAKEN_ALONG:
            by_means = first == "with" and place in _MEANS
            done_here = first in _HERE and alive and (not objects or place in _WHERE | _ALIVE)
            if by_means or done_here:
                return doer
        return self.last
