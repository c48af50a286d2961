"""Rates in the single-step mode: as in the other one, and BN-S by the printed formulas, by hand."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.rate_backpropagation import rate_backpropagation
from refsnn.algorithms.temporal_galerkin import temporal_galerkin
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.builders.dense import dense_network
from refsnn.models.contract import StaticInput
from refsnn.models.operators.convolution import Convolution2d
from refsnn.models.operators.dense import Dense
from refsnn.models.operators.normalisation import BatchNormalisation
from refsnn.models.operators.pooling import MaxPool
from refsnn.models.operators.reshaping import Flatten
from refsnn.models.spiking_graph import Node, Population, SpikingGraph
from tests.online_by_hand import SLOPE, correlated, products, slope, spread
from tests.spiking_graphs import HARD, SOFT, assert_close, dense_graphs, image_graphs, live

EPSILON = 0.05  # large enough that a misplaced one shows
OPTIONS = ("mean", "last", "exact")
NEURONS = [
    SpikingNeuron(0.6, threshold=0.9, surrogate=SLOPE, detach_reset=detached, reset=reset, reset_value=value)
    for detached in (True, False)
    for reset, value in (("soft", 0.0), ("hard", -0.2))
]


# ---------------------------------------------------------------- the two modes


@given(
    problem=st.one_of(
        dense_graphs(delays=False, any_edges=False), image_graphs(delays=False, any_edges=False)
    ),
    options=st.fixed_dictionaries(
        {
            "scale": st.sampled_from(["paper", "bptt"]),
            "step_statistics": st.sampled_from(OPTIONS),
            "input_rate": st.sampled_from(["mean", "last"]),
        }
    ),
)
@settings(max_examples=50)
def test_single_step_is_multi_step(problem, options):
    """X6; also with normalisation of each step, which both modes do alike."""
    graph = problem[0]
    multi, single = (
        rate_backpropagation(*problem, mode=mode, backend="plain", **options)
        for mode in ("multi_step", "single_step")
    )
    # an input whose rate is that of its last frame may leave nothing
    dead = tuple(graph.parameter_shapes()) if options["input_rate"] == "last" else ("layer.1.", "layer.2.")
    assert_close(single.gradients, multi.gradients, dead=dead)
    assert any(np.abs(value).max() > 1e-6 for value in single.gradients.values())
    assert single.loss == pytest.approx(multi.loss, rel=1e-12)
    ours, theirs = single.diagnostics, multi.diagnostics
    np.testing.assert_allclose(ours.outputs, theirs.outputs, rtol=0, atol=1e-12)
    assert ours.spike_rates == pytest.approx(theirs.spike_rates)
    assert ours.margin == pytest.approx(theirs.margin, abs=1e-12)
    assert ours.steps_executed == theirs.steps_executed == len(problem[2])
    for name, seen in theirs.statistics.items():
        assert ours.statistics[name].entries == seen.entries
        np.testing.assert_allclose(ours.statistics[name].mean, seen.mean, rtol=0, atol=1e-12)
        np.testing.assert_allclose(ours.statistics[name].variance, seen.variance, rtol=0, atol=1e-12)


# ---------------------------------------------------------------- by hand


class DenseMap:
    """Two dense maps."""

    inputs, pooled = (5,), False

    @staticmethod
    def graph(neuron):
        return SpikingGraph(
            (
                Node("in", ("input",), Dense(6, with_bias=False), "a"),
                Node("a.norm", ("in",), BatchNormalisation(epsilon=EPSILON, over="step")),
                Node("a", ("a.norm",), Population(neuron)),
                Node("up", ("a",), Dense(4, with_bias=False), "b"),
                Node("b.norm", ("up",), BatchNormalisation(epsilon=EPSILON, over="step")),
                Node("b", ("b.norm",), Population(neuron)),
                Node("readout", ("b",), Dense(3)),
            ),
            (5,),
        )

    linear = staticmethod(lambda w, z: z @ w.T)
    adjoint = staticmethod(lambda w, d: d @ w)
    product = staticmethod(lambda d, z: d.T @ z)


class PooledMap:
    """Two convolutions, a maximum of spikes, or in the rate pass of rates, between them."""

    inputs, pooled = (2, 4, 4), True

    @staticmethod
    def graph(neuron):
        return SpikingGraph(
            (
                Node("in", ("input",), Convolution2d(3, 3, padding=1, with_bias=False), "a"),
                Node("a.norm", ("in",), BatchNormalisation(epsilon=EPSILON, over="step")),
                Node("a", ("a.norm",), Population(neuron)),
                Node("pool", ("a",), MaxPool(2)),
                Node("up", ("pool",), Convolution2d(2, 3, padding=1, with_bias=False), "b"),
                Node("b.norm", ("up",), BatchNormalisation(epsilon=EPSILON, over="step")),
                Node("b", ("b.norm",), Population(neuron)),
                Node("flat", ("b",), Flatten()),
                Node("readout", ("flat",), Dense(3)),
            ),
            (2, 4, 4),
        )

    linear, adjoint, product = staticmethod(correlated), staticmethod(spread), staticmethod(products)


def maxima(z):
    """Of 2 x 2 windows, and a 1 where the first of the largest is, in row-major order."""
    where = np.zeros_like(z)
    for at in np.ndindex(*z.shape[:2], 2, 2):
        window = (*at[:2], slice(2 * at[2], 2 * at[2] + 2), slice(2 * at[3], 2 * at[3] + 2))
        flat = np.zeros(4)
        flat[z[window].argmax()] = 1
        where[window] = flat.reshape(2, 2)
    windows = z.reshape(*z.shape[:2], 2, 2, 2, 2)
    return windows.max(axis=(3, 5)), where


def over(array):
    return (0, *range(2, array.ndim))


def mean(array):
    return array.mean(axis=over(array), keepdims=True)


def channels(values, like):
    return values.reshape(-1, *(1,) * (like.ndim - 2))


def normalised_by_hand(q, name, current):
    mu = mean(current)
    variance = mean((current - mu) ** 2)
    normal = (current - mu) / np.sqrt(variance + EPSILON)
    tilde = channels(q[f"{name}.norm.gamma"], normal) * normal + channels(q[f"{name}.norm.beta"], normal)
    return tilde, (mu, variance, normal)


class Neurons:
    """v, rho and the sums of a layer."""

    def __init__(self, neuron):
        self.neuron, self.v, self.rho, self.slopes, self.spikes = neuron, neuron.reset_value, 1.0, 0.0, 0.0

    def step(self, current):
        n, kappa = self.neuron, 0.0 if self.neuron.detach_reset else 1.0
        rest = (1 - n.leak) * n.reset_value if n.reset == "hard" else 0.0
        u = n.leak * self.v + rest + current
        s, psi = (u >= n.threshold).astype(float), slope(u - n.threshold)
        self.slopes, self.spikes = self.slopes + psi * self.rho, self.spikes + s
        if n.reset == "soft":
            factor, self.v = n.leak * (1 - kappa * n.threshold * psi), u - n.threshold * s
        else:
            factor = n.leak * ((1 - s) + kappa * (n.reset_value - u) * psi)
            self.v = (1 - s) * u + s * n.reset_value
        self.rho = 1 + self.rho * factor
        return s


def rates_by_hand(net, neuron, q, inputs, labels, option, input_rate):
    """One pass up in time and one down in rates: the gradient at the scale of BPTT, and the loss."""
    steps, batch = len(inputs), len(labels)
    layers, recorded, output = {n: Neurons(neuron) for n in "ab"}, {"a": [], "b": []}, 0.0
    for x in inputs:
        z = x
        for name in "ab":
            if name == "b" and net.pooled:
                z, _ = maxima(z)
            current, record = normalised_by_hand(q, name, net.linear(q[f"{name}.weight"], z))
            recorded[name].append(record)
            z = layers[name].step(current)
        output = output + z.reshape(batch, -1) @ q["readout.weight"].T + q["readout.bias"]
    shares = np.exp(output / steps) / np.exp(output / steps).sum(axis=1, keepdims=True)
    loss = -np.log(shares[np.arange(batch), labels]).mean()

    e = {name: layer.spikes / steps for name, layer in layers.items()}
    g = {name: layer.slopes / steps for name, layer in layers.items()}
    below = {"a": inputs.mean(axis=0) if input_rate == "mean" else inputs[-1], "b": e["a"]}
    if net.pooled:
        below["b"], winners = maxima(e["a"])
    found = {}
    d = (shares - np.eye(3)[labels]) / batch
    found["readout.weight"], found["readout.bias"] = d.T @ e["b"].reshape(batch, -1), d.sum(axis=0)
    d = (d @ q["readout.weight"]).reshape(e["b"].shape)
    for name in "ba":
        weight, gamma = q[f"{name}.weight"], q[f"{name}.norm.gamma"]
        mus, variances, normals = (np.array(entry) for entry in zip(*recorded[name], strict=True))
        d = g[name] * d
        c = net.linear(weight, below[name])
        if option == "mean":
            mu, V = mus.mean(axis=0), 1 / (1 / (variances + EPSILON)).mean(axis=0)
        else:
            mu, V = mus[-1], variances[-1] + 2 * EPSILON
        hat = normals.mean(axis=0) if option == "exact" else (c - mu) / np.sqrt(V)
        found[f"{name}.norm.beta"] = d.sum(axis=over(d))
        found[f"{name}.norm.gamma"] = (d * hat).sum(axis=over(d))
        d = channels(gamma, d) * d
        if option == "exact":
            d = np.mean(
                [
                    (d - mean(d) - normal * mean(d * normal)) / np.sqrt(variance + EPSILON)
                    for normal, variance in zip(normals, variances, strict=True)
                ],
                axis=0,
            )
        else:
            d = (d - mean(d) - (c - mean(c)) / np.sqrt(V) * mean(d * hat)) / np.sqrt(V)
        found[f"{name}.weight"] = net.product(d, below[name])
        if name == "b":
            d = net.adjoint(weight, d)
            if net.pooled:
                d = np.kron(d, np.ones((2, 2))) * winners
    return loss, found


@pytest.mark.parametrize("net", [DenseMap, PooledMap])
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("neuron", NEURONS)
def test_normalisation_of_each_step_by_hand(net, option, neuron):
    graph = net.graph(neuron)
    for seed, input_rate in ((1, "mean"), (2, "last")):
        parameters, inputs, labels = live(np.random.default_rng(seed), graph, steps=5, batch=4)
        arguments = net, neuron, parameters, inputs, labels, option, input_rate
        loss, expected = rates_by_hand(*arguments)
        for mode in ("multi_step", "single_step"):
            options = {"mode": mode, "step_statistics": option, "input_rate": input_rate}
            found = rate_backpropagation(
                graph, parameters, inputs, labels, scale="bptt", backend="plain", **options
            )
            assert found.loss == pytest.approx(loss, rel=1e-12)
            assert_close(found.gradients, expected, error=1e-10)
            paper = rate_backpropagation(graph, parameters, inputs, labels, backend="plain", **options)
            assert_close({n: 5 * v for n, v in paper.gradients.items()}, found.gradients, error=1e-13)
            assert paper.loss == found.loss


def test_the_three_differ_and_with_one_step_only_the_doubled_epsilon_is_left():
    graph = DenseMap.graph(NEURONS[0])
    for steps in (1, 5):
        problem = (graph, *live(np.random.default_rng(3), graph, steps=steps, batch=4))
        mean_, last, exact = (
            rate_backpropagation(*problem, step_statistics=option).gradients["b.norm.gamma"]
            for option in OPTIONS
        )
        size = np.abs(exact).max()
        assert np.abs(last - exact).max() > 1e-3 * size
        assert np.abs(mean_ - exact).max() <= 1e-12 * size if steps == 1 else 1e-4 * size


def one_hidden(neuron):
    return SpikingGraph(
        (
            Node("in", ("input",), Dense(6, with_bias=False), "a"),
            Node("a.norm", ("in",), BatchNormalisation(epsilon=EPSILON, over="step")),
            Node("a", ("a.norm",), Population(neuron)),
            Node("readout", ("a",), Dense(3)),
        ),
        (5,),
    )


@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("mode", ["multi_step", "single_step"])
def test_one_hidden_layer_and_static_input_make_rates_exact(mode, neuron):
    """X2 and N8: but for the doubled epsilon of "last", which is known to the last digit."""
    graph = one_hidden(neuron)
    parameters, inputs, labels = live(np.random.default_rng(4), graph, batch=4)
    still = parameters, StaticInput(inputs[0], 6), labels
    truth = bptt(graph, *still).gradients
    for option in ("mean", "exact"):
        found = rate_backpropagation(graph, *still, mode=mode, scale="bptt", step_statistics=option)
        assert_close(found.gradients, truth)
    last = rate_backpropagation(graph, *still, mode=mode, scale="bptt", step_statistics="last").gradients
    variance = (inputs[0] @ parameters["a.weight"].T).var(axis=0)
    ratio = np.sqrt((variance + EPSILON) / (variance + 2 * EPSILON))
    np.testing.assert_allclose(last["a.norm.gamma"], ratio * truth["a.norm.gamma"], rtol=1e-11)
    for name in ("a.norm.beta", "readout.weight", "readout.bias"):
        assert_close({name: last[name]}, {name: truth[name]})
    assert np.abs(last["a.weight"] - truth["a.weight"]).max() > 1e-3 * np.abs(truth["a.weight"]).max()


# ---------------------------------------------------------------- what the rate pass sees of the input


@pytest.mark.parametrize("mode", ["multi_step", "single_step"])
def test_the_last_frame_reaches_the_first_weight_only(mode):
    graph = SpikingGraph(
        (
            Node("in", ("input",), Dense(6), "a"),
            Node("a", ("in",), Population(SOFT)),
            Node("up", ("a",), Dense(6), "b"),
            Node("b", ("up",), Population(SOFT)),
            Node("readout", ("b",), Dense(3)),
        ),
        (5,),
    )
    parameters, inputs, labels = live(np.random.default_rng(5), graph)
    mean_, last = (
        rate_backpropagation(graph, parameters, inputs, labels, mode=mode, input_rate=rate).gradients
        for rate in ("mean", "last")
    )
    for name in mean_:
        same = np.array_equal(mean_[name], last[name])
        assert same == (name != "a.weight"), name
    # d^1 e^0 with one sample: the rows of the gradient are multiples of what was seen
    alone = inputs[:, :1], labels[:1]
    for rate, seen in (("mean", inputs[:, 0].mean(axis=0)), ("last", inputs[-1, 0])):
        found = rate_backpropagation(graph, parameters, *alone, mode=mode, input_rate=rate).gradients
        expected = np.outer(found["a.bias"], seen)
        assert_close({"w": found["a.weight"]}, {"w": expected})
    still = StaticInput(inputs[0], 4)
    for name, value in rate_backpropagation(graph, parameters, still, labels, mode=mode).gradients.items():
        other = rate_backpropagation(graph, parameters, still, labels, mode=mode, input_rate="last")
        np.testing.assert_allclose(other.gradients[name], value, rtol=0, atol=1e-14)


# ---------------------------------------------------------------- memory


def test_what_is_kept_does_not_grow_with_time_but_for_exact():
    graph = PooledMap.graph(NEURONS[0])
    for option in OPTIONS:
        kept = []
        for steps in (4, 8, 40):
            problem = live(np.random.default_rng(6), graph, steps=steps, batch=4)
            result = rate_backpropagation(graph, *problem, mode="single_step", step_statistics=option)
            kept.append(result.diagnostics.bytes_kept)
        if option == "exact":
            assert kept[2] - kept[1] == 8 * (kept[1] - kept[0]) > 0
        else:
            assert kept[0] == kept[1] == kept[2]


@pytest.mark.parametrize("normalised", [True, False])
def test_no_array_of_all_steps_exists_in_single_step_mode(normalised):
    graph = one_hidden(SOFT)
    if not normalised:
        nodes = [node for node in graph.nodes if node.name != "a.norm"]
        nodes[1] = replace(nodes[1], inputs=("in",))
        graph = replace(graph, nodes=tuple(nodes))
    rng = np.random.default_rng(7)
    parameters, image = graph.initialise(rng), rng.random((200, 5))

    def peak(mode, steps):
        tracemalloc.start()
        still = StaticInput(image, steps)
        rate_backpropagation(graph, parameters, still, np.zeros(200, int), mode=mode, backend="plain")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak("single_step", 2)  # imports and caches
    assert peak("single_step", 100) < 1.5 * peak("single_step", 10)
    assert peak("multi_step", 100) > 5 * peak("multi_step", 10)


# ---------------------------------------------------------------- what is refused


def test_other_options_and_joint_statistics_are_refused():
    graph = DenseMap.graph(HARD)
    rng = np.random.default_rng(8)
    problem = graph.initialise(rng), rng.random((3, 4, 5)), [0, 1, 2, 0]
    for options in (
        {"mode": "both"},
        {"scale": "T"},
        {"step_statistics": "first"},
        {"input_rate": "first"},
    ):
        with pytest.raises(ValueError, match=f"{next(iter(options))}: expected"):
            rate_backpropagation(graph, *problem, **options)
    with pytest.raises(ValueError, match="edges: expected leak=True under rates"):
        rate_backpropagation(graph.with_edges(leak=False), *problem)
    with pytest.raises(ValueError, match="inputs: expected at least 2 entries a channel"):
        rate_backpropagation(graph, problem[0], problem[1][:, :1], [0], mode="single_step")
    for inputs in (np.zeros((0, 4, 5)), np.zeros((3, 0, 5)), 5, None):
        with pytest.raises((TypeError, ValueError), match="inputs: expected"):
            rate_backpropagation(graph, problem[0], inputs, problem[2])
    nodes = tuple(
        replace(node, what=BatchNormalisation()) if node.name == "b.norm" else node for node in graph.nodes
    )
    with pytest.raises(ValueError, match=r"node 'b\.norm': expected statistics of each step"):
        rate_backpropagation(replace(graph, nodes=nodes), *problem, mode="single_step")


@pytest.mark.parametrize("loss", [{}, {"loss_over": "each_step"}, {"readout_leak": 0.6}])
@pytest.mark.parametrize("backend", ["plain", "cpu"])
def test_temporal_modes_step_by_step_are_those_of_whole_layers(loss, backend):
    rng = np.random.default_rng(4)
    graph = dense_network((5, 9, 8, 3), SpikingNeuron(leak=0.8, detach_reset=False), **loss)
    parameters, inputs = graph.initialise(rng, gain=3.0), rng.random((7, 4, 5))
    problem = graph, parameters, inputs, [0, 1, 2, 0]
    whole = bptt(*problem, backend=backend)
    assert all(0.05 < rate < 0.95 for rate in whole.diagnostics.spike_rates.values())
    for modes in (1, 3, 7):
        layers = temporal_galerkin(*problem, n_modes=modes, backend=backend)
        steps = temporal_galerkin(*problem, n_modes=modes, mode="single_step", backend=backend)
        assert steps.loss == pytest.approx(layers.loss, rel=1e-12)
        assert steps.diagnostics.bytes_kept == layers.diagnostics.bytes_kept
        for name, value in layers.gradients.items():
            np.testing.assert_allclose(steps.gradients[name], value, rtol=1e-9, atol=1e-14)
            if modes == 7:
                np.testing.assert_allclose(whole.gradients[name], value, rtol=1e-9, atol=1e-14)
