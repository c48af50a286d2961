"""The oracles for smooth functions, on functions whose derivatives are known: right ones and wrong ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_algorithms import relax

from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork
from refsnn.oracles.complex_step import complex_step_derivative, complex_step_gradient
from refsnn.oracles.finite_differences import (
    central_gradient,
    directional_derivative,
    five_point_gradient,
    taylor_slopes,
)
from refsnn.oracles.fixed_point import implicit_gradient, joined, state_jacobian


def smooth(p):
    """sum sin(w) + tanh(sum b * w_0): couples the arrays, analytic."""
    return np.sin(p["w"]).sum() + np.tanh((p["b"] * p["w"][0]).sum())


def smooth_gradient(p):
    outer = 1 - np.tanh((p["b"] * p["w"][0]).sum()) ** 2
    gradient = {"w": np.cos(p["w"]), "b": outer * p["w"][0]}
    gradient["w"][0] += outer * p["b"]
    return gradient


def real_smooth(p):
    return float(smooth(p))


def point(seed):
    rng = np.random.default_rng(seed)
    return {"w": rng.uniform(-1.5, 1.5, size=(2, 3)), "b": rng.uniform(-1.5, 1.5, size=3)}


def error(gradient, expected):
    return max(float(np.abs(gradient[name] - expected[name]).max()) for name in expected)


seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds)
def test_every_rule_finds_the_gradient_to_its_own_accuracy(seed):
    p = point(seed)
    expected = smooth_gradient(p)
    assert error(complex_step_gradient(smooth, p), expected) < 4e-15
    assert error(central_gradient(real_smooth, p), expected) < 1e-8
    assert error(five_point_gradient(real_smooth, p), expected) < 1e-9


@given(seed=seeds)
def test_a_wrong_entry_is_seen_by_every_rule(seed):
    p = point(seed)
    wrong = smooth_gradient(p)
    wrong["b"][1] += 1e-6
    for rule in (complex_step_gradient, central_gradient, five_point_gradient):
        function = smooth if rule is complex_step_gradient else real_smooth
        assert error(rule(function, p), wrong) > 9e-7


@given(seed=seeds)
def test_directional_derivatives(seed):
    p, d = point(seed), point(seed + 1)
    gradient = smooth_gradient(p)
    expected = sum(float((gradient[name] * d[name]).sum()) for name in p)
    assert abs(directional_derivative(real_smooth, p, d) - expected) < 1e-7
    assert abs(directional_derivative(real_smooth, p, d, 1e-5, order=2) - expected) < 1e-7
    assert abs(directional_derivative(real_smooth, p, d, 1e-5, order=2) + expected) > 1e-3 * abs(expected)


def test_the_orders_of_the_rules():
    def cube(p):
        return float(np.exp(p["x"]).sum())

    p, d = {"x": np.array([0.3])}, {"x": np.array([1.0])}
    for order in (2, 4):
        errors = [abs(directional_derivative(cube, p, d, h, order) - np.exp(0.3)) for h in (0.2, 0.1)]
        assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.05)


@given(seed=seeds)
def test_taylor_slopes_are_two_for_the_gradient_and_one_for_a_wrong_one(seed):
    p, d = point(seed), point(seed + 1)
    gradient = smooth_gradient(p)
    steps = (1e-2, 1e-3, 1e-4)
    curvature = directional_derivative(lambda q: directional_derivative(real_smooth, q, d), p, d)
    if abs(curvature) > 0.1:  # where the second derivative vanishes the slope is 3
        assert abs(taylor_slopes(real_smooth, p, gradient, d, steps)[-1] - 2) < 0.1
    wrong = {"w": gradient["w"] + 0.1 * np.sign(d["w"]), "b": gradient["b"]}
    assert abs(taylor_slopes(real_smooth, p, wrong, d, steps)[-1] - 1) < 0.1


def test_taylor_slopes_of_a_linear_function_do_not_divide_by_zero():
    p, d = {"x": np.array([1.0])}, {"x": np.array([1.0])}
    assert np.isfinite(taylor_slopes(lambda q: float(q["x"].sum()), p, {"x": np.array([1.0])}, d)).all()


def test_complex_step_of_one_number():
    assert complex_step_derivative(np.sin, 0.7) == pytest.approx(np.cos(0.7), rel=1e-15)
    slopes = complex_step_derivative(lambda z: np.array([z * z, np.exp(z)]), 2.0)
    np.testing.assert_allclose(slopes, [4.0, np.exp(2.0)], rtol=1e-15)


def test_the_complex_step_notices_that_the_imaginary_part_was_lost():
    with pytest.raises(TypeError, match="imaginary part was lost"):
        complex_step_derivative(lambda z: abs(z) ** 2, 1.0)
    with pytest.raises(TypeError, match="imaginary part was lost"):
        complex_step_gradient(lambda p: np.abs(p["x"]).sum(), {"x": np.ones(2)})


def test_bad_arguments_of_the_rules():
    p = {"x": np.ones(2)}

    def total(q):
        return float(q["x"].sum())

    with pytest.raises(ValueError, match="step"):
        complex_step_gradient(total, p, step=0)
    with pytest.raises(TypeError, match="parameters"):
        complex_step_gradient(total, {"x": np.ones(2, int)})
    with pytest.raises(ValueError, match="step"):
        central_gradient(total, p, step=-1.0)
    with pytest.raises(ValueError, match="order"):
        directional_derivative(total, p, p, order=3)
    with pytest.raises(ValueError, match="direction"):
        directional_derivative(total, p, {"x": np.ones(3)})
    with pytest.raises(ValueError, match="gradient"):
        taylor_slopes(total, p, {"y": np.ones(2)}, p)
    for steps in ((1e-2,), (1e-3, 1e-2), (1e-2, 0.0)):
        with pytest.raises(ValueError, match="steps"):
            taylor_slopes(total, p, p, p, steps)


# ---------------------------------------------------------------- the implicit gradient


def linear_problem(rng, step_size):
    """A contractive linear network, whose steady state and gradient have a formula."""
    model = PrototypicalNetwork((2, 3, 4), activation="identity", step_size=step_size)
    p = model.initialise(rng, scale=0.6)
    x, y = rng.uniform(size=(5, 4)), rng.uniform(size=(5, 2))
    return model, p, x, y


def test_jacobian_of_a_linear_network_is_its_matrix():
    model, p, x, _ = linear_problem(np.random.default_rng(0), 0.25)
    w = p["coupling.0.1.weight"]
    expected = 0.75 * np.eye(5) + 0.25 * np.block([[np.zeros((2, 2)), w], [w.T, np.zeros((3, 3))]])
    jacobian = state_jacobian(model, p, model.initial_state(p, 5), x)
    assert jacobian.shape == (5, 5, 5)
    np.testing.assert_allclose(jacobian, np.broadcast_to(expected, jacobian.shape), rtol=1e-15, atol=1e-16)


def test_jacobian_is_no_transpose():
    """An untied network tells rows from columns."""
    rng = np.random.default_rng(1)
    model = PrototypicalNetwork((2, 3, 4), activation="identity", tied=False)
    p = model.initialise(rng)
    jacobian = state_jacobian(model, p, model.initial_state(p, 1), np.ones((1, 4)))[0]
    np.testing.assert_allclose(jacobian[:2, 2:], p["coupling.0.1.weight"], rtol=1e-15)
    np.testing.assert_allclose(jacobian[2:, :2], p["coupling.0.1.feedback"], rtol=1e-15)


def test_implicit_gradient_of_a_linear_network_is_the_formula():
    model, p, x, y = linear_problem(np.random.default_rng(2), 1.0)

    def steady_loss(q):
        w = q["coupling.0.1.weight"]
        drive = np.concatenate(
            [
                np.broadcast_to(q["coupling.0.1.bias"], (5, 2)),
                x @ q["coupling.1.2.weight"].T + q["coupling.1.2.bias"],
            ],
            axis=1,
        )
        matrix = np.eye(5) - np.block([[np.zeros((2, 2)), w], [w.T, np.zeros((3, 3))]])
        error = np.linalg.solve(matrix, drive.T).T[:, :2] - y
        return (error * error).sum() / 10

    truth = complex_step_gradient(steady_loss, p)
    free = relax(model, p, x, steps=3000)
    assert free.residual < 1e-15
    gradient = implicit_gradient(model, p, x, y, free.state)
    for name in p:
        assert np.abs(truth[name]).max() > 1e-3
        np.testing.assert_allclose(gradient[name], truth[name], rtol=1e-12, atol=1e-14)
    # the entries of the state may come in any order
    reversed_order = dict(reversed(free.state.items()))
    assert list(reversed_order) != list(free.state)
    again = implicit_gradient(model, p, x, y, reversed_order)
    assert all(np.array_equal(again[name], gradient[name]) for name in p)
    # beside the steady state it is another number: the oracle does look at the state
    moved = {name: array + 1e-7 for name, array in free.state.items()}
    beside = implicit_gradient(model, p, x, y, moved)
    assert 1e-8 < np.abs(beside["coupling.0.1.weight"] - truth["coupling.0.1.weight"]).max() < 1e-5


def test_the_jacobian_does_not_depend_on_the_order_of_the_state():
    rng = np.random.default_rng(4)
    model = EnergyBasedNetwork((2, 3, 4), tied=False)
    p, x = model.initialise(rng), rng.uniform(size=(2, 4))
    state = relax(model, p, x, steps=5).state
    jacobian = state_jacobian(model, p, state, x)
    assert np.array_equal(jacobian, state_jacobian(model, p, dict(reversed(state.items())), x))


def test_the_fixed_point_oracles_refuse_what_is_no_steady_state():
    rng = np.random.default_rng(5)
    model = PrototypicalNetwork((2, 3, 4))
    p, x, y = model.initialise(rng), rng.uniform(size=(2, 4)), rng.uniform(size=(2, 2))
    free = relax(model, p, x, steps=400)
    assert free.residual < 1e-15
    state = free.state
    implicit_gradient(model, p, x, y, state)
    early = relax(model, p, x, steps=3)
    assert early.residual > 1e-6
    for bad, error, message in (
        (early.state, ValueError, "state: expected a steady state, got one that the next step moves by"),
        (
            {**state, "layer.1": state["layer.1"][:1]},
            ValueError,
            r"state\['layer.1'\]: expected shape \(2, 3\)",
        ),
        ({"layer.0": state["layer.0"]}, ValueError, "state: expected a dict with the entries"),
        ({**state, "layer.2": state["layer.0"]}, ValueError, "state: expected a dict with the entries"),
        ([state["layer.0"]], ValueError, "state: expected a dict with the entries"),
        ({**state, "layer.1": state["layer.1"] + np.nan}, ValueError, "layer.1"),
        ({name: array.astype(np.float32) for name, array in state.items()}, TypeError, "float64"),
    ):
        with pytest.raises(error, match=message):
            implicit_gradient(model, p, x, y, bad)
        if bad is not early.state:  # a Jacobian is defined anywhere
            with pytest.raises(error, match=message):
                state_jacobian(model, p, bad, x)


def test_the_fixed_point_oracles_refuse_float32():
    rng = np.random.default_rng(6)
    model = PrototypicalNetwork((2, 3, 4))
    p, x, y = model.initialise(rng, np.float32), np.ones((2, 4), np.float32), np.ones((2, 2), np.float32)
    state = relax(model, p, x, steps=50).state
    with pytest.raises(TypeError, match="parameters: expected dtype float64, got float32"):
        implicit_gradient(model, p, x, y, state)
    with pytest.raises(TypeError, match="parameters: expected dtype float64, got float32"):
        state_jacobian(model, p, state, x)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", [EnergyBasedNetwork, PrototypicalNetwork])
def test_implicit_gradient_is_the_slope_of_the_relaxed_loss(family, tied):
    rng = np.random.default_rng(3)
    model = family((2, 3, 4), activation="sigm", step_size=0.5, tied=tied)
    p, x, y = model.initialise(rng), rng.uniform(size=(2, 4)), rng.uniform(size=(2, 2))

    def relaxed_loss(q):
        return model.loss(q, relax(model, q, x, steps=300).state, y)

    gradient = implicit_gradient(model, p, x, y, relax(model, p, x, steps=300).state)
    for name, truth in complex_step_gradient(relaxed_loss, p).items():
        np.testing.assert_allclose(gradient[name], truth, rtol=1e-11, atol=1e-15)
    direction = {name: rng.normal(size=array.shape) for name, array in p.items()}
    slopes = taylor_slopes(relaxed_loss, p, gradient, direction, (1e-2, 1e-3, 1e-4))
    assert np.abs(slopes - 2).max() < 0.2


def test_joined_puts_layers_side_by_side():
    state = {"layer.0": np.zeros((2, 1)), "layer.1": np.ones((2, 2))}
    assert joined(state).tolist() == [[0.0, 1.0, 1.0]] * 2


def test_the_implicit_gradient_needs_a_holomorphic_network():
    for model in (
        PrototypicalNetwork((2, 3), activation="hardsigm"),
        EnergyBasedNetwork((2, 3), activation="tanh", clamp=True),
    ):
        p = model.initialise(np.random.default_rng(0))
        with pytest.raises(ValueError, match="holomorphic"):
            implicit_gradient(model, p, np.ones((1, 3)), np.ones((1, 2)), model.initial_state(p, 1))
