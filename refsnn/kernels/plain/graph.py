"""Products with a sparse matrix of a graph in NumPy: sums over neighbours.

out_i = sum_j A_ij x_j,    row by row, each in the order in which the neighbours are listed.
"""

from __future__ import annotations

import numpy as np


def propagate(
    starts: np.ndarray, neighbours: np.ndarray, values: np.ndarray, signals: np.ndarray, out: np.ndarray
) -> None:
    """A x.

    Parameters
    ----------
    starts : ndarray of int64, (N + 1,)
        Where the entries of each row begin.
    neighbours : ndarray of int64, (E,)
        Columns of the entries.
    values : ndarray, (E,)
        A of the entries.
    signals : ndarray, (M, D)
        x, one row for each column of A.
    out : ndarray, (N, D)
        Filled.
    """
    for row in range(len(starts) - 1):
        total = np.zeros_like(out[row])
        for entry in range(starts[row], starts[row + 1]):
            total += values[entry] * signals[neighbours[entry]]
        out[row] = total
