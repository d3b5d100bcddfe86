"""ARO's order tasks: a caption against four shuffles of its own words.

The authors shuffle with spaCy's tags and NLTK's words under a seed, so that their captions differ from version to
version of these libraries: scores of this task compare only where the captions are the same. Captions once made can be
written with `write_options`; the file is read instead of making them again, and its hash is in the result.
"""

import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from clipsight.errors import Unsupported
from clipsight.results import atomic_write

Tagger = Callable[[str], list[tuple[str, str]]]
"""A text to its words, each with its tag of the Penn Treebank: "NN", "JJ", "VBZ" …"""

MOST_WORDS = 30
_NOUNS, _ADJECTIVES = ("NN",), ("JJ",)
_REPLACED = re.compile(r"[.!\"()*#:;~]")
_SPACES = re.compile(r"\s+")
_MODEL = "en_core_web_sm"


def plain_caption(caption: str) -> str:
    """As the authors' captions reach the model: lower case, some punctuation gone, the first 30 words."""
    words = _SPACES.sub(" ", _REPLACED.sub(" ", caption.lower())).strip().split(" ")
    return " ".join(words[:MOST_WORDS])


def order_options(caption: str, tagger: Tagger, rng: np.random.Generator) -> tuple[str, ...]:
    """The caption and its four shuffles.

    Nouns among nouns and adjectives among adjectives; everything else; words inside each three; threes as wholes. A
    shuffle that changes nothing (one noun, no adjective) gives the caption again, which then ties.

    Args:
        caption: as annotated.
        tagger: words and tags.
        rng: where the shuffles come from; one of its own for every caption makes them independent of those before.
    """
    tagged = tagger(caption)
    words = np.array([word for word, _ in tagged], object)
    nouns, adjectives = (
        np.array([tag.startswith(kind) for _, tag in tagged], bool) for kind in (_NOUNS, _ADJECTIVES)
    )
    threes = [list(words[start : start + 3]) for start in range(0, len(words), 3)]
    shuffled = (
        _permuted(_permuted(words, nouns, rng), adjectives, rng),
        _permuted(words, ~(nouns | adjectives), rng),
        [word for three in threes for word in rng.permutation(np.array(three, object))],
        [word for index in rng.permutation(len(threes)) for word in threes[index]],
    )
    return (plain_caption(caption), *(plain_caption(" ".join(words)) for words in shuffled))


def write_options(
    path: Path, options: Sequence[tuple[str, tuple[str, ...]]], overwrite: bool = False
) -> None:
    """Keep captions as made: a JSON list of {"image", "caption_options"}, the true caption first.

    Args:
        path: the file; `coco_order.json` or `flickr30k_order.json` in the benchmark's folder is read by `aro`.
        options: picture and five captions of each question.

    Raises:
        FileExistsError: the file is there and `overwrite` is False.
    """
    rows = [{"image": image, "caption_options": list(texts)} for image, texts in options]
    with atomic_write(path, overwrite=overwrite) as file:
        file.write(json.dumps(rows, ensure_ascii=False, indent=1).encode() + b"\n")


@cache
def spacy_tagger() -> Tagger:
    """The authors' tagger, spaCy's small English model; loaded once.

    Raises:
        Unsupported: spaCy or its model is not installed.
    """
    try:
        import spacy  # pyright: ignore[reportMissingImports]

        pipeline = spacy.load(_MODEL)
    except (ImportError, OSError) as error:
        raise Unsupported(
            f"the order tasks of ARO shuffle words by part of speech, with spaCy's {_MODEL}, which is not here "
            f"({error}): pip install spacy && python -m spacy download {_MODEL}. Or put captions made before into "
            "coco_order.json or flickr30k_order.json, or pass ReadOptions(tagger=...)."
        ) from error
    return lambda text: [(token.text, token.tag_) for token in pipeline(text)]


def _permuted(words: np.ndarray, where: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    out = words.copy()
    out[where] = rng.permutation(words[where])
    return out
