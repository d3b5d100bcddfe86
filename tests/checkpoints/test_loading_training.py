"""Training checkpoints: which of the tensors are the model, and what the file says of itself."""

import argparse
import json
import pathlib

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from clipsight.checkpoints.training_files import choose_weights, facts
from clipsight.checkpoints.weight_files import is_weight_path, read_weights, split_entry
from clipsight.errors import CheckpointError
from clipsight.towers.loading import load_model
from tiny import TINY_TEXT, TINY_VISION, tiny_clip

MODEL = tiny_clip(seed=3)
PLAIN = MODEL.state_dict()
AVERAGED = tiny_clip(seed=4).state_dict()


def under(prefix: str, state: dict = PLAIN) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in other)


def optimizer_state() -> dict:
    """AdamW after one step: its averages have the parameters' own shapes."""
    model = tiny_clip(seed=3)
    optimizer = torch.optim.AdamW(model.parameters())
    model.logit_scale.exp().backward()
    optimizer.step()
    return optimizer.state_dict()


OPEN_CLIP = {"epoch": 3, "name": "2026_01_01-model_tiny-lr_1e-05-b_8", "optimizer": optimizer_state()}
LIGHTNING = {"pytorch-lightning_version": "2.4.0", "global_step": 9, "optimizer_states": [optimizer_state()]}


@pytest.mark.parametrize(
    "content",
    [
        {**OPEN_CLIP, "state_dict": under("module."), "scaler": {"scale": 65536.0}},
        {**LIGHTNING, "state_dict": under("model.")},
        {**LIGHTNING, "state_dict": {**under("model.clip."), "criterion.logits": torch.ones(3)}},
        {"model": under("_orig_mod.")},
        {"module": PLAIN, "optimizer": {"exp_avg": dict(PLAIN)}},
        {"model": {"state_dict": under("module.")}},
        {"model_state_dict": PLAIN, "scheduler": {"last": torch.ones(2)}},
        {"weights_of_mine": PLAIN, "epoch": torch.tensor(3)},
        under("module._orig_mod."),
        under("student.module.backbone."),
        {name.replace("resblocks.0", "resblocks.0._checkpoint_wrapped_module"): t for name, t in PLAIN.items()},
        under("_fsdp_wrapped_module.", {n.replace("visual", "visual._fsdp_wrapped_module"): PLAIN[n] for n in PLAIN}),
        {**under("module."), "n_averaged": torch.tensor(5)},
    ],
    ids=[
        "open_clip", "lightning", "lightning with a loss", "compiled", "deepspeed", "nested", "model_state_dict",
        "another name", "ddp and compiled", "a prefix of its own", "activation checkpointing", "fsdp", "swa",
    ],
)  # fmt: skip
def test_the_model_is_found(content):
    assert same(choose_weights(content, "", "w.pt").state, PLAIN)


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": PLAIN, "state_dict_ema": AVERAGED},
        {"model": PLAIN, "model_ema": {"module": AVERAGED, "decay": 0.999}},
        {"state_dict": PLAIN, "ema": {"state_dict": under("module.", AVERAGED), "updates": 7}},
        {"ema_state_dict": AVERAGED, "state_dict": under("module.")},
        {"state_dict": {**under("model."), **under("ema_model.", AVERAGED)}},
        {**under("ema.module.", AVERAGED), **PLAIN},
    ],
    ids=["timm", "detr", "yolo", "first", "one dict", "bare"],
)
def test_plain_weights_unless_the_averages_are_asked_for(content):
    plain = choose_weights(content, "", "w.pt")
    assert same(plain.state, PLAIN)
    assert "averaged weights (EMA" in plain.notes[0]
    assert "'w.pt#ema'" in plain.notes[0]
    averaged = choose_weights(content, "ema", "w.pt")
    assert same(averaged.state, AVERAGED)
    assert averaged.notes == ()


def test_averages_alone_are_taken_and_said():
    chosen = choose_weights({"state_dict_ema": AVERAGED, "epoch": 3}, "", "w.pt")
    assert same(chosen.state, AVERAGED)
    assert "averaged weights only ('state_dict_ema')" in chosen.notes[0]


@pytest.mark.parametrize(
    "content", [{"student": PLAIN, "teacher": AVERAGED}, {**under("student."), **under("teacher.", AVERAGED)}]
)
def test_of_two_equal_candidates_one_must_be_named(content):
    with pytest.raises(
        CheckpointError, match=r"several sets of weights, 'student', 'teacher'.*w\.pt#student"
    ):
        choose_weights(content, "", "w.pt")
    assert same(choose_weights(content, "teacher", "w.pt").state, AVERAGED)


def test_what_is_asked_for_must_be_there():
    content = {"state_dict": PLAIN, "teacher": AVERAGED}
    assert same(choose_weights(content, "teacher", "w.pt").state, AVERAGED)
    with pytest.raises(
        CheckpointError, match="'ema' was asked for, but the file holds 'state_dict', 'teacher'"
    ):
        choose_weights(content, "ema", "w.pt")
    with pytest.raises(CheckpointError, match="one set of weights"):
        choose_weights(PLAIN, "teacher", "w.pt")


def test_what_is_left_out_is_said():
    content = {"state_dict": {**under("model."), "loss.weight": torch.ones(1), "head.bias": torch.ones(1)}}
    assert choose_weights(content, "", "w.pt").notes == (
        "Left out, because they are not under 'model.' as the model is: loss.weight, head.bias.",
    )


def test_facts_are_plain_words_from_arguments_and_settings():
    args = argparse.Namespace(model="ViT-B-32", force_quick_gelu=True, lr=1e-5, pretrained="openai")
    said = {"model": "ViT-B-32", "force_quick_gelu": True, "pretrained": "openai"}
    assert facts({"args": args, "state_dict": PLAIN}) == said
    assert facts({"hyper_parameters": {"config": vars(args)}, "model": PLAIN}) == said
    assert facts({"config": json.dumps(vars(args)), "format": "pt"}) == said
    assert facts({"model": PLAIN, "name": "run"}) == {"name": "run"}
    assert facts([1]) == facts(None) == facts({"config": "{no json"}) == {}


def test_arguments_are_read_without_running_code(tmp_path):
    args = argparse.Namespace(model="ViT-B-32", nested=argparse.Namespace(a=torch.ones(1)))
    torch.save({"state_dict": PLAIN, "args": args}, tmp_path / "w.pt")
    assert read_weights(str(tmp_path / "w.pt")).said == {"model": "ViT-B-32"}
    assert argparse.Namespace not in torch.serialization.get_safe_globals()
    args.path = pathlib.Path("x")
    torch.save({"state_dict": PLAIN, "args": args}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"asks for pathlib\.\w+"):
        read_weights(str(tmp_path / "w.pt"))
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


def test_a_safetensors_header_speaks_for_its_file(tmp_path):
    save_file(PLAIN, tmp_path / "w.safetensors", metadata={"format": "pt", "quick_gelu": "true"})
    assert read_weights(str(tmp_path / "w.safetensors")).said == {"quick_gelu": "true"}


def test_an_entry_stands_behind_the_path(tmp_path):
    assert split_entry("runs/w.pt#ema") == (pathlib.Path("runs/w.pt"), "ema")
    odd = tmp_path / "run#3.pt"
    odd.touch()
    assert split_entry(str(odd)) == (odd, "")
    assert split_entry(f"{odd}#ema") == (odd, "ema")
    assert all(map(is_weight_path, ("w.PT", "w.safetensors#ema", "run#3.pt")))
    assert not any(map(is_weight_path, ("ViT-B-32", "w.json", "local-dir:w")))


def test_a_training_checkpoint_loads_and_its_card_says_what_was_taken(tmp_path, monkeypatch):
    config = {"embed_dim": 32, "vision_cfg": TINY_VISION, "text_cfg": TINY_TEXT}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", config)
    path = tmp_path / "epoch_3.pt"
    torch.save(
        {**OPEN_CLIP, "state_dict": under("module."), "state_dict_ema": under("module.", AVERAGED)}, path
    )
    loaded = load_model("tiny", path, device="cpu")
    assert same(loaded.module.state_dict(), PLAIN)
    assert f"pretrained={str(path) + '#ema'!r} takes the averaged ones." in loaded.card.notes[-1]
    averaged = load_model("tiny", f"{path}#ema", device="cpu")
    assert same(averaged.module.state_dict(), AVERAGED)
    assert averaged.pretrained == f"{path}#ema"
    assert averaged.fingerprint != loaded.fingerprint
