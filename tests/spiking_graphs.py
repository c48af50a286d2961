"""Random spiking graphs with live parameters, and comparisons leaf by leaf."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from refsnn.algorithms.bptt import bptt_over_steps
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.models.edges import Edges
from refsnn.models.operators.convolution import Convolution2d
from refsnn.models.operators.dense import Dense
from refsnn.models.operators.dropout import Dropout
from refsnn.models.operators.normalisation import BatchNormalisation
from refsnn.models.operators.pooling import AveragePool, MaxPool
from refsnn.models.operators.reshaping import Flatten, Scale, Upsample
from refsnn.models.spiking_graph import Node, Population, SpikingGraph, Sum

SEEDS = st.integers(0, 2**32 - 1)
SOFT = SpikingNeuron(leak=0.6, threshold=0.9, detach_reset=False)
HARD = SpikingNeuron(
    leak=0.8, reset="hard", reset_value=-0.2, detach_reset=False, surrogate=Surrogate("triangle", 0.6, 0.8)
)
NEURONS = (SOFT, replace(SOFT, detach_reset=True), HARD, replace(HARD, detach_reset=True))
LOSSES = (
    {"loss_over": "mean_readout"},
    {"loss_over": "each_step"},
    {"loss_over": "each_step", "loss_function": "mean_squared_error", "readout_leak": 0.3},
    {"loss_over": "each_step", "squared_share": 0.3, "readout_leak": 0.7},
    {"loss_over": "mean_readout", "squared_share": 0.4, "readout_leak": 0.5},
)
EDGES = (
    {},
    {"reset": False},
    {"reset": True},
    {"feedback": False},
    {"leak": False},
    {"leak": {"layer.1": False}, "reset": {"layer.2": False}},
    {"leak": {"layer.2": False}, "reset": {"layer.1": True}},
)


@st.composite
def dense_graphs(draw, linear=False, delays=True, neurons=NEURONS, losses=LOSSES, any_edges=True):
    """Two layers with what may stand around them: loops, feedback, branches, normalisation, dropout.

    `linear` leaves out what no trace passes; without `delays` all nodes can take their steps at once.
    """
    flag = lambda: draw(st.booleans())  # noqa: E731
    nodes, widths, normalised = [], (5, 6, 6), []
    for l in (1, 2):
        neuron = replace(draw(st.sampled_from(neurons)), leak=draw(st.sampled_from([0.0, 0.4, 0.9, 1.0])))
        below, name = ("input", "layer.1.o")[l - 1], f"layer.{l}"
        normalised.append(not linear and flag())
        nodes.append(
            Node(f"{name}.in", (below,), Dense(widths[l], not normalised[-1], standardise=flag()), name)
        )
        parts = [f"{name}.in"]
        if normalised[-1]:
            nodes.append(Node(f"{name}.norm", parts, BatchNormalisation(epsilon=0.1, over="step")))
            parts = [f"{name}.norm"]
        if delays and flag():
            nodes.append(Node(f"{name}.loop", (f"{name}.o",), Dense(widths[l], flag()), delayed=True))
            parts.append(f"{name}.loop")
        if delays and l == 1 and flag():
            source = draw(st.sampled_from(["layer.2", "layer.2.sum", "readout", "input"]))
            nodes.append(Node("back", (source,), Dense(widths[l], flag()), delayed=True))
            parts.append("back")
        if l == 2 and flag():
            parts.append("layer.1")  # past the dropout
        nodes.append(Node(f"{name}.sum", parts, Sum()))
        nodes.append(Node(name, (f"{name}.sum",), Population(neuron)))
        nodes.append(Node(f"{name}.o", (name,), Dropout(0.3) if flag() else Scale(1.3)))
    nodes.append(Node("readout", ("layer.2.o",), Dense(3, flag())))
    graph = SpikingGraph(tuple(nodes), (widths[0],), **draw(st.sampled_from(losses)))
    return finished(draw, graph, 2 if any(normalised) else 1, any_edges)


@st.composite
def image_graphs(draw, linear=False, delays=True, neurons=NEURONS, losses=LOSSES, any_edges=True):
    """A convolutional network with either pooling and upsampled feedback."""
    flag = lambda: draw(st.booleans())  # noqa: E731
    leaks = st.sampled_from([0.3, 0.9])
    first, second = (replace(draw(st.sampled_from(neurons)), leak=draw(leaks)) for _ in range(2))
    maxima, normalised, feedback = not linear and flag(), not linear and flag(), delays and flag()
    pool = (MaxPool if maxima else AveragePool)(2, backend="plain")
    nodes = [Node("in", ("input",), Convolution2d(3, 3, padding=1, with_bias=not normalised), "layer.1")]
    parts = ["in"]
    if normalised:
        nodes.append(Node("norm", ("in",), BatchNormalisation(epsilon=0.1, over="step")))
        parts = ["norm"]
    if feedback:
        nodes.append(Node("back", ("tiles",), Convolution2d(3, 3, padding=1, with_bias=flag()), delayed=True))
        parts.append("back")
    nodes += [
        Node("layer.1.sum", parts, Sum()),
        Node("layer.1", ("layer.1.sum",), Population(first)),
        Node("pool", ("layer.1",), pool),
        Node("dropped", ("pool",), Dropout(0.2)),
        Node("layer.2.in", ("dropped",), Convolution2d(2, 3, padding=1, standardise=flag()), "layer.2"),
        Node("layer.2", ("layer.2.in",), Population(second)),
        *([Node("tiles", ("layer.2",), Upsample(2))] if feedback else []),
        Node("flat", ("layer.2",), Flatten()),
        Node("readout", ("flat",), Dense(3)),
    ]
    return finished(
        draw, SpikingGraph(tuple(nodes), (1, 4, 4), **draw(st.sampled_from(losses))), 1, any_edges
    )


def finished(draw, graph, least_batch, any_edges):
    """A live problem on a graph: (graph, parameters, inputs, targets)."""
    edges = Edges(**draw(st.sampled_from(EDGES))) if any_edges else Edges()
    steps, batch = draw(st.integers(1, 5)), draw(st.integers(least_batch, 3))
    rng = np.random.default_rng(draw(SEEDS))
    graph = replace(graph, edges=edges).with_dropout(rng, batch)
    return graph, *live(rng, graph, steps, batch)


def live(rng, graph, steps=5, batch=3, dtype=np.float64):
    """Parameters and data: each population spikes, but not always, and each gradient is alive."""
    for _ in range(200):
        parameters = graph.initialise(rng, dtype, gain=2.5, bias_mean=0.3, bias_deviation=0.4)
        for name, value in parameters.items():
            if name.endswith(("gamma", "beta", "gain")):
                parameters[name] = value + rng.uniform(0.2, 0.9, value.shape).astype(dtype)
        inputs = rng.uniform(-0.3, 1.3, (steps, batch, *graph.input_shape)).astype(dtype)
        targets = rng.integers(graph.classes, size=batch)
        if graph.loss_function == "mean_squared_error":
            targets = rng.normal(size=(batch, graph.classes)).astype(dtype)
        rates = spike_rates(graph, parameters, inputs)
        if not all(0 < rate < 1 for rate in rates.values()):
            continue
        gradients = whole((graph, parameters, inputs, targets)).gradients
        dead = one_step_old(graph) if steps == 1 else ()
        if all(np.abs(value).max() > 1e-7 or name.startswith(dead) for name, value in gradients.items()):
            return parameters, inputs, targets
    raise AssertionError("no live network in 200 draws")


def spike_rates(graph, parameters, inputs):
    """Of each population, by the model's own step."""
    state, free = graph.initial_state(parameters, len(inputs[0])), replace(graph, loss_over="mean_readout")
    seen = {name: [] for name in graph.populations}
    for x in inputs:
        following, tape = free._advanced(parameters, state, x)
        state = state | following
        for name, rates in seen.items():
            rates.append(float(tape.values[name].mean()))
    return {name: float(np.mean(rates)) for name, rates in seen.items()}


def one_step_old(graph):
    """Prefixes of the parameters that only act from the second step on."""
    return tuple(f"{node.parameter_prefix}." for node in graph.delayed) + ("back.",)


def assert_close(found, expected, error=1e-11, dead=(), smallest=1e-9):
    """Leaf by leaf, relative to the leaf's largest; only those that begin with a name of `dead` may be 0."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        assert found[name].shape == value.shape, name
        size = float(np.abs(value).max())
        if not name.startswith(tuple(dead)):
            assert size > smallest, f"{name} is dead"
        assert np.abs(found[name] - value).max() <= error * size + 1e-16, name


def whole(problem, **options):
    """BPTT over the model contract."""
    return bptt_over_steps(*problem, **options)
