"""Map character positions of a cleaned text back to the original text.

Tokenizers lower the case, join blanks, resolve HTML entities, drop punctuation, repair Unicode. Both texts are folded
to what survives all that, and the folded texts are read side by side; where they differ, what stands between two common
stretches of one belongs to what stands there in the other.
"""

import html
import re
import string
import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from itertools import product

Place = tuple[int, int]
"""First character and the one after the last."""

_ATOM = re.compile(r"&(?:amp;)*(?:#\d+|#[xX][\da-fA-F]+|\w{2,32});?|.", re.DOTALL)
_STRAIGHT = str.maketrans("‘’“”", "''\"\"")
_MISREAD = {
    chr(byte): bytes([byte]).decode("windows-1252")
    for byte in range(0x80, 0xA0)
    if byte not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)
}
"""Letters that were read as Latin-1 where Windows wrote them; cleaning repairs them."""
_END = "\U0010ffff" * 3  # stands in no text: it is no character of Unicode
_FURTHEST = 256
_SURE = (3, 2, 1)
"""How many equal characters end a difference: three, else two, else one."""


def places(before: str, after: str, spans: Sequence[Place]) -> list[Place]:
    """Positions in the original text for positions in the cleaned text.

    Args:
        before, after: the two texts.
        spans: places in `after`, in order.

    Returns:
        One place a span, in order; empty, before what follows, where nothing of the span was in the text before.
    """
    target, own = _fold(after)
    source, origin = _as_cleaned(before, target)
    if source == target:
        stands_for = [(index, index + 1) for index in range(len(target))]
    else:
        stands_for = _side_by_side(source, target)
    begins, ends = [start for start, _ in own], [end for _, end in own]
    found: list[Place | None] = []
    for start, end in spans:
        letters = range(bisect_left(ends, start + 1), bisect_left(begins, end)) if end > start else ()
        here = [origin[k] for letter in letters for k in range(*stands_for[letter])]
        found.append((min(p[0] for p in here), max(p[1] for p in here)) if here else None)
    follows = max((place[1] for place in found if place is not None), default=0)
    filled: list[Place] = []
    for place in reversed(found):
        filled.append(place or (follows, follows))
        follows = filled[-1][0]
    return filled[::-1]


def _as_cleaned(text: str, target: str) -> tuple[str, list[Place]]:
    """The text folded as its cleaning seems to have done: entities resolved or not, punctuation kept or not."""
    folds = [_fold(text, entities=entities, bare=bare) for bare, entities in product((False, True), repeat=2)]
    bare = not set(target).intersection(string.punctuation)
    folds = folds[2:] + folds[:2] if bare else folds[:2]
    same = next((fold for fold in folds if fold[0] == target), None)
    return same or min(folds, key=lambda fold: abs(len(fold[0]) - len(target)))


def _fold(text: str, *, entities: bool = False, bare: bool = False) -> tuple[str, list[Place]]:
    """Without case, blanks and (if `bare`) punctuation, letters taken apart; and where each letter came from."""
    letters: list[str] = []
    origin: list[Place] = []
    for match in _ATOM.finditer(text):
        atom, meant = match.group(), match.group()
        if entities and len(atom) > 1:
            meant = html.unescape(html.unescape(atom))  # as CLIP's tokenizer does
        for offset, letter in enumerate(meant):
            at = match.start() + offset
            for low in _lowered(letter):
                if not (low.isspace() or (bare and low in string.punctuation)):
                    letters.append(low)
                    origin.append(match.span() if meant != atom else (at, at + 1))
    return "".join(letters), origin


def _lowered(letter: str) -> str:
    if letter.isascii():
        return (
            letter.lower() if letter.isprintable() or letter.isspace() else ""
        )  # control characters are taken out
    if letter in _MISREAD:
        letter = _MISREAD[letter]
    return unicodedata.normalize("NFKD", letter.casefold()).translate(_STRAIGHT)


def _side_by_side(source: str, target: str) -> list[Place]:
    """For every letter of the target the letters of the source that it stands for: often one, sometimes none."""
    source, target = source + _END, target + _END
    found: list[Place] = []
    i = j = 0
    while j < len(target) - len(_END):
        if source[i] == target[j]:
            found.append((i, i + 1))
            i, j = i + 1, j + 1
            continue
        skipped, read = _next_agreement(source, target, i, j)
        found += [(i, i + skipped)] * read
        i, j = i + skipped, j + read
    return found


def _next_agreement(source: str, target: str, i: int, j: int) -> Place:
    """(letters of the source, letters of the target) until both agree again, as few as possible."""
    left = len(target) - len(_END) - j
    for sure in _SURE:
        best = None
        for read in range(min(left, _FURTHEST) + 1):
            if best is not None and read >= sum(best):
                break
            at = source.find(target[j + read : j + read + sure], i)
            if at >= 0 and (best is None or at - i + read < sum(best)):
                best = at - i, read
        if best is not None:
            return best
    return len(source) - len(_END) - i, left
