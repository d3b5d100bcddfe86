"""What a user names becomes a model: names, tags, files, folders, the hub."""

import copy
import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU
from safetensors.torch import save_file
from torch import nn

from clipsight.checkpoints import folder as folder_module
from clipsight.checkpoints import hub, locate
from clipsight.checkpoints.fingerprint import fingerprint
from clipsight.checkpoints.folder import write_model_folder
from clipsight.checkpoints.locate import model_ids
from clipsight.errors import CheckpointError, ClipsightWarning, HubUnreachable
from clipsight.towers.loading import load_model
from tiny import TINY_TEXT, TINY_VISION, pixels, tiny_clip

GOLDENS = Path(__file__).parents[3] / "shared" / "goldens"
TINY_CFG = {"embed_dim": 32, "vision_cfg": TINY_VISION, "text_cfg": TINY_TEXT}
CARD = {
    "templates": ["a {}.", "one {}."],
    "contrast_vocabulary": ["dog", "cat"],
    "surgery_depth": 4,
    "figures": {"noun top-1": 0.5},
    "seeds": [0],
}
PREPROCESS = {"size": 64, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1], "interpolation": "bilinear"}


@pytest.fixture(scope="module")
def clip():
    """A model whose weights float16 holds exactly."""
    model = tiny_clip(seed=1)
    return model.half().float()


@pytest.fixture
def folder(tmp_path, clip):
    path = tmp_path / "tiny"
    write_model_folder(path, clip, {**TINY_CFG, "quick_gelu": True}, PREPROCESS, CARD)
    return path


@pytest.fixture
def registered(monkeypatch):
    """Our tiny architecture under two names that open_clip knows, with one tag each way."""
    configs = open_clip.factory._MODEL_CONFIGS
    monkeypatch.setitem(configs, "tiny", TINY_CFG)
    monkeypatch.setitem(configs, "tiny-quickgelu", {**TINY_CFG, "quick_gelu": True})
    tags = {
        "plain": {"hf_hub": "org/plain/", "mean": (0.1, 0.1, 0.1)},
        "quick": {"hf_hub": "org/quick/", "quick_gelu": True},
    }
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", tags)
    monkeypatch.setitem(
        open_clip.pretrained._PRETRAINED, "tiny-quickgelu", {"silent": {"hf_hub": "org/silent/"}}
    )


@pytest.fixture
def downloaded(monkeypatch, tmp_path, clip):
    """Every tag is in the cache already."""
    file = tmp_path / "hub.safetensors"
    save_file(clip.state_dict(), file)
    monkeypatch.setattr(locate, "fetch_tag", lambda name, tag: file)


@pytest.fixture
def weights(tmp_path, clip):
    """A function that saves something as a weight file and returns its path."""

    def save(content: object = None, name: str = "weights.pt") -> str:
        torch.save(clip.state_dict() if content is None else content, tmp_path / name)
        return str(tmp_path / name)

    return save


def quick(module: nn.Module) -> bool:
    """Whether both towers run QuickGELU, or neither."""
    kinds = {
        isinstance(block.mlp.gelu, QuickGELU)
        for part in (module.visual, module)
        for block in part.transformer.resblocks
    }
    assert len(kinds) == 1
    return kinds.pop()


def same_outputs(one: nn.Module, other: nn.Module) -> bool:
    ids = open_clip.SimpleTokenizer(context_length=77)(["a dog"])
    with torch.no_grad():
        return torch.equal(one.encode_image(pixels()), other.encode_image(pixels())) and torch.equal(
            one.encode_text(ids), other.encode_text(ids)
        )


# Folders


def test_folder(folder, clip):
    loaded = load_model(f"local-dir:{folder}", device="cpu")
    assert same_outputs(loaded.module, clip)
    assert not loaded.module.training
    assert loaded.name == f"local-dir:{folder}"
    assert loaded.pretrained is None
    assert loaded.fingerprint == fingerprint(clip)
    assert loaded.tokenizer(["a dog"]).shape == (1, 77)
    assert loaded.preprocess.size == (64, 64)
    assert loaded.preprocess.mean == (0.5, 0.4, 0.3)
    assert (loaded.preprocess.interpolation, loaded.preprocess.resize_mode) == ("bilinear", "shortest")
    with pytest.raises(FrozenInstanceError):
        loaded.name = "x"


@pytest.mark.skipif(
    not hasattr(open_clip.factory, "parse_model_name"), reason="this open_clip has no local-dir: of its own"
)
def test_open_clip_loads_the_same_folder(folder, clip):
    theirs = open_clip.create_model(f"local-dir:{folder}").eval()
    assert same_outputs(theirs, clip)
    assert tuple(theirs.visual.image_mean) == (0.5, 0.4, 0.3)


def test_card_of_a_folder(folder):
    card = load_model(f"local-dir:{folder}", device="cpu").card
    assert card.family == "open_clip ViT"
    assert (card.grid, card.size, card.patch) == ((4, 4), (64, 64), (16, 16))
    assert (card.width, card.depth, card.embed_dim, card.context) == (64, 6, 32, 77)
    assert card.activation == "quick_gelu"
    assert card.templates == ("a {}.", "one {}.")
    assert card.contrast_vocabulary == ("dog", "cat")
    assert card.surgery_depth == 4
    assert card.figures == {"noun top-1": 0.5}
    text = str(card)
    for piece in (
        "open_clip ViT",
        "4 × 4 patches of 16 × 16",
        "QuickGELU",
        "'dog', 'cat'",
        "noun top-1: 0.500",
        "last 4",
    ):
        assert piece in text


def test_bundled_model(monkeypatch, folder, clip):
    assert folder_module.bundled_folder("clipsight-tiny").parts[-3:] == (
        "clipsight",
        "assets",
        "clipsight-tiny",
    )
    monkeypatch.setattr(locate, "bundled_folder", lambda name: folder)
    assert same_outputs(load_model("clipsight-tiny", device="cpu").module, clip)


def test_model_ids():
    ids = model_ids()
    assert ids[0] == "clipsight-tiny"
    assert {"ViT-B-16", "ViT-L-14-quickgelu"} < set(ids)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("remove", "says"),
    [
        ("open_clip_config.json", "does not exist"),
        ("open_clip_model.safetensors", "no weights"),
        ("", "does not exist"),
    ],
)
def test_incomplete_folders(folder, remove, says):
    path = folder / remove if remove else folder
    if remove:
        path.unlink()
    with pytest.raises(CheckpointError, match=says):
        load_model(f"local-dir:{folder if remove else folder / 'nowhere'}", device="cpu")


def test_config_that_is_none(folder):
    (folder / "open_clip_config.json").write_text('{"model_cfg": {"embed_dim": 3}}')
    with pytest.raises(CheckpointError, match="vision_cfg, text_cfg missing"):
        load_model(f"local-dir:{folder}", device="cpu")
    (folder / "open_clip_config.json").write_text("[1]")
    with pytest.raises(CheckpointError, match="list"):
        load_model(f"local-dir:{folder}", device="cpu")


def test_folder_refuses_what_float16_cannot_hold(tmp_path, clip):
    wide = copy.deepcopy(clip)
    with torch.no_grad():
        wide.text_projection[0, 0] = 1e6
    with pytest.raises(ValueError, match="text_projection"):
        write_model_folder(tmp_path / "wide", wide, TINY_CFG, PREPROCESS, {})


# Configurations


@pytest.mark.parametrize("wrapped", [False, True])
def test_config_file_with_weights(tmp_path, weights, clip, wrapped):
    bare = {**TINY_CFG, "quick_gelu": True}
    content = {"model_cfg": bare, "preprocess_cfg": PREPROCESS} if wrapped else bare
    config = tmp_path / "architecture.json"
    config.write_text(json.dumps(content))
    loaded = load_model(config, weights(), device="cpu")
    assert same_outputs(loaded.module, clip)
    assert loaded.preprocess.mean[0] == pytest.approx(0.5 if wrapped else 0.48145466)
    with pytest.raises(ValueError, match="pretrained=PATH"):
        load_model(str(config))


@pytest.mark.skipif(not GOLDENS.is_dir(), reason="the goldens lie beside the checkout, in ../shared/goldens")
def test_golden_model_has_no_tokenizer():
    loaded = load_model(GOLDENS / "open_clip_config.json", GOLDENS / "weights.safetensors", device="cpu")
    assert loaded.tokenizer is None
    assert loaded.card.activation == "quick_gelu"
    assert loaded.card.grid == (8, 8)
    assert next(loaded.module.parameters()).dtype == torch.float32


# Names, tags, activation


@pytest.mark.parametrize(("tag", "is_quick"), [("plain", False), ("quick", True), ("QUICK", True)])
def test_tag_says_the_activation(registered, downloaded, tag, is_quick):
    loaded = load_model("tiny", tag, device="cpu")
    assert quick(loaded.module) is is_quick
    assert loaded.card.activation == ("quick_gelu" if is_quick else "gelu")
    assert loaded.pretrained == tag
    assert loaded.preprocess.mean[0] == pytest.approx(0.1 if tag == "plain" else 0.48145466)


def test_silent_tag_leaves_it_to_the_architecture(registered, downloaded):
    assert quick(load_model("tiny-quickgelu", "silent", device="cpu").module)


def test_openai_weights_run_quick_gelu(monkeypatch, downloaded):
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-B-16", TINY_CFG)
    assert quick(load_model("ViT-B-16", "openai", device="cpu").module)
    assert quick(load_model("ViT-B/16", "openai", device="cpu").module)
    assert not quick(load_model("ViT-B-16", "laion2b_s34b_b88k", device="cpu").module)


@pytest.mark.parametrize(("tag", "asked"), [("plain", True), ("quick", False)])
def test_overruling_the_tag_warns(registered, downloaded, tag, asked):
    with pytest.warns(ClipsightWarning, match=f"quick_gelu={asked} was asked for, but the tag '{tag}'"):
        loaded = load_model("tiny", tag, device="cpu", quick_gelu=asked)
    assert quick(loaded.module) is asked


def test_overruling_a_folder_warns(folder):
    with pytest.warns(ClipsightWarning, match="the configuration of local-dir"):
        assert not quick(load_model(f"local-dir:{folder}", device="cpu", quick_gelu=False).module)


def test_file_does_not_say_its_activation(registered, weights):
    path = weights()
    with pytest.warns(ClipsightWarning, match="pass quick_gelu=True"):
        assert not quick(load_model("tiny", path, device="cpu").module)
    assert quick(load_model("tiny", path, device="cpu", quick_gelu=True).module)
    assert not quick(load_model("tiny", path, device="cpu", quick_gelu=False).module)
    assert quick(load_model("tiny-quickgelu", path, device="cpu").module)


@pytest.mark.parametrize(
    ("model", "pretrained", "error", "says"),
    [
        ("ViT-B-61", "openai", ValueError, "Did you mean ViT-B-16"),
        ("ViT-B-16", None, ValueError, "one of its tags .*openai"),
        ("ViT-B-16", "opnai", CheckpointError, "Did you mean openai"),
        ("clipsight-tiny", "openai", ValueError, "leave it out"),
        ("local-dir:x", "openai", ValueError, "leave it out"),
    ],
)
def test_wrong_names(model, pretrained, error, says):
    with pytest.raises(error, match=says):
        load_model(model, pretrained, device="cpu")


def test_folder_without_its_prefix(folder):
    with pytest.raises(ValueError, match="local-dir:"):
        load_model(str(folder))


def test_wrong_device_and_number_type(folder):
    with pytest.raises(ValueError, match="device='gpu'"):
        load_model(f"local-dir:{folder}", device="gpu")
    with pytest.raises(ValueError, match="dtype='int8'"):
        load_model(f"local-dir:{folder}", dtype="int8")


@pytest.mark.parametrize(
    ("asked", "kind"), [("bf16", torch.bfloat16), (torch.float16, torch.float16), ("float32", torch.float32)]
)
def test_number_types(folder, clip, asked, kind):
    loaded = load_model(f"local-dir:{folder}", device="cpu", dtype=asked)
    assert {parameter.dtype for parameter in loaded.module.parameters()} == {kind}
    assert loaded.fingerprint == fingerprint(clip)


# The hub


class Session:
    """Stands in for the hub's: answers with a status, or fails."""

    def __init__(self, answer: object):
        self.answer, self.calls = answer, []

    def head(self, url, timeout):
        self.calls.append((url, timeout))
        if isinstance(self.answer, Exception):
            raise self.answer
        return type("Answer", (), {"status_code": self.answer})()


@pytest.fixture
def hub_answers(monkeypatch):
    """A function that sets how the hub answers and what open_clip's download does."""

    def answers(answer: object, download: object = None) -> Session:
        session = Session(answer)

        def fetch(*_, **__):
            if isinstance(download, Exception):
                raise download
            return download

        monkeypatch.setattr(hub, "get_session", lambda: session)
        monkeypatch.setattr(hub, "try_to_load_from_cache", lambda repository, file: None)
        monkeypatch.setattr(open_clip, "download_pretrained", fetch)
        monkeypatch.setattr(hub, "download_pretrained_from_hf", fetch)
        return session

    return answers


@pytest.mark.parametrize(
    ("answer", "download", "cause"),
    [
        (OSError("Name or service not known"), None, "Name or service not known"),
        (503, None, "error 503"),
        (200, FileNotFoundError("disk full\nlong story"), "disk full"),
    ],
)
@pytest.mark.parametrize("model", ["ViT-B-16", "hf-hub:org/name"])
def test_unreachable_hub_is_one_sentence_with_ways_on(hub_answers, answer, download, cause, model):
    session = hub_answers(answer, download)
    with pytest.raises(HubUnreachable) as caught:
        load_model(model, "openai" if model == "ViT-B-16" else None, device="cpu")
    sentence = str(caught.value)
    assert cause in sentence
    assert "--model clipsight-tiny" in sentence
    assert "--pretrained PATH" in sentence
    assert "\n" not in sentence
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    assert len(session.calls) == 1  # no retries
    assert session.calls[0][1] <= 10


def test_offline_machine_fails_at_once():
    # The real hub library, with the tests' own switch HF_HUB_OFFLINE=1.
    with pytest.raises(HubUnreachable, match="clipsight-tiny"):
        load_model("ViT-B-16", "metaclip_400m", device="cpu")


def test_cached_weights_need_no_request(registered, hub_answers, monkeypatch, weights, tmp_path, clip):
    session = hub_answers(OSError("no network"))
    save_file(clip.state_dict(), tmp_path / "held.safetensors")
    held = {("org/quick", "open_clip_model.safetensors"): str(tmp_path / "held.safetensors")}
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda repository, file: held.get((repository, file)))
    assert quick(load_model("tiny", "quick", device="cpu").module)
    assert not session.calls


def test_hub_repository(hub_answers, monkeypatch, folder, clip):
    hub_answers(200)
    files = {
        "open_clip_config.json": folder / "open_clip_config.json",
        None: folder / "open_clip_model.safetensors",
    }
    monkeypatch.setattr(
        hub, "download_pretrained_from_hf", lambda repository, filename=None: str(files[filename])
    )
    loaded = load_model("hf-hub:org/name", device="cpu")
    assert same_outputs(loaded.module, clip)
    assert loaded.name == "hf-hub:org/name"
