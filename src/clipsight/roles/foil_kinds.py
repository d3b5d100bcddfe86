"""The changes that make a foil of each kind, in random order; `foils` decides whether they read well."""

import random
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from clipsight.roles import foil_words as words
from clipsight.roles.foil_sentence import Sentence, TextEdit
from clipsight.roles.inflection import article, plural, verb_forms
from clipsight.roles.lexicon import lexicon
from clipsight.roles.rules.function_words import FIXED_NAMES, match
from clipsight.roles.schema import Role
from clipsight.roles.word_files import word_set

_GENDERED = frozenset(["man", "woman", "boy", "girl"])
_NO_COUNTABLE = frozenset(("", "time", "abstract", "body", "picture", "kind"))
_PRONOUNS_OF_ONE = word_set("foils", "pronouns of one", ",")
_PRONOUNS_OF_A_THING = frozenset(["it", "its", "itself"])
_SYMMETRIC = frozenset(
    ("next to", "beside", "near", "by", "with", "between", "close to", "along with", "among", "in", "at")
)
_OWNED = frozenset(["his", "her", "its", "their", "my", "your", "our"])
_NO_ADDITION = frozenset(("VZ", "VB", "BE", "HV", "MD", "DO", "CC", "NN", "NS", "JJ", "WH"))
"""After these a noun may not stop being the only one: a verb that agrees with it, a list, a relative clause."""
_PARTICLES = frozenset(["up", "out", "off", "away", "over"])
_AMOUNTS = frozenset(["many", "several", "few", "multiple", "numerous", "various", "most", "more"])
_NUMBERS = frozenset(["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"])
_WITHIN = frozenset(("place", "container"))
_ALIVE = frozenset(("person", "animal"))
_MOVING = word_set("foils", "moving", ",")
_CALLING = frozenset(("talk", "speak", "focus"))


class FoilChange(NamedTuple):
    """Edits of a caption and the role that the new words should have."""

    edits: list[TextEdit]
    role: Role


Candidates = Iterator[FoilChange]


def _shuffled(found: tuple[int, ...], rng: random.Random) -> list[int]:
    return rng.sample(found, len(found))


def _named(sentence: Sentence, head: int) -> bool:
    """Whether the noun is part of a name of several words."""
    first = sentence.noun_start(head)
    return bool(match(sentence.lower, sentence.parse.caption.breaks, first, FIXED_NAMES))


def replace_objects(sentence: Sentence, rng: random.Random) -> Candidates:
    """Replace an object with another of its group, in the same number."""
    told = not _PRONOUNS_OF_ONE.isdisjoint(sentence.lower)
    for head in _shuffled(sentence.heads, rng):
        first, noun, many = sentence.noun_start(head), sentence.noun(head), sentence.plural(head)
        loose = many is False and sentence.has_articles and not sentence.determined(head)
        if (told and noun in _GENDERED) or (sentence.grouped(head) and many is not True):
            continue
        others = words.other_objects(noun, sentence.lemmas, rng)
        if not others and first < head and not _named(sentence, head):
            others = words.other_objects(noun.split()[-1], sentence.lemmas, rng)
        if many is None:
            others = others if sentence.lower[sentence.start(head)] in ("a", "an") else []
        for other in [] if loose else others:
            yield FoilChange(
                [sentence.replace(first, head, plural_phrase(other) if many else other)], "object"
            )
        if first == head and many is False and sentence.lower[head - 1 : head] not in (["a"], ["an"]):
            for other in words.other_stuff(noun, sentence.lemmas, rng):
                yield FoilChange([sentence.replace(head, head, other)], "object")


def plural_phrase(noun: str) -> str:
    """The plural of a noun of one or more words."""
    *first, last = noun.split()
    return " ".join([*first, plural(last)])


def replace_attributes(sentence: Sentence, rng: random.Random) -> Candidates:
    """Replace an attribute with one that excludes it."""
    of = dict(sentence.roles.links)
    for i in _shuffled(sentence.roles.numbers("attribute"), rng):
        noun = lexicon().noun_of.get(sentence.lower[of[i]], "") if i in of else ""
        if _skin(sentence, i, of.get(i)):
            continue
        for other in words.other_attributes(sentence.lower[i], noun, sentence.lemmas, rng):
            yield FoilChange([sentence.replace(i, i, other)], "attribute")


def _skin(sentence: Sentence, attribute: int, thing: int | None) -> bool:
    """Whether it is a person's colour, which no foil changes."""
    colour = lexicon().adjective_is(sentence.lower[attribute], "color")
    return colour and thing is not None and lexicon().kind(sentence.lower[thing]) == "person"


def replace_relations(sentence: Sentence, rng: random.Random) -> Candidates:
    """Replace a preposition with its opposite, or a verb with another of the same construction."""
    relations = list(sentence.roles.relations)
    for relation in rng.sample(relations, len(relations)):
        for i in rng.sample(relation.words, len(relation.words)):
            if sentence.tags[i] in ("IN", "FR"):
                yield from _other_preposition(sentence, i, relation.object)
            elif sentence.tags[i] in ("VZ", "VG", "VB", "VN"):
                direct = relation.object is not None and len(relation.words) == 1
                alive = relation.subject is None or lexicon().kind(sentence.lower[relation.subject]) in _ALIVE
                yield from _other_verb(sentence, i, direct, alive, rng)


def _other_preposition(sentence: Sentence, i: int, thing: int | None) -> Candidates:
    if thing is None or thing < i or sentence.tag_after(i - 1) == "":
        return
    verb = lexicon().verb_of.get(sentence.lower[i - 1], "") if i else ""
    if sentence.lower[i] == "in" and lexicon().kind(sentence.lower[thing]) not in _WITHIN:
        return
    if sentence.lower[i] in ("up", "down") and verb not in _MOVING:
        return
    for size, other in words.other_relations(sentence.lower[i:]):
        last = i + size - 1
        whole = last < thing and sentence.start(thing) == last + 1
        if whole and verb not in _CALLING:
            yield FoilChange([sentence.replace(i, last, other)], "relation")
            return


def _other_verb(
    sentence: Sentence, i: int, takes_object: bool, alive: bool, rng: random.Random
) -> Candidates:
    verb = lexicon().verb_of.get(sentence.lower[i], "")
    after = sentence.lower[i + 1] if i + 1 < len(sentence.lower) else ""
    tag = sentence.tags[i]
    if not verb or after in _PARTICLES:
        return
    own = verb_forms(verb)
    for other in words.other_verbs(verb, takes_object, alive, rng):
        forms = verb_forms(other)
        past_differs = own.past != own.participle or forms.past != forms.participle
        if tag == "VN" and past_differs:
            continue
        form = {"VZ": forms.third, "VG": forms.gerund, "VB": other, "VN": forms.past}[tag]
        yield FoilChange([sentence.replace(i, i, form)], "relation")


def swap_objects(sentence: Sentence, rng: random.Random) -> Candidates:
    """Swap subject and object of a relation, with all their attributes."""
    relations = [r for r in sentence.roles.relations if r.subject is not None and r.object is not None]
    if "PR" in sentence.tags:
        return
    for relation in rng.sample(relations, len(relations)):
        first, second = sorted((relation.subject or 0, relation.object or 0))
        shared = sum(r.words == relation.words for r in sentence.roles.relations) > 1
        text = " ".join(sentence.lower[i] for i in relation.words)
        if shared or text in _SYMMETRIC or sentence.noun(first) == sentence.noun(second):
            continue
        spans = [(sentence.start(head), sentence.end(head)) for head in (first, second)]
        (a, b), (c, d) = spans
        owned = not _OWNED.isdisjoint([*sentence.lower[a : b + 1], *sentence.lower[c : d + 1]])
        apart = b < c and all(sentence.joined(i) for i in range(a + 1, d + 1))
        many = [sentence.plural(head) for head in (first, second)]
        agrees = many[0] == many[1] or not sentence.has_finite_verb
        joined = "CC" in (sentence.tag_after(b), sentence.tag_after(d), sentence.tags[a - 1] if a else "")
        if (
            owned
            or not apart
            or not agrees
            or None in many
            or joined
            or not {first, second} <= set(sentence.heads)
        ):
            continue
        yield FoilChange(_exchange(sentence, (a, b), (c, d)), "object")


def _exchange(sentence: Sentence, one: tuple[int, int], other: tuple[int, int]) -> list[TextEdit]:
    """Two stretches of words change places; the large letter of a sentence's beginning stays where it is."""
    texts = []
    for first, last in (one, other):
        start, end = sentence.span(first, last)
        text = sentence.caption[start:end]
        plain = first == 0 and text[:1].isupper() and not text[1:2].isupper()
        texts.append(text[:1].lower() + text[1:] if plain else text)
    (first, last), (third, fourth) = one, other
    return [
        TextEdit(*sentence.span(first, last), sentence.cased(texts[1], first) if first == 0 else texts[1]),
        TextEdit(*sentence.span(third, fourth), texts[0]),
    ]


def swap_attributes(sentence: Sentence, rng: random.Random) -> Candidates:
    """Swap the attributes of two objects; those of the same kind first."""
    links = [link for link in sentence.roles.links if _movable(sentence, *link)]
    pairs = [(x, y) for x in links for y in links if x[0] < y[0] and x[1] != y[1]]
    pairs = rng.sample(pairs, len(pairs))
    for (a, _), (b, _) in sorted(pairs, key=lambda pair: not _same_kind(sentence, pair[0][0], pair[1][0])):
        numbers = [sentence.lower[i] in _NUMBERS for i in (a, b)]
        same = words.mentioned(sentence.lower[a], frozenset((sentence.lower[b],)))
        if not same and numbers[0] == numbers[1] and _fits(sentence, a, b) and _fits(sentence, b, a):
            yield FoilChange(
                [sentence.replace(a, a, sentence.lower[b]), sentence.replace(b, b, sentence.lower[a])],
                "attribute",
            )


def _fits(sentence: Sentence, word: int, place: int) -> bool:
    """Whether attribute `word` can take the place of attribute `place` beside the other attributes there."""
    thing = next(t for a, t in sentence.roles.links if a == place)
    if _skin(sentence, word, thing) or _skin(sentence, place, thing):
        return False
    kinds = set(lexicon().adjective_kinds.get(sentence.lower[word], ()))
    others = (sentence.lower[a] for a, t in sentence.roles.links if t == thing and a != place)
    return all(kinds.isdisjoint(lexicon().adjective_kinds.get(other, ())) for other in others)


def _movable(sentence: Sentence, attribute: int, thing: int) -> bool:
    """Whether the attribute stands alone before its noun, and is none that goes with one number only."""
    word = sentence.lower[attribute]
    shared = sum(a == attribute for a, _ in sentence.roles.links) > 1
    countable = sentence.tags[attribute] == "JJ" and word not in _AMOUNTS
    joined = sentence.tag_after(attribute) == "CC" or sentence.joins_qualities(attribute - 1)
    degree = attribute > 0 and sentence.tags[attribute - 1] == "RB"
    alone = not (joined or degree or "-" in word or word.isdigit())
    before = sentence.noun_start(thing) > attribute >= sentence.start(thing)
    return before and alone and not shared and (countable or word in _NUMBERS)


def _same_kind(sentence: Sentence, one: int, other: int) -> bool:
    kinds = [set(lexicon().adjective_kinds.get(sentence.lower[i], ("",))) for i in (one, other)]
    return not kinds[0].isdisjoint(kinds[1])


def add_objects(sentence: Sentence, rng: random.Random) -> Candidates:
    """Add an object next to one that no verb has to agree with."""
    told = not _PRONOUNS_OF_ONE.isdisjoint(sentence.lower)
    for head in _shuffled(sentence.heads, rng):
        first, last = sentence.start(head), sentence.end(head)
        listed = first > 0 and (sentence.tags[first - 1] == "CC" or not sentence.joined(first))
        after = sentence.tag_after(last)
        odd = lexicon().kind(sentence.lower[head]) == "body" or (told and sentence.noun(head) in _GENDERED)
        one = sentence.has_finite_verb or not _PRONOUNS_OF_A_THING.isdisjoint(sentence.lower)
        agrees = one and (head == sentence.heads[0] or _does(sentence, head))
        if listed or odd or agrees or after in _NO_ADDITION or _followed_by_comma(sentence, last):
            continue
        bare = not sentence.has_articles
        end = sentence.words[last].end
        for other in words.objects_to_add(sentence.noun(head), sentence.lemmas, rng):
            text = f" and {other}" if bare else f" and {article(other)} {other}"
            yield FoilChange(
                [TextEdit(end, end, text.upper() if sentence.caption.isupper() else text)], "object"
            )


def _does(sentence: Sentence, head: int) -> bool:
    """Whether the noun is the subject of a verb."""
    verbs = ("VZ", "VB", "VG", "VN")
    return any(
        r.subject == head and any(sentence.tags[i] in verbs for i in r.words)
        for r in sentence.roles.relations
    )


def _followed_by_comma(sentence: Sentence, last: int) -> bool:
    return last + 1 < len(sentence.words) and not sentence.joined(last + 1)


def add_attributes(sentence: Sentence, rng: random.Random) -> Candidates:
    """Add an attribute to an object that has none of its kind."""
    for head in _shuffled(sentence.heads, rng):
        first = sentence.start(head)
        present = frozenset(sentence.lower[a] for a, thing in sentence.roles.links if thing == head)
        owned = "NP" in sentence.tags[first:head] or sentence.grouped(head)
        loose = sentence.has_articles and not sentence.determined(head) and sentence.plural(head) is not True
        if owned or loose or lexicon().kind(sentence.lower[head]) in _NO_COUNTABLE:
            continue
        for quality in words.attributes_to_add(sentence.lower[head], present, rng):
            colour = lexicon().adjective_is(quality, "color")
            at = sentence.material_start(head) if colour else sentence.first_quality(head)
            yield FoilChange(sentence.insert(at, quality), "attribute")


KINDS: Mapping[str, tuple[Callable[[Sentence, random.Random], Candidates], str]] = {
    "replace_obj": (replace_objects, "no object word has another of its kind in the word lists"),
    "replace_att": (replace_attributes, "no attribute word has an opposite in the word lists"),
    "replace_rel": (replace_relations, "no relation word has an opposite in the word lists"),
    "swap_obj": (swap_objects, "no relation joins two objects that could change places"),
    "swap_att": (swap_attributes, "no two objects have an attribute each that could change places"),
    "add_obj": (add_objects, "no object stands where another could be named beside it"),
    "add_att": (add_attributes, "no object word could be given an attribute"),
}
"""Kind -> the changes that make it, and what it means that there are none."""
