"""Products with a sparse matrix of a graph on a CUDA device; the twin of `refsnn.kernels.plain.graph`.

One thread is one entry of the product, and adds up its neighbours in order.
"""

from __future__ import annotations

import numpy as np
from numba import cuda

from refsnn.kernels.cuda.device import compiled, filled, over_columns, read


def propagate(
    starts: np.ndarray, neighbours: np.ndarray, values: np.ndarray, signals: np.ndarray, out: np.ndarray
) -> None:
    """See `refsnn.kernels.plain.graph.propagate`."""
    arguments = (*map(read, (starts, neighbours, values, signals)), filled(out))
    over_columns(_propagate, (1, out.size), (*arguments, out.dtype.type(0)))


@compiled
def _propagate(starts, neighbours, values, signals, out, zero):
    place = cuda.grid(1)
    if place >= out.size:
        return
    row, column = place // out.shape[1], place % out.shape[1]
    total = zero
    for entry in range(starts[row], starts[row + 1]):
        total += values[entry] * signals[neighbours[entry], column]
    out[row, column] = total
