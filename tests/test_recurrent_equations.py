"""The equations of recurrent cells: each derivative against a complex step of the equation above it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.equations import recurrent as equations
from refsnn.equations.activations import hyperbolic_tangent
from refsnn.equations.recurrent import (
    gru_adjoint,
    gru_candidate,
    gru_hidden,
    logistic,
    logistic_slope,
    lstm_adjoint,
    lstm_cell,
    lstm_hidden,
    output_error,
    recurrent_potential,
    recurrent_potential_adjoint,
    squared_error,
    tanh_slope_of,
    total_drive,
    weighted_cross_entropy,
)
from refsnn.equations.surrogates import triangle_spike, triangle_surrogate
from refsnn.oracles.complex_step import complex_step_derivative

NUMBERS = st.floats(-3, 3)
SEEDS = st.integers(0, 2**32 - 1)


def partial(function, point, index):
    """Derivative of a function of several numbers with respect to one."""
    return complex_step_derivative(
        lambda z: function(*[z if k == index else complex(x) for k, x in enumerate(point)]), point[index]
    )


@given(NUMBERS)
def test_gates_and_their_slopes(a):
    value = float(logistic(a, 1.0))
    assert value == pytest.approx(1 / (1 + np.exp(-a)), rel=1e-14)
    slope = float(complex_step_derivative(lambda z: logistic(z, 1.0), a))
    assert logistic_slope(value, 1.0) == pytest.approx(slope, rel=1e-13)
    slope = float(complex_step_derivative(hyperbolic_tangent, a))
    assert float(tanh_slope_of(np.tanh(a), 1.0)) == pytest.approx(slope, rel=1e-12)


def test_gates_do_not_overflow():
    values = logistic(np.array([-1e4, -800.0, 800.0, 1e4]), 1.0)
    np.testing.assert_array_equal(values, [0, 0, 1, 1])


@given(SEEDS)
def test_lstm_adjoint(seed):
    """gh h_k + gc c_k as a function of the four drives and c_{k-1}."""
    rng = np.random.default_rng(seed)
    by_hidden, by_cell, *point = rng.normal(0, 1.5, 7)

    def weighted(a_i, a_f, a_g, a_o, before):
        i, f, o = (logistic(a, 1.0) for a in (a_i, a_f, a_o))
        cell = lstm_cell(before, i, f, hyperbolic_tangent(a_g))
        return by_hidden * lstm_hidden(cell, o) + by_cell * cell

    a_i, a_f, a_g, a_o, before = point
    gates = logistic(a_i, 1.0), logistic(a_f, 1.0), np.tanh(a_g), logistic(a_o, 1.0)
    found = lstm_adjoint(by_hidden, by_cell, before, lstm_cell(before, *gates[:3]), *gates, 1.0)
    expected = [partial(weighted, point, k) for k in range(5)]
    assert min(np.abs(expected)) > 0
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-15)


@given(SEEDS)
def test_gru_adjoint(seed):
    """d h_k as a function of the drives of r, z, n, of q, and of h_{k-1} where no matrix stands between."""
    rng = np.random.default_rng(seed)
    adjoint, *point = rng.normal(0, 1.5, 6)

    def weighted(a_r, a_z, a_n, past, before):
        candidate = gru_candidate(a_n, logistic(a_r, 1.0), past)
        return adjoint * gru_hidden(before, logistic(a_z, 1.0), candidate, 1.0)

    a_r, a_z, a_n, past, before = point
    r, z = logistic(a_r, 1.0), logistic(a_z, 1.0)
    found = gru_adjoint(adjoint, before, r, z, gru_candidate(a_n, r, past), past, 1.0)
    expected = [partial(weighted, point, k) for k in range(5)]
    assert min(np.abs(expected)) > 0
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("attached", [0.0, 1.0])
@given(st.floats(0.05, 1.95), SEEDS)
def test_potential_adjoint(attached, potential, seed):
    """V v_k + R z_{k-1}, with z_{k-1} a smooth spike of v_{k-1}, detached in the reset or not."""
    rng = np.random.default_rng(seed)
    adjoint, heard, current = rng.normal(0, 1, 3)
    leak, threshold, shape = 0.8, 1.0, (1.0, 0.3, 1.0)
    kept = float(triangle_spike(potential - threshold, *shape))

    def weighted(v):
        spike = triangle_spike(v - threshold, *shape)
        through_reset = spike if attached else kept
        return adjoint * recurrent_potential(v, current, through_reset, leak, threshold, 1.0) + heard * spike

    psi = float(triangle_surrogate(potential - threshold, *shape))
    assert psi > 0
    found = recurrent_potential_adjoint(adjoint, heard, psi, leak, threshold, attached, 1.0)
    assert float(found) == pytest.approx(
        float(complex_step_derivative(weighted, potential)), rel=1e-12, abs=1e-14
    )


def test_the_threshold_that_is_taken_off_does_not_leak():
    """The same currents in the other recursion, leak (h - threshold s) + I, end elsewhere."""
    potential = recurrent_potential(1.5, 0.25, 1.0, 0.5, 1.0, 1.0)
    assert (potential, 0.5 * (1.5 - 1.0) + 0.25) == (0.0, 0.5)


@given(NUMBERS, NUMBERS, st.floats(0.1, 2), st.integers(1, 9))
def test_errors_of_losses(output, target, weight, samples):
    slope = complex_step_derivative(lambda y: squared_error(y, target, weight, samples, 1.0), output)
    assert output_error(output, target, weight, samples) == pytest.approx(slope, rel=1e-14, abs=1e-16)

    outputs = np.array([output, target, 0.3])
    for c in range(3):

        def loss(y, c=c):
            moved = outputs.astype(complex)
            moved[c] = y
            return weighted_cross_entropy(np.exp(moved).sum(), moved[1], weight, samples)

        share = np.exp(outputs[c]) / np.exp(outputs).sum()
        found = output_error(share, float(c == 1), weight, samples)
        assert found == pytest.approx(complex_step_derivative(loss, outputs[c]), rel=1e-12, abs=1e-14)


def test_float32_is_not_promoted():
    """Of every equation here, called with numbers of that kind."""
    one, rng = np.float32(1), np.random.default_rng(0)
    named = {
        "logarithm": 1, "total_drive": 3, "logistic": 1, "logistic_slope": 1, "tanh_slope_of": 1,
        "lstm_cell": 4, "lstm_hidden": 2, "lstm_adjoint": 8, "gru_candidate": 3, "gru_hidden": 3,
        "gru_adjoint": 6, "recurrent_potential": 5, "recurrent_potential_adjoint": 6, "squared_error": 4,
        "output_error": 4, "weighted_cross_entropy": 4,
    }  # fmt: skip
    without_one = {
        "logarithm", "total_drive", "lstm_cell", "lstm_hidden", "gru_candidate", "output_error",
        "weighted_cross_entropy",
    }  # fmt: skip
    for name, count in named.items():
        arguments = [np.float32(x) for x in rng.uniform(0.5, 1.5, count)]
        value = getattr(equations, name)(*arguments, *([] if name in without_one else [one]))
        for entry in value if isinstance(value, tuple) else (value,):
            assert np.asarray(entry).dtype == np.float32, name
    assert total_drive(one, one, one) == 3
