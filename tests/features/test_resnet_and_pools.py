"""CLIP Surgery where there is no class-token transformer: in a ResNet's attention pool, and under a pooling head."""

import json
import warnings
from functools import cache

import pytest
import timm
import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from torch import nn
from torch.nn import functional as F

import clipsight
from clipsight.errors import Unsupported
from clipsight.features import ImagePass, Recipe, adapt_to_depth, get_recipe, recipe_ids, run, why_not
from clipsight.towers.open_clip_resnet import OpenClipResNet
from clipsight.towers.timm_vit import TimmVision
from clipsight.world import make_scene
from goldens import GOLDENS, agree, needs_goldens, picture, tensors
from tiny import pixels, tiny_clip

RESNET = {"layers": (1, 1, 1, 1), "patch_size": None, "width": 16, "image_size": 128}
ON_POOLS = {"clip", "clip_surgery", "naclip", "clearclip", "maskclip", "sclip", "pearl"}


@cache
def golden_tower() -> OpenClipResNet:
    config = json.loads((GOLDENS / "resnet_config.json").read_text())
    vision = config["vision_cfg"]
    heads = vision["width"] * 32 // vision["head_width"]
    visual = ModifiedResNet(
        vision["layers"], config["embed_dim"], heads, vision["image_size"], vision["width"]
    )
    visual.load_state_dict(
        {n.removeprefix("visual."): t.float() for n, t in tensors("weights_resnet").items()}
    )
    return OpenClipResNet(visual.eval())


@needs_goldens
@pytest.mark.parametrize(
    ("recipe", "suffix"), [("clip_surgery.pool-released", ""), ("clip_surgery.pool", "_paper")]
)
@pytest.mark.parametrize("image", ["img_native", "img_160"])
@torch.inference_mode()
def test_goldens(image, recipe, suffix):
    agree(
        run(golden_tower(), picture(image), recipe).patches,
        "clip_surgery_resnet",
        f"{image}/patch_features{suffix}",
    )
    # In both forms of the authors' program the first row is that of plain value-value attention.
    row = ImagePass(golden_tower(), picture(image), "clip_surgery.pool-released").class_token()
    agree(row, "clip_surgery_resnet", f"{image}/cls_feature{suffix}")


@needs_goldens
@torch.inference_mode()
def test_pooled_feature_stays_the_towers_own():
    view, image = golden_tower(), picture("img_native")
    for recipe in ("clip", "clip_surgery", "clip_surgery.pool-released", "naclip"):
        agree(run(view, image, recipe).pooled, "clip_surgery_resnet", "img_native/openclip_pooled")
    cells = (
        view.embed(image)[:, 1:]
        - view._positions.get(view._visual.attnpool.positional_embedding, (4, 4), "bilinear", torch.float32)[
            1:
        ]
    )
    agree(cells.mT.reshape(1, -1, 4, 4), "clip_surgery_resnet", "img_native/stage4")


@cache
def resnet() -> OpenClipResNet:
    return OpenClipResNet(tiny_clip(**RESNET).visual)


@pytest.mark.parametrize("size", [(128, 128), (64, 160)], ids=str)
@torch.inference_mode()
def test_the_papers_form_is_its_formula(size):
    view, x = resnet(), pixels(2, *size)
    pool = view._visual.attnpool
    tokens = view.embed(x, "bilinear")
    v = pool.v_proj(tokens).unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)
    unit = v / v.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    attended = (8 * v.shape[-1] ** -0.5 * unit @ unit.mT).softmax(-1) @ v
    expected = pool.c_proj(attended.transpose(1, 2).flatten(2))[:, 1:]
    features = run(view, x, "clip_surgery")
    torch.testing.assert_close(features.patches.flatten(1, 2), expected, atol=1e-5, rtol=1e-5)
    assert features.patches.shape[1:3] == (size[0] // 32, size[1] // 32)
    torch.testing.assert_close(features.pooled, view.encode(x, "bilinear"), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_maskclip_reads_every_cell_through_values_and_projection():
    """Its published form for ResNets: the attention dropped, two 1 × 1 convolutions left."""
    view, x = resnet(), pixels(2, 128, 128)
    pool, tokens = view._visual.attnpool, view.embed(x, get_recipe("maskclip").positions)
    expected = pool.c_proj(pool.v_proj(tokens[:, 1:]))
    torch.testing.assert_close(run(view, x, "maskclip").patches.flatten(1, 2), expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_plain_cells_attend_as_the_mean_token_does():
    view, x = resnet(), pixels(1, 128, 128)
    block, tokens = view.blocks[0], view.embed(x, get_recipe("clip").positions)
    made = ImagePass(view, x, "clip")
    torch.testing.assert_close(made.features().patches.flatten(1, 2), block(tokens)[:, 1:])
    torch.testing.assert_close(made.class_token(), made.features().pooled)


@pytest.mark.parametrize("name", recipe_ids())
@torch.inference_mode()
def test_every_recipe_runs_on_a_resnet_or_says_why_not(name):
    recipe = adapt_to_depth(get_recipe(name), resnet()).recipe
    reason = why_not(recipe, resnet())
    assert bool(reason) == (name not in ON_POOLS), f"{name}: {reason}"
    if reason:
        with pytest.raises(Unsupported, match="cannot run on this image tower"):
            run(resnet(), pixels(1, 128, 128), name)
    else:
        features = run(resnet(), pixels(2, 64, 96), name)
        assert features.patches.shape == (2, 2, 3, 32)
        assert features.patches.isfinite().all()


def test_card_of_a_resnet_says_what_runs():
    card = clipsight.load(tiny_clip(**RESNET), device="cpu").card
    assert card.family == "open_clip ResNet"
    assert (card.grid, card.patch, card.depth) == ((4, 4), (32, 32), 1)
    assert {name for name, why in card.methods.items() if not why} == ON_POOLS
    assert "pooling layer" in card.methods["sc_clip"]


class MapTower(TimmModel):
    """A small SigLIP tower: attention pool with a latent query, no class token."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.image_size = (64, 64)
        self.trunk = timm.create_model(
            "vit_base_patch16_siglip_224", img_size=64, embed_dim=64, depth=6, num_heads=4, num_classes=32
        )
        self.head = nn.Sequential()


@cache
def map_tower() -> TimmVision:
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        visual = MapTower().eval()
        with torch.no_grad():
            for parameter in visual.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return TimmVision(visual)


@torch.inference_mode()
def test_a_patch_is_read_through_the_pooling_heads_value_path():
    view, trunk = map_tower(), map_tower()._trunk
    tokens = torch.randn(2, 5, 64, generator=torch.Generator().manual_seed(1))
    pool, normed = trunk.attn_pool, trunk.norm(tokens)
    _, values = pool.kv(normed).chunk(2, -1)
    out = pool.proj(values)
    expected = trunk.head(out + pool.mlp(pool.norm(out)))
    torch.testing.assert_close(view.readout(tokens), expected, atol=1e-6, rtol=1e-5)


@torch.inference_mode()
def test_surgery_under_a_pooling_head_is_its_formula():
    view, x = map_tower(), pixels(2, 64, 96)
    stream, total = view.embed(x, "bilinear"), None
    entered = stream
    for block in view.blocks:
        (v,) = block.qkv(block.norm1(stream), "v")
        out = block.merge((block.scale * v @ v.mT).softmax(-1) @ v)
        total = out if total is None else total + out
        stream = block(stream)
    expected = view.readout(entered + total)
    features = run(view, x, "clip_surgery")
    torch.testing.assert_close(features.patches.flatten(1, 2), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(features.pooled, view.pool(stream), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", recipe_ids())
@torch.inference_mode()
def test_every_recipe_runs_without_a_class_token_or_says_why_not(name):
    view, x = map_tower(), pixels(1, 64, 64)
    recipe: Recipe = adapt_to_depth(get_recipe(name), view).recipe
    if recipe.needs_class_token:
        with pytest.raises(Unsupported, match="needs a class token"):
            run(view, x, name)
        return
    assert why_not(recipe, view) == ""
    features = run(view, x, name)
    assert features.patches.shape == (1, 4, 4, 32)
    assert features.patches.isfinite().all()
    torch.testing.assert_close(features.pooled, view.encode(x, recipe.positions), atol=1e-4, rtol=1e-4)


def test_class_token_of_a_tower_without_one_is_refused():
    with pytest.raises(Unsupported, match="no class token"):
        ImagePass(map_tower(), pixels(1, 64, 64), "naclip").class_token()


def test_explain_works_from_picture_to_result_without_a_class_token():
    model = tiny_clip()
    model.visual = map_tower()._trunk and MapTower().eval()
    lens = clipsight.load(model, device="cpu")
    picture_ = make_scene(0, size=112).image
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", clipsight.ClipsightWarning)
        for method, reason in lens.card.methods.items():
            if reason:
                continue
            explained = lens.explain(
                picture_, ["a dog", "a red car", "a tree"], method=method, contrast="labels"
            )
            assert explained.maps.shape == (3, 4, 4)
            assert explained.maps.isfinite().all()
    unit = F.normalize(lens.patch_features(lens.preprocess(picture_), "naclip"), dim=-1)
    assert unit.shape == (1, 4, 4, 32)
