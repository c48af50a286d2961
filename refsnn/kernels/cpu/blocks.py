"""How the CPU kernels meet memory: blocks of neurons on threads, and whether a loop works in place.

The blocks are the only parallelism of the CPU kernels, and it cannot change a bit.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np

# Smaller work is done before a thread has started.
_ELEMENTS_WORTH_A_THREAD = 1 << 18


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="refsnn")


def over_columns(kernel: Callable, shape: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
    """Run `kernel(*arguments, first, last)` over all columns, on threads where it pays.

    Parameters
    ----------
    kernel : callable
        A compiled loop that works on the columns [first, last) and releases the GIL.
    shape : tuple of int
        (T, M) of the arrays.
    arguments : tuple
        What every block gets.
    """
    steps, columns = shape
    worth = min(columns, steps * columns // _ELEMENTS_WORTH_A_THREAD)
    threads = min(numba.get_num_threads(), worth) if worth > 1 else 1  # asking takes longer than a small loop
    if threads == 1:
        kernel(*arguments, 0, columns)
        return
    edges = [columns * block // threads for block in range(threads + 1)]
    running = [
        _pool(threads).submit(kernel, *arguments, first, last) for first, last in itertools.pairwise(edges)
    ]
    for block in running:
        block.result()


def same_memory(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays are one: the same elements at the same addresses.

    Parameters
    ----------
    one, other : ndarray
        Possibly two views of one array.

    Returns
    -------
    bool
        False for arrays that overlap only in part.

    Examples
    --------
    >>> array = np.zeros((3, 4))
    >>> same_memory(array, array[:]), same_memory(array, array[::-1])
    (True, False)
    """
    return (
        one.__array_interface__["data"] == other.__array_interface__["data"]
        and one.dtype == other.dtype
        and one.shape == other.shape
        and one.strides == other.strides
    )
