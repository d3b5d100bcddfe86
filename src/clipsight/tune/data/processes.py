"""The same function over many jobs, by several processes where that is asked for."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Job = TypeVar("Job")
Made = TypeVar("Made")


def start_method() -> str:
    """How helpers are started: never forked, since torch's threads may be running."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def in_processes(function: Callable[[Job], Made], jobs: Sequence[Job], processes: int) -> Iterator[Made]:
    """What the function gives for each job, in order; in this process alone where one is asked for or there is one job.

    Args:
        function: at the top level of a module, as are the things it takes and gives.
        jobs: what it is called with. processes: how many work at once.
    """
    if processes == 1 or len(jobs) < 2:
        yield from map(function, jobs)
        return
    pool = ProcessPoolExecutor(
        min(processes, len(jobs)), mp_context=multiprocessing.get_context(start_method())
    )
    try:
        yield from pool.map(function, jobs)
    finally:
        pool.shutdown(cancel_futures=True)
