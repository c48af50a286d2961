"""The blocks of a network as steps along an ordinary equation on a manifold (Sun 2024, Theorem 5.2).

For z' = f(z, t), f tangent at z,

    Euler     z_{i+1} = Exp_{z_i}(h f(z_i, t_i))              order 1: a block of the network
    midpoint  y = Exp_{z_i}(h/2 f(z_i, t_i))
              z_{i+1} = Exp_{z_i}(h PT_{y -> z_i} f(y, t_i + h/2))                              order 2

A network's drive m(t) knows nothing of z: its equation is z' = PT_{o -> z} m(t) with the tangent map
"transport" and z' = P_z m(t) with "project".  With "ambient" there is none on the manifold: z follows the
straight line o + int m dt and leaves it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.kernels.manifold import CODES
from refsnn.kernels.plain.curvature import vector_of
from refsnn.models.manifold.doors import columns_of, on_manifold, points_of, rows
from refsnn.models.manifold.geometry import exponential, transport
from refsnn.models.manifold.manifold import Manifold
from refsnn.models.manifold.maps import ExactMaps

METHODS = "euler", "midpoint"

# f(z, t) with z (..., D): tangent vectors of the same shape; m(t): drives (..., D) or (D,)
Field = Callable[[np.ndarray, float], np.ndarray]
Drive = Callable[[float], Any]


def euler_step(manifold: Manifold, field: Field, points: Any, time: float, step_size: float) -> np.ndarray:
    """Exp_z(h f(z, t)).

    Parameters
    ----------
    manifold : Manifold
        Any product.
    field : callable
        f(z, t), tangent at z.
    points : array_like, (..., D)
        z.
    time, step_size : float
        t and h.

    Returns
    -------
    ndarray, (..., D)

    Raises
    ------
    TypeError, ValueError
        For points off the manifold, a field that is not tangent or of another shape, NaN.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import euclidean
    >>> euler_step(euclidean(1), lambda z, t: -z, [1.0], 0.0, 0.25)
    array([0.75])
    """
    points = np.asarray(points)
    return exponential(manifold, points, step_size * _value(field, points, time))


def midpoint_step(manifold: Manifold, field: Field, points: Any, time: float, step_size: float) -> np.ndarray:
    """Exp_z(h PT_{y -> z} f(y, t + h/2)), y half an Euler step away.

    Parameters
    ----------
    manifold : Manifold
        Any product.
    field : callable
        f(z, t), tangent at z.
    points : array_like, (..., D)
        z.
    time, step_size : float
        t and h.

    Returns
    -------
    ndarray, (..., D)

    Raises
    ------
    TypeError, ValueError
        For points off the manifold, a field that is not tangent or of another shape, NaN.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import euclidean
    >>> midpoint_step(euclidean(1), lambda z, t: -z, [1.0], 0.0, 0.5)
    array([0.625])
    """
    points, half = np.asarray(points), step_size / 2
    middle = euler_step(manifold, field, points, time, half)
    vectors = transport(manifold, middle, points, _value(field, middle, time + half))
    return exponential(manifold, points, step_size * vectors)


def _value(field: Field, points: np.ndarray, time: float) -> np.ndarray:
    value = np.asarray(field(points, time))
    if value.shape != points.shape:
        raise ValueError(
            f"field: expected vectors of shape {points.shape} like the points, got {value.shape}"
        )
    return value


def flow(
    manifold: Manifold,
    field: Field,
    points: Any,
    *,
    steps: int,
    start: float = 0.0,
    stop: float = 1.0,
    method: str = "euler",
) -> np.ndarray:
    """Follow z' = f(z, t) in equal steps, the field taken at their left ends.

    Parameters
    ----------
    manifold : Manifold
        Any product.
    field : callable
        f(z, t), tangent at z.
    points : array_like, (..., D)
        z at `start`.
    steps : int
        At least 1.
    start, stop : float
        Times.
    method : {"euler", "midpoint"}
        Of order 1 and 2.

    Returns
    -------
    ndarray, (steps + 1, ..., D)
        The path.

    Raises
    ------
    TypeError, ValueError
        For points off the manifold, a field that is not tangent or of another shape, NaN.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import spherical
    >>> around = lambda z, t: np.stack([-z[..., 1], z[..., 0], 0 * z[..., 2]], axis=-1)
    >>> flow(spherical(2), around, [-1.0, 0.0, 0.0], steps=4, stop=np.pi / 2)[-1].round(15) + 0
    array([ 0., -1.,  0.])
    """
    checks.choice("method", method, METHODS)
    checks.count("steps", steps)
    start, stop = checks.number("start", start), checks.number("stop", stop)
    shape, (first,) = points_of(manifold, points=points)
    step = euler_step if method == "euler" else midpoint_step
    path, step_size = [first.reshape(shape)], (stop - start) / steps
    for index in range(steps):
        path.append(step(manifold, field, path[-1], start + index * step_size, step_size))
    return np.stack(path)


def drive_field(manifold: Manifold, drive: Drive, tangent: str = "transport") -> Field:
    """The field of a network whose drive is m(t): what it becomes at z.

    Parameters
    ----------
    manifold : Manifold
        Any product.
    drive : callable
        m(t), (..., D) or (D,).
    tangent : {"transport", "project"}
        How it becomes a tangent vector.

    Returns
    -------
    callable
        f(z, t).

    Raises
    ------
    ValueError
        For "ambient", which is no field on the manifold.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import spherical
    >>> drive_field(spherical(2), lambda t: [9.0, 1.0, t])(np.array([-1.0, 0.0, 0.0]), 0.5)
    array([0. , 1. , 0.5])
    """
    checks.choice("tangent", tangent, ("transport", "project"))

    def field(points: np.ndarray, time: float) -> np.ndarray:
        shape, (z, m) = _driven(manifold, points, drive(time))
        on_manifold(manifold, "points", z)
        columns = columns_of(manifold, z, m)
        return np.hstack([vector_of(f, CODES[tangent], *own)[0] for f, own in columns]).reshape(shape)

    return field


def drive_flow(
    manifold: Manifold,
    drive: Drive,
    points: Any,
    *,
    steps: int,
    start: float = 0.0,
    stop: float = 1.0,
    tangent: str = "transport",
) -> np.ndarray:
    """What `steps` blocks do whose drives are u^i = h m(t_i): the step of the network itself.

    Parameters
    ----------
    manifold : Manifold
        Any product.
    drive : callable
        m(t), (..., D) or (D,).
    points : array_like, (..., D)
        z at `start`.
    steps : int
        At least 1.
    start, stop : float
        Times.
    tangent : {"transport", "project", "ambient"}
        How a drive becomes a tangent vector; with "ambient" the path leaves the manifold.

    Returns
    -------
    ndarray, (steps + 1, ..., D)
        The path.

    Raises
    ------
    TypeError, ValueError
        For points off the manifold, drives of another shape, NaN.

    Examples
    --------
    >>> from refsnn.models.manifold.manifold import euclidean
    >>> drive_flow(euclidean(1), lambda t: [t], [0.0], steps=2)[:, 0]
    array([0.  , 0.  , 0.25])
    """
    checks.choice("tangent", tangent, CODES)
    checks.count("steps", steps)
    start, stop = checks.number("start", start), checks.number("stop", stop)
    shape, (first,) = points_of(manifold, points=points)
    maps, step_size = ExactMaps(manifold, tangent, backend="plain"), (stop - start) / steps
    path = [first]
    for index in range(steps):
        _, (_, m) = _driven(manifold, path[-1], drive(start + index * step_size), shape)
        path.append(maps.step(path[-1], first.dtype.type(step_size) * m))
    return np.stack(path).reshape(steps + 1, *shape)


def _driven(
    manifold: Manifold, points: np.ndarray, value: Any, shape: tuple[int, ...] | None = None
) -> tuple[tuple[int, ...], list[np.ndarray]]:
    """Rows of points and drives; a drive (D,) is that of all points."""
    shape = points.shape if shape is None else shape
    m = np.asarray(value)
    if m.shape not in (shape, (manifold.width,)):
        raise ValueError(f"drive: expected shape {shape} or ({manifold.width},), got {m.shape}")
    return rows(manifold, points=points.reshape(shape), drive=m)
