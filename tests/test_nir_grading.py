"""Grades of unusual neurons: thresholds of any sign, a leak potential, ties, counts, long steps."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

import nir_cases as cases
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from refsnn.commands import nir as commands
from refsnn.nir import DISCRETISATIONS, Node, Trace, exact_solution, grade_trace, run_graph, write_graph
from refsnn.nir.units import counted_from, units_of

DT = 1e-3
GRADED = [name for name, how in DISCRETISATIONS.items() if how.current in ("updated", "decayed")]
VOLTS = {"v_leak": -0.065, "v_reset": -0.065, "v_threshold": -0.05, "r": 0.03}  # of a biological neuron


def graph_of(**values):
    """One LIF; 10 ms, fires after a few inputs unless told otherwise."""
    values = {"tau": 0.01, "r": 8.0, "v_leak": 0.0, "v_reset": 0.0, "v_threshold": 1.0} | values
    return cases.chain(Node("LIF", {name: np.array([value]) for name, value in values.items()}))


def spikes(seed=0, steps=60):
    return (np.random.default_rng(seed).random(steps) < 0.5).astype(float)


def made(graph, inputs, name, unit="volts", dt=DT, **options) -> Trace:
    """A trace as a platform with that discretisation records it, in that unit."""
    how = units_of(graph.nodes["n0"], dt)[unit]
    moved = counted_from(graph, "n0", how.origin)
    run = run_graph(moved, inputs[:, None, None], dt=dt, discretisation=name, unit=how.factor, **options)
    return Trace("mine", inputs, run.potentials["n0"].ravel(), run.spikes["n0"].ravel(), "float64")


# ---- thresholds of any sign ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", GRADED)
def test_what_made_a_trace_in_biological_volts_is_found(name):
    graph = graph_of(**VOLTS)
    trace = made(graph, spikes(), name)
    assert trace.spikes.sum() >= 2
    grade = grade_trace(trace, graph, dt=DT)
    assert grade.one_of == (name,)
    assert grade.difference == 0
    assert all(entry.potential >= 0 for entry in (*grade.discretisations, *grade.arithmetics, grade.exact))
    assert grade.runner_up.potential > 1e-3 or not grade.runner_up.same_spikes
    assert grade.margin > 0


@pytest.mark.parametrize("potential", [np.linspace(5, -7, 60), np.full(60, 1e6), np.full(60, -0.065)])
@pytest.mark.parametrize("threshold", [-0.05, 0.0, 0.05])
def test_potentials_of_nothing_are_not_identified(potential, threshold):
    graph = graph_of(v_leak=threshold - 0.015, v_reset=threshold - 0.015, v_threshold=threshold, r=0.03)
    trace = made(graph, spikes(), "exponential_euler")
    assert trace.spikes.any()
    grade = grade_trace(replace(trace, potential=potential), graph, dt=DT)
    assert not grade.identified
    assert grade.one_of == ()
    assert grade.difference > 0.1


@given(
    seed=st.integers(0, 2**32 - 1),
    name=st.sampled_from(GRADED),
    origin=st.sampled_from([-2.0, -1.0, -0.25, 0.0, 0.5]),
    reset=st.sampled_from([-0.5, 0.0, 0.25]),
)
@settings(max_examples=15, deadline=None)
def test_a_neuron_moved_along_the_potential_has_the_same_grade(seed, name, origin, reset):
    """All differences are shares of threshold - reset, so that no sign and no origin has a say."""
    here = graph_of(v_reset=reset, tau=0.0123)
    there = graph_of(v_leak=origin, v_reset=origin + reset, v_threshold=origin + 1.0, tau=0.0123)
    inputs = spikes(seed)
    one, two = (made(graph, inputs, name) for graph in (here, there))
    assume(one.spikes.sum() > 2 and (one.spikes == two.spikes).all())
    assume(name != "loihi_chip")  # what it shows at a spike does not move
    first, second = grade_trace(one, here, dt=DT), grade_trace(two, there, dt=DT)
    assert first.one_of == second.one_of == (name,)
    assert second.margin == pytest.approx(first.margin, abs=1e-12)
    distances = [
        {d.name: d.potential for d in grade.discretisations if d.unit == "volts"} for grade in (first, second)
    ]
    both = set(distances[0]) & set(distances[1]) - {"loihi_chip"}
    assert name in both
    for other in both:
        assert distances[1][other] == pytest.approx(distances[0][other], abs=1e-11)


@pytest.mark.parametrize("unit", ["volts", "volts from v_leak", "threshold from v_leak", "input from v_leak"])
def test_potentials_counted_from_the_leak_potential(unit):
    graph = graph_of(**VOLTS)
    trace = made(graph, spikes(), "forward_euler", unit)
    assert trace.spikes.sum() >= 2
    grade = grade_trace(trace, graph, dt=DT)
    assert (grade.one_of, grade.unit, grade.arithmetic) == (("forward_euler",), unit, "float64")
    single = made(graph, spikes(), "forward_euler", unit, arithmetic="float32_increments")
    grade = grade_trace(single, graph, dt=DT)
    assert (grade.one_of, grade.computed_in) == (("forward_euler",), ("float32_increments",))
    assert grade.difference == 0


def test_units_are_above_0_and_those_that_are_none_are_left_out():
    lif = graph_of(**VOLTS).nodes["n0"]
    units = units_of(lif, DT)
    assert all(unit.factor > 0 for unit in units.values())
    assert "threshold" not in units
    seen = units["threshold from v_leak"]
    np.testing.assert_allclose(seen.in_graph_units(np.array([0.0, 1.0])), [-0.065, -0.05], rtol=1e-14)
    assert "threshold" not in units_of(graph_of(v_threshold=0.0, v_reset=-1.0).nodes["n0"], DT)
    assert "input" not in units_of(graph_of(r=0.0).nodes["n0"], DT)
    assert units_of(graph_of(r=-8.0).nodes["n0"], DT)["input"].factor == 0.01 / (8 * DT)


def test_a_threshold_that_is_not_above_the_reset_is_refused():
    with pytest.raises(ValueError, match="v_threshold: expected above v_reset everywhere"):
        graph_of(v_threshold=0.0, v_reset=0.0)


# ---- what a trace cannot tell -------------------------------------------------------------------------


def test_without_a_spike_the_resets_are_not_told_apart():
    graph = graph_of(r=1.0)
    same = {name for name in GRADED if name.startswith("forward_euler")} - {"forward_euler_late_input"}
    assert len(same) == 4
    for name in same:
        trace = made(graph, spikes(), name)
        assert not trace.spikes.any()
        assert trace.potential.any()
        grade = grade_trace(trace, graph, dt=DT)
        assert set(grade.one_of) == same
        assert grade.runner_up.potential > 1e-3
    exact = exact_solution(graph.nodes["n0"], spikes(), DT)
    grade = grade_trace(Trace("mine", spikes(), exact.potential, exact.spikes, "float64"), graph, dt=DT)
    assert set(grade.one_of) == {"exact", "exponential_euler"}


def test_a_trace_of_numbers_of_nobody_is_one_of_those_that_come_as_near():
    """Two solutions 2e-8 apart, and a trace 1e-7 off both: it is said to be neither of the two alone."""
    graph = graph_of(tau=10.0, r=1e3, v_threshold=1.0)
    short = 1e-4  # dt/tau = 1e-5: the leaks differ by 5e-11, the gains by 5e-6 of 0.01
    inputs = np.zeros(60)
    inputs[3] = 1.0
    trace = made(graph, inputs, "forward_euler", dt=short)
    alone = grade_trace(trace, graph, dt=short)
    assert "forward_euler" in alone.one_of
    assert "exponential_euler" not in alone.one_of
    off = replace(trace, potential=trace.potential + 1e-7 * np.sin(np.arange(60)))
    grade = grade_trace(off, graph, dt=short)
    assert grade.identified
    assert {"forward_euler", "exponential_euler"} <= set(grade.one_of)


def test_where_no_input_has_an_effect_all_are_alike():
    graph = graph_of(r=0.0)
    grade = grade_trace(Trace("mine", spikes(), np.zeros(60), np.zeros(60), "integer"), graph, dt=DT)
    assert {*GRADED, "exact"} == set(grade.one_of)
    assert grade.runner_up is None


def test_numbers_that_come_as_near_are_all_told():
    graph = graph_of(tau=2.0, r=2.0, v_threshold=0.75)  # dyadic: no arithmetic of floats rounds
    inputs = np.zeros(12)
    inputs[[1, 2, 5]] = 1.0
    grade = grade_trace(made(graph, inputs, "forward_euler", dt=1.0), graph, dt=1.0)
    assert grade.difference == 0
    assert set(grade.computed_in) >= {"float64", "float32"}


# ---- inputs, and long steps ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", GRADED)
@pytest.mark.parametrize(("level", "r"), [(2.0, 4.0), (-1.0, -8.0), (0.5, 16.0)])
def test_one_level_of_inputs_may_be_a_current_or_a_number_of_spikes(name, level, r):
    graph = graph_of(r=r, tau=0.0123)
    trace = made(graph, level * spikes(), name)
    assert trace.spikes.sum() > 2
    grade = grade_trace(trace, graph, dt=DT)
    assert name in grade.one_of
    assert (grade.difference, grade.divided_by) == (0, 1.0)


def test_a_level_that_is_a_weight_is_divided_out():
    graph = graph_of(tau=0.0123)
    trace = made(graph, spikes(), "forward_euler")
    grade = grade_trace(replace(trace, inputs=0.04 * trace.inputs), graph, dt=DT)
    assert (grade.one_of, grade.divided_by, grade.difference) == (("forward_euler",), 0.04, 0)


def test_an_input_that_is_impossible_as_it_is_may_be_possible_divided():
    graph = graph_of()
    trace = made(graph, spikes(), "exponential_euler")
    large = replace(trace, inputs=1e9 * trace.inputs)  # the exact neuron would fire 1e8 times in a step
    assert grade_trace(large, graph, dt=DT).divided_by == 1e9
    with pytest.raises(ValueError, match="drive: expected at most 10000 spikes in a step"):
        grade_trace(replace(trace, inputs=1e9 * trace.inputs * (1 + np.arange(60))), graph, dt=DT)


@pytest.mark.parametrize("name", ["exponential_euler", "exponential_leak_euler_gain"])
def test_a_step_longer_than_tau_leaves_out_forward_euler_alone(name):
    graph, long = graph_of(r=1.4), 0.015
    trace = made(graph, spikes(), name, dt=long)
    assert trace.spikes.sum() > 2
    grade = grade_trace(trace, graph, dt=long)
    assert grade.one_of == (name,)
    assert set(grade.left_out) == set(GRADED) - {"exponential_euler", "exponential_leak_euler_gain"}
    assert grade_trace(made(graph, spikes(), name), graph, dt=DT).left_out == ()


def test_a_step_of_tau_is_one_of_forward_euler_too():
    graph = graph_of(r=1.4)
    assert grade_trace(made(graph, spikes(), "forward_euler", dt=0.01), graph, dt=0.01).left_out == ()


# ---- what is written ----------------------------------------------------------------------------------


def graded(folder, graph, trace, dt=DT):
    """The command on one trace: status, text, JSON and HTML."""
    rows = zip(trace.inputs.tolist(), trace.potential.tolist(), trace.spikes.tolist(), strict=True)
    (folder / "mine.csv").write_text("".join(f"{x!r},{v!r},{s!r}\n" for x, v, s in rows))
    write_graph(folder / "graph.nir", graph)
    parser = argparse.ArgumentParser()
    commands.add_commands(parser.add_subparsers())
    files = ["--json", folder / "g.json", "--html", folder / "g.html"]
    arguments = ["nir", "grade", folder / "mine.csv", "--graph", folder / "graph.nir", "--dt", dt, *files]
    options = parser.parse_args([str(argument) for argument in arguments])
    status = options.run(options)
    (facts,) = json.loads((folder / "g.json").read_text())["traces"]
    return status, facts, (folder / "g.html").read_text()


def test_ties_are_told_in_text_json_and_html(tmp_path, capsys):
    graph = graph_of(r=1.0)
    status, facts, page = graded(tmp_path, graph, made(graph, spikes(), "forward_euler_subtract"))
    text = capsys.readouterr().out
    assert status == 0
    for shown in (text, page):
        assert "one of forward_euler, forward_euler_subtract, forward_euler_subtract_next" in shown
        assert "Could be one of several: mine." in shown
        assert "forward_euler_late_spike: leak" in shown  # the equations of all of them
    assert facts["is"] is None
    assert facts["identified"] is True
    assert len(facts["one_of"]) == 4
    assert "forward_euler_subtract" in facts["one_of"]


def test_a_single_solution_and_none_are_told_as_before(tmp_path, capsys):
    graph = graph_of(**VOLTS)
    trace = made(graph, spikes(), "exponential_euler")
    status, facts, _ = graded(tmp_path, graph, trace)
    assert (status, facts["is"], facts["one_of"]) == (0, "exponential_euler", ["exponential_euler"])
    assert "several" not in capsys.readouterr().out
    status, facts, page = graded(tmp_path, graph, replace(trace, potential=np.linspace(5, -7, 60)))
    assert (status, facts["is"], facts["one_of"], facts["identified"]) == (1, None, [], False)
    assert f"none; nearest {facts['nearest']}" in page


def test_what_was_divided_and_left_out_is_told(tmp_path, capsys):
    graph = graph_of(r=1.4)
    trace = made(graph, spikes(), "exponential_euler", dt=0.015)
    status, facts, page = graded(tmp_path, graph, replace(trace, inputs=0.04 * trace.inputs), dt=0.015)
    text = capsys.readouterr().out
    assert (status, facts["is"], facts["input_divided_by"]) == (0, "exponential_euler", 0.04)
    assert "forward_euler" in facts["left_out"]
    for shown in (text, page):
        assert "divided by their only level: mine by 0.04" in shown
        assert "dt is above tau, so these do not exist and are left out: forward_euler," in shown
