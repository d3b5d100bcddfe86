"""GELU or QuickGELU: what decides it, what is said about it, and that the features follow."""

import argparse
import json
import warnings

import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU
from safetensors.torch import save_file
from torch import nn

from clipsight.checkpoints.activation import from_evidence, published_as, said_model
from clipsight.checkpoints.weight_files import WeightFile, read_weights
from clipsight.errors import ClipsightWarning
from clipsight.towers.loading import Loaded, load_model
from tiny import TINY_TEXT, TINY_VISION, pixels, tiny_clip

CONFIG = {"embed_dim": 32, "vision_cfg": TINY_VISION, "text_cfg": TINY_TEXT}
MODELS = {quick: tiny_clip(seed=5, quick_gelu=quick) for quick in (True, False)}
STATE = MODELS[True].state_dict()
IDS = open_clip.SimpleTokenizer()(["a dog", "a red car left of a cat"])


@pytest.fixture(autouse=True)
def _tiny_b32(monkeypatch):
    """ViT-B-32 and its twin are tiny for the length of a test: the names are open_clip's, the work is not."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-B-32", CONFIG)
    monkeypatch.setitem(
        open_clip.factory._MODEL_CONFIGS, "ViT-B-32-quickgelu", {**CONFIG, "quick_gelu": True}
    )


@pytest.fixture
def save(tmp_path):
    """A function that saves the weights with something beside them, and returns the file's path."""

    def write(name: str = "CLIP-CAE-AB.pt", /, **beside: object) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".safetensors"):
            save_file(STATE, path, metadata=beside)
        else:
            torch.save({"state_dict": STATE, **beside} if beside else STATE, path)
        return str(path)

    return write


def quick(loaded: Loaded) -> bool:
    kinds = {isinstance(part, QuickGELU) for part in loaded.module.modules() if "GELU" in type(part).__name__}
    assert len(kinds) == 1
    return kinds.pop()


def same_features(one: nn.Module, other: nn.Module) -> bool:
    with torch.no_grad():
        images = torch.equal(one.encode_image(pixels()), other.encode_image(pixels()))
        return images and torch.equal(one.encode_text(IDS), other.encode_text(IDS))


def silently(model: str, *arguments: object, **options: object) -> Loaded:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_model(model, *arguments, device="cpu", **options)


def test_two_checkpoints_that_differ_only_in_activation(save):
    """The same tensors, trained with one and the other: each runs as it was trained, and they differ."""
    loaded = {}
    for trained in (True, False):
        args = argparse.Namespace(model="ViT-B-32", force_quick_gelu=trained)
        loaded[trained] = silently("ViT-B-32", save(f"run_{trained}.pt", args=args))
        assert quick(loaded[trained]) is trained
        assert same_features(loaded[trained].module, MODELS[trained])
    assert loaded[True].fingerprint == loaded[False].fingerprint
    assert not same_features(loaded[True].module, loaded[False].module)
    assert loaded[True].activation == "QuickGELU, by its own settings (force_quick_gelu=True)"
    assert loaded[False].activation == "GELU, by its own settings (model ViT-B-32, force_quick_gelu=False)"
    assert loaded[True].card.activation == "quick_gelu"
    assert f"Activation: {loaded[True].activation}." in loaded[True].card.notes


@pytest.mark.parametrize("asked", [True, False])
def test_the_snippet_on_the_card_of_clip_cae_agrees_once_the_activation_is_the_same(save, asked):
    path = save()
    theirs, _, _ = open_clip.create_model_and_transforms("ViT-B-32", pretrained=path, force_quick_gelu=asked)
    assert same_features(silently("ViT-B-32", path, quick_gelu=asked).module, theirs.eval())


def test_the_snippet_itself_runs_gelu_and_so_do_we_with_a_warning(save):
    path = save()
    theirs, _, _ = open_clip.create_model_and_transforms("ViT-B-32", pretrained=path)
    with pytest.warns(ClipsightWarning, match=r"do not say their activation.*GELU is used.*--quick-gelu"):
        ours = load_model("ViT-B-32", path, device="cpu")
    assert same_features(ours.module, theirs.eval())
    assert ours.activation == "GELU, assumed: nothing says which"


@pytest.mark.slow
@pytest.mark.parametrize("asked", [True, False])
def test_the_snippet_with_the_real_architecture(tmp_path, monkeypatch, asked):
    monkeypatch.undo()
    assert open_clip.get_model_config("ViT-B-32")["vision_cfg"]["width"] == 768
    torch.manual_seed(0)
    path = str(tmp_path / "CLIP-CAE-AB.pt")
    torch.save(open_clip.create_model("ViT-B-32").state_dict(), path)
    theirs, _, _ = open_clip.create_model_and_transforms("ViT-B-32", pretrained=path, force_quick_gelu=asked)
    ours = silently("ViT-B-32", path, quick_gelu=asked)
    x = pixels(1, 224, 224)
    with torch.no_grad():
        assert torch.equal(ours.module.encode_image(x), theirs.eval().encode_image(x))
        assert torch.equal(ours.module.encode_text(IDS), theirs.encode_text(IDS))


@pytest.mark.parametrize(
    ("beside", "trained", "source"),
    [
        ({"name": "2026_01_01-model_ViT-B-32-quickgelu-lr_1e-05-b_8"}, True, "(model ViT-B-32-quickgelu)"),
        ({"hyper_parameters": {"model_name": "ViT-B/32", "quick_gelu": True}}, True, "(quick_gelu=True)"),
        ({"config": {"quick_gelu": False}}, False, "(quick_gelu=False)"),
        ({"config": {"hidden_act": "quick_gelu"}}, True, "(hidden_act=quick_gelu)"),
        ({"config": {"hidden_act": "gelu"}}, False, "(hidden_act=gelu)"),
    ],
)
def test_what_the_file_says_of_itself_decides(save, beside, trained, source):
    loaded = silently("ViT-B-32", save(**beside))
    assert quick(loaded) is trained
    assert loaded.activation.endswith(f"by its own settings {source}")


def test_a_safetensors_header_decides(save):
    assert quick(silently("ViT-B-32", save("w.safetensors", quick_gelu="true")))
    assert not quick(silently("ViT-B-32", save("v.safetensors", quick_gelu="false")))


def test_the_layout_of_openais_release_decides(tmp_path):
    path = tmp_path / "converted.pt"
    extra = {"input_resolution": 64, "context_length": 77, "vocab_size": 49408}
    torch.save({**STATE, **{name: torch.tensor(value) for name, value in extra.items()}}, path)
    loaded = silently("ViT-B-32", str(path))
    assert quick(loaded)
    assert loaded.activation == "QuickGELU, by the layout of OpenAI's own release"


@pytest.mark.parametrize(
    ("name", "content", "trained"),
    [
        ("open_clip_config.json", {"model_cfg": {**CONFIG, "quick_gelu": True}}, True),
        ("open_clip_config.json", {"model_cfg": CONFIG}, False),
        ("config.json", {"text_config": {"hidden_act": "quick_gelu"}, "vision_config": {}}, True),
        ("config.json", {"vision_config": {"hidden_act": "gelu"}}, False),
    ],
)
def test_a_configuration_beside_the_file_decides(save, tmp_path, name, content, trained):
    path = save()
    (tmp_path / name).write_text(json.dumps(content))
    loaded = silently("ViT-B-32", path)
    assert quick(loaded) is trained
    assert loaded.activation.endswith(f"by {name} beside it")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("open_clip_config.json", {"model_cfg": {**CONFIG, "embed_dim": 16, "quick_gelu": True}}),
        ("config.json", {"vision_config": 3}),
        ("config.json", [1]),
    ],
)
def test_what_lies_beside_by_chance_says_nothing(save, tmp_path, name, content):
    path = save()
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.warns(ClipsightWarning, match="do not say their activation"):
        assert not quick(load_model("ViT-B-32", path, device="cpu"))


@pytest.mark.parametrize(
    ("name", "trained"),
    [
        ("vit_b_32-quickgelu-laion400m_e32-46683a32.pt", True),
        ("vit_b_32-laion2b_e16-af8dbd0c.pth", False),
        ("models--timm--vit_base_patch32_clip_224.openai/snapshots/1/open_clip_model.safetensors", True),
        ("CLIP-ViT-B-32-laion2B-s34B-b79K/open_clip_pytorch_model.bin", False),
    ],
)
def test_a_published_file_is_known(save, name, trained):
    loaded = silently("ViT-B-32", save(name))
    assert quick(loaded) is trained
    assert "whose file it is" in loaded.activation


@pytest.mark.parametrize("name", ["ViT-B-32.pt", "my-46683a32.pt", "CLIP-CAE-AB.pt"])
def test_an_ordinary_file_is_not_taken_for_a_published_one(tmp_path, name):
    assert published_as(tmp_path / name) is None


@pytest.mark.parametrize(
    ("name", "trained", "why"),
    [
        ("b32_openai_finetuned.pt", True, "says openai"),
        ("negclip-quick_gelu.pt", True, "says quickgelu"),
        ("metaclip-400m.pt", True, "says metaclip"),
        ("B32.datacomp.pt", False, "says datacomp"),
        ("laion_b32.pt", False, ""),
        ("openai-to-datacomp.pt", False, ""),
    ],
)
def test_a_files_name_is_a_hint_and_said_to_be_one(save, name, trained, why):
    with pytest.warns(
        ClipsightWarning, match=f"a guess, because its name {why}" if why else "the default of open_clip"
    ):
        loaded = load_model("ViT-B-32", save(name), device="cpu")
    assert quick(loaded) is trained
    assert (
        loaded.activation.partition(", ")[2]
        == f"assumed: {'its name ' + why if why else 'nothing says which'}"
    )


def test_where_a_training_started_is_a_hint(save):
    args = argparse.Namespace(model="ViT-B-32", pretrained="openai", force_quick_gelu=False)
    with pytest.warns(ClipsightWarning, match="because its training started from 'openai'"):
        assert quick(load_model("ViT-B-32", save(args=args), device="cpu"))


@pytest.mark.parametrize("asked", [True, False])
def test_the_user_decides_over_hints_in_silence_and_over_what_is_sure_with_a_warning(save, asked):
    assert quick(silently("ViT-B-32", save("openai.pt"), quick_gelu=asked)) is asked
    sure = save(config={"quick_gelu": not asked})
    with pytest.warns(ClipsightWarning, match=f"quick_gelu={asked} was asked for, but its own settings"):
        loaded = load_model("ViT-B-32", sure, device="cpu", quick_gelu=asked)
    assert quick(loaded) is asked
    assert loaded.activation.endswith(f"says {'GELU' if asked else 'QuickGELU'}")


def test_a_name_with_quickgelu_asks_for_it(save):
    assert quick(silently("ViT-B-32-quickgelu", save()))
    with pytest.warns(ClipsightWarning, match="ViT-B-32-quickgelu was asked for, but its own settings"):
        assert quick(load_model("ViT-B-32-quickgelu", save(config={"quick_gelu": False}), device="cpu"))


def test_an_architecture_that_exists_once_needs_no_word(save, monkeypatch):
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", CONFIG)
    assert silently("tiny", save()).activation == "GELU, by the configuration of tiny"


def test_a_tag_a_folder_and_a_live_module_say_who_decided():
    assert load_model("clipsight-tiny", device="cpu").activation == (
        "QuickGELU, by the configuration of clipsight-tiny"
    )
    assert load_model(MODELS[False]).activation == "GELU, as the module was built"


def test_evidence_without_a_name(save):
    file: WeightFile = read_weights(save())
    with pytest.warns(ClipsightWarning, match="exist with both"):
        assert not from_evidence(None, file, "").quick
    assert from_evidence(True, file, "").quick


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({"model": "ViT-B/16"}, "ViT-B-16"),
        ({"arch": "resnet50", "model_name": "RN50"}, "RN50"),
        ({"name": "2026-model_ViT-L-14-lr_1"}, "ViT-L-14"),
        ({"model": "mine", "force_quick_gelu": True}, ""),
        ({}, ""),
    ],
)
def test_a_name_that_the_file_gives_itself(said, name):
    assert said_model(said) == name
