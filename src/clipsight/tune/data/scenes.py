"""Training scenes of the emoji world: drawn once, by several processes, and kept in pieces that are whole or absent."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from clipsight.results import atomic_write
from clipsight.tune.data.options import Progress
from clipsight.tune.data.processes import in_processes
from clipsight.world import make_scene
from clipsight.world.datasets import describe

PIECE = 250
"""Scenes drawn and kept at a time, a second's work."""
_SPLIT = "train"
Pixels = UInt8[np.ndarray, "n H W 3"]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Scenes that are drawn together: `count` of a seed, from number `start`."""

    seed: int
    start: int
    count: int
    size: int

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.start:07d}-{self.count:03d}"


class Scenes:
    """Pictures and descriptions of scenes 0 to `count` - 1 of a seed's training split.

    Args:
        seed, count, size: see `clipsight.world.make_scenes`.
        cache: folder to keep them below, and to take them from; None holds them in memory.
        processes: how many draw. progress: told of scenes as they are drawn.
    """

    def __init__(
        self,
        seed: int,
        count: int,
        size: int,
        *,
        cache: Path | None = None,
        processes: int = 1,
        progress: Progress | None = None,
    ) -> None:
        pieces = [
            Piece(seed=seed, start=start, count=min(PIECE, count - start), size=size)
            for start in range(0, count, PIECE)
        ]
        self.seed, self._folder = seed, None if cache is None else cache / _folder_name(seed, size)
        self._pieces: list[Any] = []
        self.records: list[dict[str, Any]] = []
        if self._folder is None:
            for done, (pixels, records) in enumerate(in_processes(_draw, pieces, processes), 1):
                self._pieces.append(pixels)
                self.records += records
                _tell(progress, pieces[:done], count)
        else:
            self._keep(self._folder, pieces, count, processes, progress)

    def __call__(self, place: Any) -> UInt8[np.ndarray, "H W 3"]:
        """The picture of a scene's number."""
        return np.array(self._pieces[place // PIECE][place % PIECE])

    def _keep(
        self, folder: Path, pieces: Sequence[Piece], count: int, processes: int, progress: Progress | None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        missing = [piece for piece in pieces if not (folder / f"{piece.name}.json").is_file()]
        there = [piece for piece in pieces if piece not in missing]
        drawn = in_processes(partial(_draw_into, folder=folder), missing, processes)
        for done, _ in enumerate(drawn, 1):
            _tell(progress, [*there, *missing[:done]], count)
        for piece in pieces:
            self.records += json.loads((folder / f"{piece.name}.json").read_text(encoding="utf-8"))
        self._map(folder, [piece.name for piece in pieces])

    def _map(self, folder: Path, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._pieces = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in names]

    def __getstate__(self) -> dict[str, Any]:
        """Without what is mapped from files: another process maps it for itself."""
        state = dict(self.__dict__)
        state["records"] = []
        if self._folder is not None:
            del state["_pieces"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._folder is not None:
            self._map(self._folder, self._names)


def _draw(piece: Piece) -> tuple[Pixels, list[dict[str, Any]]]:
    scenes = [
        make_scene(index, piece.seed, _SPLIT, piece.size)
        for index in range(piece.start, piece.start + piece.count)
    ]
    return np.stack([np.asarray(scene.image) for scene in scenes]), [describe(scene) for scene in scenes]


def _draw_into(piece: Piece, folder: Path) -> None:
    """Draw a piece; its records are written last, so that their file says that both are whole."""
    pixels, records = _draw(piece)
    with atomic_write(folder / f"{piece.name}.npy", overwrite=True) as file:
        np.save(file, pixels)
    with atomic_write(folder / f"{piece.name}.json", overwrite=True) as file:
        file.write(json.dumps(records).encode())


def _folder_name(seed: int, size: int) -> str:
    """Of what is kept: it changes with what the world draws."""
    first = make_scene(0, seed, _SPLIT, size)
    digest = blake2b(first.image.tobytes() + json.dumps(describe(first)).encode(), digest_size=6)
    return f"world-{_SPLIT}-{seed}-{size}-{digest.hexdigest()}"


def _tell(progress: Progress | None, done: Sequence[Piece], count: int) -> None:
    if progress is not None:
        progress("scenes", sum(piece.count for piece in done), count)
