"""Real photographs of all shapes through `lens.segment`: time and memory, not quality (the weights are random).

    python benchmarks/photos.py FOLDER [--count 24] [--record]

FOLDER holds .jpg files, such as `../shared/realset/images`. Every photo is labelled whole and through windows.
"""

import argparse
import resource
import statistics
import time
from pathlib import Path

import open_clip
import torch
from PIL import Image
from timing import report

import clipsight
from clipsight.language.vocabularies import vocabulary


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--record", action="store_true")
    args = parser.parse_args()
    photos = sorted(args.folder.glob("*.jpg"))
    photos = photos[:: max(len(photos) // args.count, 1)][: args.count]
    torch.manual_seed(0)
    lens = clipsight.load(open_clip.create_model("ViT-B-16", force_quick_gelu=True).eval(), device="cpu")
    names = vocabulary("VOC20")
    lens.encode_text(names.queries, "IN80")
    rows = []
    for window in ("whole", "auto"):
        before, seconds, shapes = _peak(), [], set()
        for photo in photos:
            start = time.perf_counter()
            seg = lens.segment(photo, names, recipe="naclip", window=window)
            seconds.append(time.perf_counter() - start)
            with Image.open(photo) as picture:
                shapes.add((picture.height, picture.width))
                assert tuple(seg.labels.shape) == (picture.height, picture.width)
            assert int(seg.labels.min()) >= 0
        rows.append(
            {
                "work": f"segment, 20 names, naclip, window={window}",
                "photos": len(photos),
                "shapes": len(shapes),
                "median_s": statistics.median(seconds),
                "slowest_s": max(seconds),
                "rise_of_peak_mb": (_peak() - before) / 1e6,
            }
        )
    report("photos", rows)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
