"""Steps and lengths in spaces of constant curvature, compiled by Numba; the twin of
`refsnn.kernels.plain.manifold`: node by node, in memory of one node.
"""

from __future__ import annotations

import numpy as np

from refsnn.equations.curvature import (
    distance_ratio,
    origin_ratio,
    origin_slopes,
    squared_distance_slope,
)
from refsnn.equations.elementary import square_root
from refsnn.equations.stumpff import stumpff
from refsnn.kernels.compilation import compiled
from refsnn.kernels.manifold import PROJECT, TRANSPORT, FactorColumns, Incidence


def step(factor: FactorColumns, mode: int, points: np.ndarray, drive: np.ndarray, moved: np.ndarray) -> None:
    """See `refsnn.kernels.plain.manifold.step`."""
    _step(*factor, mode, points, drive, moved, np.empty(factor.last - factor.first, points.dtype))


@compiled
def _vector(first, last, curvature, origin, one, mode, z, u, v):
    """v of one node into `v`; returns q, and a and b of the transport or <z, u> of the projection."""
    zero = one - one
    sign = -one if curvature < zero else one
    if mode == TRANSPORT:
        square = product = zero
        start = first if curvature == zero else first + 1
        for i in range(start, last):
            square += u[i] * u[i]
            product += z[i] * u[i]
        a, b = curvature * product, one + curvature * (sign * z[first] * origin)
        for i in range(start, last):
            v[i - first] = u[i] - a / b * z[i]
        if curvature != zero:
            v[0] = -(a / b * (origin + z[first]))
        return curvature * square, a, b
    along = zero
    if mode == PROJECT:
        along = sign * z[first] * u[first]
        for i in range(first + 1, last):
            along += z[i] * u[i]
    for i in range(first, last):
        v[i - first] = u[i] - curvature * along * z[i]
    square = sign * v[0] * v[0]
    for i in range(1, last - first):
        square += v[i] * v[i]
    return curvature * square, along, one


@compiled
def _step(first, last, curvature, origin, one, mode, points, drive, moved, v):
    for node in range(points.shape[0]):
        z, to = points[node], moved[node]
        q, _, _ = _vector(first, last, curvature, origin, one, mode, z, drive[node], v)
        c0, c1, _, _ = stumpff(q, one)
        for i in range(first, last):
            to[i] = c0 * z[i] + c1 * v[i - first]


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
    width = factor.last - factor.first
    _step_backward(
        *factor, mode, literal, points, drive, moved_adjoint, drive_adjoint, point_adjoint,
        np.empty(width, points.dtype), np.empty(width, points.dtype), np.empty(width, points.dtype),
    )  # fmt: skip


@compiled
def _step_backward(
    first, last, curvature, origin, one, mode, literal, points, drive, moved_adjoint, drive_adjoint,
    point_adjoint, v, by_vector, by_point,
):  # fmt: skip
    zero, two = one - one, one + one
    sign = -one if curvature < zero else one
    for node in range(points.shape[0]):
        z, u, g = points[node], drive[node], moved_adjoint[node]
        into, back = drive_adjoint[node], point_adjoint[node]
        q, a, b = _vector(first, last, curvature, origin, one, mode, z, u, v)
        c0, c1, c2, c3 = stumpff(q, one)
        by_z = by_v = zero
        for i in range(first, last):
            by_z += z[i] * g[i]
            by_v += v[i - first] * g[i]
        if mode == TRANSPORT:
            total = zero
            for i in range(first, last):
                by_vector[i - first] = c1 * g[i]
                total += z[i] * by_vector[i - first]
            total += origin * by_vector[0]
            by_square = two * curvature * ((-c1 * by_z + (c3 - c2) * by_v) / two)
            for i in range(first, last):
                mine = sign if i == first else one
                w = u[i]
                if i == first and curvature != zero:
                    w = zero
                o = origin if i == first else zero
                into[i] = by_vector[i - first] - curvature / b * total * (mine * z[i]) + by_square * w
                by_point[i - first] = (
                    -(a / b) * by_vector[i - first]
                    - curvature / b * total * (mine * w)
                    + a * curvature / (b * b) * total * (mine * o)
                )
            if curvature != zero:
                into[first] = zero
        else:
            scale = -c1 * by_z + (c3 - c2) * by_v
            total = zero
            for i in range(first, last):
                mine = sign if i == first else one
                by_vector[i - first] = c1 * g[i] + curvature * (mine * v[i - first]) * scale
                total += z[i] * by_vector[i - first]
            for i in range(first, last):
                mine = sign if i == first else one
                if mode == PROJECT:
                    into[i] = by_vector[i - first] - curvature * total * (mine * z[i])
                    by_point[i - first] = -curvature * (total * (mine * u[i]) + a * by_vector[i - first])
                else:
                    into[i], by_point[i - first] = by_vector[i - first], zero
        for i in range(first, last):
            back[i] = c0 * g[i] if literal else c0 * g[i] + by_point[i - first]


def origin_logarithm(factor: FactorColumns, points: np.ndarray, tangents: np.ndarray) -> None:
    """See `refsnn.kernels.plain.manifold.origin_logarithm`."""
    _origin_logarithm(*factor, points, tangents)


@compiled
def _radius(first, last, z, one):
    """rho."""
    square = one - one
    for i in range(first + 1, last):
        square += z[i] * z[i]
    return square_root(square)


@compiled
def _origin_logarithm(first, last, curvature, origin, one, points, tangents):
    zero = one - one
    for node in range(points.shape[0]):
        z, to = points[node], tangents[node]
        ratio, start = one, first
        if curvature != zero:
            ratio = origin_ratio(_radius(first, last, z, one), z[first], curvature, one)
            to[first], start = zero, first + 1
        for i in range(start, last):
            to[i] = ratio * z[i]


def origin_logarithm_backward(
    factor: FactorColumns, points: np.ndarray, tangent_adjoint: np.ndarray, point_adjoint: np.ndarray
) -> None:
    """See `refsnn.kernels.plain.manifold.origin_logarithm_backward`."""
    _origin_logarithm_backward(*factor, points, tangent_adjoint, point_adjoint)


@compiled
def _origin_logarithm_backward(first, last, curvature, origin, one, points, tangent_adjoint, point_adjoint):
    zero = one - one
    for node in range(points.shape[0]):
        z, g, back = points[node], tangent_adjoint[node], point_adjoint[node]
        if curvature == zero:
            for i in range(first, last):
                back[i] = g[i]
            continue
        rho = _radius(first, last, z, one)
        ratio = origin_ratio(rho, z[first], curvature, one)
        slope, polar_slope = origin_slopes(rho, z[first], curvature, one)
        length = rho if rho > zero else one
        along = zero
        for i in range(first + 1, last):
            along += z[i] / length * g[i]
        back[first] = polar_slope * along
        for i in range(first + 1, last):
            back[i] = ratio * g[i] + (slope - ratio) * along * (z[i] / length)


def squared_distances(
    factor: FactorColumns, points: np.ndarray, pairs: Incidence, squares: np.ndarray, slopes: np.ndarray
) -> None:
    """See `refsnn.kernels.plain.manifold.squared_distances`."""
    _squared_distances(*factor, points, pairs.sources, pairs.targets, squares, slopes)


@compiled
def _squared_distances(first, last, curvature, origin, one, points, sources, targets, squares, slopes):
    zero = one - one
    sign = -one if curvature < zero else one
    for e in range(sources.size):
        x, y = points[sources[e]], points[targets[e]]
        chord = sign * (x[first] - y[first]) * (x[first] - y[first])
        total = (x[first] + y[first]) * (x[first] + y[first])
        for i in range(first + 1, last):
            chord += (x[i] - y[i]) * (x[i] - y[i])
            total += (x[i] + y[i]) * (x[i] + y[i])
        if chord < zero:
            chord = zero
        ratio = distance_ratio(chord, total, curvature, one)
        squares[e] = ratio * ratio * chord
        slopes[e] = squared_distance_slope(ratio, chord, curvature, one)


def squared_distances_backward(
    factor: FactorColumns,
    points: np.ndarray,
    pairs: Incidence,
    chord_adjoint: np.ndarray,
    point_adjoint: np.ndarray,
) -> None:
    """See `refsnn.kernels.plain.manifold.squared_distances_backward`."""
    _squared_distances_backward(*factor, points, *pairs, chord_adjoint, point_adjoint)


@compiled
def _squared_distances_backward(
    first, last, curvature, origin, one, points, sources, targets, starts, entries, chord_adjoint,
    point_adjoint,
):  # fmt: skip
    zero, two = one - one, one + one
    for node in range(points.shape[0]):
        back = point_adjoint[node]
        for i in range(first, last):
            back[i] = zero
        for place in range(starts[node], starts[node + 1]):
            pair = entries[place] // 2
            x, y = points[sources[pair]], points[targets[pair]]
            share = two * chord_adjoint[pair]
            if entries[place] % 2:
                share = -share
            for i in range(first, last):
                mine = -one if i == first and curvature < zero else one
                back[i] += share * (mine * (x[i] - y[i]))
