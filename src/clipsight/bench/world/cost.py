"""What a call costs: its time, and the memory that it holds at once."""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from torch.profiler import ProfilerActivity, profile


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peak_bytes(work: Callable[[], object]) -> float:
    """Most bytes that torch held at once during `work` beyond what it held before.

    Summed from what torch's profiler reports of allocating and freeing: unlike the process's size, the same at every
    run, and not hidden by an earlier peak. NaN when nothing is reported.
    """
    with _quiet_profiler(), tempfile.TemporaryDirectory() as folder:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            work()
        file = Path(folder) / "trace.json"
        record.export_chrome_trace(str(file))
        events = json.loads(file.read_text(encoding="utf-8"))["traceEvents"]
    changes = sorted(
        (event["ts"], event["args"]["Ev Idx"], event["args"]["Bytes"])
        for event in events
        if event.get("name") == "[memory]"
    )
    held = np.cumsum([change for *_, change in changes])
    return float(held.max()) if len(held) else float("nan")


@contextmanager
def _quiet_profiler() -> Iterator[None]:
    """The profiler of torch writes log lines to standard error when first used, unless the environment says not to."""
    name = "KINETO_LOG_LEVEL"
    before = os.environ.get(name)
    os.environ.setdefault(name, "99")
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
