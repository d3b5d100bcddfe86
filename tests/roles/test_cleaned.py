"""Words and roles are of the text that the model reads: what a tokenizer folds together comes out alike."""

import html
import unicodedata
from itertools import pairwise

import hypothesis
import open_clip
import pytest
from hypothesis import strategies as st

import clipsight
from clipsight.language.spans import find_phrases
from clipsight.roles.cleaned import as_read
from clipsight.roles.extract import extract_roles, find_words
from clipsight.roles.schema import CaptionRoles
from clipsight.world import make_scene

TOKENIZER = open_clip.SimpleTokenizer()
CAPTIONS = (
    "Tom & Jerry's red chair",
    "a café on the left of two small dogs, a big naïve cat",
    "the man's old t-shirt lies behind a blue car",
    "A woman in a coöperative shop buys 3 fish",
    "he said “a green bird” … and a 100 % red house",
)


def read(caption: str, extractor: str = "rules"):
    """What is compared: words without case, roles, links, relations."""
    found = extract_roles(caption, extractor)
    return [w.text.lower() for w in found.words], found.roles, found.links, found.relations


def test_entities_are_no_words():
    given, meant = "Tom &amp; Jerry&#39;s red chair", "Tom & Jerry's red chair"
    assert TOKENIZER.encode(given) == TOKENIZER.encode(meant)
    found = extract_roles(given, "rules")
    assert [word.text for word in found.words] == ["Tom", "Jerry's", "red", "chair"]
    assert [given[word.start : word.end] for word in found.words] == ["Tom", "Jerry&#39;s", "red", "chair"]
    assert read(given) == read(meant)
    assert CaptionRoles.from_dict(found.to_dict()) == found


def entities(caption: str) -> str:
    return "".join(f"&#{ord(c)};" if not c.isalnum() and c != " " else c for c in caption)


def wide(caption: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in caption)


FOLDS = {
    "html": html.escape,
    "html twice": lambda caption: html.escape(html.escape(caption)),
    "numbered entities": entities,
    "decomposed": lambda caption: unicodedata.normalize("NFD", caption),
    "composed": lambda caption: unicodedata.normalize("NFC", caption),
    "upper": lambda caption: caption.upper() if caption.upper().lower() == caption.lower() else caption,
    "lower": str.lower,
    "title": str.title,
    "full width": wide,
    "mojibake": lambda caption: caption.encode().decode("windows-1252", "ignore"),
    "curled": lambda caption: caption.replace("'", "’"),
    "blanks": lambda caption: caption.replace(" ", " \t\n "),
    "no-break blanks": lambda caption: caption.replace(" ", "\xa0"),
    "named blanks": lambda caption: caption.replace(" ", "&nbsp;"),
    "line ends": lambda caption: caption.replace(" ", "\r\n", 1),
    "order marks": lambda caption: "\ufeff" + caption,
    "control": lambda caption: caption.replace("e", "e\x01"),
    "ligatures": lambda caption: caption.replace("fi", "ﬁ"),
}


@pytest.mark.parametrize("caption", CAPTIONS)
@pytest.mark.parametrize("fold", FOLDS)
def test_a_fold_that_keeps_the_ids_keeps_words_and_roles(caption, fold):
    folded = FOLDS[fold](caption)
    if TOKENIZER.encode(folded) == TOKENIZER.encode(caption):
        assert read(folded) == read(caption)
        found = find_words(folded)
        assert all(0 <= one.start < one.end <= len(folded) for one in found)
        assert all(a.end <= b.start for a, b in pairwise(found))


def test_most_folds_keep_the_ids():
    """Else the test before would say nothing."""
    kept = [
        f
        for f, make in FOLDS.items()
        if all(TOKENIZER.encode(make(c)) == TOKENIZER.encode(c) for c in CAPTIONS)
    ]
    assert len(kept) >= 12, kept


@hypothesis.settings(max_examples=150)
@hypothesis.given(st.lists(st.sampled_from(sorted(FOLDS)), min_size=1, max_size=4), st.sampled_from(CAPTIONS))
def test_folds_on_folds(folds, caption):
    folded = caption
    for fold in folds:
        folded = FOLDS[fold](folded)
    hypothesis.assume(TOKENIZER.encode(folded) == TOKENIZER.encode(caption))
    assert read(folded) == read(caption)


@hypothesis.settings(max_examples=200)
@hypothesis.given(
    st.text(alphabet=st.sampled_from("aé&#39;xX \n\u0301ıİßſﬁ’'-1.\xa0\u200bK&amp"), max_size=30)
)
def test_any_text_reads_as_its_cleaned_self(text):
    clean = TOKENIZER.clean_fn(text)
    assert [w.text.lower() for w in find_words(text)] == [w.text.lower() for w in find_words(as_read(text))]
    if as_read(clean) == clean:  # cleaning may go on: "&amp;amp;amp;"
        assert [w.text.lower() for w in find_words(text)] == [w.text for w in find_words(clean)]


@hypothesis.settings(max_examples=300)
@hypothesis.given(
    st.text(
        alphabet=st.sampled_from("ab0 \x08\x1b\x9a\x88\x83[:&#;39amp’é\u0301İﬁ\ufeff\r\u2028"), max_size=14
    )
)
def test_damaged_text_has_roles_and_no_character_in_two_words(text):
    found = extract_roles(text)
    assert len(found.words) == len(found.roles)
    assert all(word.start < word.end <= len(text) for word in found.words)
    assert all(a.end <= b.start for a, b in pairwise(found.words))


def test_words_of_a_lens_are_those_that_it_reads():
    lens, picture = clipsight.load("clipsight-tiny"), make_scene(0).image
    given, meant = (
        lens.words(picture, "a red dog &amp; Tom&#39;s cat"),
        lens.words(picture, "a red dog & Tom's cat"),
    )
    assert [word.text for word in given.words] == [word.text for word in meant.words]
    assert [word.role for word in given.words] == [word.role for word in meant.words]
    assert [word.score for word in given.words] == pytest.approx(
        [word.score for word in meant.words], abs=1e-6
    )


def test_phrases_are_found_as_read_and_as_written():
    caption = "Tom &amp; Jerry&#39;s red chair"
    for asked in ("Jerry's red", "Jerry&#39;s red"):
        (found,) = find_phrases(caption, [asked])
        assert found.text == "Jerry&#39;s red"
    spans = {"objects": ["chair"], "attributes": ["jerry's"]}
    assert extract_roles(caption, "column", spans=spans).texts("attribute") == ("Jerry's",)


def test_neighbours_are_one_span_over_named_blanks():
    assert extract_roles("a big&nbsp;red dog").spans("attribute") == ((2, 14),)
