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
from clipsight.bench.composition.store import FeatureKind, FeatureStore, text_key
from clipsight.bench.composition.views import PictureView
from clipsight.bench.runner import (
    WHOLE,
    Failure,
    Progress,
    RunSummary,
    Share,
    WatchItems,
    WorkItem,
    run,
    tell,
)
from clipsight.errors import PictureError

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
            if progress is not None and (done % _FILES == 0 or done == len(distinct)):
                progress("files", done, len(distinct))
    return found


def encode_pictures(
    encoder: Encoder,
    root: ImageRoot,
    keys: Mapping[PictureRef, str],
    store: FeatureStore,
    *,
    batch: int = 32,
    workers: int = 0,
    share: Share = WHOLE,
    progress: Progress | None = None,
) -> dict[PictureRef, str]:
    """Put into the store what it lacks of these pictures.

    Batches are always full, the last one filled up with its last picture, so that a feature does not depend on how many
    pictures were left to do.

    Args:
        keys: pictures and their content keys.
        batch: pictures in one pass.
        workers: processes that read and resize pictures; 0 does it here.
        share: the part of the work that this process does.
        progress: told after every batch.

    Returns:
        Pictures that could not be read, and why.

    Raises:
        ValueError: a feature that is not finite.
    """
    by_key = {key: ref for ref, key in keys.items()}
    todo = [key for key in store.missing("pictures", list(keys.values())) if share.takes(key)]

    def encoded(ready: Sequence[tuple[str, Image.Image]]) -> np.ndarray:
        pictures = [picture for _, picture in ready]
        features = encoder.pictures(pictures + [pictures[-1]] * (batch - len(pictures)))
        return _finite(features[: len(ready)], "pictures", [by_key[key].file for key, _ in ready])

    def items() -> Iterator[WorkItem | Failure]:
        ready: list[tuple[str, Image.Image]] = []
        for done, (key, shown) in enumerate(_shown(root, encoder.view, by_key, todo, workers), 1):
            if isinstance(shown, str):
                yield Failure(item=key, reason=shown)
            else:
                ready.append((key, Image.fromarray(shown)))
            if ready and (len(ready) == batch or done == len(todo)):
                yield _batch([key for key, _ in ready], lambda some=tuple(ready): encoded(some))
                ready.clear()

    summary = _fill(store, "pictures", items(), tell(progress, "pictures", len(todo)))
    broken = {failure.item: failure.reason for failure in summary.failures}
    return {ref: broken[key] for ref, key in keys.items() if key in broken}


def encode_texts(
    encoder: Encoder,
    texts: Sequence[str],
    store: FeatureStore,
    *,
    share: Share = WHOLE,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Put into the store what it lacks of these texts; short ones with short ones, which costs least.

    Returns:
        Texts that the model cannot read, such as one that holds its end token, and why.

    Raises:
        ValueError: a feature that is not finite.
    """
    by_key = {text_key(text): text for text in texts}
    todo = [key for key in store.missing("texts", list(by_key)) if share.takes(key)]
    todo.sort(key=lambda key: len(by_key[key]))
    parts = (todo[start : start + _TEXTS] for start in range(0, len(todo), _TEXTS))
    items = (item for few in parts for item in _text_items(encoder, few, by_key))
    summary = _fill(store, "texts", items, tell(progress, "texts", len(todo)))
    return {failure.item: failure.reason for failure in summary.failures}


def _text_items(
    encoder: Encoder, keys: Sequence[str], by_key: Mapping[str, str]
) -> Iterator[WorkItem | Failure]:
    """Texts as one item; where the model refuses some, one by one, with the reasons."""
    said = [by_key[key] for key in keys]
    try:
        features = encoder.texts(said)
    except ValueError as error:
        if len(keys) == 1:
            yield Failure(item=said[0], reason=str(error))
        else:
            for key in keys:
                yield from _text_items(encoder, [key], by_key)
        return
    yield _batch(keys, lambda: _finite(features, "texts", [repr(text) for text in said]))


class _FeatureRows:
    """A store of features as the runner sees it: an item is a batch that it does not hold yet."""

    def __init__(self, store: FeatureStore, kind: FeatureKind) -> None:
        self._store = store
        self._kind: FeatureKind = kind

    def __contains__(self, id: str) -> bool:
        return not self._store.missing(self._kind, id.split())

    def add(self, id: str, row: np.ndarray) -> None:
        self._store.add(self._kind, id.split(), row)


def _batch(keys: Sequence[str], encode: Callable[[], np.ndarray]) -> WorkItem:
    return WorkItem(id=" ".join(keys), measure=encode, size=len(keys))


def _fill(
    store: FeatureStore, kind: FeatureKind, items: Iterator[WorkItem | Failure], watch: WatchItems
) -> RunSummary:
    """Encode batches. A feature that is not finite is a fault of the model, not of an item: it is raised."""
    try:
        return run(items, _FeatureRows(store, kind), strict=True, watch=watch)
    finally:
        store.flush()


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


def _finite(features: torch.Tensor, kind: FeatureKind, names: Sequence[str]) -> np.ndarray:
    plain = features.detach().float().cpu().numpy()
    wrong = ~np.isfinite(plain).all(1)
    if wrong.any():
        raise ValueError(
            f"the features of {int(wrong.sum())} of {len(names)} {kind} are not finite, among them "
            f"{names[int(wrong.argmax())]}; half precision that overflows is the usual cause. Load the model with "
            'dtype="float32" or "bfloat16".'
        )
    return plain
