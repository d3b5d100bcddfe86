"""What is measured of captions: the scores that `lens.words` gives, and the same again after an interruption."""

import json
from dataclasses import fields

import numpy as np
import pytest
import torch

import clipsight
from clipsight.bench.word_gap import Corpus, CorpusOptions
from clipsight.bench.word_gap import measure as measuring
from clipsight.bench.word_gap.columns import SETUPS, choose_columns
from clipsight.bench.word_gap.corpus_measurer import CorpusMeasurer
from clipsight.bench.word_gap.measure import measure
from clipsight.bench.word_gap.part import GROUPS, MARK, MeasuredPart
from clipsight.towers.families import towers_of
from clipsight.world import make_scene
from tiny import tiny_clip
from towers.hf_tiny import save, tiny_hf

FEW = ("attention", "gradient.input", "perturbation")


@pytest.fixture(scope="module")
def lens():
    return clipsight.load("clipsight-tiny")


def columns_of(lens, names=FEW, *, pictured=True, layers=False):
    return choose_columns(towers_of(lens.module).text, names, pictured=pictured, layers=layers)[0]


def same(one: MeasuredPart, other: MeasuredPart) -> None:
    for each in fields(MeasuredPart):
        left, right = getattr(one, each.name), getattr(other, each.name)
        if isinstance(left, np.ndarray):
            np.testing.assert_allclose(left, right, rtol=1e-4, atol=2e-6, err_msg=each.name)
        else:
            assert left == right, each.name


def test_words_have_the_scores_that_lens_words_gives(lens):
    captions = list(Corpus("world:7:2"))
    columns = columns_of(lens, tuple(SETUPS))
    part = CorpusMeasurer(lens, columns).ask(captions)
    for row, one in enumerate(captions):
        mine = part.caption == row
        for place, column in enumerate(columns):
            theirs = lens.words(one.picture, one.caption, column.method, roles=one.roles, **column.options)
            words = mine & (part.role != MARK)
            np.testing.assert_allclose(
                part.scores[words, place], theirs.scores.numpy(), rtol=2e-3, atol=2e-5, err_msg=column.name
            )
            assert tuple(GROUPS[role] for role in part.role[words]) == theirs.roles
            assert tuple(word for word, own in zip(part.words, words, strict=True) if own) == tuple(
                w.text for w in theirs.words
            )
        assert part.similarity[row] == pytest.approx(theirs.similarity, abs=1e-4)


def test_falls_by_removal_are_those_of_the_changed_texts(lens):
    one = next(caption for caption in Corpus("world:101:3") if len(set(caption.roles.roles) - {"other"}) == 3)
    part = CorpusMeasurer(lens, columns_of(lens)).ask([one])
    picture = lens.encode_image(lens.preprocess(one.picture, "square"))

    def cosine(text: str) -> float:
        return float(torch.cosine_similarity(picture, lens.encode_text([text])))

    for place, roles in enumerate([("object",), ("attribute",), ("relation",), ("attribute", "relation")]):
        gone = one.roles.numbers(*roles)
        kept = " ".join(word.text for number, word in enumerate(one.roles.words) if number not in gone)
        assert not set(".,") & set(one.caption)  # else the marks would be missing
        assert part.removed[0, place] == pytest.approx(cosine(one.caption) - cosine(kept), abs=2e-5)
    bare = CorpusMeasurer(lens, columns_of(lens)).ask([one for one in Corpus("world:101:1")][:1])
    assert np.isnan(bare.removed[0, 2])  # it has no relation to remove


def test_foils_fall_by_the_difference_of_cosines(lens):
    captions = [one for one in Corpus("world:101:3") if one.foils]
    part = CorpusMeasurer(lens, columns_of(lens, ["attention"])).ask(captions)
    assert len(part.foil_kinds) == sum(len(one.foils) for one in captions)
    scene = make_scene(0, 101)
    picture = lens.encode_image(lens.preprocess(scene.image, "square"))
    for drop, foil in zip(part.foil_drops, scene.foils, strict=False):
        cosines = torch.cosine_similarity(picture, lens.encode_text([foil.caption, foil.foil]))
        assert drop == pytest.approx(float(cosines[0] - cosines[1]), abs=2e-5)


def test_positions_pieces_and_marks(lens, tmp_path):
    file = tmp_path / "captions.txt"
    file.write_text("A scratched scooter, left.\nunforeseeable\n")
    part = CorpusMeasurer(lens, columns_of(lens, ["attention"], pictured=False)).ask(list(Corpus(str(file))))
    assert part.words == ("A", "scratched", "scooter", ",", "left", ".", "unforeseeable")
    assert [GROUPS[role] == "mark" for role in part.role] == [False, False, False, True, False, True, False]
    assert part.position[[0, 1, 2, 4]].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert part.position[6] == 0
    assert part.pieces[6] > 1
    assert part.pieces[0] == 1


def test_captions_alone_are_asked_what_needs_no_picture(lens):
    corpus = Corpus("world:3:3", CorpusOptions(pictures=False))
    columns, left_out = choose_columns(towers_of(lens.module).text, pictured=corpus.pictured, layers=False)
    assert {column.name for column in columns} == {
        "attention", "attention.all", "attention.rollout", "perturbation", "perturbation.drop",
    }  # fmt: skip
    assert "captions alone" in left_out["gradcam"]
    part = CorpusMeasurer(lens, columns).ask(list(corpus))
    assert np.isnan(part.similarity).all()
    foil = make_scene(0, 3).foils[0]
    features = lens.encode_text([foil.caption, foil.foil])
    assert part.foil_drops[0] == pytest.approx(
        1 - float(torch.cosine_similarity(*features[:, None])), abs=2e-5
    )


def test_layers_are_columns_of_their_own(lens):
    columns = columns_of(lens, ["attention", "legrad"], layers=True)
    assert [(column.name, column.layer) for column in columns] == [
        ("attention", None), ("attention", 0), ("attention", 1), ("attention", 2), ("attention", 3), ("legrad", None),
    ]  # fmt: skip
    part = CorpusMeasurer(lens, columns).ask(list(Corpus("world:3:2")))
    np.testing.assert_allclose(part.scores[:, 0], part.scores[:, 4])  # "last" is the last block
    assert np.abs(part.scores[:, 1] - part.scores[:, 4]).max() > 0.01
    with pytest.raises(ValueError, match="attention"):
        columns_of(lens, ["atention"])


def test_batches_make_no_difference(lens):
    captions = list(Corpus("world:5:6"))
    columns = columns_of(lens)
    same(
        CorpusMeasurer(lens, columns, batch=3).ask(captions),
        CorpusMeasurer(lens, columns, batch=64).ask(captions),
    )


def test_an_interrupted_run_goes_on_and_gives_the_same(lens, tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "PART", 4)
    corpus, columns = Corpus("world:5:6"), columns_of(lens)
    whole = measure(lens, corpus, columns)
    asked = []
    ask = CorpusMeasurer.ask

    def counted(self, captions):
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(len(captions))
        return ask(self, captions)

    monkeypatch.setattr(CorpusMeasurer, "ask", counted)
    with pytest.raises(KeyboardInterrupt):
        measure(lens, corpus, columns, folder=tmp_path)
    monkeypatch.setattr(CorpusMeasurer, "ask", ask)
    done = []
    resumed = measure(
        lens,
        corpus,
        columns,
        folder=tmp_path,
        label="tiny",
        about=12,
        progress=lambda *told: done.append(told),
    )
    assert resumed.kept == 2
    assert done[0] == ("tiny", 4, 12)
    for one, other in zip(whole.parts(), resumed.parts(), strict=True):
        same(one, other)
    assert measure(lens, corpus, columns, folder=tmp_path).kept == len(done)


def test_what_was_measured_otherwise_is_measured_anew(lens, tmp_path):
    columns = columns_of(lens, ["attention"])
    assert measure(lens, Corpus("world:5:3"), columns, folder=tmp_path).kept == 0
    assert measure(lens, Corpus("world:5:3"), columns, folder=tmp_path).kept == 1
    assert measure(lens, Corpus("world:6:3"), columns, folder=tmp_path).kept == 0
    assert measure(lens, Corpus("world:6:3"), columns_of(lens), folder=tmp_path).kept == 0
    other = clipsight.load(tiny_clip(1))
    assert measure(other, Corpus("world:6:3"), columns_of(other, ["attention"]), folder=tmp_path).kept == 0
    for file in tmp_path.glob("*.npz"):
        file.write_bytes(file.read_bytes()[:200])
    assert measure(lens, Corpus("world:6:3"), columns_of(lens), folder=tmp_path).kept == 0


def test_a_part_that_vanishes_while_it_is_needed_is_named(lens, tmp_path):
    measured = measure(lens, Corpus("world:5:1"), columns_of(lens, ["attention"]), folder=tmp_path)
    (file,) = tmp_path.glob("*.npz")
    file.unlink()
    with pytest.raises(FileNotFoundError, match=file.name):
        list(measured.parts())


def test_pictures_that_cannot_be_read_are_left_out_and_named(lens, tmp_path):
    make_scene(0).image.save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    file = tmp_path / "pairs.jsonl"
    rows = [{"image": f"{name}.png", "caption": "a red car"} for name in ("good", "bad", "gone")] + [
        {"image": "good.png"}
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    for _ in range(2):  # measured, and found again
        measured = measure(lens, Corpus(str(file)), columns_of(lens), folder=tmp_path / "parts")
        assert (measured.captions, measured.malformed) == (1, 3)
        assert [line.split(": ")[0] for line in measured.named] == [f"pairs.jsonl:{n}" for n in (4, 2, 3)]
    assert measured.kept == 1
    file.write_text(json.dumps(rows[1]))
    nothing = measure(lens, Corpus(str(file)), columns_of(lens))
    assert (nothing.captions, nothing.malformed) == (0, 1)


def test_captions_that_are_cut_are_counted(lens, tmp_path):
    file = tmp_path / "captions.txt"
    file.write_text("a dog " * 60 + "and a red car\na dog\n")
    measured = measure(lens, Corpus(str(file)), columns_of(lens, ["attention"], pictured=False))
    assert (measured.captions, measured.cut) == (2, 1)
    (part,) = measured.parts()
    assert "car" not in part.words


def test_towers_that_read_padding_are_told_what_fills_a_shortened_text(tmp_path):
    pytest.importorskip("transformers")
    pytest.importorskip("sentencepiece")
    lens = clipsight.load(f"hf:{save(tiny_hf('siglip'), tmp_path)}")
    file = tmp_path / "captions.txt"
    file.write_text(
        "a red car left of a dog\n" + "a red dog and " * 20 + "\n"
    )  # the second fills the context
    columns = columns_of(lens, ["perturbation.drop", "attention"], pictured=False)
    measured = measure(lens, Corpus(str(file)), columns)
    (part,) = measured.parts()
    assert measured.cut > 0
    assert np.isfinite(part.scores).all()
    assert (part.scores[:, 0] > 0).any()
