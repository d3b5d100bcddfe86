"""Features that were made before: in memory, and in a folder that several runs and processes may share.

A folder holds one sub-folder for each model state (weights, activation, number type, view), with files of features that
are written once and never changed. An interrupted run loses what it had not written yet, nothing else.
"""

import hashlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from clipsight.errors import ClipsightWarning
from clipsight.results.io import atomic_write

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
    """

    def __init__(self, folder: Path | None = None, mark: str = "") -> None:
        self._folder = None if folder is None else folder / mark
        self._rows: dict[FeatureKind, dict[str, np.ndarray]] = {kind: {} for kind in _KINDS}
        self._waiting: dict[FeatureKind, list[str]] = {kind: [] for kind in _KINDS}
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            for file in sorted(self._folder.glob("*.safetensors")):
                self._load(file)

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

    def _write(self, kind: FeatureKind) -> None:
        keys, self._waiting[kind] = self._waiting[kind], []
        if self._folder is None or not keys:
            return
        name = hashlib.blake2b(" ".join(keys).encode(), digest_size=8).hexdigest()
        content = save({"features": self.get(kind, keys)}, {"kind": kind, "keys": json.dumps(keys)})
        with atomic_write(self._folder / f"{kind}-{name}.safetensors", overwrite=True) as file:
            file.write(content)

    def _load(self, file: Path) -> None:
        try:
            with safe_open(file, framework="numpy") as archive:
                facts = archive.metadata() or {}
                features = archive.get_tensor("features")
            keys, kind = json.loads(facts["keys"]), facts["kind"]
            if kind not in _KINDS or len(keys) != len(features):
                raise ValueError("its names and features do not fit")
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            warnings.warn(
                f"{file} is not a complete file of features ({error}); it is passed over, and what it held is made "
                "again. Delete it.",
                ClipsightWarning,
                stacklevel=3,
            )
            return
        self._rows[kind].update(zip(keys, features, strict=True))
