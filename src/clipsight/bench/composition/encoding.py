"""Every picture and every text of a benchmark encoded once, if it was not before."""

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from clipsight.bench.composition.encoder import Encoder
from clipsight.bench.composition.item import Item, PictureRef
from clipsight.bench.composition.pictures import ImageRoot
from clipsight.bench.composition.store import FeatureStore, Kind, text_key
from clipsight.bench.composition.views import PictureView
from clipsight.errors import PictureError

Progress = Callable[[str, int, int], None]
"""Called with what is in work ("files", "pictures", "texts"), how many are done, and how many there are."""
Part = tuple[int, int]
"""(i, n): the i-th of n processes, counted from 0, that share the work."""

_READERS = 8
_FILES = 1000
_TEXTS = 512


def picture_keys(
    root: ImageRoot, refs: Sequence[PictureRef], progress: Progress | None = None
) -> dict[PictureRef, str]:
    """Content keys of the pictures that are there; files are read by several threads."""
    distinct = list(dict.fromkeys(refs))
    found = {}
    with ThreadPoolExecutor(_READERS) as pool:
        for done, (ref, key) in enumerate(zip(distinct, pool.map(root.key, distinct), strict=True), 1):
            if key is not None:
                found[ref] = key
            if done % _FILES == 0 or done == len(distinct):
                _tell(progress, "files", done, len(distinct))
    return found


def encode_pictures(
    encoder: Encoder,
    root: ImageRoot,
    keys: Mapping[PictureRef, str],
    store: FeatureStore,
    *,
    batch: int = 32,
    workers: int = 0,
    part: Part = (0, 1),
    progress: Progress | None = None,
) -> dict[PictureRef, str]:
    """Put into the store what it lacks of these pictures.

    Batches are always full, the last one filled up with its last picture, so that a feature does not depend on how many
    pictures were left to do.

    Args:
        keys: pictures and their content keys.
        batch: pictures in one pass.
        workers: processes that read and resize pictures; 0 does it here.
        part: the share of this process.
        progress: told after every batch.

    Returns:
        Pictures that could not be read, and why.

    Raises:
        ValueError: a feature that is not finite.
    """
    by_key = {key: ref for ref, key in keys.items()}
    todo = _share(store.missing("pictures", list(keys.values())), part)
    broken: dict[str, str] = {}
    ready: list[tuple[str, Image.Image]] = []

    def encode(done: int) -> None:
        pictures = [picture for _, picture in ready]
        features = _plain(encoder.pictures(pictures + [pictures[-1]] * (batch - len(pictures))))
        _keep(store, "pictures", [key for key, _ in ready], features, lambda key: by_key[key].file)
        ready.clear()
        _tell(progress, "pictures", done, len(todo))

    try:
        for done, (key, shown) in enumerate(_shown(root, encoder.view, by_key, todo, workers), 1):
            if isinstance(shown, str):
                broken[key] = shown
            else:
                ready.append((key, Image.fromarray(shown)))
            if len(ready) == batch or (ready and done == len(todo)):
                encode(done)
    finally:
        store.flush()
    return {ref: broken[key] for ref, key in keys.items() if key in broken}


def encode_texts(
    encoder: Encoder,
    texts: Sequence[str],
    store: FeatureStore,
    *,
    part: Part = (0, 1),
    progress: Progress | None = None,
) -> dict[str, str]:
    """Put into the store what it lacks of these texts; short ones with short ones, which costs least.

    Returns:
        Texts that the model cannot read, such as one that holds its end token, and why.

    Raises:
        ValueError: a feature that is not finite.
    """
    broken: dict[str, str] = {}
    by_key = {text_key(text): text for text in texts}
    todo = _share(store.missing("texts", list(by_key)), part)
    todo.sort(key=lambda key: len(by_key[key]))
    try:
        for start in range(0, len(todo), _TEXTS):
            few = todo[start : start + _TEXTS]
            for good, features in _read(encoder, few, by_key, broken):
                _keep(store, "texts", good, _plain(features), lambda key: repr(by_key[key]))
            _tell(progress, "texts", start + len(few), len(todo))
    finally:
        store.flush()
    return broken


def _read(
    encoder: Encoder, keys: list[str], by_key: Mapping[str, str], broken: dict[str, str]
) -> Iterator[tuple[list[str], torch.Tensor]]:
    """Features of texts with their keys; where the model refuses some, one by one, with the reasons in `broken`."""
    try:
        yield keys, encoder.texts([by_key[key] for key in keys])
    except ValueError as error:
        if len(keys) == 1:
            broken[by_key[keys[0]]] = str(error)
            return
        for key in keys:
            yield from _read(encoder, [key], by_key, broken)


def all_pictures(items: Sequence[Item]) -> list[PictureRef]:
    """The pictures of items, each once."""
    return list(dict.fromkeys(ref for one in items for ref in one.pictures))


def all_texts(items: Sequence[Item]) -> list[str]:
    """The texts of items, each once; of their choices, the prompts."""
    choices = dict.fromkeys(one.choices for one in items if one.choices is not None)
    prompts = (prompt for one in choices for prompt in one.prompts)
    return list(dict.fromkeys((*(text for one in items for text in one.texts), *prompts)))


class _Pictures(Dataset[Any]):
    """(key, pixels as the model is shown them, or why there are none), in any process."""

    def __init__(self, root: ImageRoot, view: PictureView, work: Sequence[tuple[str, PictureRef]]) -> None:
        self._root, self._view, self._work = root, view, work

    def __len__(self) -> int:
        return len(self._work)

    def __getitem__(self, index: int) -> tuple[str, np.ndarray | str]:
        key, ref = self._work[index]
        try:
            return key, np.asarray(self._view(self._root.open(ref)))
        except PictureError as error:
            return key, str(error)


def _shown(
    root: ImageRoot, view: PictureView, by_key: Mapping[str, PictureRef], keys: Sequence[str], workers: int
) -> Iterator[tuple[str, np.ndarray | str]]:
    pictures = _Pictures(root, view, [(key, by_key[key]) for key in keys])
    # Not forked: torch's threads are running. The generator of its own leaves the process's random numbers alone.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    yield from DataLoader(
        pictures,
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        multiprocessing_context=method if workers else None,
        prefetch_factor=32 if workers else None,
        generator=torch.Generator(),
    )


def _as_it_is(sample: Any) -> Any:
    return sample


def _share(keys: list[str], part: Part) -> list[str]:
    index, count = part
    if not 0 <= index < count:
        raise ValueError(
            f"part is {part}: the first number is one of 0 to {count - 1}, the second how many share the work."
        )
    return [key for key in keys if int(key, 16) % count == index]


def _plain(features: torch.Tensor) -> np.ndarray:
    return features.detach().float().cpu().numpy()


def _keep(
    store: FeatureStore, kind: Kind, keys: list[str], features: np.ndarray, name: Callable[[str], str]
) -> None:
    features = features[: len(keys)]
    wrong = ~np.isfinite(features).all(1)
    if wrong.any():
        raise ValueError(
            f"the features of {int(wrong.sum())} of {len(keys)} {kind} are not finite, among them "
            f"{name(keys[int(wrong.argmax())])}; half precision that overflows is the usual cause. Load the model with "
            'dtype="float32" or "bfloat16".'
        )
    store.add(kind, keys, features)


def _tell(progress: Progress | None, what: str, done: int, total: int) -> None:
    if progress is not None and total:
        progress(what, done, total)
