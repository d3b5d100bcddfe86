"""Grammar mistakes that a change can cause in a caption: articles, number, agreement, repeated words."""

from clipsight.roles.foil_sentence import Sentence
from clipsight.roles.inflection import article
from clipsight.roles.lexicon import lexicon
from clipsight.roles.word_files import word_set

_ONE = frozenset(["a", "an", "one", "this", "each", "every", "another"])
_MANY = word_set("foils", "many", ",")
_SINGULAR_VERBS = frozenset(["is", "was", "has", "does"])
_PLURAL_VERBS = frozenset(["are", "were", "have", "do"])
_HOLDS_SINGULAR_OF_MANY = frozenset(["few", "couple", "dozen", "lot", "great", "good"])


def faults(caption: str | Sentence) -> tuple[str, ...]:
    """Grammar mistakes that show in the words and their order; () if none is found.

    Example:
        >>> faults("a apple and two dog")
        ("'a' before 'apple'", "'two' with 'dog'")
    """
    sentence = Sentence(caption) if isinstance(caption, str) else caption
    return (*_sounds(sentence), *_numbers(sentence), *_agreement(sentence), *_repeated(sentence))


def _sounds(sentence: Sentence) -> list[str]:
    found = []
    for i, word in enumerate(sentence.lower[:-1]):
        after = sentence.lower[i + 1]
        spelled = len(after) == 1 or sentence.words[i + 1].text.isupper() or after[0].isdigit()
        if word in ("a", "an") and sentence.joined(i + 1) and not spelled and article(after) != word:
            found.append(f"{word!r} before {after!r}")
    return found


def _numbers(sentence: Sentence) -> list[str]:
    found = []
    for head in sentence.heads:
        many = sentence.plural(head)
        before = sentence.lower[sentence.start(head) : head]
        if many is None or not _HOLDS_SINGULAR_OF_MANY.isdisjoint(before) or "of" in before:
            continue
        count = sentence.tags[head] == "NN" and sentence.lower[head] in lexicon().noun_of
        one = not _ONE.isdisjoint(before)  # "a two layer cake" is one
        wrong = next((w for w in before if (many and w in _ONE) or (count and not one and w in _MANY)), None)
        if wrong is not None:
            found.append(f"{wrong!r} with {sentence.lower[head]!r}")
    return found


def _agreement(sentence: Sentence) -> list[str]:
    """Of a verb right after the noun that a sentence begins with."""
    head = next(iter(sentence.heads), None)
    if head is None or sentence.start(head) != 0 or not sentence.tag_after(head):
        return []
    many, verb = sentence.plural(head), sentence.lower[head + 1]
    singular = verb in _SINGULAR_VERBS or sentence.tags[head + 1] == "VZ"
    plural = verb in _PLURAL_VERBS or sentence.tags[head + 1] == "VB"
    before = sentence.lower[:head]
    if many is None or "of" in before or "and" in before:
        return []
    group = ["family", "group", "couple", "crowd", "team", "herd", "flock", "police"]
    wrong = (many and singular) or (many is False and plural and sentence.lower[head] not in group)
    return [f"{sentence.lower[head]!r} with {verb!r}"] if wrong else []


def _repeated(sentence: Sentence) -> list[str]:
    pairs = zip(sentence.lower, sentence.lower[1:], strict=False)
    return [f"{a!r} twice" for i, (a, b) in enumerate(pairs) if a == b and sentence.joined(i + 1)]
