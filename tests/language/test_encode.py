"""Text features: equal to the library's, ensembles by their definition."""

import open_clip
import pytest
import torch

from clipsight.errors import Unsupported
from clipsight.language.prompts import TEMPLATE_SETS
from clipsight.towers.encode_texts import encode_empty, encode_ids, encode_texts
from clipsight.towers.open_clip_text import OpenClipText
from tiny import tiny_clip

NAMES = ["dog", "tennis ball", "red car", "dog", "🐶"]


@pytest.fixture(scope="module")
def model():
    return tiny_clip(seed=5)


@pytest.fixture(scope="module")
def view(model):
    return OpenClipText(model)


@pytest.fixture(scope="module")
def tokenizer():
    return open_clip.SimpleTokenizer(context_length=77)


@pytest.mark.parametrize("batch", [1, 2, 512])
def test_texts_as_given(model, view, tokenizer, batch):
    with torch.no_grad():
        expected = model.encode_text(tokenizer(NAMES))
    torch.testing.assert_close(encode_texts(view, tokenizer, NAMES, batch=batch), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("templates", ["CS85", ("a {}.", "{}"), "my {}"])
def test_ensembles_by_definition(model, view, tokenizer, templates):
    chosen = (
        TEMPLATE_SETS["CS85"]
        if templates == "CS85"
        else (templates,)
        if isinstance(templates, str)
        else templates
    )
    prototypes = []
    with torch.no_grad():
        for name in NAMES:
            features = model.encode_text(tokenizer([template.replace("{}", name) for template in chosen]))
            prototypes.append((features / features.norm(dim=-1, keepdim=True)).mean(dim=0))
    made = encode_texts(view, tokenizer, NAMES, templates)
    torch.testing.assert_close(made, torch.stack(prototypes), atol=1e-5, rtol=0)
    assert not made.requires_grad


def test_many_names_in_parts(view, tokenizer, monkeypatch):
    whole = encode_texts(view, tokenizer, NAMES, "IN7")
    monkeypatch.setattr("clipsight.towers.encode_texts._PROMPTS_HELD", 15)
    torch.testing.assert_close(encode_texts(view, tokenizer, NAMES, "IN7", batch=3), whole, atol=1e-5, rtol=0)


def test_empty_prototype(model, view, tokenizer):
    with torch.no_grad():
        plain = model.encode_text(tokenizer([""]))
        features = model.encode_text(tokenizer(["a photo of a .", "art of the ."]))
    torch.testing.assert_close(encode_empty(view, tokenizer), plain, atol=1e-5, rtol=0)
    expected = (features / features.norm(dim=-1, keepdim=True)).mean(dim=0, keepdim=True)
    made = encode_empty(view, tokenizer, ("a photo of a {}.", "art of the {}."))
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=0)


def test_ids(model, view, tokenizer):
    ids = tokenizer(NAMES)
    with torch.no_grad():
        expected = model.encode_text(ids)
    torch.testing.assert_close(encode_ids(view, ids, batch=2), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(encode_ids(view, ids[:, :12].int(), "cpu"), expected, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="no token ids"):
        encode_ids(view, ids[:0])


def test_what_is_refused(view, tokenizer):
    with pytest.raises(ValueError, match="text 1"):
        encode_texts(view, tokenizer, ["dog", " "])
    with pytest.raises(TypeError, match="list"):
        encode_texts(view, tokenizer, "dog")
    with pytest.raises(Unsupported, match="tokenizer"):
        encode_texts(view, None, ["dog"])
    with pytest.raises(ValueError, match="IN80"):
        encode_texts(view, tokenizer, ["dog"], "IN8")
