"""Words in -ing and past participles: verb, attribute of a noun ("a parked car"), or noun ("a building")."""

from clipsight.roles.lexicon import lexicon
from clipsight.roles.rules.candidates import NOUNS, VERBS
from clipsight.roles.rules.function_words import (
    COMPOUND_PARTICIPLES,
    FIRM_NOUNS_IN_ING,
    INTRANSITIVE,
    NOUNS_IN_ING,
    PLURAL_BE,
    PURPOSES,
)
from clipsight.roles.rules.position import OPENERS, Place
from clipsight.roles.word_files import word_set

_SAYING_HOW = frozenset(["with", "in", "on", "against", "at"])


def judge_gerund(at: Place, i: int) -> str:
    """VG, JJ or a noun for word i, which ends in -ing."""
    word, before, after = at.words[i], at.before(i), at.next_can(i)
    noun = bool(after & NOUNS or (after & {"JJ", "CD"} and at.noun_follows(i))) and "IN" not in after
    as_noun = "NS" if "NS" in at.can[i] else "NN"
    takes = bool(after & {"DT", "PR"})
    firm = word in FIRM_NOUNS_IN_ING and not takes
    unknown = word not in lexicon().tags and word not in NOUNS_IN_ING
    if unknown and before in ("IN", "DT") and not takes and not noun:
        return "NN"
    if at.next(i) in PURPOSES.get(word, ()):
        return "NN"
    if before in OPENERS and not (before == "JJ" and i >= 2 and _predicate(at, i - 1)):
        if noun:
            return as_noun if word in NOUNS_IN_ING and word in FIRM_NOUNS_IN_ING else "JJ"
        return as_noun if word in NOUNS_IN_ING or before == "DT" else "VG"
    if before in NOUNS:
        return as_noun if firm else "VG"
    if before in VERBS | {"IN", "FR", "", "CC"}:
        if firm:
            return as_noun
        if word in NOUNS_IN_ING and before in ("IN", "FR") and not takes and not after & {"NN", "NS", "JJ"}:
            return as_noun
        if noun and before == "IN" and at.words[i - 1] in _SAYING_HOW:
            return "JJ"
        if noun and word in INTRANSITIVE and not (before == "CC" and at.last_verb == "VG"):
            return "JJ"
    return "VG"


def judge_participle(at: Place, i: int) -> str:
    """VN, VB, JJ or a noun for word i, which is the past form of a verb."""
    can, before, after = at.can[i], at.before(i), at.next_can(i)
    noun = at.noun_follows(i) and not after & {"DT", "PR", "CD"}
    as_noun = min(can & NOUNS, default="")
    if before in ("TO", "MD", "DO") and "VB" in can:
        return "VB"
    if before in OPENERS and not (before == "JJ" and _predicate(at, i - 1) and not noun):
        if noun:
            return "JJ"
        return (as_noun if before != "CD" else "") or ("JJ" if before == "DT" else "VN")
    if before in ("IN", "FR"):
        return "JJ" if noun else as_noun or ("JJ" if "JJ" in can else "VN")
    if before in NOUNS:
        return _after_noun(at, i, noun)
    if before == "BE":
        return "JJ" if (noun and "JJ" in can) or _bare_state(at, i) else "VN"
    if before in ("", "CC"):
        if before == "CC" and at.last_verb in ("VB", "VZ") and "VB" in can and not noun:
            return "VB"
        joins_verb = before == "CC" and not at.breaks[i] and i >= 2 and at.tags[i - 2] in VERBS | {"IN"}
        return "JJ" if noun and not joins_verb else "VN"
    if before in VERBS:
        return "JJ" if noun else as_noun if as_noun and "IN" not in after else "VN"
    return "JJ" if noun and before not in ("PR", "WH", "HV") else "VN"


def _after_noun(at: Place, i: int, noun: bool) -> str:
    word, can, after = at.words[i], at.can[i], at.next_can(i)
    if noun and word in COMPOUND_PARTICIPLES and at.qualifies(i) and not at.alive(i - 1):
        at.tags[i - 1] = "JJ"
        return "JJ"
    if noun and "JJ" in can:
        return "JJ"
    ambiguous = "VB" in can and can & NOUNS and at.before(i) == "NN"
    return min(can & NOUNS) if ambiguous and not after & {"DT", "IN", "PR", "FR"} else "VN"


def _bare_state(at: Place, i: int) -> bool:
    """Whether participle i follows a plain is or are, and nothing follows it ("the cup is cracked")."""
    plain = at.words[i - 1] in PLURAL_BE | {"is", "was"} or at.tags[i - 1] == "RB"
    ends = i + 1 == len(at.words) or at.breaks[i + 1] or at.next_can(i) & {"CC", "SC", "WH"}
    return bool(plain and ends)


def _predicate(at: Place, i: int) -> bool:
    """Whether the adjective i says something of a noun before it."""
    return at.before(i) in NOUNS | {"BE"} | VERBS


def is_firm_noun(at: Place, i: int) -> bool:
    """Whether word i, a past form that captions mostly use as a noun ("ground", "rose"), is in a noun position."""
    word, before = at.words[i], at.before(i)
    if word not in _FIRM_NOUNS or not at.can[i] & NOUNS:
        return False
    if word == "left":
        return before == "DT" or (i > 0 and at.words[i - 1] in ("to", "on"))
    if before in OPENERS | {"IN", "FR", ""}:
        return True
    if before == "CC":
        return not at.next_can(i) & {"DT", "PR", "IN"}
    return before in NOUNS and (at.next(i) == "of" or not at.next_can(i) & {"DT", "PR", "IN"})


_FIRM_NOUNS = word_set("grammar", "firm nouns")
