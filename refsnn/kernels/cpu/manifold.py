"""Steps and lengths in spaces of constant curvature, compiled by Numba; the twin of
`refsnn.kernels.plain.manifold`, node by node, on threads where it pays.
"""

from __future__ import annotations

import numpy as np

from refsnn.kernels import manifold_nodes
from refsnn.kernels.compilation import compiled
from refsnn.kernels.cpu.blocks import over_columns
from refsnn.kernels.manifold import FactorColumns, Incidence


def step(factor: FactorColumns, mode: int, points: np.ndarray, drive: np.ndarray, moved: np.ndarray) -> None:
    """See `refsnn.kernels.plain.manifold.step`."""
    over_columns(_step, points.T.shape, (*factor, mode, points, drive, moved))


@compiled
def _step(first, last, curvature, origin, one, mode, points, drive, moved, begin, end):
    for node in range(begin, end):
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
    arrays = points, drive, moved_adjoint, drive_adjoint, point_adjoint
    over_columns(_step_backward, points.T.shape, (*factor, mode, literal, *arrays))


@compiled
def _step_backward(
    first, last, curvature, origin, one, mode, literal, points, drive, moved_adjoint, drive_adjoint,
    point_adjoint, begin, end,
):  # fmt: skip
    for node in range(begin, end):
        manifold_nodes.step_backward(
            first, last, curvature, origin, one, mode, literal, node, points, drive, moved_adjoint,
            drive_adjoint, point_adjoint,
        )  # fmt: skip


def origin_logarithm(factor: FactorColumns, points: np.ndarray, tangents: np.ndarray) -> None:
    """See `refsnn.kernels.plain.manifold.origin_logarithm`."""
    over_columns(_origin_logarithm, points.T.shape, (*factor, points, tangents))


@compiled
def _origin_logarithm(first, last, curvature, origin, one, points, tangents, begin, end):
    for node in range(begin, end):
        manifold_nodes.origin_logarithm(first, last, curvature, one, points[node], tangents[node])


def origin_logarithm_backward(
    factor: FactorColumns, points: np.ndarray, tangent_adjoint: np.ndarray, point_adjoint: np.ndarray
) -> None:
    """See `refsnn.kernels.plain.manifold.origin_logarithm_backward`."""
    over_columns(
        _origin_logarithm_backward, points.T.shape, (*factor, points, tangent_adjoint, point_adjoint)
    )


@compiled
def _origin_logarithm_backward(
    first, last, curvature, origin, one, points, tangent_adjoint, point_adjoint, begin, end
):
    for node in range(begin, end):
        manifold_nodes.origin_logarithm_backward(
            first, last, curvature, one, node, points, tangent_adjoint, point_adjoint
        )


def squared_distances(
    factor: FactorColumns, points: np.ndarray, pairs: Incidence, squares: np.ndarray, slopes: np.ndarray
) -> None:
    """See `refsnn.kernels.plain.manifold.squared_distances`."""
    arguments = (*factor, points, pairs.sources, pairs.targets, squares, slopes)
    over_columns(_squared_distances, (points.shape[1], len(squares)), arguments)


@compiled
def _squared_distances(
    first, last, curvature, origin, one, points, sources, targets, squares, slopes, begin, end
):
    for e in range(begin, end):
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
    work = points.shape[1] * len(pairs.entries) // max(1, len(points))
    arguments = (*factor, points, *pairs, chord_adjoint, point_adjoint)
    over_columns(_squared_distances_backward, (work, len(points)), arguments)


@compiled
def _squared_distances_backward(
    first, last, curvature, origin, one, points, sources, targets, starts, entries, chord_adjoint,
    point_adjoint, begin, end,
):  # fmt: skip
    for node in range(begin, end):
        manifold_nodes.squared_distances_backward(
            first, last, curvature, one, node, points, sources, targets, starts, entries, chord_adjoint,
            point_adjoint[node],
        )  # fmt: skip
