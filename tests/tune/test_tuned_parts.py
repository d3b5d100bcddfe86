"""Which parameters train, and the way back."""

import copy

import open_clip
import pytest
import torch
from tests.tiny import past_type_checks, pixels, tiny_clip
from torch import nn

from clipsight.errors import Unsupported
from clipsight.tune.lora import LoraPlan
from clipsight.tune.tower_of_parameter import tower_of_parameter
from clipsight.tune.tuned import WHICH, choose_parameters, decay_groups

IDS = torch.tensor([[49406, 320, 736, 49407] + [0] * 73, [49406, 1125, 49407] + [0] * 74])
IDS_8 = torch.tensor([[1, 5, 9, 30, 2, 0, 0, 0], [1, 7, 2, 0, 0, 0, 0, 0]])


def custom_text_clip(**vision) -> nn.Module:
    torch.manual_seed(0)
    return open_clip.CustomTextCLIP(
        16,
        {"image_size": 32, "patch_size": 16, "width": 32, "head_width": 16, "layers": 2, **vision},
        {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 2},
        init_logit_bias=-10.0,
    ).eval()


def coca() -> nn.Module:
    torch.manual_seed(0)
    return open_clip.CoCa(
        16,
        multimodal_cfg={"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 2},
        text_cfg={
            "context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 2, "embed_cls": True,
            "output_tokens": True,
        },
        vision_cfg={
            "image_size": 32, "patch_size": 16, "width": 32, "head_width": 16, "layers": 2,
            "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True,
        },
    ).eval()  # fmt: skip


def look(module: nn.Module) -> list[tuple[str, int, bool, str]]:
    """Everything about parameters that must be as before: name, identity, whether it asks, class of its module."""
    kinds = {name: type(one).__name__ for name, one in module.named_modules()}
    return [
        (name, id(one), one.requires_grad, kinds[name.rpartition(".")[0]])
        for name, one in module.named_parameters()
    ]


def moved(module: nn.Module, images: torch.Tensor, ids: torch.Tensor) -> set[str]:
    """Names of parameters that a backward pass of both towers gives a gradient."""
    module.zero_grad(set_to_none=True)
    module.train()
    scale = module.logit_scale.exp()
    bias = getattr(module, "logit_bias", None)
    logits = scale * module.encode_image(images) @ module.encode_text(ids).T + (0 if bias is None else bias)
    logits.square().sum().backward()
    module.eval()
    return {name for name, one in module.named_parameters() if one.grad is not None}


@pytest.mark.parametrize("build", [tiny_clip, custom_text_clip], ids=["CLIP", "CustomTextCLIP"])
@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("logit_scale", [True, False])
def test_just_the_chosen_parameters_get_gradients_and_all_is_undone(build, which, logit_scale: bool):
    module = build()
    images, ids = (pixels(2), IDS) if build is tiny_clip else (pixels(2, 32, 32), IDS_8)
    next(module.parameters()).requires_grad_(False)  # found like that, left like that
    before, state = look(module), copy.deepcopy(module.state_dict())
    tuned = choose_parameters(module, which, logit_scale=logit_scale)
    asked = {id(one) for one in module.parameters() if one.requires_grad}
    assert {id(one) for _, one in tuned.named} == asked
    assert tuned.count == sum(one.numel() for one in module.parameters() if one.requires_grad)
    got = moved(module, images, ids)
    assert got == {name for name, one in module.named_parameters() if one.requires_grad}
    assert any(tower_of_parameter(name) == "scale" for name in got) == logit_scale
    tower = {name for name in got if tower_of_parameter(name) != "scale"}
    if which in ("text", "vision"):
        assert {tower_of_parameter(name) for name in tower} == {which}
    else:
        assert {tower_of_parameter(name) for name in tower} == {"text", "vision"}
    if which == "layernorm":
        assert all(isinstance(module.get_submodule(name.rpartition(".")[0]), nn.LayerNorm) for name in tower)
    tuned.restore()
    assert look(module) == before
    assert list(module.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


def test_full_training_leaves_out_what_neither_tower_uses():
    module = coca()
    tuned = choose_parameters(module, "full")
    sides = {tower_of_parameter(name) for name, _ in tuned.named}
    assert sides == {"text", "vision", "scale"}
    assert not any(one.requires_grad for one in module.text_decoder.parameters())
    assert any(tower_of_parameter(name) == "other" for name, _ in module.named_parameters())


def test_every_parameter_of_a_native_model_has_a_side():
    for module in (tiny_clip(), custom_text_clip()):
        assert "other" not in {tower_of_parameter(name) for name, _ in module.named_parameters()}


def test_only_matrices_decay():
    module = tiny_clip()
    named = choose_parameters(module, "full").named
    decayed, others = decay_groups(named, 0.2)
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.2, 0.0)
    names = {id(one): name for name, one in named}
    still = {names[id(one)] for one in others["params"]}
    shrunk = {names[id(one)] for one in decayed["params"]}
    assert len(still) + len(shrunk) == len(named)
    assert "logit_scale" in still
    assert all(
        name.endswith(("bias", "class_embedding")) or "ln_" in name or name == "logit_scale" for name in still
    )
    assert {"transformer.resblocks.0.attn.in_proj_weight", "token_embedding.weight", "visual.proj"} <= shrunk
    assert not any(name.endswith("bias") or ".ln_" in name for name in shrunk)


def test_scales_of_heads_do_not_decay_and_adapters_do():
    scales = [("a.attn.logit_scale", nn.Parameter(torch.ones(2, 1, 1)))]
    assert [group["weight_decay"] for group in decay_groups(scales, 0.1)] == [0.0]
    tuned = choose_parameters(tiny_clip(), "lora", logit_scale=False)
    (group,) = decay_groups(tuned.named, 0.1)
    assert group["weight_decay"] == 0.1
    assert len(group["params"]) == len(tuned.named)


def test_a_weight_step_with_the_groups_moves_nothing_else():
    module = tiny_clip()
    before = copy.deepcopy(module.state_dict())
    tuned = choose_parameters(module, "layernorm", logit_scale=False)
    optimizer = torch.optim.AdamW(decay_groups(tuned.named, 0.1), lr=0.01)
    moved(module, pixels(2), IDS)
    optimizer.step()
    tuned.restore()
    changed = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name, _ in tuned.named}


def test_what_cannot_be_chosen_is_refused_and_changes_nothing():
    with past_type_checks(), pytest.raises(ValueError, match="choose one of full"):
        choose_parameters(tiny_clip(), "txet")
    with pytest.raises(ValueError, match="plan of adapters"):
        choose_parameters(tiny_clip(), "full", lora=LoraPlan())
    module = tiny_clip(layers=[1, 1, 1, 1], width=8, head_width=8)
    before = look(module)
    with pytest.raises(Unsupported, match="a ResNet has none"):
        choose_parameters(module, "lora", lora=LoraPlan(towers=("vision",)))
    assert look(module) == before
    with pytest.raises(Unsupported, match="not one tower"):
        choose_parameters(tiny_clip().visual, "full")


def test_models_of_transformers_are_refused():
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    text = transformers.CLIPTextConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    vision = transformers.CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    config = transformers.CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=8
    )
    with pytest.raises(Unsupported, match="open_clip"):
        choose_parameters(transformers.CLIPModel(config), "full")
