"""English inflection: plurals, verb forms, "a" or "an"."""

from functools import cache
from typing import NamedTuple

from clipsight.roles.word_files import sections

VOWELS = "aeiou"
_HISSING = ("s", "x", "z", "ch", "sh")
_IRREGULAR_TAILS = (("woman", "women"), ("man", "men"), ("child", "children"), ("fish", "fish"))
# Vowel letters with a consonant's sound ("a unicorn", "a one-eyed cat"), but not "an unimportant"; and the silent h.
_A_BEFORE = ("uni", "use", "usu", "ute", "uti", "ura", "eu", "one", "once", "ukulele", "u-")
_AN_BEFORE = ("unim", "unin", "unid", "hour", "honest", "honor", "honour", "heir", "herb")
_AN_BEFORE_NUMBERS = ("8", "11", "18")


class VerbForms(NamedTuple):
    """The forms of one verb."""

    third: str
    gerund: str
    past: str
    participle: str


@cache
def _listed(section: str) -> frozenset[str]:
    return frozenset(sections("forms", ",")[section])


@cache
def _irregular(section: str) -> dict[str, list[str]]:
    entries = (entry.split() for entry in sections("forms", ",")[section])
    return {base: forms for base, *forms in entries}


def plural(noun: str) -> str:
    """The plural of a singular noun; words such as "sheep" and "scissors" do not change.

    Example:
        >>> plural("bus"), plural("wolf"), plural("sheep")
        ('buses', 'wolves', 'sheep')
    """
    if noun in _irregular("plural"):
        return _irregular("plural")[noun][0]
    if noun in _listed("same"):
        return noun
    for tail, many in _IRREGULAR_TAILS:
        if noun.endswith(tail) and noun != "human" and len(noun) > len(tail):
            return noun.removesuffix(tail) + many
    if noun.endswith(_HISSING) or noun in _listed("oes"):
        return noun + "es"
    return noun[:-1] + "ies" if _ends_in_y(noun) else noun + "s"


def only_plural(noun: str) -> bool:
    """Whether the noun has no singular ("scissors", "people")."""
    return noun in _listed("no singular")


def verb_forms(verb: str) -> VerbForms:
    """Third person, -ing form, past and past participle.

    Example:
        >>> verb_forms("swim")
        VerbForms(third='swims', gerund='swimming', past='swam', participle='swum')
    """
    in_y = _ends_in_y(verb)
    third = verb[:-1] + "ies" if in_y else verb + ("es" if verb.endswith((*_HISSING, "o")) else "s")
    stem = verb + verb[-1] if _doubles(verb) else verb + "k" if verb.endswith("ic") else verb
    if verb in _listed("ying"):
        gerund = verb[:-2] + "ying"
    elif verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        gerund = verb[:-1] + "ing"
    else:
        gerund = stem + "ing"
    past = verb[:-1] + "ied" if in_y else stem + ("d" if verb.endswith("e") else "ed")
    forms = _irregular("verb").get(verb, [past])
    return VerbForms(third, gerund, forms[0], forms[-1])


def article(phrase: str) -> str:
    """The indefinite article by the sound that the phrase begins with.

    Example:
        >>> article("umbrella"), article("unicorn"), article("hourglass")
        ('an', 'a', 'an')
    """
    word = phrase.lower()
    if word.startswith(_AN_BEFORE) or word.split("-")[0] in _AN_BEFORE_NUMBERS:
        return "an"
    return "an" if word.startswith(tuple(VOWELS)) and not word.startswith(_A_BEFORE) else "a"


def _ends_in_y(word: str) -> bool:
    return word.endswith("y") and word[-2:-1] not in tuple(VOWELS)


def _doubles(verb: str) -> bool:
    """Whether the last consonant is written twice before -ing and -ed."""
    plain = verb.replace("qu", "q")
    vowels = [letter in VOWELS for letter in plain]
    short = len(plain) > 2 and vowels[-2:] == [True, False] and plain[-1] not in "wxy"
    return verb in _listed("doubled") or (short and sum(vowels) == 1)
