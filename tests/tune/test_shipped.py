"""The tuned model that ships: loadable everywhere, no larger than the rule, and different where it should be."""

import zipfile
from pathlib import Path

import open_clip
import pytest
import torch

import clipsight
from clipsight.bench.word_gap import analyse_captions
from clipsight.bench.word_gap.world_captions import world_captions

NAME = "clipsight-tiny-cae"
FOLDER = Path(clipsight.__file__).parent / "assets" / NAME


def gaps(name: str) -> dict[str, float]:
    words = analyse_captions(
        clipsight.load(name, device="cpu"),
        world_captions((101,), 12),
        ["attention", "gradient"],
        replicates=1,
        shuffles=1,
    )
    return {row.column.name: row.figures.gap["composition"].value for row in words.rows}


def test_it_is_listed_and_says_that_it_is_reconstructed():
    assert clipsight.models()[:2] == ("clipsight-tiny", NAME)
    lens = clipsight.load(NAME, device="cpu")
    assert any("Reconstructed" in note for note in lens.card.notes)
    assert (
        lens.card.contrast_vocabulary
        == clipsight.load("clipsight-tiny", device="cpu").card.contrast_vocabulary
    )


def test_open_clip_loads_the_same_folder():
    try:
        model = open_clip.create_model(f"local-dir:{FOLDER}").eval()
    except (RuntimeError, ValueError) as error:  # older open_clip has no folders
        pytest.skip(f"this open_clip does not load folders: {error}")
    pixels = torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs = model.encode_image(pixels)
    ours = clipsight.load(NAME, device="cpu").encode_image(pixels)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_it_is_no_larger_than_the_rule(tmp_path):
    weights = FOLDER / "open_clip_model.safetensors"
    assert weights.stat().st_size <= 24e6
    with zipfile.ZipFile(tmp_path / "wheel.zip", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.write(weights)
    assert (tmp_path / "wheel.zip").stat().st_size <= 10e6


def test_objects_take_less_of_it_than_before_tuning():
    before, after = gaps("clipsight-tiny"), gaps(NAME)
    assert after["attention"] < 0.6 * before["attention"]
    assert after["gradient"] < 0.9 * before["gradient"]
