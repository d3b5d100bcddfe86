"""S9: memory above the model while a picture of 2048 × 1024 is segmented with 171 names; target <= 1.5 GB.

A fresh process for each case: ViT-B/16 of random weights, random text features, the published windows for street
scenes (short side 560, windows of 224 pixels, 112 apart). The peak must not depend on the number of names; `defined`
keeps all scores at all pixels, as the formula is written.
"""

import resource
import subprocess
import sys
import time

import open_clip
import torch
from timing import report

import clipsight
from clipsight.language.names import Names
from clipsight.refine import pamr
from clipsight.tasks import (
    Refinement,
    Stitched,
    class_probabilities,
    cosine_score,
    fit_windows,
    place_windows,
    segment_windows,
    window_scores,
)

SIZE = (1024, 2048)
CASES = {
    "171 names": (171, ""),
    "1000 names": (1000, ""),
    "171 names, area rule": (171, "area"),
    "171 names, pamr": (171, "pamr"),
    "171 names, defined": (171, "defined"),
}


def peak() -> int:
    """Bytes of the most memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def segment(case: str) -> None:
    """Print the rise of the peak in bytes and the seconds of encoding and labelling."""
    count, how = CASES[case]
    generator = torch.Generator().manual_seed(0)
    lens = clipsight.load(open_clip.create_model("ViT-B-16", force_quick_gelu=True).eval(), device="cpu")
    lens.patch_features(torch.zeros(1, 3, 32, 32), "sc_clip")  # libraries load their buffers
    before = peak()
    names = Names(
        classes=tuple(f"name {k}" for k in range(count)), words=tuple((f"name {k}",) for k in range(count))
    )
    texts = torch.randn(count, 512, generator=generator)
    fit = fit_windows(SIZE, 560, 224, (16, 16))
    windows = place_windows(fit.size, 224, 112, (16, 16))
    picture = torch.randn(1, 3, *fit.size, generator=generator)
    start = time.perf_counter()
    scores = window_scores(
        picture, windows, cosine_score(lambda x: lens.patch_features(x, "sc_clip"), texts)
    ).scores
    encoded = time.perf_counter()
    if how == "defined":
        maps = Stitched(scores, windows, SIZE).whole()
        class_probabilities(maps, torch.arange(count), logit_scale=40).max(0)
    else:
        large = torch.nn.functional.interpolate(picture, SIZE, mode="bilinear") if how == "pamr" else picture
        refine = Refinement(function=lambda maps: pamr(maps[None], large, iterations=1)[0], name="pamr")
        area = 0.01 if how == "area" else 0
        chosen = refine if how == "pamr" else None
        segment_windows(scores, windows, names, SIZE, logit_scale=40, area=area, refine=chosen)
    print(peak() - before, encoded - start, time.perf_counter() - encoded)


if len(sys.argv) > 1 and sys.argv[1] in CASES:
    segment(sys.argv[1])
else:
    rows = []
    for case in CASES:
        done = subprocess.run([sys.executable, __file__, case], capture_output=True, text=True, check=True)
        risen, encoding, labelling = map(float, done.stdout.split())
        rows.append({"work": f"2048 × 1024, {case}", "above_the_model_GB": risen / 1e9, "encoding_s": encoding,
                     "labelling_s": labelling, "target_GB": 1.5})  # fmt: skip
    report("S9", rows)
