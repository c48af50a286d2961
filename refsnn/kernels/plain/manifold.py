"""Steps and lengths on hyperboloids, spheres and flat space in NumPy: the specification as executed.

The manifold is kappa <z, z> = 1 with <a, b> = sum_i J_i a_i b_i, J = (-1, 1, ..., 1) for kappa < 0 and 1
otherwise; o is its origin (Sun 2024).  A step takes a drive u, which knows nothing of z, to z' = Exp_z(v):

    transport  w = u without the coordinate of the origin,  v = w - (a/b)(o + z),  a = kappa <z, w>,
               b = 1 + kappa <o, z>,  with q = kappa |w|^2: parallel transport from o to z keeps lengths;
               v_0 = -a o_0, and b = kappa |y|^2 / (1 - kappa <o, z>) beyond a sphere's equator
    project    v = u - kappa <z, u> z,  q = kappa <v, v>
    ambient    v = u,  q = kappa <u, u>;  z' is not on the manifold

and z' = c0(q) z + c1(q) v.  Functions work on the columns of one factor of a product.
"""

from __future__ import annotations

import numpy as np

from refsnn.equations.curvature import (
    origin_ratio,
    origin_slopes,
)
from refsnn.kernels.manifold import PROJECT, TRANSPORT, FactorColumns, Incidence
from refsnn.kernels.plain.curvature import (
    each,
    exponential_adjoint,
    from_origin,
    inner,
    lengths,
    product,
    signs_of,
    stumpff_of,
    transport_adjoint,
    vector_of,
)


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
    z = points[:, own]
    v, q = vector_of(factor, mode, z, drive[:, own])
    c0, c1, _, _ = stumpff_of(q, factor)
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
    z, u, g, signs = points[:, own], drive[:, own], moved_adjoint[:, own].copy(), signs_of(factor)
    kappa, two = factor.curvature, factor.one + factor.one
    v, q = vector_of(factor, mode, z, u)
    by_point, by_vector, by_square = exponential_adjoint(factor, z, v, q, g)
    literal_by_point = by_point
    if mode == TRANSPORT:
        origin, both, w, a, b = from_origin(factor, z, u)
        _, by_end, by_drive = transport_adjoint(factor, origin, z, both, w, a, b, by_vector)
        by_drive = by_drive + two * kappa * by_square * w
        if kappa != 0:
            by_drive[:, 0] = 0
        by_point = by_point + by_end
    else:
        by_drive = by_vector + two * kappa * by_square * (signs * v)
        if mode == PROJECT:
            along, total = inner(factor, z, u), product(z, by_drive)
            by_point = by_point - kappa * (total * (signs * u) + along * by_drive)
            by_drive = by_drive - kappa * total * (signs * z)
    drive_adjoint[:, own] = by_drive
    point_adjoint[:, own] = literal_by_point if literal else by_point


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
    (ratio,) = each(
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
    ratio, slope, polar_slope = each(
        lambda length, polar: (
            origin_ratio(length, polar, factor.curvature, factor.one),
            *origin_slopes(length, polar, factor.curvature, factor.one),
        ),
        rho,
        z[:, 0],
    )
    direction = y / np.where(rho > 0, rho, factor.one)[:, None]
    along = product(direction, gy)
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
    chord, ratio, cosine = lengths(factor, points[pairs.sources, own], points[pairs.targets, own])
    squares[:] = (ratio * ratio * chord)[:, 0]
    slopes[:] = (ratio / cosine)[:, 0]


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
    signs, two = signs_of(factor), factor.one + factor.one
    for node in range(len(points)):
        total = np.zeros_like(points[node, own])
        for entry in pairs.entries[pairs.starts[node] : pairs.starts[node + 1]]:
            pair, is_target = divmod(int(entry), 2)
            apart = points[pairs.sources[pair], own] - points[pairs.targets[pair], own]
            share = two * chord_adjoint[pair] * (signs * apart)
            total += -share if is_target else share
        point_adjoint[node, own] = total
