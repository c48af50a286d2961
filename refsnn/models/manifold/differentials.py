"""Differentials of exponential, transport and step on a `Manifold`, forward and adjoint, as ambient formulas.

With (c0, c1, c2, c3) at q = kappa <v, v> and J elementwise (Sun 2024, Eqs. (41), (46), (49), (54), for any
curvature); a bar is the plain partial derivative of a loss, g that by the result:

    D_v Exp [w] = c1 w - kappa c1 <v, w> z + kappa (c3 - c2) <v, w> v
    D_z Exp [w] = c0 w                                     with v held fixed as an ambient vector
    vbar = c1 g + kappa (J v) (-c1 (z.g) + (c3 - c2) (v.g)),   zbar = c0 g

Ambient partials may be changed by multiples of J z without changing any derivative along the manifold.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.kernels.manifold import CODES, PROJECT, TRANSPORT, FactorColumns
from refsnn.kernels.plain.curvature import (
    exponential_adjoint as exponential_adjoint_of,
)
from refsnn.kernels.plain.curvature import (
    exponential_tangent,
    from_origin,
    product,
    signs_of,
    stumpff_of,
    vector_of,
)
from refsnn.kernels.plain.curvature import (
    inner as inner_of,
)
from refsnn.kernels.plain.curvature import (
    transport_adjoint as transport_adjoint_of,
)
from refsnn.kernels.plain.curvature import (
    transport_tangent as transport_tangent_of,
)
from refsnn.models.manifold.doors import columns_of, points_of, vectors_at
from refsnn.models.manifold.geometry import bend, exponent
from refsnn.models.manifold.manifold import Manifold


def exponential_by_vector(manifold: Manifold, points: Any, vectors: Any, directions: Any) -> np.ndarray:
    """D_v Exp_z(v) [w].

    Parameters
    ----------
    manifold : Manifold
        Any product.
    points, vectors : array_like, (..., D)
        z and v.
    directions : array_like, (..., D)
        w, any ambient vectors.

    Returns
    -------
    ndarray, (..., D)

    Raises
    ------
    TypeError, ValueError
        For points off the manifold, vectors that are not tangent, wrong shapes, NaN.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import spherical
    >>> at = [-1.0, 0.0, 0.0], [0.0, np.pi / 2, 0.0]
    >>> exponential_by_vector(spherical(2), *at, [0.0, 1.0, 0.0]).round(15) + 0
    array([1., 0., 0.])
    """
    shape, (z, v, w) = vectors_at(
        manifold, free=("directions",), points=points, vectors=vectors, directions=directions
    )
    found = []
    for factor, (start, vector, along) in columns_of(manifold, z, v, w):
        q_tangent = 2 * factor.curvature * inner_of(factor, vector, along)
        q = exponent(factor, start, vector)
        found.append(exponential_tangent(factor, start, vector, q, np.zeros_like(start), along, q_tangent))
    return np.hstack(found).reshape(shape)


def exponential_by_point(manifold: Manifold, points: Any, vectors: Any, directions: Any) -> np.ndarray:
    """D_z Exp_z(v) [w] with v held fixed as an ambient vector: c0(q) w.

    Parameters
    ----------
    manifold : Manifold
        Any product.
    points, vectors : array_like, (..., D)
        z and v.
    directions : array_like, (..., D)
        w, any ambient vectors.

    Returns
    -------
    ndarray, (..., D)

    Raises
    ------
    TypeError, ValueError
        For points off the manifold, vectors that are not tangent, wrong shapes, NaN.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import spherical
    >>> at = [-1.0, 0.0, 0.0], [0.0, np.pi, 0.0]
    >>> exponential_by_point(spherical(2), *at, [0.0, 1.0, 5.0])
    array([-0., -1., -5.])
    """
    shape, (z, v, w) = vectors_at(
        manifold, free=("directions",), points=points, vectors=vectors, directions=directions
    )
    found = []
    for factor, (start, vector, along) in columns_of(manifold, z, v, w):
        c0, _, _, _ = stumpff_of(exponent(factor, start, vector), factor)
        found.append(c0 * along)
    return np.hstack(found).reshape(shape)


def exponential_adjoint(
    manifold: Manifold, points: Any, vectors: Any, adjoints: Any
) -> tuple[np.ndarray, np.ndarray]:
    """zbar and vbar of Exp_z(v).

    Parameters
    ----------
    manifold : Manifold
        Any product.
    points, vectors : array_like, (..., D)
        z and v.
    adjoints : array_like, (..., D)
        g.

    Returns
    -------
    by_point, by_vector : ndarray, (..., D)

    Raises
    ------
    TypeError, ValueError
        For points off the manifold, vectors that are not tangent, wrong shapes, NaN.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import euclidean
    >>> exponential_adjoint(euclidean(1), [1.0], [2.0], [3.0])
    (array([3.]), array([3.]))
    """
    shape, (z, v, g) = vectors_at(
        manifold, free=("adjoints",), points=points, vectors=vectors, adjoints=adjoints
    )
    by_point, by_vector = [], []
    for factor, (start, vector, adjoint) in columns_of(manifold, z, v, g):
        q = exponent(factor, start, vector)
        by_z, by_v, by_q = exponential_adjoint_of(factor, start, vector, q, adjoint)
        by_point.append(by_z)
        by_vector.append(by_v + 2 * factor.curvature * by_q * (signs_of(factor) * vector))
    return np.hstack(by_point).reshape(shape), np.hstack(by_vector).reshape(shape)


# ---- transport --------------------------------------------------------------------------------------------


def transport_tangent(
    manifold: Manifold,
    points: Any,
    ends: Any,
    vectors: Any,
    point_directions: Any,
    end_directions: Any,
    vector_directions: Any,
) -> np.ndarray:
    """The derivative of the ambient formula of PT_{z->y}(w) along (zdot, ydot, wdot).

    Parameters
    ----------
    manifold : Manifold
        Any product.
    points, ends, vectors : array_like, (..., D)
        z, y and w.
    point_directions, end_directions, vector_directions : array_like, (..., D)
        zdot, ydot and wdot.

    Returns
    -------
    ndarray, (..., D)

    Raises
    ------
    TypeError, ValueError
        As of `transport`.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import euclidean
    >>> transport_tangent(euclidean(1), [0.0], [2.0], [3.0], [1.0], [1.0], [5.0])
    array([5.])
    """
    free = ("point_directions", "end_directions", "vector_directions")
    shape, found = vectors_at(
        manifold,
        free=free,
        points=points,
        ends=ends,
        vectors=vectors,
        point_directions=point_directions,
        end_directions=end_directions,
        vector_directions=vector_directions,
    )
    columns = []
    for factor, own in columns_of(manifold, *found):
        z, y, w, z_dot, y_dot, w_dot = own
        a, b = bend(factor, z, y, w)
        columns.append(transport_tangent_of(factor, z, y, z + y, w, a, b, z_dot, y_dot, w_dot))
    return np.hstack(columns).reshape(shape)


def transport_adjoint(
    manifold: Manifold, points: Any, ends: Any, vectors: Any, adjoints: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """zbar, ybar and wbar of PT_{z->y}(w).

    Parameters
    ----------
    manifold : Manifold
        Any product.
    points, ends, vectors, adjoints : array_like, (..., D)
        z, y, w and g.

    Returns
    -------
    by_point, by_end, by_vector : ndarray, (..., D)

    Raises
    ------
    TypeError, ValueError
        As of `transport`.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import euclidean
    >>> [bar.item() for bar in transport_adjoint(euclidean(1), [0.0], [2.0], [3.0], [5.0])]
    [0.0, 0.0, 5.0]
    """
    shape, found = vectors_at(
        manifold, free=("adjoints",), points=points, ends=ends, vectors=vectors, adjoints=adjoints
    )
    bars: list[tuple[np.ndarray, ...]] = []
    for factor, own in columns_of(manifold, *found):
        z, y, w, g = own
        a, b = bend(factor, z, y, w)
        bars.append(transport_adjoint_of(factor, z, y, z + y, w, a, b, g))
    by_point, by_end, by_vector = (np.hstack(parts).reshape(shape) for parts in zip(*bars, strict=True))
    # flat factors give -0 * g for the points
    return by_point + 0, by_end + 0, by_vector


# ---- the step of a network --------------------------------------------------------------------------------


def step_tangent(
    manifold: Manifold,
    points: Any,
    drives: Any,
    point_directions: Any,
    drive_directions: Any,
    *,
    tangent: str = "transport",
) -> np.ndarray:
    """The derivative along (zdot, udot) of z' = Exp_z(v), v the tangent vector of a drive u.

        transport  wdot = udot without the origin's coordinate,  qdot = 2 kappa w.wdot,
                   vdot = wdot - (adot/b - a bdot/b^2)(o + z) - (a/b) zdot
        project    vdot = udot - kappa (<zdot, u> + <z, udot>) z - kappa <z, u> zdot
        ambient    vdot = udot,  and for both  qdot = 2 kappa <v, vdot>

        z'dot = c0 zdot + c1 vdot + qdot (-c1/2 z + (c3 - c2)/2 v)

    Parameters
    ----------
    manifold : Manifold
        Any product.
    points, drives : array_like, (..., D)
        z, which may be off the manifold in the mode "ambient", and u, any vectors.
    point_directions, drive_directions : array_like, (..., D)
        zdot and udot.
    tangent : {"transport", "project", "ambient"}
        How a drive becomes a tangent vector.

    Returns
    -------
    ndarray, (..., D)

    Raises
    ------
    TypeError, ValueError
        For points off the manifold, wrong shapes, NaN.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import euclidean
    >>> step_tangent(euclidean(1), [0.0], [2.0], [1.0], [0.5])
    array([1.5])
    """
    checks.choice("tangent", tangent, CODES)
    named = {
        "points": points,
        "drives": drives,
        "point_directions": point_directions,
        "drive_directions": drive_directions,
    }
    free = tuple(name for name in named if name != "points" or tangent == "ambient")
    shape, found = points_of(manifold, free=free, **named)
    mode = CODES[tangent]
    return np.hstack(
        [_step_tangent(factor, mode, *own) for factor, own in columns_of(manifold, *found)]
    ).reshape(shape)


def _step_tangent(
    factor: FactorColumns, mode: int, z: np.ndarray, u: np.ndarray, z_dot: np.ndarray, u_dot: np.ndarray
) -> np.ndarray:
    v, q = vector_of(factor, mode, z, u)
    twice = 2 * factor.curvature
    if mode == TRANSPORT:
        origin, both, w, a, b = from_origin(factor, z, u)
        still, _, w_dot, _, _ = from_origin(factor, z, u_dot)
        v_dot = transport_tangent_of(factor, origin, z, both, w, a, b, np.zeros_like(still), z_dot, w_dot)
        return exponential_tangent(factor, z, v, q, z_dot, v_dot, twice * product(w, w_dot))
    v_dot = u_dot
    if mode == PROJECT:
        turned = inner_of(factor, z_dot, u) + inner_of(factor, z, u_dot)
        v_dot = u_dot - factor.curvature * (turned * z + inner_of(factor, z, u) * z_dot)
    return exponential_tangent(factor, z, v, q, z_dot, v_dot, twice * inner_of(factor, v, v_dot))
