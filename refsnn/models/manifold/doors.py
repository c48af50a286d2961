"""What the public geometry takes: points that are on the manifold, vectors that are tangent.

A point passes if |kappa <z, z> - 1| <= tau (|kappa| (z_0^2 + |y|^2)) in every curved factor, a vector at z if
|<z, v>| <= tau |z| |v| with plain norms: what rounding may have moved, with tau the root of the machine's
epsilon (1.5e-8 in float64).  Far out on the hyperboloid no sharper test could be kept by any floating number.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.kernels.manifold import FactorColumns
from refsnn.kernels.plain.curvature import inner, product
from refsnn.models.manifold.manifold import Manifold


def rows(manifold: Manifold, **arrays: Any) -> tuple[tuple[int, ...], list[np.ndarray]]:
    """Arrays (..., D) of one dtype and one shape as (N, D); a single (D,) stands for all.

    Parameters
    ----------
    manifold : Manifold
        For D.
    **arrays : array_like
        By name.

    Returns
    -------
    shape : tuple of int
        Common (..., D).
    found : list of ndarray, (N, D)
        In their order; complex if one of them is.

    Raises
    ------
    TypeError, ValueError
        For wrong widths, shapes that differ, mixed dtypes, NaN.
    """
    checks.instance("manifold", manifold, Manifold, "hyperbolic(32)")
    found: dict[str, np.ndarray] = {}
    dtype = None
    for name, value in arrays.items():
        array = checks.float_array(name, value, allow_complex=True)
        if not array.ndim or array.shape[-1] != manifold.width:
            raise ValueError(
                f"{name}: expected shape (..., {manifold.width}), the stored width of {manifold}, got "
                f"{array.shape}"
            )
        if not array.size:
            raise ValueError(f"{name}: expected at least one of (..., {manifold.width}), got {array.shape}")
        real = array.real.dtype
        if dtype is not None and real != dtype:
            raise TypeError(f"{name}: expected dtype {dtype} like the other arrays, got {real}; convert one")
        dtype = real
        found[name] = array
    shape = max((array.shape for array in found.values()), key=len)
    for name, array in found.items():
        if array.shape not in (shape, (manifold.width,)):
            raise ValueError(f"{name}: expected shape {shape} or ({manifold.width},), got {array.shape}")
    kind = np.result_type(*found.values())
    return shape, [
        np.broadcast_to(array, shape).reshape(-1, manifold.width).astype(kind, copy=False)
        for array in found.values()
    ]


def tolerance(dtype: Any) -> float:
    """The root of the machine's epsilon.

    Parameters
    ----------
    dtype : dtype
        Of the coordinates.

    Returns
    -------
    float
    """
    return float(np.sqrt(np.finfo(dtype).eps))


def on_manifold(manifold: Manifold, name: str, points: np.ndarray) -> None:
    """Refuse points off the manifold.

    Parameters
    ----------
    manifold : Manifold
        Where they should be.
    name : str
        Of the argument.
    points : ndarray, (N, D)
        z; of complex ones the real part counts.

    Raises
    ------
    ValueError
        Saying how far the furthest is away.
    """
    for factor in manifold.columns(points.dtype):
        if factor.curvature == 0:
            continue
        z = points[:, factor.first : factor.last].real
        away = np.abs(factor.curvature * inner(factor, z, z) - factor.one)[:, 0]
        size = np.abs(factor.curvature) * product(z, z)[:, 0]
        wrong = away > tolerance(z.dtype) * size
        if wrong.any():
            raise ValueError(
                f"{name}: expected points of {manifold}, got {wrong.sum()} of {len(z)} off it, the worst "
                f"with |kappa <z, z> - 1| = {away[wrong].max():.2g}; see project_points"
            )
        if factor.curvature < 0 and (z[:, 0] <= 0).any():
            raise ValueError(
                f"{name}: expected the upper sheet of the hyperboloid, z_0 > 0, got z_0 = {z[:, 0].min():.3g}"
            )


def tangent_at(manifold: Manifold, name: str, points: np.ndarray, vectors: np.ndarray) -> None:
    """Refuse vectors that are not tangent at their points.

    Parameters
    ----------
    manifold : Manifold
        Of both.
    name : str
        Of the argument.
    points, vectors : ndarray, (N, D)
        z and v; of complex ones the real part counts.

    Raises
    ------
    ValueError
        Saying how large <z, v> is.
    """
    for factor in manifold.columns(points.dtype):
        if factor.curvature == 0:
            continue
        own = slice(factor.first, factor.last)
        z, v = points[:, own].real, vectors[:, own].real
        across = np.abs(inner(factor, z, v))[:, 0]
        allowed = tolerance(z.dtype) * np.sqrt(product(z, z) * product(v, v))[:, 0]
        wrong = across > allowed
        if wrong.any():
            raise ValueError(
                f"{name}: expected vectors tangent to {manifold}, got {wrong.sum()} of {len(z)} not so, "
                f"the worst with |<z, v>| = {across[wrong].max():.2g}; see project_vectors"
            )


def points_of(
    manifold: Manifold, *, free: tuple[str, ...] = (), **arrays: Any
) -> tuple[tuple[int, ...], list[np.ndarray]]:
    """Checked points as rows.

    Parameters
    ----------
    manifold : Manifold
        Where they are.
    free : tuple of str
        Names of arrays that are no points.
    **arrays : array_like, (..., D)
        By name.

    Returns
    -------
    tuple
        As of `rows`.

    Raises
    ------
    TypeError, ValueError
        For points off the manifold, wrong shapes, NaN.
    """
    shape, found = rows(manifold, **arrays)
    for name, array in zip(arrays, found, strict=True):
        if name not in free:
            on_manifold(manifold, name, array)
    return shape, found


def vectors_at(
    manifold: Manifold, *, free: tuple[str, ...] = (), **arrays: Any
) -> tuple[tuple[int, ...], list[np.ndarray]]:
    """Checked rows: `vectors` are tangent at `points`, the others are points.

    Parameters
    ----------
    manifold : Manifold
        Where they are.
    free : tuple of str
        Names of arrays that are neither.
    **arrays : array_like, (..., D)
        By name, `points` and `vectors` among them.

    Returns
    -------
    tuple
        As of `rows`.

    Raises
    ------
    TypeError, ValueError
        For points off the manifold, vectors that are not tangent, wrong shapes, NaN.
    """
    shape, found = points_of(manifold, free=("vectors", *free), **arrays)
    named = dict(zip(arrays, found, strict=True))
    tangent_at(manifold, "vectors", named["points"], named["vectors"])
    return shape, found


def columns_of(manifold: Manifold, *arrays: np.ndarray) -> list[tuple[FactorColumns, list[np.ndarray]]]:
    """Factor by factor, its columns of every array.

    Parameters
    ----------
    manifold : Manifold
        Its factors.
    *arrays : ndarray, (N, D)
        Of one dtype.

    Returns
    -------
    list of tuple
        FactorColumns, and views (N, d).
    """
    return [
        (factor, [array[:, factor.first : factor.last] for array in arrays])
        for factor in manifold.columns(arrays[0].dtype)
    ]
