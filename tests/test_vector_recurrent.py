"""What is special to the vectors of recurrent, attentive and convergent networks, and of schedules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from refsnn.algorithms.memory_efficient_bptt import memory_efficient_bptt
from refsnn.schedules.frames import PolicySchedule
from refsnn.schedules.mixed import mixed_tables
from refsnn.schedules.online import OnlineSchedule
from refsnn.schedules.policies import HiddenStates, InternalStates, Mixed
from refsnn.vectors.case import Problem
from refsnn.vectors.kinds import KINDS
from refsnn.vectors.kinds.equilibrium_network.kind import EQUILIBRIUM_NETWORK
from refsnn.vectors.kinds.every_direction import derivatives
from refsnn.vectors.kinds.recurrent_network.kind import arguments_of
from refsnn.vectors.making import relative_error, verify

OURS = ("recurrent_network", "checkpoint_schedules", "attentive_network", "equilibrium_network")


def case_of(kind, name):
    return next(case for case in KINDS[kind].cases(False) if case.name == name)


@pytest.mark.parametrize("name", ["layers/lstm", "two-calls/gru", "last-step/tanh"])
@pytest.mark.parametrize("schedule", ["states", "tapes", "mixed", "online"])
def test_every_schedule_gives_the_gradient_of_the_file(name, schedule):
    problem = case_of("recurrent_network", name).problem
    *arguments, start = arguments_of(problem)
    steps = len(problem.inputs["sequence"])
    mixed = mixed_tables(steps, units=4, hidden_units=1, internal_units=2)
    chosen = {
        "states": PolicySchedule(HiddenStates(), steps, 2),
        "tapes": PolicySchedule(InternalStates(), steps, 1),
        "mixed": PolicySchedule(Mixed(mixed), steps, 4),
        "online": OnlineSchedule(steps, 3),
    }[schedule]
    found = memory_efficient_bptt(*arguments, schedule=chosen, initial_state=start, backend="plain")
    expected = KINDS["recurrent_network"].solve(problem, "plain").leaves
    assert found.diagnostics.steps_executed > steps  # something was run again
    for path, gradient in found.gradients.items():
        np.testing.assert_array_equal(gradient, expected[f"gradients/{path}"])


def test_two_programs_machines_agree_on_programs_with_a_fault():
    """One row of a legal program is changed, doubled or left out: both say where it becomes illegal."""
    kind, rng = KINDS["checkpoint_schedules"], np.random.default_rng(4)
    legal, illegal = 0, set()
    for name in ("states", "states-of-2", "tapes", "mixed", "online", "disk"):
        problem = case_of("checkpoint_schedules", f"programs/{name}").problem
        for _ in range(60):
            rows = problem.inputs["rows"].copy()
            row, what = rng.integers(len(rows)), rng.integers(3)
            if what == 0:
                column = rng.integers(5)
                rows[row, column] += rng.choice([-1, 1])
            else:
                rows = np.delete(rows, row, axis=0) if what == 1 else np.insert(rows, row, rows[row], axis=0)
            changed = replace(problem, inputs={"rows": rows})
            found, expected = kind.solve(changed, "plain").leaves, kind.truth(changed)
            assert set(found) == set(expected)
            for path, value in expected.items():
                np.testing.assert_array_equal(found[path], value, err_msg=f"{name} {rows[row]} {path}")
            legal += int(found["legal"])
            illegal.add(int(found["first_illegal"]))
    assert legal > 10
    assert len(illegal) > 40


def test_the_limit_of_small_nudges_is_bptt():
    """Symmetric and non-conservative estimates come closer to BPTT by four when beta is halved."""
    kind = EQUILIBRIUM_NETWORK
    for name in ("symmetric/energy", "non-conservative/prototypical"):
        problem = case_of("equilibrium_network", name).problem
        truth = kind.solve(problem.changed(algorithm="bptt"), "plain").leaves
        errors = []
        for nudge in (0.02, 0.01):
            found = kind.solve(problem.changed(nudge=nudge), "plain").leaves
            gradients = [path for path in found if path.startswith("gradients/")]
            errors.append(max(relative_error(found[path], truth[path]) for path in gradients))
        assert errors[0] > 1e-7
        assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.05), (name, errors)


def test_ties_are_ties_and_the_order_matters():
    case = case_of("attentive_network", "ties")
    kind = KINDS["attentive_network"]
    first = kind.solve(case.problem, "plain")
    assert first.margin == 0
    other = kind.truth(case.problem.changed(**{"mistake.ties-last": True}))
    assert not np.array_equal(first.leaves["threshold_slots"], other["threshold_slots"])
    assert relative_error(other["loss"], first.leaves["loss"]) < 1e-14  # equal memories: seen by credit alone


@pytest.mark.parametrize("name", OURS)
def test_an_oracle_that_is_asked_of_another_problem_refuses(name):
    """The control of all agreement: with one input changed, solution and oracle differ."""
    kind = KINDS[name]
    case = next(c for c in kind.cases(False) if "random" in c.flags or "long" in c.flags)
    leaves = kind.solve(case.problem, "plain").leaves
    verify(kind, case, leaves)
    if case.problem.inputs:
        path = next(p for p, a in case.problem.inputs.items() if a.dtype.kind == "f")
        inputs = case.problem.inputs | {path: case.problem.inputs[path] * (1 + 1e-6)}
        changed = replace(case, problem=Problem(case.problem.hyperparameters, inputs))
    else:
        changed = replace(case, problem=case.problem.changed(units=case.problem.hyperparameters["units"] + 1))
    with pytest.raises(ArithmeticError, match="differs from the oracle"):
        verify(kind, changed, leaves)


@pytest.mark.parametrize("name", OURS)
def test_cases_have_the_awkward_flags_and_are_small(name):
    cases = list(KINDS[name].cases(False))
    flags = {flag for case in cases for flag in case.flags}
    assert {"one-step", "long"} <= flags
    assert len(cases) == len({case.name for case in cases})
    assert sum(a.nbytes for case in cases for a in case.problem.inputs.values()) < 1e6


def test_a_transcription_that_loses_the_step_is_refused():
    with pytest.raises(TypeError, match="expected complex numbers"):
        derivatives(lambda point: point["w"].real.sum(axis=-1), {"w": np.ones(2)}, ["w"])
