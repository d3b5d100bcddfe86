"""S14: explaining, classifying, tagging, segmenting one picture and weighing a caption's words; target <= 1.3 passes.

ViT-B/16 of random weights, one picture of 224 × 224, texts encoded before. `passes` counts the arithmetic of matrix
products and convolutions (torch's counter) against one `encode_image`; `ratio` is wall time. `lens.explain(image)`,
`lens.classify(image)` and so on encode the picture each: one call a question.
"""

from collections.abc import Callable

import numpy as np
import open_clip
import torch
from PIL import Image
from timing import ratio, report
from torch.utils.flop_counter import FlopCounterMode

import clipsight

TEXTS = [
    f"a {noun}" for noun in ("dog", "car", "tree", "house", "boat", "cat", "bird", "road", "lamp", "door")
]
CAPTION = "a red car left of a dog"
ASK = {
    "explain": lambda seen: seen.explain(TEXTS),
    "classify": lambda seen: seen.classify(TEXTS),
    "tag": lambda seen: seen.tag(TEXTS),
    "segment": lambda seen: seen.segment(TEXTS, window="whole"),
}
"""By name, the questions whose text side is remembered; words run the text tower each time and are reported apart."""

model = open_clip.create_model("ViT-B-16", force_quick_gelu=True).eval()
lens = clipsight.load(model, device="cpu")
picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8))
pixels = lens.preprocess(picture)


def together() -> None:
    seen = lens.see(picture)
    for ask in ASK.values():
        ask(seen)


def apart() -> None:
    for ask in ASK.values():
        ask(lens.see(picture))


def with_words() -> None:
    seen = lens.see(picture)
    for ask in ASK.values():
        ask(seen)
    seen.words(CAPTION)


def one_pass() -> None:
    model.encode_image(pixels)


def flops(work: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


with torch.inference_mode():
    with_words()
    each = flops(one_pass)
    rows = [
        {
            "work": name,
            "baseline": "1 x encode_image",
            "passes": flops(work) / each,
            **ratio(work, one_pass, rounds=5),
            **({"target": "<= 1.3 x"} if work is together else {}),
        }
        for name, work in (
            ("explain, classify, tag, segment of one Seen", together),
            ("the same and words (attention), text tower included", with_words),
            ("the same four, one call a question", apart),
        )
    ]
    for name, ask in ASK.items():
        rows.append({"work": f"{name} alone", "passes": flops(lambda ask=ask: ask(lens.see(picture))) / each})
report("S14", rows)
