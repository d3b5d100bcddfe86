"""What the bundled model claims on its card, measured again on fresh held-out scenes, with a margin for few of them."""

import json
import zlib
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

import clipsight
from clipsight.bench.emoji import foil_accuracy, map_quality, noun_accuracy, presence_auroc
from clipsight.session.lens import Lens
from clipsight.world import make_scenes, nouns

FOLDER = Path(clipsight.__file__).parent / "assets" / "clipsight-tiny"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the bundled model is not trained yet")
SEED = 7


@pytest.fixture(scope="module")
def lens() -> Lens:
    return clipsight.load("clipsight-tiny", device="cpu")


@pytest.fixture(scope="module")
def scenes() -> list:
    return list(make_scenes(100, SEED, "heldout"))


def test_the_folder_is_small_and_open_clips_own():
    weights = FOLDER / "open_clip_model.safetensors"
    assert weights.stat().st_size <= 24e6
    assert len(zlib.compress(weights.read_bytes())) <= 10e6, "its size inside the wheel"
    model = open_clip.create_model(f"local-dir:{FOLDER}").eval()
    lens = clipsight.load("clipsight-tiny", device="cpu")
    x = lens.preprocess(next(make_scenes(1)).image)
    with torch.no_grad():
        assert torch.allclose(model.encode_image(x), lens.encode_image(x), atol=1e-5)
        ids = open_clip.get_tokenizer("ViT-B-32")(["a red dog"])
        assert torch.allclose(model.encode_text(ids), lens.encode_text(["a red dog"]), atol=1e-5)


def test_the_card_says_what_the_model_is(lens: Lens):
    card = lens.card
    assert card.grid == (14, 14)
    assert card.activation == "quick_gelu"
    assert card.embed_dim is not None
    assert card.embed_dim >= 128
    assert card.contrast_vocabulary == nouns()
    assert all("{}" in template for template in card.templates)
    assert not any(card.methods.values())
    assert json.loads((FOLDER / "card.json").read_text())["figures"]["seeds"]


def test_rows_that_were_never_trained_hold_the_mean_row(lens: Lens):
    table = lens.module.token_embedding.weight.detach()
    rows, counts = torch.unique(table, dim=0, return_counts=True)
    assert counts.max() > 45_000
    assert len(rows) < 1000


def test_clip_surgery_finds_what_raw_clip_does_not(lens: Lens, scenes: list):
    raw, pointing_raw = map_quality(lens, scenes, "clip", "none")
    auroc, pointing = map_quality(lens, scenes, "clip_surgery", "labels")
    assert auroc >= FLOORS["auroc"]
    assert pointing >= FLOORS["pointing"]
    assert raw - 0.5 < (auroc - 0.5) / 2, "without surgery the better half of the quality is gone"
    assert pointing_raw < pointing / 2


def test_it_recognises_what_it_says(lens: Lens, scenes: list):
    alone = list(make_scenes(100, SEED, "heldout", objects=1))
    assert noun_accuracy(lens, alone) >= FLOORS["noun_top1"]
    foils = foil_accuracy(lens, scenes)
    assert foils["replace_obj"] >= FLOORS["replace_obj"]
    assert foils["replace_att"] >= FLOORS["replace_att"]


def test_presence_tells_present_from_absent(lens: Lens, scenes: list):
    assert presence_auroc(lens, scenes) >= FLOORS["presence"]
    scene = next(s for s in make_scenes(20, SEED, objects=1) if s.objects[0].color is None)
    absent = "guitar" if scene.objects[0].name != "guitar" else "cactus"
    ex = lens.explain(scene.image, [scene.objects[0].name, absent])
    assert ex.presence[0] > 0.5 > ex.presence[1]
    assert "not there" in ex.trust[1].lower()


def test_chance_is_chance(scenes: list):
    """The measures themselves: a model that knows nothing scores as chance."""
    torch.manual_seed(0)
    config = json.loads((FOLDER / "open_clip_config.json").read_text())["model_cfg"]
    blind = clipsight.load(open_clip.CLIP(**config).eval(), device="cpu")
    auroc, pointing = map_quality(blind, scenes, "clip", "labels")
    assert 0.35 < auroc < 0.65
    assert pointing < 0.35
    assert presence_auroc(blind, scenes) == pytest.approx(0.5, abs=0.1)
    assert np.mean(list(foil_accuracy(blind, scenes).values())) == pytest.approx(0.5, abs=0.15)


FLOORS = {
    "auroc": 0.80,
    "pointing": 0.55,
    "noun_top1": 0.80,
    "replace_obj": 0.93,
    "replace_att": 0.92,
    "presence": 0.88,
}
"""The issue's floors for maps; for the rest what docs/bundled.md states less a margin for a hundred scenes."""
