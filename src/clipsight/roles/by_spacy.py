"""Roles from a spaCy pipeline: from parts of speech and, if it has a parser, dependencies.

Dependency labels are those of spaCy's own English pipelines (nsubj, dobj, prep, pobj, amod, acl, relcl …). Fixed
phrases ("in front of", "hot dog", "in half") are taken as the rules take them, since no parser has one word for
them.
"""

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from itertools import pairwise
from typing import Any

from clipsight.errors import Unsupported, first_line
from clipsight.roles.rules.fixed_phrases import resolve_phrases
from clipsight.roles.schema import CaptionRoles, Role, RoleRelation, RoleWord, read_words

SPACY_MAPPING = "1"
"""Version of what is made of the parse."""

_NOUNS = frozenset(("NOUN", "PROPN"))
_SUBJECTS = frozenset(("nsubj", "nsubjpass"))
_OBJECTS = frozenset(("dobj", "obj", "attr"))
_OF_A_NOUN = frozenset(("acl", "relcl"))
_FORCED: dict[str, Role] = {
    "FR": "relation",
    "XX": "other",
    "NN": "object",
    "NS": "object",
    "JJ": "attribute",
}


def roles_by_spacy(caption: str, pipeline: Any = "en_core_web_sm") -> CaptionRoles:
    """Nouns are objects; adjectives, numbers and participles before a noun attributes; verbs, prepositions,
    particles relations.

    Args:
        caption: the text.
        pipeline: the name of an installed pipeline, or a loaded one (anything that is called with a text and gives a
            `Doc`). It must set parts of speech; without dependencies there are no links and no relations.

    Raises:
        Unsupported: spaCy or the named pipeline is not installed, or the pipeline sets no parts of speech.
    """
    nlp = _load(pipeline) if isinstance(pipeline, str) else pipeline
    read, inner, words = read_words(caption)
    doc = nlp(read)
    if words and not doc.has_annotation("POS"):
        raise Unsupported(
            f"the pipeline {_name(nlp)} sets no parts of speech (its components: "
            f"{', '.join(getattr(nlp, 'pipe_names', ())) or 'none'}). Roles need a tagger, as in en_core_web_sm: "
            "python -m spacy download en_core_web_sm. The extractor 'rules' needs nothing."
        )
    parse = _Parse(inner, doc)
    return CaptionRoles(
        caption=caption,
        words=words,
        roles=tuple(parse.roles),
        links=tuple(sorted(set(parse.links()))),
        relations=tuple(dict.fromkeys(parse.relations())),
        extractor="spacy",
        version=f"{SPACY_MAPPING}+spacy {version('spacy')} {_name(nlp)}",
    )


def _name(nlp: Any) -> str:
    meta = getattr(nlp, "meta", {})
    return f"{meta.get('lang', '')}_{meta.get('name', 'pipeline')} {meta.get('version', '')}".strip("_ ")


@cache
def _load(name: str) -> Any:
    try:
        import spacy  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise Unsupported(
            f"the extractor 'spacy' needs spaCy, which is not installed ({error}): pip install \"clipsight[words]\". "
            "The extractor 'rules' needs nothing."
        ) from error
    try:
        return spacy.load(name)
    except OSError as error:
        raise Unsupported(
            f"the spaCy pipeline {name!r} is not installed ({first_line(error)}): python -m spacy download {name}. Or "
            "pass a loaded pipeline; the extractor 'rules' needs nothing."
        ) from error


class _Parse:
    """A `Doc` read word by word; words are ours, tokens spaCy's, and a word stands for the first token it overlaps."""

    def __init__(self, words: Sequence[RoleWord], doc: Any) -> None:
        self.words = words
        self.tokens: list[Any] = [
            next((t for t in doc if t.idx < word.end and word.start < t.idx + len(t.text)), None)
            for word in words
        ]
        self.word_of = {t.i: i for i, t in reversed(list(enumerate(self.tokens))) if t is not None}
        lower = [word.text.lower() for word in words]
        gaps = ["", *(doc.text[a.end : b.start].strip() for a, b in pairwise(words))]
        forced = resolve_phrases(lower, gaps[: len(words)])
        self.roles: list[Role] = [
            _FORCED.get(tag) or _role(token) for tag, token in zip(forced, self.tokens, strict=True)
        ]
        self.fixed = [tag == "FR" for tag in forced]

    def _word(self, token: Any, role: Role) -> int | None:
        """The word of a token if it has the role."""
        word = self.word_of.get(token.i) if token is not None else None
        return word if word is not None and self.roles[word] == role else None

    def links(self) -> list[tuple[int, int]]:
        """Attributes before their noun, and after a verb those of its subject."""
        found = []
        for i, token in enumerate(self.tokens):
            if self.roles[i] != "attribute" or token is None:
                continue
            head = token
            while head.dep_ in ("conj", "advmod") or (head.dep_ == "amod" and head.head.pos_ not in _NOUNS):
                if head.head is head:
                    break
                head = head.head
            owners = [head.head] if head.dep_ not in ("acomp", "oprd", "ROOT") else _subjects(head.head)
            found += [(i, word) for owner in owners if (word := self._word(owner, "object")) is not None]
        return found

    def relations(self) -> list[RoleRelation]:
        """Of verbs with what they take, and of prepositions of nouns."""
        found = []
        taken: set[int] = set()
        for i, token in enumerate(self.tokens):
            if self.roles[i] != "relation" or token is None or i in taken:
                continue
            words, objects = [i], []
            if token.pos_ in ("VERB", "AUX"):
                subjects = _subjects(token)
                particles = [c for c in token.children if c.dep_ == "prt"]
                objects = [c for c in token.children if c.dep_ in _OBJECTS]
                after = [c for c in token.children if c.dep_ == "prep" and c.i > token.i]
                words += self._related(particles)
                if not objects and after:
                    words += self._phrase(after[0])
                    objects = _objects(after[0])
            else:
                words = self._phrase(token)
                subjects = _subjects(token.head) if token.head.pos_ in ("VERB", "AUX") else [token.head]
                objects = _objects(token)
            taken.update(words)
            ends = [self._ends(tokens) for tokens in (subjects, objects)]
            found += [
                RoleRelation(subject=s, words=tuple(sorted(set(words))), object=o)
                for s in ends[0]
                for o in ends[1]
            ]
        return found

    def _related(self, tokens: Sequence[Any]) -> list[int]:
        return [word for token in tokens if (word := self._word(token, "relation")) is not None]

    def _phrase(self, preposition: Any) -> list[int]:
        """A preposition with the rest of the fixed phrase that it begins."""
        words = self._related([preposition])
        while (
            words and self.fixed[words[0]] and words[-1] + 1 < len(self.words) and self.fixed[words[-1] + 1]
        ):
            words.append(words[-1] + 1)
        return words

    def _ends(self, tokens: Sequence[Any]) -> list[int | None]:
        """The words of nouns and of those joined to them; None alone when there are none."""
        joined = [t for token in tokens for t in (token, *_conjuncts(token))]
        words = [word for token in joined if (word := self._word(token, "object")) is not None]
        return [*dict.fromkeys(words)] or [None]


def _role(token: Any) -> Role:
    if token is None:
        return "other"
    if token.pos_ in _NOUNS:
        return "object"
    if token.pos_ in ("ADJ", "NUM") or (token.pos_ == "VERB" and token.dep_ == "amod"):
        return "attribute"
    preposition = token.pos_ == "ADP" and token.text.lower() != "of"
    return "relation" if token.pos_ == "VERB" or preposition or token.dep_ == "prt" else "other"


def _conjuncts(token: Any) -> list[Any]:
    found = [child for child in token.children if child.dep_ == "conj"]
    return [t for child in found for t in (child, *_conjuncts(child))]


def _subjects(verb: Any) -> list[Any]:
    """Its own subject, the noun it qualifies, or the subject of the verb it is joined to."""
    own = [child for child in verb.children if child.dep_ in _SUBJECTS and child.pos_ in _NOUNS]
    if own:
        return own
    if verb.dep_ in _OF_A_NOUN:
        return [verb.head]
    if verb.head is not verb and verb.dep_ in ("conj", "advcl", "xcomp", "ccomp"):
        return _subjects(verb.head)
    return []


def _objects(preposition: Any) -> list[Any]:
    """What the preposition, or the fixed phrase that it begins, is about."""
    found = []
    for child in preposition.children:
        if child.dep_ == "pobj":
            inner = [c for c in child.children if c.dep_ == "prep"]
            found += [child, *(t for c in inner for t in _objects(c) if c.text.lower() in ("of", "to"))]
        elif child.dep_ == "prep":
            found += _objects(child)
    return found
