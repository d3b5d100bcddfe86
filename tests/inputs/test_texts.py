"""Any text is encoded, or refused in one sentence; what the model cannot see of it is accounted for."""

import time
import unicodedata

import open_clip
import pytest
import torch
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import clipsight
from clipsight import Lens
from clipsight.errors import ClipsightWarning
from clipsight.language.tokens import check_texts, dropped_tails, tokenize
from tiny import past_type_checks

WORDS = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), min_size=1, max_size=9)
ODD = st.one_of(
    st.text(),
    st.text(st.characters(categories=["Cc", "Cf", "Zs", "Zl", "Zp"])),  # control, format and blank characters
    st.text(st.characters(categories=["Cs", "Co", "Cn"])),  # surrogates, private and unassigned
    st.text(st.characters(categories=["Mn", "Me", "So", "Sk"])),  # combining marks, emoji, skin tones
    st.text(st.sampled_from("שלום مرحبا עברית‏‎‮")),
    st.lists(WORDS, max_size=200).map(" ".join),
    st.text(st.sampled_from("&;#<>x0129amplt_")),
)
BLANKS = "".join(
    map(
        chr,
        (
            *range(9, 14),
            28,
            29,
            30,
            31,
            32,
            0x85,
            0xA0,
            0x1680,
            *range(0x2000, 0x200B),
            0x2028,
            0x2029,
            0x202F,
            0x205F,
            0x3000,
        ),
    )
)
RARELY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def lens() -> Lens:
    return clipsight.load("clipsight-tiny")


@pytest.fixture(scope="module")
def tokenizer() -> open_clip.SimpleTokenizer:
    return open_clip.SimpleTokenizer(context_length=16)


@pytest.mark.filterwarnings("ignore::clipsight.errors.ClipsightWarning")
@RARELY
@given(texts=st.lists(ODD, max_size=4), again=st.booleans())
@example(["👩‍👩‍👧‍👦 family", "e\u0301" * 50, "\u202eabc", "\ufeff", "\x00dog"], True)
@example(["half \ud83d"], False)
@example(["<end_of_text>"], False)
@example(["&lt;START_of_text&gt; dog"], False)
@example(["{}"], False)
def test_any_texts_are_encoded_or_refused_in_a_sentence(lens: Lens, texts: list[str], again: bool) -> None:
    texts = texts + texts if again else texts
    try:
        features = lens.encode_text(texts)
    except ValueError as error:
        said = str(error)
        assert said.endswith(".")
        assert said.isprintable()
        assert len(said) < 400
        said.encode()
        return
    assert features.shape == (len(texts), 128)
    assert features.isfinite().all()
    half = len(texts) // 2
    if again:
        assert torch.equal(features[:half], features[half:])
    assert all(any(not char.isspace() for char in text) for text in texts)


@RARELY
@given(blanks=st.text(st.sampled_from(BLANKS), max_size=20))
def test_blanks_of_every_kind_are_no_text(tokenizer, blanks: str) -> None:
    assert not blanks.strip()
    with pytest.raises(ValueError, match="no word in it"):
        check_texts(["a dog", blanks], tokenizer)


@RARELY
@given(words=st.lists(WORDS, min_size=1, max_size=60))
def test_what_is_kept_and_what_is_dropped_are_all_the_words(tokenizer, words: list[str]) -> None:
    text = " ".join(words)
    assume(open_clip.tokenizer.basic_clean(text) == text)
    (tail,) = dropped_tails(tokenizer, [text], 16)
    if tail:
        with pytest.warns(ClipsightWarning, match="its end is not seen, dropped: "):
            ids = tokenize(tokenizer, [text], 16)[0]
        assert ids[-1] == tokenizer.eot_token_id
    else:
        ids = tokenize(tokenizer, [text], 16)[0]
    assert ids[0] == tokenizer.sot_token_id
    end = int((ids == tokenizer.eot_token_id).nonzero())
    kept = tokenizer.decode(ids[1:end].tolist())
    # a word may be cut in its middle: letters are compared
    assert (kept + tail).replace(" ", "") == text.replace(" ", "")
    assert bool(tail) == (len(tokenizer.encode(text)) > 14)


def test_long_texts_in_other_scripts_are_cut_and_said(lens: Lens) -> None:
    for text in (
        "一只狗和一只猫" * 40,
        "👩‍👩‍👧‍👦🐶" * 60,
        "кот и пёс " * 60,
        "e\u0301\u0327" * 200,
        "\u202eכלב " * 100,
    ):
        with pytest.warns(ClipsightWarning, match="is longer than the model's 77 tokens"):
            features = lens.encode_text([text])
        assert features.isfinite().all()
        ids = tokenize_quietly(lens, text)
        assert ids[-1] == lens._engine.loaded.tokenizer.eot_token_id


@pytest.mark.filterwarnings("ignore::clipsight.errors.ClipsightWarning")
def tokenize_quietly(lens: Lens, text: str) -> torch.Tensor:
    return lens._engine.loaded.tokenizer([text], context_length=77)[0]


def test_ten_thousand_words_are_read_in_seconds_and_the_tail_is_whole(lens: Lens) -> None:
    words = [f"word{number % 10}" for number in range(10_000)]
    text, began = " ".join(words), time.process_time()
    with pytest.warns(ClipsightWarning, match="dropped: '.*…'"):  # the tail, shortened for a line
        lens.encode_text([text])
    (tail,) = dropped_tails(lens._engine.loaded.tokenizer, [text], 77)
    assert tail.endswith("word 9")
    assert len(tail.replace(" ", "")) > 0.98 * len(text.replace(" ", ""))
    assert time.process_time() - began < 20


def test_a_word_without_end_is_refused_before_it_is_merged(lens: Lens) -> None:
    letters = "".join(chr(97 + number * number % 26) for number in range(300_000))
    with pytest.raises(ValueError, match=r"text 1, 'abejqzk.*…', holds a word of 300,000 characters"):
        lens.encode_text(["a dog", letters])


@pytest.mark.parametrize(
    ("texts", "error", "says"),
    [
        (None, TypeError, 'texts is a NoneType, None; pass a list of strings, as in \\["a dog"\\]'),
        (7, TypeError, "texts is a int, 7"),
        (b"a dog", TypeError, "texts is a bytes, b'a dog'"),
        ("a dog", TypeError, r"pass a list of texts: \['a dog'\]"),
        ("x" * 10_000, TypeError, "…"),
        (["a dog", b"cat"], TypeError, "text 1 is a bytes, b'cat'"),
        (["a dog", ["cat"]], TypeError, r"text 1 is a list, \['cat'\]"),
        (["a dog", None], TypeError, "text 1 is a NoneType"),
        (["a dog", torch.zeros(3)], TypeError, "text 1 is a Tensor"),
        (torch.zeros(2, 3), TypeError, r"token ids are integers .* got torch\.float32 of shape \(2, 3\)"),
        (torch.zeros(3, dtype=torch.long), TypeError, r"of shape \(3,\)"),
        ([], ValueError, "at least one"),
    ],
)
def test_other_things_than_texts_are_refused(
    lens: Lens, texts: object, error: type[Exception], says: str
) -> None:
    with past_type_checks(), pytest.raises(error, match=says) as caught:
        lens.encode_text(texts)
    assert len(str(caught.value)) < 300


def test_strings_of_other_kinds_are_texts(lens: Lens) -> None:
    import numpy as np

    plain = lens.encode_text(["a dog", "a cat"])
    assert torch.equal(lens.encode_text(("a dog", "a cat")), plain)
    with past_type_checks():
        assert torch.equal(lens.encode_text(np.array(["a dog", "a cat"])), plain)
        assert torch.equal(lens.encode_text(text for text in ("a dog", "a cat")), plain)
    assert not torch.equal(plain[0], plain[1])


def test_duplicates_have_equal_maps_and_keep_their_places(lens: Lens) -> None:
    from clipsight.world import make_scene

    ex = lens.explain(make_scene(0).image, ["a dog", "a car", "a dog"], contrast=None, resolution=56)
    assert ex.texts == ("a dog", "a car", "a dog")
    assert torch.equal(ex.maps[0], ex.maps[2])
    assert not torch.equal(ex.maps[0], ex.maps[1])


def test_one_composed_form_is_as_good_as_the_other(lens: Lens) -> None:
    composed, apart = "café", unicodedata.normalize("NFD", "café")
    assert composed != apart
    assert torch.equal(lens.encode_text([composed]), lens.encode_text([apart]))
