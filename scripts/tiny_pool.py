"""Render the training pictures of clipsight-tiny: shards of scenes with tokenised captions.

Training split of the emoji world only; no masks, roles or foils are stored. Each shard is written under a temporary
name and renamed, so an interrupted run goes on where it stopped.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipsight.world import make_scene

SHARD = 2500
CAPTIONS = 5
TOKENS = 40
SIZE = 112


@dataclass(frozen=True)
class Pool:
    """All shards in memory: images (N,H,W,3) uint8, tokens (N,captions,S) uint16, objects (N,) uint8."""

    images: np.ndarray
    tokens: np.ndarray
    objects: np.ndarray


def render_pool(folder: Path, single: int, mixed: int, seed: int, workers: int) -> Pool:
    """Render what is missing of `single` one-object scenes and `mixed` scenes, then load all."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        (folder / f"{kind}-{start:07d}.npz", start, min(SHARD, total - start), seed, objects)
        for kind, total, objects in (("single", single, 1), ("mixed", mixed, None))
        for start in range(0, total, SHARD)
    ]
    with ProcessPoolExecutor(workers) as pool:
        for name in pool.map(_render_shard, [job for job in jobs if not job[0].exists()]):
            print(f"rendered {name}", flush=True)
    shards = [np.load(path) for path, *_ in jobs]
    return Pool(
        *(np.concatenate([shard[key] for shard in shards]) for key in ("images", "tokens", "objects"))
    )


def _render_shard(job: tuple[Path, int, int, int, int | None]) -> str:
    from open_clip import get_tokenizer

    path, start, count, seed, objects = job
    tokenizer = get_tokenizer("ViT-B-32", context_length=TOKENS)
    scenes = [make_scene(i, seed, "train", SIZE, objects) for i in range(start, start + count)]
    tokens = tokenizer([caption.text for scene in scenes for caption in scene.captions])
    partial = path.with_suffix(".part.npz")
    np.savez(
        partial,
        images=np.stack([np.asarray(scene.image) for scene in scenes]),
        tokens=tokens.numpy().astype(np.uint16).reshape(count, CAPTIONS, TOKENS),
        objects=np.array([len(scene.objects) for scene in scenes], np.uint8),
    )
    os.replace(partial, path)
    return path.name
