"""Steps and lengths in spaces of constant curvature on a CUDA device; the twin of
`refsnn.kernels.plain.manifold`: one thread is one node, or one pair, so that adjoints are added up in order.
"""

from __future__ import annotations

import numpy as np
from numba import cuda

from refsnn.kernels import manifold_nodes
from refsnn.kernels.cuda.device import compiled, filled, over_columns, read, updated
from refsnn.kernels.manifold import FactorColumns, Incidence


def step(factor: FactorColumns, mode: int, points: np.ndarray, drive: np.ndarray, moved: np.ndarray) -> None:
    """See `refsnn.kernels.plain.manifold.step`."""
    arguments = (*factor, mode, read(points), read(drive), updated(moved))
    over_columns(_step, (1, len(points)), arguments)


@compiled
def _step(first, last, curvature, origin, one, mode, points, drive, moved):
    node = cuda.grid(1)
    if node < points.shape[0]:
        manifold_nodes.step(first, last, curvature, origin, one, mode, points[node], drive[node], moved[node])


def step_backward(
    factor: FactorColumns,
    mode: int,
    literal: bool,
    points: np.ndarray,
    drive: np.ndarray,
    moved_adjoint: np.ndarray,
    drive_adjoint: np.ndarray,
    point_adjoint: np.ndarray,
) -> None:
    """See `refsnn.kernels.plain.manifold.step_backward`."""
    arrays = read(points), read(drive), read(moved_adjoint), updated(drive_adjoint), updated(point_adjoint)
    over_columns(_step_backward, (1, len(points)), (*factor, mode, literal, *arrays))


@compiled
def _step_backward(
    first, last, curvature, origin, one, mode, literal, points, drive, moved_adjoint, drive_adjoint,
    point_adjoint,
):  # fmt: skip
    node = cuda.grid(1)
    if node < points.shape[0]:
        manifold_nodes.step_backward(
            first, last, curvature, origin, one, mode, literal, node, points, drive, moved_adjoint,
            drive_adjoint, point_adjoint,
        )  # fmt: skip


def origin_logarithm(factor: FactorColumns, points: np.ndarray, tangents: np.ndarray) -> None:
    """See `refsnn.kernels.plain.manifold.origin_logarithm`."""
    over_columns(_origin_logarithm, (1, len(points)), (*factor, read(points), updated(tangents)))


@compiled
def _origin_logarithm(first, last, curvature, origin, one, points, tangents):
    node = cuda.grid(1)
    if node < points.shape[0]:
        manifold_nodes.origin_logarithm(first, last, curvature, one, points[node], tangents[node])


def origin_logarithm_backward(
    factor: FactorColumns, points: np.ndarray, tangent_adjoint: np.ndarray, point_adjoint: np.ndarray
) -> None:
    """See `refsnn.kernels.plain.manifold.origin_logarithm_backward`."""
    arguments = (*factor, read(points), read(tangent_adjoint), updated(point_adjoint))
    over_columns(_origin_logarithm_backward, (1, len(points)), arguments)


@compiled
def _origin_logarithm_backward(first, last, curvature, origin, one, points, tangent_adjoint, point_adjoint):
    node = cuda.grid(1)
    if node < points.shape[0]:
        manifold_nodes.origin_logarithm_backward(
            first, last, curvature, one, node, points, tangent_adjoint, point_adjoint
        )


def squared_distances(
    factor: FactorColumns, points: np.ndarray, pairs: Incidence, squares: np.ndarray, slopes: np.ndarray
) -> None:
    """See `refsnn.kernels.plain.manifold.squared_distances`."""
    ends = read(pairs.sources), read(pairs.targets)
    arguments = (*factor, read(points), *ends, filled(squares), filled(slopes))
    over_columns(_squared_distances, (1, len(squares)), arguments)


@compiled
def _squared_distances(first, last, curvature, origin, one, points, sources, targets, squares, slopes):
    e = cuda.grid(1)
    if e < squares.size:
        squares[e], slopes[e] = manifold_nodes.squared_distance(
            first, last, curvature, origin, one, points[sources[e]], points[targets[e]]
        )


def squared_distances_backward(
    factor: FactorColumns,
    points: np.ndarray,
    pairs: Incidence,
    chord_adjoint: np.ndarray,
    point_adjoint: np.ndarray,
) -> None:
    """See `refsnn.kernels.plain.manifold.squared_distances_backward`."""
    arguments = (*factor, read(points), *map(read, pairs), read(chord_adjoint), updated(point_adjoint))
    over_columns(_squared_distances_backward, (1, len(points)), arguments)


@compiled
def _squared_distances_backward(
    first, last, curvature, origin, one, points, sources, targets, starts, entries, chord_adjoint,
    point_adjoint,
):  # fmt: skip
    node = cuda.grid(1)
    if node < points.shape[0]:
        manifold_nodes.squared_distances_backward(
            first, last, curvature, one, node, points, sources, targets, starts, entries, chord_adjoint,
            point_adjoint[node],
        )  # fmt: skip
