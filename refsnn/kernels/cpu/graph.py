"""Products with a sparse matrix of a graph, compiled by Numba; the twin of `refsnn.kernels.plain.graph`."""

from __future__ import annotations

import numpy as np

from refsnn.kernels.compilation import compiled
from refsnn.kernels.cpu.blocks import over_columns


def propagate(
    starts: np.ndarray, neighbours: np.ndarray, values: np.ndarray, signals: np.ndarray, out: np.ndarray
) -> None:
    """See `refsnn.kernels.plain.graph.propagate`."""
    work = max(1, len(neighbours) * signals.shape[1] // max(1, len(out)))
    over_columns(_propagate, (work, len(out)), (starts, neighbours, values, signals, out))


@compiled
def _propagate(starts, neighbours, values, signals, out, first, last):
    zero = values.dtype.type(0)
    for row in range(first, last):
        total = out[row]
        for c in range(total.size):
            total[c] = zero
        for entry in range(starts[row], starts[row + 1]):
            value, heard = values[entry], signals[neighbours[entry]]
            for c in range(total.size):
                total[c] += value * heard[c]
