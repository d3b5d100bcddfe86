"""S12: the exact joint map of a picture and a 12-word caption against encoding both; target <= 1.3."""

import open_clip
import torch
from timing import ratio, report

from clipsight.attribution.exact import joint_shares
from clipsight.attribution.marks import marks_of
from clipsight.towers.open_clip_text import OpenClipText
from clipsight.towers.open_clip_vit import OpenClipVision

CAPTION = "two brown dogs run left of an old red car near water"
model = open_clip.create_model("ViT-B-16", force_quick_gelu=True).eval()
vision, parts = OpenClipVision(model.visual), OpenClipText(model).parts()
ids = open_clip.get_tokenizer("ViT-B-16")([CAPTION])
cut = ids[:, : int(ids.argmax()) + 1]
x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))


def ours() -> torch.Tensor:
    return joint_shares(vision, parts, x, cut, marks_of(parts, cut).content).matrix


def baseline() -> tuple[torch.Tensor, torch.Tensor]:
    return model.encode_image(x), model.encode_text(ids)


with torch.inference_mode():
    row = ratio(ours, baseline, rounds=51)
    error = float(joint_shares(vision, parts, x, cut, marks_of(parts, cut).content).error)
report(
    "S12",
    [
        {
            "work": "joint matrix, 12 words",
            "baseline": "encode_image + encode_text, 77 tokens",
            **row,
            "error": error,
            "target": 1.3,
        }
    ],
)
