"""A weight file alone is a model; programs are read only where the user says so."""

import json
import warnings
import zipfile

import open_clip
import pytest
import torch
from torch import nn

from clipsight.checkpoints.weight_files import read_weights
from clipsight.errors import CheckpointError, ClipsightWarning
from clipsight.towers.loading import load_model
from tiny import TINY_TEXT, TINY_VISION, pixels, tiny_clip

TEXT = {**TINY_TEXT, "heads": 1}
VISION = {**TINY_VISION, "width": 128, "head_width": 64}
CONFIG = {"embed_dim": 32, "vision_cfg": VISION, "text_cfg": TEXT}
IDS = open_clip.SimpleTokenizer()(["a dog", "a red car left of a cat"])


@pytest.fixture(scope="module")
def clip():
    return tiny_clip(seed=6, quick_gelu=False, text=TEXT, **VISION)


def same_features(one: nn.Module, other: nn.Module) -> bool:
    with torch.no_grad():
        images = torch.equal(one.encode_image(pixels()), other.encode_image(pixels()))
        return images and torch.equal(one.encode_text(IDS), other.encode_text(IDS))


def test_a_file_alone(tmp_path, clip):
    path = tmp_path / "mine.pt"
    torch.save({"model": clip.state_dict(), "model_ema": tiny_clip(text=TEXT, **VISION).state_dict()}, path)
    loaded = load_model(path, device="cpu", quick_gelu=False)
    assert same_features(loaded.module, clip)
    assert (loaded.name, loaded.pretrained) == (str(path), None)
    assert loaded.preprocess.size == (64, 64)
    assert loaded.tokenizer(["a dog"]).shape == (1, 77)
    notes = " ".join(loaded.card.notes)
    assert "Architecture: read from the shapes" in notes
    assert "Activation: GELU, as asked with quick_gelu=False." in notes
    averaged = load_model(f"{path}#ema", device="cpu", quick_gelu=False)
    assert not same_features(averaged.module, clip)


def test_a_file_alone_that_open_clip_has_a_name_for(tmp_path, clip, monkeypatch):
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", CONFIG)
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-quickgelu", {**CONFIG, "quick_gelu": True})
    torch.save(clip.state_dict(), tmp_path / "mine.pt")
    with pytest.warns(ClipsightWarning, match="do not say their activation"):
        loaded = load_model(str(tmp_path / "mine.pt"), device="cpu")
    assert same_features(loaded.module, clip)
    assert "Architecture: tiny, found by the shapes of the weights." in loaded.card.notes


def test_a_configuration_beside_it_says_all(tmp_path):
    """Heads of 32 channels and the mean of the pictures are nowhere in the weights."""
    clip = tiny_clip(seed=7)
    config = {"embed_dim": 32, "vision_cfg": TINY_VISION, "text_cfg": TINY_TEXT, "quick_gelu": True}
    beside = {"model_cfg": config, "preprocess_cfg": {"mean": [0.5, 0.4, 0.3]}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(beside))
    torch.save(clip.state_dict(), tmp_path / "w.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_model(tmp_path / "w.pt", device="cpu")
    assert same_features(loaded.module, clip)
    assert loaded.preprocess.mean == (0.5, 0.4, 0.3)
    assert loaded.activation == "QuickGELU, by open_clip_config.json beside it"


def test_weights_with_their_text_tower_apart_fit_a_name_that_has_it_at_the_top(tmp_path, monkeypatch):
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", CONFIG)
    apart = open_clip.create_model("tiny", force_custom_text=True).eval()
    torch.save(apart.state_dict(), tmp_path / "w.pt")
    loaded = load_model("tiny", tmp_path / "w.pt", device="cpu", quick_gelu=False)
    assert same_features(loaded.module, apart)


@pytest.mark.parametrize(
    ("model", "error", "says"),
    [
        ("nowhere.pt", CheckpointError, "does not exist"),
        ("nowhere.pt#ema", CheckpointError, "nowhere.pt: it does not exist"),
        ("hf:org/name", ValueError, "says its activation"),
    ],
)
def test_what_does_not_go_together(model, error, says):
    with pytest.raises(error, match=says):
        load_model(model, device="cpu", quick_gelu=True)
    with pytest.raises(ValueError, match=r"do(es)? not go with"):
        load_model(model, "openai", device="cpu")


# What does not fit a name


def test_a_larger_model_is_recognised(tmp_path, clip, monkeypatch):
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", CONFIG)
    large = tiny_clip(text={**TEXT, "width": 128, "heads": 2}, **{**VISION, "width": 192, "layers": 7})
    state = {**large.state_dict(), "visual.extra": torch.ones(1)}
    del state["ln_final.bias"]
    torch.save(state, tmp_path / "large.pt")
    with pytest.raises(CheckpointError) as caught:
        load_model("tiny", tmp_path / "large.pt", device="cpu", quick_gelu=False)
    message = str(caught.value)
    assert "1 missing: ln_final.bias" in message
    assert "unexpected: " in message
    assert "of another shape: positional_embedding (77×128 in the file, 77×64 in the model)" in message
    assert "the file's tower has width 192, patch 16 and 7 blocks" in message
    assert "write it down as a model-config .json" in message  # alone it would not load either


def test_a_transformers_file_is_recognised(tmp_path, monkeypatch):
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", CONFIG)
    torch.save({"vision_model.embeddings.class_embedding": torch.ones(8)}, tmp_path / "pytorch_model.bin")
    for arguments in (("tiny", tmp_path / "pytorch_model.bin"), (tmp_path / "pytorch_model.bin",)):
        with pytest.raises(CheckpointError, match=r'transformers checkpoint .* model="hf:FOLDER"'):
            load_model(*arguments, device="cpu", quick_gelu=False)


def test_a_truncated_file_says_so_before_anything_else(tmp_path, clip):
    path = tmp_path / "w.pt"
    torch.save(clip.state_dict(), path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(CheckpointError, match=r"\(\d+,\d+,\d+ bytes\) cannot be read.*truncated"):
        load_model(path, device="cpu")


# Programs


class Archived(nn.Module):
    """A model as OpenAI released theirs: names and tensors of a CLIP, and three numbers, in a TorchScript program."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.fixture
def archive(tmp_path, clip):
    numbers = {"input_resolution": 64, "context_length": 77, "vocab_size": 49408}
    root = Archived()
    for name, tensor in {**clip.state_dict(), **{n: torch.tensor(v) for n, v in numbers.items()}}.items():
        *folders, leaf = name.split(".")
        place = root
        for folder in folders:
            if folder not in dict(place.named_children()):
                place.add_module(folder, Archived())
            place = place.get_submodule(folder)
        place.register_buffer(leaf, tensor)
    path = tmp_path / "ViT-T-16.pt"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
        torch.jit.script(root).save(str(path))
    return path


def test_a_program_is_refused_unless_it_is_trusted(archive, clip):
    with pytest.raises(CheckpointError, match=r"program.*trust_program=True \(--trust-program\)"):
        load_model(archive, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_model(archive, device="cpu", trust_program=True)
    assert loaded.activation == "QuickGELU, by the layout of OpenAI's own release"
    own = loaded.module.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in clip.state_dict().items())
    twin = tiny_clip(seed=6, quick_gelu=True, text=TEXT, **VISION)
    twin.load_state_dict(clip.state_dict())
    assert same_features(loaded.module, twin)


def test_a_damaged_program_is_no_crash(archive):
    damaged = archive.with_name("damaged.pt")
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(damaged, "w") as part:
        for name in whole.namelist():
            part.writestr(name, b"nonsense(" if name.endswith(".py") else whole.read(name))
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_weights(str(damaged), trust_program=True)
