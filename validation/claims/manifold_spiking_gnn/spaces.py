"""Random points and tangent vectors, and geometry written a second time: stereographic, and in 50 digits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np

from refsnn.models.manifold.geometry import norm, project_points, project_vectors
from refsnn.models.manifold.manifold import Factor, Manifold

EPS = float(np.finfo(float).eps)
CURVATURES = -2.0, -1.0, -0.25, -1e-4, 1e-4, 0.5, 1.0, 3.0
DIMENSION = 3
COUNT = 20
INJECTIVE = 1 - 1e-3
DIGITS = 50


def space(kappa: float, dimension: int = DIMENSION) -> Manifold:
    """One factor."""
    return Manifold((Factor(kappa, dimension),))


def unit(manifold: Manifold) -> float:
    """R, and 1 of flat space."""
    radius = manifold.factors[0].radius
    return radius if np.isfinite(radius) else 1.0


def some_points(rng: np.random.Generator, manifold: Manifold, count: int = COUNT, reach: float = 2.0) -> Any:
    """Up to `reach` R from the origin of the hyperboloid, anywhere on the sphere."""
    size, radius = (count, manifold.width), unit(manifold)
    found = rng.standard_normal(size)
    if manifold.factors[0].curvature < 0:
        found[:, 1:] /= np.linalg.norm(found[:, 1:], axis=1, keepdims=True)
        found[:, 1:] *= radius * np.sinh(reach * rng.random((count, 1)))
    return project_points(manifold, found)


def directions(rng: np.random.Generator, manifold: Manifold, points: Any) -> Any:
    """Tangent vectors of length R."""
    found = project_vectors(manifold, points, rng.standard_normal(points.shape))
    found = project_vectors(manifold, points, found)
    return found * (unit(manifold) / norm(manifold, points, found))[:, None]


def some_vectors(
    rng: np.random.Generator, manifold: Manifold, points: Any, longest: float = 2.0, least: float = 0.05
) -> Any:
    """Tangent vectors of length up to `longest` R, on the sphere up to pi R."""
    if manifold.factors[0].curvature > 0:
        longest = INJECTIVE * np.pi
    return rng.uniform(least, longest, (len(points), 1)) * directions(rng, manifold, points)


@dataclass(frozen=True)
class Draw:
    """Points z with tangent vectors v and w of one space."""

    manifold: Manifold
    z: Any
    v: Any
    w: Any

    @property
    def kappa(self) -> float:
        return self.manifold.factors[0].curvature

    @property
    def radius(self) -> float:
        return unit(self.manifold)


def draws(rng: np.random.Generator, **options: float) -> Iterator[Draw]:
    """One of every curvature."""
    for kappa in CURVATURES:
        manifold = space(kappa)
        z = some_points(rng, manifold)
        v = some_vectors(rng, manifold, z, **options)
        yield Draw(manifold, z, v, directions(rng, manifold, z))


def inner(manifold: Manifold, a: Any, b: Any) -> Any:
    """<a, b>."""
    return (a * b * manifold.signature()).sum(axis=-1)


def stretch(manifold: Manifold, *points: Any) -> Any:
    """(z_0 / R)^2, the largest of some points; 1 on the sphere: what rounding is multiplied with."""
    if manifold.factors[0].curvature >= 0:
        return np.ones(len(points[0]))
    return np.max([(z[:, 0] / unit(manifold)) ** 2 for z in points], axis=0)


def in_roundings(errors: Any, scale: Any) -> float:
    """The largest error as a multiple of epsilon times its scale."""
    return float(np.max(np.abs(errors) / (EPS * np.asarray(scale))))


# -- the stereographic model ----------------------------------------------------------------------------


def to_disk(kappa: float, z: Any) -> Any:
    """x = y / (1 + z_0' / R), z_0' = z_0 or -z_0, so that the origin is at 0."""
    polar = z[..., :1] if kappa < 0 else -z[..., :1]
    return z[..., 1:] / (1 + polar * np.sqrt(abs(kappa)))


def moebius(kappa: float, x: Any, y: Any) -> Any:
    """The sum of the stereographic model."""
    xy, xx, yy = ((a * b).sum(axis=-1, keepdims=True) for a, b in ((x, y), (x, x), (y, y)))
    return ((1 - 2 * kappa * xy - kappa * yy) * x + (1 + kappa * xx) * y) / (
        1 - 2 * kappa * xy + kappa**2 * xx * yy
    )


def disk_exponential(kappa: float, x: Any, v: Any, scaled: bool = True) -> Any:
    """Exp_x(v); `scaled` without the 1 / sqrt|kappa| that the paper's (58) lacks."""
    root = np.sqrt(abs(kappa))
    length = np.sqrt((v * v).sum(axis=-1, keepdims=True))
    conformal = 2 / (1 + kappa * (x * x).sum(axis=-1, keepdims=True))
    tangent = np.tan if kappa > 0 else np.tanh
    return moebius(kappa, x, tangent(root * conformal * length / 2) / (root if scaled else 1) * v / length)


def disk_distance(kappa: float, x: Any, y: Any) -> Any:
    """d(x, y)."""
    root, inverse = np.sqrt(abs(kappa)), np.arctan if kappa > 0 else np.arctanh
    return 2 / root * inverse(root * np.sqrt((moebius(kappa, -x, y) ** 2).sum(axis=-1)))


# -- many digits ----------------------------------------------------------------------------------------

Numbers = list[Any]


def exactly(values: Any) -> Numbers:
    """Floating numbers as mpmath has them."""
    return [mpmath.mpf(float(value)) for value in values]


def exact_point(kappa: float, z: Any) -> Numbers:
    """z; on the hyperboloid with the z_0 that its other coordinates say."""
    z = exactly(z)
    if kappa < 0:
        z[0] = mpmath.sqrt(1 / -mpmath.mpf(kappa) + mpmath.fsum(value**2 for value in z[1:]))
    return z


def exact_vector(kappa: float, z: Numbers, v: Any) -> Numbers:
    """v; on the hyperboloid with the v_0 that makes it tangent."""
    v = exactly(v)
    if kappa < 0:
        v[0] = mpmath.fsum(a * b for a, b in zip(z[1:], v[1:], strict=True)) / z[0]
    return v


def exact_inner(kappa: float, a: Numbers, b: Numbers) -> Any:
    """<a, b>."""
    terms = [x * y for x, y in zip(a, b, strict=True)]
    if kappa < 0:
        terms[0] = -terms[0]
    return mpmath.fsum(terms)


def exact_stumpff(q: Any) -> tuple[Any, Any, Any, Any]:
    """c0 to c3 by their definitions, in so many more digits as their differences lose; q may be complex."""
    with mpmath.workdps(2 * mpmath.mp.dps + 40):
        if q == 0:
            return mpmath.mpf(1), mpmath.mpf(1), mpmath.mpf(1) / 2, mpmath.mpf(1) / 6
        if mpmath.re(q) > 0:
            s = mpmath.sqrt(q)
            c0, c1 = mpmath.cos(s), mpmath.sin(s) / s
        else:
            s = mpmath.sqrt(-q)
            c0, c1 = mpmath.cosh(s), mpmath.sinh(s) / s
        return c0, c1, (1 - c0) / q, (1 - c1) / q


def relative(found: Any, expected: Numbers, given: Numbers | None = None) -> float:
    """Largest error over the largest entry, of what was given if that is larger."""
    errors = [abs(mpmath.mpf(float(a)) - b) for a, b in zip(found, expected, strict=True)]
    return float(max(errors) / max(abs(b) for b in [*expected, *(given or [])]))
