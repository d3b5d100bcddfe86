"""What a fine-tuned model of the emoji world can do, and where its attribution goes, on the held-out split.

    python scripts/tune_measures.py                              # figures of clipsight-tiny
    python scripts/tune_measures.py --model local-dir:runs/x     # of another model
    python scripts/tune_measures.py --quick                      # on a seed of its own, for choosing settings
    python scripts/tune_measures.py --row                        # as a row of benchmarks/tune/rows.jsonl, arm "zero"

`measure` gives these figures, by names that stay; higher is better unless said otherwise:

| name | figure |
|---|---|
| `foil.KIND` | share of captions that score strictly higher than their foil, for each of the 7 kinds; chance is 0.5 |
| `noun_top1` | share of one-object scenes whose noun scores highest among all nouns |
| `retrieval.i2t@K` | share of pictures that have one of their own captions among the K nearest, K 1 and 5 |
| `retrieval.t2i@K` | share of distinct captions that have a picture of theirs among the K nearest |
| `map.pixel_auroc`, `map.pointing` | of CLIP Surgery's maps of the nouns that are there, with labels as contrast |
| `gamma.SETUP.OTHER` | γ: how many times as much an object word gets as one of OTHER; 1 is no gap, CAE lowers it |
| `delta_foil.ROLE` | fall of the cosine when one word of the role is replaced by a wrong one |

SETUP is a name of `clipsight.bench.word_gap.SETUPS`; OTHER is `composition` (attributes and relations),
`attribute` or `relation`; ROLE is `object`, `attribute` or `relation`. A ratio without meaning, such as one over
nothing, is left out, so that the figures are plain JSON.

Accuracies, retrieval and maps are means over the seeds, γ and ΔFoil are of the captions of all seeds together. In
retrieval the scenes of a seed compete with each other, each with its captions. A text that several scenes have counts
once, and is right for each of them; other captions that happen to be true of a scene count as wrong, so that 1 cannot
be reached. At an exact tie what is foreign stands before.
"""

import argparse
import hashlib
import json
import pickle
import time
from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

import clipsight
from clipsight.bench.composition.rules import RULES, decide, picture_recall
from clipsight.bench.composition.scoring import unit
from clipsight.bench.emoji import map_quality, noun_accuracy
from clipsight.bench.rows import versions
from clipsight.bench.word_gap import analyse_captions
from clipsight.bench.word_gap.behaviour import REPLACED
from clipsight.bench.word_gap.world_captions import world_captions
from clipsight.features import get_recipe, with_depth
from clipsight.results.io import atomic_write
from clipsight.world import Scene, make_scenes

SEEDS = (101, 102, 103)
"""The test seeds: those of the figures on the card of clipsight-tiny."""
QUICK_SEEDS = (90,)
"""For choosing settings; no test figure comes from it."""
COUNT, QUICK_COUNT = 250, 120
"""Scenes of a seed for nouns, and as many for foils and retrieval."""
MAPS, CAPTIONS = 4, 7
"""Of these scenes one in so many, the first ones, is taken for maps, and for where attribution goes."""
SCENES = Path(__file__).parents[1] / "runs" / "tune_scenes"
_RANKS = (1, 5)
_BATCH = 8


def measure(
    lens: clipsight.Lens,
    *,
    seeds: Sequence[int] | None = None,
    count: int | None = None,
    quick: bool = False,
    folder: Path | None = SCENES,
) -> dict[str, float]:
    """The figures of a model, by name; see the top of this file.

    Args:
        lens: on any device. Without prompt templates of its own, as a live module is, it gets those of clipsight-tiny;
            CLIP Surgery always repairs as many blocks as there.
        seeds: of held-out scenes. count: how many of each. None takes `SEEDS` and `COUNT`, or the quick ones.
        quick: fewer scenes, of a seed that no test figure comes from.
        folder: where scenes are kept once they are drawn; None draws them anew.
    """
    seeds = seeds or (QUICK_SEEDS if quick else SEEDS)
    count = count or (QUICK_COUNT if quick else COUNT)
    card = clipsight.load("clipsight-tiny", device="cpu").card
    if not lens.card.templates:
        lens = clipsight.Lens(replace(lens.loaded, card=replace(lens.card, templates=card.templates)))
    recipe = with_depth(get_recipe("clip_surgery"), card.surgery_depth or 1)
    each = []
    for seed in seeds:
        mixed = drawn(count, seed, folder=folder)
        area, pointing = map_quality(lens, mixed[: max(1, count // MAPS)], recipe, "labels")
        each.append(
            {
                **told_apart(lens, mixed),
                "noun_top1": noun_accuracy(lens, drawn(count, seed, objects=1, folder=folder)),
                "map.pixel_auroc": area,
                "map.pointing": pointing,
            }
        )
    # A few scenes may have no foil of a kind.
    names = dict.fromkeys(name for one in each for name in one)
    means = {name: float(np.mean([one[name] for one in each if name in one])) for name in names}
    return {**means, **attributed(lens, seeds, max(1, count // CAPTIONS))}


def told_apart(lens: clipsight.Lens, scenes: Sequence[Scene]) -> dict[str, float]:
    """Foils and retrieval, by the rules of the benchmarks, of scenes that are encoded once."""
    parts = [scenes[start : start + _BATCH] for start in range(0, len(scenes), _BATCH)]
    pixels = (torch.cat([lens.preprocess(scene.image) for scene in part]) for part in parts)
    pictures = _unit([lens.encode_image(x) for x in pixels])

    foils = [(row, foil) for row, scene in enumerate(scenes) for foil in scene.foils]
    true = _unit([lens.encode_text([foil.caption for _, foil in foils])])
    false = _unit([lens.encode_text([foil.foil for _, foil in foils])])
    pairs = np.stack([true, false], 1)
    scores = np.einsum("ne,nle->nl", pictures[[row for row, _ in foils]], pairs).astype(np.float32)
    wins = decide(RULES["pair_text"], scores[:, None], 1)["accuracy"].wins
    kinds = np.array([foil.kind for _, foil in foils])
    found = {f"foil.{kind}": float(wins[kinds == kind].mean()) for kind in np.unique(kinds)}

    texts = list(dict.fromkeys(caption.text for scene in scenes for caption in scene.captions))
    own = np.array([np.isin(texts, [caption.text for caption in scene.captions]) for scene in scenes])
    scores = (pictures @ _unit([lens.encode_text(texts)]).T).astype(np.float32)
    for side, outcomes in (
        ("i2t", picture_recall(scores, own, _RANKS)),
        ("t2i", picture_recall(scores.T, own.T, _RANKS)),
    ):
        found |= {f"retrieval.{side}@{k}": float(outcome.wins.mean()) for k, outcome in outcomes.items()}
    return found


def attributed(lens: clipsight.Lens, seeds: Sequence[int], count: int) -> dict[str, float]:
    """γ of every setup, and ΔFoil, over captions of `count` scenes a seed."""
    # Intervals are not asked for: the spread that counts is that of training seeds.
    words = analyse_captions(lens, world_captions(seeds, count), replicates=1, shuffles=1)
    figures = {
        f"gamma.{row.column.name}.{other}": gap.value
        for row in words.rows
        for other, gap in row.figures.gap.items()
    }
    figures |= {
        f"delta_foil.{role}": words.behaviour.foils[kind].drop.value
        for role, kind in REPLACED.items()
        if kind in words.behaviour.foils
    }
    return {name: float(value) for name, value in figures.items() if isfinite(value)}


def drawn(count: int, seed: int, *, objects: int | None = None, folder: Path | None) -> list[Scene]:
    """Held-out scenes, drawn once and kept as long as the world's source stays as it is."""
    if folder is None:
        return list(make_scenes(count, seed, "heldout", objects=objects))
    path = folder / f"{seed}-{count}-{objects or 'mixed'}-{_world()}.pickle"
    if not path.exists():
        scenes = list(make_scenes(count, seed, "heldout", objects=objects))
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, overwrite=True) as file:
            pickle.dump(scenes, file, protocol=pickle.HIGHEST_PROTOCOL)
    with path.open("rb") as file:
        return pickle.load(file)


def _world() -> str:
    sources = sorted((Path(clipsight.__file__).parent / "world").glob("*.py"))
    return hashlib.blake2b(b"".join(file.read_bytes() for file in sources), digest_size=6).hexdigest()


def _unit(features: Sequence[torch.Tensor]) -> Float[np.ndarray, "n E"]:
    return unit(torch.cat(list(features)).float().cpu().numpy().astype(np.float64))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="clipsight-tiny")
    parser.add_argument("--device")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--count", type=int, help="scenes of each seed")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--row", action="store_true", help='print one line, the row of arm "zero"')
    args = parser.parse_args()
    lens = clipsight.load(args.model, device=args.device)
    start = time.perf_counter()
    figures = measure(lens, seeds=args.seeds, count=args.count, quick=args.quick)
    took = time.perf_counter() - start
    if args.row:
        row = {"arm": "zero", "seed": 0, "settings": {"model": args.model, "fingerprint": lens.fingerprint}}
        row |= {"device": str(lens.device), "train_seconds": 0.0, "figures": figures, "versions": versions()}
        print(json.dumps(row))
    else:
        print(json.dumps({"seconds": round(took, 1), **figures}, indent=1))


if __name__ == "__main__":
    main()
