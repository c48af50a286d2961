"""Lengths on a `Manifold`, and what is put back onto it: for arrays (..., D), checked at the door.

    P_z(u) = u - kappa <z, u> z                                       tangent part of u at z
    d(x, y) = 2R asinh(sqrt(s)/2R), 2R atan2(|x-y|, |x+y|), sqrt(s)   s = <x - y, x - y>
    P_z(J g)                                                          Riemannian gradient of the partials g

with kappa the curvature of a factor, J its signature and <a, b> = sum_i J_i a_i b_i.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.kernels.manifold import FactorColumns
from refsnn.kernels.plain.curvature import inner as inner_of
from refsnn.kernels.plain.curvature import lengths, product, signs_of, tangent_square
from refsnn.models.manifold.doors import columns_of, on_manifold, points_of, rows, tolerance, vectors_at
from refsnn.models.manifold.heads import PRODUCT_DISTANCES, total_distance
from refsnn.models.manifold.manifold import Manifold


def injectivity_radius(manifold: Manifold) -> float:
    """Length below which a tangent vector is the only shortest way to its end: pi R of the smallest sphere.

    Parameters
    ----------
    manifold : Manifold
        Any product.

    Returns
    -------
    float
        Infinite without spheres.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import hyperbolic, spherical
    >>> float(injectivity_radius(spherical(2, curvature=4.0))), injectivity_radius(hyperbolic(3))
    (1.5707963267948966, inf)
    """
    checks.instance("manifold", manifold, Manifold, "hyperbolic(32)")
    return min((float(np.pi * f.radius) for f in manifold.factors if f.curvature > 0), default=np.inf)


def inner(manifold: Manifold, a: Any, b: Any) -> np.ndarray:
    """<a, b>, summed over the factors.

    Parameters
    ----------
    manifold : Manifold
        Any product.
    a, b : array_like, (..., D)
        Ambient vectors.

    Returns
    -------
    ndarray, (...)

    Raises
    ------
    TypeError, ValueError
        For wrong widths, shapes, dtypes, NaN.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import hyperbolic
    >>> inner(hyperbolic(2), [2.0, 1.0, 0.0], [3.0, 1.0, 5.0])
    array(-5.)
    """
    shape, (a, b) = rows(manifold, a=a, b=b)
    return (a * b * manifold.signature(a.real.dtype)).sum(axis=1).reshape(shape[:-1])


def norm(manifold: Manifold, points: Any, vectors: Any) -> np.ndarray:
    """|v| of tangent vectors, accurate also far out where <v, v> cancels.

    Parameters
    ----------
    manifold : Manifold
        Any product.
    points, vectors : array_like, (..., D)
        z and v.

    Returns
    -------
    ndarray, (...)

    Raises
    ------
    TypeError, ValueError
        For points off the manifold, vectors that are not tangent, wrong shapes, NaN.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import spherical
    >>> norm(spherical(2), [-1.0, 0.0, 0.0], [0.0, 3.0, 4.0])
    array(5.)
    """
    shape, (z, v) = vectors_at(manifold, points=points, vectors=vectors)
    squares = [tangent_square(factor, *own)[:, 0] for factor, own in columns_of(manifold, z, v)]
    return np.sqrt(np.sum(squares, axis=0, dtype=z.dtype)).reshape(shape[:-1])


def project_vectors(manifold: Manifold, points: Any, vectors: Any) -> np.ndarray:
    """P_z(u): the tangent part of ambient vectors.

    Parameters
    ----------
    manifold : Manifold
        Any product.
    points, vectors : array_like, (..., D)
        z and u.

    Returns
    -------
    ndarray, (..., D)

    Raises
    ------
    TypeError, ValueError
        For points off the manifold, wrong shapes, NaN.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import spherical
    >>> project_vectors(spherical(2), [-1.0, 0.0, 0.0], [7.0, 3.0, 4.0])
    array([0., 3., 4.])
    """
    shape, (z, u) = rows(manifold, points=points, vectors=vectors)
    on_manifold(manifold, "points", z)
    return _projected(manifold, z, u).reshape(shape)


def _projected(manifold: Manifold, points: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return np.hstack(
        [
            u - factor.curvature * inner_of(factor, z, u) * z
            for factor, (z, u) in columns_of(manifold, points, vectors)
        ]
    )


def project_points(manifold: Manifold, coordinates: Any) -> np.ndarray:
    """Put coordinates on the manifold: z_0 from the others on the hyperboloid, R z / |z| on the sphere.

    Parameters
    ----------
    manifold : Manifold
        Any product.
    coordinates : array_like, (..., D)
        Anything; z_0 of a hyperboloid is not read.

    Returns
    -------
    ndarray, (..., D)

    Raises
    ------
    TypeError, ValueError
        For wrong widths, NaN, and the middle of a sphere.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import hyperbolic, spherical
    >>> project_points(hyperbolic(2) * spherical(1), [9.0, 0.75, 0.0, 0.0, 3.0])
    array([1.25, 0.75, 0.  , 0.  , 1.  ])
    """
    shape, (found,) = rows(manifold, coordinates=coordinates)
    return np.hstack([_point(factor, z) for factor, (z,) in columns_of(manifold, found)]).reshape(shape)


def _point(factor: FactorColumns, z: np.ndarray) -> np.ndarray:
    if factor.curvature < 0:
        y = z[:, 1:]
        return np.hstack([np.sqrt(factor.origin**2 + product(y, y)), y])
    if factor.curvature > 0:
        length = np.sqrt(product(z, z))
        if (length == 0).any():
            raise ValueError("coordinates: expected a direction on the sphere, got its middle, 0")
        return -factor.origin * (z / length)
    return z


def distance(manifold: Manifold, points: Any, ends: Any, *, product_distance: str = "l2") -> np.ndarray:
    """d(x, y), the length of the shortest way.

    Parameters
    ----------
    manifold : Manifold
        Any product.
    points, ends : array_like, (..., D)
        x and y.
    product_distance : {"l2", "l1"}
        Root of the sum of the factors' squares, which is the product's own, or their sum, as the paper
        prints it.

    Returns
    -------
    ndarray, (...)

    Raises
    ------
    TypeError, ValueError
        For points off the manifold, wrong shapes, NaN.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import spherical
    >>> distance(spherical(2), [-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]) == np.pi
    np.True_
    """
    checks.choice("product_distance", product_distance, PRODUCT_DISTANCES)
    shape, (x, y) = points_of(manifold, points=points, ends=ends)
    parts = []
    for factor, own in columns_of(manifold, x, y):
        square, ratio, _ = lengths(factor, *own)
        parts.append((ratio * ratio * square)[:, 0])
    return total_distance(np.array(parts), product_distance).reshape(shape[:-1])


def centroid(manifold: Manifold, points: Any, weights: Any = None) -> np.ndarray:
    """The weighted sum of points, put back on each factor: R S / sqrt|<S, S>|; the mean in flat space.

    Parameters
    ----------
    manifold : Manifold
        Any product.
    points : array_like, (..., N, D)
        x_i.
    weights : array_like, (..., N), optional
        At least 0, not all 0; equal ones by default.

    Returns
    -------
    ndarray, (..., D)

    Raises
    ------
    TypeError, ValueError
        For points off the manifold, bad weights, points of a sphere that balance each other, NaN.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import hyperbolic
    >>> centroid(hyperbolic(1), [[1.25, 0.75], [1.25, -0.75]])
    array([1., 0.])
    """
    shape, (x,) = points_of(manifold, points=points)
    if len(shape) < 2:
        raise ValueError(f"points: expected shape (..., N, {manifold.width}), got {shape}")
    if weights is None:
        weights = np.ones(shape[:-1], x.real.dtype)
    weights = checks.float_array("weights", weights, shape[:-1], dtype=x.real.dtype)
    if (weights < 0).any() or (weights.sum(axis=-1) == 0).any():
        raise ValueError("weights: expected numbers of at least 0, not all 0")
    share = weights / weights.sum(axis=-1, keepdims=True)
    mean = (share[..., None] * x.reshape(shape)).sum(axis=-2).reshape(-1, manifold.width)
    found = []
    for factor, (own,) in columns_of(manifold, mean):
        if (
            factor.curvature > 0
            and (factor.curvature * product(own, own).real <= tolerance(own.dtype) ** 2).any()
        ):
            raise ValueError("points: expected points of the sphere that do not balance each other")
        if factor.curvature < 0:
            own = np.abs(factor.origin) / np.sqrt(-inner_of(factor, own, own)) * own
        found.append(_point(factor, own))
    return np.hstack(found).reshape(shape[:-2] + shape[-1:])


def riemannian_gradient(manifold: Manifold, points: Any, partials: Any) -> np.ndarray:
    """P_z(J g): the tangent vector whose inner products are the derivatives along tangents.

    Parameters
    ----------
    manifold : Manifold
        Any product.
    points : array_like, (..., D)
        z.
    partials : array_like, (..., D)
        g = dL/dz, ambient partial derivatives.

    Returns
    -------
    ndarray, (..., D)

    Raises
    ------
    TypeError, ValueError
        For points off the manifold, wrong shapes, NaN.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import hyperbolic
    >>> riemannian_gradient(hyperbolic(2), [1.0, 0.0, 0.0], [5.0, 1.0, 2.0])
    array([0., 1., 2.])
    """
    shape, (z, g) = points_of(manifold, points=points, free=("partials",), partials=partials)
    raised = np.hstack([signs_of(factor) * own for factor, (own,) in columns_of(manifold, g)])
    return _projected(manifold, z, raised).reshape(shape)
