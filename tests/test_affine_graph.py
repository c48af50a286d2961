"""The oracle for spiking graphs against derivatives by hand, and BPTT along any edges against the oracle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refsnn.algorithms.bptt import bptt
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.models.builders.dense import dense_network
from refsnn.models.builders.vgg import vgg
from refsnn.models.edges import Edges
from refsnn.models.operators.dense import Dense
from refsnn.models.operators.normalisation import BatchNormalisation
from refsnn.models.operators.pooling import MaxPool
from refsnn.models.spiking_graph import Node, Population, SpikingGraph, Sum
from refsnn.oracles.affine_graph import AffineGraph, smooth_graph_loss
from refsnn.oracles.complex_step import complex_step_gradient
from refsnn.oracles.finite_differences import central_gradient

SEEDS = st.integers(0, 2**32 - 1)
SOFT = SpikingNeuron(leak=0.7, threshold=0.9, surrogate=Surrogate("arctan", 2.0, 0.8), detach_reset=False)
HARD = SpikingNeuron(leak=0.5, reset="hard", reset_value=-0.2, detach_reset=False)
LOSSES = (
    {"loss_over": "mean_readout"},
    {"loss_over": "each_step"},
    {"loss_over": "each_step", "squared_share": 0.3, "readout_leak": 0.6},
    {"loss_over": "mean_readout", "squared_share": 0.3, "readout_leak": 0.6},
)
EDGES = (
    Edges(),
    Edges(reset=False),
    Edges(feedback=False),
    Edges(leak=False),
    Edges(leak={"layer.1": False}, reset={"layer.2": False}),
    Edges(leak=False, reset=False, feedback=False),
)


def normalised_loop(neuron):
    """Normalisation of each step in front of neurons that also read themselves, and each other's maxima."""
    return SpikingGraph(
        (
            Node("layer.1.current", ("input",), Dense(6, standardise=True), "layer.1"),
            Node("layer.1.norm", ("layer.1.current",), BatchNormalisation(over="step")),
            Node("back", ("layer.2",), Dense(6), delayed=True),
            Node("layer.1.sum", ("layer.1.norm", "back"), Sum()),
            Node("layer.1", ("layer.1.sum",), Population(neuron)),
            Node("layer.2.current", ("layer.1",), Dense(5), "layer.2"),
            Node("layer.2", ("layer.2.current",), Population(replace(neuron, leak=0.9))),
            Node("readout", ("layer.2",), Dense(3)),
        ),
        (5,),
    )


NETWORKS = {
    "dense": lambda neuron: dense_network((5, 6, 5, 3), neuron),
    "standardised, dropped": lambda neuron: dense_network(
        (5, 6, 5, 3), neuron, standardise=True, scale=1.7, dropout=0.3
    ),
    "recurrent, dropped": lambda neuron: dense_network((5, 6, 5, 3), neuron, recurrent=True, dropout=0.3),
    "normalised each step, feedback": normalised_loop,
    "convolutions, feedback": lambda neuron: vgg(
        (3, "pool", 4), 3, (2, 4, 4), normalisation="sws", scale=1.5, feedback=True, neuron=neuron
    ),
    "convolutions, maxima, normalised jointly": lambda neuron: vgg(
        (3, "pool", 4), 3, (2, 4, 4), normalisation="batch", pooling="max", neuron=neuron
    ),
}


def live(rng, graph, steps=5, batch=3):
    """A problem in which every population fires, no spike by a hair, and masks are drawn."""
    for _ in range(100):
        drawn = graph.with_dropout(rng, batch)
        parameters = graph.initialise(rng, gain=3.0, bias_mean=0.4)
        parameters = {
            name: value + 0.1 * rng.standard_normal(value.shape) for name, value in parameters.items()
        }
        inputs, targets = (
            rng.random((steps, batch, *graph.input_shape)),
            rng.integers(graph.classes, size=batch),
        )
        happened = bptt(drawn, parameters, inputs, targets, backend="plain").diagnostics
        if happened.margin > 1e-6 and all(0.05 < rate < 0.95 for rate in happened.spike_rates.values()):
            return drawn, parameters, inputs, targets
    raise AssertionError("no live network in 100 draws")


def errors_along(rng, found, oracle, edges=None):
    """|<G - truth, d>| / |G| for each leaf along two random directions."""
    errors = {}
    for name, value in found.items():
        size = float(np.linalg.norm(value))
        for _ in range(2):
            direction = rng.standard_normal(value.shape)
            slope = oracle.derivative({name: direction}, edges)
            errors[name] = max(errors.get(name, 0.0), abs(float((value * direction).sum()) - slope) / size)
    return errors


# ---------------------------------------------------------------- the oracle against derivatives by hand


def one_neuron(**fields):
    """w and the recurrent r into one neuron, o = 2 s, half the square of the mean read-out."""
    neuron = SpikingNeuron(
        leak=0.5, detach_reset=False, surrogate=Surrogate("constant", height=0.25), **fields
    )
    nodes = (
        Node("in", ("input",), Dense(1, with_bias=False)),
        Node("back", ("n",), Dense(1, with_bias=False), delayed=True),
        Node("sum", ("in", "back"), Sum()),
        Node("n", ("sum",), Population(neuron)),
        Node("readout", ("n",), Dense(1, with_bias=False)),
    )
    graph = SpikingGraph(nodes, (1,), loss_function="mean_squared_error")
    parameters = {"in.weight": [[1.5]], "back.weight": [[0.125]], "readout.weight": [[2.0]]}
    arrays = {name: np.array(value) for name, value in parameters.items()}
    return AffineGraph(graph, arrays, np.ones((2, 1, 1)), np.zeros((1, 1)))


@pytest.mark.parametrize(
    ("edges", "by_weight"),
    [
        # h1 = w, h2 = leak v1 + w + r s1, psi = 1/4, threshold 1, s1 = s2 = 1; dh2/dw along what is live:
        (Edges(), 1 + 0.5 * (1 - 0.25) + 0.125 * 0.25),
        (Edges(reset=False), 1 + 0.5 + 0.125 * 0.25),
        (Edges(feedback=False), 1 + 0.5 * (1 - 0.25)),
        (Edges(leak=False), 1 + 0.125 * 0.25),
        (Edges(leak=False, feedback=False), 1.0),
        (Edges(leak={"n": False}, feedback={"back": False}), 1.0),
    ],
)
def test_two_steps_of_one_neuron_by_hand(edges, by_weight):
    oracle = one_neuron()
    found = oracle.gradient(edges)
    assert oracle.loss(oracle.parameters, edges) == pytest.approx(2.0)  # (2 + 2) / 2, squared and halved
    # dL/dy = 2 at the mean; each step has 1/2 of it, times the read-out 2 and psi 1/4
    assert found["in.weight"].item() == pytest.approx(2 * 0.5 * 2 * 0.25 * (1 + by_weight), rel=1e-14)
    assert found["back.weight"].item() == pytest.approx(2 * 0.5 * 2 * 0.25 * 1.0, rel=1e-14)
    assert found["readout.weight"].item() == pytest.approx(2.0, rel=1e-14)


def test_the_reset_to_a_value_by_hand():
    oracle = one_neuron(reset="hard", reset_value=-0.5)
    # v1 = (1 - s1) h1 + s1 v_r: dv1/dh1 = (1 - s1) + (v_r - h1) psi, h1 = 1.5 + the leak to rest -0.5
    live_reset = (-0.5 - (1.5 + 0.5 * -0.5 + 0.5 * -0.5)) * 0.25
    for edges, through in ((Edges(), live_reset), (Edges(reset=False), 0.0)):
        by_weight = 1 + 0.5 * through + 0.125 * 0.25
        found = oracle.gradient(edges, ["in.weight"])
        assert list(found) == ["in.weight"]
        assert found["in.weight"].item() == pytest.approx(0.5 * (1 + by_weight), rel=1e-14)


# ---------------------------------------------------------------- BPTT against the oracle


@pytest.mark.parametrize("name", NETWORKS)
@given(seed=SEEDS, neuron=st.sampled_from([SOFT, HARD]), loss=st.sampled_from(LOSSES), data=st.data())
@settings(max_examples=12, deadline=None)
def test_backpropagation_along_any_edges_is_the_truth_of_the_oracle(name, seed, neuron, loss, data):
    rng = np.random.default_rng(seed)
    drawn, *arrays = live(rng, NETWORKS[name](neuron).with_loss(**loss))
    oracle = AffineGraph(drawn, *arrays)
    edges = data.draw(st.sampled_from(EDGES))
    result = bptt(replace(drawn, edges=edges), *arrays, backend=data.draw(st.sampled_from(["plain", "cpu"])))
    assert oracle.loss(arrays[0], edges) == pytest.approx(result.loss, rel=1e-13)
    unmoved = [
        leaf for leaf in result.gradients if leaf.endswith("bias") and f"{leaf[:-5]}.norm" in drawn.shapes
    ]
    found = {leaf: value for leaf, value in result.gradients.items() if leaf not in unmoved}
    assert all(np.abs(value).max() > 1e-8 for value in found.values())
    assert max(errors_along(rng, found, oracle, edges).values()) < 1e-11
    for leaf in unmoved:  # a bias in front of a normalisation
        weight = result.gradients[leaf.replace("bias", "weight")]
        assert np.abs(result.gradients[leaf]).max() < 1e-11 * np.abs(weight).max()


def test_entries_and_directions_agree_and_a_graph_brings_its_edges():
    rng = np.random.default_rng(3)
    drawn, *arrays = live(rng, NETWORKS["recurrent, dropped"](SOFT))
    cut = drawn.with_edges(feedback=False)
    oracle = AffineGraph(cut, *arrays)
    gradient = oracle.gradient()
    assert list(gradient) == list(arrays[0])
    found = bptt(cut, *arrays).gradients
    for name, value in gradient.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-12 * np.abs(value).max())
        direction = rng.standard_normal(value.shape)
        assert oracle.derivative({name: direction}) == pytest.approx(
            float((value * direction).sum()), rel=1e-11
        )


@pytest.mark.parametrize("name", NETWORKS)
def test_each_edge_matters_and_a_wrong_gradient_is_seen(name):
    """What one cut leaves is not what another leaves: the test above cannot pass on both."""
    rng = np.random.default_rng(4)
    drawn, *arrays = live(rng, NETWORKS[name](SOFT))
    oracle = AffineGraph(drawn, *arrays)
    cuts = [Edges(), Edges(reset=False), Edges(leak=False)]
    cuts += [Edges(feedback=False)] if drawn.delayed else []
    for edges in cuts:
        found = bptt(replace(drawn, edges=edges), *arrays).gradients
        weight = {"layer.1.weight": found["layer.1.weight"]}
        for other in cuts:
            error = errors_along(rng, weight, oracle, other)["layer.1.weight"]
            assert (error < 1e-11) if other is edges else (error > 1e-4)
    moved = {"layer.1.weight": weight["layer.1.weight"] * (1 + 1e-6)}
    assert errors_along(rng, moved, oracle, cuts[-1])["layer.1.weight"] > 1e-9


# ---------------------------------------------------------------- smooth spikes


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("neuron", [SpikingNeuron(leak=0.7), HARD])
def test_complex_step_and_differences_of_smooth_spikes_agree(neuron, reset):
    rng = np.random.default_rng(5)
    graph = dense_network((3, 4, 2), neuron, recurrent=True).with_loss(loss_over="each_step")
    parameters, inputs = graph.initialise(rng, gain=2.0), rng.random((4, 2, 3))

    def loss(moved):
        return smooth_graph_loss(graph, moved, inputs, [0, 1], reset=reset)

    exact, near = complex_step_gradient(loss, parameters), central_gradient(loss, parameters)
    for name, value in exact.items():
        assert np.abs(value).max() > 1e-4
        np.testing.assert_allclose(near[name], value, rtol=0, atol=1e-8 * np.abs(value).max() + 1e-10)


def test_one_smooth_neuron_by_hand():
    graph = dense_network((1, 1, 1), SpikingNeuron(leak=0.5), loss_function="mean_squared_error")
    values = {
        "layer.1.weight": [[1.5]],
        "layer.1.bias": [0.0],
        "readout.weight": [[1.0]],
        "readout.bias": [0.0],
    }
    parameters = {name: np.array(value) for name, value in values.items()}

    def sigmoid(x):
        return 1 / (1 + np.exp(-4 * (x - 1)))

    first = sigmoid(1.5)
    for reset, kept in ((True, 1.5 - first), (False, 1.5)):
        mean = (first + sigmoid(0.5 * kept + 1.5)) / 2
        loss = smooth_graph_loss(graph, parameters, np.ones((2, 1, 1)), np.zeros((1, 1)), reset=reset)
        assert loss == pytest.approx(mean**2 / 2, rel=1e-14)


# ---------------------------------------------------------------- the door


def test_what_the_oracle_cannot_do_is_refused():
    rng = np.random.default_rng(6)
    graph = dense_network((3, 4, 2))
    parameters, inputs = graph.initialise(rng), rng.random((2, 1, 3))
    with pytest.raises(TypeError, match="parameters: expected float64, got float32"):
        AffineGraph(graph, graph.initialise(rng, np.float32), inputs.astype(np.float32), [0])
    with pytest.raises(ValueError, match=r"edges\.leak: expected names among"):
        AffineGraph(graph, parameters, inputs, [0]).gradient(Edges(leak={"layer.9": False}))
    with pytest.raises(TypeError, match="graph: expected"):
        AffineGraph("graph", parameters, inputs, [0])
    with pytest.raises(ValueError, match=r"surrogate of 'layer\.1'"):
        smooth_graph_loss(
            dense_network((3, 4, 2), SpikingNeuron(surrogate=Surrogate("gaussian"))), parameters, inputs, [0]
        )
    nodes = [
        replace(node, what=BatchNormalisation()) if node.name == "layer.1.norm" else node
        for node in normalised_loop(SOFT).nodes
    ]
    looped = SpikingGraph(tuple(nodes), (5,))
    with pytest.raises(ValueError, match=r"graph: expected statistics of each step beside delayed nodes"):
        AffineGraph(looped, looped.initialise(rng), rng.random((2, 2, 5)), [0, 1])


def test_pixels_that_tie_follow_the_nominal_run():
    """Two equal pixels under one maximum: the first is taken, however rounding moves the affine spikes."""
    pool = MaxPool(2, backend="plain")
    graph = vgg((3, "pool", 4), 3, (2, 4, 4), pooling="max", neuron=SOFT)
    drawn, *arrays = live(np.random.default_rng(7), graph)
    oracle = AffineGraph(drawn, *arrays)
    ties = 0
    for (name, t), record in oracle.nominal.maxima.items():
        assert name == "pool.1"
        spikes = oracle.nominal.values[t]["layer.1"]
        ties += int((pool.linear(record, spikes) == 1).sum() < spikes.sum())
    assert ties  # somewhere two pixels of a window spiked at once
    found = bptt(drawn, *arrays).gradients
    assert max(errors_along(np.random.default_rng(8), found, oracle).values()) < 1e-11
