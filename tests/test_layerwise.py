"""Deep graphs: BPTT, rates and temporal modes as three ways of keeping time in one pass."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.rate_backpropagation import rate_backpropagation
from refsnn.algorithms.temporal_galerkin import temporal_galerkin
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.contract import StaticInput
from refsnn.models.operators.convolution import Convolution2d
from refsnn.models.operators.dense import Dense
from refsnn.models.operators.normalisation import BatchNormalisation
from refsnn.models.operators.pooling import AdaptiveAveragePool, AveragePool, MaxPool
from refsnn.models.operators.reshaping import Flatten, Scale
from refsnn.models.spiking_graph import Node, Population, SpikingGraph, Sum
from refsnn.models.spiking_stack import DenseSpikingStack
from refsnn.oracles.affine_graph import AffineGraph

SEEDS = st.integers(0, 2**32 - 1)
NEURONS = [
    SpikingNeuron(leak=leak, reset=reset, detach_reset=detached, reset_value=-0.1 if reset == "hard" else 0.0)
    for leak in (0.2, 0.7)
    for reset in ("soft", "hard")
    for detached in (True, False)
]


def dense_graph(widths, neuron):
    """The dense stack as a graph, with the same parameter names."""
    nodes, below = [], "input"
    for index, width in enumerate(widths[1:-1], 1):
        name = f"layer.{index}"
        nodes += [
            Node(f"{name}.current", (below,), Dense(width), prefix=name),
            Node(name, (f"{name}.current",), Population(neuron)),
        ]
        below = name
    return SpikingGraph((*nodes, Node("readout", (below,), Dense(widths[-1]))), (widths[0],))


def residual_graph(neuron, pool):
    """Convolutions, normalisation, a residual block whose branches meet before the neurons, pooling."""
    return SpikingGraph(
        (
            Node("stem.current", ("input",), Convolution2d(4, 3, padding=1, with_bias=False), prefix="stem"),
            Node("stem.norm", ("stem.current",), BatchNormalisation()),
            Node("stem", ("stem.norm",), Population(neuron)),
            Node("pool", ("stem",), pool),
            Node("block.1.current", ("pool",), Convolution2d(4, 3, padding=1, standardise=True), "block.1"),
            Node("block.1", ("block.1.current",), Population(neuron)),
            Node("block.1.scaled", ("block.1",), Scale(1.5)),
            Node("block.2.current", ("block.1.scaled",), Convolution2d(4, 3, padding=1), "block.2"),
            Node("block.2.norm", ("block.2.current",), BatchNormalisation()),
            Node("block.sum", ("block.2.norm", "pool"), Sum()),
            Node("block", ("block.sum",), Population(neuron)),
            Node("mean", ("block",), AdaptiveAveragePool(1)),
            Node("flat", ("mean",), Flatten()),
            Node("readout", ("flat",), Dense(5)),
        ),
        (2, 8, 8),
    )


def live(rng, graph, steps=5, batch=3, static=False):
    """Parameters and data with every population firing."""
    for _ in range(50):
        parameters = graph.initialise(rng, gain=2.5, bias_mean=0.4)
        for name, value in parameters.items():
            if name.endswith(("gamma", "beta", "gain")):
                parameters[name] = value + rng.uniform(0, 0.4, value.shape)
        inputs = rng.uniform(size=(steps, batch, *graph.input_shape))
        if static:
            inputs[:] = inputs[0]
        targets = rng.integers(graph.classes, size=batch)
        rates = bptt(graph, parameters, inputs, targets, backend="plain").diagnostics.spike_rates
        if all(0.02 < rate < 0.98 for rate in rates.values()):
            return parameters, inputs, targets
    raise AssertionError("no live network in 50 draws")


def close(found, expected, error=1e-11, but=()):
    """Leaf by leaf; a bias in front of a normalisation has no gradient but rounding."""
    assert list(found) == list(expected)
    for name, value in expected.items():
        size = float(np.abs(value).max())
        if name in but:
            assert size < 1e-13
            continue
        assert size > 1e-8
        assert np.abs(found[name] - value).max() <= error * size


@given(seed=SEEDS, neuron=st.sampled_from(NEURONS))
@settings(max_examples=20)
def test_a_dense_graph_is_the_dense_stack(seed, neuron):
    rng = np.random.default_rng(seed)
    widths = (9, 12, 11, 4)
    graph, stack = dense_graph(widths, neuron), DenseSpikingStack(widths, neuron)
    problem = live(rng, graph)
    for backend in ("plain", "cpu"):
        for ours, theirs in (
            (bptt(graph, *problem, backend=backend), bptt(stack, *problem, backend=backend)),
            (
                bptt(graph, *problem, window=2, backend=backend),
                bptt(stack, *problem, window=2, backend=backend),
            ),
            (
                rate_backpropagation(graph, *problem, backend=backend),
                rate_backpropagation(stack, *problem, backend=backend),
            ),
            (
                temporal_galerkin(graph, *problem, n_modes=3, backend=backend),
                temporal_galerkin(stack, *problem, n_modes=3, backend=backend),
            ),
        ):
            close(ours.gradients, theirs.gradients)
            assert ours.loss == pytest.approx(theirs.loss, rel=1e-13)
            assert ours.diagnostics.margin == pytest.approx(theirs.diagnostics.margin, rel=1e-12)
            assert ours.diagnostics.spike_rates == pytest.approx(theirs.diagnostics.spike_rates)


@given(seed=SEEDS, neuron=st.sampled_from(NEURONS))
@settings(max_examples=20)
def test_all_modes_are_backpropagation_through_time_with_normalisation_too(seed, neuron):
    graph = residual_graph(neuron, AveragePool(2))
    problem = live(np.random.default_rng(seed), graph)
    truth = bptt(graph, *problem, backend="plain").gradients
    modes = temporal_galerkin(graph, *problem, n_modes=5, backend="plain").gradients
    close(modes, truth, but=("block.2.bias",))
    fewer = temporal_galerkin(graph, *problem, n_modes=4, backend="plain").gradients
    assert any(np.abs(fewer[name] - truth[name]).max() > 1e-6 for name in truth)


@given(seed=SEEDS, neuron=st.sampled_from(NEURONS))
@settings(max_examples=20)
def test_one_mode_is_rate_based_with_normalisation_too(seed, neuron):
    graph = residual_graph(neuron, AveragePool(2))
    problem = live(np.random.default_rng(seed), graph)
    mode = temporal_galerkin(graph, *problem, n_modes=1, backend="plain").gradients
    rate = rate_backpropagation(graph, *problem, scale="bptt", backend="plain").gradients
    close(rate, mode, but=("block.2.bias",))
    paper = rate_backpropagation(graph, *problem, backend="plain").gradients
    close({name: 5 * value for name, value in paper.items()}, rate, but=("block.2.bias",))


@given(seed=SEEDS, neuron=st.sampled_from(NEURONS))
@settings(max_examples=20)
def test_one_hidden_layer_and_static_input_make_rates_exact(seed, neuron):
    """X2 with a convolution, joint normalisation and average pooling; and not with time-varying input."""
    graph = SpikingGraph(
        (
            Node("layer.1.current", ("input",), Convolution2d(4, 3, padding=1, with_bias=False), "layer.1"),
            Node("layer.1.norm", ("layer.1.current",), BatchNormalisation()),
            Node("layer.1", ("layer.1.norm",), Population(neuron)),
            Node("pool", ("layer.1",), AveragePool(2)),
            Node("flat", ("pool",), Flatten()),
            Node("readout", ("flat",), Dense(5)),
        ),
        (2, 6, 6),
    )
    rng = np.random.default_rng(seed)
    for static in (True, False):
        problem = live(rng, graph, static=static)
        truth = bptt(graph, *problem, backend="plain").gradients
        rate = rate_backpropagation(graph, *problem, scale="bptt", backend="plain").gradients
        apart = max(np.abs(rate[name] - truth[name]).max() / np.abs(truth[name]).max() for name in truth)
        assert apart <= 1e-11 if static else apart > 1e-4


def test_backends_are_twins_on_graphs():
    graph = residual_graph(NEURONS[3], MaxPool(2))
    problem = live(np.random.default_rng(5), graph)
    for run in (bptt, lambda *p, **o: rate_backpropagation(*p, **o)):
        plain, cpu = (run(graph, *problem, backend=backend) for backend in ("plain", "cpu"))
        close(cpu.gradients, plain.gradients, but=("block.2.bias",))


def test_memory_of_rates_does_not_grow_with_time():
    graph = residual_graph(NEURONS[0], MaxPool(2))
    kept = {}
    for steps in (4, 40):
        problem = live(np.random.default_rng(6), graph, steps=steps)
        kept[steps] = (
            rate_backpropagation(graph, *problem, backend="plain").diagnostics.bytes_kept,
            bptt(graph, *problem, backend="plain").diagnostics.bytes_kept,
        )
    assert kept[4][0] == kept[40][0]
    assert kept[40][1] == 10 * kept[4][1]


def test_float32_stays_float32_and_static_input_is_taken():
    graph = residual_graph(NEURONS[0], MaxPool(2))
    rng = np.random.default_rng(7)
    parameters = graph.initialise(rng, np.float32)
    images = StaticInput(rng.random((3, *graph.input_shape), np.float32), 4)
    for run in (bptt, rate_backpropagation):
        result = run(graph, parameters, images, [0, 1, 2])
        assert {value.dtype for value in result.gradients.values()} == {np.dtype(np.float32)}
        assert result.diagnostics.outputs.dtype == np.float32


def test_what_a_pass_cannot_treat_is_refused_by_name():
    graph = residual_graph(NEURONS[0], MaxPool(2))
    problem = live(np.random.default_rng(8), graph)
    with pytest.raises(ValueError, match="got max pooling"):
        temporal_galerkin(graph, *problem, n_modes=2)
    with pytest.raises(ValueError, match=r"node 'stem\.norm': expected statistics of each step"):
        rate_backpropagation(graph, *problem, mode="single_step")
    parameters, inputs, targets = problem
    with pytest.raises(ValueError, match="inputs: expected shape"):
        bptt(graph, parameters, inputs[:, :, :1], targets)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((), "last node, the read-out"),
        ((Node("a", ("b",), Dense(2)),), r"nodes\[0\] \('a'\): expected inputs among the nodes before it"),
        ((Node("a", ("input",), Dense(2)), Node("a", ("a",), Dense(2))), "a name of its own"),
        ((Node("a", ("input", "input"), Dense(2)),), "only a Sum reads several"),
        ((Node("a", ("input",), Population()),), "last node, the read-out"),
        ((Node("a", ("input",), BatchNormalisation()),), "a linear operator as the last node"),
        ((Node("a", ("input",), Dense(2)), Node("b", ("input",), Dense(2))), r"got \['a'\] read by none"),
        (
            (Node("a", ("input",), Dense(2)), Node("b", ("a", "input"), Sum()), Node("c", ("b",), Dense(1))),
            "inputs of one shape",
        ),
        ((Node("a", ("input",), Convolution2d(2, 3)),), r"nodes\[0\] \('a'\)"),
    ],
)
def test_graphs_that_are_none_are_refused(nodes, message):
    with pytest.raises(ValueError, match=message):
        SpikingGraph(nodes, (4,))


# ---------------------------------------------------------------- an independent truth


@pytest.mark.parametrize("pool", [AveragePool(2, backend="plain"), MaxPool(2, backend="plain")])
@pytest.mark.parametrize("neuron", NEURONS[4:])
def test_backpropagation_through_a_graph_is_the_affine_spike_truth(neuron, pool):
    """Branches that meet, normalisation over time and batch, standardised kernels: leaf by leaf."""
    rng = np.random.default_rng(11)
    graph = residual_graph(neuron, pool)
    parameters, inputs, labels = live(rng, graph)
    found = bptt(graph, parameters, inputs, labels, backend="plain")
    oracle = AffineGraph(graph, parameters, inputs, labels)
    assert oracle.loss(parameters) == pytest.approx(found.loss, rel=1e-12)
    for name, value in parameters.items():
        for _ in range(2):
            direction = rng.normal(size=value.shape)
            slope = oracle.derivative({name: direction})
            ours = float((found.gradients[name] * direction).sum())
            size = float(np.abs(found.gradients[name] * direction).sum())
            assert abs(ours - slope) <= 1e-11 * size + 1e-14
            assert size > 1e-8 or name == "block.2.bias"


def test_a_sequence_with_several_readers_is_not_written_over():
    """Two populations on one current, and a third that reads it through an operator."""
    neuron = NEURONS[2]
    graph = SpikingGraph(
        (
            Node("current", ("input",), Dense(6)),
            Node("first", ("current",), Population(neuron)),
            Node("second", ("current",), Population(SpikingNeuron(leak=0.9, threshold=0.7))),
            Node("both", ("first", "second"), Sum()),
            Node("readout", ("both",), Dense(3)),
        ),
        (5,),
    )
    parameters, inputs, labels = live(np.random.default_rng(12), graph)
    oracle = AffineGraph(graph, parameters, inputs, labels)
    for backend in ("plain", "cpu"):
        found = bptt(graph, parameters, inputs, labels, backend=backend)
        assert oracle.loss(parameters) == pytest.approx(found.loss, rel=1e-12)
        rate = rate_backpropagation(graph, parameters, inputs, labels, backend=backend)
        assert rate.loss == pytest.approx(found.loss, rel=1e-12)


@pytest.mark.parametrize("run", [bptt, rate_backpropagation])
@pytest.mark.parametrize("backend", ["plain", "cpu"])
def test_neither_inputs_nor_kept_spikes_are_written_over(run, backend):
    """Populations that read the input, and spikes through a view of them."""
    neuron = NEURONS[2]
    graph = SpikingGraph(
        (
            Node("first", ("input",), Population(neuron)),
            Node("flat", ("first",), Flatten()),
            Node("second", ("flat",), Population(SpikingNeuron(leak=0.9, threshold=0.7))),
            Node("hidden.current", ("second",), Dense(6), prefix="hidden"),
            Node("hidden", ("hidden.current",), Population(neuron)),
            Node("both", ("flat",), Dense(6)),
            Node("sum", ("hidden", "both"), Sum()),
            Node("readout", ("sum",), Dense(3)),
        ),
        (2, 2, 2),
    )
    parameters, inputs, labels = live(np.random.default_rng(13), graph)
    before = inputs.copy()
    found = run(graph, parameters, inputs, labels, backend=backend)
    np.testing.assert_array_equal(inputs, before)
    oracle = AffineGraph(graph, parameters, inputs, labels)
    assert oracle.loss(parameters) == pytest.approx(found.loss, rel=1e-12)
    if run is bptt:
        for name, value in parameters.items():
            direction = np.random.default_rng(14).normal(size=value.shape)
            slope = oracle.derivative({name: direction})
            assert slope == pytest.approx(float((found.gradients[name] * direction).sum()), rel=1e-10)
    still = StaticInput(inputs[0], 5)
    assert run(graph, parameters, still, labels, backend=backend).loss > 0
