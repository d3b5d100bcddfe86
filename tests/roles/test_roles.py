"""The rule tagger on captions whose roles are plain; odd strings; the floor of its measure where the labels are."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipsight.roles.extract import CaptionRoles, extract_roles
from clipsight.roles.inflection import article, plural, verb_forms
from clipsight.roles.lexicon import lexicon
from clipsight.world import make_scenes

LABELS = Path(__file__).parents[1] / "data" / "roles"
INDEX = Path(__file__).parents[3] / "shared" / "realset" / "index.json"
LETTER = {"object": "o", "attribute": "a", "relation": "r", "other": "-"}


def letters(caption: str) -> str:
    return "".join(LETTER[role] for role in extract_roles(caption).roles)


def words(found: CaptionRoles, numbers: Any) -> str:
    return " ".join(found.words[i].text.lower() for i in numbers)


def links(caption: str) -> set[str]:
    found = extract_roles(caption)
    return {words(found, link) for link in found.links}


def relations(caption: str) -> set[str]:
    found = extract_roles(caption)
    end = {None: "_"}
    return {
        f"{end.get(r.subject) or words(found, [r.subject])} [{words(found, r.words)}] "
        f"{end.get(r.object) or words(found, [r.object])}"
        for r in found.relations
    }


# Invented captions, one or two for each rule of the guideline.
CAPTIONS = {
    "a brown dog chases two cats": "-aorao",
    "a tennis racket beside a dining table": "-oor-oo",
    "Hot dogs on the grill.": "oor-o",
    "the man's hat": "-oo",
    "a bowl of soup and a slice of cake": "-o-o--o-o",
    "a group of girls in front of a row of tents": "-a-orrr-a-o",
    "a crowd watches the parade": "-or-o",
    "hats of different colors": "o-a-",
    "different kinds of fruit on a tray": "a--or-o",
    "a blurry photo of a goat": "-a---o",
    "a close up of a plate of rice": "-----o-o",
    "an aerial view of the town": "-----o",
    "a painting on the wall": "-or-o",
    "on a sunny day the children swim": "--a--or",
    "a brick wall and a denim jacket": "-ao--ao",
    "a cheese sauce on a grass field": "-oor-oo",
    "the front wheel of a bike": "-ao--o",
    "a parked car near a running man": "-aor-ao",
    "a man parked near a van": "-orr-o",
    "a snow covered hill": "-aao",
    "a two story house": "-aao",
    "a two-story house": "-ao",
    "a brightly lit room": "-aao",
    "a cup upside down on a shelf": "-oaar-o",
    "the bus is red": "-o-a",
    "a very big bus": "--ao",
    "with the door left open": "r-ora",
    "the cup is cracked": "-o-a",
    "the cup is cracked by a hammer": "-o-rr-o",
    "a woman in red": "-ora",
    "a black and white cow": "-a-ao",
    "dogs being washed": "o-r",
    "a box is on a bed": "-o-r-o",
    "a boy trying to catch a ball": "-or-r-o",
    "she is picking up a leaf": "--rr-o",
    "toys in it": "or-",
    "a lamp next to a sofa": "-orr-o",
    "a field full of cows": "-orro",
    "on the other side of the road": "r-rrr-o",
    "trees in the background": "or-r",
    "two people sit side by side": "aor---",
    "an apple cut in half": "-or--",
    "a horse with a cart behind": "-or-or",
    "zebras grazing together": "or-",
    "a child has eaten": "-o-r",
    "a child has a kite": "-or-o",
    "a table with stuffed animals": "-orao",
    "a kite flying over a building": "-orr-o",
    "people walking while others stand": "or--r",
    "A MAN RIDES A HORSE": "-or-o",
    "light blue walls": "aao",
    "a glass of milk on a glass table": "-o-or-ao",
    "traffic lights above a street": "oor-o",
    "a man lights a candle": "-or-o",
    "he takes his dog to the park": "-r-or-o",
    "a person can be seen from behind": "-o--rrr",
    "men play baseball and the batter runs": "oro--or",
    "New York taxis": "ooo",
    "a kitten with one paw on a laptop keyboard": "-oraor-oo",
}


@pytest.mark.parametrize("caption", CAPTIONS)
def test_roles_of_plain_captions(caption: str):
    found = extract_roles(caption)
    pairs = [(w.text, LETTER[r]) for w, r in zip(found.words, found.roles, strict=True)]
    assert letters(caption) == CAPTIONS[caption], pairs


def test_attributes_belong_to_their_nouns():
    assert links("a big brown dog and a small cat") == {"big dog", "brown dog", "small cat"}
    assert links("a group of tall trees") == {"group trees", "tall trees"}
    assert links("clean knives and forks") == {"clean knives", "clean forks"}
    assert links("the bus on the left is red and white") == {"red bus", "white bus"}
    assert links("a kitchen with the door open") == {"open door"}
    assert links("a red tennis racket") == {"red racket"}
    assert links("hats of different colors") == {"different hats"}


def test_relations_join_what_they_join():
    assert relations("a man riding a horse on the beach") == {"man [riding] horse", "horse [on] beach"}
    assert relations("a man holding a racket on a court") == {"man [holding] racket", "man [on] court"}
    assert relations("a roof covered by snow") == {"roof [covered by] snow"}
    assert relations("a man in a green shirt holding a cup") == {"man [in] shirt", "man [holding] cup"}
    assert relations("a dog and a cat sleep on a bed") == {"dog [sleep on] bed", "cat [sleep on] bed"}
    assert relations("a boy picking it up") == {"boy [picking up] _"}
    assert relations("trees in the background") == {"trees [in background] _"}
    assert relations("a dog that is chasing a ball") == {"dog [chasing] ball"}
    assert relations("the dog that a man is walking") == {"man [walking] dog"}
    assert relations("a herd of goats runs") == {"goats [runs] _"}
    assert relations("looking down at a plate") == {"_ [looking down at] plate"}
    assert relations("a kitchen with a sink, a stove and an oven") == {
        "kitchen [with] sink", "kitchen [with] stove", "kitchen [with] oven",
    }  # fmt: skip


def test_misspelt_words_are_judged_by_their_place():
    assert letters("teh dog runnning wiht a stikc") == "-orr-o"
    assert letters("a zorble chasing the glimfs") == "-or-o"
    assert letters("two glorbs chase a dog") == "aor-o"


@pytest.mark.parametrize(
    "caption", ["", " ", "…", "!?", "\n\t", "🐶", "'", "--", "12", "a", "THE", "of", "日本 の 犬", "a" * 500]
)
def test_odd_strings_have_roles_too(caption: str):
    found = extract_roles(caption)
    assert "".join(w.text for w in found.words) == re.sub(r"[^\w]|_", "", caption)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.lists(st.sampled_from(sorted(lexicon().tags)), max_size=12).map(" ".join))
def test_any_text_has_one_role_a_word_and_the_same_twice(caption: str):
    found = extract_roles(caption)
    assert len(found.words) == len(found.roles)
    assert found == extract_roles(caption)
    used = {i for r in found.relations for i in r.words}
    assert used == set(found.numbers("relation"))


def test_every_relation_word_is_in_a_relation_in_the_worlds_captions():
    for scene in make_scenes(20, 3, "train"):
        for caption in scene.captions:
            found = extract_roles(caption.text)
            assert {i for r in found.relations for i in r.words} == set(found.numbers("relation"))


def f1(pairs: list[tuple[str, str]], role: str) -> float:
    right = sum(a == b == role for a, b in pairs)
    return 2 * right / max(sum((a == role) + (b == role) for a, b in pairs), 1)


def test_the_worlds_own_roles_are_found():
    """Its "with a hole" is an attribute there and a relation to a hole here; articles inside spans have no role."""
    pairs = []
    for scene in make_scenes(60, 11, "heldout"):
        for caption in scene.captions:
            found = extract_roles(caption.text)
            for word, role in zip(found.words, found.roles, strict=True):
                spans = [s for s in caption.spans if s[0] < word.end and word.start < s[1]]
                trailing = spans and caption.text[spans[0][0] : spans[0][1]].startswith("with ")
                if trailing or word.text in ("a", "an", "the", "shows", "see"):
                    continue
                pairs.append((spans[0][2] if spans else "other", role))
    assert min(Counter(role for role, _ in pairs).values()) > 50
    assert {role: f1(pairs, role) > 0.98 for role in LETTER} == dict.fromkeys(LETTER, True)


def test_the_measure_on_the_development_half_keeps_its_floor():
    if not INDEX.is_file():
        pytest.skip("the shared photo set with its captions is not beside this checkout")
    captions = {i["id"]: i["captions"] for i in json.loads(INDEX.read_text(encoding="utf-8"))["images"]}
    pairs, right, given_, wanted = [], Counter[str](), Counter[str](), Counter[str]()
    for record in json.loads((LABELS / "dev.json").read_text(encoding="utf-8")):
        found = extract_roles(captions[record["image"]][record["caption"]])
        pairs += zip(record["roles"], (LETTER[role] for role in found.roles), strict=True)
        mine = {
            "links": set(found.links),
            "triples": {(r.subject, r.words, r.object) for r in found.relations},
        }
        gold = {
            "links": {(a, o) for a, o in record["links"]},
            "triples": {(s, tuple(w), o) for s, w, o in record["relations"]},
        }
        for what in mine:
            right[what] += len(mine[what] & gold[what])
            given_[what] += len(mine[what])
            wanted[what] += len(gold[what])
    figures = {role: f1(pairs, role) for role in "oar"}
    figures |= {what: 2 * right[what] / (given_[what] + wanted[what]) for what in right}
    floors = {"o": 0.98, "a": 0.97, "r": 0.97, "links": 0.92, "triples": 0.86}
    assert {k: v for k, v in figures.items() if v < floors[k]} == {}


def test_a_tagger_that_calls_everything_a_noun_would_fail_the_floors():
    assert f1([("a", "o"), ("o", "o"), ("r", "o")], "a") == 0
    assert f1([("o", "o"), ("a", "a")], "o") == 1
    assert f1([("o", "o"), ("a", "o")], "o") == pytest.approx(2 / 3)


PLURALS = {
    "dog": "dogs", "bus": "buses", "berry": "berries", "woman": "women", "snowman": "snowmen", "human": "humans",
    "shelf": "shelves", "potato": "potatoes", "jellyfish": "jellyfish", "key": "keys",
}  # fmt: skip
ARTICLES = {
    "apple": "an", "unicorn": "a", "hour": "an", "one-eyed cat": "a", "European": "a", "8-bit game": "an",
    "umbrella": "an", "unimportant box": "an", "11": "an", "110": "a",
}  # fmt: skip


def test_forms_of_words():
    assert {noun: plural(noun) for noun in PLURALS} == PLURALS
    assert {phrase: article(phrase) for phrase in ARTICLES} == ARTICLES
    assert verb_forms("sit") == ("sits", "sitting", "sat", "sat")
    assert verb_forms("carry") == ("carries", "carrying", "carried", "carried")
    assert verb_forms("lie") == ("lies", "lying", "lay", "lain")
    assert verb_forms("ski").gerund == "skiing"
    assert verb_forms("panic").past == "panicked"


def test_word_lists_hold_words():
    known = lexicon()
    every = set(known.noun_kinds) | set(known.verb_of) | set(known.adjective_kinds)
    assert len(known.noun_kinds) > 2000
    assert not [w for w in every if not re.fullmatch(r"[a-z][a-z'-]*", w)]
    assert known.strong.isdisjoint(known.either)
    assert known.kind("dogs") == "animal"
    assert known.kind("zorble") == ""


def test_the_rules_load_no_torch():
    code = (
        "import sys; from clipsight.roles.rules.tagger import roles_by_rules; "
        "roles_by_rules('a dog'); print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
