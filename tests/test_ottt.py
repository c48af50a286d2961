"""OTTT: every preset by explicit sums over time, online updates by hand, cut graphs, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.ottt import ottt, ottt_online, trace_rule, with_options
from refsnn.algorithms.trace_rules import PRESETS, TraceRule, bias_decays, operator_decays
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.contract import StaticInput
from refsnn.models.operators.dense import Dense
from refsnn.models.operators.normalisation import BatchNormalisation
from refsnn.models.operators.pooling import MaxPool
from refsnn.models.operators.reshaping import Flatten, LearnableScale
from refsnn.models.spiking_graph import Node, Population, SpikingGraph, Sum
from tests.online_by_hand import ConvolutionalOnline, DenseOnline
from tests.spiking_graphs import NEURONS, SOFT, assert_close, dense_graphs, image_graphs, live, one_step_old

NETWORKS = {"dense": DenseOnline, "convolutional": ConvolutionalOnline}
EACH = ({"loss_over": "each_step"}, {"loss_over": "each_step", "squared_share": 0.3})


def problem_of(network, seed, steps=6):
    graph = NETWORKS[network].graph()
    return graph, *live(np.random.default_rng(seed), graph, steps=steps)


# ---------------------------------------------------------------- by hand


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("seed", [1, 2])
def test_each_preset_by_explicit_sums(network, preset, seed):
    graph, parameters, inputs, labels = problem_of(network, seed)
    by_hand = NETWORKS[network](preset, len(inputs), graph)
    loss, expected = 0.0, {name: np.zeros_like(value) for name, value in parameters.items()}
    for x in inputs:
        share, gradients = by_hand.step(parameters, x, labels)
        loss += share
        for name, value in gradients.items():
            expected[name] += value
    for backend in ("plain", "cpu"):
        found = ottt(graph, parameters, inputs, labels, preset=preset, backend=backend)
        assert found.loss == pytest.approx(loss, rel=1e-12)
        assert_close(found.gradients, expected)


@pytest.mark.parametrize("network", NETWORKS)
def test_presets_differ_where_they_should(network):
    graph, parameters, inputs, labels = problem_of(network, 3)
    found = {name: ottt(graph, parameters, inputs, labels, preset=name).gradients for name in PRESETS}
    groups = {
        # which presets agree on it
        "in.weight": [{"paper", "exact_local", "ndot"}, {"official_code", "sltt"}],
        "in.bias": [{"paper", "official_code", "sltt", "ndot"}, {"exact_local"}],
        "up.weight": [{"paper", "exact_local"}, {"official_code"}, {"sltt"}, {"ndot"}],
        "back.weight": [{"paper", "exact_local"}, {"official_code"}, {"sltt"}, {"ndot"}],
        "back.bias": [{"paper", "official_code", "sltt", "ndot"}, {"exact_local"}],
        "readout.weight": [{"paper", "official_code"}, {"exact_local", "sltt"}, {"ndot"}],
        "readout.bias": [set(PRESETS)],
    }
    for name, classes in groups.items():
        for one in PRESETS:
            for other in PRESETS:
                a, b = found[one][name], found[other][name]
                apart = np.abs(a - b).max() / np.abs(a).max()
                same = any({one, other} <= group for group in classes)
                assert apart <= 1e-12 if same else apart > 1e-3, (name, one, other)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("preset", ["paper", "exact_local"])
def test_online_updates_by_hand(network, preset):
    """An update after each step, with momentum; potentials and traces stay as older weights made them."""
    graph, start, inputs, labels = problem_of(network, 4)
    rate, momentum = 0.05, 0.9

    def updater():
        moving = {}

        def update(parameters, gradients):
            for name, gradient in gradients.items():
                moving[name] = momentum * moving[name] + gradient if name in moving else gradient
            return {name: value - rate * moving[name] for name, value in parameters.items()}

        return update

    by_hand, update = NETWORKS[network](preset, len(inputs), graph), updater()
    parameters, loss = start, 0.0
    for x in inputs:
        share, gradients = by_hand.step(parameters, x, labels)
        loss += share
        parameters = update(parameters, gradients)
    before = {name: value.copy() for name, value in start.items()}
    found = ottt_online(graph, start, inputs, labels, updater(), preset=preset, backend="plain")
    assert found.loss == pytest.approx(loss, rel=1e-12)
    moved = {name: parameters[name] - start[name] for name in start}
    assert_close({name: found.parameters[name] - start[name] for name in start}, moved, error=1e-10)
    for name in start:
        np.testing.assert_array_equal(start[name], before[name])
    assert found.loss != ottt(graph, start, inputs, labels, preset=preset).loss
    assert found.diagnostics.steps_executed == len(inputs)


def test_an_update_sees_every_parameter_and_returns_them_all():
    graph, parameters, inputs, labels = problem_of("dense", 5)
    seen = []

    def update(parameters, gradients):
        seen.append(list(gradients))
        return parameters

    found = ottt_online(graph, parameters, inputs, labels, update)
    assert seen == [list(parameters)] * len(inputs)
    assert found.loss == pytest.approx(ottt(graph, parameters, inputs, labels).loss, rel=1e-13)
    with pytest.raises(ValueError, match="update: expected the keys"):
        ottt_online(graph, parameters, inputs, labels, lambda p, g: {"in.weight": p["in.weight"]})
    with pytest.raises(TypeError, match="update: expected a dict"):
        ottt_online(graph, parameters, inputs, labels, lambda p, g: None)
    single = {name: value.astype(np.float32) for name, value in parameters.items()}
    arguments = single, inputs.astype(np.float32), labels
    with pytest.raises(TypeError, match=r"update\['in\.weight'\]: expected dtype float32"):
        ottt_online(graph, *arguments, lambda p, g: {n: v - np.float64(0.1) * g[n] for n, v in p.items()})


def test_updates_of_one_sequence_approach_the_sum_quadratically():
    """O6: halving the step divides the difference by 4."""
    graph, start, inputs, labels = problem_of("dense", 6)
    whole, apart = ottt(graph, start, inputs, labels).gradients, []
    for size in (1e-5, 5e-6, 2.5e-6):

        def descend(parameters, gradients, size=size):
            return {name: value - size * gradients[name] for name, value in parameters.items()}

        found = ottt_online(graph, start, inputs, labels, descend)
        apart.append(
            np.sqrt(
                sum(
                    np.square(found.parameters[name] - (start[name] - size * whole[name])).sum()
                    for name in start
                )
            )
        )
    for more, less in pairwise(apart):
        assert more / less == pytest.approx(4, rel=2e-3)


# ---------------------------------------------------------------- the cut graph of each operator


@given(
    problem=st.one_of(
        dense_graphs(linear=True, neurons=NEURONS[:2], losses=EACH, any_edges=False),
        image_graphs(linear=True, neurons=NEURONS[:2], losses=EACH, any_edges=False),
    )
)
@settings(max_examples=40)
def test_each_operator_has_the_gradient_of_its_own_cut_graph(problem):
    """O1: all edges of time cut but the leak of the population that it feeds, whose reset subtracts."""
    graph, parameters, inputs, targets = problem
    local = ottt(*problem, preset="exact_local", backend="plain").gradients
    paper = ottt(*problem, backend="plain").gradients
    dead = one_step_old(graph) if len(inputs) == 1 else ()
    feeds = {"layer.1": "layer.1", "layer.2": "layer.2", "loop": "layer.1", "back": "layer.1"}
    for fed in ("layer.1", "layer.2", None):
        leaks = {name: name == fed for name in graph.populations}
        cut = graph.with_edges(leak=leaks, reset=False, feedback=False)
        truth = bptt(cut, parameters, inputs, targets, backend="plain").gradients
        chosen = [name for name in truth if feeds.get(name.rsplit(".", 1)[0].replace(".loop", "")) == fed]
        assert chosen
        assert_close({n: local[n] for n in chosen}, {n: truth[n] for n in chosen}, dead=dead)
        if fed:
            weights = [name for name in chosen if not name.endswith("bias")]
            assert_close({n: paper[n] for n in weights}, {n: truth[n] for n in weights}, dead=dead)


def test_a_delayed_weight_may_read_through_other_delayed_nodes():
    """The traces of what it reads are those of the step before, in whatever order they are kept."""
    graph = SpikingGraph(
        (
            Node("in", ("input",), Dense(4)),
            Node("d2", ("layer.1",), Dense(4), delayed=True),
            Node("d1", ("stream",), Dense(4), delayed=True),
            Node("sum", ("in", "d1", "d2"), Sum()),
            Node("layer.1", ("sum",), Population(SOFT)),
            Node("stream", ("layer.1", "d2"), Sum()),
            Node("readout", ("layer.1",), Dense(3)),
        ),
        (4,),
        loss_over="each_step",
    )
    swapped = [graph.nodes[i] for i in (0, 2, 1, 3, 4, 5, 6)]
    for one in (graph, replace(graph, nodes=tuple(swapped))):
        problem = live(np.random.default_rng(7), one, steps=6)
        truth = bptt(one.with_edges(reset=False, feedback=False), *problem).gradients
        local = ottt(one, *problem, preset="exact_local").gradients
        for name in local.keys() - {"readout.weight", "readout.bias"}:
            assert_close({name: local[name]}, {name: truth[name]})


def test_a_leaky_read_out_is_traced_with_its_own_leak():
    """Then the gradients of its weight and bias are exact."""
    for preset in ("paper", "official_code", "exact_local", "ndot"):
        graph, parameters, inputs, labels = problem_of("dense", 8)
        graph = graph.with_loss(readout_leak=0.45)
        truth = bptt(graph, parameters, inputs, labels).gradients
        found = ottt(graph, parameters, inputs, labels, preset=preset).gradients
        names = ["readout.bias"] if preset == "ndot" else ["readout.weight", "readout.bias"]
        assert_close({n: found[n] for n in names}, {n: truth[n] for n in names})


# ---------------------------------------------------------------- degenerate cases


def feedforward(leaks=(0.5, 0.5), **options):
    nodes, below = [], "input"
    for l, leak in enumerate(leaks, 1):
        nodes += [
            Node(f"layer.{l}.in", (below,), Dense(6), f"layer.{l}"),
            Node(f"layer.{l}", (f"layer.{l}.in",), Population(SpikingNeuron(leak=leak))),
        ]
        below = f"layer.{l}"
    return SpikingGraph((*nodes, Node("readout", (below,), Dense(3))), (5,), loss_over="each_step", **options)


@pytest.mark.parametrize("preset", PRESETS)
def test_one_step_is_bptt(preset):
    for graph in (feedforward(), DenseOnline.graph()):
        problem = live(np.random.default_rng(9), graph, steps=1)
        truth = bptt(graph, *problem).gradients
        assert_close(ottt(graph, *problem, preset=preset).gradients, truth, dead=("back.",))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("detached", [True, False])
def test_without_leaks_every_preset_is_bptt(preset, detached):
    """O2: the reset sits inside the leak."""
    graph = feedforward((0.0, 0.0))
    nodes = [
        replace(node, what=Population(replace(node.what.neuron, detach_reset=detached)))
        if isinstance(node.what, Population)
        else node
        for node in graph.nodes
    ]
    graph = replace(graph, nodes=tuple(nodes))
    problem = live(np.random.default_rng(10), graph)
    assert_close(ottt(graph, *problem, preset=preset).gradients, bptt(graph, *problem).gradients)


def test_a_static_input_has_the_trace_of_a_constant():
    """O7: the first gradient is sum_t Z_t times what it is without a trace."""
    graph, leak, steps = feedforward(), 0.5, 5
    parameters, inputs, labels = live(np.random.default_rng(11), graph, steps=steps)
    still, size = StaticInput(inputs[0], steps), sum(0.5**j for j in range(steps))
    found = ottt(graph, parameters, still, labels).gradients["layer.1.weight"]
    plain = np.repeat(inputs[:1], steps, axis=0)
    assert_close({"w": found}, {"w": ottt(graph, parameters, plain, labels).gradients["layer.1.weight"]})
    # per step: the difference of gradients of t and t - 1 steps, each with its own 1/T
    expected, before = np.zeros_like(found), np.zeros_like(found)
    for t in range(1, steps + 1):
        until = ottt(graph, parameters, plain[:t], labels, preset="official_code").gradients["layer.1.weight"]
        expected += sum(leak**j for j in range(t)) * (t * until - before) / steps
        before = t * until
    assert_close({"w": found}, {"w": expected})
    assert size > 1.9


def test_a_batch_is_the_mean_of_its_samples():
    graph = feedforward()
    parameters, inputs, labels = live(np.random.default_rng(12), graph, batch=4)
    together = ottt(graph, parameters, inputs, labels).gradients
    alone = [ottt(graph, parameters, inputs[:, [b]], labels[[b]]).gradients for b in range(4)]
    assert_close(together, {name: sum(one[name] for one in alone) / 4 for name in together})


def test_silence_teaches_biases_and_the_first_weight_only():
    graph = feedforward()
    parameters, inputs, labels = live(np.random.default_rng(13), graph)
    parameters = {name: 0.1 * value for name, value in parameters.items()}
    found = ottt(graph, parameters, inputs, labels)
    assert set(found.diagnostics.spike_rates.values()) == {0.0}
    silent = {name for name, value in found.gradients.items() if not value.any()}
    assert silent == {"layer.2.weight", "readout.weight"}


def test_memory_does_not_grow_with_time_and_bptt_s_does():
    for graph in (feedforward(), feedforward((0.5, 0.9)), DenseOnline.graph()):
        online, whole = [], []
        for steps in (4, 40):
            problem = live(np.random.default_rng(14), graph, steps=steps)
            for preset in PRESETS:
                online.append((preset, ottt(graph, *problem, preset=preset).diagnostics.bytes_kept))
            whole.append(bptt(graph, *problem).diagnostics.bytes_kept)
        assert online[: len(PRESETS)] == online[len(PRESETS) :]
        assert whole[1] == 10 * whole[0]
        sizes = dict(online)
        assert sizes["sltt"] < sizes["paper"] < sizes["ndot"]


def test_a_population_that_projects_to_two_leaks_has_two_traces():
    neuron = SpikingNeuron(leak=0.5)
    graph = SpikingGraph(
        (
            Node("in", ("input",), Dense(6)),
            Node("first", ("in",), Population(neuron)),
            Node("a", ("first",), Dense(4)),
            Node("b", ("first",), Dense(4)),
            Node("slow", ("a",), Population(replace(neuron, leak=0.9))),
            Node("fast", ("b",), Population(replace(neuron, leak=0.3))),
            Node("both", ("slow", "fast"), Sum()),
            Node("readout", ("both",), Dense(3)),
        ),
        (5,),
        loss_over="each_step",
    )
    problem = live(np.random.default_rng(15), graph)
    assert operator_decays(graph, PRESETS["exact_local"]) == {"in": 0.5, "a": 0.9, "b": 0.3, "readout": 0.0}
    truth = bptt(graph, *problem).gradients
    found = ottt(graph, *problem, preset="exact_local").gradients
    for name in ("a.weight", "a.bias", "b.weight", "b.bias"):
        assert_close({name: found[name]}, {name: truth[name]})
    # behind the two there is no one leak for a traced read-out
    with pytest.raises(
        ValueError, match=r"decays: expected one leak for the trace of node 'readout', got \[0.3"
    ):
        ottt(graph, *problem)
    ottt(graph, *problem, preset=with_options("paper", decays={"readout": 0.5}))


def test_float32_is_not_promoted():
    for network in NETWORKS:
        graph, parameters, inputs, labels = problem_of(network, 16)
        single = {name: value.astype(np.float32) for name, value in parameters.items()}
        for preset in PRESETS:
            found = ottt(graph, single, inputs.astype(np.float32), labels, preset=preset)
            truth = ottt(graph, parameters, inputs, labels, preset=preset).gradients
            assert found.diagnostics.outputs.dtype == np.float32
            for name, value in found.gradients.items():
                assert value.dtype == np.float32
                assert np.abs(value - truth[name]).max() <= 1e-3 * np.abs(truth[name]).max()


# ---------------------------------------------------------------- choosing decays


def test_decays_follow_the_rule():
    graph = DenseOnline.graph()
    pre, post, top = 0.6, 0.85, 0.85
    expected = {
        "paper": {"in": 0.6, "back": 0.6, "up": post, "readout": top},
        "official_code": {"in": 0.0, "back": 0.85, "up": pre, "readout": top},
        "exact_local": {"in": 0.6, "back": 0.6, "up": post, "readout": 0.0},
        "sltt": {"in": 0.0, "back": 0.0, "up": 0.0, "readout": 0.0},
        "ndot": {"in": 0.6, "back": 0.6, "up": post, "readout": top},
    }
    for preset, decays in expected.items():
        assert operator_decays(graph, PRESETS[preset]) == decays
        traced = {"in": 0.6, "back": 0.6, "up": 0.85, "readout": 0.0}
        biases = bias_decays(graph, PRESETS[preset])
        assert biases == (traced if preset == "exact_local" else dict.fromkeys(traced, 0.0))


def test_biases_are_a_choice_of_their_own():
    """Traced with the leak of the neurons they feed, whatever the weights see."""
    graph, parameters, inputs, labels = problem_of("dense", 17)
    exact = ottt(graph, parameters, inputs, labels, preset="exact_local").gradients
    for preset in PRESETS:
        found = ottt(graph, parameters, inputs, labels, preset=with_options(preset, biases=True)).gradients
        plain = ottt(graph, parameters, inputs, labels, preset=with_options(preset, biases=False)).gradients
        for name, value in found.items():
            if name.endswith("bias"):
                assert_close({name: value}, {name: exact[name]})
            else:
                np.testing.assert_array_equal(value, plain[name])


def test_exceptions_by_name():
    graph = feedforward((0.5, 0.9))
    problem = live(np.random.default_rng(18), graph)
    rule = TraceRule(decays={"layer.1.in": 0.0, "layer.2.in": 0.25, "readout": 0.0})
    assert operator_decays(graph, rule) == {"layer.1.in": 0.0, "layer.2.in": 0.25, "readout": 0.0}
    found = ottt(graph, *problem, preset=rule).gradients
    sltt = ottt(graph, *problem, preset="sltt").gradients
    assert_close({"w": found["layer.1.weight"]}, {"w": sltt["layer.1.weight"]})
    assert np.abs(found["layer.2.weight"] - sltt["layer.2.weight"]).max() > 1e-5
    named = with_options("exact_local", decays={"layer.1.in": 0.3})
    assert bias_decays(graph, named) == {"layer.1.in": 0.3, "layer.2.in": 0.9, "readout": 0.0}


def stream(kappa_leak=0.5):
    """A residual stream of currents behind spikes, under the read-out: as in NF-ResNet."""
    neuron = SpikingNeuron(leak=kappa_leak)
    return SpikingGraph(
        (
            Node("stem", ("input",), Dense(6)),
            Node("a", ("stem",), Population(neuron)),
            Node("first", ("a",), Dense(6)),
            Node("b", ("first",), Population(neuron)),
            Node("second", ("b",), Dense(6)),
            Node("kappa", ("second",), LearnableScale()),
            Node("sum", ("stem", "kappa"), Sum()),
            Node("readout", ("sum",), Dense(3)),
        ),
        (5,),
        loss_over="each_step",
    )


def test_currents_are_not_traced_and_what_reaches_only_the_read_out_is_as_the_read_out():
    """In a residual stream gains and the read-out are instantaneous; the weights below them see spikes."""
    none = dict.fromkeys(("kappa", "readout"), 0.0)
    expected = {
        "paper": {"stem": 0.5, "first": 0.5, "second": 0.5, **none},
        "official_code": {"stem": 0.0, "first": 0.5, "second": 0.5, **none},
        "exact_local": {"stem": 0.5, "first": 0.5, "second": 0.0, **none},
        "sltt": {"stem": 0.0, "first": 0.0, "second": 0.0, **none},
    }
    for preset, decays in expected.items():
        assert operator_decays(stream(), PRESETS[preset]) == decays
    problem = live(np.random.default_rng(19), stream())
    truth = bptt(stream(), *problem).gradients  # b is the last population, nothing behind it remembers
    found = ottt(stream(), *problem, preset="exact_local").gradients
    for name in (
        "first.weight",
        "first.bias",
        "second.weight",
        "second.bias",
        "kappa.scale",
        "readout.weight",
    ):
        assert_close({name: found[name]}, {name: truth[name]})


# ---------------------------------------------------------------- what is refused


def tiny():
    return np.random.default_rng(20)


def test_a_loss_of_the_mean_is_refused():
    graph = feedforward().with_loss(loss_over="mean_readout")
    problem = graph.initialise(tiny()), np.ones((3, 1, 5)), [0]
    for run in (ottt, lambda *p: ottt_online(*p, lambda parameters, _: parameters)):
        with pytest.raises(ValueError, match=r"expected loss_over='each_step' .* got 'mean_readout'"):
            run(graph, *problem)


def maxima():
    return SpikingGraph(
        (
            Node("first", ("input",), Population(SpikingNeuron())),
            Node("pool", ("first",), MaxPool(2)),
            Node("flat", ("pool",), Flatten()),
            Node("in", ("flat",), Dense(4)),
            Node("second", ("in",), Population(SpikingNeuron())),
            Node("readout", ("second",), Dense(2)),
        ),
        (1, 4, 4),
        loss_over="each_step",
    )


def test_maxima_in_front_of_a_traced_weight_are_refused():
    graph = maxima()
    problem = graph.initialise(tiny()), np.ones((3, 1, 1, 4, 4)), [0]
    for preset in ("paper", "official_code", "exact_local", "ndot"):
        with pytest.raises(ValueError, match=r"got max pooling \('pool'\) under 'in'"):
            ottt(graph, *problem, preset=preset)
    ottt(graph, *problem, preset="sltt")
    ottt(graph, *problem, preset=with_options("paper", decays={"in": 0.0}))  # the others are behind it


@pytest.mark.parametrize("over", ["step", "sequence"])
def test_normalisation_by_the_batch_is_refused_under_traces(over):
    graph = feedforward()
    nodes = list(graph.nodes)
    nodes[1] = replace(nodes[1], inputs=("norm",))
    nodes.insert(1, Node("norm", ("layer.1.in",), BatchNormalisation(over=over)))
    graph = replace(graph, nodes=tuple(nodes))
    problem = graph.initialise(tiny()), np.random.default_rng(0).random((3, 2, 5)), [0, 1]
    for preset in ("paper", "official_code", "exact_local", "ndot"):
        with pytest.raises(ValueError, match=r"expected no batch normalisation under traces, got \['norm'\]"):
            ottt(graph, *problem, preset=preset)
    if over == "step":
        ottt(graph, *problem, preset="sltt")
    else:
        with pytest.raises(ValueError, match="node 'norm': expected statistics of each step"):
            ottt(graph, *problem, preset="sltt")


def test_one_weight_under_neurons_of_two_leaks_is_refused_until_told_which():
    nodes = (
        Node("in", ("input",), Dense(4)),
        Node("slow", ("in",), Population(SpikingNeuron(leak=0.9))),
        Node("fast", ("in",), Population(SpikingNeuron(leak=0.3))),
        Node("both", ("slow", "fast"), Sum()),
        Node("readout", ("both",), Dense(3)),
    )
    graph = SpikingGraph(nodes, (5,), loss_over="each_step")
    problem = live(tiny(), graph)
    message = r"decays: expected one leak for the trace of node 'in', got \[0\.3, 0\.9\]; say which with"
    with pytest.raises(ValueError, match=message):
        ottt(graph, *problem, preset="exact_local")
    told = TraceRule(readout=False, biases=True, decays={"in": 0.3})
    assert operator_decays(graph, told) == {"in": 0.3, "readout": 0.0}
    assert ottt(graph, *problem, preset=told).gradients["in.weight"].any()
    ottt(graph, *problem, preset="sltt")


def test_unknown_presets_names_and_options_are_refused():
    graph = feedforward()
    problem = graph.initialise(tiny()), np.ones((3, 1, 5)), [0]
    with pytest.raises(ValueError, match="preset: expected"):
        ottt(graph, *problem, preset="bptt")
    with pytest.raises(
        ValueError, match=r"decays: expected names of operators with parameters, got \['layer.1'\]"
    ):
        ottt(graph, *problem, preset=TraceRule(decays={"layer.1": 0.5}))
    for options in ({"inputs": 1}, {"biases": "yes"}, {"decays": None}, {"decays": [0.5]}):
        with pytest.raises(TypeError, match=next(iter(options))):
            TraceRule(**options)
    for decay in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"decays\['readout'\]: expected"):
            TraceRule(decays={"readout": decay})
    with pytest.raises(TypeError, match=r"with_options: expected options among .*'biases'.*, got 'bias'"):
        with_options("paper", bias=True)
    assert trace_rule(PRESETS["ndot"]) is PRESETS["ndot"]
