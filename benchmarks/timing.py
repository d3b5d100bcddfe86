"""Timing two ways of doing the same work in one run, in turn, so that a drifting machine hurts both alike."""

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).with_name("results.json")


def ratio(
    ours: Callable[[], object], baseline: Callable[[], object], rounds: int = 15, warm: int = 2
) -> dict[str, float]:
    """Median seconds of both and the median of their ratio, round by round (ours / baseline)."""
    for _ in range(warm):
        ours(), baseline()
    rows = []
    for turn in range(rounds):
        # Each goes first in every other round.
        first, second = (ours, baseline) if turn % 2 else (baseline, ours)
        times = [_seconds(first), _seconds(second)]
        rows.append(times if turn % 2 else times[::-1])
    mine, theirs = zip(*rows, strict=True)
    quotients = sorted(a / b for a, b in rows)
    return {
        "ours_s": statistics.median(mine),
        "baseline_s": statistics.median(theirs),
        "ratio": statistics.median(quotients),
        "ratio_low": quotients[len(quotients) // 10],
        "ratio_high": quotients[-1 - len(quotients) // 10],
    }


def report(name: str, rows: list[dict[str, Any]]) -> None:
    """Print the rows and, with --record, keep them in results.json."""
    for row in rows:
        print(
            f"{name}  "
            + "  ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items())
        )
    if "--record" in sys.argv:
        kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        kept["machine"] = {
            "processor": _processor(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "python": platform.python_version(),
        }
        kept[name] = [
            {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in row.items()} for row in rows
        ]
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n")


def _processor() -> str:
    """The processor's name where the system tells it."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
