"""Compositional benchmarks on one model: read, encode what is new, decide, count."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clipsight.bench.composition.benchmark import Benchmark, ReadOptions, get_benchmark
from clipsight.bench.composition.encoder import Encoder, LensEncoder
from clipsight.bench.composition.encoding import (
    all_pictures,
    all_texts,
    encode_pictures,
    encode_texts,
    picture_keys,
)
from clipsight.bench.composition.folder import DataAbsent, read_benchmark
from clipsight.bench.composition.item import Item
from clipsight.bench.composition.pictures import ImageRoot
from clipsight.bench.composition.protocol import PROTOCOLS
from clipsight.bench.composition.report import MeanRow, Report, SplitRow, mean_rows
from clipsight.bench.composition.rows import Asked, Encoded, notes, split_row, unscored
from clipsight.bench.composition.store import FeatureStore
from clipsight.bench.rows import versions
from clipsight.bench.runner import WHOLE, Progress, Share
from clipsight.checkpoints.locate import BUNDLED, BUNDLED_MODELS
from clipsight.errors import ClipsightWarning
from clipsight.session.lens import Lens


def evaluate(
    model: Lens | Encoder,
    benchmarks: Sequence[str],
    annotations: Path | None = None,
    images: Path | None = None,
    *,
    guards: Sequence[str] = (),
    protocol: str = "official",
    limit: int | None = None,
    view: str = "model",
    batch: int = 32,
    workers: int = 0,
    cache: Path | None = None,
    options: ReadOptions | None = None,
    progress: Progress | None = None,
) -> Report:
    """How often does the model prefer what is true? Each benchmark by its rule, each protocol by its averages.

    Args:
        model: a `Lens`, or anything that encodes (`Encoder`).
        benchmarks: ids, see `benchmark_ids`.
        annotations: folder of the benchmarks' folders; `expected_tree` draws it.
        images: folder of the picture collections.
        guards: ids to measure beside, see `guards_at_hand`; what keeps one from being measured is a note, no failure.
        protocol: "official", "macco" or "vl_compo"; a benchmark for which one is not defined is counted officially, and
            the notes say so.
        limit: at most so many items of each split, evenly spaced over it: for a first look. None takes all.
        view: what of a picture the model is shown; "model" as it was evaluated (`LensEncoder`).
        batch: pictures in one pass.
        workers: processes that read pictures.
        cache: folder for features, shared by runs and processes; None keeps them in memory.
        options: what some readers must be told.
        progress: called with what is in work ("files", "pictures", "texts"), how many are done, how many there are.

    Returns:
        `Report`: a row for each split, and the protocol's means. A benchmark whose files are not there is among its
        failures, and the others go on.

    Raises:
        ValueError: no benchmark, an unknown one or one given twice, an unknown protocol or view, a batch or limit
            below 1.

    Not claimed: that a score of the bundled model on photographs means anything; it has seen emoji only.

    Example:
        >>> import clipsight
        >>> lens = clipsight.load("clipsight-tiny")
        >>> report = evaluate(lens, ["world"], options=ReadOptions(world_seeds=(1,), world_count=4))
        >>> [mean.name for mean in report.means]
        ['mean of 7 kinds']
    """
    chosen = _check(benchmarks, guards, protocol, batch, limit)
    encoder = model if isinstance(model, Encoder) else LensEncoder(model, view)
    options = options or ReadOptions()
    asked, absent = _read(chosen, annotations, protocol, limit, options)
    failures = list(absent.items())
    items = [one for each in asked for some in each.counted.values() for one in some]
    encoded = _encode(
        encoder, items, images, cache=cache, batch=batch, workers=workers, share=WHOLE, progress=progress
    )
    rows: list[SplitRow] = []
    means: list[MeanRow] = []
    for each in asked:
        made = {split: split_row(each, split, encoded) for split in each.counted}
        rows += made.values()
        means += mean_rows(each.reading.benchmark.id, each.name, each.protocol.means, made)
        failures += [
            (each.reading.benchmark.id, said) for said in unscored(each, list(made.values()), images)
        ]
    said = [note for each in asked for note in notes(each, protocol)]
    if encoded.store.bad:
        said.append(f"{encoded.store.bad} entries of the cache were damaged and were worked out again.")
    if encoded.unread:
        text, why = next(iter(encoded.unread.items()))
        said.append(f"{len(encoded.unread)} texts cannot be read by the model, the first {text!r:.60}: {why}")
    # The tree of what is expected is for those who asked for it.
    said += [f"Not measured: {why.partition(' Expected')[0]}" for id, why in failures if id in guards]
    if encoder.about.model in BUNDLED_MODELS and not all(row.benchmark.startswith("world") for row in rows):
        said.append(
            f"{BUNDLED} has seen emoji alone: its scores on photographs and their captions say nothing."
        )
    if limit is not None:
        said.append(
            f"At most {limit:,} items of each split were taken, evenly spaced: a first look, not to be compared."
        )
    return Report(
        about=encoder.about,
        settings={
            "protocol": protocol,
            "guards": list(guards),
            "limit": limit,
            "batch": batch,
            **_plain(options),
        },
        versions=versions(),
        rows=tuple(rows),
        means=tuple(means),
        malformed=tuple(bad for each in asked for bad in each.reading.malformed),
        notes=tuple(dict.fromkeys(said)),
        failures=tuple(why for id, why in failures if id not in guards),
    )


def encode(
    model: Lens | Encoder,
    benchmarks: Sequence[str],
    annotations: Path | None,
    images: Path | None,
    cache: Path,
    *,
    guards: Sequence[str] = (),
    share: Share = WHOLE,
    protocol: str = "official",
    limit: int | None = None,
    view: str = "model",
    batch: int = 32,
    workers: int = 0,
    options: ReadOptions | None = None,
    progress: Progress | None = None,
) -> None:
    """Fill a cache with one process's share of the features, for `evaluate` to find; see there for the arguments.

    Args:
        share: which part of the work this process does; all parts together encode everything.

    Raises:
        DataAbsent: a benchmark's files are not there.
    """
    chosen = _check(benchmarks, guards, protocol, batch, limit)
    encoder = model if isinstance(model, Encoder) else LensEncoder(model, view)
    asked, absent = _read(chosen, annotations, protocol, limit, options or ReadOptions())
    if failures := [why for id, why in absent.items() if id not in guards]:
        raise DataAbsent("\n\n".join(failures))
    items = [one for each in asked for some in each.counted.values() for one in some]
    _encode(encoder, items, images, cache=cache, batch=batch, workers=workers, share=share, progress=progress)


def _check(
    benchmarks: Sequence[str], guards: Sequence[str], protocol: str, batch: int, limit: int | None
) -> list[Benchmark]:
    if isinstance(benchmarks, str) or not benchmarks or len(set(benchmarks)) < len(benchmarks):
        raise ValueError(f"benchmarks is {benchmarks!r}; give a list of at least one id, each once.")
    if isinstance(guards, str) or len({*benchmarks, *guards}) < len(benchmarks) + len(guards):
        raise ValueError(
            f"guards is {guards!r}; give a list of ids, each once and none that is among the benchmarks already."
        )
    if protocol not in PROTOCOLS:
        raise ValueError(f"no protocol is called {protocol!r}; give one of {', '.join(PROTOCOLS)}.")
    if batch < 1:
        raise ValueError(f"batch is {batch}; give 1 or more.")
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; give 1 or more, or None for all items.")
    return [get_benchmark(id) for id in (*benchmarks, *guards)]


def _read(
    benchmarks: Sequence[Benchmark],
    annotations: Path | None,
    protocol: str,
    limit: int | None,
    options: ReadOptions,
) -> tuple[list[Asked], dict[str, str]]:
    """What was read, and of each benchmark without data why."""
    asked: list[Asked] = []
    absent: dict[str, str] = {}
    for one in benchmarks:
        try:
            reading = read_benchmark(one, annotations, options)
        except DataAbsent as error:
            absent[one.id] = str(error)
            continue
        name = protocol if protocol in one.protocols else "official"
        counting = one.protocols[name]
        by_split: dict[str, list[Item]] = {}
        for item in reading.items:
            by_split.setdefault(item.split, []).append(item)
        asked.append(
            Asked(
                reading=reading,
                name=name,
                protocol=counting,
                items=by_split,
                counted={
                    split: _spaced(counting.of(split).chosen(items), limit)
                    for split, items in by_split.items()
                },
            )
        )
    return asked, absent


def _spaced(items: list[Item], limit: int | None) -> list[Item]:
    """So many items, evenly spaced: files are often sorted, and their beginnings are of one kind."""
    if limit is None or len(items) <= limit:
        return items
    return [items[index * len(items) // limit] for index in range(limit)]


def _encode(
    encoder: Encoder,
    items: Sequence[Item],
    images: Path | None,
    *,
    cache: Path | None,
    batch: int,
    workers: int,
    share: Share,
    progress: Progress | None,
) -> Encoded:
    root = ImageRoot(images)
    about = encoder.about
    store = FeatureStore(cache if about.made_by is not None else None, about.mark, about.width)
    keys = picture_keys(root, all_pictures(items), progress)
    broken = encode_pictures(
        encoder, root, keys, store, batch=batch, workers=workers, share=share, progress=progress
    )
    needed = all_texts([one for one in items if all(ref in keys for ref in one.pictures)])
    unread = encode_texts(encoder, needed, store, share=share, progress=progress)
    texts = all_texts(items)
    cut = frozenset(text for text, gone in zip(texts, encoder.cut(texts), strict=True) if gone)
    if store.bad:
        warnings.warn(
            f"{store.bad} entries of the cache {cache} were damaged; what they held was worked out again.",
            ClipsightWarning,
            stacklevel=3,
        )
    return Encoded(store=store, keys=keys, broken=broken, cut=cut, unread=unread)


def _plain(options: ReadOptions) -> dict[str, Any]:
    return {
        "order_tagger": None if options.tagger is None else getattr(options.tagger, "__qualname__", "custom"),
        "order_seed": options.seed,
        "world_seeds": list(options.world_seeds),
        "world_count": options.world_count,
        "world_size": options.world_size,
        "zero_shot": [str(path) for path in options.zero_shot],
        "zero_shot_templates": options.templates
        if isinstance(options.templates, str | None)
        else list(options.templates),
    }
