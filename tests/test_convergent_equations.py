"""The activations and the relaxation equations: values, derivatives, and the same numbers compiled."""

from __future__ import annotations

import cmath

import numba
import numpy as np
import pytest

from refsnn.equations import activations, relaxation
from refsnn.equations.activations import ACTIVATIONS

SMOOTH = ("tanh", "sigm", "identity")
POINTS = (-30.0, -1.0, -0.3, 0.0, 0.2, 0.5, 1.0, 2.0, 30.0)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("z", POINTS)
def test_slope_and_curvature_are_derivatives(name, z):
    functions, one = ACTIVATIONS[name], 1.0
    for value, derivative in ((functions.value, functions.slope), (functions.slope, functions.curvature)):
        exact = value(complex(z, 1e-30), one).imag / 1e-30
        assert abs(exact - derivative(z, one)) < 1e-14


@pytest.mark.parametrize("z", POINTS)
def test_sigm_is_the_published_sigmoid(z):
    assert abs(activations.sigm(z, 1.0) - 1 / (1 + np.exp(-4 * (z - 0.5)))) < 1e-15


def test_sigm_does_not_overflow():
    assert activations.sigm(np.array([-1e300, 1e300]), 1.0).tolist() == [0.0, 1.0]


def test_hard_sigmoid_and_its_gates():
    z = np.array([-0.5, 0.0, 0.25, 1.0, 1.5])
    assert activations.hardsigm(z, 1.0).tolist() == [0.0, 0.0, 0.25, 1.0, 1.0]
    assert activations.hardsigm_slope(z, 1.0).tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]
    assert activations.hardsigm_slope_open(z, 1.0).tolist() == [0.0, 0.0, 1.0, 0.0, 0.0]
    assert not activations.hardsigm_curvature(z, 1.0).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_compiled_activations_are_numpy_without_promotion(name, dtype):
    one, (value, slope, curvature, slope_open, _) = dtype(1), ACTIVATIONS[name]
    compiled = numba.njit(
        lambda z, one: (value(z, one), slope(z, one), curvature(z, one), slope_open(z, one)),
        error_model="numpy",
    )
    # a curvature moves up to 8 times as far as the tanh in it, of which either side has its own
    allowed = (4, 4, 12, 4)
    for z in (-0.5, 0.0, 0.3, 1.0, 1.7):
        results = compiled(dtype(z), one)
        for result, function, units in zip(results, ACTIVATIONS[name][:4], allowed, strict=True):
            plain = function(np.full(1, z, dtype), one)
            assert plain.dtype == dtype
            assert abs(result - plain[0]) <= units * np.finfo(dtype).eps
    returned = compiled.nopython_signatures[0].return_type
    assert set(returned.types) == {numba.from_dtype(np.dtype(dtype))}


def test_compiled_activations_take_complex_numbers():
    compiled = numba.njit(lambda z: activations.tanh(z, 1.0))
    assert abs(compiled(0.3 + 0.2j) - cmath.tanh(0.3 + 0.2j)) < 1e-15


def every_relaxation_equation(a, b, c, one):
    return (
        relaxation.leaky_step(a, b, c, one),
        *relaxation.leaky_step_slopes(c, one),
        relaxation.nudge_force(a, b, c),
        *relaxation.nudge_force_slopes(a, b, c),
        relaxation.energy_pull(a, b),
        *relaxation.energy_pull_slopes(a, b, c),
        relaxation.nudged_outside(a, b),
        *relaxation.nudged_outside_slopes(a, one),
        relaxation.nudged_inside(a, b),
        *relaxation.nudged_inside_slopes(a, one),
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_relaxation_is_numpy_without_promotion(dtype):
    arguments = dtype(0.3), dtype(0.7), dtype(0.2), dtype(1)
    compiled = numba.njit(every_relaxation_equation, error_model="numpy")
    plain, result = every_relaxation_equation(*arguments), compiled(*arguments)
    assert {value.dtype for value in plain} == {np.dtype(dtype)}
    assert set(compiled.nopython_signatures[0].return_type.types) == {numba.from_dtype(np.dtype(dtype))}
    np.testing.assert_allclose(result, plain, rtol=4 * np.finfo(dtype).eps)


def test_slopes_of_the_relaxation_equations():
    h, s, u, y, beta, epsilon, one = 1e-30, 0.3, 0.8, 1.1, 0.4, 0.2, 1.0
    gate, curvature = activations.tanh_slope(s, one), activations.tanh_curvature(s, one)

    def derivative(function, at):
        return function(complex(at, h)).imag / h

    pull, step, force = relaxation.energy_pull, relaxation.leaky_step, relaxation.nudge_force
    by_state = derivative(lambda z: pull(activations.tanh_slope(z, one), u), s)
    by_potential = derivative(lambda z: pull(gate, z), u)
    assert np.allclose(
        relaxation.energy_pull_slopes(gate, curvature, u), (by_state, by_potential), rtol=1e-15
    )
    assert relaxation.leaky_step_slopes(epsilon, one) == (
        derivative(lambda z: step(z, u, epsilon, one), s),
        derivative(lambda z: step(s, z, epsilon, one), u),
    )
    assert relaxation.nudge_force_slopes(s, y, beta) == (
        derivative(lambda z: force(z, y, beta), s),
        derivative(lambda z: force(s, y, z), beta),
    )
    sigma, slope = activations.tanh, activations.tanh_slope(u + 0.1, one)
    inside = (
        derivative(lambda z: sigma(relaxation.nudged_inside(z, 0.1), one), u),
        derivative(lambda z: sigma(relaxation.nudged_inside(u, z), one), 0.1),
    )
    assert np.allclose(relaxation.nudged_inside_slopes(slope, one), inside, rtol=1e-15)
    slope = activations.tanh_slope(u, one)
    outside = (
        derivative(lambda z: relaxation.nudged_outside(sigma(z, one), 0.1), u),
        derivative(lambda z: relaxation.nudged_outside(sigma(u, one), z), 0.1),
    )
    assert np.allclose(relaxation.nudged_outside_slopes(slope, one), outside, rtol=1e-15)
