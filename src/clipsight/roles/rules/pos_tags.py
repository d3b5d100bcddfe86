"""A part of speech for every word of a caption, from lexicon, ending and position; no statistics, no download.

Words are tagged from left to right. A word with one possible tag gets it; for others, the words before (already
tagged) and the possible words after decide. The tags are the Penn Treebank's in short: NN NS nouns, NP possessive
nouns ("man's"), VB VZ VG VN verbs (past and participle are one, since their forms are), JJ whatever qualifies a
noun, participles included, CD numbers, DT PR WH EX determiners and pronouns, IN prepositions and particles, TO MD
BE HV DO helpers, CC SC conjunctions, RB adverbs. Phrases that have their roles as a whole (`rules_settled`) come in
as FR (relation) and XX (nothing).
"""

from collections.abc import Sequence

from clipsight.roles.lexicon import lexicon
from clipsight.roles.rules.candidates import NOUNS, VERBS
from clipsight.roles.rules.closed_class import judge_closed
from clipsight.roles.rules.function_words import CLOSED, OTHER_PERSONS, PLACE_NOUNS
from clipsight.roles.rules.participles import is_firm_noun, judge_gerund, judge_participle
from clipsight.roles.rules.position import OPENERS, Place, possible_tags

_SPORTS = frozenset(["surf", "ski", "skate", "skateboard", "snowboard", "swim", "kite", "bike", "race"])
_BEFORE_A_VERB = frozenset(["go", "come", "help", "let"])
_COLOURS_TOO = frozenset(["orange", "gold", "silver", "cream", "tan", "lavender"])
"""Things and colours; the colour is meant after "in" and the like."""


def tag_words(words: Sequence[str], breaks: Sequence[str], forced: Sequence[str]) -> list[str]:
    """One tag per word.

    Args:
        words: in lower case, with straight apostrophes.
        breaks: what stands before each word, see `rules_place`.
        forced: tags that are already decided, "" for none.
        capital: words written large although no sentence begins with them.
    """
    at = Place(words=words, breaks=breaks, can=possible_tags(words, forced))
    for i in range(len(words)):
        at.arrive(i)
        tag = forced[i] or _judge(at, i)
        at.settle("JJ" if tag == "NN" and not forced[i] and _measures(at, i) else tag)
    return at.tags


def _measures(at: Place, i: int) -> bool:
    """Whether noun i says with a number how much one thing has of it ("a two story house")."""
    if not i or at.tags[i - 1] != "CD" or at.words[i - 1] == "one" or not at.joined(i):
        return False
    last = i
    while at.joined(last + 1) and at.can[last + 1] & NOUNS and not at.rather_verb(last + 1):
        last += 1
    return last > i and "NS" not in at.can[last]


def _judge(at: Place, i: int) -> str:
    word, can = at.words[i], at.can[i]
    if word in CLOSED:
        return judge_closed(at, i)
    if "VG" in can:
        return judge_gerund(at, i)
    if "VN" in can and not is_firm_noun(at, i):
        return judge_participle(at, i)
    if len(can) == 1:
        return _single(at, i, min(can))
    return _open(at, i)


def _single(at: Place, i: int, tag: str) -> str:
    """A word that could be one thing only, unless its place is quite another's."""
    before = at.before(i)
    if tag == "JJ":
        return _adjective(at, i)
    before_noun = at.noun_follows(i) and not at.next_can(i) & {"DT", "PR"}
    if tag == "VB" and before == "NN" and before_noun and not (at.alive(i - 1) or at.plural_subject):
        return "NN"
    after_colour = i > 0 and at.tags[i - 1] == "JJ" and at.colour(i - 1)
    noun_place = before in ("DT", "NP", "IN") or (before == "JJ" and tag == "VB")
    if tag in ("VB", "VZ") and noun_place and not after_colour:
        return "JJ" if at.noun_follows(i) else "NS" if tag == "VZ" else "NN"
    unknown = at.words[i] not in lexicon().tags and tag in NOUNS
    if (
        unknown
        and i
        and not at.finite
        and not at.breaks[i]
        and at.alive(i - 1)
        and at.next_can(i) & {"DT", "PR"}
    ):
        return {("NS", "NN"): "VZ", ("NN", "NS"): "VB"}.get((tag, at.tags[i - 1]), tag)
    return tag


def _adjective(at: Place, i: int) -> str:
    """A word known as an adjective only; in a noun's place a name or a misspelling ("filled with mean on wheels")."""
    plain = not lexicon().adjective_is(at.words[i], "color", "hue", "nationality", "state")
    before = at.before(i)
    if (
        not plain
        or not i
        or at.words[i - 1] == "very"
        or before not in ("IN", "FR", "DT")
        or at.noun_follows(i)
    ):
        return "JJ"
    named = before == "DT" and at.words[i - 1] == "the" and at.before(i - 1) == "IN"
    return "NN" if named or "IN" in at.next_can(i) else "JJ"


def _open(at: Place, i: int) -> str:
    can, before = at.can[i], at.before(i)
    noun, takes = at.noun_follows(i), bool(at.next_can(i) & {"DT", "PR"})
    if before in ("TO", "MD", "DO") and "VB" in can:
        return "VB"
    if "RB" in can and not noun and (before in VERBS or (before in NOUNS and "JJ" not in can)):
        return "RB"
    if "VZ" in can:
        return _third_person(at, i, takes)
    if "VB" in can and _is_base_verb(at, i, takes, noun):
        return "VB"
    if "JJ" in can:
        return _quality(at, i, noun)
    return next((tag for tag in ("NN", "NS", "RB", "VB", "VZ") if tag in can), "NN")


def _quality(at: Place, i: int, noun: bool) -> str:
    """JJ, a noun or RB for word i, which can be an adjective and something else."""
    word, can, before, after = at.words[i], at.can[i], at.before(i), at.next_can(i)
    if lexicon().adjective_is(word, "hue") and lexicon().adjective_is(at.next(i), "color"):
        return "JJ"
    if word == "back" and before in VERBS and not noun:
        return "IN"
    inner = before in NOUNS and can & NOUNS and after & NOUNS and (after & VERBS or word in PLACE_NOUNS)
    if noun and not inner:
        return "JJ"
    if (word == "close" and at.next(i) == "together") or (
        word == "right" and after & {"IN", "FR"} and before != "DT"
    ):
        return "RB"
    after_noun = before in NOUNS and "NN" not in can
    if not can & NOUNS or after_noun or before not in OPENERS | VERBS | NOUNS | {"IN", "FR", "", "CC"}:
        return "JJ"
    shade = word in _COLOURS_TOO and (before in ("IN", "VN") or (before == "CC" and at.colour(i - 2)))
    return "JJ" if shade and "IN" not in after else min(can & NOUNS)


def _third_person(at: Place, i: int, takes: bool) -> str:
    """VZ or a plural noun."""
    can, before, after = at.can[i], at.before(i), at.next_can(i)
    many = next((tag for tag in ("NS", "NN") if tag in can), "VZ")
    if many == "VZ" or before in ("WH", "PR"):
        return "VZ"
    if before in OPENERS | VERBS | {"IN", "FR", "", "NS", "BE"}:
        herd_ends = before == "NS" and not at.next(i) and at.alive(i - 1) and at.strong(i)
        if herd_ends and at.in_phrase and not at.finite:
            return "VZ"
        goes_on = after & {"IN", "DT", "FR", "RB", "PR"} and at.words[i] in lexicon().strong
        # "a person in skis flies over", "a woman in black sits on"
        phrase_ends = before == "NS" and at.in_phrase and not at.finite
        colour_ends = before == "JJ" and _colours_alone(at, i - 1)
        return "VZ" if goes_on and (phrase_ends or colour_ends) else many
    if before in ("NN", "NP"):
        ends = not at.next(i) or "CC" in after
        led_by_noun = after & {"VG", "BE"} and not at.alive(i - 1)
        if at.finite or led_by_noun or (at.in_phrase and not takes and ends):
            return many
        return "VZ" if at.strong(i) or takes else many
    if before == "CC":
        known = lexicon()
        inclined = at.words[i] in known.strong or (
            at.words[i] in known.either and bool(after & {"DT", "PR", "IN"})
        )
        return "VZ" if at.last_verb == "VZ" and inclined and "CC" not in after else many
    return "VZ" if at.strong(i) else many


def _colours_alone(at: Place, i: int) -> bool:
    """Whether the colours up to word i stand for what is worn ("in red", "wearing red and black")."""
    while i >= 0 and (at.colour(i) or at.tags[i] == "CC"):
        i -= 1
    return i >= 0 and at.tags[i] in ("IN", "VG")


def _is_base_verb(at: Place, i: int, takes: bool, noun: bool) -> bool:
    can, before, strong = at.can[i], at.before(i), at.strong(i)
    if not can & {"NN", "NS", "JJ", "RB"}:
        return True
    if before == "WH" or (before == "PR" and at.words[i - 1] in OTHER_PERSONS):
        return True
    if before in VERBS:
        return takes and lexicon().verb_of.get(at.words[i - 1]) in _BEFORE_A_VERB
    if before == "CC":
        return at.last_verb == "VB" and strong and not (noun and not takes and "JJ" in can)
    alive = i > 0 and at.alive(i - 1)
    if at.finite or before not in NOUNS:
        return False
    if before == "NN" and alive and strong and (takes or (noun and at.words[i] not in _SPORTS)):
        return True
    if before == "NN" and (not at.plural_subject or not alive or at.last_verb == "VG"):
        return False
    if "JJ" in can and not noun and not takes:
        return False
    return strong or takes
