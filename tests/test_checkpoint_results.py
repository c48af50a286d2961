"""What a run leaves behind: diagnostics, states to go on from, and nothing of the caller's changed."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from checkpoint_cases import Logistic, logistic_problem

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.memory_efficient_bptt import memory_efficient_bptt, memory_plan
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.builders.dense import dense_network
from refsnn.models.operators.dense import Dense
from refsnn.models.operators.normalisation import BatchNormalisation
from refsnn.models.recurrent.lstm import LongShortTermMemory
from refsnn.models.recurrent.tanh_network import TanhNetwork
from refsnn.models.spiking_graph import Node, Population, SpikingGraph


def test_diagnostics_of_a_spiking_graph_are_those_of_bptt():
    """Rates, margin, and what running statistics are updated with, in the order of the steps."""
    neuron = SpikingNeuron(leak=0.5)
    nodes = (
        Node("current", ("input",), Dense(12)),
        Node("normal", ("current",), BatchNormalisation(over="step")),
        Node("layer.1", ("normal",), Population(neuron)),
        Node("readout", ("layer.1",), Dense(3)),
    )
    graph, rng = SpikingGraph(nodes, input_shape=(5,), loss_over="each_step"), np.random.default_rng(0)
    arguments = graph, graph.initialise(rng, gain=2.0), rng.random((9, 6, 5)), rng.integers(0, 3, 6)
    frugal, whole = (
        memory_efficient_bptt(*arguments, strategy="chen").diagnostics,
        bptt(*arguments).diagnostics,
    )
    assert frugal.spike_rates == pytest.approx(whole.spike_rates, rel=1e-12)
    assert 0 < frugal.spike_rates["layer.1"] < 1
    assert frugal.margin == pytest.approx(whole.margin, rel=1e-6)
    running = graph.initial_running()
    one, other = (graph.updated_running(running, seen.statistics) for seen in (frugal, whole))
    for name, values in one["normal"].items():
        np.testing.assert_allclose(values, other["normal"][name], rtol=1e-12)


def test_normalisation_over_the_sequence_is_refused_before_anything_is_planned():
    nodes = (
        Node("current", ("input",), Dense(4)),
        Node("normal", ("current",), BatchNormalisation()),
        Node("layer.1", ("normal",), Population(SpikingNeuron(leak=0.5))),
        Node("readout", ("layer.1",), Dense(3)),
    )
    graph, rng = SpikingGraph(nodes, input_shape=(5,)), np.random.default_rng(0)
    with pytest.raises(ValueError, match="take over='step'"):
        memory_plan(graph, graph.initialise(rng), rng.random((9, 6, 5)), [0] * 6, budget="1 MB")


def test_the_final_state_starts_the_next_part():
    """Recurrent networks with dropout count on; a graph's sums begin anew."""
    rng = np.random.default_rng(0)
    network = TanhNetwork((3, 6, 2), dropout=0.4)
    parameters, inputs = network.initialise(rng), rng.standard_normal((20, 2, 3))
    whole = memory_efficient_bptt(network, parameters, inputs, [0, 1], strategy="nothing")
    first = memory_efficient_bptt(network, parameters, inputs[:8], [0, 1], strategy="nothing")
    second = memory_efficient_bptt(
        network, parameters, inputs[8:], [0, 1], strategy="nothing", initial_state=first.final_state
    )
    assert first.loss + second.loss == pytest.approx(whole.loss, rel=1e-12)
    chained = memory_efficient_bptt(
        network, parameters, inputs[:8], [0, 1], strategy="nothing", final_adjoint=second.initial_gradients
    )
    for name, gradient in whole.gradients.items():
        np.testing.assert_allclose(
            chained.gradients[name] + second.gradients[name], gradient, rtol=1e-12, atol=1e-13
        )
    for wrong in (10, np.array([10.7]), np.array([-3])):
        wrongly = first.final_state | {"step": wrong}
        with pytest.raises(ValueError, match=r"initial_state\['step'\]: expected how many steps"):
            memory_efficient_bptt(
                network, parameters, inputs[8:], [0, 1], strategy="nothing", initial_state=wrongly
            )
    graph = dense_network((3, 8, 2))
    weights = graph.initialise(rng, gain=3.0)
    part = memory_efficient_bptt(graph, weights, abs(inputs[:8]), [0, 1], strategy="nothing")
    assert "readout.sum" not in part.final_state
    following = memory_efficient_bptt(
        graph, weights, abs(inputs[8:]), [0, 1], strategy="nothing", initial_state=part.final_state
    )
    assert np.isfinite(following.loss)


def test_infinite_gradients_of_start_and_input_are_refused():
    network, rng = TanhNetwork((2, 3, 2)), np.random.default_rng(0)
    parameters = network.initialise(rng, np.float32)
    parameters["layer.1.recurrent_weight"][:] = 1e30
    parameters["readout.weight"][:] = 1e20 * rng.standard_normal((2, 3))
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(FloatingPointError, match="the start"):
        memory_efficient_bptt(network, parameters, np.zeros((1, 1, 2), np.float32), [0], strategy="nothing")


class WritesParameters(Logistic):
    def step(self, parameters, state, inputs):
        parameters["a"] *= 0.999
        return super().step(parameters, state, inputs)


@pytest.mark.parametrize("strategy", ["all_tapes", "nothing"])
def test_a_step_that_writes_to_the_parameters_is_refused(strategy):
    model, parameters, inputs, targets = logistic_problem(WritesParameters())
    before = parameters["a"].copy()
    with pytest.raises(ValueError, match="step writes to the parameters"):
        memory_efficient_bptt(model, parameters, inputs, targets, strategy=strategy)
    np.testing.assert_array_equal(parameters["a"], before)


def test_the_budget_holds_all_that_is_allocated():
    """Start, core with what it works in, adjoint, slots: of the whole call, less the gradients."""
    network, rng = LongShortTermMemory((8, 64, 3)), np.random.default_rng(0)
    arguments = network, network.initialise(rng), rng.standard_normal((200, 64, 8)), rng.integers(0, 3, 64)
    plan = memory_plan(*arguments, budget="8 MB")
    memory_efficient_bptt(*arguments, schedule=plan)
    tracemalloc.start()
    try:
        result = memory_efficient_bptt(*arguments, schedule=plan)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    gradients = sum(value.nbytes for value in result.gradients.values())
    assert peak - gradients <= 1.03 * plan.peak_bytes
    assert plan.peak_bytes > 0.9 * (8_000_000 - plan.table_bytes)


def test_backends_that_there_are_not():
    with pytest.raises(ValueError, match="backend: expected one of"):
        memory_efficient_bptt(*logistic_problem(), strategy="nothing", backend="bogus")
