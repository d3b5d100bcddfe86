"""Phrases whose roles are fixed as a whole, found before single words are tagged.

"in front of" and "on the other side of" are relations, "hot dog" is a name, "stand up" qualifies before a noun, "in
half" and "each other" are nothing.
"""

from clipsight.roles.lexicon import lexicon
from clipsight.roles.rules.candidates import NOUNS, word_tags
from clipsight.roles.rules.function_words import (
    CLOSED,
    FIXED_NAMES,
    FIXED_RELATIONS,
    KEPT_RELATIONS,
    MODIFIERS,
    NO_RELATIONS,
    NOUNS_IN_ING,
    PLACE_ADJECTIVES,
    PLACE_NOUNS,
    PLACE_PREPOSITIONS,
    SET_PHRASES,
    UPSIDE_DOWN,
    Words,
    match,
)

_LONGEST_WAY_TO_A_PLACE = 5
_RECIPROCAL = frozenset(["other", "another", "one", "each"])
_EITHER = frozenset(["either", "each", "both"])
# Relations whose first word is a verb, which has forms of its own and is left to be judged.
_FROM_A_VERB = frozenset(["made", "filled", "consisting", "consists", "consist", "composed", "attached"])


def resolve_phrases(words: Words, breaks: Words) -> list[str]:
    """The tags of words in fixed phrases; "" for every other word.

    Args:
        words: in lower case.
        breaks: what stands before each word.
    """
    forced = [""] * len(words)
    i = 0
    while i < len(words):
        found = next(
            (tags for find in (_set_phrase, _relation, _place, _name) if (tags := find(words, breaks, i))),
            [""],
        )
        forced[i : i + len(found)] = found
        i += len(found)
    return forced


def _noun_after(words: Words, breaks: Words, i: int) -> bool:
    """Whether word i goes on with a noun phrase rather than with a verb or a preposition."""
    if i >= len(words) or breaks[i]:
        return False
    tags = word_tags(words[i])
    verb = tags & {"VZ", "VG"} and words[i] in lexicon().strong and words[i] not in NOUNS_IN_ING
    return bool(tags & NOUNS) and not verb


def _set_phrase(words: Words, breaks: Words, i: int) -> list[str]:
    if (
        words[i] == "about"
        and words[i + 1 : i + 2] == ["to"]
        and "VB" in word_tags(" ".join(words[i + 2 : i + 3]))
    ):
        return ["XX"]
    two = list(words[i : i + 2])
    size = 2 if two in (["close", "up"], ["close", "ups"], ["up", "close"]) else words[i] in _CLOSE_UPS
    if size:
        return ["XX"] * (size + (list(words[i + size : i + size + 1]) == ["of"]))
    phrase = match(words, breaks, i, SET_PHRASES)
    if not phrase or (CLOSED.get(phrase[0]) in ("IN", "TO") and _noun_after(words, breaks, i + len(phrase))):
        return []
    kept = phrase in KEPT_RELATIONS
    return ["FR" if kept and CLOSED.get(w) != "DT" and w not in _RECIPROCAL else "XX" for w in phrase]


_CLOSE_UPS = frozenset(["closeup", "close-up", "closeups", "close-ups"])


def _relation(words: Words, breaks: Words, i: int) -> list[str]:
    phrase = match(words, breaks, i, FIXED_RELATIONS)
    mark = "XX" if phrase in NO_RELATIONS else "FR"
    tags = ["DT" if CLOSED.get(word) == "DT" and word not in _EITHER else mark for word in phrase]
    return ["", *tags[1:]] if phrase and phrase[0] in _FROM_A_VERB else tags


def _place(words: Words, breaks: Words, i: int) -> list[str]:
    """A preposition, what may stand before a noun of place, and that noun: "on the far side of", "in the corner"."""
    if words[i] not in PLACE_PREPOSITIONS:
        return []
    end = 0
    for j in range(i + 1, min(i + _LONGEST_WAY_TO_A_PLACE, len(words))):
        word = words[j]
        if breaks[j]:
            return []
        joined = list(words[j + 1 : j + 2]) == ["and"] and not PLACE_NOUNS.isdisjoint(words[j + 2 : j + 3])
        if word in PLACE_NOUNS and not joined and not _noun_after(words, breaks, j + 1):
            end = j + 1
            break
        quality = "JJ" in word_tags(word) and not lexicon().adjective_is(word, "color", "material", "state")
        determines = CLOSED.get(word) in ("DT", "CD") or word in PLACE_ADJECTIVES or quality
        if not determines:
            return []
    if not end:
        return []
    if list(words[end : end + 1]) == ["of"] and not breaks[end]:
        end += 1
    return ["DT" if CLOSED.get(w) == "DT" and w not in PLACE_ADJECTIVES else "FR" for w in words[i:end]]


def _name(words: Words, breaks: Words, i: int) -> list[str]:
    phrase = match(words, breaks, i, FIXED_NAMES)
    if phrase:
        return ["NN"] * (len(phrase) - 1) + ["NS" if phrase[-1].endswith("s") else "NN"]
    phrase = match(words, breaks, i, MODIFIERS)
    before_noun = phrase and _noun_after(words, breaks, i + len(phrase)) and list(words[i - 1 : i]) != ["to"]
    if before_noun or (phrase and lexicon().adjective_is(phrase[-1], "color")):
        return ["JJ"] * len(phrase)
    return ["JJ"] * len(match(words, breaks, i, UPSIDE_DOWN))
