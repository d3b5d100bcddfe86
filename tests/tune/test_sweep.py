"""The place between two models is chosen by pairs, and what lies in the folder are the weights of that place."""

from typing import Any, ClassVar

import pytest
import torch
from torch.nn import functional as F

from clipsight.pictures import read_picture
from clipsight.towers.loading import load_model
from clipsight.towers.preprocess import to_pixels
from clipsight.tune import sweep as sweep_module
from clipsight.tune.data.example import Example
from clipsight.tune.sweep import chosen_between, told_apart
from clipsight.tune.validation import retrieval
from tune.small_run import cae, contrastive, pairs, small_folder, small_run


def test_retrieval_of_numbers_made_by_hand():
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.8, -0.6]])
    texts = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [0.8, -0.6]])
    alone = torch.arange(4)
    # Pictures 1 and 2 find each other's captions, and their captions find each other's pictures.
    assert retrieval(images, texts, alone, alone) == {"i2t": 0.5, "t2i": 0.5}
    assert retrieval(images, texts, torch.tensor([0, 1, 1, 3]), alone) == {"i2t": 1.0, "t2i": 1.0}
    assert retrieval(images, texts, alone, torch.tensor([0, 2, 2, 3])) == {"i2t": 1.0, "t2i": 1.0}
    # The two ways differ: every picture likes caption 0 best, and every caption its own picture.
    one_sided = torch.tensor([[0.9, 0.1, 0.0], [0.8, 0.7, 0.0], [0.8, 0.0, 0.6]])
    found = retrieval(one_sided, torch.eye(3), torch.arange(3), torch.arange(3))
    assert found == pytest.approx({"i2t": 1 / 3, "t2i": 1.0})


class Listed:
    """Examples of a list."""

    about: ClassVar = {"name": "listed"}

    def __init__(self, rows: list[Example]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        return self.rows[index]


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> tuple[str, str]:
    """A model and its tuned self."""
    base = small_folder(tmp_path_factory.mktemp("base"))
    tuned = small_run(base, tmp_path_factory.mktemp("run"), contrastive(), cae("pb"), steps=10)
    return base, f"local-dir:{tuned.folder}"


def between(zero: str, tuned: str, alpha: float) -> dict[str, torch.Tensor]:
    one, other = (load_model(name, device="cpu").module.state_dict() for name in (zero, tuned))
    return {name: torch.lerp(one[name], other[name], alpha) for name in one}


@pytest.mark.parametrize("peak", [0.0, 0.3, 1.0])
def test_the_chosen_place_is_what_is_exported(two, tmp_path, monkeypatch, peak):
    asked: list[dict[str, torch.Tensor]] = []

    def scores(module: Any, loaded: Any, examples: Any) -> dict[str, float]:
        asked.append({name: value.clone() for name, value in module.state_dict().items()})
        alpha = (0.0, 0.3, 0.6, 1.0)[len(asked) - 1]
        return {"foils": 1 - abs(alpha - peak), "t2i": 0.5 - 0.01 * alpha}

    monkeypatch.setattr(sweep_module, "told_apart", scores)
    sweep, folder = chosen_between(*two, pairs(), tmp_path, alphas=(1.0, 0.3, 0.6), device="cpu")
    assert folder == tmp_path
    assert [row.alpha for row in sweep.rows] == [0.0, 0.3, 0.6, 1.0]
    assert sweep.chosen == peak
    expected = between(*two, peak)
    made = load_model(f"local-dir:{folder}", device="cpu").module.state_dict()
    assert made.keys() == expected.keys()
    third = between(*two, 0.6)
    for name, value in expected.items():
        torch.testing.assert_close(made[name], value)
        torch.testing.assert_close(asked[2][name], third[name])
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"α = {peak:g}" in card
    with pytest.raises(FileExistsError, match="overwrite"):
        chosen_between(*two, pairs(), tmp_path, device="cpu")
    assert len(asked) == 4  # refused before anything is measured
    asked.clear()
    chosen_between(*two, pairs(), tmp_path, alphas=(0.3, 0.6, 1.0), device="cpu", overwrite=True)


def test_a_place_where_retrieval_falls_is_not_chosen(two, tmp_path, monkeypatch):
    gains = iter([{"foils": 0.5, "t2i": 0.5}, {"foils": 0.6, "t2i": 0.46}, {"foils": 0.9, "t2i": 0.44}])
    monkeypatch.setattr(sweep_module, "told_apart", lambda *_: next(gains))
    sweep, _ = chosen_between(*two, pairs(), tmp_path, alphas=(0.5, 1.0), allowed=0.05, device="cpu")
    assert sweep.chosen == 0.5


def test_figures_of_a_model_are_counted_as_they_are_described(two):
    """The share of captions above their first foil, with the model's own pictures and tokens, one example at a time."""
    loaded = load_model(two[1], device="cpu")
    module: Any = loaded.module
    some = [one for one in map(pairs().__getitem__, range(len(pairs()))) if one.foils][:12]
    rows = [
        Example(picture=one.picture, caption=one.caption, spans=None, foils=one.foils[:1]) for one in some
    ]
    found = told_apart(module, loaded, Listed(rows))
    pixels = torch.cat([to_pixels(read_picture(one.picture), (32, 32), loaded.preprocess) for one in some])
    assert loaded.tokenizer is not None
    with torch.no_grad():
        image, true, false = (
            F.normalize(one, dim=-1)
            for one in (
                module.encode_image(pixels),
                module.encode_text(loaded.tokenizer([one.caption for one in some])),
                module.encode_text(loaded.tokenizer([one.foils[0] for one in some])),
            )
        )
    wins = (image * true).sum(-1) > (image * false).sum(-1)
    assert found["foils"] == pytest.approx(wins.float().mean().item())
    assert 0 < found["foils"] < 1
    hits = (image @ true.T).argmax(0)
    right = [
        some[hit].caption == one.caption or bool((pixels[hit] == pixels[place]).all())
        for place, (hit, one) in enumerate(zip(hits.tolist(), some, strict=True))
    ]
    assert found["t2i"] == pytest.approx(sum(right) / len(right))


def test_pairs_that_nothing_false_can_be_made_of_are_refused(two, tmp_path):
    picture = pairs()[0].picture
    empty = [Example(picture=picture, caption="so", spans=None)] * 3
    with pytest.raises(ValueError, match="no caption of these pairs has a false one"):
        chosen_between(*two, Listed(empty), tmp_path, device="cpu")
    assert not any(tmp_path.iterdir())
