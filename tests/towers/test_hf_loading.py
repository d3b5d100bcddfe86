"""transformers' models from a folder, the hub or live: right weights, texts and pictures, or a sentence why not."""

import copy
import json
import shutil
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import huggingface_hub
import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import clipsight
from clipsight.checkpoints import hub
from clipsight.checkpoints.fingerprint import fingerprint
from clipsight.errors import CheckpointError, ClipsightWarning, HubUnreachable, Unsupported
from clipsight.language.reading import read_captions
from clipsight.language.tokens import tokenize
from clipsight.towers.hf_loading import live_hf, load_hf
from clipsight.towers.hf_models import hf_towers
from clipsight.towers.hf_results import feature_of
from tiny import pixels

from .hf_tiny import END, save, tiny_hf, write_json
from .test_vision_view import assert_as_found, trace

transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")

# transformers 5.0 reads vocab.json and merges.txt in a way that tokenizers will drop; later versions do not.
pytestmark = pytest.mark.filterwarnings("ignore:Deprecated in 0.9.0. BPE.__init__:DeprecationWarning")

KINDS = ("clip", "siglip", "siglip2")
ORDINARY = [
    "a dog",
    "A Dog's  house, isn't it?",
    "café naïve",
    "日本語",
    "1234 5.6%",
    "a_b 😀",
    " two\nlines ",
]
LONG = "a photo of a dog and a red car left of a small white dog on the green hills"


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    return save(tiny_hf(kind), tmp_path_factory.mktemp(kind))


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return save(tiny_hf("clip"), tmp_path_factory.mktemp("clip_alone"))


@pytest.fixture
def spoilt(clip_folder, tmp_path):
    """A copy of CLIP's folder that a test may damage."""
    return Path(shutil.copytree(clip_folder, tmp_path / "model"))


def change(path: Path, **settings: object) -> None:
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | settings)


@torch.inference_mode()
def test_a_folder_is_the_model_that_was_saved(kind, folder):
    module = tiny_hf(kind)
    loaded = load_hf(f"hf:{folder}", device="cpu")
    assert (loaded.name, loaded.pretrained) == (f"hf:{folder}", None)
    assert loaded.fingerprint == fingerprint(module)
    assert not loaded.module.training
    towers = hf_towers(loaded.module)
    wanted = hf_towers(module).vision.encode(pixels())
    torch.testing.assert_close(towers.vision.encode(pixels()), wanted, atol=1e-5, rtol=0)
    ids = loaded.tokenizer(["a dog"])
    theirs = feature_of(module.get_text_features(input_ids=ids), towers.text.embed_dim)
    torch.testing.assert_close(towers.text.encode(ids), theirs, atol=1e-5, rtol=0)
    card = loaded.card
    assert (card.family, card.grid, card.depth, card.notes) == (towers.family, (4, 4), 6, ())
    assert card.activation == ("quick_gelu" if kind == "clip" else "gelu")
    assert loaded.activation.startswith("QuickGELU, " if kind == "clip" else "GELU, ")
    half = load_hf(f"hf:{folder}", device="cpu", dtype="bf16")
    assert half.module.dtype == torch.bfloat16
    assert half.fingerprint == loaded.fingerprint


def test_picture_settings_are_the_processors(kind, folder):
    settings = load_hf(f"hf:{folder}", device="cpu").preprocess
    assert settings.size == (64, 64)
    if kind == "clip":
        assert settings.mean == (0.4, 0.5, 0.6)
        assert settings.std == pytest.approx((0.26862954, 0.26130258, 0.27577711))
        assert (settings.interpolation, settings.resize_mode) == ("bicubic", "shortest")
    else:
        assert settings.mean == settings.std == (0.5, 0.5, 0.5)
        assert settings.resize_mode == "squash"
        assert settings.interpolation == ("bicubic" if kind == "siglip" else "bilinear")


def test_ids_are_transformers_own(kind, folder):
    loaded = load_hf(f"hf:{folder}", device="cpu")
    own = transformers.AutoTokenizer.from_pretrained(folder)
    read = [text.lower() for text in ORDINARY] if kind == "siglip2" else ORDINARY
    wanted = own(read, padding="max_length", truncation=True, max_length=16, return_tensors="pt")["input_ids"]
    assert torch.equal(loaded.tokenizer(ORDINARY, context_length=16), wanted)
    assert torch.equal(loaded.tokenizer(["A RED Dog"]), loaded.tokenizer(["a red dog"]))
    assert len(set(map(tuple, wanted.tolist()))) == len(ORDINARY)
    assert loaded.tokenizer.encode("") == []
    assert loaded.tokenizer.decode(loaded.tokenizer.encode("a red dog")).strip() == "a red dog"


def test_clips_tokenizer_equals_open_clips_on_ordinary_texts(clip_folder):
    ours = load_hf(f"hf:{clip_folder}", device="cpu").tokenizer
    theirs = open_clip.SimpleTokenizer()
    for text in ORDINARY:
        assert ours.encode(text) == theirs.encode(text)
    padded, plain = ours(ORDINARY), theirs(ORDINARY)
    assert torch.equal(padded.where(padded != END, 0), plain.where(plain != END, 0))
    words = [read_captions(each, ["A naïve dog's umbrellas"], 12).each[0].words for each in (ours, theirs)]
    assert words[0] == words[1]
    assert [word.text for word, _ in words[0]] == ["A", "naïve", "dog's", "umbrellas"]


def test_a_text_that_is_cut_is_said_and_keeps_its_end_token(kind, folder):
    tokenizer = load_hf(f"hf:{folder}", device="cpu").tokenizer
    with pytest.warns(ClipsightWarning, match=r"longer than the model's 12 tokens.*dropped: '.*hills'"):
        ids = tokenize(tokenizer, ["a dog", LONG], 12)
    assert ids.shape == (2, 12)
    assert ids[1, -1] == (END if kind == "clip" else 1)
    exact = tokenizer.decode(ids[1, :-1].tolist()).split()[:3]
    assert exact == ["a", "photo", "of"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenize(tokenizer, ["a dog", "a", ""], 12)


def test_a_tokenizer_serves_threads(folder):
    tokenizer = load_hf(f"hf:{folder}", device="cpu").tokenizer
    wanted = {length: tokenizer(ORDINARY, context_length=length) for length in (8, 16)}

    def ask(turn: int) -> bool:
        length = (8, 16)[turn % 2]
        return torch.equal(tokenizer(ORDINARY, context_length=length), wanted[length])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(80)))


def test_load_answers_like_any_other_model(kind, folder):
    lens = clipsight.load(f"hf:{folder}", device="cpu")
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (70, 120, 3), dtype=np.uint8))
    made = lens.explain(picture, ["a dog", "a red car"], method="clip_surgery", contrast="labels")
    # SigLIP 2's own processor scales pictures up to 256 patches, whatever the size of the position table.
    grid = (12, 21) if kind == "siglip2" else (4, 7)
    assert made.maps.shape == (2, *grid)
    assert made.maps.isfinite().all()
    x = lens.preprocess(picture)
    assert x.shape == (1, 3, 16 * grid[0], 16 * grid[1])
    wanted = hf_towers(tiny_hf(kind)).vision.encode(x).detach()
    torch.testing.assert_close(lens.encode_image(x), wanted, atol=1e-5, rtol=0)
    made = lens.classify(picture, ["a dog", "a red car"], templates=None)
    assert float(made.probabilities.sum()) == pytest.approx(1, abs=1e-5)
    assert lens.card.methods["naclip"] == ""


def test_tokenizer_and_settings_that_are_not_there(spoilt):
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"):
        (spoilt / name).unlink()
    (spoilt / "preprocessor_config.json").unlink()
    with pytest.warns(ClipsightWarning) as said:
        loaded = load_hf(f"hf:{spoilt}", device="cpu")
    assert len(said) == len(loaded.card.notes) == 2
    assert "CLIP's own is used" in loaded.card.notes[0]
    assert "Hugging Face CLIP are used" in loaded.card.notes[1]
    assert isinstance(loaded.tokenizer, open_clip.SimpleTokenizer)
    assert loaded.preprocess.mean == open_clip.OPENAI_DATASET_MEAN


def test_a_tokenizer_that_was_made_up_is_refused(tmp_path):
    folder = save(tiny_hf("siglip2"), tmp_path)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="tokenizer"):
        load_hf(f"hf:{folder}", device="cpu")


def test_damaged_settings_are_named(spoilt):
    change(spoilt / "preprocessor_config.json", image_mean=[0.5])
    with pytest.raises(CheckpointError, match=r"preprocessor_config.json: image_mean is"):
        load_hf(f"hf:{spoilt}")
    (spoilt / "preprocessor_config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not a JSON"):
        load_hf(f"hf:{spoilt}")
    (spoilt / "vocab.json").write_text("{")
    (spoilt / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match="tokenizer in"):
        load_hf(f"hf:{spoilt}")


def test_folders_that_are_none(tmp_path):
    with pytest.raises(CheckpointError, match=r"no config.json.*local-dir:"):
        load_hf(f"hf:{tmp_path}")
    for place in (f"{tmp_path}/none", "./none", "~/no/where", "/"):
        with pytest.raises(CheckpointError, match=r"does not exist|no config.json"):
            load_hf(f"hf:{place}")


def test_weights_that_do_not_fit_are_named(spoilt):
    weights = spoilt / "model.safetensors"
    state = load_file(weights)
    extra = {**state, "classifier.weight": torch.zeros(2, 2)}
    save_file(extra, weights, metadata={"format": "pt"})
    with pytest.warns(ClipsightWarning, match=r"1 weights have no place in a CLIPModel.*classifier.weight"):
        load_hf(f"hf:{spoilt}", device="cpu")
    lost = {name: part for name, part in state.items() if not name.startswith("visual_projection")}
    save_file(lost, weights, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"1 missing or of another shape: visual_projection.weight"):
        load_hf(f"hf:{spoilt}")
    other = {**state, "visual_projection.weight": torch.zeros(16, 64)}
    save_file(other, weights, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"weights"):
        load_hf(f"hf:{spoilt}")
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r"cannot be read.*truncated"):
        load_hf(f"hf:{spoilt}")


def test_row_numbers_of_old_files_are_no_weights(spoilt):
    weights = spoilt / "model.safetensors"
    old = {**load_file(weights), "text_model.embeddings.position_ids": torch.arange(77)[None]}
    save_file(old, weights, metadata={"format": "pt"})
    assert load_hf(f"hf:{spoilt}", device="cpu").fingerprint == fingerprint(tiny_hf("clip"))


def test_pickles_are_read_without_running_them(spoilt, tmp_path):
    state = load_file(spoilt / "model.safetensors")
    (spoilt / "model.safetensors").unlink()
    torch.save(state, spoilt / "pytorch_model.bin")
    assert load_hf(f"hf:{spoilt}", device="cpu").fingerprint == fingerprint(tiny_hf("clip"))
    torch.save({**state, "run": Harm(tmp_path / "harmed")}, spoilt / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="weights cannot be read"):
        load_hf(f"hf:{spoilt}")
    assert not (tmp_path / "harmed").exists()


class Harm:
    """An object that leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_other_kinds_of_model(spoilt):
    config = spoilt / "config.json"
    change(config, model_type="chinese_clip")
    with pytest.raises(Unsupported, match=r"chinese_clip.*siglip2"):
        load_hf(f"hf:{spoilt}")
    change(config, model_type="own_kind", auto_map={"AutoConfig": "code.OwnConfig", "AutoModel": "code.Own"})
    (spoilt / "code.py").write_text("raise SystemExit('code of the repository was run')")
    with pytest.raises(CheckpointError, match=r"config.json: the key 'auto_map' names Python files"):
        load_hf(f"hf:{spoilt}")
    config.write_text("{")
    with pytest.raises(CheckpointError, match=r"config.json is not a JSON file that can be read"):
        load_hf(f"hf:{spoilt}")


def test_the_hub_is_asked_once_and_said_to_be_away():
    with pytest.raises(HubUnreachable, match=r"'nobody/nothing' must be downloaded.*connect and try again"):
        load_hf("hf:nobody/nothing")


def test_the_hubs_cache_is_read_without_a_request(clip_folder, tmp_path, monkeypatch):
    kept = tmp_path / "models--org--tiny" / "snapshots" / ("0" * 40)
    shutil.copytree(clip_folder, kept)
    (tmp_path / "models--org--tiny" / "refs").mkdir()
    (tmp_path / "models--org--tiny" / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    loaded = load_hf("hf:org/tiny", device="cpu")
    assert loaded.name == "hf:org/tiny"
    assert loaded.fingerprint == fingerprint(tiny_hf("clip"))
    (kept / "preprocessor_config.json").unlink()  # the server would be asked for it and is away
    with pytest.warns(ClipsightWarning, match="without picture settings"):
        load_hf("hf:org/tiny", device="cpu")
    (kept / "model.safetensors").unlink()
    with pytest.raises(HubUnreachable):
        load_hf("hf:org/tiny")
    live = tiny_hf("clip")
    for name, found in (("org/tiny", True), ("org/other", False), ("./org", False), ("", False)):
        live.config._name_or_path = name
        assert ("without a tokenizer" not in str(live_hf(live).card)) == found


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_what_is_downloaded(weights, tmp_path, monkeypatch):
    there = ["config.json", "merges.txt", "tf_model.h5", "onnx/model.json", "pytorch_model.bin", weights]
    asked = []

    def snapshot(repository: str, **patterns: object) -> str:
        asked.extend(huggingface_hub.utils.filter_repo_objects(there, **patterns))
        for name in asked:
            (tmp_path / name).touch()
        return str(tmp_path)

    monkeypatch.setattr(hub, "_require", lambda *_: None)
    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    assert hub.fetch_transformers("org/name") == tmp_path
    assert set(asked) == {"config.json", "merges.txt", weights}


def test_live_modules_are_left_as_found(kind):
    module = tiny_hf(kind)
    before = trace(module)
    loaded = live_hf(module)
    assert loaded.module is module
    assert (loaded.name, loaded.fingerprint) == ("live module", fingerprint(module))
    assert (loaded.tokenizer is None) == (kind != "clip")
    assert ("name one with clipsight.load" in str(loaded.card)) == (kind != "clip")
    assert loaded.preprocess.size == (64, 64)
    half = live_hf(module, dtype="bf16")
    assert half.module.dtype == torch.bfloat16
    assert half.fingerprint == loaded.fingerprint
    assert_as_found(module, before)
    training = copy.deepcopy(module).train()
    taken = live_hf(training)
    assert all(part.training for part in training.modules())
    assert not any(part.training for part in taken.module.modules())
    assert {id(p) for p in taken.module.parameters()} == {id(p) for p in training.parameters()}


def test_a_live_module_finds_what_it_was_loaded_with(kind, folder):
    module = tiny_hf(kind)
    module.config._name_or_path = str(folder)
    loaded = live_hf(module)
    assert loaded.card.notes == ()
    assert loaded.preprocess == load_hf(f"hf:{folder}", device="cpu").preprocess
    assert loaded.tokenizer(["a dog"]).shape == (1, 77 if kind == "clip" else 16)


def test_live_modules_that_are_refused():
    with pytest.raises(Unsupported, match="CLIPVisionModel"):
        live_hf(transformers.CLIPVisionModel(tiny_hf("clip").config.vision_config))
    with pytest.raises(ValueError, match="not a floating-point type"):
        live_hf(tiny_hf("siglip"), dtype="int8")


def test_without_the_package_the_install_line_is_said(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(Unsupported, match=r'pip install "clipsight\[hf\]"'):
        load_hf(f"hf:{folder}")
