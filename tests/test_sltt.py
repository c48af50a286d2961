"""SLTT: every edge of time cut; and K of T steps, whose expectation is found by enumerating all subsets."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.ottt import ottt
from refsnn.algorithms.sltt import sltt
from refsnn.models.operators.convolution import Convolution2d
from refsnn.models.operators.dense import Dense
from refsnn.models.operators.normalisation import BatchNormalisation
from refsnn.models.operators.pooling import MaxPool
from refsnn.models.operators.reshaping import Flatten
from refsnn.models.spiking_graph import Node, Population, SpikingGraph, Sum
from tests.spiking_graphs import SOFT, assert_close, dense_graphs, image_graphs, live, one_step_old

EACH = (
    {"loss_over": "each_step"},
    {"loss_over": "each_step", "squared_share": 0.3},
    {"loss_over": "each_step", "loss_function": "mean_squared_error"},
)
STEPS = 4


class Chosen(np.random.Generator):
    """A generator whose permutation begins with given steps."""

    def __init__(self, first):
        super().__init__(np.random.PCG64(0))
        self.first = list(first)

    def permutation(self, count):
        return np.array(self.first + [t for t in range(count) if t not in self.first])


def network(**options):
    """Normalisation of each step, maxima, and feedback."""
    return SpikingGraph(
        (
            Node("in", ("input",), Convolution2d(3, 3, padding=1, with_bias=False)),
            Node("norm", ("in",), BatchNormalisation(over="step")),
            Node("back", ("layer.1",), Convolution2d(3, 3, padding=1), delayed=True),
            Node("sum", ("norm", "back"), Sum()),
            Node("layer.1", ("sum",), Population(SOFT)),
            Node("pool", ("layer.1",), MaxPool(2)),
            Node("flat", ("pool",), Flatten()),
            Node("up", ("flat",), Dense(6)),
            Node("layer.2", ("up",), Population(SOFT)),
            Node("readout", ("layer.2",), Dense(3)),
        ),
        (2, 4, 4),
        loss_over="each_step",
        **options,
    )


def problem_of(seed, **options):
    graph = network(**options)
    return graph, *live(np.random.default_rng(seed), graph, steps=STEPS)


@given(
    problem=st.one_of(dense_graphs(losses=EACH, any_edges=False), image_graphs(losses=EACH, any_edges=False))
)
@settings(max_examples=40)
def test_it_is_bptt_with_every_edge_of_time_cut(problem):
    graph, *arguments = problem
    cut = bptt(graph.with_edges(leak=False, feedback=False), *arguments, backend="plain")
    found = sltt(*problem, backend="plain")
    dead = one_step_old(graph) if len(arguments[1]) == 1 else ()
    # a layer whose first spike comes in the last step says nothing about its own loop
    assume(
        all(np.abs(g).max() > 1e-9 for name, g in cut.gradients.items() if not name.startswith(tuple(dead)))
    )
    assert_close(found.gradients, cut.gradients, dead=dead)
    assert found.loss == pytest.approx(cut.loss, rel=1e-13)
    ours, theirs = found.diagnostics, cut.diagnostics
    np.testing.assert_allclose(ours.outputs, theirs.outputs, rtol=0, atol=1e-13)
    assert ours.spike_rates == pytest.approx(theirs.spike_rates)
    assert ours.steps_executed == len(arguments[1])
    for name, seen in theirs.statistics.items():
        np.testing.assert_allclose(ours.statistics[name].variance, seen.variance, rtol=0, atol=1e-13)


def test_it_is_not_bptt():
    graph, *arguments = problem_of(1)
    cut, whole = sltt(graph, *arguments).gradients, bptt(graph, *arguments).gradients
    for name in ("in.weight", "back.weight", "up.weight", "norm.gamma"):
        assert np.abs(cut[name] - whole[name]).max() > 1e-2 * np.abs(whole[name]).max()


def test_a_leaky_read_out_loses_its_memory_too():
    """And maxima and normalisation stay welcome: there is no trace."""
    graph, parameters, inputs, targets = problem_of(2, readout_leak=0.6)
    found = sltt(graph, parameters, inputs, targets)
    state, gradient, bias = graph.initial_state(parameters, 3), 0.0, 0.0
    _, sequence, _ = graph.check(parameters, inputs, targets)
    for t in range(STEPS):
        state = graph.step(parameters, state, sequence[t])
        y = state["readout.potential"]
        shares = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
        error = (shares - np.eye(3)[targets]) / 3 / STEPS
        flat = _spikes_of(graph, parameters, inputs, t)
        gradient, bias = gradient + error.T @ flat, bias + error.sum(axis=0)
    assert_close(
        {name: found.gradients[name] for name in ("readout.weight", "readout.bias")},
        {"readout.weight": gradient, "readout.bias": bias},
    )


def _spikes_of(graph, parameters, inputs, t):
    """Of the last population at step t: the only 0s and 1s that the read-out can have seen."""
    free = graph.with_loss(loss_over="mean_readout", readout_leak=0.0)
    state = free.initial_state(parameters, 3)
    for x in inputs[: t + 1]:
        before, state = state, free.step(parameters, state, x)
    o = state["readout.sum"] - before["readout.sum"] - parameters["readout.bias"]
    every = np.array(np.meshgrid(*[[0.0, 1.0]] * 6)).reshape(6, -1).T
    distance = np.abs(o[:, None] - (every @ parameters["readout.weight"].T)[None]).max(axis=2)
    closest = np.sort(distance, axis=1)
    assert (closest[:, 0] < 1e-12).all()
    assert (closest[:, 1] > 1e-9).all()
    return every[distance.argmin(axis=1)]


# ---------------------------------------------------------------- K of T steps


@pytest.mark.parametrize("learning_steps", [1, 2, 3])
def test_the_mean_over_all_subsets_is_a_share_of_the_whole(learning_steps):
    problem = problem_of(3)
    whole, subsets = sltt(*problem).gradients, list(combinations(range(STEPS), learning_steps))
    drawn = [sltt(*problem, learning_steps=learning_steps, rng=Chosen(s)).gradients for s in subsets]
    mean = {name: sum(one[name] for one in drawn) / comb(STEPS, learning_steps) for name in whole}
    expected = {name: learning_steps / STEPS * value for name, value in whole.items()}
    assert_close(mean, expected)
    apart = [np.abs(one["up.weight"] - mean["up.weight"]).max() for one in drawn]
    assert min(apart) > 1e-3 * np.abs(mean["up.weight"]).max()


def test_a_subset_is_the_sum_of_its_steps():
    problem = problem_of(4)
    alone = [sltt(*problem, learning_steps=1, rng=Chosen([t])).gradients for t in range(STEPS)]
    for subset in [(0, 2), (3, 1), (1, 2, 3), (0, 1, 2, 3)]:
        found = sltt(*problem, learning_steps=len(subset), rng=Chosen(subset)).gradients
        assert_close(found, {name: sum(alone[t][name] for t in subset) for name in found})
    assert not alone[0]["back.weight"].any()  # nothing was fed back yet
    assert not alone[0]["back.bias"].any()
    assert alone[1]["back.weight"].any()


def test_the_run_is_the_same_whatever_is_learnt():
    problem = problem_of(5)
    whole = sltt(*problem)
    for seed in range(3):
        part = sltt(*problem, learning_steps=2, rng=np.random.default_rng(seed))
        assert part.loss == whole.loss
        np.testing.assert_array_equal(part.diagnostics.outputs, whole.diagnostics.outputs)
        assert part.diagnostics.spike_rates == whole.diagnostics.spike_rates


def test_a_generator_draws_every_subset_alike():
    """60 draws of 2 steps of 4: each is one of the 6 subsets, and each of them occurs."""
    problem = problem_of(6)
    expected = {
        subset: sltt(*problem, learning_steps=2, rng=Chosen(subset)).gradients["up.weight"]
        for subset in combinations(range(STEPS), 2)
    }
    counts, rng = dict.fromkeys(expected, 0), np.random.default_rng(7)
    for _ in range(60):
        found = sltt(*problem, learning_steps=2, rng=rng).gradients["up.weight"]
        matches = [subset for subset, value in expected.items() if np.array_equal(found, value)]
        assert len(matches) == 1
        counts[matches[0]] += 1
    assert min(counts.values()) >= 2


def test_all_steps_are_all_steps_and_none_or_more_are_refused():
    problem = problem_of(8)
    whole = sltt(*problem).gradients
    assert_close(sltt(*problem, learning_steps=STEPS, rng=np.random.default_rng(0)).gradients, whole, error=0)
    with pytest.raises(ValueError, match=f"learning_steps: expected at most T = {STEPS}, got 5"):
        sltt(*problem, learning_steps=5, rng=np.random.default_rng(0))
    for bad in (0, -1):
        with pytest.raises(ValueError, match="learning_steps: expected an integer of at least 1"):
            sltt(*problem, learning_steps=bad, rng=np.random.default_rng(0))
    with pytest.raises(TypeError, match="learning_steps"):
        sltt(*problem, learning_steps=1.5, rng=np.random.default_rng(0))
    with pytest.raises(TypeError, match="rng"):
        sltt(*problem, learning_steps=2)
    graph, *arguments = problem
    with pytest.raises(ValueError, match="expected loss_over='each_step'"):
        sltt(graph.with_loss(loss_over="mean_readout"), *arguments)


def test_backends_and_dtypes():
    graph, parameters, inputs, targets = problem_of(9)
    plain, cpu = (sltt(graph, parameters, inputs, targets, backend=name) for name in ("plain", "cpu"))
    assert_close(cpu.gradients, plain.gradients)
    single = {name: value.astype(np.float32) for name, value in parameters.items()}
    found = sltt(graph, single, inputs.astype(np.float32), targets)
    for name, value in found.gradients.items():
        assert value.dtype == np.float32
        assert np.abs(value - plain.gradients[name]).max() <= 1e-3 * np.abs(plain.gradients[name]).max()


def test_it_is_a_preset_of_ottt():
    graph = SpikingGraph(
        (
            Node("in", ("input",), Dense(6)),
            Node("layer", ("in",), Population(SOFT)),
            Node("readout", ("layer",), Dense(3)),
        ),
        (4,),
        loss_over="each_step",
    )
    problem = (graph, *live(np.random.default_rng(10), graph))
    assert_close(sltt(*problem).gradients, ottt(*problem, preset="sltt").gradients, error=0)
    other = ottt(*problem).gradients
    assert np.abs(sltt(*problem).gradients["in.weight"] - other["in.weight"]).max() > 1e-4
