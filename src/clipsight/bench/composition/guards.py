"""What should not get worse while composition gets better: which guards can be measured with the data at hand."""

from collections.abc import Sequence
from pathlib import Path

from clipsight.bench.composition.benchmark import BENCHMARKS, ReadOptions, get_benchmark
from clipsight.bench.composition.folder import is_there

_STAND_INS = {"world_nouns": ("zero_shot",), "world_retrieval": ("coco_retrieval", "flickr30k_retrieval")}
"""Guards that need no files, and those with photographs in whose place they stand."""


def guard_ids() -> tuple[str, ...]:
    """Ids of the benchmarks that are guards."""
    return tuple(id for id, one in sorted(BENCHMARKS.items()) if one.guard)


def benchmarks_at_hand(annotations: Path | None, options: ReadOptions | None = None) -> tuple[str, ...]:
    """Ids of the benchmarks, guards apart, of which there is anything to read."""
    options = options or ReadOptions()
    return tuple(
        id for id, one in sorted(BENCHMARKS.items()) if not one.guard and is_there(one, annotations, options)
    )


def guards_at_hand(
    benchmarks: Sequence[str], annotations: Path | None, options: ReadOptions | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(guards to measure beside these benchmarks, guards without data).

    Recognition, retrieval, and two that an over-sensitive text tower fails: hard positives and SugarCrepe++ by its
    texts. The emoji world's own nouns and retrieval are taken where its benchmark is asked for, and where there are no
    photographs to ask about.

    Args:
        benchmarks: those asked for; none of them is a guard beside itself.
        annotations, options: as for `evaluate`.
    """
    options = options or ReadOptions()
    there = {id for id in guard_ids() if is_there(get_benchmark(id), annotations, options)}
    for id, others in _STAND_INS.items():
        if "world" not in benchmarks and there & {*others}:
            there.discard(id)
    chosen = tuple(id for id in guard_ids() if id in there and id not in benchmarks)
    return chosen, tuple(
        id for id in guard_ids() if id not in there and id not in benchmarks and id not in _STAND_INS
    )
