"""E-prop: eligibilities by explicit sums, the exact gradient without resets and recurrence, and OTTT."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.eprop import eprop
from refsnn.algorithms.ottt import ottt
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.builders.dense import dense_network
from refsnn.models.operators.dense import Dense
from refsnn.models.operators.reshaping import Scale
from refsnn.models.spiking_graph import Node, Population, SpikingGraph, Sum
from tests.online_by_hand import SLOPE, slope
from tests.spiking_graphs import SEEDS, assert_close, live

LEAK, THRESHOLD = 0.7, 0.9
NEURON = SpikingNeuron(leak=LEAK, threshold=THRESHOLD, surrogate=SLOPE)


def network(kappa=0.0, bias=True, standardise=False, neuron=NEURON, **options):
    return SpikingGraph(
        (
            Node("in", ("input",), Dense(6, bias, standardise)),
            Node("loop", ("layer",), Dense(6, bias, standardise), delayed=True),
            Node("sum", ("in", "loop"), Sum()),
            Node("layer", ("sum",), Population(neuron)),
            Node("readout", ("layer",), Dense(3, bias)),
        ),
        (4,),
        loss_over="each_step",
        readout_leak=kappa,
        **options,
    )


def by_hand(q, inputs, labels, kappa, feedback):
    """dL/dW_ji = sum_t L_j[t] sum_{tau <= t} kappa^(t-tau) psi_j[tau] sum_{i <= tau} leak^(tau-i) z[i]."""
    steps, batch = len(inputs), len(labels)
    v, y, s = np.zeros((batch, 6)), np.zeros((batch, 3)), np.zeros((batch, 6))
    psi, errors, spikes, before, loss = [], [], [], [], 0.0
    for t, x in enumerate(inputs):
        before.append(s)
        current = x @ q["in.weight"].T + q["in.bias"]
        if t:
            current = current + s @ q["loop.weight"].T + q["loop.bias"]
        u = LEAK * v + current
        s = (u >= THRESHOLD).astype(float)
        v = u - THRESHOLD * s
        y = kappa * y + s @ q["readout.weight"].T + q["readout.bias"]
        shares = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
        loss -= np.log(shares[np.arange(batch), labels]).mean() / steps
        psi.append(slope(u - THRESHOLD))
        spikes.append(s)
        errors.append((shares - np.eye(3)[labels]) / batch / steps)
    found = {name: np.zeros_like(value) for name, value in q.items()}
    for t in range(steps):
        signal = errors[t] @ feedback.T
        for tau in range(t + 1):
            filtered = kappa ** (t - tau)
            found["readout.weight"] += filtered * errors[t].T @ spikes[tau]
            found["readout.bias"] += filtered * errors[t].sum(axis=0)
            for i in range(tau + 1):
                factor = filtered * LEAK ** (tau - i) * signal * psi[tau]
                found["in.weight"] += factor.T @ inputs[i]
                found["in.bias"] += factor.sum(axis=0)
                found["loop.weight"] += factor.T @ before[i]
                if i:
                    found["loop.bias"] += factor.sum(axis=0)
    return loss, found


@given(seed=SEEDS, kappa=st.sampled_from([0.0, 0.5, 0.9]), random=st.booleans(), steps=st.integers(2, 6))
@settings(max_examples=25)
def test_eligibilities_by_explicit_sums(seed, kappa, random, steps):
    rng = np.random.default_rng(seed)
    graph = network(kappa)
    parameters, inputs, labels = live(rng, graph, steps=steps)
    feedback = rng.normal(size=(6, 3)) if random else parameters["readout.weight"].T
    loss, expected = by_hand(parameters, inputs, labels, kappa, feedback)
    given_feedback = {"feedback": feedback} if random else {}
    found = eprop(graph, parameters, inputs, labels, backend="plain", **given_feedback)
    assert found.loss == pytest.approx(loss, rel=1e-12)
    assert_close(found.gradients, expected)


@given(
    seed=SEEDS,
    kappa=st.sampled_from([0.0, 0.3, 0.9]),
    standardise=st.booleans(),
    bias=st.booleans(),
    mixed=st.booleans(),
)
@settings(max_examples=25)
def test_it_is_the_gradient_without_resets_and_recurrence(seed, kappa, standardise, bias, mixed):
    """O5: also with a leaky read-out, which OTTT has not; with standardised weights, biases or none."""
    graph = network(kappa, bias, standardise, squared_share=0.3 * mixed)
    problem = live(np.random.default_rng(seed), graph)
    truth = bptt(graph.with_edges(reset=False, feedback=False), *problem, backend="plain")
    found = eprop(graph, *problem, backend="plain")
    assert found.loss == pytest.approx(truth.loss, rel=1e-12)
    assert_close(found.gradients, truth.gradients)
    ours, theirs = found.diagnostics, truth.diagnostics
    np.testing.assert_allclose(ours.outputs, theirs.outputs, rtol=0, atol=1e-12)
    assert ours.spike_rates == pytest.approx(theirs.spike_rates)
    assert ours.margin == pytest.approx(theirs.margin, abs=1e-12)
    online = ottt(graph, *problem, preset="exact_local", backend="plain").gradients
    if kappa == 0:
        assert_close(found.gradients, online)
    else:
        apart = {
            name: np.abs(found.gradients[name] - value).max() / np.abs(value).max()
            for name, value in online.items()
        }
        assert all(apart[name] <= 1e-11 for name in apart if name.startswith("readout."))
        assert max(apart.values()) > 1e-4  # a loop that has seen one spike only may agree by chance


def test_it_is_not_the_whole_gradient():
    graph = network()
    problem = live(np.random.default_rng(1), graph)
    found, whole = eprop(graph, *problem).gradients, bptt(graph, *problem).gradients
    for name in ("in.weight", "loop.weight"):
        assert np.abs(found[name] - whole[name]).max() > 1e-2 * np.abs(whole[name]).max()


def test_random_feedback_does_not_touch_the_read_out():
    graph = network(0.4)
    problem = live(np.random.default_rng(2), graph)
    symmetric = eprop(graph, *problem).gradients
    random = eprop(graph, *problem, feedback=np.random.default_rng(3).normal(size=(6, 3))).gradients
    for name, value in symmetric.items():
        same = np.array_equal(random[name], value)
        assert same == name.startswith("readout."), name
    explicit = eprop(graph, *problem, feedback=problem[0]["readout.weight"].T).gradients
    assert_close(explicit, symmetric, error=0)


def test_a_feedforward_layer_and_several_maps_are_fine():
    graph = SpikingGraph(
        (
            Node("one", ("input",), Dense(6)),
            Node("two", ("input",), Dense(6, with_bias=False)),
            Node("late", ("layer",), Dense(6), delayed=True),
            Node("later", ("layer",), Dense(6, with_bias=False), delayed=True),
            Node("some", ("one", "late"), Sum()),
            Node("sum", ("some", "two", "later"), Sum()),
            Node("layer", ("sum",), Population(NEURON)),
            Node("readout", ("layer",), Dense(3)),
        ),
        (4,),
        loss_over="each_step",
    )
    plain = SpikingGraph(
        (
            Node("in", ("input",), Dense(6)),
            Node("layer", ("in",), Population(NEURON)),
            Node("readout", ("layer",), Dense(3, with_bias=False)),
        ),
        (4,),
        loss_over="each_step",
        readout_leak=0.5,
    )
    for one in (graph, plain):
        problem = live(np.random.default_rng(4), one)
        truth = bptt(one.with_edges(reset=False, feedback=False), *problem).gradients
        assert_close(eprop(one, *problem).gradients, truth)


def test_one_step_is_bptt():
    graph = network(0.5)
    problem = live(np.random.default_rng(5), graph, steps=1, batch=1)
    assert_close(eprop(graph, *problem).gradients, bptt(graph, *problem).gradients, dead=("loop.",))


def test_memory_backends_and_dtypes():
    graph = network(0.3)
    kept = []
    for steps in (4, 40):
        problem = live(np.random.default_rng(6), graph, steps=steps)
        kept.append(eprop(graph, *problem).diagnostics.bytes_kept)
    assert kept[0] == kept[1] == 8 * 3 * ((4 + 6) + 6 * (4 + 6) + 2 * 6)  # traces, e of weights, e of biases
    parameters, inputs, labels = problem
    plain, cpu = (eprop(graph, *problem, backend=name).gradients for name in ("plain", "cpu"))
    assert_close(cpu, plain)
    single = {name: value.astype(np.float32) for name, value in parameters.items()}
    feedback = parameters["readout.weight"].T
    arguments = single, inputs[:5].astype(np.float32), labels
    found = eprop(graph, *arguments, feedback=feedback.astype(np.float32))
    truth = eprop(graph, parameters, inputs[:5], labels).gradients
    for name, value in found.gradients.items():
        assert value.dtype == np.float32
        assert np.abs(value - truth[name]).max() <= 1e-4 * np.abs(truth[name]).max()
    assert found.diagnostics.outputs.dtype == np.float32
    with pytest.raises(TypeError, match="feedback: expected dtype float32"):
        eprop(graph, *arguments, feedback=feedback)


def test_feedback_of_another_shape_is_refused():
    graph = network()
    problem = live(np.random.default_rng(7), graph)
    for wrong in (np.ones((3, 6)), np.ones((6, 3), int), np.full((6, 3), np.nan)):
        with pytest.raises((TypeError, ValueError), match="feedback: expected"):
            eprop(graph, *problem, feedback=wrong)


def others():
    graph = network()
    nodes = list(graph.nodes)
    scaled = [*nodes[:4], Node("scaled", ("layer",), Scale(2.0)), replace(nodes[4], inputs=("scaled",))]
    late = [Node("in", ("input",), Dense(6), delayed=True), Node("too", ("input",), Dense(6)), *nodes[1:]]
    late[3] = Node("sum", ("in", "too", "loop"), Sum())
    yield graph.with_loss(loss_over="mean_readout")
    yield dense_network((4, 6, 6, 3), NEURON, loss_over="each_step")
    yield SpikingGraph((Node("readout", ("input",), Dense(3)),), (4,), loss_over="each_step")
    yield replace(graph, nodes=tuple(scaled))
    yield replace(graph, nodes=(*nodes[:2], Node("sum", ("in", "loop", "in"), Sum()), *nodes[3:]))
    yield replace(graph, nodes=tuple(late))


@pytest.mark.parametrize("graph", list(others()))
def test_networks_of_another_build_are_refused(graph):
    problem = graph.initialise(np.random.default_rng(8)), np.ones((3, 1, 4)), [0]
    with pytest.raises(ValueError, match="graph: expected one population that reads dense maps"):
        eprop(graph, *problem)
