"""Training scenes of the emoji world: drawn once, by several processes, and kept in pieces that are whole or absent."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from clipsight.store import NAMED_LIMIT, Store, code_of, content_hash
from clipsight.tune.data.options import Progress
from clipsight.tune.data.processes import in_processes
from clipsight.world import describe, make_scene

PIECE = 250
"""Scenes drawn and kept at a time, a second's work."""
_KIND, _SPLIT = "scenes", "train"
Pixels = UInt8[np.ndarray, "n H W 3"]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Scenes that are drawn together: `count` of a seed, from number `start`."""

    seed: int
    start: int
    count: int
    size: int

    @property
    def facts(self) -> dict[str, Any]:
        """What determines its pixels."""
        versions = [version(name) for name in ("pillow", "numpy")]
        return {**asdict(self), "split": _SPLIT, "code": code_of("world"), "versions": versions}


class Scenes:
    """Pictures and descriptions of scenes 0 to `count` - 1 of a seed's training split.

    Args:
        seed, count, size: see `clipsight.world.make_scenes`.
        cache: folder to keep them in, and to take them from; None holds them in memory.
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
        self._pieces = [
            Piece(seed=seed, start=start, count=min(PIECE, count - start), size=size)
            for start in range(0, count, PIECE)
        ]
        self._cache = cache
        self._store = None if cache is None else Store(cache, NAMED_LIMIT)
        self._pixels: list[Pixels] = []
        self.records: list[dict[str, Any]] = []
        kept = [self._kept(piece) for piece in self._pieces]
        missing = [piece for piece, one in zip(self._pieces, kept, strict=True) if one is None]
        drawn = in_processes(partial(_draw, cache=cache), missing, processes)
        there = count - sum(piece.count for piece in missing)
        for piece, one in zip(self._pieces, kept, strict=True):
            if one is None:
                one = next(drawn)
                there += piece.count
                if progress is not None:
                    progress("scenes", there, count)
                if self._store is not None:  # what was written can be mapped
                    one = self._kept(piece) or one
            pixels, records = one
            self._pixels.append(pixels)
            self.records += records

    def __call__(self, place: Any) -> UInt8[np.ndarray, "H W 3"]:
        """The picture of a scene's number."""
        return np.array(self._pixels[place // PIECE][place % PIECE])

    def contents(self, places: Sequence[Any], progress: Progress | None = None) -> dict[Any, str]:
        """A hash of the pixels of each scene."""
        return {place: content_hash(self(place).tobytes()) for place in places}

    def _kept(self, piece: Piece) -> tuple[Pixels, list[dict[str, Any]]] | None:
        """A piece as it is kept, its pixels mapped from the file; None where there is none that is whole."""
        if self._store is None or (stored := self._store.get(_KIND, piece.facts)) is None:
            return None
        try:
            length = int.from_bytes(stored[:8], "little")
            records = json.loads(stored[8 : 8 + length])
            shape = (piece.count, piece.size, piece.size, 3)
            file, begin = self._store.file_of(_KIND, piece.facts)
            pixels = np.memmap(file, np.uint8, "r", begin + 8 + length, shape)
        except (OSError, ValueError):
            self._store.reject()
            return None
        return pixels, records

    def __getstate__(self) -> dict[str, Any]:
        """Without what is mapped from files: another process maps it for itself."""
        state = {**self.__dict__, "records": []}
        if self._cache is not None:
            del state["_pixels"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._cache is not None:
            self._pixels = [(self._kept(piece) or _drawn(piece))[0] for piece in self._pieces]


def _draw(piece: Piece, cache: Path | None) -> tuple[Pixels, list[dict[str, Any]]]:
    """Draw a piece, and keep it where there is a cache."""
    pixels, records = _drawn(piece)
    if cache is not None:
        said = json.dumps(records).encode()
        content = len(said).to_bytes(8, "little") + said + pixels.tobytes()
        Store(cache, NAMED_LIMIT).put(_KIND, piece.facts, content)
    return pixels, records


def _drawn(piece: Piece) -> tuple[Pixels, list[dict[str, Any]]]:
    scenes = [
        make_scene(index, piece.seed, _SPLIT, piece.size)
        for index in range(piece.start, piece.start + piece.count)
    ]
    return np.stack([np.asarray(scene.image) for scene in scenes]), [describe(scene) for scene in scenes]
