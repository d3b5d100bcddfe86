"""The multimodal view: surgery across a sentence's own tokens, words of any tokenizer, files, and maps on the world."""

import json

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

import clipsight
from clipsight.bench.metrics import pixel_auroc
from clipsight.errors import ClipsightWarning, Unsupported
from clipsight.language.reading import read_captions
from clipsight.results import SentenceView
from clipsight.scoring import feature_surgery
from clipsight.tasks.sentence import token_maps, word_maps
from clipsight.towers.open_clip_text import OpenClipText
from clipsight.world import make_scene, make_scenes
from tiny import tiny_clip

TOKENIZER = open_clip.get_tokenizer("ViT-B-32")
SENTENCE = "A red hyperparameterization, twice."


@pytest.fixture(scope="module")
def lens():
    return clipsight.load(tiny_clip(), device="cpu")


@pytest.fixture(scope="module")
def picture():
    return make_scene(3, size=64).image


def read(sentence: str, context: int = 77):
    return read_captions(TOKENIZER, [sentence], context).each[0]


def test_the_view_is_surgery_across_the_sentences_own_tokens():
    view, random = OpenClipText(tiny_clip()), torch.Generator().manual_seed(0)
    patches, pooled = torch.randn(1, 3, 5, 32, generator=random), torch.randn(1, 32, generator=random)
    sentence = "a red hyperparameterization"
    ids = TOKENIZER([sentence])
    count = int(ids[0].argmax()) + 1
    with torch.no_grad():
        tokens = view.token_features(ids)[0, :count]
    expected = feature_surgery(patches, pooled, tokens)[0]
    one = read(sentence)
    matrix = token_maps(patches, pooled, view, one)
    torch.testing.assert_close(matrix, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(matrix.sum(0), torch.zeros(3, 5), atol=1e-5, rtol=0)
    maps = word_maps(matrix, one.table)
    torch.testing.assert_close(maps[0], matrix[1])
    torch.testing.assert_close(maps[2], matrix[3:-1].mean(0))


def test_word_maps_do_not_favour_words_of_many_pieces():
    one = read("hyperparameterization dog")
    assert len(one.groups[0]) > 1
    torch.testing.assert_close(word_maps(torch.ones(one.used, 2, 3), one.table), torch.ones(2, 2, 3))


def test_words_of_a_sentence_are_those_of_a_caption(lens, picture):
    seen = lens.see(picture)
    view, words = seen.sentence(SENTENCE), seen.words(SENTENCE)
    assert [word.text for word in view.words] == ["A", "red", "hyperparameterization", ",", "twice", "."]
    assert [one.text for one in view.words if one.kind == "word"] == [one.text for one in words.words]
    for one in view.words:
        assert SENTENCE[slice(*one.span)] == one.text
    assert view.matrix.shape == (len(view.tokens), 4, 4)
    assert sorted(at for one in view.words for at in one.tokens) == list(range(1, len(view.tokens) - 1))
    torch.testing.assert_close(view["red"], view.matrix[2])
    torch.testing.assert_close(view.scores, view.maps.mean((1, 2)))
    best = view.top(2)
    assert len(best) == 2
    assert best[0][1] == pytest.approx(float(view.scores.max()))
    assert view.provenance.method == "clip_surgery"
    with pytest.raises(KeyError, match="'blue' is no word"):
        view["blue"]


def test_any_tokenizer_that_knows_its_words_will_do(picture):
    """WordPiece splits otherwise and has other ids; nothing but its offsets is asked of it."""
    tokenizers = pytest.importorskip("tokenizers", reason="transformers is not installed")
    transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "dog", "##gy", ",", "on", "grass"]
    inner = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({name: k for k, name in enumerate(names)}, unk_token="[UNK]")
    )
    inner.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    from clipsight.language.hf_tokenizers import HfTokenizer

    one = read_captions(HfTokenizer(fast, 12), ["a red doggy, on grass"], 12).each[0]
    assert [word.text for word, _ in one.words] == ["a", "red", "doggy", "on", "grass"]
    assert one.words[2][1] == [3, 4]
    random = torch.Generator().manual_seed(0)
    patches, pooled = torch.randn(1, 2, 2, 32, generator=random), torch.randn(1, 32, generator=random)
    matrix = token_maps(patches, pooled, OpenClipText(tiny_clip()), one)
    torch.testing.assert_close(word_maps(matrix, one.table)[2], matrix[3:5].mean(0))


def test_a_view_is_drawn_and_kept(lens, picture, tmp_path):
    made = lens.sentence(picture, SENTENCE)
    for suffix in ("png", "npz", "json", "html"):
        made.save(tmp_path / f"view.{suffix}")
    again = SentenceView.load(tmp_path / "view.npz")
    assert torch.equal(again.matrix, made.matrix)
    assert torch.equal(again.maps, made.maps)
    assert (again.words, again.tokens, again.sentence) == (made.words, made.tokens, made.sentence)
    assert again.provenance == made.provenance
    data = json.loads((tmp_path / "view.json").read_text())
    np.testing.assert_array_equal(np.float32(data["matrix"]), made.matrix.numpy())
    with Image.open(tmp_path / "view.png") as drawn:
        assert drawn.size[0] > 300
    assert "hyperparameterization" in (tmp_path / "view.html").read_text()
    assert made.overlay("red").size == (64, 64)
    assert "SentenceView('A red" in repr(made)
    with pytest.raises(FileExistsError):
        made.save(tmp_path / "view.png")
    with pytest.raises(ValueError, match="suffix"):
        made.save(tmp_path / "view.txt")


def test_a_cut_sentence_warns(lens, picture):
    with pytest.warns(ClipsightWarning, match="longer than"):
        made = lens.sentence(picture, "dog " * 100)
    assert len(made.words) == 75


def test_what_cannot_be_told_by_word_is_said(picture):
    with pytest.raises(ValueError, match="no word"):
        clipsight.load(tiny_clip(), device="cpu").sentence(picture, " ")
    wordless = clipsight.load(tiny_clip(text={"vocab_size": 100}), device="cpu")
    with pytest.raises(Unsupported, match="no tokenizer"):
        wordless.sentence(picture, "a dog")


def test_words_of_the_world_point_at_their_things():
    """The noun of a short sentence, in scenes of one thing: its map points at it and its score beats that of "photo".

    Measured on fifty scenes of each of three seeds: pointing 0.68, 0.78, 0.76; pixel AUROC only 0.58, 0.74, 0.62. Where
    two things are named, words point at theirs 60 % of the time.
    """
    lens = clipsight.load("clipsight-tiny", device="cpu")
    areas, hits, wins = [], [], []
    for scene in make_scenes(40, 7, "heldout", objects=1):
        thing = scene.objects[0].name
        made = lens.sentence(scene.image, f"a photo of a {thing}")
        one = made.maps[-1][None, None]
        large = torch.nn.functional.interpolate(one, scene.masks.shape[1:], mode="bilinear").flatten(1)
        there = scene.masks.reshape(1, -1)
        areas.append(pixel_auroc(large.numpy(), there)[0])
        hits.append(there[0, int(large.argmax())])
        wins.append(float(made.scores[-1] - made.scores[1]) > 0)
    assert np.mean(areas) > 0.5
    assert np.mean(hits) > 0.5
    assert np.mean(wins) > 0.9
