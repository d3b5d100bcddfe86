"""Measures of faithfulness: their definitions, golden numbers, and that a faithful attribution beats a bad one."""

import copy

import numpy as np
import open_clip
import pytest
import torch
from torch.nn import functional as F

import clipsight
from attribution.small import FAMILIES, family, picture
from clipsight.attribution import attribute
from clipsight.attribution.faithfulness import (
    BINS,
    Game,
    area,
    chance,
    comprehensiveness,
    deletion_curve,
    faithfulness,
    insertion_curve,
    kendall,
    leave_one_out,
    leave_one_out_agreement,
    plausibility,
    spearman,
    sufficiency,
    word_game,
)
from clipsight.attribution.randomised import randomised_text
from clipsight.errors import Unsupported
from clipsight.session.word_sanity import SUSPICIOUS
from clipsight.towers.open_clip_text import OpenClipText
from clipsight.world import make_scenes
from tiny import past_type_checks, tiny_clip

TOKENIZER = open_clip.get_tokenizer("ViT-B-32")
WEIGHTS = torch.tensor([0.1, 0.4, 0.2, 0.3])


def additive(weights: torch.Tensor = WEIGHTS) -> Game:
    """A bag of words: the match is the sum of what is there."""
    return Game(
        value=lambda there: there.float() @ weights, words=len(weights), removal="zero", measure="sum"
    )


def test_the_area_of_the_reference_note():
    assert area(torch.tensor([1, 0.7, 0.5, 0.4, 0.35])) == pytest.approx(0.56875)
    assert np.isnan(area(torch.tensor([1.0])))


def test_curves_take_the_highest_words_first():
    assert deletion_curve(WEIGHTS, additive()).tolist() == pytest.approx([1, 0.6, 0.3, 0.1, 0])
    assert insertion_curve(WEIGHTS, additive()).tolist() == pytest.approx([0, 0.4, 0.7, 0.9, 1])
    equal = torch.zeros(4)  # the order of the caption
    assert deletion_curve(equal, additive()).tolist() == pytest.approx([1, 0.9, 0.5, 0.3, 0])


def test_bins_take_at_least_a_word_and_equal_ones_count_once():
    """Of four words the bins of 1, 5, 10 and 20 % are one word, that of 50 % two."""
    assert comprehensiveness(WEIGHTS, additive()) == pytest.approx((0.4 + 0.7) / 2)
    assert sufficiency(WEIGHTS, additive()) == pytest.approx((0.6 + 0.3) / 2)
    assert comprehensiveness(WEIGHTS, additive(), bins=(1.0,)) == pytest.approx(1)
    assert BINS == (0.01, 0.05, 0.1, 0.2, 0.5)


def test_true_weights_are_the_most_faithful_of_all_orders():
    game = additive()
    best = faithfulness(WEIGHTS, game)
    assert best.leave_one_out == pytest.approx(1)
    assert (best.removal, best.measure, best.words) == ("zero", "sum", 4)
    assert best.reversed_deletion > best.deletion
    for other in chance(game, 30, seed=3):
        assert other.deletion >= best.deletion - 1e-6
        assert other.insertion <= best.insertion + 1e-6
        assert other.comprehensiveness <= best.comprehensiveness + 1e-6
        assert other.sufficiency >= best.sufficiency - 1e-6
    assert faithfulness(-WEIGHTS, game).leave_one_out == pytest.approx(-1)
    assert "removal zero" in best.line()
    assert best.to_dict()["insertion"] == best.insertion


def test_leave_one_out_is_what_each_word_adds_to_the_others():
    both = Game(value=lambda there: there.all(-1).float(), words=3, removal="zero", measure="all or nothing")
    assert leave_one_out(both).tolist() == [1, 1, 1]
    assert np.isnan(leave_one_out_agreement(torch.tensor([1.0, 2, 3]), both))
    torch.testing.assert_close(leave_one_out(additive()), WEIGHTS)


def test_rank_correlations():
    a = torch.tensor([1.0, 2, 3, 4])
    assert kendall(a, a.exp()) == spearman(a, a.exp()) == pytest.approx(1)
    assert kendall(a, torch.tensor([1.0, 3, 2, 4])) == pytest.approx(4 / 6)
    assert spearman(a, torch.tensor([1.0, 3, 2, 4])) == pytest.approx(0.8)
    assert np.isnan(kendall(a, torch.ones(4)))
    assert np.isnan(spearman(a[:1], a[:1]))


def test_plausibility_finds_the_words_that_decide():
    decisive = torch.tensor([False, True, False, True])
    found = plausibility(WEIGHTS, decisive)
    assert (found.auprc, found.f1, found.iou, found.chance) == pytest.approx((1, 1, 1, 0.5))
    half = plausibility(torch.tensor([0.9, 0.8, 0.1, 0.2]), decisive)
    assert (half.f1, half.iou) == pytest.approx((0.5, 1 / 3))
    with pytest.raises(ValueError, match="at least one that decides"):
        plausibility(WEIGHTS, torch.zeros(4, dtype=torch.bool))


def test_scores_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="caption of 4 words"):
        faithfulness(WEIGHTS[:3], additive())
    with pytest.raises(ValueError, match="1 of them not finite"):
        faithfulness(torch.tensor([0.1, torch.nan, 0.2, 0.3]), additive())


# the game of a text tower


def tower(seed: int = 0):
    view = OpenClipText(tiny_clip(seed))
    ids = TOKENIZER(["a red hyperparameterization"])
    words = [[1], [2], list(range(3, int(ids.argmax())))]
    return view, ids, words, picture(view)


def matching(view, ids) -> torch.Tensor:
    """A picture that fits the caption: shares of a similarity above zero."""
    with torch.no_grad():
        return view.encode(ids)[0] + 0.1 * picture(view)


def test_dropped_words_are_the_shorter_caption():
    view, ids, words, _ = tower()
    image = matching(view, ids)
    game = word_game(view, ids, image, words, removal="drop")
    assert (game.removal, game.words) == ("drop", 3)
    there = torch.tensor([[True, True, True], [False, True, True], [True, False, False]])
    texts = TOKENIZER(["a red hyperparameterization", "red hyperparameterization", "a"])
    with torch.no_grad():
        cosines = F.normalize(view.encode(texts), dim=-1) @ F.normalize(image, dim=-1)
    torch.testing.assert_close(game.value(there), cosines / cosines[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("removal", ["zero_emb", "mask_token", "drop", "key_block"])
@pytest.mark.parametrize("name", list(FAMILIES))
def test_leave_one_out_of_the_game_is_perturbation(name, removal):
    _, view, ids = family(name)
    row = ids[1:2] if name == "clip" else ids[2:3]
    content = attribute(view, ids, method="perturbation", op="mask_token").content
    places = content[1 if name == "clip" else 2].nonzero().flatten().tolist()
    game = word_game(view, row, picture(view), [[place] for place in places], removal=removal)
    scores = attribute(view, row, picture(view), method="perturbation", op=removal)
    drops = scores.scores[0, places]
    share = 1.0 if "as it is" in game.measure else float(scores.similarity)
    torch.testing.assert_close(leave_one_out(game) * share, drops, atol=2e-5, rtol=0)
    assert ("as it is" in game.measure) == (float(scores.similarity) <= 0)


def test_with_candidates_the_match_is_a_probability():
    view, ids, words, image = tower()
    candidates = picture(view, 5)[None].repeat(3, 1) + torch.randn(
        3, view.embed_dim, generator=torch.Generator().manual_seed(1)
    )
    game = word_game(view, ids, image, words, candidates=candidates, scale=10.0)
    assert game.measure == "probability among 4 captions"
    with torch.no_grad():
        cosines = F.normalize(torch.cat([view.encode(ids), candidates]), dim=-1) @ F.normalize(image, dim=-1)
    expected = (10 * cosines).softmax(0)[0]
    assert float(game.value(torch.ones(1, 3, dtype=torch.bool))) == pytest.approx(float(expected), abs=1e-5)


def test_games_that_cannot_be_played_are_refused():
    view, ids, _, image = tower()
    with pytest.raises(ValueError, match="no words"):
        word_game(view, ids, image, [])
    with pytest.raises(ValueError, match="where no word is"):
        word_game(view, ids, image, [[0]])
    with past_type_checks(), pytest.raises(ValueError, match="op is 'burn'"):
        word_game(view, ids, image, [[1]], removal="burn")  # pyright: ignore[reportArgumentType]


# towers that have learnt nothing


@pytest.mark.parametrize("name", ["clip", "class token", "transformers SigLIP"])
def test_randomised_towers_leave_the_model_as_found(name):
    module, view, ids = family(name)
    before = copy.deepcopy(module.state_dict())
    with torch.no_grad():
        plain = view.encode(ids)
        one, two, other = (randomised_text(module, seed).encode(ids) for seed in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.allclose(one, other, atol=1e-3)
    assert not torch.allclose(one, plain, atol=1e-3)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_only_the_last_blocks_are_drawn_if_asked():
    module = tiny_clip()
    drawn = randomised_text(module, blocks=1)
    own = OpenClipText(module)
    x = torch.randn(1, 5, own.width)
    assert torch.equal(drawn.blocks[1](x), own.blocks[1](x))
    assert not torch.allclose(drawn.blocks[2](x), own.blocks[2](x), atol=1e-3)
    assert torch.equal(drawn.embed(TOKENIZER(["a dog"])), own.embed(TOKENIZER(["a dog"])))
    with pytest.raises(ValueError, match="1 to 3"):
        randomised_text(module, blocks=9)


# the world


@pytest.fixture(scope="module")
def lens():
    return clipsight.load("clipsight-tiny", device="cpu")


def test_a_faithful_attribution_beats_chance_on_the_world(lens):
    """Leaving words out foretells what becomes of the match; scores drawn at random do not.

    Measured on 24 captions of each of three seeds, with removal "drop", which is not the operator of the scores: mean
    insertion minus deletion 0.45, 0.47 and 0.43 for perturbation, 0.01, 0.06 and 0.01 for drawn scores.
    """
    gains, drawn = [], []
    for number, scene in enumerate(make_scenes(16, 11, "heldout", objects=2)):
        seen = lens.see(scene.image)
        w = seen.words(scene.captions[0].text, "perturbation")
        found = seen.faithfulness(w, "drop")
        gains.append(found.insertion - found.deletion)
        random = torch.rand(len(w), generator=torch.Generator().manual_seed(number))
        words = tuple(
            type(word)(**{**vars(word), "score": float(s)}) for word, s in zip(w.words, random, strict=True)
        )
        chosen = seen.faithfulness(type(w)(**{**vars(w), "words": words}), "drop")
        drawn.append(chosen.insertion - chosen.deletion)
    assert np.mean(gains) > 0.3
    assert abs(np.mean(drawn)) < 0.15


def test_words_that_differ_from_the_foil_are_found_in_the_world(lens):
    """Gold without labels: the words that a caption has and its foil has not.

    A contrast takes away what both share, so this tests that it does its work, not that the model reads these words.
    Measured on the replaced words of 40 scenes of each of three seeds: mean average precision of contrastive
    perturbation 0.78, 0.77 and 0.77; the share of such words, which is what scores that say nothing get, is 0.12.
    """
    found, base = [], []
    for scene in make_scenes(25, 12, "heldout", objects=2):
        seen = lens.see(scene.image)
        for foil in scene.foils:
            if foil.kind not in ("replace_obj", "replace_att"):
                continue
            w = seen.words(foil.caption, "perturbation", foil.foil, roles=None)
            theirs = foil.foil.split()
            decisive = torch.tensor([word.text not in " ".join(theirs) for word in w.words])
            if not decisive.any():
                continue
            score = plausibility(w.scores, decisive)
            found.append(score.auprc)
            base.append(score.chance)
    assert len(found) > 25
    assert np.mean(found) > np.mean(base) + 0.5


def test_scores_of_the_bundled_model_depend_on_its_weights(lens):
    """The sanity check of the command line, over captions: far from what would be called suspicious.

    Measured on six captions of each of two seeds: mean rank correlation with random towers -0.15 and -0.08.
    """
    found = []
    for scene in make_scenes(6, 13, "heldout", objects=3):
        w = lens.words(scene.image, scene.captions[0].text, "perturbation", check=True)
        found.append(w.checks["rank correlation with random towers"])
    assert np.nanmean(found) < SUSPICIOUS / 2


def test_a_tower_that_shows_nothing_plays_by_ids_alone():
    class Whole:
        """A tower that only encodes."""

        embed_dim, device = 32, torch.device("cpu")
        causal = cuttable = False

        def parts(self):
            raise Unsupported("whole texts alone")

        def encode(self, ids):
            return F.one_hot(ids, 64).float().sum(1) @ torch.randn(
                64, 32, generator=torch.Generator().manual_seed(0)
            )

    ids, content = torch.tensor([[9, 5, 6, 1, 1]]), torch.tensor([[False, True, True, False, False]])
    with past_type_checks():
        with pytest.raises(Unsupported, match="mask_token"):
            word_game(Whole(), ids, torch.ones(32), [[1], [2]], content=content)  # pyright: ignore
        game = word_game(
            Whole(),  # pyright: ignore
            ids,
            torch.ones(32),
            [[1], [2]],
            content=content,
            removal="mask_token",
        )
    assert game.value(torch.tensor([[True, True], [True, False]])).shape == (2,)
