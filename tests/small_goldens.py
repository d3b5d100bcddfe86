"""Small tensors that lie in the repository: the authors' outputs of one block, and what every method gave once.

`tests/data/goldens/README.md` says where they come from; `scripts/make_small_goldens.py` makes them.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import open_clip
import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from safetensors.torch import load_file
from torch import Tensor

import clipsight
from clipsight.attribution.registry import attribution_ids
from clipsight.features import recipe_ids
from clipsight.refine import bilateral_upsample, guided_upsample, pamr
from clipsight.towers.open_clip_vit import OpenClipVision
from clipsight.world import Scene, make_scene

FOLDER = Path(__file__).parent / "data" / "goldens"
LABELS = ("car", "dog", "guitar")
EVERY = 8
"""Of pixels: one in so many is kept."""


@cache
def last_block() -> dict[str, Tensor]:
    with torch.inference_mode(False):
        return load_file(FOLDER / "last_block.safetensors")


@cache
def recorded() -> dict[str, Tensor]:
    return load_file(FOLDER / "recorded.safetensors")


@cache
def one_block_model() -> open_clip.CLIP:
    """The last block of both towers of the goldens' model; each text state is the embedding of an id of its own."""
    kept = last_block()
    ids = kept["text_ids"]
    with torch.inference_mode(False):
        made = open_clip.CLIP(
            64,
            CLIPVisionCfg(image_size=128, layers=1, width=128, head_width=64, patch_size=16),
            CLIPTextCfg(
                context_length=ids.shape[1], vocab_size=int(ids.max()) + 1, width=64, heads=1, layers=1
            ),
            quick_gelu=True,
        )
        state = {name.removeprefix("w/"): value.float() for name, value in kept.items() if name[:2] == "w/"}
        missing, unknown = made.load_state_dict(state, strict=False)
        assert not unknown
        assert all("conv1" in name or "ln_pre" in name or "visual" in name for name in missing), missing
    return made.eval()


class LastBlock(OpenClipVision):
    """The image tower from the states on that enter its last block."""

    def embed(self, images: Tensor, positions: str = "bilinear") -> Tensor:
        return last_block()["tokens"].expand(len(images), -1, -1)


def scene() -> Scene:
    return make_scene(2, 11, "heldout")


@cache
def _lens() -> clipsight.Lens:
    with torch.inference_mode(False):
        return clipsight.load("clipsight-tiny", device="cpu")


def recipe_maps(recipe: str) -> Tensor:
    lens = _lens()
    return lens.maps(lens.preprocess(scene().image), lens.encode_text(LABELS), recipe, None)[0].float()


def attribution_scores(method: str) -> Tensor:
    one = scene()
    return _lens().words(one.image, one.captions[0].text, method).scores.float()


def _refined(refine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    lens = _lens()
    x = lens.preprocess(scene().image)
    return refine(lens.maps(x, lens.encode_text(LABELS), "clip_surgery", None), x)[0, :, ::EVERY, ::EVERY]


def _of_its_own(recipe: str) -> bool:
    """Not one that differs by the setting of a data set, or by the tower's depth."""
    return not recipe.endswith(("-b16", "-l14", "-h14", ".scaled"))


def everything() -> dict[str, Callable[[], Tensor]]:
    """What is recorded, by name."""
    made: dict[str, Callable[[], Tensor]] = {
        f"recipe/{id}": (lambda id=id: recipe_maps(id)) for id in recipe_ids(variants=True) if _of_its_own(id)
    }
    made |= {f"attribution/{id}": (lambda id=id: attribution_scores(id)) for id in attribution_ids()}
    made |= {
        "refine/pamr": lambda: _refined(pamr),
        "refine/guided": lambda: _refined(guided_upsample),
        "refine/bilateral": lambda: _refined(bilateral_upsample),
    }
    return made
