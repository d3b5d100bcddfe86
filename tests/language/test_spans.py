"""Tokens, words and phrases with their characters, for every kind of tokenizer; sums that stay what they were."""

import string
from pathlib import Path

import open_clip
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

from clipsight.errors import Unsupported
from clipsight.language.pieces import read_pieces
from clipsight.language.places import places
from clipsight.language.reading import groups_of
from clipsight.language.spans import (
    CaptionPart,
    caption_parts,
    caption_tokens,
    find_phrases,
    merge,
    shares,
)
from clipsight.roles.extract import find_words
from tiny import past_type_checks
from towers import hf_tiny

BYTE_PAIRS = open_clip.get_tokenizer("ViT-B-32")
KINDS = (
    "byte pairs",
    "transformers' byte pairs",
    "SentencePiece",
    "Gemma",
    "WordPiece",
    "canonical WordPiece",
)
CAPTIONS = (
    "a red car left of a dog",
    "  A Red   CAR,\n left of a dog's t-shirt!",
    "salt &lt; pepper &amp;amp; more",
    "un élève “à” l'école — 狗和猫 🐶 dog",
    "İstanbul ΣΑΣ ﬁnd e\u0301te Ã©cole",
    "hyperparameterization_of 1234 things...",
    "Ａ dog\u200b and\u00a0a cat",
)
UNICODE = st.text(
    st.one_of(
        st.sampled_from(string.ascii_letters + "  \n\t'-,.&;éèß’“—"),
        st.characters(exclude_categories=("Cs",), max_codepoint=0x1FAFF),
    ),
    min_size=1,
    max_size=24,
).filter(lambda text: bool(text.strip()))


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    """One of each kind, with a context of 16 or, for open_clip's byte pairs, any."""
    from clipsight.language.hf_tokenizers import open_tokenizer

    made = {"byte pairs": BYTE_PAIRS}
    for kind, write in zip(KINDS[1:4], (hf_tiny.clip_tokenizer, hf_tiny.pieces, hf_tiny.gemma), strict=True):
        folder = tmp_path_factory.mktemp("tokenizer")
        write(folder)
        made[kind] = open_tokenizer(folder, 16, 10)
    folder = tmp_path_factory.mktemp("wordpiece")
    wordpieces(folder)
    made["WordPiece"] = HFTokenizer(str(folder), context_length=16, strip_sep_token=True)
    made["canonical WordPiece"] = HFTokenizer(str(folder), context_length=16, clean="canonicalize")
    return made


def wordpieces(folder: Path) -> None:
    """A small BERT vocabulary: letters, and some words; as its repositories hold it."""
    letters = string.ascii_lowercase + string.digits
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{one}" for one in letters)]
    words += [*string.punctuation, "red", "car", "dog", "left", "of", "hyper", "##parameter", "##ization"]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    hf_tiny.write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"})
    hf_tiny.write_json(folder / "config.json", {"model_type": "bert"})


def read(tokenizer, caption, context=16):
    return caption_tokens(tokenizer, caption, tokenizer([caption], context_length=context)[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("caption", CAPTIONS)
def test_every_token_has_its_characters(tokenizers, kind, caption):
    found = read(tokenizers[kind], caption)
    placed = [place for place in found.places if place is not None]
    assert all(0 <= start <= end <= len(caption) for start, end in placed)
    assert [start for start, _ in placed] == sorted(start for start, _ in placed)
    for token, place, sort in zip(found.tokens, found.places, found.kinds, strict=True):
        assert (place is None) == (sort != "text")
        if place is not None and place[0] < place[1]:
            assert token == caption[slice(*place)]
            assert not token[0].isspace()
            assert not token[-1].isspace()
    covered = {i for start, end in placed for i in range(start, end)}
    letters = {i for i in range(found.seen) if caption[i].isalpha() and caption[i].isascii()}
    if "&" not in caption:  # of entities some tokenizers see only the sign they stand for
        assert letters <= covered


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(caption=UNICODE, seed=st.integers(0, 99))
def test_words_marks_and_special_tokens_have_what_the_tokens_have(tokenizers, kind, caption, seed):
    """Sum over words, punctuation, start, end and padding is the sum over tokens, whatever the caption."""
    tokenizer = tokenizers[kind]
    try:
        found = read(tokenizer, caption)
    except ValueError:  # nothing of the caption is left for the tokenizer, or blanks alone fill the context
        assert not any(letter.isascii() and letter.isalpha() for letter in caption[:1])
        return
    scores = torch.randn(len(found.tokens), generator=torch.Generator().manual_seed(seed))
    parts = caption_parts(found)
    merged = merge(scores, shares(found, parts))
    special = sum(float(s) for s, sort in zip(scores, found.kinds, strict=True) if sort != "text")
    assert float(merged.sum()) + special == pytest.approx(float(scores.sum()), abs=1e-4)
    written = "".join(found.caption[part.start : part.end] for part in parts)
    assert "".join(written.split()) == "".join(found.caption[: found.seen].split())
    assert [caption[part.start : part.end] for part in parts if part.kind == "word"] == [
        caption[word.start : min(word.end, found.seen)]
        for word in find_words(caption)
        if word.start < found.seen
    ]


@settings(max_examples=150, deadline=None)
@given(caption=UNICODE)
def test_a_cleaned_text_is_followed_back_in_order(caption):
    """Each letter of open_clip's cleaned text comes from a place no earlier than the one before it."""
    after = BYTE_PAIRS.clean_fn(caption)
    letters = [i for i in range(len(after)) if not after[i].isspace()]
    found = places(caption, after, [(i, i + 1) for i in letters])
    assert len(found) == len(letters)
    assert all(0 <= start <= end <= len(caption) for start, end in found)
    assert [start for start, _ in found] == sorted(start for start, _ in found)
    assert [end for _, end in found] == sorted(end for _, end in found)


def test_what_a_tokenizer_rewrites_is_found_where_it_was():
    found = read(BYTE_PAIRS, "salt &lt; “pepper” &amp;amp; ﬁg e\u0301te Ã©cole", 77)
    words = [token for token, sort in zip(found.tokens, found.kinds, strict=True) if sort == "text"]
    assert words == [
        "salt", "&lt;", "“", "pepper", "”", "&amp;amp;", "ﬁg", "e\u0301", "te", "Ã©", "cole",
    ]  # fmt: skip


def test_a_letter_spread_over_tokens_is_the_place_of_each():
    found = read(BYTE_PAIRS, "狮 dog")
    assert len(found.numbers("text")) > 2
    assert {found.places[i] for i in found.numbers("text")} == {(0, 1), (2, 5)}
    parts = caption_parts(found)
    assert [part.text for part in parts] == ["狮", "dog"]
    assert shares(found, parts).sum(0)[list(found.numbers("text"))].tolist() == [1.0] * len(
        found.numbers("text")
    )


def test_sub_words_add_up_to_their_word():
    found = read(BYTE_PAIRS, "A Hyperparameterization's end.")
    parts = caption_parts(found)
    assert [(part.text, part.kind) for part in parts] == [
        ("A", "word"), ("Hyperparameterization's", "word"), ("end", "word"), (".", "mark"),
    ]  # fmt: skip
    scores = torch.arange(len(found.tokens)).float()
    table = shares(found, parts)
    count = len(found.numbers("text"))
    assert merge(scores, table).tolist() == [1.0, sum(range(2, count - 1)), count - 1, count]
    assert merge(scores, table, "mean").tolist() == [1.0, (count - 2 + 2) / 2, count - 1, count]
    with past_type_checks(), pytest.raises(ValueError, match='"sum"'):
        merge(scores, table, "max")


def test_a_token_across_two_words_is_divided_by_characters(tokenizers):
    """Gemma's vocabulary has pieces with a blank inside; "of a" belongs to "of" by two thirds."""
    found = read(tokenizers["Gemma"], "left of a dog")
    across = next(i for i in found.numbers("text") if found.tokens[i] == "of a")
    parts = caption_parts(found)
    assert [part.text for part in parts] == ["left", "of", "a", "dog"]
    table = shares(found, parts)
    assert table[:, across].tolist() == pytest.approx([0, 2 / 3, 1 / 3, 0])
    groups = groups_of(table)  # taken out it can only be as a whole, with the word that has most of it
    assert across in groups[1]
    assert sorted(place for group in groups for place in group) == list(found.numbers("text"))


def test_a_token_of_a_blank_goes_with_what_follows(tokenizers):
    found = read(tokenizers["SentencePiece"], "a dog")
    blank = next(i for i in found.numbers("text") if found.tokens[i] == "▁")
    assert found.places[blank] == (2, 2)
    assert shares(found, caption_parts(found))[:, blank].tolist() == [0, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_stand_apart_and_the_tail_is_told(tokenizers, kind):
    short, long = read(tokenizers[kind], "a dog"), read(tokenizers[kind], "a dog and a cat " * 12)
    begins = kind not in ("SentencePiece", "Gemma")
    assert short.kinds[: 1 + begins] == (("start",) if begins else ()) + ("text",)
    assert len(short.numbers("end")) == len(long.numbers("end")) == 1
    assert short.numbers("padding")
    assert not long.numbers("padding")
    assert short.dropped == ""
    assert long.dropped
    assert long.caption.rstrip().endswith(long.dropped)
    assert len(long.caption[: long.seen]) + len(long.dropped) == pytest.approx(len(long.caption), abs=2)
    assert caption_parts(long)[-1].end == long.seen


@pytest.mark.parametrize("caption", ["‘‘", "a ‘", "dog " * 4 + "▁" * 12 + " cat"])
def test_tokens_without_characters_are_lost_nowhere(tokenizers, caption):
    """Marks that SigLIP's tokenizer does not know, at the beginning, the end, and where the context cuts."""
    found = read(tokenizers["SentencePiece"], caption)
    table = shares(found, caption_parts(found))
    assert table.sum(0)[list(found.numbers("text"))].tolist() == pytest.approx(
        [1] * len(found.numbers("text"))
    )


def test_blanks_that_fill_the_context_leave_nothing_to_see(tokenizers):
    with pytest.raises(ValueError, match="nothing but blanks"):
        read(tokenizers["Gemma"], " " * 20 + "dog")


def test_a_row_may_end_at_its_end_token():
    whole = read(BYTE_PAIRS, "a red dog", 77)
    ids = BYTE_PAIRS(["a red dog"])[0]
    cut = caption_tokens(BYTE_PAIRS, "a red dog", ids[: int(ids.argmax()) + 1])
    assert cut.places == whole.places[:5]
    assert cut.kinds == ("start", "text", "text", "text", "end")
    assert cut.dropped == ""


def test_a_word_that_the_context_cuts_in_two_counts_as_far_as_it_is_seen():
    found = read(BYTE_PAIRS, "hyperparameterization", 4)
    (part,) = caption_parts(found)
    assert 0 < part.end < len("hyperparameterization")
    assert part.text + found.dropped == "hyperparameterization"


def test_phrases_by_words_and_by_characters():
    caption = "A red car and a Red barn, covered in red"
    assert find_phrases(caption, ["red car", (16, 24)]) == (
        CaptionPart(text="red car", start=2, end=9, kind="span"),
        CaptionPart(text="Red barn", start=16, end=24, kind="span"),
    )
    assert [part.start for part in find_phrases(caption, ["red"])] == [2, 16, 37]
    assert [part.start for part in find_phrases("covered", ["red"])] == [4]
    assert [part.text for part in find_phrases("İa dog", ["dog"])] == ["dog"]
    assert len(find_phrases(caption, ["red car", (2, 9)])) == 1


@pytest.mark.parametrize(
    ("asked", "error", "hint"),
    [
        ("blue", ValueError, "as they stand there"),
        (" ", ValueError, "as they stand there"),
        ((3, 3), ValueError, "0 <= start < end"),
        ((0, 99), ValueError, "<= 5"),
        (7, TypeError, "substring"),
        (("a", "b"), TypeError, "substring"),
    ],
)
def test_phrases_that_are_not_there_are_refused(asked, error, hint):
    with past_type_checks(), pytest.raises(error, match=hint):
        find_phrases("a dog", [asked])


def test_overlapping_phrases_each_have_their_whole_score():
    found = read(BYTE_PAIRS, "a red car left of a dog")
    phrases = find_phrases(found.caption, ["a red car", "red car left of", "left of"])
    assert merge(torch.ones(16), shares(found, phrases)).tolist() == [3, 4, 2]


def test_tokenizers_that_tell_nothing_are_refused():
    ids = BYTE_PAIRS(["a dog"])[0]
    with pytest.raises(Unsupported, match=r"lens\.explain"):
        caption_tokens(lambda texts, context_length: ids[None], "a dog", ids)
    with pytest.raises(Unsupported, match="leaves tokens out"):
        caption_tokens(BYTE_PAIRS, "a dog", ids.flip(0))
    with pytest.raises(ValueError, match="no word in it"):
        read_pieces(BYTE_PAIRS, "\ufeff").find_in(ids.tolist())
    masked = SimpleTokenizer(reduction_mask="shuffle", context_length=8)
    caption = "one two three four five six seven eight nine ten eleven twelve"
    torch.manual_seed(0)
    shuffled = masked([caption])[0]
    with pytest.raises(Unsupported, match="leaves tokens out"):
        caption_tokens(masked, caption, shuffled)


def test_long_captions_take_no_long_time():
    caption = "a dog &amp; “a cat” " * 2_000
    found = read(BYTE_PAIRS, caption, 77)
    assert len(found.dropped) > 30_000
    assert len(shares(found, caption_parts(found))) == len(caption_parts(found))
