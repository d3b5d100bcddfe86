"""The architecture of bare weights: named where open_clip lists it, else read from shapes, or refused."""

import open_clip
import pytest
import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg

from clipsight.checkpoints.build import build_module, build_shapes
from clipsight.checkpoints.infer import infer_architecture, listed_config
from clipsight.errors import CheckpointError
from tiny import pixels, tiny_clip

TEXT = {"context_length": 20, "vocab_size": 60, "width": 64, "heads": 1, "layers": 2}
VISION = {"image_size": 64, "patch_size": 16, "width": 128, "head_width": 64, "layers": 3}


def shapes(name: str) -> dict[str, torch.Tensor]:
    return build_shapes(listed_config(name)).state_dict()


def rebuilt(model: torch.nn.Module) -> torch.nn.Module:
    """The same weights in the architecture that was read from them."""
    found = infer_architecture(model.state_dict(), "w.pt")
    assert found.name == ""
    other = build_module(found.model_cfg, quick_gelu=False).eval()
    other.load_state_dict(model.state_dict())
    return other


def same_features(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    ids = torch.randint(1, 60, (3, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        images = torch.equal(one.encode_image(pixels()), other.encode_image(pixels()))
        return images and torch.equal(one.encode_text(ids), other.encode_text(ids))


@pytest.mark.parametrize(
    "name",
    [
        "RN50x4",
        "ViT-B-32",
        "ViT-L-14-336",
        "ViT-H-14",
        "ViT-L-14-CLIPA",
        "ViT-M-16-alt",
        "ViT-L-14-worldwide",
        "coca_ViT-B-32",
    ],
)
def test_listed_architectures_are_found_by_their_shapes(name):
    if name not in open_clip.list_models():
        pytest.skip(f"open_clip {open_clip.__version__} does not list {name}")
    found = infer_architecture(shapes(name), "w.pt")
    assert found.name == name
    assert found.model_cfg == {
        key: value for key, value in listed_config(name).items() if key != "quick_gelu"
    }
    assert name in found.note


def test_of_two_activations_the_plain_name_is_found():
    found = infer_architecture(shapes("ViT-B-16-quickgelu"), "w.pt")
    assert found.name == "ViT-B-16"
    assert "quick_gelu" not in found.model_cfg


@pytest.mark.parametrize("text", [{}, {"ls_init_value": 0.1}, {"mlp_ratio": 2.55}])
@pytest.mark.parametrize("vision", [{}, {"ls_init_value": 0.1}, {"mlp_ratio": 3.3}, {"no_ln_pre": True}])
def test_an_unlisted_vit_is_read_from_its_shapes(text, vision):
    model = tiny_clip(1, quick_gelu=False, text={**TEXT, **text}, **{**VISION, **vision})
    assert same_features(rebuilt(model), model)


def test_the_text_tower_may_stand_apart():
    model = open_clip.CustomTextCLIP(32, CLIPVisionCfg(**VISION), CLIPTextCfg(**TEXT), init_logit_bias=-3.0)
    other = rebuilt(model.eval())
    assert isinstance(other, open_clip.CustomTextCLIP)
    assert same_features(other, model)
    assert other.logit_bias == -3.0


def test_a_listed_name_may_have_its_text_tower_apart():
    config = {**listed_config("ViT-S-32-alt"), "custom_text": True}
    found = infer_architecture(build_shapes(config).state_dict(), "w.pt")
    assert (found.name, found.model_cfg["custom_text"]) == ("ViT-S-32-alt", True)


def test_an_unlisted_resnet_is_read_from_its_shapes():
    vision = CLIPVisionCfg(layers=(1, 2, 1, 1), width=16, image_size=64, patch_size=None)
    model = open_clip.CLIP(32, vision, CLIPTextCfg(**TEXT)).eval()
    assert same_features(rebuilt(model), model)


def test_what_the_shapes_do_not_show_is_said():
    note = infer_architecture(tiny_clip(text=TEXT, **VISION).state_dict(), "w.pt").note
    assert "2 in the image tower and 1 in the text tower of 64 channels" in note
    assert "model=CONFIG.json with pretrained='w.pt'" in note


def test_heads_that_the_shapes_do_not_show_change_the_features():
    model = tiny_clip(text=TEXT, **{**VISION, "head_width": 32})
    assert not same_features(rebuilt(model), model)


def test_the_name_that_a_file_gives_itself_is_taken_if_it_fits():
    state = tiny_clip(text=TEXT, **VISION).state_dict()
    assert infer_architecture(shapes("ViT-B-32"), "w.pt", "ViT-B-32-quickgelu").name == "ViT-B-32-quickgelu"
    assert infer_architecture(state, "w.pt", "ViT-B-32").name == ""


def test_a_timm_tower_is_taken_on_the_files_word():
    state = {"visual.trunk.pos_embed": torch.ones(1, 4, 8), "text.token_embedding.weight": torch.ones(4, 8)}
    found = infer_architecture(state, "w.pt", "ViT-B-16-SigLIP")
    assert found.name == "ViT-B-16-SigLIP"
    assert found.model_cfg["vision_cfg"]["timm_model_name"]


BASE = tiny_clip(text=TEXT, **VISION).state_dict()


def without(start: str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in BASE.items() if not name.startswith(start)}


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({**without("visual."), "visual.trunk.stem.weight": torch.ones(1)}, "image tower is timm's"),
        (
            {**without("transformer."), "text.transformer.embeddings.word.weight": torch.ones(1)},
            "text tower is Hugging Face's",
        ),
        ({"vision_model.post_layernorm.weight": torch.ones(1)}, "transformers checkpoint .*hf:FOLDER"),
        ({"model.text_model.final_layer_norm.bias": torch.ones(1)}, "transformers checkpoint .*hf:FOLDER"),
        ({**BASE, "visual.proj.lora_A.weight": torch.ones(1)}, "LoRA .*merge"),
        ({**BASE, "visual.attn_pool.query": torch.ones(1)}, "pools by attention"),
        ({**BASE, "visual.positional_embedding": torch.ones(13, 128)}, "first names: "),
        (
            {"encoder.weight": torch.ones(2), "decoder.weight": torch.ones(2)},
            "encoder.weight, decoder.weight",
        ),
        (without("text_projection"), "model=NAME of clipsight.models"),
    ],
)
def test_what_cannot_be_read_says_what_to_pass(state, says):
    with pytest.raises(CheckpointError, match=says):
        infer_architecture(state, "w.pt")
