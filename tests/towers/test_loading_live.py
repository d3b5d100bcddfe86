"""Live modules are taken without a trace; families and fingerprints of models."""

import copy

import open_clip
import pytest
import torch
from open_clip.coca_model import MultimodalCfg
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from torch import nn

from clipsight.checkpoints.fingerprint import fingerprint
from clipsight.errors import Unsupported
from clipsight.towers.families import towers_of
from clipsight.towers.loading import load_model
from clipsight.towers.open_clip_text import OpenClipText
from tiny import TINY_TEXT, TINY_VISION, tiny_clip


@pytest.fixture(scope="module")
def clip():
    """A model whose weights float16 holds exactly."""
    return tiny_clip(seed=1).half().float()


def test_live_module_is_taken_as_it_is(clip):
    loaded = load_model(clip)
    assert loaded.module is clip
    assert loaded.name == "live module"
    assert loaded.pretrained is None
    assert loaded.card.grid == (4, 4)
    assert loaded.preprocess.size == (64, 64)
    assert loaded.tokenizer(["a dog"]).shape == (1, 77)


def test_live_module_in_training_mode_is_left_in_it(clip):
    module = copy.deepcopy(clip).train()
    loaded = load_model(module)
    assert module.training
    assert all(part.training for part in module.modules())
    assert not any(part.training for part in loaded.module.modules())
    shared = {id(parameter) for parameter in module.parameters()}
    assert {id(parameter) for parameter in loaded.module.parameters()} == shared


def test_live_module_moved_is_a_copy(clip):
    loaded = load_model(clip, dtype="bf16")
    assert next(loaded.module.parameters()).dtype == torch.bfloat16
    assert next(clip.parameters()).dtype == torch.float32
    assert loaded.fingerprint == fingerprint(clip)


def test_live_module_with_another_vocabulary_has_no_tokenizer():
    text = CLIPTextCfg(**{**TINY_TEXT, "vocab_size": 50})
    module = open_clip.CustomTextCLIP(32, CLIPVisionCfg(**TINY_VISION), text)
    assert load_model(module).tokenizer is None


def test_live_modules_that_are_refused(clip):
    with pytest.raises(Unsupported, match="Linear"):
        load_model(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="live module"):
        load_model(clip, "openai")
    with pytest.raises(ValueError, match="live module"):
        load_model(clip, quick_gelu=True)


def test_families(clip):
    towers = towers_of(clip)
    assert (towers.family, towers.off) == ("open_clip ViT", "")
    resnet = open_clip.CLIP(
        32, CLIPVisionCfg(layers=(1, 1, 1, 1), width=32, image_size=64), CLIPTextCfg(**TINY_TEXT)
    )
    assert load_model(resnet).card.family == "open_clip ResNet"


def test_coca_loads():
    text = {**TINY_TEXT, "vocab_size": 50, "context_length": 12, "embed_cls": True, "output_tokens": True}
    vision = {**TINY_VISION, "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
    captions = MultimodalCfg(width=64, heads=2, layers=1, context_length=12, vocab_size=50)
    coca = open_clip.CoCa(32, captions, text, vision).eval()
    loaded = load_model(coca)
    assert loaded.card.family == "open_clip CoCa"
    ids = torch.randint(1, 50, (3, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(OpenClipText(coca).encode(ids), coca.encode_text(ids, normalize=False))


def test_fingerprint_tells_weights_apart_and_nothing_else(clip):
    mark = fingerprint(clip)
    assert len(mark) == 12
    assert mark == fingerprint(copy.deepcopy(clip))
    assert mark == fingerprint(copy.deepcopy(clip).half())
    other = copy.deepcopy(clip)
    with torch.no_grad():
        other.ln_final.bias[3] += 1e-3
    assert fingerprint(other) != mark


def test_every_value_counts_for_a_fingerprint(clip):
    other = copy.deepcopy(clip)
    with torch.no_grad():
        other.token_embedding.weight[12_345, 6] += 1e-3
    assert fingerprint(other) != fingerprint(clip)
