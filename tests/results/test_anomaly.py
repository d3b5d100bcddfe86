"""The anomaly result: what it refuses, how it is drawn and written, and that a file gives it back."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from clipsight.results.anomaly import RANK_ONLY, Anomaly
from goldens import unchecked
from results.scenes import PROVENANCE


def anomaly(**fields) -> Anomaly:
    rng = np.random.default_rng(0)
    made = {
        "image": rng.integers(0, 256, (40, 60, 3), dtype=np.uint8),
        "name": "bottle",
        "map": torch.tensor(rng.uniform(0.47, 0.49, (32, 48)), dtype=torch.float32),
        "score": 0.481234567,
        "view_scores": torch.tensor([0.48, 0.49]),
        "views": ("as it is", "mirrored"),
        "temperature": None,
        "normal": ("flawless {}",),
        "abnormal": ("damaged {}", "{} with flaw"),
        "losses": (1.4, 1.38),
        "source": "photo.jpg",
        "provenance": replace(PROVENANCE, grid=(4, 6), size=(32, 48), contrast="none", contrast_texts=()),
    }
    return Anomaly(**made | fields)


def test_npz_gives_everything_back(tmp_path):
    made = anomaly()
    again = Anomaly.load(made.save(tmp_path / "a.npz"))
    for name in ("map", "view_scores"):
        assert torch.equal(getattr(again, name), getattr(made, name))
    assert np.array_equal(again.image, made.image)
    for name in (
        "name",
        "score",
        "views",
        "temperature",
        "normal",
        "abnormal",
        "losses",
        "source",
        "provenance",
    ):
        assert getattr(again, name) == getattr(made, name)
    assert Anomaly.load(anomaly(temperature=0.01).save(tmp_path / "b.npz")).temperature == 0.01


def test_json_and_png_carry_how_it_was_made(tmp_path):
    made = anomaly()
    data = json.loads(made.save(tmp_path / "a.json").read_text())
    assert data["kind"] == "anomaly"
    assert data["rank_only"] is True
    assert np.allclose(data["map"], made.map.numpy())
    assert data["score"] == pytest.approx(made.score, abs=1e-6)
    with Image.open(made.save(tmp_path / "a.png")) as picture:
        assert picture.size == made.grid().size
        inside = json.loads(picture.info["clipsight"])
    assert inside["abnormal"] == ["damaged {}", "{} with flaw"]
    assert "map" not in inside
    with pytest.raises(FileExistsError):
        made.save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="suffix"):
        made.save(tmp_path / "a.html")


def test_rank_only_is_said():
    assert anomaly().trust == RANK_ONLY
    assert "ranks only" in repr(anomaly())
    read = anomaly(temperature=0.01)
    assert not read.rank_only
    assert "not calibrated" in read.trust
    assert "ranks only" not in read.line()


def test_what_cannot_be_trusted_is_said():
    flat = anomaly(map=torch.full((32, 48), 0.5))
    assert "points nowhere" in flat.trust
    assert flat.peak is None
    assert "flat map" in flat.line()
    assert flat.overlay().size == (60, 40)
    broken = anomaly(map=torch.full((32, 48), torch.nan), score=float("nan"))
    assert broken.trust.startswith("Not to be trusted")
    assert broken.to_dict()["score"] is None


def test_upsampling_peak_and_drawing():
    scores = torch.full((32, 48), 0.4)
    scores[8, 36] = 0.6
    made = anomaly(map=scores)
    assert made.upsample().shape == (40, 60)
    assert torch.equal(made.upsample((32, 48)), made.map)
    x, y, score = made.peak
    assert (x, y) == (45, 10)
    assert score == pytest.approx(0.6)
    drawn = np.asarray(made.overlay(scale=(0.4, 0.6))).astype(int)
    grey = np.asarray(made.overlay(scale=(0.9, 1.0))).astype(int)
    change = np.abs(drawn - grey).sum(2)
    assert np.unravel_index(change.argmax(), change.shape) == pytest.approx((10, 45), abs=2)
    assert made.overlay(size=(10, 20)).size == (20, 10)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"map": torch.zeros(4, 6)}, r"map must be float32 of shape \(32, 48\)"),
        ({"map": torch.zeros(32, 48, dtype=torch.float64)}, "float64"),
        ({"view_scores": torch.zeros(3)}, "view_scores"),
        ({"views": (), "view_scores": torch.zeros(0)}, "at least one view"),
        ({"abnormal": ()}, "at least one view"),
        ({"image": np.zeros((4, 6), np.uint8)}, "image must"),
    ],
)
def test_fields_that_do_not_fit_are_refused(fields, match):
    made = anomaly()
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    with pytest.raises(ValueError, match=match):
        unchecked(Anomaly.__post_init__)(made)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a complete"):
        Anomaly.load(tmp_path / "a.npz")
