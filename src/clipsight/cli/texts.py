"""The words of a command: `-t/--text` in every verb, and files with one text per line."""

import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from clipsight.cli.outcome import UsageError, print_note
from clipsight.cli.paths import looks_like_picture

SHORT_WORDS = 3
"""Words up to which the parts of a text with commas look like texts of their own."""
_ARTICLES = ("a", "an", "the")

TextWords = Annotated[
    tuple[str, ...],
    Parameter(name=("--text", "-t", "--label", "--name"), consume_multiple=True, show_default=False),
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """What to ask for."""

    text: TextWords = ()
    """Text to ask for. Give several after one flag (`-t dog cat`) or repeat it. Quote a phrase: `-t "a red car"`."""

    texts_file: Annotated[Path | None, Parameter(name=("--texts-file", "--labels-file", "--names-file"))] = (
        None
    )
    """UTF-8 file with one text per line."""

    def read(self, images: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Images and texts. An image file among the texts is an image; repeated texts are used once, with a note.

        Raises:
            UsageError: there are no texts, or one is blank.
        """
        moved, given = pictures_among(self.text)
        texts = [*given, *read_lines(self.texts_file)]
        check_some(texts)
        texts = without_repeats(texts)
        for note in comma_notes(given):
            print_note(note)
        return (*images, *moved), texts


def pictures_among(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that name image files (`-t dog photo.jpg`), and the others."""
    pictures = [
        word
        for word in words
        if looks_like_picture(word) and (os.path.isfile(word) or glob.glob(word, recursive=True))
    ]
    return pictures, [word for word in words if word not in pictures]


def read_lines(file: Path | None) -> list[str]:
    """The lines of a text file, blank ones left out.

    Raises:
        UsageError: it is not text, or it holds nothing.
    """
    from clipsight.records import Malformed, text_rows

    texts = []
    for row in text_rows(file, str(file)) if file is not None else ():
        if isinstance(row, Malformed):
            raise UsageError(f"{row}.")
        texts.append(row.text("caption"))
    if file is not None and not texts:
        raise UsageError(f"{file} holds no text; write one per line.")
    return texts


def check_some(texts: Sequence[str]) -> None:
    """Refuse no texts at all, and blank ones.

    Raises:
        UsageError: either.
    """
    if not texts:
        raise UsageError('no text was given; add -t "a dog", or several: -t "a dog" "a red car".')
    if not all(text.strip() for text in texts):
        raise UsageError("a --text is blank; say what to look for.")


def one_text(words: Sequence[str], example: str) -> str | None:
    """The only text, or None; for verbs that ask one.

    Raises:
        UsageError: several words, which are a phrase without quotation marks, or a blank one.
    """
    if len(words) > 1:
        raise UsageError(
            f'{len(words)} texts were given and this command takes one; quote a phrase: -t "{" ".join(words)}".'
        )
    if words and not words[0].strip():
        raise UsageError(f'--text is blank; give one such as -t "{example}".')
    return words[0] if words else None


def without_repeats(texts: Sequence[str]) -> tuple[str, ...]:
    """Each text once, in order; a note says which were repeated."""
    repeated = [text for text, count in Counter(texts).items() if count > 1]
    if repeated:
        some = ", ".join(f'"{text}"' for text in repeated[:5]) + (", …" if len(repeated) > 5 else "")
        were, count = ("was", "counts") if len(repeated) == 1 else ("were", "count")
        print_note(f"{some} {were} given more than once and {count} once.")
    return tuple(dict.fromkeys(texts))


def comma_notes(texts: Sequence[str]) -> list[str]:
    """What looks like several texts in one, and like one text in several."""
    notes = []
    for text in texts:
        parts = [part.strip() for part in text.split(",")]
        if len(parts) > 1 and all(0 < len(part.split()) <= SHORT_WORDS for part in parts):
            split = " ".join(f'"{part}"' if " " in part else part for part in parts)
            notes.append(f'"{text}" is asked as one text; for {len(parts)} texts type -t {split}.')
    if any(text.lower() in _ARTICLES for text in texts):
        notes.append(
            f'{len(texts)} separate texts are asked; if they are one phrase, type -t "{" ".join(texts)}".'
        )
    return notes
