"""Interactions: words, phrases and regions of one matrix; sums that stay; files that give back what was saved."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from clipsight.results import Interaction, Provenance, WordScore

CAPTION = "a red car and a reddish dog."
WORDS = ((0, 1), (2, 5), (6, 9), (10, 13), (14, 15), (16, 23), (24, 27))
ROLES = ("other", "attribute", "object", "other", "other", "attribute", "object")


def provenance(grid: tuple[int, int]) -> Provenance:
    return Provenance(
        model="m", pretrained=None, fingerprint="f", method="exact", settings={"unit": "share of the cosine"},
        templates=(), contrast="none", contrast_texts=(), grid=grid, size=(32, 48), versions={},
    )  # fmt: skip


@pytest.fixture
def found() -> Interaction:
    """Nine tokens on a 2 × 3 grid: "reddish" is two of them, the full stop one."""
    draw = torch.Generator().manual_seed(3)
    matrix = torch.randn(9, 2, 3, generator=draw) / 50
    owners = (0, 1, 2, 3, 4, 5, 5, 6, None)
    table = torch.zeros(7, 9)
    for token, word in enumerate(owners):
        if word is not None:
            table[word, token] = 1
    totals = table @ matrix.sum((1, 2))
    words = [
        WordScore(
            text=CAPTION[a:b], start=a, end=b, score=float(total), role=role,
            tokens=tuple(table[k].nonzero().flatten().tolist()),
        )
        for k, ((a, b), role, total) in enumerate(zip(WORDS, ROLES, totals, strict=True))
    ]  # fmt: skip
    mark = WordScore(text=".", start=27, end=28, score=float(matrix[8].sum()), tokens=(8,))
    rest = {"class token": 0.01, "image networks": 0.2, "constants": -0.03}
    return Interaction(
        image=np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8),
        caption=CAPTION,
        tokens=("a", "red", "car", "and", "a", "redd", "ish", "dog", "."),
        places=((0, 1), (2, 5), (6, 9), (10, 13), (14, 15), (16, 20), (20, 23), (24, 27), (27, 28)),
        matrix=matrix,
        table=table,
        words=tuple(words),
        marks=(mark,),
        cosine=float(matrix.sum()) + 0.18,
        rest=rest,
        roles_by="rules 1",
        trust=("Shares add up.",),
        source="scene <1>.png",
        provenance=provenance((2, 3)),
    )


def test_words_and_phrases_are_sums_of_tokens(found):
    torch.testing.assert_close(found["car"], found.matrix[2])
    torch.testing.assert_close(found["reddish"], found.matrix[5] + found.matrix[6])
    torch.testing.assert_close(found["red car"], found.matrix[1] + found.matrix[2])
    torch.testing.assert_close(found["Reddish DOG"], found["reddish"] + found["dog"])
    torch.testing.assert_close(found.role_map("object"), found["car"] + found["dog"])
    torch.testing.assert_close(found.word_maps.sum((1, 2)), found.word_scores)
    torch.testing.assert_close(found.patch_map, found.matrix.sum(0))
    torch.testing.assert_close(found[2], found["car"])
    torch.testing.assert_close(found[-1], found["dog"])
    assert found.index("red") == (1,)  # and not the beginning of "reddish"


def test_what_is_no_word_is_said(found):
    with pytest.raises(KeyError, match="its words are a, red, car"):
        found["cat"]
    with pytest.raises(KeyError):
        found["redd"]
    with pytest.raises(IndexError):
        found[7]


def test_everything_adds_up(found):
    assert found.error < 1e-7
    assert found.pairs == pytest.approx(float(found.matrix.sum()), abs=1e-7)
    assert replace(found, cosine=found.cosine + 0.5).error == pytest.approx(0.5, abs=1e-6)
    assert np.isnan(replace(found, additive=False).error)


def test_centred_takes_out_what_tokens_share_and_keeps_the_sum(found):
    centred = found.centred()
    torch.testing.assert_close(centred.matrix.sum(0), torch.zeros(2, 3), atol=1e-7, rtol=0)
    assert centred.error < 1e-7
    torch.testing.assert_close(centred["car"], found["car"] - found.matrix.mean(0))
    torch.testing.assert_close(centred.word_maps.sum((1, 2)), centred.word_scores, atol=1e-6, rtol=0)


def test_the_words_of_a_region(found):
    torch.testing.assert_close(found.words_in((0, 0, 60, 40)), found.word_scores)
    torch.testing.assert_close(found.words_in((20, 0, 40, 20)), found.word_maps[:, 0, 1])
    half = found.words_in((20, 0, 30, 20))
    torch.testing.assert_close(half, found.word_maps[:, 0, 1] / 2)
    with pytest.raises(ValueError, match="holds no pixel"):
        found.words_in((70, 0, 80, 20))


@pytest.mark.parametrize("suffix", ["npz", "json"])
def test_files_give_back_what_was_saved(found, tmp_path, suffix):
    path = found.save(tmp_path / f"j.{suffix}")
    if suffix == "npz":
        again = Interaction.load(path)
        np.testing.assert_array_equal(again.image, found.image)
    else:
        again = Interaction.from_dict(json.loads(path.read_text()), found.image)
    assert torch.equal(again.matrix, found.matrix)
    assert torch.equal(again.table, found.table)
    assert again.words == found.words
    assert again.rest == found.rest
    assert again.to_dict() == found.to_dict()
    with pytest.raises(FileExistsError):
        found.save(path)


def test_a_missing_number_stays_missing(found, tmp_path):
    matrix = found.matrix.clone()
    matrix[0, 0, 0] = torch.nan
    broken = replace(found, matrix=matrix)
    again = Interaction.from_dict(json.loads(broken.save(tmp_path / "j.json").read_text()), found.image)
    assert again.matrix.isnan().sum() == 1


def test_the_sheet_has_caption_maps_and_bars(found, tmp_path):
    sheet = found.grid()
    assert sheet.mode == "RGB"
    assert found.shown_words() == [1, 2, 5, 6]  # words with a role
    assert len(found.shown_words(2)) == 2
    assert found.save(tmp_path / "j.png").stat().st_size > 10_000
    pictures = [np.asarray(found.overlay(word)) for word in ("car", "dog")]
    assert pictures[0].shape == (40, 60, 3)
    assert (pictures[0] != pictures[1]).any()
    both = found.overlay(["car", "dog"], size=(80, 120))
    assert both.size == (120, 80)
    assert replace(found, additive=False, rest={}).grid().height < sheet.height  # nothing to take apart


def test_the_page_is_self_contained_and_escaped(found):
    page = found.to_html()
    assert "scene &lt;1&gt;.png" in page
    assert "<1>" not in page
    assert "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "")
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    np.testing.assert_allclose(np.array(data["maps"]), found.word_maps.numpy(), atol=1e-7)
    assert data["words"] == [word.text for word in found.words]
    assert page.count("data-word=") == 7 + 1  # the words, and the script that finds them
    assert "What makes up the cosine" in page
    assert found._repr_html_().startswith("\n<img") or "<img" in found._repr_html_()


def test_lines_for_a_terminal(found):
    first, *words = found.lines()
    assert "words × patches" in first
    assert "image networks 0.200" in first
    assert len(words) == 7
    assert words[2].startswith("car (object): ")
    at = int(found["car"].argmax())
    assert f"x {(at % 3 + 0.5) * 20:.0f}, y {(at // 3 + 0.5) * 20:.0f}" in words[2]


def test_fields_that_do_not_fit_are_refused(found):
    for wrong, said in (
        ({"matrix": found.matrix[:, :1]}, "matrix must be float32 of shape"),
        ({"matrix": found.matrix.double()}, "matrix must be float32"),
        ({"table": found.table[:3]}, "table must be"),
        ({"places": found.places[1:]}, "have 8 places"),
        ({"caption": "x" + CAPTION}, "is not at"),
    ):
        with pytest.raises(ValueError, match=said):
            replace(found, **wrong)
    with pytest.raises(ValueError, match="not 'interaction'"):
        Interaction.from_dict({"kind": "words"}, found.image)
    with pytest.raises(ValueError, match="missing"):
        Interaction.from_dict({"kind": "interaction"}, found.image)
