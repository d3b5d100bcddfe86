"""Words that can replace a word to make a caption false: the groups in `assets/words/foils.txt`."""

import random
from collections.abc import Iterator, Sequence
from functools import cache

from clipsight.roles.lexicon import lexicon
from clipsight.roles.word_files import sections

_SIZES_AND_COLOURS = ("big", "small", "red", "blue", "green", "yellow", "black", "white")
_OF_THE_LIVING = {
    "person": ("tall", "short", "young", "old"),
    "animal": ("big", "small", "black", "white", "brown"),
}
_ANYTHING = ("animal", "carried", "toy")
"""Groups to add from when nothing of a noun's own group is left."""
WITHOUT_OBJECT = frozenset(["posture", "way", "rest", "smile", "air", "ground"])
"""Groups of verbs that take no object; the other groups' verbs need one."""


@cache
def _listed() -> dict[str, tuple[str, ...]]:
    return dict(sections("foils", ","))


@cache
def _groups(kind: str) -> dict[str, tuple[str, ...]]:
    """Group name -> members, for the sections "KIND NAME"."""
    return {
        name.removeprefix(f"{kind} "): words
        for name, words in _listed().items()
        if name.startswith(f"{kind} ")
    }


@cache
def _pairs(section: str) -> dict[str, str]:
    parts = (entry.partition(">") for entry in _listed()[section])
    return {word.strip(): other.strip() for word, _, other in parts}


@cache
def _same() -> dict[str, frozenset[str]]:
    """Word -> words that mean the same thing, a kind of it, or what it is a kind of."""
    found: dict[str, set[str]] = {}
    for entry in _listed()["same"]:
        for word in entry.split():
            found.setdefault(word, set()).update(entry.split())
    return {word: frozenset(words) for word, words in found.items()}


def mentioned(phrase: str, lemmas: frozenset[str]) -> bool:
    """Whether a caption with these words already mentions the thing, perhaps by another name."""
    same = _same()
    return any(not lemmas.isdisjoint(same.get(word, frozenset()) | {word}) for word in phrase.split())


def other_objects(phrase: str, lemmas: frozenset[str], rng: random.Random) -> list[str]:
    """Things of the group of a noun (singular; several words for a compound) that the caption does not mention."""
    return _others("object", phrase, lemmas, rng)


def other_stuff(noun: str, lemmas: frozenset[str], rng: random.Random) -> list[str]:
    """As `other_objects`, for uncountable nouns ("snow")."""
    return _others("mass", noun, lemmas, rng)


def _others(kind: str, word: str, lemmas: frozenset[str], rng: random.Random) -> list[str]:
    members = next((words for words in _groups(kind).values() if word in words), ())
    left = [m for m in members if m != word and not mentioned(m, lemmas - set(word.split()))]
    return rng.sample(left, len(left))


def objects_to_add(phrase: str, lemmas: frozenset[str], rng: random.Random) -> list[str]:
    """Things that can be named together with this one; those of its own group first."""
    own = other_objects(phrase, lemmas | set(phrase.split()), rng)
    rest = [word for group in _ANYTHING for word in _groups("object")[group]]
    return own + [
        w for w in rng.sample(rest, len(rest)) if w not in own and w != phrase and not mentioned(w, lemmas)
    ]


def attributes_to_add(noun: str, present: frozenset[str], rng: random.Random) -> list[str]:
    """Attributes that a noun can get in addition to its own; none of a kind that it already has."""
    kind = lexicon().kind(noun)
    choices = _OF_THE_LIVING.get(kind, _SIZES_AND_COLOURS)
    taken = {name for word in present for name in lexicon().adjective_kinds.get(word, ())}
    left = [w for w in choices if w not in present and taken.isdisjoint(lexicon().adjective_kinds.get(w, ()))]
    return rng.sample(left, len(left))


def other_attributes(word: str, noun: str, lemmas: frozenset[str], rng: random.Random) -> list[str]:
    """Attributes that exclude this one, for a noun (singular)."""
    members = next((words for words in _groups("attribute").values() if word in words), ())
    left = [m for m in members if m != word and m not in lemmas]
    alive = lexicon().kind(noun) in _OF_THE_LIVING
    own = _pairs("opposite of the living" if alive else "opposite of the rest")
    opposite = own.get(word) or _pairs("opposite").get(word)
    return rng.sample(left, len(left)) or ([opposite] if opposite else [])


def other_relations(words: Sequence[str]) -> Iterator[tuple[int, str]]:
    """(number of words replaced, what replaces them) for a relation that begins with these words; the longest first."""
    pairs = _pairs("relation")
    for size in range(min(4, len(words)), 0, -1):
        found = pairs.get(" ".join(words[:size]))
        if found:
            yield size, found


def other_verbs(verb: str, takes_object: bool, alive: bool, rng: random.Random) -> list[str]:
    """Base forms of verbs that exclude this one and have the same construction.

    Args:
        verb: base form.
        takes_object: whether it has an object here.
        alive: whether its subject is a living being; things neither kneel nor crouch.
        rng: for the order.
    """
    groups = _groups("verb") | ({} if alive else _groups("thing"))
    fitting = (
        verbs for name, verbs in groups.items() if verb in verbs and (name in WITHOUT_OBJECT) != takes_object
    )
    found = [other for other in dict.fromkeys(word for verbs in fitting for word in verbs) if other != verb]
    return rng.sample(found, len(found))
