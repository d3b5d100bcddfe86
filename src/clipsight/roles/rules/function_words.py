"""Function words that the rules use, and the fixed phrases of captions.

Which words are what is English; which of them count as object, attribute or relation is the guideline's
(`tests/data/roles/GUIDELINE.md`). The lists themselves are `grammar.txt` and `phrases.txt` in
`clipsight/assets/words`.
"""

from collections.abc import Mapping, Sequence

from clipsight.roles.word_files import sections

Words = Sequence[str]
Phrases = Mapping[str, tuple[tuple[str, ...], ...]]
"""First word -> the phrases that begin with it, the longest first."""

_GRAMMAR = sections("grammar")
_PHRASES = sections("phrases", ",")


def _words(name: str) -> frozenset[str]:
    return frozenset(_GRAMMAR[name])


def _phrases(name: str) -> Phrases:
    found: dict[str, list[tuple[str, ...]]] = {}
    for entry in sorted(_PHRASES[name], key=lambda entry: (-len(entry.split()), entry)):
        phrase = tuple(entry.split())
        found.setdefault(phrase[0], []).append(phrase)
    return {first: tuple(phrases) for first, phrases in found.items()}


def _set(name: str) -> frozenset[tuple[str, ...]]:
    return frozenset(phrase for phrases in _phrases(name).values() for phrase in phrases)


def match(words: Words, breaks: Words, i: int, phrases: Phrases) -> tuple[str, ...]:
    """The longest of the phrases that begins at word i with only blanks inside; () for none."""
    for phrase in phrases.get(words[i], ()):
        end = i + len(phrase)
        if tuple(words[i:end]) == phrase and not any(breaks[i + 1 : end]):
            return phrase
    return ()


CLOSED: Mapping[str, str] = {word: tag for tag, words in _GRAMMAR.items() if tag.isupper() for word in words}
"""Tag of every word of grammar; its tag may change with its place (`rules_closed`)."""

PLURAL_BE = _words("plural be")
OTHER_PERSONS = _words("other persons")
DEGREES = _words("degree")
PLACE_NOUNS = _words("place noun")
PLACE_PREPOSITIONS = _words("place preposition")
PLACE_ADJECTIVES = _words("place adjective")
GROUPS = _words("group")
"""Before `of`: nothing but several or much of what follows."""
PICTURES = _words("picture")
ALWAYS_PICTURES = _words("always picture")
KINDS_OF_VIEW = _words("view")
KINDS = _words("kind")
TIMES = _words("time")
PLAIN_TIMES = _words("plain time")
"""What is said of times and cannot be seen."""
BEFORE_CLAUSES = _words("before a clause")
SHOWING = _words("showing")
"""After a picture's name: it is the picture itself that is meant."""
TAKING = _words("taking")
NO_THINGS = _words("no thing")
"""Nouns that one cannot draw a region for."""
COMPOUND_PARTICIPLES = _words("compound participle")
"""After a noun and before one: "a snow covered hill", "horse drawn carriage"."""
NOUNS_IN_ING = _words("noun in ing")
FIRM_NOUNS_IN_ING = _words("firm noun in ing")
"""Those that stay nouns after another noun ("a brick building")."""
INTRANSITIVE = _words("intransitive")
"""Verbs in -ing that, right before a bare noun, rather qualify it ("flying discs")."""
PURPOSES: Mapping[str, frozenset[str]] = {
    name.removeprefix("purpose "): frozenset(heads)
    for name, heads in _GRAMMAR.items()
    if name.startswith("purpose ")
}
"""What a thing is for: verb in -ing -> the nouns it then stands before ("dining room")."""

FIXED_RELATIONS = _phrases("relation")
"""Relations of several words that hold an adjective, `of` or a noun."""
NO_RELATIONS = _set("no relation")
SET_PHRASES = _phrases("set")
"""Phrases without a thing ("in half", "side by side")."""
KEPT_RELATIONS = _set("kept relation")
"""Set phrases that are relations all the same; they are set so that nothing shorter takes them apart."""
FIXED_NAMES = _phrases("name")
"""Names of several words; those whose first word is an adjective elsewhere matter most."""
MODIFIERS = _phrases("modifier")
"""Before a noun, and there only, qualities of several words."""
UPSIDE_DOWN: Phrases = {"upside": (("upside", "down"),)}
"""A quality of several words wherever it stands."""
