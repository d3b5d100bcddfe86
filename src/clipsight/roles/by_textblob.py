"""Roles from TextBlob's parts of speech only: nouns, adjectives, verbs and prepositions.

TextBlob's usual tagger and tokenizer need corpora that are downloaded. Its `PatternTagger` does not: the lexicon
and rules of the Pattern project lie in TextBlob's own package, so this works offline once TextBlob is installed.
"""

import re
import warnings
from collections.abc import Callable
from functools import cache
from importlib.metadata import version

from clipsight.errors import Unsupported
from clipsight.roles.nearest import nearest_links, nearest_relations
from clipsight.roles.schema import CaptionRoles, Role, RoleWord, read_words
from clipsight.roles.word_files import word_set

TEXTBLOB_MAPPING = "1"
"""Version of what is made of the tags."""

_BE = frozenset(["be", "is", "are", "was", "were", "been", "being", "am", "'s", "'re"])
_NO_RELATION = word_set("grammar", "no relation")
_PUNCTUATION = re.compile(r"[.,;:!?()]")


def roles_by_textblob(caption: str) -> CaptionRoles:
    """Nouns are objects, adjectives and numbers attributes, verbs and prepositions relations.

    Forms of "be", "of", conjunctions and "to" before a verb are nothing. An attribute is linked to the next noun, a
    relation joins the nouns on its sides; TextBlob has no parser.

    Raises:
        Unsupported: TextBlob is not installed.
    """
    read, inner, words = read_words(caption)
    tags = _tags(read, inner)
    after = [*tags[1:], ""][: len(tags)]
    roles: tuple[Role, ...] = tuple(
        _role(word.text.lower(), *pair) for word, *pair in zip(words, tags, after, strict=True)
    )
    return CaptionRoles(
        caption=caption,
        words=words,
        roles=roles,
        links=nearest_links(roles),
        relations=nearest_relations(roles),
        extractor="textblob",
        version=f"{TEXTBLOB_MAPPING}+textblob {version('textblob')}",
    )


def _role(word: str, tag: str, after: str) -> Role:
    if tag.startswith("NN"):
        return "object"
    if tag.startswith("JJ") or tag == "CD":
        return "attribute"
    verb = tag.startswith("VB") and word not in _BE
    preposition = tag in ("IN", "RP") and word not in _NO_RELATION
    return "relation" if verb or preposition or (tag == "TO" and not after.startswith("VB")) else "other"


def _tags(caption: str, words: tuple[RoleWord, ...]) -> list[str]:
    """The Penn Treebank tag of every word; the tagger also sees the punctuation between them."""
    if not words:
        return []
    tokens, owners = [], []
    end = 0
    for index, word in enumerate(words):
        marks = _PUNCTUATION.findall(caption[end : word.start])
        stem, possessive, _ = word.text.replace("’", "'").partition("'s")
        tokens += [*marks, stem, *([possessive] if possessive else [])]
        owners += [*(-1 for _ in marks), index, *([-1] if possessive else [])]
        end = word.end
    tagged = _tagger()(" ".join(tokens))
    # Without its own tokenizer the tagger gives one pair a token, but may leave marks out.
    found = [""] * len(words)
    at = 0
    for token, owner in zip(tokens, owners, strict=True):
        if at < len(tagged) and tagged[at][0] == token:
            if owner >= 0:
                found[owner] = tagged[at][1]
            at += 1
    return found


@cache
def _tagger() -> Callable[[str], list[tuple[str, str]]]:
    try:
        from textblob.taggers import PatternTagger  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise Unsupported(
            f"the extractor 'textblob' needs TextBlob, which is not installed ({error}): "
            'pip install "clipsight[words]". The extractor "rules" needs nothing.'
        ) from error
    tagger = PatternTagger()
    with warnings.catch_warnings():
        # TextBlob reads its word lists at the first word, and leaves the files for the garbage collector to close.
        warnings.simplefilter("ignore", ResourceWarning)
        tagger.tag("a dog", tokenize=False)
    return lambda text: tagger.tag(text, tokenize=False)
