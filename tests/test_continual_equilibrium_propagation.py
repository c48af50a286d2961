"""Continual equilibrium propagation: beside loops of plain matrices, and in the limit of slow learning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from equilibrium_cases import LIMIT, PLAIN, WIDTHS, convolutional, draw, energy, prototypical, rest, worst
from hypothesis import given
from hypothesis import strategies as st

from refsnn.algorithms.continual_equilibrium_propagation import continual_equilibrium_propagation
from refsnn.algorithms.equilibrium_propagation import equilibrium_propagation
from refsnn.algorithms.processes import equilibrium_processes
from refsnn.algorithms.relaxation import relax
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork

seeds = st.integers(0, 2**32 - 1)
W0, B0, V0, W1, B1 = (
    "coupling.0.1.weight",
    "coupling.0.1.bias",
    "coupling.0.1.feedback",
    "coupling.1.2.weight",
    "coupling.1.2.bias",
)


def loops(kind, p, x, y, state, steps, beta, eta, epsilon, rho, rho_slope):
    """(A6) for output, one hidden layer and input, in matrices: EPdisc, EPcont, VFdisc, VFcont.

    `epsilon` is 1 in the discrete ones.  The continuous ones read through rho; EPcont gates the hidden
    layer only (the authors' output rule), VFcont none.
    """
    w0, b0, w1, b1 = p[W0].copy(), p[B0].copy(), p[W1].copy(), p[B1].copy()
    v0 = p[V0].copy() if kind.startswith("VF") else None
    s0, s1 = state["layer.0"], state["layer.1"]
    h = rho if kind.endswith("cont") else (lambda s: s)
    scale = 1 / (beta * len(x))
    for _ in range(steps):
        u0 = h(s1) @ w0.T + b0
        u1 = h(x) @ w1.T + b1 + h(s0) @ (w0 if v0 is None else v0.T)
        if kind.endswith("disc"):
            drift0, drift1 = rho(u0) - s0, rho(u1) - s1
        elif kind == "EPcont":
            drift0, drift1 = u0 - s0, rho_slope(s1) * u1 - s1
        else:
            drift0, drift1 = u0 - s0, u1 - s1
        n0, n1 = s0 + epsilon * (drift0 + beta * (y - s0)), s1 + epsilon * drift1
        if v0 is None:
            w0 = w0 + eta[W0] * scale * (h(n0).T @ h(n1) - h(s0).T @ h(s1))
            w1 = w1 + eta[W1] * scale * (h(n1).T @ h(x) - h(s1).T @ h(x))
            b0 = b0 + eta[B0] * scale * (h(n0) - h(s0)).sum(0)
            b1 = b1 + eta[B1] * scale * (h(n1) - h(s1)).sum(0)
        else:
            w0 = w0 + eta[W0] * scale * (n0 - s0).T @ h(s1)
            v0 = v0 + eta[V0] * scale * (n1 - s1).T @ h(s0)
            w1 = w1 + eta[W1] * scale * (n1 - s1).T @ h(x)
            b0 = b0 + eta[B0] * scale * (n0 - s0).sum(0)
            b1 = b1 + eta[B1] * scale * (n1 - s1).sum(0)
        s0, s1 = n0, n1
    learned = {W0: w0, B0: b0, W1: w1, B1: b1}
    return learned if v0 is None else {**learned, V0: v0}


def sigm(z):
    return 1 / (1 + np.exp(-4 * (z - 0.5)))


def sigm_slope(z):
    return 4 * sigm(z) * (1 - sigm(z))


def tanh_slope(z):
    return 1 - np.tanh(z) ** 2


OFFICIAL = {
    "EPdisc": {"tied": True},
    "EPcont": {"tied": True, "output": "official"},
    "VFdisc": {"tied": False},
    "VFcont": {"tied": False, "gated": False, "output": "official"},
}


@given(
    seed=seeds, kind=st.sampled_from(list(OFFICIAL)), activation=st.sampled_from(["tanh", "sigm"]),
    beta=st.sampled_from([0.4, -0.3]), free_steps=st.integers(8, 30),
)  # fmt: skip
def test_it_is_the_loop_of_plain_matrices(seed, kind, activation, beta, free_steps):
    """Settled or not, at a learning rate that moves the parameters visibly, for every coupling its own."""
    epsilon = 1.0 if kind.endswith("disc") else 0.3
    family = PrototypicalNetwork if kind.endswith("disc") else EnergyBasedNetwork
    model = family(WIDTHS, activation=activation, step_size=epsilon, **OFFICIAL[kind])
    model, p, x, y = draw(seed, model)
    eta = {W0: 0.2, B0: 0.3, W1: 0.4, B1: 0.0 if kind == "VFdisc" else 0.5, V0: 0.25}
    eta = {name: eta[name] for name in p}
    free = relax(model, p, x, steps=free_steps, **PLAIN)
    functions = (sigm, sigm_slope) if activation == "sigm" else (np.tanh, tanh_slope)
    expected = loops(kind, p, x, y, free.state, 8, beta, eta, epsilon, *functions)
    result = continual_equilibrium_propagation(
        model, p, x, y, free_steps=free_steps, nudged_steps=8, nudge=beta, learning_rates=eta, **PLAIN
    )
    for name in p:
        np.testing.assert_allclose(result.parameters[name], expected[name], rtol=1e-11, atol=1e-13)
        if eta[name] > 0:
            assert np.abs(result.parameters[name] - p[name]).max() > 1e-5
        else:
            assert np.array_equal(result.parameters[name], p[name])


NETWORKS = [
    energy(),
    energy(tied=False),
    prototypical(),
    prototypical(tied=False, nudge_placement="inside"),
    prototypical(readout=4, loss_function="cross_entropy"),
    convolutional(PrototypicalNetwork, pooling="max"),
    convolutional(PrototypicalNetwork, readout=3, loss_function="cross_entropy", tied=False),
]


@pytest.mark.parametrize("model", NETWORKS, ids=range(len(NETWORKS)))
def test_without_learning_the_processes_are_those_of_equilibrium_propagation(model):
    model, p, x, y = draw(0, model)
    free = relax(model, p, x, steps=60, **PLAIN)
    phases = {"free_steps": 60, "nudged_steps": 9, "nudge": 0.2, **PLAIN}
    still = continual_equilibrium_propagation(model, p, x, y, **phases, learning_rates=0, keep_processes=True)
    plain = equilibrium_processes(model, p, x, y, free, steps=9, nudge=0.2)
    assert worst(still.processes.states, plain.states) <= 1e-13
    assert worst(still.processes.parameters, plain.parameters) <= 1e-12
    assert all(np.array_equal(still.parameters[name], p[name]) for name in p)
    assert worst(still.gradients, plain.total(), sign=-1) <= 1e-11


@pytest.mark.parametrize("model", [energy(), prototypical(), prototypical(tied=False)])
def test_the_error_is_of_first_order_in_the_learning_rate_over_the_nudge(model):
    model, p, x, y = draw(1, model, scale=0.8)
    free = rest(model, p, x, steps=1500, drop=False)
    phases = {"free_steps": 1500, "nudged_steps": 15, **PLAIN}

    def error(eta, beta):
        learning = continual_equilibrium_propagation(
            model, p, x, y, **phases, nudge=beta, learning_rates=eta, keep_processes=True
        )
        plain = equilibrium_processes(model, p, x, y, free, steps=15, nudge=beta)
        return worst(learning.processes.parameters, plain.parameters)

    coarse, fine = error(1e-6, 1e-3), error(1e-7, 1e-3)
    assert coarse > 1e-5
    assert coarse / fine == pytest.approx(10, abs=0.2)
    assert error(1e-5, 1e-2) == pytest.approx(coarse, rel=0.1)


@given(seed=seeds, tied=st.booleans(), eta=st.floats(1e-3, 0.5))
def test_increments_gradients_and_parameters_tell_one_story(seed, tied, eta):
    model, p, x, y = draw(seed, prototypical(tied=tied))
    copy = {name: array.copy() for name, array in p.items()}
    phases = {"free_steps": 30, "nudge": 0.3, "learning_rates": eta, "keep_processes": True, **PLAIN}
    results = [continual_equilibrium_propagation(model, p, x, y, nudged_steps=k, **phases) for k in (1, 2, 3)]
    assert all(np.array_equal(copy[name], p[name]) for name in p)
    before = p
    for t, result in enumerate(results):
        for name in p:  # the t-th increment is what the t-th step adds
            increment = eta * results[-1].processes.parameters[name][t]
            moved = result.parameters[name] - before[name]
            np.testing.assert_allclose(moved, increment, rtol=1e-9, atol=1e-15)
            equivalent = (p[name] - result.parameters[name]) / eta
            np.testing.assert_allclose(result.gradients[name], equivalent, rtol=1e-9, atol=1e-12)
            total = -result.processes.parameters[name].sum(axis=0)
            np.testing.assert_allclose(result.gradients[name], total, rtol=1e-12, atol=1e-15)
        before = result.parameters


def test_maxima_are_those_under_the_parameters_of_the_step():
    """Kernels that learn fast move the maxima, so that the products do depend on theta."""
    model, p, x, y = draw(2, convolutional(PrototypicalNetwork, pooling="max"))
    eta, beta = 5.0, 0.5
    learned = {}
    for when in ("now", "before"):
        theta, state = p, relax(model, p, x, steps=20, **PLAIN).state
        for _ in range(4):
            after = model.step(theta, state, x, y, beta)
            under = theta if when == "now" else p
            products = [model.primitive_gradient(under, s, x) for s in (after, state)]
            theta = {
                name: theta[name] + eta / (beta * len(x)) * (products[0][name] - products[1][name])
                for name in theta
            }
            state = after
        learned[when] = theta
    result = continual_equilibrium_propagation(
        model, p, x, y, free_steps=20, nudged_steps=4, nudge=beta, learning_rates=eta, **PLAIN
    )
    assert worst(result.parameters, learned["now"]) <= 1e-11
    assert worst(learned["before"], learned["now"]) > 1e-6


def test_a_readout_learns_while_the_network_does():
    """One linear layer under a softmax: every line of the loop by hand."""
    model = PrototypicalNetwork(
        (3, 4), activation="identity", readout=2, loss_function="cross_entropy", nudge_placement="inside"
    )
    model, p, x, y = draw(2, model)
    eta, beta = 0.3, 0.4
    w, b, r, c = (p[name].copy() for name in (W0, B0, "readout.weight", "readout.bias"))
    s = x @ w.T + b
    felt = [np.zeros_like(r), np.zeros_like(c)]
    for step in range(4):

        def error(s, r=r, c=c):
            z = np.exp(s @ r.T + c)
            return (y - z / z.sum(1, keepdims=True)) / len(x)

        n = x @ w.T + b + beta * len(x) * error(s) @ r
        w, b = w + eta / (beta * len(x)) * (n - s).T @ x, b + eta / (beta * len(x)) * (n - s).sum(0)
        felt = [np.zeros_like(r), np.zeros_like(c)] if step == 0 else [error(s).T @ s, error(s).sum(0)]
        r, c = r + eta * (error(n).T @ n - felt[0]), c + eta * (error(n).sum(0) - felt[1])
        s = n
    result = continual_equilibrium_propagation(
        model, p, x, y, free_steps=4, nudged_steps=4, nudge=beta, learning_rates=eta, **PLAIN
    )
    for name, expected in ((W0, w), (B0, b), ("readout.weight", r), ("readout.bias", c)):
        np.testing.assert_allclose(result.parameters[name], expected, rtol=1e-12, atol=1e-14)
        assert np.abs(expected - p[name]).max() > 1e-4


def test_diagnostics():
    model, p, x, y = draw(3, energy())
    free = relax(model, p, x, steps=20, **PLAIN)
    phases = {"free_steps": 20, "nudged_steps": 5, "nudge": 0.1, "learning_rates": 0.1, **PLAIN}
    result = continual_equilibrium_propagation(model, p, x, y, **phases)
    assert result.processes is None
    assert result.loss == model.loss(p, free.state, y)
    assert result.diagnostics.residual == free.residual
    assert result.diagnostics.steps_executed == free.steps_executed + 5
    assert np.array_equal(result.diagnostics.outputs, free.state["layer.0"])
    sizes = sum(array.nbytes for array in p.values())
    assert result.diagnostics.bytes_kept == sizes
    kept = continual_equilibrium_propagation(model, p, x, y, **phases, keep_processes=True)
    states = sum(array.nbytes for array in free.state.values())
    assert kept.diagnostics.bytes_kept == 6 * sizes + 5 * states


def test_the_estimate_at_a_small_rate_is_that_of_equilibrium_propagation():
    model, p, x, y = draw(4, energy())
    phases = {"free_steps": 400, "nudged_steps": 30, "nudge": 0.05, **PLAIN}
    plain = equilibrium_propagation(model, p, x, y, **phases).gradients
    slow = continual_equilibrium_propagation(model, p, x, y, **phases, learning_rates=1e-9).gradients
    assert worst(slow, plain) <= 1e-6
    fast = continual_equilibrium_propagation(model, p, x, y, **phases, learning_rates=0.01).gradients
    assert worst(fast, plain) > 1e-2


def test_a_few_mini_batches_learn():
    for tied in (True, False):
        rng = np.random.default_rng(5)
        model = PrototypicalNetwork((3, 12, 6), activation="sigm", tied=tied)
        centres, labels = rng.uniform(size=(3, 6)), rng.integers(3, size=60)
        x, y = np.clip(centres[labels] + 0.1 * rng.normal(size=(60, 6)), 0, 1), np.eye(3)[labels]
        p, losses = model.initialise(rng), []
        for _ in range(150):
            result = continual_equilibrium_propagation(
                model, p, x, y, free_steps=30, nudged_steps=10, nudge=0.5, learning_rates=0.1, **PLAIN
            )
            p = result.parameters
            losses.append(result.loss)
        assert losses[-1] < 0.2 * losses[0]


def test_float32_stays_float32():
    for model in (energy(activation="hardsigm", clamp=True), prototypical(tied=False)):
        problem = draw(6, model, dtype=np.float32)
        result = continual_equilibrium_propagation(
            *problem,
            free_steps=20,
            nudged_steps=3,
            nudge=0.1,
            learning_rates=0.1,
            keep_processes=True,
            **PLAIN,
        )
        dictionaries = (
            result.gradients, result.parameters, result.processes.states, result.processes.parameters
        )  # fmt: skip
        for arrays in dictionaries:
            assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


def test_runaway_parameters_are_reported_in_words():
    problem = draw(7, replace(prototypical(), activation="identity"))
    phases = {"free_steps": 300, "nudged_steps": 300, "nudge": 1e-3, **PLAIN}
    with pytest.raises(FloatingPointError, match="does not settle"):
        continual_equilibrium_propagation(*problem, **phases, learning_rates=1e3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"nudge": 0}, ValueError, "nudge: expected a number other than 0"),
        ({"nudge": LIMIT}, TypeError, "nudge: expected a real number"),
        ({"free_steps": 0}, ValueError, "free_steps"),
        ({"nudged_steps": 0}, ValueError, "nudged_steps"),
        ({"learning_rates": -0.1}, ValueError, r"learning_rates: expected a finite number in \[0, inf\)"),
        ({"learning_rates": float("nan")}, ValueError, "learning_rates"),
        ({"learning_rates": True}, TypeError, "learning_rates: expected a real number"),
        ({"learning_rates": [0.1, 0.2]}, TypeError, "learning_rates: expected a real number"),
        ({"learning_rates": {W0: 0.1, B0: 0.1, W1: 0.1}}, ValueError, r"missing \['coupling.1.2.bias'\]"),
        ({"learning_rates": {W0: 0.1, B0: 0.1, W1: 0.1, B1: 0.1, V0: 0.1}}, ValueError, "unknown .*feedback"),
        ({"learning_rates": {W0: 0.1, B0: 0.1, W1: 0.1, B1: -1}}, ValueError, r"1.2.bias'\]: expected"),
        ({"keep_processes": 1}, TypeError, "keep_processes: expected a bool"),
        ({"backend": "gpu"}, ValueError, "backend"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(options, error, message):
    phases = {"free_steps": 9, "nudged_steps": 3, "nudge": 0.1, "learning_rates": 0.1, **PLAIN}
    with pytest.raises(error, match=message):
        continual_equilibrium_propagation(*draw(8, prototypical()), **{**phases, **options})


def test_complex_parameters_are_refused():
    model, p, x, y = draw(9, prototypical())
    phases = {"free_steps": 9, "nudged_steps": 3, "nudge": 0.1, "learning_rates": 0.1, **PLAIN}
    with pytest.raises(TypeError, match="expected real arrays"):
        continual_equilibrium_propagation(model, {**p, W0: p[W0] + 0j}, x, y, **phases)
    with pytest.raises(TypeError, match="targets"):
        continual_equilibrium_propagation(model, p, x, None, **phases)
