"""Maps of image attributions against the authors' own programs."""

import pytest
import torch
from torch.nn import functional as F

from clipsight.attribution.image import attribute_patches
from clipsight.towers.open_clip_vit import OpenClipVision
from goldens import agree, model, needs_goldens, picture, tensors

pytestmark = needs_goldens


def view() -> OpenClipVision:
    return OpenClipVision(model().visual)


def texts() -> torch.Tensor:
    return tensors("inputs")["text_embeddings"].float()


def maps(name: str, method: str, count: int = 3, scale: float = 1.0, **options) -> torch.Tensor:
    return attribute_patches(view(), picture(name), scale * texts()[:count], method=method, **options).maps


@pytest.mark.parametrize("name", ["img_native", "img_160", "img_rect"])
@pytest.mark.parametrize(("layer", "at"), [("last_ln1", "norm1"), ("penultimate_out", "input")])
def test_gradcam(name, layer, at):
    found = maps(name, "gradcam", at=at, act="signed", positions="bicubic")
    agree(found, "grad_cam", f"{name}/gradcam_{layer}_raw")


@pytest.mark.parametrize(
    ("name", "start", "sign"),
    [("last", -1, 1), ("last", -1, -1), ("last4", 8, 1), ("all", 0, 1), ("all", 0, -1)],
)
def test_chefer(name, start, sign):
    with torch.no_grad():
        ids = tensors("inputs")["token_ids"]
        unit = F.normalize(model().encode_text(ids), dim=-1)
        scale = float(model().logit_scale.exp())
    answer = attribute_patches(
        view(), picture("img_native"), sign * scale * unit, method="chefer", start_layer=start
    )
    suffix = name + ("_negproj" if sign < 0 else "")
    agree(answer.maps, "chefer_generic", f"img_native/image_relevance_{suffix}")


@pytest.mark.parametrize(("start", "name"), [(0, "all"), (6, "from_half")])
def test_roll_out(start, name):
    found = maps("img_native", "rollout", start_layer=start)
    agree(found[:, 0], "rollout", f"img_native/image_rollout_{name}")
    assert torch.equal(found[:, 0], found[:, 2])


@pytest.mark.parametrize(
    ("name", "layer"), [("img_native", 0), ("img_native", 6), ("img_native", -2), ("img_160", -2)]
)
def test_legrad(name, layer):
    found = maps(name, "legrad", start_layer=layer)
    large = F.interpolate(found, picture(name).shape[-2:], mode="bilinear", align_corners=False)
    low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
    agree(((large - low) / (high - low))[:, :2], "legrad", f"{name}/map_layer{layer}")


@pytest.mark.parametrize("window", [1, 2])
def test_occlusion(window):
    found = maps("img_native", "occlusion", 1, window=window)
    pixels = found[:, 0].repeat_interleave(16, 1).repeat_interleave(16, 2)
    agree(pixels, "captum", f"img_native/occlusion_w{16 * window}_s16")


@pytest.mark.parametrize("name", ["img_native", "img_160", "img_rect"])
@pytest.mark.parametrize(
    ("tensor", "options"),
    [
        ("image_maps_notebook_n1", {}),
        ("image_maps_notebook_n3", {"last": 3}),
        ("image_maps_script_ksim", {"version": "script"}),
        ("image_maps_script_noksim", {"version": "script", "loosened": False}),
    ],
)
def test_grad_eclip(name, tensor, options):
    found = maps(name, "grad_eclip", 7, positions="bicubic", **options)
    agree(found, "grad_eclip", f"{name}/{tensor}")
