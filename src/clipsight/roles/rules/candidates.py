"""Which parts of speech a word can have regardless of its position: by word list, otherwise by its ending."""

import re
from functools import lru_cache

from clipsight.roles.lexicon import lexicon
from clipsight.roles.rules.function_words import CLOSED
from clipsight.roles.word_files import word_set

Tags = frozenset[str]
VERBS: Tags = frozenset(("VB", "VZ", "VG", "VN"))
NOUNS: Tags = frozenset(("NN", "NS"))

_NUMBER = re.compile(r"\d[\d.,]*(?:st|nd|rd|th|s)?|\d+-\d+")
_ENDINGS: tuple[tuple[str, Tags], ...] = tuple(
    (ending, frozenset(tags.split()))
    for endings, tags in (
        ("ly", "RB"),
        ("ing", "VG"),
        ("ed", "VN"),
        ("ness tion sion ment ship hood ism ist er or", "NN"),
        ("ous ful less ish able ible ive ical like", "JJ"),
        ("al ic ary ian ese", "JJ NN"),
        ("ss us is", "NN"),
        ("s", "NS"),
    )
    for ending in endings.split()
)
_SHORTEST_WITH_ENDING = 4
_QUALIFYING_PREFIXES = word_set("grammar", "qualifying prefixes")
_QUALIFYING_TAILS = frozenset(["size", "style", "type", "shape"])


@lru_cache(maxsize=16384)
def word_tags(word: str) -> Tags:
    """The parts of speech that a word in lower case can have.

    Example:
        >>> sorted(word_tags("watches")), sorted(word_tags("glorbish"))
        (['NS', 'VZ'], ['JJ'])
    """
    if word in CLOSED:
        return frozenset((CLOSED[word],))
    known = lexicon().tags
    if word in known:
        return known[word]
    if _NUMBER.fullmatch(word):
        return frozenset(("CD",))
    if word.endswith("'s"):
        return frozenset(("NP",))
    if "-" in word:
        return _hyphened(word)
    if turned := _letters_turned(word):
        return frozenset((turned,))
    if len(word) >= _SHORTEST_WITH_ENDING:
        for ending, tags in _ENDINGS:
            if word.endswith(ending):
                return tags
    return frozenset(("NN",))


def _letters_turned(word: str) -> str:
    """The tag of a word of grammar with two letters the wrong way round ("teh", "wiht"), "" for other words."""
    turned = (word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(len(word) - 1))
    found = next((CLOSED[other] for other in turned if len(word) > 2 and other in CLOSED), "")
    return found if found in ("DT", "IN", "CC") else ""


def _hyphened(word: str) -> Tags:
    """By the last part ("flip-flops"), unless the whole qualifies ("snow-covered", "two-story")."""
    first, last = word.split("-")[0], word.split("-")[-1]
    tags = word_tags(last)
    qualifies = tags & {"VN", "VG", "JJ"} and not tags & NOUNS
    if qualifies or first in _QUALIFYING_PREFIXES or last in _QUALIFYING_TAILS or word_tags(first) == {"CD"}:
        return frozenset(("JJ",))
    return tags & NOUNS or frozenset(("JJ", "NN"))
