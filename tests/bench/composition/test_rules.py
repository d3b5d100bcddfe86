"""Every rule on similarities of a test's choosing, ties included, against the definitions spelled out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clipsight.bench.composition.rules import RULES, decide, picture_recall, text_recall

SHAPES = {
    "pair_text": (1, 1, 1),
    "kway_text": (1, 1, 4),
    "pair_image": (2, 1, 0),
    "kway_image": (4, 1, 0),
    "wino": (2, 2, 0),
    "both_image": (2, 2, 0),
    "itt_tot": (1, 2, 1),
    "aug_pos": (1, 2, 1),
}


def spelled_out(rule, s, positives):
    """(won, would be won if ties were broken in favour) by metric, for one item, from the definitions."""

    def all_of(*pairs):
        return all(a > b for a, b in pairs), all(a >= b for a, b in pairs)

    if rule in ("pair_text", "kway_text"):
        return {"accuracy": all_of(*((s[0, 0], s[0, j]) for j in range(1, s.shape[1])))}
    if rule in ("pair_image", "kway_image"):
        return {"accuracy": all_of(*((s[0, 0], s[i, 0]) for i in range(1, s.shape[0])))}
    if rule in ("wino", "both_image"):
        text = ((s[0, 0], s[0, 1]), (s[1, 1], s[1, 0]))
        image = ((s[0, 0], s[1, 0]), (s[1, 1], s[0, 1]))
        return {"text": all_of(*text), "image": all_of(*image), "group": all_of(*text, *image)}
    if rule == "itt_tot":
        p1, p2, n = range(3)
        t = s[1:]
        return {
            "itt": all_of((s[0, p1], s[0, n]), (s[0, p2], s[0, n])),
            "tot": all_of((t[p1, p2], t[p1, n]), (t[p1, p2], t[p2, n])),
        }
    c, c_plus, c_minus = s[0]
    low, high = sorted((c, c_plus))
    return {
        "original": all_of((c, c_minus)),
        "augmented": all_of((min(c, c_plus), c_minus)),
        "brittle": (low < c_minus < high, low <= c_minus <= high and low < high),
    }


@pytest.mark.parametrize("rule", SHAPES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_rule_is_its_definition_ties_and_all(rule, data):
    pictures, positives, negatives = SHAPES[rule]
    texts = positives + negatives
    rows = pictures + (texts if RULES[rule].compares_texts else 0)
    # three values, so that ties are everywhere
    scores = data.draw(arrays(np.float32, (8, rows, texts), elements=st.sampled_from([0.25, 0.5, 0.75])))
    found = decide(RULES[rule], scores, positives)
    assert list(found) == list(RULES[rule].metrics)
    for index, one in enumerate(scores):
        for name, (won, favoured) in spelled_out(rule, one, positives).items():
            assert found[name].wins[index] == won, name
            assert found[name].ties[index] == (favoured and not won), name


@pytest.mark.parametrize("rule", SHAPES)
def test_chance_is_what_random_scores_win(rule, rng):
    pictures, positives, negatives = SHAPES[rule]
    texts = positives + negatives
    rows = pictures + (texts if RULES[rule].compares_texts else 0)
    scores = rng.random((40_000, rows, texts)).astype(np.float32)
    if RULES[rule].compares_texts:
        scores[:, pictures:] += scores[:, pictures:].transpose(
            0, 2, 1
        )  # texts among themselves are symmetric
    for name, outcome in decide(RULES[rule], scores, positives).items():
        chance = RULES[rule].metrics[name].chance(pictures, texts)
        assert outcome.wins.mean() == pytest.approx(chance, abs=0.01), name


def test_a_tie_is_no_win_wherever_the_right_caption_stands():
    tied = np.full((1, 1, 3), 0.5, np.float32)
    outcome = decide(RULES["kway_text"], tied, 1)["accuracy"]
    assert not outcome.wins[0]
    assert outcome.ties[0]


def test_two_wrong_captions_of_a_rewording_count_apart():
    # columns: caption, rewording, wrong beside the caption, wrong beside the rewording
    scores = np.array([[[0.5, 0.5, 0.4, 0.6]], [[0.5, 0.5, 0.6, 0.4]]], np.float32)
    found = decide(RULES["aug_pos"], scores, 2)
    assert found["original"].wins.tolist() == [True, False]
    assert found["augmented"].wins.tolist() == [False, True]


@pytest.mark.parametrize("ties", [False, True])
def test_recall_is_the_rank_with_ties_in_front(ties, rng):
    owner = np.array([0, 0, 1, 2, 2, 2])
    scores = rng.integers(0, 3 if ties else 10**6, (3, 6)).astype(np.float32)
    ranks = (1, 2, 3)
    by_picture = picture_recall(scores, owner[None] == np.arange(3)[:, None], ranks)
    by_text = text_recall(scores.T.copy(), owner, ranks)
    for k in ranks:
        for picture in range(3):
            best = max(scores[picture, owner == picture])
            foreign = scores[picture, owner != picture]
            assert by_picture[k].wins[picture] == (sum(foreign >= best) < k)
            assert by_picture[k].ties[picture] == (sum(foreign > best) < k <= sum(foreign >= best))
        for text in range(6):
            own = scores[owner[text], text]
            others = np.delete(scores[:, text], owner[text])
            assert by_text[k].wins[text] == (sum(others >= own) < k)
            assert by_text[k].ties[text] == (sum(others > own) < k <= sum(others >= own))


@pytest.mark.parametrize(
    ("rule", "shape", "said"),
    [
        ("pair_text", (1, 1, 2), "1 negative texts, got 2"),
        ("kway_text", (1, 1, 0), "1 to many negative texts, got 0"),
        ("wino", (1, 2, 0), "2 pictures, got 1"),
        ("itt_tot", (1, 1, 1), "2 positive texts, got 1"),
    ],
)
def test_a_shape_that_a_rule_does_not_take_is_named(rule, shape, said):
    assert said in RULES[rule].misfit(*shape)
    assert not RULES[rule].misfit(*SHAPES[rule])
