"""Running statistics: what algorithms report of each batch, updates by hand, and evaluation by them."""

from __future__ import annotations

import numpy as np
import pytest

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.rate_backpropagation import rate_backpropagation
from refsnn.algorithms.sltt import sltt
from refsnn.models.contract import StaticInput
from refsnn.models.operators.convolution import Convolution2d
from refsnn.models.operators.dense import Dense
from refsnn.models.operators.normalisation import BatchNormalisation
from refsnn.models.operators.reshaping import Flatten
from refsnn.models.spiking_graph import Node, Population, SpikingGraph
from tests.online_by_hand import correlated
from tests.spiking_graphs import SOFT, live

STEPS, BATCH, MOMENTUM, EPSILON = 4, 3, 0.2, 0.01
LEAK, V = SOFT.leak, SOFT.threshold


def network(over, loss_over="each_step"):
    return SpikingGraph(
        (
            Node("in", ("input",), Convolution2d(3, 3, padding=1)),
            Node("norm", ("in",), BatchNormalisation(MOMENTUM, EPSILON, over)),
            Node("layer.1", ("norm",), Population(SOFT)),
            Node("flat", ("layer.1",), Flatten()),
            Node("up", ("flat",), Dense(5)),
            Node("top", ("up",), BatchNormalisation(0.1, EPSILON, over)),
            Node("layer.2", ("top",), Population(SOFT)),
            Node("readout", ("layer.2",), Dense(3)),
        ),
        (2, 4, 4),
        loss_over=loss_over,
    )


def problem_of(over):
    """Live, but for biases in front of a normalisation."""
    graph = network(over)
    rng = np.random.default_rng(1)
    parameters = graph.initialise(rng, gain=2.5)
    for name in ("norm", "top"):
        parameters[f"{name}.gamma"] = rng.uniform(0.7, 1.4, parameters[f"{name}.gamma"].shape)
        parameters[f"{name}.beta"] = rng.uniform(0.1, 0.5, parameters[f"{name}.beta"].shape)
    return graph, parameters, rng.uniform(-0.3, 1.3, (STEPS, BATCH, 2, 4, 4)), np.array([0, 2, 1])


def currents_by_hand(parameters, inputs):
    """Of the first normalisation: the input's, (T, B, C, H, W)."""
    return (
        np.array([correlated(parameters["in.weight"], x) for x in inputs])
        + parameters["in.bias"][:, None, None]
    )


ALGORITHMS = {
    "bptt": bptt,
    "rates": rate_backpropagation,
    "rates, step by step": lambda *p: rate_backpropagation(*p, mode="single_step"),
    "sltt": sltt,
}


@pytest.mark.parametrize(
    ("over", "algorithm"),
    [
        *(("step", name) for name in ALGORITHMS),
        *(("sequence", name) for name in ("bptt", "rates")),  # a single step does not know the sequence
    ],
)
def test_updates_by_hand(over, algorithm):
    graph, parameters, inputs, labels = problem_of(over)
    statistics = ALGORITHMS[algorithm](graph, parameters, inputs, labels).diagnostics.statistics
    assert list(statistics) == ["norm", "top"]
    start = graph.initial_running()
    for name, size in (("norm", 3), ("top", 5)):
        np.testing.assert_array_equal(start[name]["mean"], np.zeros(size))
        np.testing.assert_array_equal(start[name]["variance"], np.ones(size))
    once = graph.updated_running(start, statistics)
    current = currents_by_hand(parameters, inputs)
    groups = [current.reshape(-1, 3, 4, 4)] if over == "sequence" else current
    mean, variance = np.zeros(3), np.ones(3)
    for group in groups:
        flat = np.moveaxis(group, 1, -1).reshape(-1, 3)
        mean = (1 - MOMENTUM) * mean + MOMENTUM * flat.mean(axis=0)
        variance = (1 - MOMENTUM) * variance + MOMENTUM * flat.var(axis=0, ddof=1)
    np.testing.assert_allclose(once["norm"]["mean"], mean, rtol=1e-12)
    np.testing.assert_allclose(once["norm"]["variance"], variance, rtol=1e-12)
    entries = BATCH * (STEPS if over == "sequence" else 1)
    assert statistics["norm"].entries == 16 * entries
    assert statistics["top"].entries == entries
    assert statistics["top"].mean.shape == (1 if over == "sequence" else STEPS, 5)
    twice = graph.updated_running(once, statistics)
    assert np.abs(twice["norm"]["mean"] - once["norm"]["mean"]).max() > 1e-3
    np.testing.assert_array_equal(start["norm"]["mean"], np.zeros(3))  # what came in stays


@pytest.mark.parametrize("backend", ["plain", "cpu"])
@pytest.mark.parametrize("over", ["sequence", "step"])
def test_evaluation_uses_them_by_hand(over, backend):
    """Each sample is then by itself, and normalisation over time is no matter."""
    graph, parameters, inputs, labels = problem_of(over)
    running = graph.updated_running(
        graph.initial_running(), bptt(graph, parameters, inputs, labels).diagnostics.statistics
    )

    def normalised(name, current):
        shape = (-1, *(1,) * (current.ndim - 2))
        mean, variance, gamma, beta = (
            array.reshape(shape)
            for array in (
                running[name]["mean"],
                running[name]["variance"],
                parameters[f"{name}.gamma"],
                parameters[f"{name}.beta"],
            )
        )
        return gamma * (current - mean) / np.sqrt(variance + EPSILON) + beta

    v1, v2, total, spikes = 0.0, 0.0, 0.0, []
    for current in currents_by_hand(parameters, inputs):
        u1 = LEAK * v1 + normalised("norm", current)
        s1 = (u1 >= V).astype(float)
        v1 = u1 - V * s1
        u2 = LEAK * v2 + normalised(
            "top", s1.reshape(BATCH, -1) @ parameters["up.weight"].T + parameters["up.bias"]
        )
        s2 = (u2 >= V).astype(float)
        v2 = u2 - V * s2
        spikes += [s1.mean(), s2.mean()]
        total = total + s2 @ parameters["readout.weight"].T + parameters["readout.bias"]
    assert 0 < np.mean(spikes) < 1
    found = graph.run(parameters, inputs, backend=backend, running=running)
    np.testing.assert_allclose(found, total / STEPS, rtol=1e-12)
    for b in range(BATCH):
        alone = graph.run(parameters, inputs[:, [b]], backend=backend, running=running)
        np.testing.assert_allclose(alone, found[[b]], rtol=1e-12)
    trained = bptt(graph, parameters, inputs, labels).diagnostics.outputs
    assert np.abs(trained - found).max() > 1e-3


def test_evaluation_takes_static_input_leaks_and_float32():
    graph, parameters, inputs, labels = problem_of("step")
    running = graph.updated_running(
        graph.initial_running(), bptt(graph, parameters, inputs, labels).diagnostics.statistics
    )
    still = graph.run(parameters, StaticInput(inputs[0], 3), running=running)
    np.testing.assert_array_equal(still, graph.run(parameters, inputs[[0, 0, 0]], running=running))
    leaky = graph.with_loss(readout_leak=0.5)
    o = [graph.run(parameters, inputs[: t + 1], running=running) * (t + 1) for t in range(STEPS)]
    o = np.diff([np.zeros_like(o[0]), *o], axis=0)
    y = [sum(0.5 ** (t - i) * o[i] for i in range(t + 1)) for t in range(STEPS)]
    np.testing.assert_allclose(leaky.run(parameters, inputs, running=running), np.mean(y, axis=0), rtol=1e-12)
    single = {name: value.astype(np.float32) for name, value in parameters.items()}
    statistics = bptt(graph, single, inputs.astype(np.float32), labels).diagnostics.statistics
    half = graph.updated_running(graph.initial_running(np.float32), statistics)
    assert {array.dtype for entry in half.values() for array in entry.values()} == {np.dtype(np.float32)}
    assert graph.run(single, inputs.astype(np.float32), running=half).dtype == np.float32


def test_statistics_that_are_missing_are_named():
    graph, parameters, inputs, labels = problem_of("step")
    running = graph.initial_running()
    statistics = bptt(graph, parameters, inputs, labels).diagnostics.statistics
    with pytest.raises(ValueError, match=r"running: expected statistics of \['norm', 'top'\]"):
        graph.run(parameters, inputs)
    with pytest.raises(ValueError, match=r"running: expected statistics of \['top'\]"):
        graph.run(parameters, inputs, running={"norm": running["norm"]})
    with pytest.raises(ValueError, match="statistics: expected those of 'top'"):
        graph.updated_running(running, {"norm": statistics["norm"]})


def test_without_normalisation_there_is_nothing_to_keep():
    graph = SpikingGraph(
        (
            Node("in", ("input",), Dense(6)),
            Node("a", ("in",), Population(SOFT)),
            Node("readout", ("a",), Dense(3)),
        ),
        (4,),
    )
    parameters, inputs, labels = live(np.random.default_rng(2), graph)
    assert graph.initial_running() == {} == graph.updated_running({}, {})
    expected = bptt(graph, parameters, inputs, labels).diagnostics.outputs
    for running in (None, {}):
        np.testing.assert_allclose(graph.run(parameters, inputs, running=running), expected, rtol=1e-13)
