"""What a model's own processor and head say is followed: pixels, sizes and probabilities are those of transformers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import clipsight
from clipsight.bench.composition.encoder import LensEncoder
from clipsight.errors import CheckpointError, ClipsightWarning
from clipsight.towers.preprocess import largest_size
from clipsight.world import make_scene

from .hf_tiny import save, tiny_hf

transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
SCENE = Image.fromarray(np.asarray(make_scene(0, size=256).image))
TEXTS = ["a dog", "a red car", "two cats"]


def folder(kind: str, path: Path) -> tuple[Any, Path]:
    module = tiny_hf(kind)
    return module, save(module, path)


def features(module: Any, inputs: Any, **how: Any) -> torch.Tensor:
    with torch.no_grad():
        made = module.get_image_features(**inputs, **how)
    return made if isinstance(made, torch.Tensor) else made.pooler_output


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.cosine_similarity(a, b).min())


@pytest.mark.parametrize("size", [(640, 160), (160, 640), (200, 200), (33, 470), (16, 16)])
@pytest.mark.parametrize("most", [None, 64])
def test_naflex_keeps_the_shape_within_the_processors_patches(tmp_path, size, most):
    module, path = folder("siglip2", tmp_path)
    if most is not None:
        settings = json.loads((path / "preprocessor_config.json").read_text())
        (path / "preprocessor_config.json").write_text(json.dumps({**settings, "max_num_patches": most}))
    picture = SCENE.resize(size, Image.Resampling.BICUBIC)
    inputs = transformers.Siglip2ImageProcessor.from_pretrained(path)(images=picture, return_tensors="pt")
    seen = clipsight.load(f"hf:{path}", device="cpu").see(picture)
    grid = tuple(side // 16 for side in seen.size)
    assert list(grid) == inputs["spatial_shapes"][0].tolist()
    assert cosine(seen.pooled(), features(module, inputs)) > 0.999
    assert seen.notes == ()


def test_benchmarks_show_naflex_pictures_as_the_processor_does(tmp_path):
    _, path = folder("siglip2", tmp_path)
    lens, picture = clipsight.load(f"hf:{path}", device="cpu"), SCENE.resize((320, 80))
    encoder = LensEncoder(lens)
    made = encoder.pictures([encoder.view(picture)])
    torch.testing.assert_close(made, lens.see(picture).pooled())
    stretched = LensEncoder(lens, "square")
    assert cosine(made, stretched.pictures([stretched.view(picture)])) < 0.999


def test_more_patches_than_the_processor_takes_are_said(tmp_path):
    _, path = folder("siglip2", tmp_path)
    lens = clipsight.load(f"hf:{path}", device="cpu")
    seen = lens.see(SCENE.resize((640, 160)), resolution=256)
    assert seen.size == (256, 1024)
    assert "takes at most 256 patches; 1,024 were used as asked" in " ".join(seen.notes)


def test_the_largest_size_is_the_processors():
    native = pytest.importorskip("transformers.models.siglip2.image_processing_siglip2")
    dice = np.random.default_rng(0)
    for _ in range(300):
        height, width = (int(side) for side in dice.integers(1, 2500, 2))
        patch, most = int(dice.choice([8, 14, 16, 32])), int(dice.choice([1, 4, 16, 64, 256, 1024]))
        wanted = native.get_image_size_for_max_num_patches(height, width, patch, most)
        assert largest_size((height, width), (patch, patch), most) == tuple(wanted)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_pixels_of_models_of_one_size_are_the_processors(tmp_path, kind):
    module, path = folder(kind, tmp_path)
    name = {"clip": "CLIPImageProcessor", "siglip": "SiglipImageProcessor"}[kind]
    inputs = getattr(transformers, name).from_pretrained(path)(images=SCENE, return_tensors="pt")
    seen = clipsight.load(f"hf:{path}", device="cpu").see(SCENE)
    assert seen.pixels.shape == inputs["pixel_values"].shape
    # The library resizes in eight bits or not by version; a level of 255 is 0.02 after normalising.
    assert (seen.pixels - inputs["pixel_values"]).abs().mean() < 0.02
    assert cosine(seen.pooled(), features(module, inputs)) > 0.999


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_other_sizes_are_the_librarys_and_a_methods_own_rule_is_said(tmp_path, kind):
    module, path = folder(kind, tmp_path)
    lens = clipsight.load(f"hf:{path}", device="cpu")
    seen = lens.see(SCENE.resize((320, 128)), resolution=(128, 320))
    own = features(module, {"pixel_values": seen.pixels}, interpolate_pos_encoding=True)
    made = seen.explain(TEXTS, "clearclip", contrast=None)
    assert "interpolate_pos_encoding=True" in " ".join(made.provenance.notes)
    assert (seen.pooled() - own).abs().max() < 1e-4  # also after another pass was kept
    assert torch.allclose(lens.encode_image(seen.pixels), own, atol=1e-4)
    native = lens.see(SCENE).explain(TEXTS, "clearclip", contrast=None)
    assert "interpolate_pos_encoding" not in " ".join(native.provenance.notes)


@pytest.mark.parametrize("kind", ["siglip", "siglip2"])
def test_a_sigmoid_is_given_where_the_model_has_one(tmp_path, kind):
    module, path = folder(kind, tmp_path)
    lens = clipsight.load(f"hf:{path}", device="cpu")
    made = lens.classify(SCENE, TEXTS, templates=None)
    scale, bias = float(module.logit_scale.detach().exp()), float(module.logit_bias.detach())
    assert torch.allclose(made.sigmoid, torch.sigmoid(scale * made.similarity + bias), atol=1e-6)
    assert float(made.probabilities.sum()) == pytest.approx(1)
    assert made.to_dict()["sigmoid"] == pytest.approx(made.sigmoid.tolist())
    assert made.provenance.settings["logit_bias"] == pytest.approx(bias)


def test_models_of_a_softmax_have_no_sigmoid(tmp_path):
    _, path = folder("clip", tmp_path)
    for lens in (clipsight.load(f"hf:{path}", device="cpu"), clipsight.load("clipsight-tiny")):
        made = lens.classify(SCENE, ["dog", "car"])
        assert made.sigmoid is None
        assert "sigmoid" not in made.to_dict()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"do_normalize": "false"}, "do_normalize"),
        ({"image_std": [0.5, 0.0, 0.5]}, "image_std"),
        ({"image_mean": [0.5, float("nan"), 0.5]}, "image_mean|NaN|nan"),
        ({"image_mean": "abc"}, "image_mean"),
        ({"resample": 9}, "resample"),
        ({"resample": "cubic"}, "resample"),
        ({"rescale_factor": 1.0}, "rescale_factor"),
        ({"do_rescale": False}, "do_rescale"),
        ({"patch_size": 14}, "patch_size"),
        ({"max_num_patches": 0}, "max_num_patches"),
        ({"max_num_patches": 10**9}, "max_num_patches"),
    ],
)
def test_picture_settings_that_cannot_be_followed_are_refused(tmp_path, settings, said):
    _, path = folder("siglip2", tmp_path)
    file = path / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
    with pytest.raises(CheckpointError, match=said):
        clipsight.load(f"hf:{path}", device="cpu")


def test_another_size_of_the_processor_is_said(tmp_path):
    _, path = folder("siglip", tmp_path)
    file = path / "preprocessor_config.json"
    size = {"height": 96, "width": 96}
    file.write_text(json.dumps({**json.loads(file.read_text()), "size": size}))
    with pytest.warns(ClipsightWarning, match="its positions are those of 64 × 64 pixels"):
        clipsight.load(f"hf:{path}", device="cpu")


@pytest.mark.parametrize("resample", range(6))
def test_every_resampling_of_a_processor_is_followed(tmp_path, resample):
    _, path = folder("siglip", tmp_path)
    file = path / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "resample": resample}))
    lens = clipsight.load(f"hf:{path}", device="cpu")
    pixels = np.asarray(SCENE.resize((64, 64), Image.Resampling(resample)), np.float32) / 255
    expects = lens.loaded.preprocess
    wanted = (pixels - np.array(expects.mean, np.float32)) / np.array(expects.std, np.float32)
    assert np.allclose(lens.preprocess(SCENE)[0].permute(1, 2, 0).numpy(), wanted, atol=1e-5)
