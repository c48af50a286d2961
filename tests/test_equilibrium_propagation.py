"""Relaxation, equilibrium propagation and its relatives, the processes, and their corners."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from plain_algorithms import (
    bptt_convergent,
    equilibrium_propagation,
    holomorphic_equilibrium_propagation,
    relax,
)

from refsnn.algorithms.processes import (
    Processes,
    bptt_processes,
    compare_processes,
    equilibrium_processes,
    relative_rmse,
)
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork, toy_network
from refsnn.oracles.complex_step import complex_step_gradient
from refsnn.oracles.fixed_point import implicit_gradient

LIMIT = 1e-30j
W0 = "coupling.0.1.weight"
seeds = st.integers(0, 2**32 - 1)


def problem(seed, model=None, dtype=np.float64, scale=1.0, batch=None):
    """Network, parameters, inputs, one-hot targets."""
    rng = np.random.default_rng(seed)
    if model is None:
        widths = tuple(int(width) for width in rng.integers(1, 7, size=rng.integers(2, 5)))
        model = EnergyBasedNetwork(widths, output=str(rng.choice(["rho", "linear"])), step_size=0.3)
    batch = int(rng.integers(1, 4)) if batch is None else batch
    targets = np.eye(model.widths[0])[rng.integers(model.widths[0], size=batch)].astype(dtype)
    inputs = rng.uniform(size=(batch, model.widths[-1])).astype(dtype)
    return model, model.initialise(rng, dtype, scale), inputs, targets


def close(first, second, tolerance):
    """Array by array, relative to the largest entry of the second."""
    assert first.keys() == second.keys()
    for name, expected in second.items():
        size = np.abs(expected).max()
        assert size > 0, name
        assert np.abs(first[name] - expected).max() <= tolerance * size, name


PHASES = {"free_steps": 400, "nudged_steps": 30}

# ---------------------------------------------------------------- relaxation


@given(seed=seeds)
def test_relaxing_in_pieces_is_relaxing_at_once(seed):
    model, p, x, _ = problem(seed)
    whole = relax(model, p, x, steps=12, keep_last=4)
    first = relax(model, p, x, steps=5)
    second = relax(model, p, x, first.state, steps=7, keep_last=4)
    for name in model.layers:
        assert np.array_equal(whole.state[name], second.state[name])
        for a, b in zip(whole.kept, second.kept, strict=True):
            assert np.array_equal(a[name], b[name])
    assert len(whole.kept) == 4
    assert first.kept == ()
    assert whole.kept[-1] is whole.state
    assert whole.residual == model.residual(p, whole.state, x)
    assert whole.bytes_kept == 4 * sum(array.nbytes for array in whole.state.values())
    assert whole.steps_executed == 14


def test_the_kept_states_follow_each_other():
    model, p, x, _ = problem(0)
    kept = relax(model, p, x, steps=3, keep_last=10).kept
    assert len(kept) == 4  # the initial state and three more
    for before, after in itertools.pairwise(kept):
        step = model.step(p, before, x)
        assert all(np.array_equal(step[name], after[name]) for name in step)


def test_the_two_cycle_is_told_apart_from_slow_convergence():
    model = PrototypicalNetwork((1, 1, 1))
    p = {
        W0: np.array([[2.5]]),
        "coupling.0.1.bias": np.array([0.1]),
        "coupling.1.2.weight": np.array([[1.0]]),
        "coupling.1.2.bias": np.array([-0.05]),
    }
    cycling = relax(model, p, np.zeros((1, 1)), steps=500)
    assert cycling.residual > 1.96
    assert cycling.two_cycle_residual <= 1e-15
    slow = relax(replace(model, step_size=0.01), p, np.zeros((1, 1)), steps=100)
    assert slow.residual > 1e-4
    assert slow.two_cycle_residual > slow.residual
    assert relax(replace(model, step_size=0.5), p, np.zeros((1, 1)), steps=500).residual <= 1e-15


def test_relaxation_does_not_touch_its_arguments():
    model, p, x, y = problem(1)
    start = relax(model, p, x, steps=3).state
    copies = [{name: array.copy() for name, array in arrays.items()} for arrays in (p, start)]
    relax(model, p, x, start, steps=5, targets=y, nudge=0.3)
    equilibrium_propagation(model, p, x, y, **PHASES, nudge=0.1)
    for arrays, copy in zip((p, start), copies, strict=True):
        assert all(np.array_equal(arrays[name], copy[name]) for name in arrays)


def test_a_diverging_network_is_reported_in_words():
    model = PrototypicalNetwork((2, 3, 2), activation="identity")
    _, p, x, y = problem(2, model, scale=20.0)
    with pytest.raises(FloatingPointError, match="does not settle"):
        relax(model, p, x, steps=2000)
    with pytest.raises(FloatingPointError, match="does not settle"):
        equilibrium_propagation(model, p, x, y, free_steps=2000, nudged_steps=5, nudge=0.1)


# ---------------------------------------------------------------- estimates


@given(seed=seeds)
def test_the_estimate_is_the_contrast_of_two_relaxations(seed):
    model, p, x, y = problem(seed)
    nudge = 0.3
    free = relax(model, p, x, steps=9).state
    plus = relax(model, p, x, free, steps=4, targets=y, nudge=nudge).state
    minus = relax(model, p, x, free, steps=4, targets=y, nudge=-nudge).state
    products = {key: model.primitive_gradient(p, s, x) for key, s in (("0", free), ("+", plus), ("-", minus))}
    phases = {"free_steps": 9, "nudged_steps": 4, "nudge": nudge}
    one_sided = equilibrium_propagation(model, p, x, y, **phases)
    symmetric = equilibrium_propagation(model, p, x, y, **phases, symmetric=True)
    for name in p:
        expected = -(products["+"][name] - products["0"][name]) / (nudge * len(x))
        np.testing.assert_allclose(one_sided.gradients[name], expected, rtol=1e-12, atol=1e-15)
        expected = -(products["+"][name] - products["-"][name]) / (2 * nudge * len(x))
        np.testing.assert_allclose(symmetric.gradients[name], expected, rtol=1e-12, atol=1e-15)
    assert one_sided.loss == model.loss(p, free, y)
    assert np.array_equal(one_sided.diagnostics.outputs, free["layer.0"])
    assert one_sided.diagnostics.residual == model.residual(p, free, x)
    assert one_sided.diagnostics.steps_executed == 9 + 2 + 4  # two for the residuals of the free phase
    assert symmetric.diagnostics.steps_executed == 9 + 2 + 4 + 4


@given(seed=seeds)
def test_in_the_limit_it_is_the_exact_gradient(seed):
    model, p, x, y = problem(seed)
    # the whole sums need half of the steps to spare: their tails fall like the residual, times the steps
    assume(relax(model, p, x, steps=300).residual < 1e-12)
    free = relax(model, p, x, steps=600)
    truth = implicit_gradient(model, p, x, y, free.state)
    assume(min(np.abs(array).max() for array in truth.values()) > 1e-3)
    limit = equilibrium_propagation(model, p, x, y, free_steps=600, nudged_steps=600, nudge=LIMIT)
    close(limit.gradients, truth, 1e-11)
    close(bptt_convergent(model, p, x, y, free_steps=600).gradients, truth, 1e-11)
    # and it is a descent direction with the right sign and size at a finite nudge
    finite = equilibrium_propagation(
        model, p, x, y, free_steps=600, nudged_steps=600, nudge=1e-5, symmetric=True
    )
    close(finite.gradients, truth, 1e-5)


def test_the_sign_is_that_of_the_gradient():
    model, p, x, y = problem(3, EnergyBasedNetwork((2, 5, 4)))
    result = equilibrium_propagation(model, p, x, y, **PHASES, nudge=0.05, symmetric=True)
    moved = {name: p[name] - 0.05 * result.gradients[name] for name in p}
    assert model.loss(moved, relax(model, moved, x, steps=400).state, y) < result.loss


@given(seed=seeds)
def test_the_estimators_meet_where_they_should(seed):
    """N = 1 is the one-sided rule and N = 2 the symmetric one."""
    model, p, x, y = problem(seed)
    for points, symmetric in ((1, False), (2, True)):
        ours = equilibrium_propagation(model, p, x, y, **PHASES, nudge=0.2, symmetric=symmetric)
        other = holomorphic_equilibrium_propagation(model, p, x, y, **PHASES, nudge=0.2, points=points)
        for name in p:
            np.testing.assert_allclose(other.gradients[name], ours.gradients[name], rtol=1e-9, atol=1e-13)
            assert other.gradients[name].dtype == np.float64


def test_more_points_come_closer():
    model, p, x, y = problem(4, EnergyBasedNetwork((2, 4, 3), step_size=0.3))
    truth = bptt_convergent(model, p, x, y, free_steps=400, steps_back=30).gradients
    errors = []
    for points in (2, 4, 8):
        result = holomorphic_equilibrium_propagation(model, p, x, y, **PHASES, nudge=0.1, points=points)
        errors.append(max(np.abs(result.gradients[name] - truth[name]).max() for name in p))
    assert errors[2] < errors[1] / 10 < errors[0] / 100


def test_what_is_kept_for_the_contrast():
    """The free state, one of two nudged ones, for N points a complex accumulator a parameter; any T, K, N."""
    model, p, x, y = problem(21, EnergyBasedNetwork((2, 4, 3)), batch=5)
    states, entries = 5 * (2 + 4), 2 * 4 + 2 + 4 * 3 + 4
    for steps in (3, 30):
        phases = {"free_steps": steps, "nudged_steps": steps, "nudge": 0.1}
        for symmetric in (False, True):
            result = equilibrium_propagation(model, p, x, y, **phases, symmetric=symmetric)
            assert result.diagnostics.bytes_kept == 8 * states * (1 + symmetric)
        for points in (1, 4):
            result = holomorphic_equilibrium_propagation(model, p, x, y, **phases, points=points)
            assert result.diagnostics.bytes_kept == 8 * states + 16 * entries
            assert result.diagnostics.steps_executed == steps + 2 + steps * points


def test_a_warm_start_has_the_same_limit():
    model, p, x, y = problem(5, EnergyBasedNetwork((2, 4, 3), step_size=0.3))
    long = {"free_steps": 400, "nudged_steps": 400, "nudge": 0.1, "points": 4}
    cold = holomorphic_equilibrium_propagation(model, p, x, y, **long).gradients
    warm = holomorphic_equilibrium_propagation(model, p, x, y, **long, warm_start=True).gradients
    close(warm, cold, 1e-12)
    short = {**long, "nudged_steps": 5}
    cold = holomorphic_equilibrium_propagation(model, p, x, y, **short).gradients
    warm = holomorphic_equilibrium_propagation(model, p, x, y, **short, warm_start=True).gradients
    assert np.abs(warm[W0] - cold[W0]).max() > 1e-6


# ---------------------------------------------------------------- backpropagation


@given(seed=seeds, steps=st.integers(1, 8))
def test_full_bptt_is_the_gradient_of_the_unrolled_loss(seed, steps):
    model, p, x, y = problem(seed)
    truth = complex_step_gradient(lambda q: model.loss(q, relax(model, q, x, steps=steps).state, y), p)
    result = bptt_convergent(model, p, x, y, free_steps=steps)
    for name in p:
        np.testing.assert_allclose(result.gradients[name], truth[name], rtol=1e-11, atol=1e-15)
    assert np.abs(truth["coupling.0.1.bias"]).max() > 0


@given(seed=seeds)
def test_truncated_bptt_detaches_the_state_before(seed):
    model, p, x, y = problem(seed)
    before = relax(model, p, x, steps=5).state
    truth = complex_step_gradient(lambda q: model.loss(q, relax(model, q, x, before, steps=4).state, y), p)
    result = bptt_convergent(model, p, x, y, free_steps=9, steps_back=4)
    for name in p:
        np.testing.assert_allclose(result.gradients[name], truth[name], rtol=1e-11, atol=1e-15)
    assert result.diagnostics.bytes_kept == 5 * sum(array.nbytes for array in before.values())


# ---------------------------------------------------------------- processes


@given(seed=seeds)
def test_updates_match_gradients_step_by_step(seed):
    model, p, x, y = problem(seed)
    free = relax(model, p, x, steps=600, keep_last=13)
    assume(free.residual < 1e-14)
    updates = equilibrium_processes(model, p, x, y, free, steps=12, nudge=LIMIT)
    gradients = bptt_processes(model, p, x, y, free, steps=12)
    for ours, theirs in ((updates.states, gradients.states), (updates.parameters, gradients.parameters)):
        for name in theirs:
            np.testing.assert_allclose(ours[name], -theirs[name], rtol=1e-9, atol=1e-13)
    assert np.abs(gradients.states["layer.0"]).max() > 1e-4
    for name, total in gradients.total().items():
        truncated = bptt_convergent(model, p, x, y, free_steps=600, steps_back=12).gradients[name]
        np.testing.assert_allclose(total, truncated, rtol=1e-11, atol=1e-15)


@given(seed=seeds)
def test_gradient_processes_sum_to_bptt_where_nothing_has_settled(seed):
    model, p, x, y = problem(seed)
    free = relax(model, p, x, steps=6, keep_last=5)
    totals = bptt_processes(model, p, x, y, free, steps=4).total()
    truncated = bptt_convergent(model, p, x, y, free_steps=6, steps_back=4).gradients
    for name, total in totals.items():
        np.testing.assert_allclose(total, truncated[name], rtol=1e-12, atol=1e-15)


def test_shapes_and_units_of_the_processes():
    model, p, x, y = problem(6, toy_network((2, 4, 3), step_size=0.25), batch=5)
    free = relax(model, p, x, steps=7, keep_last=4)
    updates = equilibrium_processes(model, p, x, y, free, steps=3, nudge=0.2)
    gradients = bptt_processes(model, p, x, y, free, steps=3)
    for processes in (updates, gradients):
        assert {name: array.shape for name, array in processes.states.items()} == {
            "layer.0": (3, 5, 2),
            "layer.1": (3, 5, 4),
        }
        assert {name: array.shape for name, array in processes.parameters.items()} == {
            name: (3, *shape) for name, shape in model.parameter_shapes().items()
        }
    after = model.step(p, free.state, x, y, 0.2)
    drift = (after["layer.0"] - free.state["layer.0"]) / (0.25 * 0.2 * 5)
    np.testing.assert_allclose(updates.states["layer.0"][0], drift, rtol=1e-12)
    np.testing.assert_allclose(gradients.states["layer.0"][0], (free.state["layer.0"] - y) / 5, rtol=1e-12)
    start = {"layer.0": np.ones((5, 2)), "layer.1": np.zeros((5, 4))}
    assert (bptt_processes(model, p, x, y, free, steps=1, start=start).states["layer.0"] == 1).all()


def test_the_processes_of_an_untied_network_are_motions_times_rates():
    """(E21), written out: the motion of one side times what it reads before it moves."""
    model, p, x, y = problem(7, PrototypicalNetwork((2, 3, 4), tied=False), batch=3)
    free = relax(model, p, x, steps=50, keep_last=4)
    updates = equilibrium_processes(model, p, x, y, free, steps=3, nudge=0.2)
    kept = relax(model, p, x, free.state, steps=3, targets=y, nudge=0.2, keep_last=4).kept
    for t in range(3):
        top, hidden = (kept[t][name] for name in ("layer.0", "layer.1"))
        top_moved, hidden_moved = (kept[t + 1][name] - kept[t][name] for name in ("layer.0", "layer.1"))
        expected = {
            W0: top_moved.T @ hidden,
            "coupling.0.1.bias": top_moved.sum(axis=0),
            "coupling.0.1.feedback": hidden_moved.T @ top,
            "coupling.1.2.weight": hidden_moved.T @ x,
            "coupling.1.2.bias": hidden_moved.sum(axis=0),
        }
        assert updates.parameters.keys() == expected.keys()
        for name, product in expected.items():
            np.testing.assert_allclose(updates.parameters[name][t], product / 0.2 / 3, rtol=1e-12, atol=1e-14)
    assert np.abs(updates.parameters["coupling.0.1.feedback"]).max() > 1e-3


def test_relative_rmse_is_the_published_metric():
    rng = np.random.default_rng(8)
    d, n = rng.normal(size=(6, 2, 3)), rng.normal(size=(6, 2, 3))
    d[:, 0, 0] = n[:, 0, 0] = 0
    d[:, 0, 1] = -n[:, 0, 1]
    d[:, 0, 2] = n[:, 0, 2]
    metric = relative_rmse(d, n)
    assert metric[0].tolist() == [0.0, 2.0, 0.0]
    for index in ((1, 0), (1, 1), (1, 2)):
        a, b = d[(slice(None), *index)], n[(slice(None), *index)]
        expected = np.sqrt(sum((b - a) ** 2) / max(sum(b**2), sum(a**2)))
        assert metric[index] == pytest.approx(expected, rel=1e-14)
    with pytest.raises(ValueError, match="second"):
        relative_rmse(d, n[1:])


def test_compare_processes_sums_states_and_cumulates_parameters():
    rng = np.random.default_rng(9)
    states = {"layer.0": rng.normal(size=(4, 3, 2)), "layer.1": rng.normal(size=(4, 3, 2))}
    parameters = {"bias": rng.normal(size=(4, 2))}
    updates = Processes(states, parameters)
    gradients = Processes(
        {name: -array + rng.normal(size=array.shape) for name, array in states.items()},
        {"bias": -parameters["bias"] + rng.normal(size=(4, 2))},
    )
    compared = compare_processes(updates, gradients)
    states_error = relative_rmse(-states["layer.0"].sum(1), gradients.states["layer.0"].sum(1))
    assert compared["layer.0"] == (
        pytest.approx(states_error.mean()),
        pytest.approx(states_error.std(ddof=1)),
    )
    bias_error = relative_rmse(-parameters["bias"].cumsum(0), gradients.parameters["bias"].cumsum(0))
    assert compared["bias"][0] == pytest.approx(bias_error.mean())
    masked = compare_processes(updates, gradients, mask=True)
    late = relative_rmse(-states["layer.1"][1:].sum(1), gradients.states["layer.1"][1:].sum(1))
    assert masked["layer.1"][0] == pytest.approx(late.mean())
    assert masked["layer.0"] == compared["layer.0"]


# ---------------------------------------------------------------- corners


@pytest.mark.parametrize("activation", ["tanh", "sigm", "hardsigm", "identity"])
@pytest.mark.parametrize("family", [EnergyBasedNetwork, PrototypicalNetwork])
def test_float32_stays_float32(family, activation):
    model = family((3, 5, 4), activation=activation)
    _, p, x, y = problem(10, model, np.float32, scale=0.5)
    phases = {"free_steps": 20, "nudged_steps": 5}
    results = [
        equilibrium_propagation(model, p, x, y, **phases, nudge=np.float64(0.1), symmetric=True),
        bptt_convergent(model, p, x, y, free_steps=20, steps_back=5),
    ]
    if activation != "hardsigm":
        results.append(holomorphic_equilibrium_propagation(model, p, x, y, **phases, nudge=0.1))
    free = relax(model, p, x, steps=20, keep_last=4)
    updates = equilibrium_processes(model, p, x, y, free, steps=3, nudge=0.1)
    gradients = bptt_processes(model, p, x, y, free, steps=3)
    dictionaries = [result.gradients for result in results]
    dictionaries += [free.state, updates.states, updates.parameters, gradients.states, gradients.parameters]
    for arrays in dictionaries:
        assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    assert {result.diagnostics.outputs.dtype for result in results} == {np.dtype(np.float32)}
    assert all(isinstance(result.loss, float) for result in results)


def test_one_step_one_sample_one_unit():
    model, p, x, y = problem(11, PrototypicalNetwork((1, 1)), batch=1)
    result = equilibrium_propagation(model, p, x, y, free_steps=1, nudged_steps=1, nudge=0.5)
    s = np.tanh(p[W0][0, 0] * x[0, 0] + p["coupling.0.1.bias"][0])
    update = 0.5 * (y[0, 0] - s) / 0.5
    assert result.gradients["coupling.0.1.bias"][0] == pytest.approx(-update, rel=1e-13)
    assert result.gradients[W0][0, 0] == pytest.approx(-update * x[0, 0], rel=1e-13)
    # BPTT of the same step knows sigma', which the outside nudge does not
    back = bptt_convergent(model, p, x, y, free_steps=1).gradients
    assert back["coupling.0.1.bias"][0] == pytest.approx((s - y[0, 0]) * (1 - s * s), rel=1e-13)


def test_saturated_hard_sigmoid():
    """All units at 1: nothing for BPTT, everything for the outside nudge, nothing for the inside one."""
    outside = PrototypicalNetwork((3, 4, 2), activation="hardsigm")
    p = {name: np.ones(shape) for name, shape in outside.parameter_shapes().items()}
    x, y = np.full((2, 2), 0.5), np.eye(3)[:2]
    gradients = bptt_convergent(outside, p, x, y, free_steps=10).gradients
    assert all(not array.any() for array in gradients.values())
    phases = {"free_steps": 10, "nudged_steps": 1, "nudge": 0.25}
    update = -equilibrium_propagation(outside, p, x, y, **phases).gradients[W0]
    np.testing.assert_allclose(update, np.repeat((y - 1).mean(0)[:, None], 4, axis=1), rtol=1e-14)
    inside = replace(outside, nudge_placement="inside")
    quiet = equilibrium_propagation(inside, p, x, y, **phases).gradients
    assert all(not array.any() for array in quiet.values())


def test_a_few_updates_learn():
    rng = np.random.default_rng(12)
    model = PrototypicalNetwork((3, 12, 6), activation="sigm", nudge_placement="inside")
    centres = rng.uniform(size=(3, 6))
    labels = rng.integers(3, size=60)
    x, y = np.clip(centres[labels] + 0.1 * rng.normal(size=(60, 6)), 0, 1), np.eye(3)[labels]
    p = model.initialise(rng)
    losses = []
    for _ in range(60):
        result = equilibrium_propagation(
            model, p, x, y, free_steps=30, nudged_steps=10, nudge=0.2, symmetric=True
        )
        p = {name: p[name] - 0.5 * result.gradients[name] for name in p}
        losses.append(result.loss)
    assert losses[-1] < 0.5 * losses[0]
