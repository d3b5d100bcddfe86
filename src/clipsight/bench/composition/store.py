"""Features that were made before: in memory, and in a folder that several runs and processes may share.

They lie there as packs of `clipsight.store`, by model state (everything in `About`) and kind. An interrupted run loses
what it had not written yet, nothing else.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.numpy import load, save

from clipsight.store import NAMED_LIMIT, Store

FeatureKind = Literal["pictures", "texts"]
_KINDS: tuple[FeatureKind, ...] = ("pictures", "texts")
_WAITING = 4096
"""Features held before they are written."""


def text_key(text: str) -> str:
    """The name of a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class FeatureStore:
    """Features by kind and content key.

    Args:
        folder: where they are kept; None keeps them in memory only.
        mark: the model state that they belong to, `About.mark`.
        width: E; None takes that of the first features.

    Attributes:
        bad: entries of the folder that were damaged, of other shapes or not finite; what they held is made again.
    """

    def __init__(self, folder: Path | None = None, mark: str = "", width: int | None = None) -> None:
        self._store = None if folder is None else Store(folder, NAMED_LIMIT)
        self._mark, self._width = mark, width
        self._rows: dict[FeatureKind, dict[str, np.ndarray]] = {kind: {} for kind in _KINDS}
        self._waiting: dict[FeatureKind, list[str]] = {kind: [] for kind in _KINDS}
        for kind in _KINDS:
            for keys, features in self._kept(kind):
                self._rows[kind].update(zip(keys, features, strict=True))

    @property
    def bad(self) -> int:
        """See above."""
        return 0 if self._store is None else self._store.bad

    def missing(self, kind: FeatureKind, keys: Sequence[str]) -> list[str]:
        """Those that are not here, each once, in their order."""
        return [key for key in dict.fromkeys(keys) if key not in self._rows[kind]]

    def add(self, kind: FeatureKind, keys: Sequence[str], features: Float[np.ndarray, "n E"]) -> None:
        """Keep features; written to the folder when many wait."""
        for key, feature in zip(keys, features, strict=True):
            self._rows[kind][key] = feature.astype(np.float32)
        self._waiting[kind] += keys
        if len(self._waiting[kind]) >= _WAITING:
            self._write(kind)

    def get(self, kind: FeatureKind, keys: Sequence[str]) -> Float[np.ndarray, "n E"]:
        """Features of keys that are all here, as they were given, float32."""
        return np.stack([self._rows[kind][key] for key in keys])

    def flush(self) -> None:
        """Write what waits."""
        for kind in _KINDS:
            self._write(kind)

    def __len__(self) -> int:
        """Number of features held."""
        return sum(map(len, self._rows.values()))

    def _facts(self, kind: FeatureKind) -> dict[str, str]:
        return {"features": kind, "model": self._mark}

    def _write(self, kind: FeatureKind) -> None:
        keys, self._waiting[kind] = self._waiting[kind], []
        if self._store is not None and keys:
            names = np.frombuffer(json.dumps(keys).encode(), np.uint8)
            content = save({"features": self.get(kind, keys), "keys": names})
            self._store.add("features", self._facts(kind), content)

    def _kept(self, kind: FeatureKind) -> Iterator[tuple[list[str], Float[np.ndarray, "n E"]]]:
        if self._store is None:
            return
        for content in self._store.packs("features", self._facts(kind)):
            if (held := _read(content, self._width)) is None:
                self._store.reject()
                continue
            self._width = held[1].shape[1]
            yield held


def _read(content: bytes, width: int | None) -> tuple[list[str], Float[np.ndarray, "n E"]] | None:
    """The names and features of a pack, None where these are not finite numbers of that width for each name."""
    try:
        held = load(content)
        keys, features = json.loads(held["keys"].tobytes()), held["features"]
        fits = features.dtype == np.float32 and features.shape == (len(keys), width or features.shape[1])
    except (SafetensorError, ValueError, LookupError, TypeError):
        return None
    return (keys, features) if fits and np.isfinite(features).all() else None
