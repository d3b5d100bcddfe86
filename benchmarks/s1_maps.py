"""S1: maps of 59 texts by CLIP Surgery with label contrast against open_clip's `encode_image`; target <= 1.00."""

import open_clip
import torch
from timing import ratio, report

import clipsight

model = open_clip.create_model("ViT-B-16", force_quick_gelu=True).eval()
lens = clipsight.load(model, device="cpu")
texts = torch.randn(59, 512, generator=torch.Generator().manual_seed(0))
rows = []
with torch.inference_mode():
    for batch in (1, 8):
        x = torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(1))
        row = ratio(
            lambda x=x: lens.maps(x, texts, contrast="labels"),
            lambda x=x: model.encode_image(x),
            rounds=101 if batch == 1 else 15,
        )
        rows.append(
            {
                "work": "maps, clip_surgery, labels, 59 texts",
                "baseline": "encode_image",
                "batch": batch,
                **row,
                "target": 1.0,
            }
        )
report("S1", rows)
