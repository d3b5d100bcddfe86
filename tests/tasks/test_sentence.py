"""The multimodal view: words with spans and tokens, surgery across tokens, and a word's map on the world."""

import numpy as np
import open_clip
import pytest
import torch

import clipsight
from clipsight.bench.metrics import pixel_auroc
from clipsight.errors import ClipsightWarning, Unsupported
from clipsight.scoring import feature_surgery
from clipsight.tasks.sentence import explain_sentence, sentence_words, word_maps
from clipsight.towers.open_clip_text import OpenClipText
from clipsight.world import make_scenes
from tiny import tiny_clip

TOKENIZER = open_clip.get_tokenizer("ViT-B-32")


def words(sentence: str, context: int = 77):
    return sentence_words(TOKENIZER, sentence, TOKENIZER([sentence], context_length=context)[0])


def picture_features(width: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(1, 3, 5, width, generator=random), torch.randn(1, width, generator=random)


@pytest.mark.parametrize(
    "sentence",
    [
        "a red car left of a dog",
        "  A Red   CAR,\n left of a dog!",
        "the dog's hyperparameterization ran 1234 times",
        "un élève à l'école — 狗和猫 🐶",
        "a&b STRASSE",
    ],
)
def test_spans_read_back_the_words_and_tokens_are_all_used_once(sentence):
    found = words(sentence)
    tokens = [token for word in found for token in word.tokens]
    assert tokens == list(range(1, len(TOKENIZER.encode(sentence)) + 1))
    ends = [0, *(word.span[1] for word in found)]
    for word, before in zip(found, ends, strict=False):
        start, end = word.span
        assert before <= start < end
        assert sentence[start:end] == word.text
    assert "".join(word.text for word in found) == "".join(sentence.split())


def test_words_are_what_people_call_words():
    found = words("A Hyperparameterization, twice.")
    assert [word.text for word in found] == ["A", "Hyperparameterization", ",", "twice", "."]
    assert len(found[1].tokens) > 1
    assert found[1].span == (2, 23)


def test_what_the_tokenizer_rewrites_lies_between_its_neighbours():
    found = words("salt &lt; pepper")
    assert [word.text for word in found] == ["salt", "&lt;", "pepper"]
    assert found[1].span == (5, 9)
    assert words("&lt;")[0].text == "&lt;"


def test_letters_that_grow_in_lower_case_do_not_shift_what_follows():
    found = words("İstanbul dog")
    assert found[-1].span == (9, 12)
    assert all(0 <= start < end <= 9 for start, end in (word.span for word in found[:-1]))


def test_words_beyond_the_context_are_left_out():
    found = words("one two three four five six", context=6)
    assert [word.text for word in found] == ["one", "two", "three", "four"]
    assert words("hyperparameterization", context=4) == ()


def test_the_view_is_surgery_across_the_sentences_own_tokens():
    view, (patches, pooled) = OpenClipText(tiny_clip()), picture_features()
    sentence = "a red hyperparameterization"
    made = explain_sentence(patches, pooled, view, TOKENIZER, sentence)
    ids = TOKENIZER([sentence])
    count = int(ids[0].argmax()) + 1
    with torch.no_grad():
        tokens = view.token_features(ids)[0, :count]
    maps = feature_surgery(patches, pooled, tokens)[0]
    torch.testing.assert_close(made.token_maps, maps, atol=1e-5, rtol=0)
    torch.testing.assert_close(made.token_maps.sum(0), torch.zeros(3, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(made.maps[0], maps[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(made.maps[2], maps[3:-1].mean(0), atol=1e-5, rtol=0)
    torch.testing.assert_close(made.scores, made.maps.mean((1, 2)))
    assert made.maps.shape == (3, 3, 5)
    best = made.top(2)
    assert len(best) == 2
    assert best[0][1] == pytest.approx(float(made.scores.max()))


def test_the_last_token_is_the_text_itself():
    """The end token's map is the contrast of the text as a whole."""
    model, (patches, pooled) = tiny_clip(), picture_features()
    view = OpenClipText(model)
    ids = TOKENIZER(["a red car"])
    with torch.no_grad():
        torch.testing.assert_close(
            view.token_features(ids)[0, int(ids[0].argmax())], model.encode_text(ids)[0], atol=1e-5, rtol=0
        )
    made = explain_sentence(patches, pooled, view, TOKENIZER, "a red car")
    assert made.token_maps.shape[0] == 5


def test_a_cut_sentence_warns():
    view, (patches, pooled) = OpenClipText(tiny_clip()), picture_features()
    with pytest.warns(ClipsightWarning, match="longer than"):
        made = explain_sentence(patches, pooled, view, TOKENIZER, "dog " * 100)
    assert len(made.words) == 75


def test_what_cannot_be_told_by_word_is_said():
    view, (patches, pooled) = OpenClipText(tiny_clip()), picture_features()
    with pytest.raises(ValueError, match="no word"):
        explain_sentence(patches, pooled, view, TOKENIZER, " ")
    with pytest.raises(Unsupported, match="no tokenizer"):
        explain_sentence(patches, pooled, view, None, "a dog")
    ids = TOKENIZER(["a dog"])[0]
    with pytest.raises(Unsupported, match=r"lens\.explain"):
        sentence_words(lambda texts, context_length: ids[None], "a dog", ids)
    with pytest.raises(Unsupported, match="leaves tokens out"):
        sentence_words(TOKENIZER, "a dog", ids.flip(0))


def test_word_maps_do_not_favour_words_of_many_pieces():
    found = words("hyperparameterization dog")
    maps = torch.ones(len(TOKENIZER.encode("hyperparameterization dog")) + 2, 2, 3)
    assert torch.equal(word_maps(maps, found), torch.ones(2, 2, 3))


def test_words_of_the_world_point_at_their_things():
    """The noun of a short sentence, in scenes of one thing: its map points at it and its score beats that of "photo".

    Measured on fifty scenes of each of three seeds: pointing 0.68, 0.78, 0.76; pixel AUROC only 0.58, 0.74, 0.62. Where
    two things are named, words point at theirs 60 % of the time.
    """
    lens = clipsight.load("clipsight-tiny", device="cpu")
    view = OpenClipText(lens.module)
    areas, hits, wins = [], [], []
    for scene in make_scenes(40, 7, "heldout", objects=1):
        features, thing = lens.features(lens.preprocess(scene.image)), scene.objects[0].name
        made = explain_sentence(features.patches, features.pooled, view, TOKENIZER, f"a photo of a {thing}")
        one = made.maps[-1][None, None]
        large = torch.nn.functional.interpolate(one, scene.masks.shape[1:], mode="bilinear").flatten(1)
        there = scene.masks.reshape(1, -1)
        areas.append(pixel_auroc(large.numpy(), there)[0])
        hits.append(there[0, int(large.argmax())])
        wins.append(float(made.scores[-1] - made.scores[1]) > 0)
    assert np.mean(areas) > 0.5
    assert np.mean(hits) > 0.5
    assert np.mean(wins) > 0.9
