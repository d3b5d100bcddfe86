"""Measure clipsight-tiny on the held-out split of the emoji world and keep the figures on its card.

    python scripts/evaluate_tiny.py --write

The depth of CLIP Surgery is chosen on seeds of its own; every other figure is the mean over the test seeds, with the
lowest and the highest seed beside it.
"""

import argparse
import json
from pathlib import Path

import numpy as np

import clipsight
from clipsight.bench.emoji import evaluate, map_quality
from clipsight.features import get_recipe, with_depth
from clipsight.world import make_scenes

FOLDER = Path(clipsight.__file__).parent / "assets" / "clipsight-tiny"
AIMS = {
    "noun_top1": 0.85,
    "replace_obj": 0.93,
    "replace_att": 0.95,
    "presence_auroc": 0.90,
    "clip_surgery_pixel_auroc": 0.88,
    "clip_surgery_pointing": 0.70,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103])
    parser.add_argument("--count", type=int, default=300, help="scenes of each seed")
    parser.add_argument("--depth-seed", type=int, default=100)
    parser.add_argument("--depth", type=int, help="use this depth instead of choosing one")
    parser.add_argument("--write", action="store_true", help="keep the figures and the depth in card.json")
    args = parser.parse_args()
    lens = clipsight.load(f"local-dir:{args.folder}", device="cpu")
    base = get_recipe("clip_surgery")
    depths = range(1, lens.card.depth + 1) if args.depth is None else [args.depth]
    trial = list(make_scenes(args.count, args.depth_seed, "heldout"))
    rows = []
    for depth in depths:
        auroc, pointing = map_quality(lens, trial, with_depth(base, depth), "labels")
        rows.append({"last blocks": depth, "pixel AUROC": auroc, "pointing": pointing})
        print(rows[-1], flush=True)
    best = max(rows, key=lambda row: row["pixel AUROC"] + row["pointing"])["last blocks"]
    recipe = with_depth(base, int(best))
    runs = [evaluate(lens, seed, args.count, recipe) for seed in args.seeds]
    figures = {name: [run[name] for run in runs] for name in runs[0]}
    table = [
        {
            "figure": name,
            "mean": np.mean(v),
            "lowest seed": min(v),
            "highest seed": max(v),
            "aim": AIMS.get(name, "-"),
        }
        for name, v in figures.items()
    ]
    table = [{k: round(float(v), 4) if isinstance(v, float) else v for k, v in row.items()} for row in table]
    for row in table:
        print(row)
    if args.write:
        path = args.folder / "card.json"
        card = json.loads(path.read_text(encoding="utf-8"))
        card["surgery_depth"] = int(best)
        card["figures"] = {
            "command": "python scripts/evaluate_tiny.py --write",
            "split": f"heldout, {args.count} scenes a seed",
            "seeds": args.seeds,
            "held-out figures": table,
            f"depth of CLIP Surgery, seed {args.depth_seed}": [
                {k: round(float(v), 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows
            ],
        }
        path.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
