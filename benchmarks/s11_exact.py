"""S11: exact maps of 59 texts against open_clip's `encode_image`; target <= 1.00."""

import open_clip
import torch
from timing import ratio, report

from clipsight.attribution.exact import image_shares
from clipsight.towers.open_clip_vit import OpenClipVision

model = open_clip.create_model("ViT-B-16", force_quick_gelu=True).eval()
view = OpenClipVision(model.visual)
texts = torch.nn.functional.normalize(
    torch.randn(59, 512, generator=torch.Generator().manual_seed(0)), dim=-1
)


def maps(x: torch.Tensor) -> torch.Tensor:
    shares = image_shares(view, x, texts)
    return shares.patches / shares.feature.norm(dim=-1)[:, None, None, None]


rows = []
with torch.inference_mode():
    for batch in (1, 8):
        x = torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(1))
        row = ratio(lambda x=x: maps(x), lambda x=x: model.encode_image(x), rounds=101 if batch == 1 else 15)
        rows.append(
            {
                "work": "exact maps, 59 texts",
                "baseline": "encode_image",
                "batch": batch,
                **row,
                "target": 1.0,
            }
        )
report("S11", rows)
