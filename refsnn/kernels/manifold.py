"""What the kernels of constant-curvature geometry take and leave, by name.

Sizes: N nodes, D columns of all factors together, E pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# what becomes of a drive u at a point z: brought from the origin, projected, taken as it is
TRANSPORT, PROJECT, AMBIENT = range(3)
CODES = {"transport": TRANSPORT, "project": PROJECT, "ambient": AMBIENT}


class FactorColumns(NamedTuple):
    """One factor of a product of manifolds, as a kernel sees it.

    Attributes
    ----------
    first, last : int
        Its columns; the first of a curved factor is the time-like or polar coordinate.
    curvature : floating
        kappa.
    origin : floating
        Coordinate 0 of the origin: R on the hyperboloid, -R on the sphere, 0 in Euclidean space.
    one : floating
        1 in the working dtype.
    """

    first: int
    last: int
    curvature: np.floating
    origin: np.floating
    one: np.floating


class Incidence(NamedTuple):
    """Pairs of nodes, and for each node the pairs that it is in, so that adjoints are added up in order.

    Attributes
    ----------
    sources, targets : ndarray of int64, (E,)
        Ends of each pair.
    starts : ndarray of int64, (N + 1,)
        Where the entries of each node begin.
    entries : ndarray of int64, (2 E,)
        2 e where the node is the source of pair e, 2 e + 1 where it is its target.
    """

    sources: np.ndarray
    targets: np.ndarray
    starts: np.ndarray
    entries: np.ndarray
