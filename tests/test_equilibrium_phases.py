"""What the drivers of both phases promise: tolerance, two-cycles, stale indices, read-outs, bad lengths."""

from __future__ import annotations

import numpy as np
import pytest

from refsnn.algorithms.bptt_convergent import bptt_convergent
from refsnn.algorithms.continual_equilibrium_propagation import continual_equilibrium_propagation
from refsnn.algorithms.equilibrium_propagation import equilibrium_propagation
from refsnn.algorithms.holomorphic_equilibrium_propagation import holomorphic_equilibrium_propagation
from refsnn.algorithms.nonconservative_equilibrium_propagation import nonconservative_equilibrium_propagation
from refsnn.algorithms.relaxation import NotSettledError, relax
from refsnn.algorithms.vector_field_equilibrium_propagation import vector_field_equilibrium_propagation
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork
from refsnn.models.convolution import Convolution

PLAIN = {"backend": "plain"}


def problem(seed, model, scale=1.0, batch=2):
    rng = np.random.default_rng(seed)
    parameters = model.initialise(rng, scale=scale)
    inputs = rng.uniform(size=(batch, *model.shapes[-1]))
    targets = rng.dirichlet(np.ones(model.target_shape[0]), size=batch)
    return model, parameters, inputs, targets


def cycling():
    """One unit a layer, W = 2.5: an orbit of period two at epsilon = 1, a steady state at 1/2."""
    parameters = {
        "coupling.0.1.weight": np.array([[2.5]]),
        "coupling.0.1.bias": np.array([0.1]),
        "coupling.1.2.weight": np.zeros((1, 1)),
        "coupling.1.2.bias": np.array([-0.05]),
    }
    return PrototypicalNetwork((1, 1, 1)), parameters, np.zeros((1, 1)), np.zeros((1, 1))


# ---------------------------------------------------------------- convergence


@pytest.mark.parametrize("keep_last", [2, 120, 250])
def test_states_are_kept_across_the_looks_for_a_cycle(keep_last):
    """A run to a tolerance keeps the same last states as a run of as many steps."""
    model, p, x, _ = problem(0, EnergyBasedNetwork((3, 5, 4), step_size=0.05))
    free = relax(model, p, x, steps=5000, tolerance=1e-9, keep_last=keep_last, **PLAIN)
    assert free.steps_taken % 100 != 0  # the last chunk is short
    assert free.steps_taken > 250
    again = relax(model, p, x, steps=free.steps_taken, keep_last=keep_last, **PLAIN)
    assert len(free.kept) == len(again.kept) == keep_last
    for ours, expected in zip(free.kept, again.kept, strict=True):
        for name in ours:
            np.testing.assert_array_equal(ours[name], expected[name])
    before = relax(model, p, x, steps=free.steps_taken - 1, **PLAIN)
    assert free.residual <= 1e-9 < before.residual / 0.9


def test_a_cycle_is_said_and_a_steady_state_is_none():
    model, p, x, y = cycling()
    assert relax(model, p, x, steps=500, **PLAIN).two_cycle
    with pytest.raises(NotSettledError, match="orbit of period two"):
        relax(model, p, x, steps=5000, tolerance=1e-6, **PLAIN)
    run = equilibrium_propagation(model, p, x, y, free_steps=500, nudged_steps=4, nudge=0.1, **PLAIN)
    assert run.diagnostics.two_cycle
    with pytest.raises(NotSettledError, match="orbit of period two"):
        equilibrium_propagation(
            model, p, x, y, free_steps=5000, nudged_steps=4, nudge=0.1, tolerance=1e-6, **PLAIN
        )
    for seed in range(50):  # at rest to rounding, where one step and two may differ by chance
        free = relax(*problem(seed, PrototypicalNetwork((2, 4, 3)))[:3], steps=400, **PLAIN)
        assert free.residual < 1e-9
        assert not free.two_cycle


def test_a_slow_alternating_approach_is_no_cycle():
    model = PrototypicalNetwork((1, 1, 1), activation="identity")
    p = {
        "coupling.0.1.weight": np.array([[-0.9998]]),
        "coupling.0.1.bias": np.array([0.1]),
        "coupling.1.2.weight": np.zeros((1, 1)),
        "coupling.1.2.bias": np.array([0.1]),
    }
    free = relax(model, p, np.zeros((1, 1)), steps=10**5, tolerance=1e-7)
    assert free.residual <= 1e-7
    assert not free.two_cycle
    with pytest.raises(NotSettledError, match="take more steps"):
        relax(model, p, np.zeros((1, 1)), steps=300, tolerance=1e-7, **PLAIN)


def test_float32_cycles_are_seen_too():
    model, p, x, _ = cycling()
    p = {name: array.astype(np.float32) for name, array in p.items()}
    assert relax(model, p, x.astype(np.float32), steps=500, **PLAIN).two_cycle


def test_a_float32_tolerance_is_not_rounded_up():
    """A move of 0.1 in float32 is above 0.1: one step must not end the run, whoever runs it."""
    model = PrototypicalNetwork((1, 1), activation="identity", step_size=0.5)
    p = {
        "coupling.0.1.weight": np.zeros((1, 1), np.float32),
        "coupling.0.1.bias": np.full(1, 0.2, np.float32),
    }
    x = np.zeros((1, 1), np.float32)
    assert float(np.float32(0.1)) > 0.1
    taken = [relax(model, p, x, tolerance=0.1, backend=backend).steps_taken for backend in ("plain", "cpu")]
    assert taken == [2, 2]


def test_a_tolerance_ends_the_free_phase_of_the_drivers():
    model, p, x, y = problem(1, EnergyBasedNetwork((3, 5, 4)))
    taken = relax(model, p, x, steps=3000, tolerance=1e-8, **PLAIN).steps_taken
    long = {"free_steps": 3000, "tolerance": 1e-8, **PLAIN}
    short = {"free_steps": taken, **PLAIN}
    for ours, expected in (
        (
            equilibrium_propagation(model, p, x, y, **long, nudged_steps=9, nudge=0.1),
            equilibrium_propagation(model, p, x, y, **short, nudged_steps=9, nudge=0.1),
        ),
        (
            bptt_convergent(model, p, x, y, **long, steps_back=9),
            bptt_convergent(model, p, x, y, **short, steps_back=9),
        ),
    ):
        assert ours.diagnostics.residual <= 1e-8
        for name in p:
            np.testing.assert_array_equal(ours.gradients[name], expected.gradients[name])
    with pytest.raises(ValueError, match="steps_back: expected at most"):
        bptt_convergent(model, p, x, y, **long, steps_back=2000)


# ---------------------------------------------------------------- pooling maxima, read-outs


def test_stale_indices_are_those_of_one_step_earlier_on_both_sides():
    """Networks in which a maximum moves in the last step of either phase."""
    moved = np.zeros(2, bool)
    for seed in range(40):
        model = PrototypicalNetwork(
            (3, 2, 2, 1), convolutions=[Convolution(3, 1, "max", 2)] * 2, image=(8, 8), activation="hardsigm"
        )
        model, p, x, y = problem(seed, model, scale=2.5)
        free_steps, nudged_steps, nudge = 4, 3, 0.8
        free = relax(model, p, x, steps=free_steps, keep_last=2, **PLAIN)
        nudged = relax(model, p, x, free.state, nudged_steps, y, nudge, keep_last=2, **PLAIN)
        ends = [model.primitive_gradient(p, run.kept[1], x, maxima_at=run.kept[0]) for run in (nudged, free)]
        fresh = [model.primitive_gradient(p, run.state, x) for run in (nudged, free)]
        ours = equilibrium_propagation(
            model, p, x, y, free_steps=free_steps, nudged_steps=nudged_steps, nudge=nudge,
            stale_index=True, **PLAIN,
        ).gradients  # fmt: skip
        for name in p:
            expected = -(ends[0][name] - ends[1][name]) / (nudge * len(x))
            np.testing.assert_allclose(ours[name], expected, rtol=1e-12, atol=1e-13)
        for side in range(2):
            moved[side] |= any(not np.allclose(ends[side][name], fresh[side][name]) for name in p)
    assert moved.all()  # the difference was there to be seen, on both sides


def test_the_read_out_of_many_points_is_their_mean():
    model = PrototypicalNetwork(
        (4, 3), nudge_placement="inside", readout=3, loss_function="cross_entropy", step_size=0.7
    )
    model, p, x, y = problem(2, model)
    points, radius = 3, 0.4
    ours = holomorphic_equilibrium_propagation(
        model, p, x, y, free_steps=200, nudged_steps=12, nudge=radius, points=points, **PLAIN
    ).gradients
    free = relax(model, p, x, steps=200, **PLAIN).state
    slopes = []
    for k in range(points):
        point = complex(radius * np.exp(2j * np.pi * k / points))
        state = relax(model, p, x, free, 12, y, point, **PLAIN).state
        slopes.append(model.loss_gradient(p, state, y)[1])
    for name in ("readout.weight", "readout.bias"):
        expected = np.mean([slope[name] for slope in slopes], axis=0)
        assert np.abs(expected.imag).max() < 1e-15
        np.testing.assert_allclose(ours[name], expected.real, rtol=1e-12, atol=1e-15)
        assert not np.allclose(slopes[-1][name].real, expected.real, rtol=1e-4)


# ---------------------------------------------------------------- bad lengths and nudges


@pytest.mark.parametrize(
    ("run", "options"),
    [
        (equilibrium_propagation, {}),
        (holomorphic_equilibrium_propagation, {}),
        (vector_field_equilibrium_propagation, {}),
        (nonconservative_equilibrium_propagation, {}),
        (continual_equilibrium_propagation, {"learning_rates": 0.1}),
    ],
)
def test_no_more_nudged_steps_than_free_ones(run, options):
    arguments = problem(3, EnergyBasedNetwork((2, 3, 2)))
    with pytest.raises(ValueError, match="nudged_steps: expected at most free_steps = 3, got 4"):
        run(*arguments, free_steps=3, nudged_steps=4, nudge=0.1, **options, **PLAIN)
    with pytest.raises(ValueError, match="free_steps"):
        run(*arguments, free_steps=0, nudged_steps=0, nudge=0.1, **options, **PLAIN)
    result = run(*arguments, free_steps=3, nudged_steps=3, nudge=0.1, **options, **PLAIN)
    assert any(array.any() for array in result.gradients.values())


@pytest.mark.parametrize("nudge", [1e-17, -1e-300, 5e-324])
def test_a_real_nudge_below_rounding_is_refused(nudge):
    arguments = problem(4, EnergyBasedNetwork((2, 3, 2)))
    with pytest.raises(ValueError, match="lost in rounding; take an imaginary one"):
        equilibrium_propagation(*arguments, free_steps=9, nudged_steps=3, nudge=nudge, **PLAIN)


def test_negative_targets_are_no_distribution():
    model, p, x, _ = problem(5, PrototypicalNetwork((2, 1), loss_function="cross_entropy"), batch=1)
    with pytest.raises(ValueError, match="targets: expected no negative numbers"):
        model.check_static(p, x, np.array([[2.0, -1.0]]))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (EnergyBasedNetwork((2, 1), clamp=True), "clamp=True"),
        (PrototypicalNetwork((2, 1), activation="hardsigm"), "activation 'hardsigm'"),
        (
            PrototypicalNetwork((1, 1), convolutions=[Convolution(1, 0, "max", 2)], image=(2, 2)),
            "max pooling",
        ),
    ],
)
def test_what_is_not_holomorphic_is_named(model, reason):
    with pytest.raises(ValueError, match=f"got {reason}; use real numbers"):
        model.require_holomorphic("nudge")
