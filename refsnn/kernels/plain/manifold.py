"""Steps and lengths on hyperboloids, spheres and flat space in NumPy: the specification as executed.

The manifold is kappa <z, z> = 1 with <a, b> = sum_i J_i a_i b_i, J = (-1, 1, ..., 1) for kappa < 0 and 1
otherwise; o is its origin (Sun 2024).  A step takes a drive u, which knows nothing of z, to z' = Exp_z(v):

    transport  w = u without the coordinate of the origin,  v = w - (a/b)(o + z),  a = kappa <z, w>,
               b = 1 + kappa <o, z>,  with q = kappa |w|^2: parallel transport from o to z keeps lengths
    project    v = u - kappa <z, u> z,  q = kappa <v, v>
    ambient    v = u,  q = kappa <u, u>;  z' is not on the manifold

and z' = c0(q) z + c1(q) v.  Functions work on the columns of one factor of a product.
"""

from __future__ import annotations

import numpy as np

from refsnn.equations.curvature import (
    distance_ratio,
    origin_ratio,
    origin_slopes,
    squared_distance_slope,
)
from refsnn.equations.stumpff import stumpff
from refsnn.kernels.manifold import AMBIENT, PROJECT, TRANSPORT, FactorColumns, Incidence


def _each(equation, *columns):  # type: ignore[no-untyped-def]
    """An equation of numbers, node by node, each of its values as a column."""
    rows = [equation(*row) for row in zip(*columns, strict=True)]
    return (np.array(part)[:, None] for part in zip(*rows, strict=True))


def _signs(factor: FactorColumns) -> np.ndarray:
    """J."""
    signs = np.full(factor.last - factor.first, factor.one)
    if factor.curvature < 0:
        signs[0] = -factor.one
    return signs


def _inner(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=1, keepdims=True)


def _stumpff(q: np.ndarray, factor: FactorColumns):  # type: ignore[no-untyped-def]
    return _each(lambda value: stumpff(value, factor.one), q[:, 0])


def _from_origin(factor: FactorColumns, points: np.ndarray, drive: np.ndarray):  # type: ignore[no-untyped-def]
    """o, w, a and b of the transport."""
    origin = np.zeros_like(points[0])
    moved = drive.copy()
    if factor.curvature != 0:
        origin[0] = factor.origin
        moved[:, 0] = 0
    signs = _signs(factor)
    a = factor.curvature * _inner(signs * points, moved)
    b = factor.one + factor.curvature * _inner(signs * points, origin[None])
    return origin, moved, a, b


def step(factor: FactorColumns, mode: int, points: np.ndarray, drive: np.ndarray, moved: np.ndarray) -> None:
    """z' of each node.

    Parameters
    ----------
    factor : FactorColumns
        Which columns, of which curvature.
    mode : int
        Transport, projection or neither.
    points, drive : ndarray, (N, D)
        z and u.
    moved : ndarray, (N, D)
        Filled in the factor's columns.
    """
    own = slice(factor.first, factor.last)
    z, u, signs = points[:, own], drive[:, own], _signs(factor)
    if mode == TRANSPORT:
        origin, w, a, b = _from_origin(factor, z, u)
        v, q = w - a / b * (origin + z), factor.curvature * _inner(w, w)
    else:
        v = u - factor.curvature * _inner(signs * z, u) * z if mode == PROJECT else u
        q = factor.curvature * _inner(signs * v, v)
    c0, c1, _, _ = _stumpff(q, factor)
    moved[:, own] = c0 * z + c1 * v


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
    """The adjoint of `step`.

    With g = dL/dz', J elementwise and (c0, c1, c2, c3) at q:

        ambient    vbar = c1 g + kappa (J v)(-c1 (z.g) + (c3 - c2)(v.g)),   zbar = c0 g
        project    sg = z.vbar,  ubar = vbar - kappa sg (J z),
                   zbar = c0 g - kappa (sg (J u) + <z, u> vbar)
        transport  vb = c1 g,  sg = (o + z).vb,  qb = -c1/2 (z.g) + (c3 - c2)/2 (v.g),
                   wbar = vb - (kappa/b) sg (J z) + 2 kappa qb w,
                   zbar = c0 g - (a/b) vb - (kappa/b) sg (J w) + (a kappa/b^2) sg (J o)

    Parameters
    ----------
    factor, mode
        As on the way forward.
    literal : bool
        Whether zbar is c0 g in every mode, as the paper prints it.
    points, drive
        As on the way forward.
    moved_adjoint : ndarray, (N, D)
        g.
    drive_adjoint, point_adjoint : ndarray, (N, D)
        ubar and zbar, filled in the factor's columns; the last may be `moved_adjoint` itself.
    """
    own = slice(factor.first, factor.last)
    z, u, g, signs = points[:, own], drive[:, own], moved_adjoint[:, own].copy(), _signs(factor)
    kappa, two = factor.curvature, factor.one + factor.one
    if mode == TRANSPORT:
        origin, w, a, b = _from_origin(factor, z, u)
        v = w - a / b * (origin + z)
        c0, c1, c2, c3 = _stumpff(kappa * _inner(w, w), factor)
        by_vector = c1 * g
        sum_adjoint = _inner(origin + z, by_vector)
        by_square = (-c1 * _inner(z, g) + (c3 - c2) * _inner(v, g)) / two
        by_drive = by_vector - kappa / b * sum_adjoint * (signs * z) + two * kappa * by_square * w
        if kappa != 0:
            by_drive[:, 0] = 0
        by_point = -(a / b) * by_vector - kappa / b * sum_adjoint * (signs * w)
        by_point += a * kappa / (b * b) * sum_adjoint * (signs * origin)
    else:
        along = _inner(signs * z, u)
        v = u - kappa * along * z if mode == PROJECT else u
        c0, c1, c2, c3 = _stumpff(kappa * _inner(signs * v, v), factor)
        by_drive = c1 * g + kappa * (signs * v) * (-c1 * _inner(z, g) + (c3 - c2) * _inner(v, g))
        by_point = np.zeros_like(g)
        if mode == PROJECT:
            sum_adjoint = _inner(z, by_drive)
            by_point = -kappa * (sum_adjoint * (signs * u) + along * by_drive)
            by_drive = by_drive - kappa * sum_adjoint * (signs * z)
    drive_adjoint[:, own] = by_drive
    point_adjoint[:, own] = c0 * g if literal or mode == AMBIENT else c0 * g + by_point


def origin_logarithm(factor: FactorColumns, points: np.ndarray, tangents: np.ndarray) -> None:
    """(0, (l / rho) y): what takes the origin to z.

    Parameters
    ----------
    factor : FactorColumns
        Which columns, of which curvature.
    points : ndarray, (N, D)
        z.
    tangents : ndarray, (N, D)
        Filled in the factor's columns.
    """
    own = slice(factor.first, factor.last)
    z = points[:, own]
    if factor.curvature == 0:
        tangents[:, own] = z
        return
    y = z[:, 1:]
    rho = np.sqrt((y * y).sum(axis=1))
    (ratio,) = _each(
        lambda length, polar: (origin_ratio(length, polar, factor.curvature, factor.one),), rho, z[:, 0]
    )
    tangents[:, factor.first] = 0
    tangents[:, factor.first + 1 : factor.last] = ratio * y


def origin_logarithm_backward(
    factor: FactorColumns, points: np.ndarray, tangent_adjoint: np.ndarray, point_adjoint: np.ndarray
) -> None:
    """The adjoint of `origin_logarithm`: scaled by l / rho across y, and by dl/drho along it.

    Parameters
    ----------
    factor, points
        As on the way forward.
    tangent_adjoint : ndarray, (N, D)
        Of what the logarithm filled.
    point_adjoint : ndarray, (N, D)
        Filled in the factor's columns.
    """
    own = slice(factor.first, factor.last)
    z, g = points[:, own], tangent_adjoint[:, own]
    if factor.curvature == 0:
        point_adjoint[:, own] = g
        return
    y, gy = z[:, 1:], g[:, 1:]
    rho = np.sqrt((y * y).sum(axis=1))
    ratio, slope, polar_slope = _each(
        lambda length, polar: (
            origin_ratio(length, polar, factor.curvature, factor.one),
            *origin_slopes(length, polar, factor.curvature, factor.one),
        ),
        rho,
        z[:, 0],
    )
    direction = y / np.where(rho > 0, rho, factor.one)[:, None]
    along = _inner(direction, gy)
    point_adjoint[:, factor.first] = (polar_slope * along)[:, 0]
    point_adjoint[:, factor.first + 1 : factor.last] = ratio * gy + (slope - ratio) * along * direction


def squared_distances(
    factor: FactorColumns, points: np.ndarray, pairs: Incidence, squares: np.ndarray, slopes: np.ndarray
) -> None:
    """d^2 of each pair, and its slope by the square of the chord.

    Parameters
    ----------
    factor : FactorColumns
        Which columns, of which curvature.
    points : ndarray, (N, D)
        z.
    pairs : Incidence
        Of nodes.
    squares, slopes : ndarray, (E,)
        Filled.
    """
    own = slice(factor.first, factor.last)
    x, y = points[pairs.sources, own], points[pairs.targets, own]
    chord = (_signs(factor) * (x - y) * (x - y)).sum(axis=1)
    total = ((x + y) * (x + y)).sum(axis=1)
    ratio, slope = _each(
        lambda s, other: _distance(s, other, factor),
        np.where(chord.real > 0, chord, 0 * factor.one),  # rounding can take it below 0
        total,
    )
    squares[:] = (ratio * ratio)[:, 0] * np.where(chord.real > 0, chord, 0 * factor.one)
    slopes[:] = slope[:, 0]


def _distance(square, total, factor):  # type: ignore[no-untyped-def]
    ratio = distance_ratio(square, total, factor.curvature, factor.one)
    return ratio, squared_distance_slope(ratio, square, factor.curvature, factor.one)


def squared_distances_backward(
    factor: FactorColumns,
    points: np.ndarray,
    pairs: Incidence,
    chord_adjoint: np.ndarray,
    point_adjoint: np.ndarray,
) -> None:
    """ds/dx = 2 J (x - y) of all pairs of each node, in the order of its entries.

    Parameters
    ----------
    factor, points, pairs
        As on the way forward.
    chord_adjoint : ndarray, (E,)
        dL/ds.
    point_adjoint : ndarray, (N, D)
        Filled in the factor's columns.
    """
    own = slice(factor.first, factor.last)
    signs, two = _signs(factor), factor.one + factor.one
    for node in range(len(points)):
        total = np.zeros_like(points[node, own])
        for entry in pairs.entries[pairs.starts[node] : pairs.starts[node + 1]]:
            pair, is_target = divmod(int(entry), 2)
            apart = points[pairs.sources[pair], own] - points[pairs.targets[pair], own]
            share = two * chord_adjoint[pair] * (signs * apart)
            total += -share if is_target else share
        point_adjoint[node, own] = total
