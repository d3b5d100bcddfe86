"""Text features that were computed before."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock

import torch
from jaxtyping import Float
from torch import Tensor

from clipsight.session.text_store import TextStore


class TextCache:
    """Least-recently-used store of text features by content: (text, templates) -> one feature.

    Safe to share between threads. Two threads that miss the same text at the same moment both encode it; the results
    are the same.

    Args:
        size: most texts kept (one takes E numbers).
        disk: what is asked for large lists before they are encoded.
    """

    def __init__(self, size: int = 4096, disk: TextStore | None = None) -> None:
        if size < 1:
            raise ValueError(f"size={size}: the cache must hold at least one text.")
        self._size = size
        self._disk = disk
        self._features: OrderedDict[tuple[str, tuple[str, ...]], Tensor] = OrderedDict()
        self._lock = Lock()

    def get(
        self,
        texts: Sequence[str],
        templates: tuple[str, ...],
        encode: Callable[[list[str]], Float[Tensor, "N E"]],
    ) -> Float[Tensor, "T E"]:
        """Features of `texts` in their order; `encode` is called once with the distinct texts that are not held.

        Args:
            texts: at least one; duplicates are fine.
            templates: what the texts are put into, () for the texts as given.
            encode: texts -> features; called outside the lock.
        """
        with self._lock:
            held = {text: self._touch((text, templates)) for text in dict.fromkeys(texts)}
        missing = [text for text, feature in held.items() if feature is None]
        if missing:
            # A clone each, so that one kept feature does not keep the memory of all it was encoded with.
            rows = encode(missing) if self._disk is None else self._disk.features(missing, templates, encode)
            new = {text: row.clone() for text, row in zip(missing, rows, strict=True)}
            with self._lock:
                for text, feature in new.items():
                    self._features[text, templates] = feature
                while len(self._features) > self._size:
                    self._features.popitem(last=False)
            held.update(new)
        return torch.stack([feature for text in texts if (feature := held[text]) is not None])

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._features.clear()

    def __len__(self) -> int:
        """Number of features held."""
        return len(self._features)

    def _touch(self, key: tuple[str, tuple[str, ...]]) -> Tensor | None:
        if (feature := self._features.get(key)) is not None:
            self._features.move_to_end(key)
        return feature
