"""Random points and vectors on products of spaces, for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from refsnn.models.manifold.geometry import exponential, norm, project_points, project_vectors
from refsnn.models.manifold.manifold import Factor, Manifold

EPS = float(np.finfo(float).eps)
CURVATURES = -2.0, -0.3, -1e-4, 0.0, 1e-4, 0.5, 1.0, 3.0

MANIFOLDS = st.lists(st.tuples(st.sampled_from(CURVATURES), st.integers(1, 4)), min_size=1, max_size=3).map(
    lambda factors: Manifold(tuple(Factor(kappa, d) for kappa, d in factors))
)
SEEDS = st.integers(0, 2**32 - 1)


def some_points(rng: np.random.Generator, manifold: Manifold, count: int = 5, reach: float = 1.5) -> Any:
    """On the hyperboloid up to `reach` R out, on the sphere not near the antipode of the origin."""
    z = rng.standard_normal((count, manifold.width))
    for factor, own in zip(manifold.factors, manifold.slices, strict=True):
        if factor.curvature < 0:
            y = z[:, own.start + 1 : own.stop]
            y *= factor.radius * np.sinh(reach * rng.random((count, 1))) / np.linalg.norm(y, axis=1)[:, None]
        if factor.curvature > 0:
            z[:, own.start] = -np.abs(z[:, own.start]) - 0.1
    return project_points(manifold, z)


def some_vectors(rng: np.random.Generator, manifold: Manifold, z: Any, length: float = 1.0) -> Any:
    """Tangent vectors, each factor's part of 0.1 to 1 of `length` R, on spheres of at most 0.8 pi R."""
    v = project_vectors(manifold, z, rng.standard_normal(z.shape))
    for factor, own in zip(manifold.factors, manifold.slices, strict=True):
        alone = Manifold((factor,))
        part = project_vectors(alone, z[:, own], v[:, own])
        longest = min(length, 0.8 * np.pi) if factor.curvature > 0 else length
        sizes = rng.uniform(0.1, 1.0, (len(z), 1)) * longest * (factor.radius if factor.curved else 1.0)
        v[:, own] = part * sizes / norm(alone, z[:, own], part)[:, None]
    return v


def scales(manifold: Manifold) -> float:
    """The largest R: what absolute errors are relative to."""
    return max([1.0, *(factor.radius for factor in manifold.factors if factor.curved)])


def scene(seed: int, manifold: Manifold, length: float = 1.0) -> tuple[Any, ...]:
    """rng, points, tangent vectors and the ends of the geodesics."""
    rng = np.random.default_rng(seed)
    z = some_points(rng, manifold)
    v = some_vectors(rng, manifold, z, length)
    return rng, z, v, exponential(manifold, z, v)


def complex_step(function: Callable[..., Any], *pairs: tuple[Any, Any]) -> Any:
    """The derivative of a function of arrays along given directions."""
    return function(*(value + 1e-30j * direction for value, direction in pairs)).imag / 1e-30
