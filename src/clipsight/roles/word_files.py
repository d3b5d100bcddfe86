"""The word files of `clipsight/assets/words`: entries under headings in square brackets."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

WORD_FILES = ("nouns", "verbs", "adjectives", "adverbs", "forms", "grammar", "phrases")
"""Those that the roles of words depend on."""

Sections = Mapping[str, tuple[str, ...]]
"""Name of a section of a word file -> its entries in order."""


@cache
def sections(name: str, separator: str | None = None) -> Sections:
    """The entries of a word file by section, each once; lines that begin with "#" are comments.

    Args:
        name: the file's name without ".txt".
        separator: what stands between entries; None for white space.
    """
    lines: defaultdict[str, list[str]] = defaultdict(list)
    section = ""
    for line in _read(name).splitlines():
        if line.startswith("["):
            section = line.strip("[] ")
        elif not line.startswith("#"):
            lines[section].append(line)
    found = {}
    for section, texts in lines.items():
        entries = (" ".join(entry.split()) for entry in " ".join(texts).split(separator))
        found[section] = tuple(dict.fromkeys(entry for entry in entries if entry))
    return {section: entries for section, entries in found.items() if entries}


def word_set(name: str, section: str, separator: str | None = None) -> frozenset[str]:
    """The entries of one section."""
    return frozenset(sections(name, separator)[section])


def by_word(listed: Sections) -> dict[str, tuple[str, ...]]:
    """Entry -> the sections that contain it, in the order of the file."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for section, words in listed.items():
        for word in words:
            found[word].append(section)
    return {word: tuple(names) for word, names in found.items()}


def version_of_words() -> str:
    """Eight hexadecimal digits that change with any of `WORD_FILES`."""
    return hashlib.sha256("".join(map(_read, WORD_FILES)).encode()).hexdigest()[:8]


def _read(name: str) -> str:
    return (files("clipsight") / "assets" / "words" / f"{name}.txt").read_text(encoding="utf-8")
