"""What relaxation, equilibrium propagation and its relatives refuse, and in which words."""

from __future__ import annotations

import numpy as np
import pytest
from plain_algorithms import (
    bptt_convergent,
    equilibrium_propagation,
    holomorphic_equilibrium_propagation,
    relax,
)

from refsnn.algorithms.bptt import bptt_over_steps
from refsnn.algorithms.forward_mode import rtrl
from refsnn.algorithms.processes import bptt_processes, equilibrium_processes
from refsnn.models.contract import StaticInput
from refsnn.models.convergent import EnergyBasedNetwork, PrototypicalNetwork
from refsnn.oracles.fixed_point import implicit_gradient

W0 = "coupling.0.1.weight"
PHASES = {"free_steps": 40, "nudged_steps": 10}


def problem(seed, model, batch=2):
    """Network, parameters, inputs, one-hot targets."""
    rng = np.random.default_rng(seed)
    targets = np.eye(model.widths[0])[rng.integers(model.widths[0], size=batch)]
    return model, model.initialise(rng), rng.uniform(size=(batch, model.widths[-1])), targets


ALGORITHMS = {
    "one-sided": lambda m, p, x, y: equilibrium_propagation(m, p, x, y, **PHASES, nudge=0.1),
    "holomorphic": lambda m, p, x, y: holomorphic_equilibrium_propagation(m, p, x, y, **PHASES, nudge=0.1),
    "bptt": lambda m, p, x, y: bptt_convergent(m, p, x, y, free_steps=5),
    "relax": lambda m, p, x, y: relax(m, p, x, steps=5, targets=y, nudge=0.1),
}


def spoiled():
    """Bad arguments: what to change, the error, and what its message names."""
    return {
        "integer inputs": (lambda p, x, y: (p, x.astype(int), y), TypeError, "inputs: expected a float"),
        "integer targets": (lambda p, x, y: (p, x, y.astype(int)), TypeError, "targets: expected a float"),
        "wrong width": (lambda p, x, y: (p, x[:, 1:], y), ValueError, r"inputs: expected shape \(B, 4\)"),
        "no samples": (lambda p, x, y: (p, x[:0], y[:0]), ValueError, "inputs: .* B >= 1"),
        "one dimension": (lambda p, x, y: (p, x[0], y), ValueError, "inputs"),
        "ragged": (lambda p, x, y: (p, [[1.0, 2.0], [3.0]], y), TypeError, "inputs"),
        "NaN": (lambda p, x, y: (p, x * np.nan, y), ValueError, "inputs: expected finite"),
        "infinite target": (lambda p, x, y: (p, x, y + np.inf), ValueError, "targets: expected finite"),
        "wrong targets": (lambda p, x, y: (p, x, y[:1]), ValueError, r"targets: expected shape \(3, 2\)"),
        "no targets": (lambda p, x, y: (p, x, None), (TypeError, ValueError), "targets: expected an array"),
        "mixed dtypes": (lambda p, x, y: (p, x.astype(np.float32), y), TypeError, "inputs: expected dtype"),
        "no parameters": (lambda p, x, y: ({}, x, y), ValueError, "missing"),
        "a list": (lambda p, x, y: (list(p), x, y), TypeError, "parameters: expected a dict"),
        "unknown key": (lambda p, x, y: ({**p, "w": p[W0]}, x, y), ValueError, r"unknown \['w'\]"),
        "wrong shape": (lambda p, x, y: ({**p, W0: p[W0].T}, x, y), ValueError, W0),
        "NaN weight": (lambda p, x, y: ({**p, W0: p[W0] * np.nan}, x, y), ValueError, W0),
    }


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("case", spoiled())
def test_bad_arguments_are_refused_at_the_door(algorithm, case):
    model, p, x, y = problem(13, PrototypicalNetwork((2, 3, 4)), batch=3)
    ALGORITHMS[algorithm](model, p, x, y)
    spoil, error, message = spoiled()[case]
    with pytest.raises(error, match=message):
        ALGORITHMS[algorithm](model, *spoil(p, x, y))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"nudge": 0}, ValueError, "nudge: expected a number other than 0"),
        ({"nudge": 0j}, ValueError, "nudge"),
        ({"nudge": float("nan")}, ValueError, "nudge"),
        ({"nudge": complex(0, float("inf"))}, ValueError, "nudge"),
        ({"nudge": True}, TypeError, "nudge"),
        ({"nudge": "0.1"}, TypeError, "nudge"),
        ({"free_steps": 0}, ValueError, "free_steps: expected an integer of at least 1"),
        ({"nudged_steps": 0}, ValueError, "nudged_steps"),
        ({"nudged_steps": 2.0}, TypeError, "nudged_steps"),
    ],
)
def test_bad_phases_are_refused(options, error, message):
    model, p, x, y = problem(14, PrototypicalNetwork((2, 3, 4)))
    with pytest.raises(error, match=message):
        equilibrium_propagation(model, p, x, y, **{**PHASES, "nudge": 0.1, **options})


def test_complex_numbers_are_refused_where_the_step_compares():
    for model in (
        PrototypicalNetwork((2, 3, 4), activation="hardsigm"),
        EnergyBasedNetwork((2, 3, 4), clamp=True),
    ):
        _, p, x, y = problem(15, model)
        with pytest.raises(ValueError, match="nudge: expected a holomorphic network"):
            equilibrium_propagation(model, p, x, y, **PHASES, nudge=0.1j)
        with pytest.raises(ValueError, match="holomorphic"):
            holomorphic_equilibrium_propagation(model, p, x, y, **PHASES, nudge=0.1)
        with pytest.raises(ValueError, match="complex parameters"):
            relax(model, {**p, W0: p[W0] + 0j}, x, steps=3)


def test_targets_are_optional_in_relax_only():
    model, p, x, y = problem(18, PrototypicalNetwork((2, 3, 4)))
    free = relax(model, p, x, steps=200, keep_last=4)
    for run in (
        lambda y: equilibrium_propagation(model, p, x, y, **PHASES, nudge=0.1, symmetric=True),
        lambda y: equilibrium_processes(model, p, x, y, free, steps=3, nudge=0.1),
        lambda y: bptt_processes(model, p, x, y, free, steps=3),
        lambda y: implicit_gradient(model, p, x, y, free.state),
        lambda y: bptt_over_steps(model, p, StaticInput(x, 3), y),
        lambda y: rtrl(model, p, StaticInput(x, 3), y),
        lambda y: model.check(p, np.stack([x, x]), y),
        lambda y: model.check_static(p, x, y),
    ):
        run(y)
        with pytest.raises(TypeError, match=r"targets: expected an array of shape \(2, 2\), got None"):
            run(None)


def test_options_that_are_yes_or_no_take_nothing_else():
    model, p, x, y = problem(19, PrototypicalNetwork((2, 3, 4)))
    for value in (1, 0, "no", None, np.bool_(True)):
        with pytest.raises(TypeError, match="symmetric: expected a bool"):
            equilibrium_propagation(model, p, x, y, **PHASES, nudge=0.1, symmetric=value)
        with pytest.raises(TypeError, match="warm_start: expected a bool"):
            holomorphic_equilibrium_propagation(model, p, x, y, **PHASES, nudge=0.1, warm_start=value)


def test_complex_numbers_do_not_hide_mixed_precisions():
    model, p, x, y = problem(20, PrototypicalNetwork((2, 3, 4)))
    state = model.initial_state(p, len(x))
    single, wide = np.float32, {**p, W0: p[W0] + 0j}
    relax(model, wide, x, state, steps=3, targets=y)
    bias, narrow = "coupling.0.1.bias", {**state, "layer.0": state["layer.0"].astype(np.complex64)}
    for parameters, inputs, start, targets, named in (
        ({**wide, bias: p[bias].astype(single)}, x, state, y, "coupling.0.1.bias"),
        ({**p, bias: p[bias].astype(np.complex64)}, x, state, y, "coupling.0.1.bias"),
        (wide, x.astype(single), state, y, "inputs"),
        (p, x.astype(np.complex64), state, y, "inputs"),
        (wide, x, state, y.astype(single), "targets"),
        (wide, x, {**state, "layer.0": state["layer.0"].astype(single)}, y, "layer.0"),
        (p, x, narrow, y, "layer.0"),
    ):
        with pytest.raises(TypeError, match=f"{named}.*: expected .*float64 like the other arrays"):
            relax(model, parameters, inputs, start, steps=3, targets=targets)


def test_untied_networks_are_refused():
    model, p, x, y = problem(16, PrototypicalNetwork((2, 3, 4), tied=False))
    for run in (equilibrium_propagation, holomorphic_equilibrium_propagation):
        with pytest.raises(ValueError, match="tied=True"):
            run(model, p, x, y, **PHASES, nudge=0.1)


def test_bad_relaxations_are_refused():
    model, p, x, y = problem(17, PrototypicalNetwork((2, 3, 4)))
    state = model.initial_state(p, len(x))
    for options, error, message in (
        ({"steps": 0}, ValueError, "steps"),
        ({"keep_last": -1}, ValueError, "keep_last"),
        ({"nudge": 0.1}, ValueError, "targets: expected an array because nudge is not 0"),
        ({"state": {"layer.0": state["layer.0"]}}, ValueError, "state: expected a dict with the entries"),
        ({"state": [1.0]}, ValueError, "state"),
        ({"state": {**state, "layer.1": state["layer.0"]}}, ValueError, "layer.1"),
        ({"state": {**state, "layer.1": state["layer.1"].astype(np.float32)}}, TypeError, "layer.1"),
        ({"state": {**state, "layer.1": state["layer.1"] + np.nan}}, ValueError, "layer.1"),
    ):
        with pytest.raises(error, match=message):
            relax(model, p, x, **{"steps": 5, **options})
    with pytest.raises(ValueError, match="steps_back: expected at most free_steps"):
        bptt_convergent(model, p, x, y, free_steps=3, steps_back=4)
    with pytest.raises(ValueError, match="keep_last=6"):
        bptt_processes(model, p, x, y, relax(model, p, x, steps=9, keep_last=5), steps=5)
    with pytest.raises(ValueError, match="points"):
        holomorphic_equilibrium_propagation(model, p, x, y, **PHASES, nudge=0.1, points=0)
