"""Dropout: one mask for all steps, behind the reset, in front of the trace; absent without a mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.ottt import ottt
from refsnn.algorithms.rate_backpropagation import rate_backpropagation
from refsnn.algorithms.sltt import sltt
from refsnn.algorithms.temporal_galerkin import temporal_galerkin
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.operators.dense import Dense
from refsnn.models.operators.dropout import Dropout
from refsnn.models.spiking_graph import Node, Population, SpikingGraph, Sum
from tests.spiking_graphs import SEEDS, assert_close, live, whole

NEURON = SpikingNeuron(leak=0.6, threshold=0.8)


def network(probability=0.5, **options):
    return SpikingGraph(
        (
            Node("wet", ("input",), Dropout(probability)),
            Node("in", ("wet",), Dense(7), "layer.1"),
            Node("loop", ("layer.1.o",), Dense(7, with_bias=False), delayed=True),
            Node("sum", ("in", "loop"), Sum()),
            Node("layer.1", ("sum",), Population(NEURON)),
            Node("layer.1.o", ("layer.1",), Dropout(probability)),
            Node("readout", ("layer.1.o",), Dense(3)),
        ),
        (5,),
        loss_over="each_step",
        **options,
    )


def masks(graph):
    return {node.name: node.what.mask for node in graph.nodes if isinstance(node.what, Dropout)}


# ---------------------------------------------------------------- the operator


@given(seed=SEEDS, probability=st.sampled_from([0.0, 0.1, 0.5, 0.9]))
def test_a_mask_has_two_values_and_the_right_share(seed, probability):
    rng = np.random.default_rng(seed)
    operator = Dropout(probability).drawn(rng, 40, (5, 50), np.dtype(float))
    kept = operator.mask != 0
    np.testing.assert_array_equal(operator.mask[kept], 1 / (1 - probability))
    # 10 000 draws of its own for each sample and neuron: six standard deviations
    assert abs(kept.mean() - (1 - probability)) <= 6 * np.sqrt(probability * (1 - probability) / kept.size)
    if probability:
        assert len({row.tobytes() for row in operator.mask}) == 40
        assert len({column.tobytes() for column in operator.mask.reshape(40, -1).T}) > 1


@given(seed=SEEDS, steps=st.integers(1, 4))
def test_the_mask_is_the_same_at_each_step_and_its_own_adjoint(seed, steps):
    rng = np.random.default_rng(seed)
    operator = Dropout(0.4).drawn(rng, 3, (2, 4), np.dtype(float))
    values, adjoint = rng.normal(size=(2, steps, 3, 2, 4))
    together = operator.linear({}, values.reshape(-1, 2, 4))
    one_by_one = np.concatenate([operator.mask * step for step in values])
    np.testing.assert_array_equal(together, one_by_one)
    back = operator.transpose({}, adjoint.reshape(-1, 2, 4), (2, 4))
    assert (back * values.reshape(-1, 2, 4)).sum() == pytest.approx(
        (adjoint.reshape(-1, 2, 4) * together).sum()
    )


def test_without_a_mask_everything_passes():
    values = np.random.default_rng(0).normal(size=(6, 4))
    np.testing.assert_array_equal(Dropout(0.9).linear({}, values), values)
    np.testing.assert_array_equal(Dropout(0.9).transpose({}, values, (4,)), values)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_is_promoted_whatever_float_the_mask_was_drawn_in(dtype):
    rng = np.random.default_rng(1)
    for drawn in (np.float32, np.float64):
        operator = Dropout(0.3).drawn(rng, 2, (4,), np.dtype(drawn))
        assert operator.mask.dtype == drawn
        assert operator.linear({}, np.ones((4, 4), dtype)).dtype == dtype
    moved = Dropout(0.3).drawn(rng, 2, (4,), np.dtype(float)).linear({}, 1j * np.ones((4, 4)))
    assert moved.dtype == complex


def test_bad_arguments_are_refused():
    for probability in (1.0, -0.1, np.nan):
        with pytest.raises(ValueError, match="probability"):
            Dropout(probability)
    with pytest.raises(TypeError, match="probability"):
        Dropout("half")
    operator = Dropout(0.5).drawn(np.random.default_rng(2), 3, (4,), np.dtype(float))
    for shape in ((4, 4), (3, 5)):
        with pytest.raises(ValueError, match="mask: expected one for batches like"):
            operator.linear({}, np.ones(shape))


# ---------------------------------------------------------------- in a network


def test_a_network_draws_all_its_masks_and_nothing_else():
    graph = network()
    drawn = graph.with_dropout(np.random.default_rng(3), 4, np.float32)
    assert set(masks(graph).values()) == {None}
    assert {name: mask.shape for name, mask in masks(drawn).items()} == {"wet": (4, 5), "layer.1.o": (4, 7)}
    assert {mask.dtype for mask in masks(drawn).values()} == {np.dtype(np.float32)}
    assert drawn.parameter_shapes() == graph.parameter_shapes()
    again, other = (graph.with_dropout(np.random.default_rng(seed), 4, np.float32) for seed in (3, 4))
    np.testing.assert_array_equal(masks(again)["wet"], masks(drawn)["wet"])
    assert np.any(masks(other)["wet"] != masks(drawn)["wet"])
    redrawn = drawn.with_dropout(np.random.default_rng(5), 2)
    assert masks(redrawn)["wet"].shape == (2, 5)
    for arguments in ((0, 4), (np.random.default_rng(0), 0), (np.random.default_rng(0), 4, int)):
        with pytest.raises((TypeError, ValueError), match=r"rng|batch|dtype"):
            graph.with_dropout(*arguments)


def test_the_reset_uses_the_spike_that_is_not_dropped():
    """By hand; what is passed on, also to the next step, is dropped."""
    graph = network().with_dropout(np.random.default_rng(6), 3)
    parameters, inputs, _ = live(np.random.default_rng(6), graph)
    wet, m = masks(graph)["wet"], masks(graph)["layer.1.o"]
    v, o, outputs, hidden = np.zeros((3, 7)), np.zeros((3, 7)), [], 0
    for x in inputs:
        u = 0.6 * v + (wet * x) @ parameters["layer.1.weight"].T + parameters["layer.1.bias"]
        u += o @ parameters["loop.weight"].T
        s = (u >= 0.8).astype(float)
        v, o = u - 0.8 * s, m * s
        hidden += int(((m == 0) & (s == 1)).sum())
        outputs.append(o @ parameters["readout.weight"].T + parameters["readout.bias"])
    assert hidden > 0  # some spikes were dropped
    np.testing.assert_allclose(graph.run(parameters, inputs), np.mean(outputs, axis=0), rtol=1e-13)
    plain = network().run(parameters, inputs)
    assert np.abs(plain - graph.run(parameters, inputs)).max() > 1e-3


def test_evaluation_without_masks_is_the_network_without_dropout():
    graph, dry = network(), network(0.0)
    parameters, inputs, targets = live(np.random.default_rng(7), graph)
    np.testing.assert_array_equal(graph.run(parameters, inputs), dry.run(parameters, inputs))
    drawn = dry.with_dropout(np.random.default_rng(8), 3)  # nothing is dropped with probability 0
    np.testing.assert_array_equal(drawn.run(parameters, inputs), dry.run(parameters, inputs))
    assert_close(
        bptt(drawn, parameters, inputs, targets).gradients, bptt(dry, parameters, inputs, targets).gradients
    )


def feedforward(graph):
    nodes = [node for node in graph.nodes if node.name != "loop"]
    return SpikingGraph(
        tuple(Node(n.name, tuple(i for i in n.inputs if i != "loop"), n.what, n.prefix) for n in nodes),
        graph.input_shape,
        loss_over="each_step",
    )


def test_every_algorithm_goes_through_masks():
    """One hidden layer: rates and OTTT have BPTT's gradient in the last hidden layer and above it."""
    graph = feedforward(network()).with_dropout(np.random.default_rng(9), 3)
    problem = (graph, *live(np.random.default_rng(9), graph))
    truth = whole(problem).gradients
    assert_close(bptt(*problem).gradients, truth)
    assert_close(temporal_galerkin(*problem, n_modes=5).gradients, truth)
    assert_close(
        {"layer.1.weight": ottt(*problem).gradients["layer.1.weight"]},
        {"layer.1.weight": truth["layer.1.weight"]},
    )
    rate = rate_backpropagation(
        graph.with_loss(loss_over="mean_readout"), *problem[1:], scale="bptt"
    ).gradients
    steps = bptt(graph.with_loss(loss_over="mean_readout"), *problem[1:]).gradients
    for name in ("layer.1.bias", "readout.weight", "readout.bias"):
        assert_close({name: rate[name]}, {name: steps[name]})


def test_a_neuron_that_is_dropped_learns_nothing():
    graph = feedforward(network())
    nodes = [
        Node(n.name, n.inputs, Dropout(0.5, np.tile([2.0, 0, 2, 0, 2, 2, 2], (3, 1))), n.prefix)
        if n.name == "layer.1.o"
        else n
        for n in graph.nodes
    ]
    graph = SpikingGraph(tuple(nodes), (5,), loss_over="each_step")
    parameters, inputs, targets = feedforward_live(graph)
    for run in (bptt, ottt, sltt, rate_backpropagation):
        gradients = run(graph, parameters, inputs, targets).gradients
        for name, axis in (("layer.1.weight", 0), ("layer.1.bias", 0), ("readout.weight", 1)):
            rows = np.moveaxis(gradients[name], axis, 0).reshape(7, -1)
            assert (np.abs(rows).max(axis=1) > 0).tolist() == [True, False, True, False, True, True, True]


def feedforward_live(graph):
    """All neurons that are not dropped spike."""
    rng = np.random.default_rng(10)
    parameters = graph.initialise(rng, gain=1.0, bias_mean=0.8)
    return parameters, rng.uniform(-0.3, 1.3, (8, 3, 5)), [0, 1, 2]


def test_float32_networks_stay_float32_with_masks_of_float64():
    graph = network().with_dropout(np.random.default_rng(11), 3)
    parameters, inputs, targets = live(np.random.default_rng(11), graph, dtype=np.float32)
    for run in (bptt, ottt, sltt):
        result = run(graph, parameters, inputs, targets)
        assert {value.dtype for value in result.gradients.values()} == {np.dtype(np.float32)}
        assert result.diagnostics.outputs.dtype == np.float32


@pytest.mark.parametrize("drawn", [1, 2, 6])
def test_a_mask_of_another_batch_is_refused_at_the_door(drawn):
    """Also where one batch divides the other, and rows would be taken for steps."""
    graph = network()
    parameters, inputs, targets = live(np.random.default_rng(12), graph, batch=4)
    wrong = graph.with_dropout(np.random.default_rng(0), drawn)
    for run in (bptt, ottt, lambda *p: p[0].run(p[1], p[2]), lambda *p: whole(p)):
        with pytest.raises(ValueError, match=r"node 'wet': expected a mask of shape \(4, 5\), got"):
            run(wrong, parameters, inputs, targets)
