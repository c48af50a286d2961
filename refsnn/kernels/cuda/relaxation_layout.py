"""A network that relaxes, as flat arrays and small tables that a CUDA kernel can index at run time.

All units of a sample stand in one row, layer after layer.  Every dense coupling becomes two links, one
into each of its layers, with a matrix whose neighbouring entries belong to neighbouring targets:
neighbouring threads then read neighbouring memory.  Convolutional couplings keep their kernels and are
described by one row of numbers each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from refsnn.kernels.convergent import Relaxing

# columns of `Layout.links`
TARGET, SOURCE, MATRIX = range(3)

# columns of `Layout.convolutions`: layers, beginnings of their units, of kernels and of records; then sizes
(
    POST, PRE, POST_FIRST, PRE_FIRST, UP, DOWN, RECORD, MAXIMA, KERNEL, PADDING, WINDOW,
    POST_CHANNELS, POST_ROWS, POST_COLUMNS, PRE_CHANNELS, PRE_ROWS, PRE_COLUMNS,
) = range(17)  # fmt: skip


class Layout(NamedTuple):
    """The tables.

    Attributes
    ----------
    firsts : ndarray of int, (N + 1,)
        The first unit of each layer, and the number of all units.
    kinds : ndarray of int, (N,)
        Which of the different unit equations a layer has.
    links : ndarray of int, (n, 3)
        Target layer, source layer, beginning of the matrix (d_source, d_target) in `weights`.
    convolutions : ndarray of int, (m, 17)
        See the names of the columns above.
    areas : ndarray of real, (m,)
        Entries of a window, in the working precision.
    weights : ndarray
        All matrices and kernels, one after the other.
    records : int
        Entries of all records, one for each window of which the maximum is taken.
    """

    firsts: np.ndarray
    kinds: np.ndarray
    links: np.ndarray
    convolutions: np.ndarray
    areas: np.ndarray
    weights: np.ndarray
    records: int


def layout_of(problem: Relaxing) -> Layout:
    """Lay out a network.

    Parameters
    ----------
    problem : Relaxing
        The network.

    Returns
    -------
    Layout

    Examples
    --------
    >>> from refsnn.equations.activations import identity, identity_slope
    >>> from refsnn.equations.relaxation import prototypical_unit
    >>> from refsnn.kernels.convergent import Coupling
    >>> unit = prototypical_unit(identity, identity_slope, "outside")
    >>> coupling = Coupling(0, 1, np.ones((2, 3)), np.ones((2, 3)))
    >>> layout_of(Relaxing((unit, unit), (coupling,), (np.zeros((1, 2)), np.zeros((1, 3))), 1.0)).links
    array([[0, 1, 0],
           [1, 0, 6]])
    """
    drive = problem.drive
    widths = [int(np.prod(layer.shape[1:])) for layer in drive]
    firsts = np.cumsum([0, *widths])
    kinds = distinct_units(problem)
    blocks: list[np.ndarray] = []
    taken = records = 0
    links, convolutions = [], []

    def place(array: np.ndarray) -> int:
        nonlocal taken
        blocks.append(array.reshape(-1))
        taken += array.size
        return taken - array.size

    for coupling in problem.couplings:
        post, pre = coupling.post, coupling.pre
        if coupling.weight.ndim == 2:
            links.append((post, pre, place(coupling.weight.T)))
            links.append((pre, post, place(coupling.feedback)))
            continue
        up = place(coupling.weight)
        down = up if coupling.feedback is coupling.weight else place(coupling.feedback)
        maxima = coupling.pooling == "max"
        shapes = *drive[post].shape[1:], *drive[pre].shape[1:]
        convolutions.append(
            (
                post, pre, firsts[post], firsts[pre], up, down, records, maxima,
                coupling.weight.shape[-1], coupling.padding, coupling.window, *shapes,
            )
        )  # fmt: skip
        records += maxima * widths[post]
    dtype = drive[0].dtype
    real = np.empty(0, dtype).real.dtype
    return Layout(
        firsts.astype(np.int64),
        np.array([kinds.index(unit) for unit in problem.units], np.int64),
        np.array(links, np.int64).reshape(-1, 3),
        np.array(convolutions, np.int64).reshape(-1, 17),
        np.array([row[WINDOW] ** 2 for row in convolutions], real),
        np.concatenate([np.empty(0, dtype), *blocks]),
        int(records),
    )


def distinct_units(problem: Relaxing) -> tuple:
    """The different unit equations of a network, in the order in which they come.

    Parameters
    ----------
    problem : Relaxing
        The network.

    Returns
    -------
    tuple of UnitEquations
    """
    return tuple(dict.fromkeys(problem.units))


def as_rows(layers: tuple[np.ndarray, ...]) -> np.ndarray:
    """Layers (B, *shape) side by side: (B, units).

    Examples
    --------
    >>> as_rows((np.zeros((2, 3)), np.ones((2, 1, 2, 2)))).shape
    (2, 7)
    """
    return np.concatenate([layer.reshape(len(layer), -1) for layer in layers], axis=1)


def from_rows(rows: np.ndarray, layers: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """The inverse, in the shapes of `layers`, with whatever axes stand in front of the samples.

    Examples
    --------
    >>> parts = from_rows(np.zeros((5, 2, 7)), (np.zeros((2, 3)), np.ones((2, 1, 2, 2))))
    >>> [part.shape for part in parts]
    [(5, 2, 3), (5, 2, 1, 2, 2)]
    """
    widths = [int(np.prod(layer.shape[1:])) for layer in layers]
    parts = np.split(rows, np.cumsum(widths)[:-1], axis=-1)
    return tuple(
        part.reshape(*rows.shape[:-1], *layer.shape[1:]) for part, layer in zip(parts, layers, strict=True)
    )
