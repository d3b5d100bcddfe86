"""The word lists of the rules: nouns, verbs, adjectives and adverbs of captions, with all their forms.

The lists are in `clipsight/assets/words`. They were written for clipsight from general knowledge of English, and then
checked for gaps against the vocabulary of SugarCrepe's captions (photos of the role measure's test half left out). A
word that no list has is judged by its ending and its place, see `rules_tags`.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from clipsight.roles.inflection import only_plural, plural, verb_forms
from clipsight.roles.word_files import by_word, sections, version_of_words


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """What the word lists contain; all keys are in lower case.

    Attributes:
        tags: form -> the parts of speech it can be, as `rules_tags` names them.
        strong: verb forms that, after a noun, are rather verbs than nouns.
        either: those that are so after a living being.
        noun_of: form of a noun -> its singular.
        verb_of: form of a verb -> its base.
        noun_kinds: singular -> its kinds, the likeliest first.
        adjective_kinds: adjective -> its kinds.
        version: changes with any word list.
    """

    tags: Mapping[str, frozenset[str]]
    strong: frozenset[str]
    either: frozenset[str]
    noun_of: Mapping[str, str]
    verb_of: Mapping[str, str]
    noun_kinds: Mapping[str, tuple[str, ...]]
    adjective_kinds: Mapping[str, tuple[str, ...]]
    version: str

    def kind(self, word: str) -> str:
        """The most likely kind of a noun, singular or plural; "" for words that are not nouns of the lists."""
        return self.noun_kinds.get(self.noun_of.get(word, ""), ("",))[0]

    def adjective_is(self, word: str, *kinds: str) -> bool:
        """Whether the word is an adjective of one of these kinds."""
        return not set(kinds).isdisjoint(self.adjective_kinds.get(word, ()))


@cache
def lexicon() -> Lexicon:
    """The word lists with every form; read once."""
    nouns, adjectives, verbs = (by_word(sections(name)) for name in ("nouns", "adjectives", "verbs"))
    tags: defaultdict[str, set[str]] = defaultdict(set)
    noun_of, verb_of = {}, {}
    inclined: defaultdict[str, set[str]] = defaultdict(set)
    for noun in nouns:
        many = plural(noun)
        noun_of.setdefault(many, noun)
        noun_of[noun] = noun
        if not only_plural(noun):
            tags[noun].add("NN")
        tags[many].add("NS")
    for verb, kinds in verbs.items():
        forms = verb_forms(verb)
        for form, tag in ((verb, "VB"), *zip(forms, ("VZ", "VG", "VN", "VN"), strict=True)):
            tags[form].add(tag)
            verb_of.setdefault(form, verb)
            inclined[kinds[0]].add(form)
    for word in adjectives:
        tags[word].add("JJ")
    for word in by_word(sections("adverbs")):
        tags[word].add("RB")
    return Lexicon(
        tags={word: frozenset(found) for word, found in tags.items()},
        strong=frozenset(inclined["strong"]),
        either=frozenset(inclined["either"]),
        noun_of=noun_of,
        verb_of=verb_of,
        noun_kinds=nouns,
        adjective_kinds=adjectives,
        version=version_of_words(),
    )
