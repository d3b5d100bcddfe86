"""Patch features of recipes against open_clip's `encode_image`: ViT-B/16 of random weights, 224 px, batch 1 and 8."""

import open_clip
import torch
from timing import ratio, report

import clipsight


def compare(name: str, targets: dict[str, float]) -> None:
    """Time each recipe beside the library's pass of the same model and report the ratios with their targets."""
    model = open_clip.create_model("ViT-B-16", force_quick_gelu=True).eval()
    lens = clipsight.load(model, device="cpu")
    rows = []
    with torch.inference_mode():
        for batch in (1, 8):
            x = torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(1))
            for recipe, target in targets.items():
                row = ratio(
                    lambda x=x, recipe=recipe: lens.patch_features(x, recipe),
                    lambda x=x: model.encode_image(x),
                    rounds=61 if batch == 1 else 11,
                )
                rows.append(
                    {"work": recipe, "baseline": "encode_image", "batch": batch, **row, "target": target}
                )
    report(name, rows)
