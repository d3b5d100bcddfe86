"""The compositional benchmarks, on everyone's protocol."""

from clipsight.bench.about import About
from clipsight.bench.composition import readers  # noqa: F401 - registers the benchmarks
from clipsight.bench.composition.benchmark import (
    BENCHMARKS,
    Annotation,
    Benchmark,
    BenchmarkFiles,
    ReadOptions,
    benchmark_ids,
    get_benchmark,
    reader,
)
from clipsight.bench.composition.comparing import Comparison, compare, rows_beside
from clipsight.bench.composition.encoder import Encoder, LensEncoder
from clipsight.bench.composition.evaluate import encode, evaluate
from clipsight.bench.composition.folder import DataAbsent, Reading, expected_tree, read_benchmark
from clipsight.bench.composition.guards import benchmarks_at_hand, guard_ids, guards_at_hand
from clipsight.bench.composition.item import Choices, Item, PictureRef
from clipsight.bench.composition.paired import differences, paired
from clipsight.bench.composition.pictures import COLLECTIONS, ImageRoot
from clipsight.bench.composition.protocol import PROTOCOLS, Counting, Protocol, ProtocolMean
from clipsight.bench.composition.published import PublishedScore, published_models, published_scores
from clipsight.bench.composition.report import Counts, MeanRow, Report, SplitRow
from clipsight.bench.composition.rules import RULES, ItemOutcome, Rule, decide
from clipsight.bench.composition.store import FeatureStore
from clipsight.records import BadRow, Malformed, Row

__all__ = [
    "BENCHMARKS",
    "COLLECTIONS",
    "PROTOCOLS",
    "RULES",
    "About",
    "Annotation",
    "BadRow",
    "Benchmark",
    "BenchmarkFiles",
    "Choices",
    "Comparison",
    "Counting",
    "Counts",
    "DataAbsent",
    "Encoder",
    "FeatureStore",
    "ImageRoot",
    "Item",
    "ItemOutcome",
    "LensEncoder",
    "Malformed",
    "MeanRow",
    "PictureRef",
    "Protocol",
    "ProtocolMean",
    "PublishedScore",
    "ReadOptions",
    "Reading",
    "Report",
    "Row",
    "Rule",
    "SplitRow",
    "benchmark_ids",
    "benchmarks_at_hand",
    "compare",
    "decide",
    "differences",
    "encode",
    "evaluate",
    "expected_tree",
    "get_benchmark",
    "guard_ids",
    "guards_at_hand",
    "paired",
    "published_models",
    "published_scores",
    "read_benchmark",
    "reader",
    "rows_beside",
]
