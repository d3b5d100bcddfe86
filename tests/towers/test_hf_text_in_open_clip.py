"""open_clip models with a Hugging Face text tower: loaded from a folder with a tokenizer made here, to features."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.tokenizer import HFTokenizer
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import clipsight
from clipsight.errors import CheckpointError, ClipsightWarning
from clipsight.world import make_scene
from tiny import TINY_VISION
from towers.zoo import build, hf_config

transformers = pytest.importorskip("transformers")
TEXTS = ["a dog", "A dog left of a red car", "two cats on a mat", "a"]
CORPUS = [
    *TEXTS,
    "a photo of the small blue bird above the old clock",
    "many words that nobody ever said before",
]


def write_tokenizer(kind: str, folder: Path) -> None:
    """A small tokenizer of one of the usual kinds, trained on a few sentences."""
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    if kind == "wordpiece":
        made = Tokenizer(models.WordPiece(unk_token="<unk>"))
        made.normalizer = normalizers.Lowercase()
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        made.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=280, special_tokens=specials)
    elif kind == "unigram":
        made = Tokenizer(models.Unigram())
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        made.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=specials, unk_token="<unk>")
    else:
        made = Tokenizer(models.BPE(unk_token="<unk>"))
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=290, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        )
    made.train_from_iterator(CORPUS, trainer)
    ends = [("<s>", made.token_to_id("<s>")), ("</s>", made.token_to_id("</s>"))]
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(folder)


@pytest.fixture(scope="module", params=["byte-level BPE", "unigram", "wordpiece"])
def folder(request, tmp_path_factory) -> Path:
    """A model folder as open_clip writes it, with text model and tokenizer in a folder of their own."""
    path = tmp_path_factory.mktemp("model")
    text = path / "text"
    text.mkdir()
    (text / "config.json").write_text(json.dumps(hf_config("roberta")))
    write_tokenizer(request.param, path)  # open_clip reads it from the model's own folder
    model_cfg = {
        "embed_dim": 32,
        "vision_cfg": TINY_VISION,
        "text_cfg": {
            "hf_model_name": str(text),
            "hf_tokenizer_name": str(text),
            "hf_pooler_type": "mean_pooler",
            "hf_proj_type": "linear",
            "context_length": 24,
        },
    }
    torch.manual_seed(0)
    made = {**model_cfg, "text_cfg": {**model_cfg["text_cfg"], "hf_model_pretrained": False}}
    model = open_clip.CustomTextCLIP(**made).eval()
    (path / "open_clip_config.json").write_text(json.dumps({"model_cfg": model_cfg, "preprocess_cfg": {}}))
    save_file(
        {n: t.contiguous() for n, t in model.state_dict().items()}, path / "open_clip_model.safetensors"
    )
    return path


def test_strings_become_the_librarys_features(folder):
    lens = clipsight.load(f"local-dir:{folder}", device="cpu")
    tokenizer = HFTokenizer(str(folder), context_length=24)
    ids = tokenizer(TEXTS)
    assert ids.shape == (len(TEXTS), 24)
    expected = lens.module.encode_text(ids)
    torch.testing.assert_close(lens.encode_text(TEXTS), expected.detach(), atol=1e-5, rtol=1e-5)
    assert len({tuple(row.tolist()) for row in ids}) == len(TEXTS)


def test_a_long_text_is_cut_with_its_end_said(folder):
    lens = clipsight.load(f"local-dir:{folder}", device="cpu")
    long = "a photo of the small blue bird above the old clock " * 12 + "zebra"
    with pytest.warns(ClipsightWarning, match="its end is not seen"):
        features = lens.encode_text([long])
    assert features.isfinite().all()
    ids = HFTokenizer(str(folder), context_length=24)([long])
    torch.testing.assert_close(features, lens.module.encode_text(ids).detach(), atol=1e-5, rtol=1e-5)


def test_a_missing_tokenizer_is_said_in_a_sentence(folder, tmp_path):
    for file in folder.iterdir():
        if "token" not in file.name:
            (tmp_path / file.name).symlink_to(file)
    with pytest.raises(
        CheckpointError, match=r"tokenizer .* cannot be read from the folder .*put its tokenizer.json"
    ):
        clipsight.load(f"local-dir:{tmp_path}", device="cpu")


def test_a_configuration_alone_names_its_tokenizer(folder):
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = str(folder)
    (folder / "named.json").write_text(json.dumps(config))
    lens = clipsight.load(folder / "named.json", folder / "open_clip_model.safetensors", device="cpu")
    torch.testing.assert_close(
        lens.encode_text(TEXTS), clipsight.load(f"local-dir:{folder}", device="cpu").encode_text(TEXTS)
    )


def test_maps_need_no_more_than_the_folder(folder):
    lens = clipsight.load(f"local-dir:{folder}", device="cpu")
    explained = lens.explain(make_scene(0, size=64).image, TEXTS, contrast=None)
    assert explained.maps.shape == (4, 4, 4)
    assert explained.maps.isfinite().all()


@pytest.mark.parametrize("name", ["roberta-ViT-B-32", "nllb-clip-base"])
def test_any_number_of_masked_positions_gives_the_same(name, tmp_path):
    model = build(name, tmp_path)
    lens = clipsight.load(model, device="cpu")
    ids = torch.full((1, 20), 1)
    ids[0, :6] = torch.tensor([0, 50, 60, 70, 80, 2])
    with torch.no_grad():
        torch.testing.assert_close(lens.encode_text(ids), lens.encode_text(ids[:, :6]), atol=1e-5, rtol=1e-5)
