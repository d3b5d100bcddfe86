"""Role gold that other people's files hold, for `evaluate_roles.py`: which words it is said of, and of which role
they are.

These files were not made for word roles; a file says something about some words only, and scoring keeps to those.

**VL-CheckList** pairs a true statement with a false one that differs in one place. The folder says what differs
there: an attribute, a relation or an object. From the first 50 records of each file:

- the words of the true statement that were replaced (`difflib`, exactly one replaced place) have the folder's role;
- VG's relation names in capitals (ON, IN, WEARING) are relations, and the words right before and after one are
  objects (`OF`, which the guideline calls no relation, is left out; so is the word after when an attribute was
  replaced there);
- in the attribute files the last word is an object, and what was replaced is linked to it;
- in the two VG relation files the words before and after the replaced ones are subject and object: the last word of
  each is an object, and together they are the only relation of the statement.

Articles are skipped. `Relation/swig_action` is machine-made English ("an mortal dials on an mobile phone at
interior").

**ARO** `valid_neg_clip.tsv` has COCO captions beside copies in which two stretches of one class have changed
places; the classes (noun phrase, noun, adjective, verb) were spaCy's, and are not written down. They can be told
without a tagger:

- of two stretches of which each begins with an article, or follows one, and at least one of which has several
  words, both are noun phrases: their last words are objects ("heads"); not those before `of`, which may be
  groupings ("a herd of"), nor when the same word follows both, which then ends them;
- two single words that end in -ing, neither of which is a head anywhere in the file nor trades places with one in
  more than a tenth of its swaps, are verbs: relations;
- two single words that end neither in -ing nor in -s, with the same condition, each in at least three swaps of the
  file, are adjectives: attributes; not the words of grammar in `NO_QUALITIES`, which spaCy called adjectives or
  adverbs.
"""

import ast
import csv
import difflib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clipsight.roles.extract import Role, find_words
from clipsight.world import make_scenes

ARTICLES = frozenset(("a", "an", "the"))
CAPITALS = frozenset(("ON", "IN", "WEARING"))
VL_CHECKLIST: dict[str, Role] = {"Attribute": "attribute", "Relation": "relation", "Object": "object"}
OFTEN = 0.1
"""Share of a word's swaps with heads from which on it may be a noun itself."""

SEEN = 3
NO_QUALITIES = frozenset(
    [
        "the",
        "a",
        "very",
        "next",
        "other",
        "another",
        "even",
        "out",
        "outside",
        "inside",
        "together",
        "such",
        "not",
        "as",
        "so",
    ]
)

Triple = tuple[int | None, tuple[int, ...], int | None]
Link = tuple[int, int]


@dataclass(kw_only=True)
class Gold:
    """What is known of one caption: roles of some words; links and triples where they are known in full, else None."""

    caption: str
    roles: dict[int, Role]
    links: set[Link] | None = None
    triples: set[Triple] | None = field(default=None)


def labelled(path: Path, captions: dict[int, list[str]]) -> list[Gold]:
    """A half of the hand-made labels (`tests/data/roles`)."""
    letters: dict[str, Role] = {"o": "object", "a": "attribute", "r": "relation", "-": "other"}
    return [
        Gold(
            caption=captions[record["image"]][record["caption"]],
            roles={i: letters[letter] for i, letter in enumerate(record["roles"])},
            links={(a, o) for a, o in record["links"]},
            triples={(s, tuple(words), o) for s, words, o in record["relations"]},
        )
        for record in json.loads(path.read_text(encoding="utf-8"))
    ]


def vl_checklist(folder: Path) -> Iterator[Gold]:
    """One a statement that something can be told of."""
    for path in sorted(folder.glob("*.json")):
        role = VL_CHECKLIST[path.name.split("_")[0]]
        for _, texts in json.loads(path.read_text(encoding="utf-8")):
            gold = _statement(
                texts["POS"][0], texts["NEG"][0], role, spatial=path.name.startswith("Relation__vg")
            )
            if gold is not None:
                yield gold


def _statement(true: str, false: str, role: Role, spatial: bool) -> Gold | None:
    words = [word.text for word in find_words(true)]
    place = _replaced([w.lower() for w in words], [w.text.lower() for w in find_words(false)])
    if place is None:
        return None
    changed = [i for i in range(*place) if words[i].lower() not in ARTICLES]
    roles: dict[int, Role] = {}
    for i in (i for i, word in enumerate(words) if word in CAPITALS and 0 < i < len(words) - 1):
        roles |= {i - 1: "object", i: "relation"}
        if role != "attribute":
            roles[i + 1] = "object"
    links = triples = None
    if role == "attribute" and place[1] < len(words):
        roles[len(words) - 1] = "object"
        links = {(i, len(words) - 1) for i in changed}
    if spatial and place[0] > 0 and place[1] < len(words):
        roles |= {place[0] - 1: "object", len(words) - 1: "object"}
        triples = {
            (
                place[0] - 1,
                tuple(i for i in changed if words[i].lower() != "of" or i > place[0]),
                len(words) - 1,
            )
        }
    roles |= dict.fromkeys(changed, role)
    return Gold(
        caption=true, roles={i: r for i, r in roles.items() if words[i] != "OF"}, links=links, triples=triples
    )


def _replaced(true: Sequence[str], false: Sequence[str]) -> tuple[int, int] | None:
    operations = difflib.SequenceMatcher(None, true, false, autojunk=False).get_opcodes()
    places = [(start, end) for name, start, end, *_ in operations if name == "replace"]
    return places[0] if len(places) == 1 else None


def aro(path: Path, skip: frozenset[str] = frozenset()) -> list[Gold]:
    """One a caption with a swap whose class can be told; captions in `skip` (lower case) are left out."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [
            row for row in csv.DictReader(file, delimiter="\t") if row["title"].strip().lower() not in skip
        ]
    known: defaultdict[str, dict[int, Role]] = defaultdict(dict)
    single: list[tuple[str, str, str, int, int]] = []
    heads: set[str] = set()
    for row in rows:
        words = [word.text.lower() for word in find_words(row["title"])]
        for text in ast.literal_eval(row["neg_caption"]):
            swap = _swapped(words, [word.text.lower() for word in find_words(text)])
            if swap is None:
                continue
            first, second = swap
            if first[1] - first[0] == 1 == second[1] - second[0]:
                single.append((row["title"], words[first[0]], words[second[0]], first[0], second[0]))
            elif words[first[1]] != " ".join(words[second[1] : second[1] + 1]) and all(
                words[a] in ARTICLES or (a and words[a - 1] in ARTICLES) for a, _ in swap
            ):
                for _, end in swap:
                    if words[end : end + 1] == ["of"]:
                        continue
                    known[row["title"]][end - 1] = "object"
                    heads.add(words[end - 1])
    swaps, with_heads = Counter[str](), Counter[str]()
    for _, one, other, _, _ in single:
        for word, partner in ((one, other), (other, one)):
            swaps[word] += 1
            with_heads[word] += partner in heads
    for title, one, other, i, j in single:
        if any(word in heads or with_heads[word] > OFTEN * swaps[word] for word in (one, other)):
            continue
        verbs = [word.endswith("ing") for word in (one, other)]
        if all(verbs):
            known[title] |= {i: "relation", j: "relation"}
        elif not any(verbs) and all(_may_be_quality(word, swaps) for word in (one, other)):
            known[title] |= {i: "attribute", j: "attribute"}
    return [Gold(caption=title, roles=roles) for title, roles in known.items()]


def _may_be_quality(word: str, swaps: Counter[str]) -> bool:
    return not word.endswith("s") and word not in NO_QUALITIES and swaps[word] >= SEEN


Stretch = tuple[int, int]


def _swapped(true: list[str], false: list[str]) -> tuple[Stretch, Stretch] | None:
    """The two stretches of `true` that change places to give `false`."""
    if len(true) != len(false) or true == false:
        return None
    start = next(i for i, (a, b) in enumerate(zip(true, false, strict=True)) if a != b)
    end = len(true) - next(i for i, (a, b) in enumerate(zip(true[::-1], false[::-1], strict=True)) if a != b)
    inner, other = true[start:end], false[start:end]
    size = len(inner)
    for x in range(1, size):
        for y in range(1, size - x + 1):
            moved = other[:y] == inner[size - y :] and other[size - x :] == inner[:x]
            if moved and other[y : size - x] == inner[x : size - y]:
                return (start, start + x), (end - y, end)
    return None


def world(count: int, seed: int) -> list[Gold]:
    """Captions of the emoji world with their own gold, put in the guideline's terms.

    "with a hole" is an attribute there, and here a relation to a hole; an article inside "to the left of" has no
    role here. What "this shows" and "we see" are is left out.
    """
    found = []
    for scene in make_scenes(count, seed, "heldout"):
        for caption in scene.captions:
            roles: dict[int, Role] = {}
            for i, word in enumerate(find_words(caption.text)):
                inside = [span for span in caption.spans if span[0] < word.end and word.start < span[1]]
                role: Role = inside[0][2] if inside else "other"
                if inside and caption.text[inside[0][0] : inside[0][1]].startswith("with "):
                    role = {"with": "relation", "hole": "object"}.get(word.text, "other")
                if word.text not in ("shows", "see"):
                    roles[i] = "other" if word.text in ARTICLES else role
            found.append(Gold(caption=caption.text, roles=roles))
    return found
