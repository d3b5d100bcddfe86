"""Function words whose part of speech depends on position: "that", "her", "to", "has", "like", "one"."""

from clipsight.roles.lexicon import lexicon
from clipsight.roles.rules.candidates import NOUNS
from clipsight.roles.rules.function_words import CLOSED
from clipsight.roles.rules.position import OPENERS, Place
from clipsight.roles.word_files import word_set

_ADJECTIVE_TOO = word_set("grammar", "adjective too")
_ORDINALS = frozenset(["first", "second", "third"])
_AMOUNTS = frozenset(["much", "more", "most", "less"])
_SINGULAR = frozenset(["this", "another", "each", "one"])
_ARTICLES = frozenset(["a", "an", "the"])
_HAVE = {"has": "VZ", "have": "VB", "had": "VN", "having": "VG"}
_DO = {"do": "VB", "does": "VZ", "did": "VN"}


def judge_closed(at: Place, i: int) -> str:
    """The tag of word i, which is a function word."""
    word = at.words[i]
    tag, before, after = CLOSED[word], at.before(i), at.next_can(i)
    noun = at.noun_follows(i)
    if word == "that":
        named = before in NOUNS | {"PR", "CD"} and i and not at.breaks[i]
        return "WH" if named or not noun else "DT"
    if (
        word in _ADJECTIVE_TOO
        and before in ("DT", "JJ", "CD")
        and "DT" not in after
        and (noun or before == "DT")
    ):
        return "JJ" if noun else "NN"
    if word == "round" and noun and "DT" not in after:
        return "JJ"
    if word == "can" and before in OPENERS | {"IN", "NN"} and not after & {"VB", "BE"}:
        return "NN"
    if word == "like" and before in ("TO", "MD", "PR", "DO"):
        return "VB"
    if word == "while" and before == "DT":
        return "NN"
    if tag in ("DT", "CD") or (tag == "JJ" and word not in _ORDINALS):
        return _determiner(at, i, tag, noun)
    if tag == "TO":
        return _to(at, i)
    if tag == "HV":
        return _have(at, i)
    if tag == "DO":
        helps = ("VB" in after and not after & NOUNS) or after & {"RB", "PR"}
        return "DO" if helps else _DO[word]
    if tag == "EX":
        return "EX" if after & {"BE", "RB", "MD"} or before == "BE" or word != "there" else "RB"
    return tag


def _determiner(at: Place, i: int, tag: str, noun: bool) -> str:
    """A determiner, number or amount; without a noun after it a pronoun."""
    word, after = at.words[i], at.next_can(i)
    if word in ("both", "all", "each", "one") and "VG" in after and not after & NOUNS:
        return "PR"
    if word == "others" or (word in _SINGULAR and "VZ" in after and "NN" not in after):
        return "PR"
    if noun:
        return tag
    if word in _ARTICLES or (tag == "DT" and after & {"DT", "CD"}):
        return "DT"
    return "RB" if word in _AMOUNTS else "PR"


def _to(at: Place, i: int) -> str:
    """TO before a verb, IN before a thing."""
    if at.next_can(i) == {"RB"}:
        i += 1
    word, after = at.next(i), at.next_can(i)
    if "BE" in after or word in ("have", "do"):
        return "TO"
    if "VB" not in after:
        return "IN"
    known = lexicon()
    only_verb = not after & {"NN", "NS", "JJ"} or word in known.strong or word in known.either
    return "TO" if only_verb or at.next_can(i + 1) & {"DT", "PR"} else "IN"


def _have(at: Place, i: int) -> str:
    """HV as a helper ("has eaten"), else a verb of its own ("has stuffed animals")."""
    after = at.next_can(i)
    helps = "VN" in after and not ("JJ" in after and at.noun_follows(i + 1)) and "NS" not in after
    if after == {"RB"}:
        helps = "VN" in at.next_can(i + 1)
    if helps or at.next(i) in ("been", "had"):
        return "HV"
    return _HAVE.get(at.words[i], "HV")
