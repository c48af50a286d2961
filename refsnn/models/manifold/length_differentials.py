"""Differentials of the logarithm at the origin and of distances on a `Manifold`, forward and adjoint.

    Log_o(z) = (0, (l / rho) y):  scaled by l / rho across y and by dl/drho along it, dl/dz_0 besides
    dd/dx = J (x - y) / (sqrt(s) sqrt(1 - kappa s / 4)),   dd/dy = -dd/dx,   0 where x = y, a kink

as ambient formulas: partials may be changed by multiples of J z without changing any derivative along the
manifold.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.equations.curvature import origin_ratio, origin_slopes
from refsnn.kernels.manifold import FactorColumns
from refsnn.kernels.plain.curvature import each, lengths, product, signs_of
from refsnn.models.manifold.doors import columns_of, points_of
from refsnn.models.manifold.heads import PRODUCT_DISTANCES, distance_backward, total_distance
from refsnn.models.manifold.manifold import Manifold
from refsnn.models.manifold.maps import ExactMaps


def origin_logarithm(manifold: Manifold, points: Any) -> np.ndarray:
    """Log_o(z), smooth at z = o.

    Parameters
    ----------
    manifold : Manifold
        Any product.
    points : array_like, (..., D)
        z.

    Returns
    -------
    ndarray, (..., D)
        0 in the first coordinate of a curved factor.

    Raises
    ------
    TypeError, ValueError
        For points off the manifold, the antipode of the origin, wrong shapes, NaN.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import spherical
    >>> origin_logarithm(spherical(2), [0.0, 0.0, 1.0]).round(15)
    array([0.        , 0.        , 1.57079633])
    """
    shape, (z,) = points_of(manifold, points=points)
    _refuse_antipode_of_origin(manifold, z)
    return ExactMaps(manifold, backend="plain").origin_logarithm(z).reshape(shape)


def origin_logarithm_tangent(manifold: Manifold, points: Any, directions: Any) -> np.ndarray:
    """D Log_o(z) [w].

    Parameters
    ----------
    manifold : Manifold
        Any product.
    points, directions : array_like, (..., D)
        z and w.

    Returns
    -------
    ndarray, (..., D)

    Raises
    ------
    TypeError, ValueError
        As of `origin_logarithm`.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import hyperbolic
    >>> origin_logarithm_tangent(hyperbolic(2), [1.0, 0.0, 0.0], [5.0, 1.0, 2.0])
    array([0., 1., 2.])
    """
    shape, (z, w) = points_of(manifold, free=("directions",), points=points, directions=directions)
    _refuse_antipode_of_origin(manifold, z)
    found = []
    for factor, (own, along) in columns_of(manifold, z, w):
        if factor.curvature == 0:
            found.append(along)
            continue
        y, moved = own[:, 1:], along[:, 1:]
        length = np.sqrt(product(y, y))
        ratio, slope, polar_slope = each(
            lambda rho, polar, factor=factor: (
                origin_ratio(rho, polar, factor.curvature, factor.one),
                *origin_slopes(rho, polar, factor.curvature, factor.one),
            ),
            length[:, 0],
            own[:, 0],
        )
        direction = y / np.where(length == 0, factor.one, length)
        radial = product(direction, moved)
        longer = (slope - ratio) * radial + polar_slope * along[:, :1]
        found.append(np.hstack([np.zeros_like(length), ratio * moved + longer * direction]))
    return np.hstack(found).reshape(shape)


def origin_logarithm_adjoint(manifold: Manifold, points: Any, adjoints: Any) -> np.ndarray:
    """zbar of Log_o(z).

    Parameters
    ----------
    manifold : Manifold
        Any product.
    points, adjoints : array_like, (..., D)
        z and g.

    Returns
    -------
    ndarray, (..., D)

    Raises
    ------
    TypeError, ValueError
        As of `origin_logarithm`.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import spherical
    >>> origin_logarithm_adjoint(spherical(2), [-1.0, 0.0, 0.0], [5.0, 1.0, 2.0])
    array([0., 1., 2.])
    """
    shape, (z, g) = points_of(manifold, free=("adjoints",), points=points, adjoints=adjoints)
    _refuse_antipode_of_origin(manifold, z)
    return ExactMaps(manifold, backend="plain").origin_logarithm_backward(z, g).reshape(shape)


def _refuse_antipode_of_origin(manifold: Manifold, points: np.ndarray) -> None:
    for factor, (z,) in columns_of(manifold, points):
        if factor.curvature > 0:
            away = np.abs(z[:, 1:].real).max(axis=1) * np.sqrt(factor.curvature)
            pole = (z[:, 0].real > 0) & (away <= 8 * np.finfo(z.dtype).eps)
            if pole.any():
                raise ValueError(
                    f"points: expected no antipode of the origin, where the way is not unique, got "
                    f"{pole.sum()}"
                )


# ---- distance ---------------------------------------------------------------------------------------------


def distance_tangent(
    manifold: Manifold,
    points: Any,
    ends: Any,
    point_directions: Any,
    end_directions: Any,
    *,
    product_distance: str = "l2",
) -> np.ndarray:
    """The derivative of d(x, y) along (xdot, ydot); 0 where a distance is 0.

    Parameters
    ----------
    manifold : Manifold
        Any product.
    points, ends : array_like, (..., D)
        x and y.
    point_directions, end_directions : array_like, (..., D)
        xdot and ydot.
    product_distance : {"l2", "l1"}
        As of `distance`.

    Returns
    -------
    ndarray, (...)

    Raises
    ------
    TypeError, ValueError
        For points off the manifold, antipodes, wrong shapes, NaN.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import euclidean
    >>> distance_tangent(euclidean(1), [0.0], [2.0], [1.0], [0.5])
    array(-0.5)
    """
    free = ("point_directions", "end_directions")
    shape, (x, y, x_dot, y_dot) = points_of(
        manifold,
        free=free,
        points=points,
        ends=ends,
        point_directions=point_directions,
        end_directions=end_directions,
    )
    by_x = _distance_slopes(manifold, x, y, np.ones(len(x), x.dtype), product_distance)
    return product(by_x, x_dot - y_dot)[:, 0].reshape(shape[:-1])


def distance_adjoint(
    manifold: Manifold, points: Any, ends: Any, adjoints: Any, *, product_distance: str = "l2"
) -> tuple[np.ndarray, np.ndarray]:
    """xbar and ybar of d(x, y); 0 where a distance is 0.

    Parameters
    ----------
    manifold : Manifold
        Any product.
    points, ends : array_like, (..., D)
        x and y.
    adjoints : array_like, (...)
        Of the distances.
    product_distance : {"l2", "l1"}
        As of `distance`.

    Returns
    -------
    by_point, by_end : ndarray, (..., D)

    Raises
    ------
    TypeError, ValueError
        For points off the manifold, antipodes, wrong shapes, NaN.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import euclidean
    >>> distance_adjoint(euclidean(1), [0.0], [2.0], 3.0)
    (array([-3.]), array([3.]))
    """
    shape, (x, y) = points_of(manifold, points=points, ends=ends)
    adjoints = checks.float_array("adjoints", adjoints, shape[:-1], dtype=x.real.dtype, allow_complex=True)
    by_x = _distance_slopes(manifold, x, y, adjoints.reshape(-1), product_distance).reshape(shape)
    return by_x, -by_x


def _distance_slopes(
    manifold: Manifold, x: np.ndarray, y: np.ndarray, adjoints: np.ndarray, product_distance: str
) -> np.ndarray:
    """xbar, rows."""
    checks.choice("product_distance", product_distance, PRODUCT_DISTANCES)
    squares, slopes = [], []
    for factor, own in columns_of(manifold, x, y):
        square, ratio, cosine = lengths(factor, *own)
        _refuse_antipodes(factor, cosine)
        squares.append((ratio * ratio * square)[:, 0])
        # d(d^2)/dx = (d(d^2)/ds) 2 J (x - y)
        slopes.append(2 * ratio / cosine * (signs_of(factor) * (own[0] - own[1])))
    of_factors = np.array(squares)
    total = total_distance(of_factors, product_distance)
    shares = distance_backward(of_factors, total, adjoints, product_distance)
    return np.hstack([share[:, None] * slope for share, slope in zip(shares, slopes, strict=True)])


def _refuse_antipodes(factor: FactorColumns, cosine: np.ndarray) -> None:
    if factor.curvature > 0 and (cosine.real == 0).any():
        raise ValueError("ends: expected no antipodes on a sphere, where the distance has a kink")
