"""Vector-field equilibrium propagation, and the correction that makes it exact."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from equilibrium_cases import (
    LIMIT,
    PLAIN,
    convolutional,
    draw,
    energy,
    prototypical,
    rest,
    tied_feedback,
    worst,
)
from hypothesis import given
from hypothesis import strategies as st

from refsnn.algorithms.bptt_convergent import bptt_convergent
from refsnn.algorithms.continual_equilibrium_propagation import continual_equilibrium_propagation
from refsnn.algorithms.equilibrium_propagation import equilibrium_propagation
from refsnn.algorithms.nonconservative_equilibrium_propagation import (
    nonconservative_equilibrium_propagation,
    nonconservative_processes,
)
from refsnn.algorithms.processes import bptt_processes, equilibrium_processes
from refsnn.algorithms.relaxation import relax
from refsnn.algorithms.vector_field_equilibrium_propagation import vector_field_equilibrium_propagation
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork
from refsnn.oracles.fixed_point import implicit_gradient

seeds = st.integers(0, 2**32 - 1)
W0, B0, V0 = "coupling.0.1.weight", "coupling.0.1.bias", "coupling.0.1.feedback"
W1, B1 = "coupling.1.2.weight", "coupling.1.2.bias"
SETTLE = {"free_steps": 500, **PLAIN}


def times_output_slope(model, parameters, state, error):
    """An error of the output layer times sigma'(u_0), by the complex step through the free map alone."""
    force = {name: np.zeros_like(array) for name, array in state.items()}
    bias = {**parameters, B0: parameters[B0] + 1e-30j}
    arriving = state["layer.1"] @ parameters[W0].T + parameters[B0]
    alone = replace(model, widths=model.widths[:2], couplings=(), tied=True)
    slope = alone.step({W0: parameters[W0], B0: bias[B0]}, {"layer.0": arriving}, state["layer.1"])
    force["layer.0"] = error * slope["layer.0"].imag / 1e-30 / model.step_size
    return force


# ---------------------------------------------------------------- vector fields


@given(
    seed=seeds, epsilon=st.sampled_from([1.0, 0.4]), activation=st.sampled_from(["tanh", "sigm"]),
    steps=st.integers(2, 30),
)  # fmt: skip
def test_a_symmetric_vector_field_nudged_inside_is_bptt(seed, epsilon, activation, steps):
    untied = prototypical(tied=False, nudge_placement="inside", step_size=epsilon, activation=activation)
    model, p, x, y = draw(seed, untied)
    p = tied_feedback(model, p)
    rest(model, p, x)
    ours = vector_field_equilibrium_propagation(
        model, p, x, y, **SETTLE, nudged_steps=steps, nudge=LIMIT
    ).gradients
    theirs = bptt_convergent(model, p, x, y, **SETTLE, steps_back=steps).gradients
    assert worst(ours, theirs) <= 1e-11
    tied = replace(model, tied=True)
    shared = {name: p[name] for name in tied.parameter_shapes()}
    both = bptt_convergent(tied, shared, x, y, **SETTLE, steps_back=steps).gradients
    summed = {name: ours[name] + ours[V0].T if name == W0 else ours[name] for name in both}
    assert worst(summed, both) <= 1e-11
    # and the tied network takes the sum by itself
    alone = vector_field_equilibrium_propagation(
        tied, shared, x, y, **SETTLE, nudged_steps=steps, nudge=LIMIT
    )
    assert worst(alone.gradients, both) <= 1e-11


@pytest.mark.parametrize("pooling", ["average", "none"])
@pytest.mark.parametrize("readout", [None, 3])
def test_so_it_is_with_images(pooling, readout):
    loss = "mean_squared_error" if readout is None else "cross_entropy"
    model = convolutional(
        PrototypicalNetwork,
        pooling=pooling,
        tied=False,
        nudge_placement="inside",
        readout=readout,
        loss_function=loss,
        step_size=0.5,
    )
    model, p, x, y = draw(0, model, scale=0.6)
    p = tied_feedback(model, p)
    rest(model, p, x, drop=False)
    ours = vector_field_equilibrium_propagation(model, p, x, y, **SETTLE, nudged_steps=9, nudge=LIMIT)
    theirs = bptt_convergent(model, p, x, y, **SETTLE, steps_back=9)
    assert worst(ours.gradients, theirs.gradients) <= 1e-11


@given(seed=seeds)
def test_nudged_outside_it_descends_another_loss(seed):
    """The output error over sigma'(u_0): exact for that one, wrong for the loss itself."""
    model, p, x, y = draw(seed, prototypical(tied=False))
    p = tied_feedback(model, p)
    free = rest(model, p, x)
    ours = vector_field_equilibrium_propagation(
        model, p, x, y, **SETTLE, nudged_steps=20, nudge=LIMIT
    ).gradients
    error = model.loss_gradient(p, free.state, y)[0]["layer.0"]
    times = times_output_slope(model, p, free.state, np.ones_like(error))["layer.0"]
    start = {"layer.0": error / times, "layer.1": np.zeros_like(free.state["layer.1"])}
    divided = bptt_processes(model, p, x, y, free, steps=20, start=start).total()
    assert worst(ours, divided) <= 1e-11
    if times.min() < 0.9:
        assert worst(ours, bptt_processes(model, p, x, y, free, steps=20).total()) > 1e-3


@given(seed=seeds, beta=st.sampled_from([0.3, -0.2]), symmetric=st.booleans())
def test_the_rule_is_post_times_pre(seed, beta, symmetric):
    """(E21) in matrices, settled or not: prefactor 1 / (beta B) and no epsilon, pre at s_*."""
    for model in (energy(tied=False, gated=False), prototypical(tied=False, nudge_placement="inside")):
        _, p, x, y = draw(seed, model)
        result = vector_field_equilibrium_propagation(
            model, p, x, y, free_steps=7, nudged_steps=4, nudge=beta, symmetric=symmetric, **PLAIN
        )
        free = relax(model, p, x, steps=7, **PLAIN).state
        plus = relax(model, p, x, free, steps=4, targets=y, nudge=beta, **PLAIN).state
        minus = (
            relax(model, p, x, free, steps=4, targets=y, nudge=-beta, **PLAIN).state if symmetric else free
        )
        d0, d1 = ((plus[name] - minus[name]) / (beta * len(x)) for name in ("layer.0", "layer.1"))
        if symmetric:
            d0, d1 = d0 / 2, d1 / 2
        h = np.tanh if isinstance(model, EnergyBasedNetwork) else (lambda s: s)
        expected = {
            W0: d0.T @ h(free["layer.1"]),
            B0: d0.sum(0),
            V0: d1.T @ h(free["layer.0"]),
            W1: d1.T @ h(x),
            B1: d1.sum(0),
        }
        assert worst(result.gradients, expected, sign=-1) <= 1e-11
        assert result.loss == model.loss(p, free, y)
        assert result.diagnostics.steps_executed == 7 + 2 + 4 * (1 + symmetric)


def test_the_orders_of_the_vector_field():
    model, p, x, y = draw(1, prototypical(tied=False, nudge_placement="inside"))
    p = tied_feedback(model, p)
    rest(model, p, x, drop=False)
    truth = bptt_convergent(model, p, x, y, **SETTLE, steps_back=20).gradients
    for symmetric, beta, ratio in ((False, 1e-3, 2), (True, 4e-3, 4)):
        errors = []
        for nudge in (beta, beta / 2):
            result = vector_field_equilibrium_propagation(
                model, p, x, y, **SETTLE, nudged_steps=20, nudge=nudge, symmetric=symmetric
            )
            errors.append(worst(result.gradients, truth))
        assert errors[0] > 1e-7
        assert errors[0] / errors[1] == pytest.approx(ratio, rel=0.03)


def test_the_ends_and_the_sum_of_the_steps_meet_in_the_limit_only():
    """The later code takes the ends of the phase, the earlier one adds up steps."""
    model, p, x, y = draw(2, prototypical(tied=False, nudge_placement="inside"))
    free = rest(model, p, x, drop=False)
    phases = {**SETTLE, "nudged_steps": 12}
    ends = vector_field_equilibrium_propagation(model, p, x, y, **phases, nudge=LIMIT).gradients
    steps = equilibrium_processes(model, p, x, y, free, steps=12, nudge=LIMIT).total()
    assert worst(ends, steps, sign=-1) <= 1e-12
    ends = vector_field_equilibrium_propagation(model, p, x, y, **phases, nudge=0.5).gradients
    steps = continual_equilibrium_propagation(model, p, x, y, **phases, nudge=0.5, learning_rates=0).gradients
    assert worst(ends, steps) > 1e-3


# ---------------------------------------------------------------- the correction

EXACT = [
    energy(tied=False),
    energy(tied=False, output="linear", activation="sigm", step_size=0.7),
    energy(tied=False, output="official"),
    energy(tied=False, gated=False),
    energy(output="official"),
    prototypical(tied=False),
    prototypical(tied=False, step_size=0.4, activation="sigm"),
    prototypical(),
    prototypical(tied=False, nudge_placement="inside", output="linear"),
    prototypical(tied=False, readout=4, loss_function="cross_entropy"),
    convolutional(PrototypicalNetwork, tied=False, step_size=0.5),
    convolutional(EnergyBasedNetwork, tied=False, step_size=0.4, readout=3, loss_function="cross_entropy"),
]


@pytest.mark.parametrize("model", EXACT, ids=range(len(EXACT)))
@pytest.mark.parametrize("seed", [3, 4])
def test_with_the_correction_every_step_is_bptts(model, seed):
    model, p, x, y = draw(seed, model)
    free = rest(model, p, x, steps=1500, drop=False)
    gradients = bptt_processes(model, p, x, y, free, steps=15)
    exact = nonconservative_processes(model, p, x, y, free, steps=15, nudge=LIMIT)
    assert worst(exact.states, gradients.states, sign=-1) <= 1e-12
    assert worst(exact.parameters, gradients.parameters, sign=-1) <= 1e-11
    without = equilibrium_processes(model, p, x, y, free, steps=15, nudge=LIMIT)
    assert worst(without.states, gradients.states, sign=-1) > 1e-3
    # the whole of the phase, and one without end
    total = nonconservative_equilibrium_propagation(
        model, p, x, y, free_steps=1500, nudged_steps=15, nudge=LIMIT, **PLAIN
    )
    assert worst(total.gradients, gradients.total()) <= 1e-11
    assert total.loss == model.loss(p, free.state, y)


def test_a_long_phase_is_the_implicit_gradient():
    for model in (energy(tied=False), prototypical(tied=False)):
        _, p, x, y = draw(5, model)
        free = rest(model, p, x, drop=False)
        ours = nonconservative_equilibrium_propagation(
            model, p, x, y, **SETTLE, nudged_steps=500, nudge=LIMIT
        )
        assert worst(ours.gradients, implicit_gradient(model, p, x, y, free.state)) <= 1e-11


@pytest.mark.parametrize("model", [energy(tied=False), prototypical(tied=False)])
def test_the_error_is_of_first_order_with_and_constant_without(model):
    model, p, x, y = draw(6, model)
    free = rest(model, p, x, drop=False)
    gradients = bptt_processes(model, p, x, y, free, steps=25)
    corrected, plain = [], []
    for beta in (1e-3, 1e-4, 1e-5):
        ours = nonconservative_processes(model, p, x, y, free, steps=25, nudge=beta)
        corrected.append(worst(ours.states, gradients.states, sign=-1))
        ours = equilibrium_processes(model, p, x, y, free, steps=25, nudge=beta)
        plain.append(worst(ours.states, gradients.states, sign=-1))
    assert corrected[0] / corrected[1] == pytest.approx(10, rel=0.05)
    assert corrected[1] / corrected[2] == pytest.approx(10, rel=0.05)
    assert plain[0] == pytest.approx(plain[2], rel=0.01)
    assert plain[2] > 0.05 > 10 * corrected[0]


def test_the_symmetric_estimate_is_of_second_order():
    model, p, x, y = draw(7, energy(tied=False))
    rest(model, p, x, drop=False)
    truth = bptt_convergent(model, p, x, y, **SETTLE, steps_back=25).gradients
    errors = []
    for nudge in (4e-3, 2e-3):
        ours = nonconservative_equilibrium_propagation(
            model, p, x, y, **SETTLE, nudged_steps=25, nudge=nudge, symmetric=True
        )
        errors.append(worst(ours.gradients, truth))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.03)


@given(seed=seeds, epsilon=st.sampled_from([1.0, 0.4]), tied=st.booleans())
def test_nudged_inside_it_descends_another_loss(seed, epsilon, tied):
    """The output error times sigma'(u_0), tied or not: exact for that one, wrong for the loss itself."""
    model, p, x, y = draw(seed, prototypical(tied=tied, step_size=epsilon, nudge_placement="inside"))
    free = rest(model, p, x)
    exact = nonconservative_processes(model, p, x, y, free, steps=15, nudge=LIMIT)
    error = model.loss_gradient(p, free.state, y)[0]["layer.0"]
    start = times_output_slope(model, p, free.state, error)
    times = bptt_processes(model, p, x, y, free, steps=15, start=start)
    assert worst(exact.states, times.states, sign=-1) <= 1e-12
    assert worst(exact.parameters, times.parameters, sign=-1) <= 1e-11
    if np.abs(start["layer.0"] / error).min() < 0.9:
        gradients = bptt_processes(model, p, x, y, free, steps=15)
        assert worst(exact.states, gradients.states, sign=-1) > 1e-3


@given(seed=seeds)
def test_a_gradient_system_needs_no_correction(seed):
    """J is symmetric, at any beta the term is rounding."""
    model, p, x, y = draw(seed, energy())
    free = relax(model, p, x, steps=20, **PLAIN)
    with_it = nonconservative_processes(model, p, x, y, free, steps=9, nudge=0.3)
    without = equilibrium_processes(model, p, x, y, free, steps=9, nudge=0.3)
    assert worst(with_it.states, without.states) <= 1e-12


def test_the_local_rule_does_not_fit_the_corrected_phase():
    """(E21) drops sigma', which the corrected motion does not carry."""
    model, p, x, y = draw(8, prototypical(tied=False))
    free = rest(model, p, x, drop=False)
    exact = nonconservative_processes(model, p, x, y, free, steps=15, nudge=LIMIT)
    motion = {name: array.sum(axis=0) for name, array in exact.states.items()}
    local = model.vector_field_update(p, motion, free.state, x)
    truth = bptt_processes(model, p, x, y, free, steps=15).total()
    assert worst(local, truth, sign=-1) > 0.05
    assert worst(exact.total(), truth, sign=-1) <= 1e-12


def test_diagnostics_and_dtypes():
    for model in (energy(tied=False), prototypical(tied=False, activation="hardsigm")):
        _, p, x, y = draw(9, model, dtype=np.float32)
        free = relax(model, p, x, steps=20, **PLAIN)
        phases = {"free_steps": 20, "nudged_steps": 5, "nudge": np.float64(0.1), "symmetric": True, **PLAIN}
        for run in (vector_field_equilibrium_propagation, nonconservative_equilibrium_propagation):
            result = run(model, p, x, y, **phases)
            assert {array.dtype for array in result.gradients.values()} == {np.dtype(np.float32)}
            assert result.diagnostics.steps_executed == 20 + 2 + 2 * 5
            assert result.diagnostics.residual == free.residual
            assert result.diagnostics.bytes_kept == sum(array.nbytes for array in free.state.values())
            assert np.array_equal(result.diagnostics.outputs, free.state["layer.0"])
        processes = nonconservative_processes(model, p, x, y, free, steps=3, nudge=0.1)
        for arrays in (processes.states, processes.parameters):
            assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    "run", [vector_field_equilibrium_propagation, nonconservative_equilibrium_propagation]
)
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"nudge": 0}, ValueError, "nudge: expected a number other than 0"),
        ({"nudge": 0j}, ValueError, "nudge: expected a number other than 0"),
        ({"nudge": float("inf")}, ValueError, "nudge"),
        ({"nudge": "0.1"}, TypeError, "nudge"),
        ({"free_steps": 0}, ValueError, "free_steps"),
        ({"nudged_steps": 0}, ValueError, "nudged_steps"),
        ({"symmetric": 1}, TypeError, "symmetric: expected a bool"),
        ({"backend": "gpu"}, ValueError, "backend: expected one of"),
    ],
)
def test_bad_arguments_are_refused(run, options, error, message):
    model, p, x, y = draw(10, prototypical(tied=False))
    phases = {"free_steps": 9, "nudged_steps": 3, "nudge": 0.1, **PLAIN}
    run(model, p, x, y, **phases)
    with pytest.raises(error, match=message):
        run(model, p, x, y, **{**phases, **options})
    with pytest.raises(TypeError, match="targets: expected an array"):
        run(model, p, x, None, **phases)
    with pytest.raises(ValueError, match="nudge: expected a holomorphic network"):
        run(replace(model, activation="hardsigm"), p, x, y, **{**phases, "nudge": LIMIT})


def test_bad_processes_are_refused():
    model, p, x, y = draw(11, prototypical(tied=False))
    free = relax(model, p, x, steps=9, **PLAIN)
    with pytest.raises(ValueError, match="nudge: expected a number other than 0"):
        nonconservative_processes(model, p, x, y, free, steps=3, nudge=0)
    with pytest.raises(ValueError, match="steps: expected an integer of at least 1"):
        nonconservative_processes(model, p, x, y, free, steps=0, nudge=0.1)


def test_an_overflow_is_reported_in_words():
    model, p, x, y = draw(12, prototypical(tied=False, activation="identity"), scale=20.0)
    p = {name: array * 0 if name.endswith("bias") else array for name, array in p.items()}
    x = x * 0  # the free phase rests at 0, the nudged one runs away
    for run in (vector_field_equilibrium_propagation, nonconservative_equilibrium_propagation):
        with pytest.raises(FloatingPointError, match="does not settle"):
            run(model, p, x, y, free_steps=2000, nudged_steps=2000, nudge=0.1, **PLAIN)
    free = relax(model, p, x, steps=5, **PLAIN)
    with pytest.raises(FloatingPointError, match="does not settle"):
        nonconservative_processes(model, p, x, y, free, steps=2000, nudge=0.1)


def test_tied_where_untied_was_meant():
    """Plain equilibrium propagation refuses what the vector field takes."""
    model, p, x, y = draw(13, prototypical(tied=False))
    phases = {"free_steps": 9, "nudged_steps": 3, "nudge": 0.1, **PLAIN}
    with pytest.raises(ValueError, match="tied=True"):
        equilibrium_propagation(model, p, x, y, **phases)
    assert set(vector_field_equilibrium_propagation(model, p, x, y, **phases).gradients) == set(p)
