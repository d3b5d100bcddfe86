"""What is refused, what is cut, and that a cut is said."""

import open_clip
import pytest
import torch

from clipsight.errors import ClipsightWarning, Unsupported
from clipsight.language.tokens import check_texts, dropped_tails, tokenize

CONTEXT = 16


@pytest.fixture(scope="module")
def tokenizer():
    return open_clip.SimpleTokenizer(context_length=CONTEXT)


def test_texts_as_they_are(tokenizer):
    assert check_texts(["a dog", "a dog"], tokenizer) == ("a dog", "a dog")


@pytest.mark.parametrize(
    ("texts", "error", "says"),
    [
        ([], ValueError, "at least one"),
        ("a dog", TypeError, r"\['a dog'\]"),
        (["a dog", 3], TypeError, "text 1 is a int|Type-check"),  # the tests' own type check may come first
        (["a dog", ""], ValueError, "text 1 is ''"),
        (["\t \n", "a dog"], ValueError, "text 0"),
        (["\u3000\u00a0"], ValueError, "text 0"),
        (["a dog", "\x00\x01"], ValueError, r"finds nothing in the text '\\x00\\x01'"),
        (["half \ud83d"], ValueError, "surrogate"),
    ],
)
def test_texts_that_are_refused(tokenizer, texts, error, says):
    with pytest.raises(error, match=says):
        check_texts(texts, tokenizer)


@pytest.mark.parametrize(
    "text", ["一只狗", "собака", "كلب", "🐶 on a 🛹", "e\u0301", "a\x00dog\x1b[0m", "a\u200bdog"]
)
def test_other_scripts_emoji_and_control_characters_have_tokens(tokenizer, text):
    assert check_texts([text], tokenizer) == (text,)
    ids = tokenize(tokenizer, [text], CONTEXT)
    assert ids.shape == (1, CONTEXT)
    assert ids[0, 0] == tokenizer.sot_token_id
    assert (ids[0] == tokenizer.eot_token_id).sum() == 1
    assert (ids[0] > 0).sum() > 2


def test_long_text_keeps_its_end_token_and_says_what_it_lost(tokenizer):
    words = " ".join(["dog"] * (CONTEXT - 2))
    with pytest.warns(ClipsightWarning, match="dropped: 'cat mouse'") as said:
        ids = tokenize(tokenizer, ["a dog", f"{words} cat mouse"], CONTEXT)
    assert len(said) == 1
    assert ids[1, -1] == tokenizer.eot_token_id
    assert torch.equal(ids[1], tokenize(tokenizer, [words], CONTEXT)[0])  # just full: no warning
    assert dropped_tails(tokenizer, ["a dog", f"{words} cat mouse", words], CONTEXT) == ("", "cat mouse", "")


def test_several_long_texts_make_one_warning(tokenizer):
    with pytest.warns(ClipsightWarning, match=r"\(and 2 more\)") as said:
        tokenize(tokenizer, ["dog " * 20] * 3, CONTEXT)
    assert len(said) == 1


def test_wrapped_tokenizers_are_asked_themselves():
    class Inner:
        pad_token_id = 1

        def __call__(self, text, truncation):
            assert not truncation
            return {"input_ids": [0, *range(10, 10 + len(text.split())), 2]}

        def decode(self, ids):
            return " ".join(map(str, ids))

    class Outer:
        tokenizer = Inner()

        def __call__(self, texts, context_length):
            rows = [self.tokenizer(text, truncation=False)["input_ids"] for text in texts]
            cut = [row if len(row) <= context_length else [*row[: context_length - 1], 2] for row in rows]
            return torch.tensor([row + [1] * (context_length - len(row)) for row in cut])

    assert dropped_tails(Outer(), ["a b", "a b c", "a b c d e"], 5) == ("", "", "13 14")


def test_no_tokenizer(tokenizer):
    with pytest.raises(Unsupported, match="token ids"):
        tokenize(None, ["a dog"], CONTEXT)
