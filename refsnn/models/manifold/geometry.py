"""Geometry of a `Manifold`, for arrays (..., D) of points and tangent vectors: all of its functions.

With kappa the curvature of a factor, J its signature and <a, b> = sum_i J_i a_i b_i (Sun 2024, appendix C),

    Exp_z(v) = c0(q) z + c1(q) v,  q = kappa <v, v>              exponential, Eqs. (39), (47)
    Log_z(x) = d u / |u|,  u = P_z(x - z)                        logarithm
    PT(w) = w - kappa <y, w> / (1 + kappa <z, y>) (z + y)        parallel transport from z to y

and the lengths and projections of `refsnn.models.manifold.metric`.  Products take factor by factor.  Nothing
is clamped; complex arrays pass for complex steps.  Rounding: on the sphere that of the coordinates; on the
hyperboloid |v|, d and the length of a logarithm are as accurate as the coordinates let them be at any radius,
while what is brought from z to y has an ambient error of about epsilon z_0 y_0.

The paper prints the logarithm on the hyperboloid (40) with arcosh(<z, x>): the sign must be the other one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.kernels.manifold import FactorColumns
from refsnn.kernels.plain.curvature import (
    chord,
    lengths,
    made_tangent,
    stepped,
    stumpff_of,
    tangent_square,
)
from refsnn.kernels.plain.curvature import inner as inner_of
from refsnn.models.manifold.doors import columns_of, points_of, vectors_at
from refsnn.models.manifold.manifold import Manifold
from refsnn.models.manifold.metric import (
    centroid,
    distance,
    injectivity_radius,
    inner,
    norm,
    project_points,
    project_vectors,
    riemannian_gradient,
)

__all__ = [
    "centroid",
    "distance",
    "exponential",
    "geodesic",
    "injectivity_radius",
    "inner",
    "logarithm",
    "norm",
    "project_points",
    "project_vectors",
    "riemannian_gradient",
    "transport",
]


def exponential(manifold: Manifold, points: Any, vectors: Any, *, invertible: bool = False) -> np.ndarray:
    """Exp_z(v): the end of the geodesic that leaves z with velocity v, after one unit of time.

    Parameters
    ----------
    manifold : Manifold
        Any product.
    points, vectors : array_like, (..., D)
        z and v.
    invertible : bool
        Whether |v| >= pi R is refused on a sphere: beyond, `logarithm` finds a shorter way.

    Returns
    -------
    ndarray, (..., D)

    Raises
    ------
    TypeError, ValueError
        For points off the manifold, vectors that are not tangent or too long, wrong shapes, NaN.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import spherical
    >>> exponential(spherical(2), [-1.0, 0.0, 0.0], [0.0, np.pi / 2, 0.0]).round(15)
    array([-0.,  1.,  0.])
    """
    shape, (z, v) = vectors_at(manifold, points=points, vectors=vectors)
    found = []
    for factor, (start, vector) in columns_of(manifold, z, v):
        found.append(_exponential(factor, start, vector, invertible))
    return np.hstack(found).reshape(shape)


def _exponential(factor: FactorColumns, z: np.ndarray, v: np.ndarray, invertible: bool = False) -> np.ndarray:
    c0, c1, _, _ = stumpff_of(exponent(factor, z, v, invertible), factor)
    return c0 * z + c1 * v


def exponent(factor: FactorColumns, z: np.ndarray, v: np.ndarray, invertible: bool = False) -> np.ndarray:
    """q = kappa <v, v> of checked rows, refused where it leads beyond the numbers or the injectivity radius.

    Parameters
    ----------
    factor : FactorColumns
        Of the columns.
    z, v : ndarray, (N, d)
        Points and tangent vectors.
    invertible : bool
        Whether q >= pi^2 is refused.

    Returns
    -------
    ndarray, (N, 1)

    Raises
    ------
    ValueError
        Saying how long the longest vector is.
    """
    q = factor.curvature * tangent_square(factor, z, v)
    if invertible and (q.real >= np.pi**2).any():
        raise ValueError(
            f"vectors: expected |v| below pi R, the injectivity radius of the sphere, got "
            f"{np.sqrt(q.real.max()) / np.pi:.3g} pi R"
        )
    if factor.curvature < 0:
        largest = np.log(np.finfo(q.dtype).max) - 2
        reach = np.sqrt(np.maximum(-q.real, 0)) + np.log(2 * z[:, :1].real / factor.origin)
        if (reach > largest).any():
            raise ValueError(
                f"vectors: expected ends within {largest:.0f} R of the origin, as {q.real.dtype} can hold, "
                f"got {reach.max():.4g} R; take a smaller step"
            )
    return q


def geodesic(manifold: Manifold, points: Any, vectors: Any, times: Any) -> np.ndarray:
    """gamma(t) = Exp_z(t v).

    Parameters
    ----------
    manifold : Manifold
        Any product.
    points, vectors : array_like, (..., D)
        z and v.
    times : array_like, (T,)
        Any.

    Returns
    -------
    ndarray, (T, ..., D)

    Raises
    ------
    TypeError, ValueError
        As of `exponential`.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import euclidean
    >>> geodesic(euclidean(1), [1.0], [2.0], [0.0, 0.5])
    array([[1.],
           [2.]])
    """
    shape, (z, v) = vectors_at(manifold, points=points, vectors=vectors)
    times = checks.float_array("times", times, ("T",), dtype=z.real.dtype, allow_complex=True)
    path = []
    for time in times:
        parts = [_exponential(factor, own[0], time * own[1]) for factor, own in columns_of(manifold, z, v)]
        path.append(np.hstack(parts).reshape(shape))
    return np.stack(path)


def logarithm(manifold: Manifold, points: Any, ends: Any) -> np.ndarray:
    """Log_z(x): the shortest tangent vector v with Exp_z(v) = x.

    In the form d u / |u| with |u| = sqrt(s (1 - kappa s / 4)), smooth where x = z.

    Parameters
    ----------
    manifold : Manifold
        Any product.
    points, ends : array_like, (..., D)
        z and x.

    Returns
    -------
    ndarray, (..., D)

    Raises
    ------
    TypeError, ValueError
        For points off the manifold, antipodes of a sphere, wrong shapes, NaN.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import spherical
    >>> logarithm(spherical(2), [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]).round(15)
    array([0.        , 1.57079633, 0.        ])
    """
    shape, (z, x) = points_of(manifold, points=points, ends=ends)
    found = []
    for factor, (start, end) in columns_of(manifold, z, x):
        square, ratio, cosine = lengths(factor, start, end)
        refuse_antipodes(factor, "ends", cosine**2)
        # kappa <z, x - z> = -kappa s / 2 on the manifold
        along = factor.curvature * square / (2 * factor.one)
        tangent = made_tangent(factor, start, end - start + along * start)
        found.append(ratio / cosine * tangent)
    return np.hstack(found).reshape(shape)


def refuse_antipodes(factor: FactorColumns, name: str, remains: np.ndarray) -> None:
    """Refuse pairs of points that every great circle through one joins.

    Parameters
    ----------
    factor : FactorColumns
        Of the columns.
    name : str
        Of the argument.
    remains : ndarray, (N, 1)
        cos^2 of half the angle between the points of each pair.

    Raises
    ------
    ValueError
        For antipodes, up to rounding.
    """
    if factor.curvature > 0 and (remains.real <= (8 * np.finfo(remains.dtype).eps) ** 2).any():
        raise ValueError(
            f"{name}: expected no antipodes on a sphere, where the way is not unique, got "
            f"{(remains.real <= (8 * np.finfo(remains.dtype).eps) ** 2).sum()} pairs of them"
        )


def transport(manifold: Manifold, points: Any, ends: Any, vectors: Any) -> np.ndarray:
    """Parallel transport of w from z to y along the geodesic.

    Parameters
    ----------
    manifold : Manifold
        Any product.
    points, ends : array_like, (..., D)
        z and y.
    vectors : array_like, (..., D)
        w, tangent at z.

    Returns
    -------
    ndarray, (..., D)
        Tangent at y.

    Raises
    ------
    TypeError, ValueError
        For points off the manifold, vectors that are not tangent, antipodes, wrong shapes, NaN.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import spherical
    >>> transport(spherical(2), [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 2.0, 3.0])
    array([2., 0., 3.])
    """
    shape, (z, y, w) = vectors_at(manifold, points=points, ends=ends, vectors=vectors)
    found = []
    for factor, (start, end, vector) in columns_of(manifold, z, y, w):
        a, b = bend(factor, start, end, vector)
        found.append(vector - a / b * (start + end))
    return np.hstack(found).reshape(shape)


def bend(
    factor: FactorColumns, start: np.ndarray, end: np.ndarray, vectors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """a = kappa <y, w> and b = 1 + kappa <z, y> of checked rows, without the cancellation of either.

    Parameters
    ----------
    factor : FactorColumns
        Of the columns.
    start, end, vectors : ndarray, (N, d)
        z, y and w.

    Returns
    -------
    tuple of ndarray, (N, 1)

    Raises
    ------
    ValueError
        For antipodes.
    """
    two, kappa = factor.one + factor.one, factor.curvature
    square, total = chord(factor, start, end)
    off = kappa * (stepped(inner_of(factor, start, start)) + stepped(inner_of(factor, end, end))) / two
    b = kappa * total / two - off if kappa > 0 else two - kappa * square / two + off
    refuse_antipodes(factor, "ends", b / two)
    across = inner_of(factor, end - start, vectors) + stepped(inner_of(factor, start, vectors))
    return kappa * across, b if kappa != 0 else np.ones_like(b)
