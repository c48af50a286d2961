"""How the benchmarks take times and memory: one thread, runs in turns, process CPU time."""

from __future__ import annotations

import gc
import importlib
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numba
from threadpoolctl import threadpool_limits

Run = Callable[[], Any]

WARM_UPS = 2
FLOOR, CPU = "products alone", "refsnn, cpu"


@contextmanager
def one_thread() -> Iterator[None]:
    """BLAS and Numba on one thread, as they were before afterwards."""
    # Compiled loops call SciPy's BLAS, which is loaded with them: what is not there yet cannot be limited.
    importlib.import_module("scipy.linalg.cython_blas")
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        numba.set_num_threads(before)


def peak_memory(run: Run) -> int:
    """Largest number of bytes that Python and NumPy held during `run` beyond what was there before.

    Parameters
    ----------
    run : callable
        The work; its result is dropped.

    Returns
    -------
    int
        Bytes, result included.
    """
    run()  # compiled and cached things are not part of the work
    gc.collect()
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        outcome = run()
        _, peak = tracemalloc.get_traced_memory()
        del outcome
    finally:
        tracemalloc.stop()
    return peak - before


def take_turns(
    runs: Mapping[str, Run],
    repeats: int,
    clock: Callable[[], float] = time.process_time,
    progress: Callable[[], None] = lambda: None,
) -> dict[str, list[float]]:
    """Time all of `runs` A B C, A B C, ..., so that a busy minute of the machine hits them alike.

    Parameters
    ----------
    runs : mapping of str to callable
        The work of each.
    repeats : int
        Rounds that count; `WARM_UPS` rounds before them do not.
    clock : callable
        Seconds.
    progress : callable
        Called after each round.

    Returns
    -------
    dict of str to list of float
        Milliseconds of each counted run.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    collects = gc.isenabled()
    gc.disable()
    try:
        for turn in range(WARM_UPS + repeats):
            for name, run in runs.items():
                start = clock()
                run()
                spent = clock() - start
                if turn >= WARM_UPS:
                    times[name].append(1e3 * spent)
            gc.collect()
            progress()
    finally:
        if collects:
            gc.enable()
    return times
