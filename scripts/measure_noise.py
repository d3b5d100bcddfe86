"""Measure how large a map's scores are where nothing is: the noise level that drawings hold their scale above.

    python scripts/measure_noise.py            # prints
    python scripts/measure_noise.py --write    # and writes it into the bundled models' card.json

Of held-out scenes of a seed that nothing else uses, five nouns are asked that are not there. The noise level of a
method is the 95th percentile of the absolute scores of all patches, contrasted as `contrast="auto"` does. Printed
beside it: the median, and the median of the highest score of nouns that are there.
"""

import argparse
import json
import warnings
from pathlib import Path

import numpy as np

import clipsight
from clipsight.errors import ClipsightWarning, Unsupported
from clipsight.session.lens import Lens
from clipsight.world import make_scenes, nouns

SCENES, SEED, ABSENT = 24, 4242, 5
ASSETS = Path(clipsight.__file__).parent / "assets"


def measure(lens: Lens, method: str) -> tuple[float, float, float]:
    """95th and 50th percentile of |score| of absent nouns, and the median highest score of those that are there."""
    rng, noise, peaks = np.random.default_rng(0), [], []
    for scene in make_scenes(SCENES, SEED, "heldout", 224, objects=3):
        there = list(dict.fromkeys(thing.name for thing in scene.objects))
        absent = [name for name in rng.permutation(nouns()).tolist() if name not in there][:ABSENT]
        maps = lens.explain(scene.image, [*there, *absent], method=method).maps.numpy()
        peaks += maps[: len(there)].max((1, 2)).tolist()
        noise.append(np.abs(maps[len(there) :]).ravel())
    everything = np.concatenate(noise)
    return float(np.percentile(everything, 95)), float(np.median(everything)), float(np.median(peaks))


def main() -> None:
    """Print the levels, and write them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="into the cards of the bundled models")
    parser.add_argument("--method", action="append", help="a recipe; repeat it for several; all unless given")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ClipsightWarning)
    for name in ("clipsight-tiny", "clipsight-tiny-cae"):
        lens, levels = clipsight.load(name, device="cpu"), {}
        for method in arguments.method or clipsight.recipes():
            try:
                level, median, there = measure(lens, method)
            except Unsupported as error:
                print(f"{name} {method}: {error}")
                continue
            levels[method] = float(f"{level:.2g}")
            scaled = median * float(lens._engine.logit_scale)
            print(
                f"{name} {method}: {level:.4f}, median {median:.4f} ({scaled:.2f} logits), there {there:.4f}",
                flush=True,
            )
        if arguments.write:
            path = ASSETS / name / "card.json"
            card = json.loads(path.read_text(encoding="utf-8"))
            card.setdefault("noise_level", {}).update(levels)
            path.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
