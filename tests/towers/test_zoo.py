"""Every architecture that the installed open_clip lists: view = library on both towers, grid, another size.

The towers are built small (`zoo.py`). What cannot be read stands in the ledger with its reason; so does what no surgery
can be done on. The counts are published in docs/which_models.md.
"""

import copy
from functools import cache
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.model import resize_pos_embed
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from torch import nn
from torch.nn import functional as F

import clipsight
from clipsight.errors import Unsupported
from clipsight.features import Recipe, adapt_to_depth, get_recipe, recipe_ids, run, why_not, with_depth
from clipsight.towers.families import Towers, towers_of
from clipsight.towers.open_clip_text import OpenClipText
from clipsight.towers.view import BlockView, TextView, VisionView
from clipsight.world import make_scene
from towers.zoo import HF_IDS, build

NAMES = open_clip.list_models()
# Read as one piece: their trunks have no attention over patches that surgery could change, or none of that kind.
NO_SURGERY = {
    "ConvNeXt": "convolutions only",
    "FastViT": "convolutions, and attention between convolutions",
    "Swin": "attention in shifted windows, with a bias for relative positions",
    "ViT-relpos": "a bias for relative positions in every attention",
}
UNREAD: dict[str, str] = {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("hf")


@cache
def opened(name: str, folder: Path) -> tuple[nn.Module, Towers]:
    model = build(name, folder)
    return model, towers_of(model)


def pictures(view: VisionView, size: tuple[int, int] | None = None) -> torch.Tensor:
    return torch.randn(2, 3, *(size or view.native_size), generator=torch.Generator().manual_seed(3))


def surgery_of(view: VisionView) -> Recipe:
    """CLIP Surgery for a tower of three blocks."""
    recipe = adapt_to_depth(get_recipe("clip_surgery"), view).recipe
    return recipe if recipe.path.kind == "last" else with_depth(recipe, 2)


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5 * float(theirs.abs().max()), rtol=1e-5)


@pytest.fixture(params=NAMES)
def name(request) -> str:
    if request.param in UNREAD:
        pytest.skip(UNREAD[request.param])
    return request.param


@torch.no_grad()
def test_view_is_the_library(name, folder):
    model, towers = opened(name, folder)
    view = towers.vision
    assert isinstance(view, VisionView), towers.off
    assert all(isinstance(block, BlockView) for block in view.blocks)
    images = pictures(view)
    theirs = model.encode_image(images, normalize=False)
    close(view.encode(images), theirs)
    plain = run(view, images, "clip")
    assert plain.patches.shape == (2, *view.native_grid, view.embed_dim)
    assert plain.patches.isfinite().all()
    close(plain.pooled, theirs)


@torch.no_grad()
def test_texts_are_the_library(name, folder):
    model, towers = opened(name, folder)
    view = towers.text
    assert isinstance(view, TextView)
    ids = torch.randint(3, 290, (3, view.context), generator=torch.Generator().manual_seed(1))
    ids[torch.arange(3), torch.tensor([4, view.context - 1, 9])] = HF_IDS["vocab_size"] - 1
    if isinstance(view, OpenClipText) and view.pooling == "eos":
        ids[torch.arange(3), torch.tensor([4, view.context - 1, 9])] = view._end_id
    close(view.encode(ids), model.encode_text(ids, normalize=False))


@torch.no_grad()
def test_surgery_runs_or_is_refused_with_the_reason(name, folder):
    model, towers = opened(name, folder)
    view, images = towers.vision, pictures(towers.vision)
    kind = towers.family.removeprefix("timm ")
    recipe = surgery_of(view) if view.blocks else get_recipe("clip_surgery")
    assert bool(why_not(recipe, view)) == (kind in NO_SURGERY)
    if kind in NO_SURGERY:
        with pytest.raises(Unsupported, match="feature map"):
            run(view, images, recipe)
        return
    features = run(view, images, recipe)
    assert features.patches.shape == (2, *view.native_grid, view.embed_dim)
    assert features.patches.isfinite().all()
    close(features.pooled, model.encode_image(images, normalize=False))
    assert (features.patches - run(view, images, "clip").patches).abs().max() > 1e-3


@torch.no_grad()
def test_parts_of_blocks_are_the_whole(name, folder):
    view = opened(name, folder)[1].vision
    x = view.embed(pictures(view))
    for block in view.blocks:
        y = block.norm1(x)
        q, k, v = block.qkv(y)
        attended = (block.scale * q @ k.mT).softmax(-1) @ v
        merged = block.merge(attended)
        whole = x + merged + block.ffn(x + merged) if block.residual else merged
        close(whole, block(x))
        if view.prefix:
            close(block.attend_rows(y[:, : view.prefix], y), attended[:, :, : view.prefix])
        alone = block.qkv(y[:, view.prefix :], "kv")  # patches without the prefix, as some kernels take them
        close(alone[0], k[:, :, view.prefix :])
        close(alone[1], v[:, :, view.prefix :])
        x = block(x)


@torch.no_grad()
def test_a_token_is_read_as_a_picture_of_it_alone(name, folder):
    view = opened(name, folder)[1].vision
    width = view.embed_dim if any(not block.residual for block in view.blocks) else view.width
    token = torch.randn(2, 1, width, generator=torch.Generator().manual_seed(5))
    everywhere = token.expand(-1, view.prefix + 4, -1)
    close(view.readout(token)[:, 0], view.pool(everywhere))


@torch.no_grad()
def test_another_size_is_a_library_model_of_that_size(name, folder):
    model, towers = opened(name, folder)
    view = towers.vision
    size = (view.patch[0] * 3, view.patch[1] * 5)
    if not view.any_size:
        with pytest.raises(ValueError, match="built for"):
            view.grid(*size)
        return
    images = pictures(view, size)
    close(view.encode(images), at_size(model, name, folder, size)(images))
    assert run(view, images, "clip").patches.shape == (2, 3, 5, view.embed_dim)


def at_size(model: nn.Module, name: str, folder: Path, size: tuple[int, int]) -> nn.Module:
    """The library's own image tower for pictures of another size, with positions stretched by the library."""
    visual = model.get_submodule("visual")
    if isinstance(visual, TimmModel):
        other = copy.deepcopy(visual)
        if hasattr(other.trunk, "set_input_size"):
            other.trunk.set_input_size(size)
        return other
    if isinstance(visual, ModifiedResNet):
        other = copy.deepcopy(visual)
        table = other.attnpool.positional_embedding
        grid = table[1:].reshape(1, 4, 4, -1).permute(0, 3, 1, 2)
        grid = (
            F.interpolate(grid, size=(3, 5), mode="bicubic", antialias=True).permute(0, 2, 3, 1).flatten(1, 2)
        )
        other.attnpool.positional_embedding = nn.Parameter(torch.cat([table[:1], grid[0]]))
        return other
    other, state = build(name, folder, size=size), dict(model.state_dict())
    resize_pos_embed(state, other)
    other.load_state_dict(state)
    return (
        other.get_submodule("visual")
        if not hasattr(visual, "output_tokens") or not visual.output_tokens
        else _First(other)
    )


class _First(nn.Module):
    """The pooled feature of a tower that returns its tokens too."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.visual = model.get_submodule("visual")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.visual(images)[0]


KINDS = (
    "ViT-L-14-CLIPA",  # mean of the patches, norm behind it
    "coca_ViT-B-32",  # attentional pool
    "EVA02-B-16",  # rotary positions
    "EVA02-E-14",  # norms behind attention and network
    "PE-Core-B-16",  # rotary positions, class token and attention pool
    "ViTamin-S",  # convolutional stem, no positions, mean
    "MobileCLIP-B",  # convolutional stem, class token
    "ViT-B-16-SigLIP2",
    "swin_base_patch4_window7_224",  # one piece, one size
    "convnext_base",
)
ONE_OF_EACH = tuple(name for name in KINDS if name in NAMES)


@pytest.mark.parametrize("kind", ONE_OF_EACH)
@torch.no_grad()
def test_every_recipe_runs_on_every_kind_or_is_refused_with_the_reason(kind, folder):
    view = opened(kind, folder)[1].vision
    x = pictures(view, (view.patch[0] * 3, view.patch[1] * 4) if view.any_size else None)
    grid = view.grid(*x.shape[-2:])
    runs = 0
    for recipe_id in recipe_ids():
        recipe = adapt_to_depth(get_recipe(recipe_id), view).recipe
        if recipe.path.kind == "accumulate" and recipe.path.count(99) < 99:
            recipe = with_depth(recipe, 2)
        if reason := why_not(recipe, view):
            with pytest.raises(Unsupported) as caught:
                run(view, x, recipe)
            assert reason in str(caught.value)
            continue
        features = run(view, x, recipe)
        assert features.patches.shape == (2, *grid, view.embed_dim), recipe_id
        assert features.patches.isfinite().all(), recipe_id
        runs += 1
    assert runs >= (15 if view.blocks and view.class_token else 10 if view.blocks else 1)


@pytest.mark.parametrize("kind", ONE_OF_EACH)
def test_from_picture_to_results_on_every_kind(kind, folder):
    lens = clipsight.load(opened(kind, folder)[0], device="cpu")
    picture = make_scene(2, size=96).image.resize((120, 90))
    texts = torch.randn(3, lens.card.embed_dim, generator=torch.Generator().manual_seed(0))
    x = lens.preprocess(picture)
    maps = lens.maps(x, texts, method="clip", contrast="labels")
    assert maps.shape[:2] == (1, 3)
    assert maps.isfinite().all()
    assert lens.encode_image(x).shape == (1, lens.card.embed_dim)
    if lens._engine.vision.any_size:
        assert maps.shape[2] < maps.shape[3]  # the picture is wider than high
    else:
        assert "alone" in " ".join(lens.see(picture, 448).notes)


def test_nine_in_ten_are_read_and_eight_in_ten_take_surgery(folder):
    kinds = {
        name: opened(name, folder)[1].family.removeprefix("timm ") for name in NAMES if name not in UNREAD
    }
    cut = [name for name, kind in kinds.items() if kind not in NO_SURGERY]
    assert len(kinds) >= 0.9 * len(NAMES)
    assert len(cut) >= 0.8 * len(NAMES)
