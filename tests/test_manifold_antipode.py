"""Transport from the origin of a sphere to the neighbourhood of its antipode, against many digits.

There b = 1 + kappa <o, z> is a difference of equal numbers, and a drive is nearly reflected along y.
"""

from __future__ import annotations

import warnings

import mpmath
import numpy as np
import pytest

from refsnn.equations.curvature import origin_bend
from refsnn.kernels import manifold_kernels
from refsnn.kernels.manifold import TRANSPORT
from refsnn.models.manifold.differentials import step_tangent
from refsnn.models.manifold.manifold import Manifold, hyperbolic, spherical

BACKENDS = ["plain", "cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
DISTANCES = [1.0, 1e-3, 1e-6, 1e-8, 1e-11, 1e-15, 1e-20]
EPSILON = {np.float64: 2.0**-52, np.float32: 2.0**-23}


@pytest.fixture(autouse=True)
def digits():
    """Far more than twice those that b loses."""
    with mpmath.workdps(80):
        yield


def beside_the_antipode(manifold: Manifold, distance: float, dtype) -> np.ndarray:
    """Five points at that angle from the antipode, their z_0 rounded."""
    direction = np.random.default_rng(5).normal(size=(5, manifold.width - 1))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    radius = manifold.factors[0].radius
    y = radius * np.sin(distance) * direction
    return np.hstack([np.full((5, 1), radius * np.cos(distance)), y]).astype(dtype)


def exact_step(kappa: float, z0, y, w):
    """z' in many digits; the first form of b, which has digits enough to lose."""
    radius = 1 / mpmath.sqrt(kappa)
    a, b = kappa * mpmath.fdot(y, w), 1 - z0 / radius
    v = [-(a / b) * (z0 - radius), *(one - a / b * other for one, other in zip(w, y, strict=True))]
    length = mpmath.sqrt(kappa * mpmath.fdot(w, w))
    return [
        mpmath.cos(length) * one + mpmath.sin(length) / length * other
        for one, other in zip([z0, *y], v, strict=True)
    ]


def on_the_sphere(kappa: float, y):
    """z_0 > 0 that belongs to y."""
    return mpmath.sqrt(1 / mpmath.mpf(kappa) - mpmath.fsum(value**2 for value in y))


def many(values) -> list:
    return [mpmath.mpf(float(value)) for value in values]


def slope(kappa: float, y, w, along, by, g) -> float:
    """d(g . z') along a direction of y, z staying on the sphere, or of w: a complex step."""
    size = mpmath.mpf(10) ** -25 * max(abs(value) for value in (y if by == "y" else w))
    moved = [value + 1j * size * move for value, move in zip(y if by == "y" else w, along, strict=True)]
    place, drive = (moved, w) if by == "y" else (y, moved)
    return float(
        mpmath.im(mpmath.fdot(g, exact_step(kappa, on_the_sphere(kappa, place), place, drive))) / size
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kappa", [1.0, 0.3])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_step_near_the_antipode_has_all_digits(backend, kappa, dtype):
    manifold, rng = spherical(3, kappa), np.random.default_rng(6)
    (factor,) = manifold.columns(dtype)
    radius = manifold.factors[0].radius
    for distance in DISTANCES if dtype is np.float64 else DISTANCES[:5]:
        z = beside_the_antipode(manifold, distance, dtype)
        u = rng.normal(size=z.shape).astype(dtype)
        moved = np.empty_like(z)
        manifold_kernels(backend).step(factor, TRANSPORT, z, u, moved)
        expected = []
        for row, drive in zip(z, u, strict=True):
            y, w = many(row[1:]), many(drive[1:])
            expected.append([float(value) for value in exact_step(kappa, on_the_sphere(kappa, y), y, w)])
        np.testing.assert_allclose(moved, expected, rtol=0, atol=12 * EPSILON[dtype] * radius)
        off = kappa * (moved.astype(np.longdouble) ** 2).sum(axis=1) - 1
        assert np.abs(off).max() < 12 * EPSILON[dtype], distance


@pytest.mark.parametrize("kappa", [1.0, 0.3])
@pytest.mark.parametrize("backend", BACKENDS)
def test_its_gradient_has_all_digits_too(backend, kappa):
    """It grows with 1 / distance: so fast the reflection turns with y."""
    manifold, rng = spherical(3, kappa), np.random.default_rng(7)
    (factor,) = manifold.columns(np.float64)
    for distance in DISTANCES:
        z = beside_the_antipode(manifold, distance, np.float64)
        u, g, along = rng.normal(size=(3, *z.shape))
        by_drive, by_point = np.empty_like(z), np.empty_like(z)
        manifold_kernels(backend).step_backward(factor, TRANSPORT, False, z, u, g, by_drive, by_point)
        for node in range(len(z)):
            y, w, direction, adjoint = many(z[node, 1:]), many(u[node, 1:]), along[node, 1:], many(g[node])
            exact = slope(kappa, y, w, many(direction), "w", adjoint)
            assert by_drive[node, 1:] @ direction == pytest.approx(exact, rel=1e-13, abs=1e-14)
            polar = -(z[node, 1:] @ direction) / z[node, 0]  # the direction is tangent
            found = by_point[node, 1:] @ direction + by_point[node, 0] * polar
            exact = slope(kappa, y, w, many(direction), "y", adjoint)
            assert found == pytest.approx(exact, rel=3e-14, abs=1e-14 / distance), distance
            if distance < 1e-2:
                assert np.abs(by_point[node, 1:]).max() > 0.01 / distance


@pytest.mark.parametrize("kappa", [1.0, 0.3])
def test_its_differential_has_all_digits_too(kappa):
    manifold, rng = spherical(3, kappa), np.random.default_rng(8)
    for distance in DISTANCES[:4]:
        z = beside_the_antipode(manifold, distance, np.float64)
        u, along = rng.normal(size=(2, *z.shape))
        along[:, 0] = -(z[:, 1:] * along[:, 1:]).sum(axis=1) / z[:, 0]
        found = step_tangent(manifold, z, u, along, np.zeros_like(u))
        for node in range(len(z)):
            y, w, direction = many(z[node, 1:]), many(u[node, 1:]), many(along[node, 1:])
            for place in range(4):
                exact = slope(kappa, y, w, direction, "y", [mpmath.mpf(place == k) for k in range(4)])
                assert found[node, place] == pytest.approx(exact, rel=1e-13, abs=1e-14 / distance)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_antipode_itself_has_no_direction(backend):
    manifold = spherical(2)
    (factor,) = manifold.columns(np.float64)
    z, moved = np.array([[1.0, 0.0, 0.0]]), np.empty((1, 3))
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the simulator warns in threads of its own
        manifold_kernels(backend).step(factor, TRANSPORT, z, np.array([[0.0, 0.3, 0.1]]), moved)
    assert np.isnan(moved).any()


def test_both_forms_of_b_are_one_at_the_equator_and_on_the_hyperboloid_there_is_but_one():
    for along in (-1e-9, 0.0, 1e-9):
        assert origin_bend(along, 1 - along**2, 1.0, 1.0) == pytest.approx(1 + along, rel=1e-15)
    point = hyperbolic(2).origin() * np.cosh(3.0)
    assert origin_bend(point[0], 0.0, -1.0, 1.0) == 1 + point[0]


@pytest.mark.parametrize("distance", [2.5, 1.0, 1e-3])
def test_complex_steps_off_the_sphere_find_the_ambient_partials(distance):
    """Of the formula with b = 1 + kappa <o, z>, whichever form b is computed in."""
    manifold, rng, kernels = spherical(3, 0.3), np.random.default_rng(9), manifold_kernels("plain")
    (factor,) = manifold.columns(np.float64)
    z = beside_the_antipode(manifold, distance, np.float64)
    u, g = rng.normal(size=(2, *z.shape))
    by_drive, by_point = np.empty_like(z), np.empty_like(z)
    kernels.step_backward(factor, TRANSPORT, False, z, u, g, by_drive, by_point)
    for place in range(4):
        stepped, moved = z.astype(complex), np.empty_like(z, dtype=complex)
        stepped[:, place] += 1e-30j
        kernels.step(factor, TRANSPORT, stepped, u.astype(complex), moved)
        np.testing.assert_allclose((g * moved.imag).sum(axis=1) / 1e-30, by_point[:, place], rtol=1e-10)
