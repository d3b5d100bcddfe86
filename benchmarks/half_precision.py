"""bfloat16 against float32 on this processor, ViT-B/16: time of pictures, texts and maps, and how far numbers move."""

from collections.abc import Callable

import open_clip
import torch
from timing import ratio, report
from torch import Tensor

import clipsight
from clipsight.session.lens import Lens


def compare(work: str, run: Callable[[Lens], Tensor], **facts: object) -> dict[str, object]:
    """Both number types in turn, and the largest change relative to the largest value."""
    far = (run(half).float() - run(exact)).abs().max() / run(exact).abs().max()
    row = ratio(lambda: run(half), lambda: run(exact), rounds=11)
    return {"work": work, "baseline": "float32", **facts, **row, "largest_relative_change": float(far)}


model = open_clip.create_model("ViT-B-16", force_quick_gelu=True).eval()
exact = clipsight.load(model, device="cpu")
half = clipsight.load(model, device="cpu", dtype="bf16")
ids = open_clip.SimpleTokenizer(context_length=77)([f"a photo of the number {n}" for n in range(64)])
texts = torch.randn(59, 512, generator=torch.Generator().manual_seed(0))
rows = []
with torch.inference_mode():
    for batch in (1, 8):
        x = torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(1))
        rows += [
            compare("encode_image", lambda lens, x=x: lens.encode_image(x.to(lens.dtype)), batch=batch),
            compare(
                "maps, clip_surgery",
                lambda lens, x=x: lens.maps(x.to(lens.dtype), texts.to(lens.dtype)),
                batch=batch,
            ),
        ]
    rows.append(compare("encode_text", lambda lens: lens.encode_text(ids), batch=64))
report("bfloat16 on the CPU", rows)
