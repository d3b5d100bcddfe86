"""The tokenizer that a user names; and models for which the reason and the advice must be true."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import clipsight
from clipsight.errors import CheckpointError, ClipsightWarning, Unsupported
from clipsight.world import make_scene
from tiny import TINY_TEXT, TINY_VISION, past_type_checks, tiny_clip
from towers.test_hf_text_in_open_clip import write_tokenizer


@pytest.fixture
def wordless() -> nn.Module:
    """A live model whose vocabulary is not CLIP's."""
    return tiny_clip(text={"vocab_size": 300, "context_length": 77})


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer("byte-level BPE", path)
    return path


def words_as_ids(texts, context_length=77):
    """Somebody's function: a number for each letter."""
    ids = torch.zeros(len(texts), context_length, dtype=torch.long)
    for row, text in enumerate(texts):
        said = [ord(letter) % 250 + 1 for letter in text][: context_length - 1]
        ids[row, : len(said) + 1] = torch.tensor([*said, 299])
    return ids


def asked(lens: clipsight.Lens) -> None:
    """Every kind of question with words is answered."""
    picture = make_scene(0).image
    assert lens.explain(picture, ["a dog", "a car"], contrast=None).maps.isfinite().all()
    assert lens.classify(picture, ["dog", "car"])
    assert lens.encode_text(["a dog"]).isfinite().all()


def test_without_one_the_advice_can_be_followed(wordless, folder):
    lens = clipsight.load(wordless)
    with pytest.raises(Unsupported, match=r"clipsight\.load\(…, tokenizer=NAME\)"):
        lens.explain(make_scene(0).image, ["a dog"])
    asked(clipsight.load(wordless, tokenizer=folder))
    ids = clipsight.load(wordless, tokenizer=folder).loaded.tokenizer(["a dog"], context_length=77)
    assert lens.maps(torch.zeros(1, 3, 64, 64), lens.encode_text(ids)).shape == (1, 1, 4, 4)


def test_a_folder_a_callable_and_a_live_tokenizer_are_one(wordless, folder):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    given = [str(folder), folder, f"hf:{folder}", theirs]
    found = [clipsight.load(wordless, tokenizer=one).encode_text(["a dog", "two cats"]) for one in given]
    assert all(torch.equal(one, found[0]) for one in found)
    own = clipsight.load(wordless, tokenizer=words_as_ids)
    asked(own)
    assert torch.equal(own.encode_text(["dog"]), own.encode_text(words_as_ids(["dog"])))
    asked(clipsight.load(wordless, tokenizer=open_clip.tokenizer.HFTokenizer(str(folder), context_length=77)))


def test_a_name_of_open_clip_is_its_tokenizer():
    module = tiny_clip(text={"vocab_size": 50_000})
    plain, named = clipsight.load(tiny_clip()), clipsight.load(module, tokenizer="ViT-B/32")
    assert clipsight.load(module).loaded.tokenizer is None
    texts = ["a dog"]
    assert torch.equal(named.loaded.tokenizer(texts, context_length=77), plain.loaded.tokenizer(texts))
    asked(named)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ("no/such/name/x", CheckpointError, "neither a folder nor a model of the hub"),
        (3, TypeError, "tokenizer is a int"),
        (lambda texts: None, ValueError, "cannot be called"),
        (lambda texts, context_length: [[1, 2]], ValueError, "gives list for one text"),
        (lambda texts, context_length: torch.zeros(1, 77), ValueError, r"gives a tensor of torch\.float32"),
        (lambda texts, context_length: torch.zeros(1, 99, dtype=torch.long), ValueError, r"shape \(1, 99\)"),
        (lambda texts, context_length: torch.full((1, 77), 999), ValueError, "knows 0 to 299"),
        ("ViT-B-32", ValueError, "it belongs to another model"),
    ],
)
def test_what_is_none_is_refused_at_once(wordless, given, error, said):
    with past_type_checks(), pytest.raises(error, match=said):
        clipsight.load(wordless, tokenizer=given)


def test_a_named_tokenizer_of_code_is_refused(wordless, folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    config["auto_map"] = {"AutoTokenizer": ["evil.Evil", None]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="auto_map"):
        clipsight.load(wordless, tokenizer=tmp_path)


def live_coca() -> nn.Module:
    text = {**TINY_TEXT, "context_length": 76, "embed_cls": True, "output_tokens": True}
    vision = {**TINY_VISION, "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
    decoder = {"context_length": 76, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1}
    return open_clip.CoCa(32, decoder, text, vision).eval()


def test_a_live_coca_has_the_vocabulary_of_clip():
    lens = clipsight.load(live_coca())
    assert lens.loaded.tokenizer is not None
    assert lens.encode_text(["a dog"]).shape == (1, 32)
    assert lens.classify(make_scene(0).image, ["dog", "car"])


def test_adapters_are_named_and_merged_ones_taken():
    peft = pytest.importorskip("peft")
    settings = peft.LoraConfig(target_modules=["c_fc"], init_lora_weights=False)
    wrapped = peft.get_peft_model(tiny_clip(), settings)
    with pytest.raises(Unsupported, match=r"adapters of PEFT's.*merge_and_unload"):
        clipsight.load(wrapped)
    part = tiny_clip()
    part.visual = peft.get_peft_model(part.visual, settings)
    with pytest.raises(Unsupported, match="merge_and_unload"):
        clipsight.load(part)
    merged = clipsight.load(wrapped.merge_and_unload())
    assert not torch.allclose(merged.encode_text(["dog"]), clipsight.load(tiny_clip()).encode_text(["dog"]))


def test_a_module_for_several_devices_is_named():
    with pytest.raises(Unsupported, match=r"DataParallel was passed, which wraps a CLIP; .*module\.module"):
        clipsight.load(nn.DataParallel(tiny_clip()))


def plain_weights(positions: int) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.CLIP(
            512,
            {"image_size": 224, "patch_size": 32, "width": 768, "layers": 12},
            {"context_length": positions, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12},
        )
    return {name: tensor.contiguous() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("by_name", [True, False])
def test_long_texts_keep_their_positions(tmp_path, by_name):
    state, file = plain_weights(248), tmp_path / "long.safetensors"
    second = torch.randn(248, 512, generator=torch.Generator().manual_seed(1))
    joined = torch.cat([state["positional_embedding"][:20], second[20:]])
    save_file({**state, "positional_embedding_res": second}, file)
    with pytest.warns(ClipsightWarning, match="do not say their activation"):
        lens = clipsight.load("ViT-B-32", file) if by_name else clipsight.load(file)
    assert lens.card.context == 248
    assert torch.equal(lens.module.get_parameter("positional_embedding"), joined)
    assert any("Long-CLIP" in note for note in lens.card.notes)
    assert any("Text positions: 248" in note for note in lens.card.notes) == by_name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("openai/clip-vit-base-patch16", "write hf:openai/clip-vit-base-patch16 "),
        ("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
        ("ViT-B/61", "Did you mean ViT-B-16"),
        ("vit-b-16", "Did you mean ViT-B-16"),
    ],
)
def test_names_that_were_meant_as_others(name, said):
    with pytest.raises(ValueError, match=said):
        clipsight.load(name)


def test_a_folder_is_named_by_its_format(tmp_path):
    with pytest.raises(ValueError, match=f"write local-dir:{tmp_path}"):
        clipsight.load(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=f"write hf:{tmp_path}"):
        clipsight.load(tmp_path)


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("gpu", "write 'cuda'"),
        ("GPU:0", "write 'cuda'"),
        ("metal", "write 'mps'"),
        ("CPU", "write 'cpu'"),
        ("x", "'mps'"),
    ],
)
def test_devices_by_the_names_of_people(device, said):
    with pytest.raises(ValueError, match=f"no name of PyTorch's; {'.*' if device == 'x' else ''}{said}"):
        clipsight.load("clipsight-tiny", device=device)


def test_the_cause_that_is_given_holds(tmp_path):
    """Passing the file alone is advised where that works, and only there."""
    state = {name: tensor for name, tensor in plain_weights(77).items() if ".11." not in name}
    save_file(state, tmp_path / "good.safetensors")
    with pytest.raises(CheckpointError, match="pass the file alone"):
        clipsight.load("ViT-B-32", tmp_path / "good.safetensors", quick_gelu=False)
    assert clipsight.load(tmp_path / "good.safetensors", quick_gelu=False).card.depth == 11
    del state["visual.conv1.weight"]
    save_file(state, tmp_path / "bad.safetensors")
    with pytest.raises(CheckpointError) as caught:
        clipsight.load("ViT-B-32", tmp_path / "bad.safetensors", quick_gelu=False)
    assert "file alone" not in str(caught.value)
