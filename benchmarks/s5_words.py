"""S5: leave-one-word-out on a 12-word caption against 13 separate `encode_text` at 77 tokens; target >= 10 x faster."""

import open_clip
import torch
from timing import ratio, report

from clipsight.attribution import attribute
from clipsight.towers.open_clip_text import OpenClipText

CAPTION = "two brown dogs run left of an old red car near water"
model = open_clip.create_model("ViT-B-16", force_quick_gelu=True).eval()
tower = OpenClipText(model)
ids = open_clip.get_tokenizer("ViT-B-16")([CAPTION])
end = int(ids.argmax())
words = len(CAPTION.split())
if end != words + 1:
    raise SystemExit(f"every word was meant to be one token; there are {end - 1} of {words} words")
image = torch.randn(512, generator=torch.Generator().manual_seed(1))
drops = ids.repeat(words + 1, 1)
for word in range(words):
    drops[word + 1, 1 + word] = 0  # another token in its place, which costs what every token costs


def ours(op: str) -> torch.Tensor:
    return attribute(tower, ids, image, method="perturbation", op=op).scores[0, 1 : 1 + words]


def baseline() -> torch.Tensor:
    unit = torch.nn.functional.normalize(image, dim=0)
    rows = torch.cat([model.encode_text(row[None], normalize=True) for row in drops])
    similarity = rows @ unit
    return similarity[0] - similarity[1:]


with torch.inference_mode():
    difference = (ours("mask_token") - baseline()).abs().max().item()
    rows = []
    for op in ("zero_emb", "mask_token", "drop", "key_block"):
        row = ratio(lambda op=op: ours(op), baseline, rounds=15)
        facts = {"times_faster": 1 / row["ratio"], "target": ">= 10 x"}
        if op == "mask_token":
            facts["max_difference"] = difference
        rows.append({"work": f"12 words, {op}", "baseline": "13 x encode_text, 77 tokens", **row, **facts})
report("S5", rows)
