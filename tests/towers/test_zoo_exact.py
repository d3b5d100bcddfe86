"""The exact map on every architecture of open_clip and every family of Hugging Face: all parts together are the cosine.

The towers are those of the zoo, built small, with no weight left at a special value.
"""

import pytest
import torch

from clipsight.attribution.exact import image_shares, joint_shares, text_shares
from clipsight.attribution.marks import marks_of
from clipsight.errors import Unsupported
from clipsight.towers.families import towers_of
from clipsight.towers.open_clip_text import OpenClipText
from clipsight.towers.view import TextView, VisionView
from towers.hf_tiny import tiny_hf
from towers.test_zoo import NAMES, folder, opened, pictures  # noqa: F401  a fixture and the towers
from towers.zoo import HF_IDS

RELATIVE = 1e-5
VISION_REFUSED = {"vit_relpos_medium_patch16_cls_224": "class token"}
TEXT_REFUSED = {
    name: "ClsPooler"
    for name in ("nllb-clip-base", "nllb-clip-base-siglip", "nllb-clip-large", "nllb-clip-large-siglip")
}


def token_ids(view: TextView) -> torch.Tensor:
    ids = torch.randint(3, 110, (3, view.context), generator=torch.Generator().manual_seed(1))
    ends = torch.tensor([4, view.context - 1, 9])
    ids[torch.arange(3), ends] = min(HF_IDS["vocab_size"], view.vocabulary or HF_IDS["vocab_size"]) - 1
    if isinstance(view, OpenClipText) and view.pooling == "eos":
        ids[torch.arange(3), ends] = view._end_id
    if isinstance(view, OpenClipText) and view._masked:
        ids[0, 6:] = HF_IDS["pad_token_id"]
    return ids


def near(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.isfinite().all()
    assert float((ours - theirs).abs().max()) <= RELATIVE * float(theirs.abs().max())


def image_adds_up(view: VisionView, size: tuple[int, int] | None = None) -> None:
    x = pictures(view, size)
    texts = torch.randn(5, view.embed_dim, generator=torch.Generator().manual_seed(2))
    whole, along = image_shares(view, x), image_shares(view, x, texts)
    grid = view.grid(*x.shape[-2:])
    assert along.patches.shape == (2, *grid, 5)
    together = whole.patches.sum((1, 2)) + whole.prefix + whole.networks + whole.constant
    near(together, view.encode(x))
    near(whole.feature, view.encode(x))
    for name in ("patches", "prefix", "networks", "constant"):
        near(getattr(along, name), getattr(whole, name) @ texts.T)


def text_adds_up(view: TextView, ids: torch.Tensor) -> None:
    parts = view.parts()
    images = torch.randn(4, view.embed_dim, generator=torch.Generator().manual_seed(2))
    whole, along = text_shares(parts, ids), text_shares(parts, ids, images)
    near(whole.tokens.sum(1) + whole.networks + whole.constant, view.encode(ids))
    near(along.tokens, whole.tokens @ images.T)
    near(along.networks, whole.networks @ images.T)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_image_parts_are_the_feature(name, folder):  # noqa: F811
    view = opened(name, folder)[1].vision
    if name in VISION_REFUSED:
        with pytest.raises(Unsupported, match=VISION_REFUSED[name]):
            image_shares(view, pictures(view))
        return
    image_adds_up(view)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_text_parts_are_the_feature(name, folder):  # noqa: F811
    view = opened(name, folder)[1].text
    if name in TEXT_REFUSED:
        with pytest.raises(Unsupported, match=TEXT_REFUSED[name]):
            text_shares(view.parts(), token_ids(view))
        return
    text_adds_up(view, token_ids(view))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {**VISION_REFUSED, **TEXT_REFUSED}])
@torch.no_grad()
def test_pairs_and_rest_are_the_cosine(name, folder):  # noqa: F811
    towers = opened(name, folder)[1]
    pairs_add_up(towers.vision, towers.text)


@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2"])
@torch.no_grad()
def test_hugging_face_families(kind):
    towers = towers_of(tiny_hf(kind))
    ids = token_ids(towers.text)
    image_adds_up(towers.vision)
    image_adds_up(towers.vision, (48, 80))
    text_adds_up(towers.text, ids)
    pairs_add_up(towers.vision, towers.text)


def pairs_add_up(vision: VisionView, text: TextView) -> None:
    parts, ids, x = text.parts(), token_ids(text), pictures(vision)
    content = marks_of(parts, ids).content
    joint = joint_shares(vision, parts, x, ids, content)
    cosine = torch.nn.functional.cosine_similarity(vision.encode(x)[:, None], text.encode(ids)[None], dim=-1)
    assert joint.matrix.shape == (2, *ids.shape, *vision.grid(*x.shape[-2:]))
    assert not joint.matrix[:, ~content].any()
    near(joint.cosine, cosine)
    largest = torch.stack([joint.matrix.sum((-3, -2, -1)), *joint.rest.values()]).abs().amax(0)
    assert (joint.error <= RELATIVE * largest.clamp(min=1e-2)).all(), joint.error
