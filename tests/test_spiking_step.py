"""One step of a spiking graph: adjoint against tangent, all ways of BPTT against each other and by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.forward_mode import forward_mode, rtrl
from refsnn.algorithms.stepwise import stepwise_gradient
from refsnn.equations.spiking import SpikingNeuron
from refsnn.kernels import spiking_kernels
from refsnn.models.contract import StaticInput
from refsnn.models.edges import Edges
from refsnn.models.operators.convolution import Convolution2d
from refsnn.models.operators.dense import Dense
from refsnn.models.operators.dropout import Dropout
from refsnn.models.operators.normalisation import BatchNormalisation
from refsnn.models.operators.pooling import AveragePool, MaxPool
from refsnn.models.operators.reshaping import Flatten, Scale
from refsnn.models.spiking_graph import Node, Population, SpikingGraph, Sum
from tests.spiking_graphs import (
    HARD,
    SEEDS,
    SOFT,
    assert_close,
    dense_graphs,
    image_graphs,
    live,
    one_step_old,
    whole,
)

ANY_GRAPH = st.one_of(dense_graphs(), image_graphs())


def dead(problem):
    graph, _, inputs, _ = problem
    return one_step_old(graph) if len(inputs) == 1 else ()


def recurrent(neuron=SOFT, **options):
    """A loop, feedback from above, and from the read-out."""
    return SpikingGraph(
        (
            Node("layer.1.in", ("input",), Dense(6), "layer.1"),
            Node("loop", ("layer.1",), Dense(6), delayed=True),
            Node("back", ("layer.2",), Dense(6), delayed=True),
            Node("far", ("readout",), Dense(6), delayed=True),
            Node("layer.1.sum", ("layer.1.in", "loop", "back", "far"), Sum()),
            Node("layer.1", ("layer.1.sum",), Population(neuron)),
            Node("layer.2.in", ("layer.1",), Dense(5), "layer.2"),
            Node("layer.2", ("layer.2.in",), Population(replace(neuron, leak=0.9))),
            Node("readout", ("layer.2",), Dense(3)),
        ),
        (4,),
        **options,
    )


# ---------------------------------------------------------------- adjoint and tangent


@given(problem=dense_graphs())
@settings(max_examples=40)
def test_the_gradient_is_that_of_forward_mode_with_every_direction(problem):
    found, truth = whole(problem), rtrl(*problem)
    assert_close(found.gradients, truth.gradients, dead=dead(problem))
    assert found.loss == truth.loss


@given(problem=image_graphs(), seed=SEEDS)
@settings(max_examples=20)
def test_the_gradient_of_images_is_that_of_forward_mode(problem, seed):
    graph, parameters, _, _ = problem
    found, rng = whole(problem), np.random.default_rng(seed)
    for name, value in parameters.items():
        direction = {other: np.zeros_like(array) for other, array in parameters.items()}
        direction[name] = rng.normal(size=value.shape)
        loss, slope = forward_mode(*problem, direction)
        terms = found.gradients[name] * direction[name]
        assert loss == found.loss
        assert abs(terms.sum() - slope) <= 1e-11 * np.abs(terms).sum() + 1e-16, name


@given(problem=ANY_GRAPH, seed=SEEDS, started=st.booleans())
@settings(max_examples=40)
def test_the_adjoint_of_a_step_is_that_of_its_tangent(problem, seed, started):
    """<c, J t> = <J^T c, t>, for random cotangents and tangents of every entry, one step from any state."""
    graph, parameters, inputs, targets = problem
    rng = np.random.default_rng(seed)
    parameters, inputs, targets = graph.check(parameters, inputs, targets)
    state = graph.initial_state(parameters, len(inputs[0]))
    for t in range(len(inputs) if started else 0):
        state = graph.step(parameters, state, inputs[t])
    drawn = lambda like: {n: rng.normal(size=v.shape) for n, v in like.items()}  # noqa: E731
    cotangent, tangent, direction = drawn(state), drawn(state), drawn(parameters)
    pushed = graph.step_jvp(parameters, state, inputs[0], tangent, direction)
    past, gradients = graph.step_vjp(parameters, state, inputs[0], cotangent)
    assert pushed.keys() == past.keys() == state.keys()
    # whether a delayed node has started is no number that anything depends on
    forward = [cotangent[n] * pushed[n] for n in state if not n.endswith("started")]
    backward = [past[n] * tangent[n] for n in state if not n.endswith("started")]
    backward += [gradients[n] * direction[n] for n in parameters]
    size = sum(float(np.abs(term).sum()) for term in forward)
    assert size > 1e-3
    assert sum(map(np.sum, forward)) == pytest.approx(sum(map(np.sum, backward)), abs=1e-12 * size)
    for name in graph.accumulators & state.keys():
        np.testing.assert_array_equal(past[name], cotangent[name])


# ---------------------------------------------------------------- the ways of BPTT


@given(problem=ANY_GRAPH, window=st.integers(0, 6))
@settings(max_examples=50)
def test_step_by_step_is_bptt_over_the_contract(problem, window):
    graph, parameters, inputs, targets = problem
    truth = whole(problem, window=window or None)
    found = stepwise_gradient(*problem, spiking_kernels("plain"), window)
    lost = (*one_step_old(graph), "layer.1.") if window else dead(problem)
    assert_close(found.gradients, truth.gradients, dead=lost)
    assert found.loss == pytest.approx(truth.loss, rel=1e-13)
    np.testing.assert_allclose(found.diagnostics.outputs, truth.diagnostics.outputs, rtol=0, atol=1e-13)
    if window >= len(inputs):
        assert_close(found.gradients, whole(problem).gradients, dead=lost)


@given(problem=st.one_of(dense_graphs(delays=False), image_graphs(delays=False)), window=st.integers(0, 6))
@settings(max_examples=50)
def test_layer_by_layer_is_step_by_step(problem, window):
    graph, _, inputs, _ = problem
    assert not graph.delayed
    truth = stepwise_gradient(*problem, spiking_kernels("plain"), window)
    found = bptt(*problem, window=window or None, backend="plain")
    assert_close(found.gradients, truth.gradients, dead=("layer.1.",) if window else ())
    assert found.loss == pytest.approx(truth.loss, rel=1e-13)
    ours, theirs = found.diagnostics, truth.diagnostics
    np.testing.assert_allclose(ours.outputs, theirs.outputs, rtol=0, atol=1e-13)
    assert ours.spike_rates == pytest.approx(theirs.spike_rates)
    assert ours.margin == pytest.approx(theirs.margin, abs=1e-13)
    assert ours.statistics.keys() == theirs.statistics.keys()
    for name, seen in theirs.statistics.items():
        assert ours.statistics[name].entries == seen.entries
        np.testing.assert_allclose(ours.statistics[name].mean, seen.mean, rtol=0, atol=1e-13)
        np.testing.assert_allclose(ours.statistics[name].variance, seen.variance, rtol=0, atol=1e-13)


COMPILED = (SpikingNeuron(leak=0.6), replace(HARD, detach_reset=False))


@pytest.mark.parametrize("neuron", COMPILED)
@pytest.mark.parametrize("backend", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_backends_are_twins(backend, neuron):
    graph = recurrent(neuron, loss_over="each_step")
    problem = (graph, *live(np.random.default_rng(3), graph, steps=4, batch=2))
    for window in (None, 2):
        plain, other = (bptt(*problem, window=window, backend=name) for name in ("plain", backend))
        assert_close(other.gradients, plain.gradients, error=1e-12, dead=("far.",))
        assert other.loss == pytest.approx(plain.loss, rel=1e-13)
        assert other.diagnostics.spike_rates == plain.diagnostics.spike_rates
        assert other.diagnostics.margin == pytest.approx(plain.diagnostics.margin, rel=1e-12)
    parameters, inputs, _ = problem[1:]
    runs = [graph.run(parameters, inputs, backend=name) for name in ("plain", backend)]
    np.testing.assert_allclose(runs[1], runs[0], rtol=1e-13)
    np.testing.assert_allclose(runs[0], plain.diagnostics.outputs, rtol=1e-13)


# ---------------------------------------------------------------- by hand


class RecurrentByHand:
    """x -> layer with a loop, dropout and scale -> layer that feeds back -> leaky read-out, in plain NumPy.

    Backward is one recursion with switches on leak, reset and feedback:

        e_k[t] = (what reads o_k at t)^T + feedback (loops and feedback)^T p[t+1] - reset leak V p_k[t+1],
        p_k[t] = psi_k[t] e_k[t] + leak p_k[t+1].
    """

    scale, leaks, threshold, kappa = 1.4, (0.6, 0.85), 0.9, 0.3

    def __init__(self, detach_reset):
        neurons = [
            SpikingNeuron(leak=leak, threshold=self.threshold, detach_reset=detach_reset)
            for leak in self.leaks
        ]
        self.graph = SpikingGraph(
            (
                Node("in", ("input",), Dense(6)),
                Node("loop", ("drop",), Dense(6, with_bias=False), delayed=True),
                Node("back", ("b",), Dense(6), delayed=True),
                Node("sum", ("in", "loop", "back"), Sum()),
                Node("a", ("sum",), Population(neurons[0])),
                Node("drop", ("a",), Dropout(0.4)),
                Node("scaled", ("drop",), Scale(self.scale)),
                Node("up", ("scaled",), Dense(5)),
                Node("b", ("up",), Population(neurons[1])),
                Node("readout", ("b",), Dense(3)),
            ),
            (4,),
            loss_over="each_step",
            readout_leak=self.kappa,
        ).with_dropout(np.random.default_rng(1), 3)

    def gradients(self, q, inputs, labels, leak, reset, feedback):
        mask = next(node.what.mask for node in self.graph.nodes if node.name == "drop")
        steps, batch, V = len(inputs), len(labels), self.threshold
        psi = lambda u: 4 / (np.exp(2 * (u - V)) + np.exp(-2 * (u - V))) ** 2  # noqa: E731
        va, vb, y, tape, loss = np.zeros((batch, 6)), np.zeros((batch, 5)), np.zeros((batch, 3)), [], 0.0
        o_before, b_before = np.zeros((batch, 6)), np.zeros((batch, 5))
        for t, x in enumerate(inputs):
            current = x @ q["in.weight"].T + q["in.bias"]
            if t:
                current = current + o_before @ q["loop.weight"].T + b_before @ q["back.weight"].T
                current = current + q["back.bias"]
            ua = self.leaks[0] * va + current
            sa = (ua >= V).astype(float)
            va, o = ua - V * sa, mask * sa
            z = self.scale * o
            ub = self.leaks[1] * vb + z @ q["up.weight"].T + q["up.bias"]
            sb = (ub >= V).astype(float)
            vb = ub - V * sb
            y = self.kappa * y + sb @ q["readout.weight"].T + q["readout.bias"]
            shares = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
            loss -= np.log(shares[np.arange(batch), labels]).mean() / steps
            tape.append((x, o_before, b_before, ua, z, ub, sb, (shares - np.eye(3)[labels]) / batch / steps))
            o_before, b_before = o, sb
        gradients = {name: np.zeros_like(value) for name, value in q.items()}
        pa, pb, dy = np.zeros((batch, 6)), np.zeros((batch, 5)), np.zeros((batch, 3))
        for t in reversed(range(steps)):
            x, o_before, b_before, ua, z, ub, sb, error = tape[t]
            dy = error + self.kappa * dy
            gradients["readout.weight"] += dy.T @ sb
            gradients["readout.bias"] += dy.sum(axis=0)
            eb = dy @ q["readout.weight"] + feedback * pa @ q["back.weight"]
            eb = eb - reset * leak * self.leaks[1] * V * pb
            pb_now = psi(ub) * eb + leak * self.leaks[1] * pb
            ea = mask * (self.scale * pb_now @ q["up.weight"] + feedback * pa @ q["loop.weight"])
            ea = ea - reset * leak * self.leaks[0] * V * pa
            pa, pb = psi(ua) * ea + leak * self.leaks[0] * pa, pb_now
            gradients["up.weight"] += pb.T @ z
            gradients["up.bias"] += pb.sum(axis=0)
            gradients["in.weight"] += pa.T @ x
            gradients["in.bias"] += pa.sum(axis=0)
            if t:
                gradients["loop.weight"] += pa.T @ o_before
                gradients["back.weight"] += pa.T @ b_before
                gradients["back.bias"] += pa.sum(axis=0)
        return loss, gradients


@pytest.mark.parametrize("detach_reset", [True, False])
@pytest.mark.parametrize(
    ("switches", "leak", "reset", "feedback"),
    [
        ({}, 1, None, 1),
        ({"reset": True}, 1, 1, 1),
        ({"reset": False}, 1, 0, 1),
        ({"feedback": False}, 1, None, 0),
        ({"leak": False}, 0, 0, 1),
        ({"leak": False, "reset": False, "feedback": False}, 0, 0, 0),
    ],
)
def test_any_edges_by_hand(detach_reset, switches, leak, reset, feedback):
    by_hand = RecurrentByHand(detach_reset)
    graph = by_hand.graph.with_edges(**switches)
    problem = (graph, *live(np.random.default_rng(4), graph, steps=6))
    reset = (not detach_reset) if reset is None else reset
    loss, expected = by_hand.gradients(*problem[1:], leak, reset, feedback)
    for found in (bptt(*problem, backend="plain"), bptt(*problem), whole(problem)):
        assert found.loss == pytest.approx(loss, rel=1e-13)
        assert_close(found.gradients, expected)


def test_edges_change_the_gradient_and_not_the_run():
    graph = recurrent()
    problem = live(np.random.default_rng(5), graph)
    results = [
        bptt(graph.with_edges(**switches), *problem)
        for switches in (
            {},
            {"leak": False},
            {"reset": False},
            {"feedback": False},
            {"feedback": {"far": False}},
        )
    ]
    for index, one in enumerate(results):
        assert one.loss == results[0].loss
        for other in results[:index]:
            a, b = one.gradients["layer.1.weight"], other.gradients["layer.1.weight"]
            assert np.abs(a - b).max() > 1e-4 * np.abs(a).max()


# ---------------------------------------------------------------- the first step


def test_at_the_first_step_nothing_comes_from_delayed_nodes():
    """Not even their bias; and their parameters have no gradient from it."""
    graph = recurrent(loss_over="each_step")
    parameters, inputs, targets = live(np.random.default_rng(6), graph, steps=5)
    moved = {
        name: value + 3 if name.startswith(("loop.", "back.", "far.")) else value
        for name, value in parameters.items()
    }
    first, other = (bptt(graph, q, inputs[:1], targets) for q in (parameters, moved))
    assert first.loss == other.loss
    for name in parameters:
        np.testing.assert_array_equal(first.gradients[name], other.gradients[name])
        assert np.any(first.gradients[name]) != name.startswith(("loop.", "back.", "far.")), name
    assert bptt(graph, parameters, inputs[:2], targets).loss != bptt(graph, moved, inputs[:2], targets).loss
    assert np.abs(bptt(graph, parameters, inputs[:2], targets).gradients["far.bias"]).max() > 1e-6


def test_the_state_says_what_was_before():
    graph = recurrent(HARD, readout_leak=0.5)
    parameters, inputs, _ = live(np.random.default_rng(7), graph)
    state = graph.initial_state(parameters, 3)
    assert (state["layer.1.potential"] == HARD.reset_value).all()
    assert {name for name in state if name.endswith(("before", "started"))} == {
        f"{name}.{last}" for name in ("loop", "back", "far") for last in ("before", "started")
    }
    readouts = []
    for x in inputs:
        previous = state
        state = graph.step(parameters, state, x)
        readouts.append(state["readout.potential"])
        assert (state["back.started"] == 1).all()
        # the read-out's own memory is not fed back
        expected = state["readout.potential"] - 0.5 * previous["readout.potential"]
        np.testing.assert_allclose(state["far.before"], expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(state["readout.sum"], sum(readouts), rtol=1e-14)


# ---------------------------------------------------------------- edge cases of the door


def shared_graph(**options):
    """One current under two populations, one population under three readers, one delayed node under two."""
    return SpikingGraph(
        (
            Node("current", ("input",), Dense(6)),
            Node("before", ("first",), Dense(6), delayed=True),
            Node("one", ("current", "before"), Sum()),
            Node("two", ("current", "before", "current"), Sum()),
            Node("first", ("one",), Population(SOFT)),
            Node("second", ("two",), Population(replace(SOFT, leak=0.2))),
            Node("same", ("first",), Dropout(0.1)),
            Node("flat", ("same",), Flatten()),
            Node("third", ("flat",), Population(replace(SOFT, leak=0.9, threshold=1.3))),
            Node("all", ("first", "second", "third", "flat"), Sum()),
            Node("readout", ("all",), Dense(3)),
        ),
        (4,),
        **options,
    )


def test_nodes_may_share_what_they_read():
    problem = (shared_graph(), *live(np.random.default_rng(8), shared_graph()))
    truth = rtrl(*problem)
    for found in (bptt(*problem), whole(problem)):
        assert found.loss == pytest.approx(truth.loss, rel=1e-14)
        assert_close(found.gradients, truth.gradients)


def test_views_of_what_others_read_are_not_written_over():
    """Without delays each node takes all its steps, and neurons write over their currents."""
    nodes = [node for node in shared_graph().nodes if node.name != "before"]
    nodes = [replace(node, inputs=tuple(n for n in node.inputs if n != "before")) for node in nodes]
    graph = SpikingGraph(
        (
            *nodes[:1],
            Node("alias", ("current",), Dropout(0.5)),
            Node("fourth", ("alias",), Population(SOFT)),
            *nodes[1:-2],
            replace(nodes[-2], inputs=(*nodes[-2].inputs, "fourth", "alias")),
            nodes[-1],
        ),
        (4,),
    )
    problem = (graph, *live(np.random.default_rng(9), graph))
    truth = whole(problem)
    for backend in ("plain", "cpu"):
        found = bptt(*problem, backend=backend)
        assert found.loss == pytest.approx(truth.loss, rel=1e-13)
        assert_close(found.gradients, truth.gradients)


@pytest.mark.parametrize("pool", [MaxPool(2), AveragePool(2)])
def test_inputs_may_be_read_only_static_or_not_contiguous(pool):
    graph = SpikingGraph(
        (
            Node("pooled", ("input",), pool),
            Node("in", ("pooled",), Convolution2d(3, 3, padding=1, with_bias=False)),
            Node("norm", ("in",), BatchNormalisation(over="step")),
            Node("spikes", ("norm",), Population(SOFT)),
            Node("still", ("input",), Population(SOFT)),
            Node("wide", ("still",), Convolution2d(3, 2, stride=2)),
            Node("back", ("spikes",), Convolution2d(3, 3, padding=1), delayed=True),
            Node("sum", ("spikes", "wide", "back"), Sum()),
            Node("flat", ("sum",), Flatten()),
            Node("readout", ("flat",), Dense(3)),
        ),
        (2, 4, 4),
        loss_over="each_step",
    )
    parameters, inputs, targets = live(np.random.default_rng(10), graph)
    strange = np.asfortranarray(inputs)
    strange.flags.writeable = False
    frozen = {name: value.copy() for name, value in parameters.items()}
    for value in frozen.values():
        value.flags.writeable = False
    for run in (bptt, lambda *p: whole(p)):
        plain, other = run(graph, parameters, inputs, targets), run(graph, frozen, strange, targets)
        assert other.loss == pytest.approx(plain.loss, rel=1e-14)
        assert_close(other.gradients, plain.gradients)
        still = run(graph, parameters, StaticInput(strange[0], 4), targets)
        same = run(graph, parameters, np.repeat(inputs[:1], 4, axis=0), targets)
        assert still.loss == pytest.approx(same.loss, rel=1e-14)
        for name, value in same.gradients.items():
            assert np.abs(still.gradients[name] - value).max() <= 1e-10 * max(np.abs(value).max(), 1e-3)


@pytest.mark.parametrize("loss_over", ["mean_readout", "each_step"])
def test_float32_is_not_promoted(loss_over):
    graph = recurrent(HARD, loss_over=loss_over, readout_leak=0.4, squared_share=0.2)
    rng = np.random.default_rng(11)
    parameters, inputs, targets = live(rng, graph, dtype=np.float32)
    state = graph.initial_state(parameters, 3)
    _, sequence, _ = graph.check(parameters, inputs, targets)
    for t in range(len(inputs)):
        state = graph.step(parameters, state, sequence[t])
    assert {value.dtype for value in state.values()} == {np.dtype(np.float32)}
    double = [{n: v.astype(float) for n, v in parameters.items()}, inputs.astype(float), targets]
    truth = bptt(graph, *double).gradients
    for run in (bptt, lambda *p: whole(p), rtrl):
        found = run(graph, parameters, inputs, targets)
        assert found.diagnostics.outputs.dtype == np.float32
        for name, value in found.gradients.items():
            assert value.dtype == np.float32
            assert np.abs(value - truth[name]).max() <= 2e-4 * np.abs(truth[name]).max()


def test_one_step_one_sample_and_no_population():
    graph = SpikingGraph((Node("readout", ("input",), Dense(3)),), (4,), loss_over="each_step")
    rng = np.random.default_rng(12)
    problem = graph, graph.initialise(rng), rng.normal(size=(1, 1, 4)), [2]
    y = problem[1]["readout.weight"] @ problem[2][0, 0] + problem[1]["readout.bias"]
    error = np.exp(y) / np.exp(y).sum() - np.eye(3)[2]
    expected = {"readout.weight": np.outer(error, problem[2][0, 0]), "readout.bias": error}
    for found in (bptt(*problem), stepwise_gradient(*problem, spiking_kernels("plain")), whole(problem)):
        assert_close(found.gradients, expected)
        assert found.diagnostics.spike_rates == {}
        assert found.diagnostics.margin is None


def test_tapes_of_a_long_run_grow_by_the_step():
    graph = recurrent(loss_over="each_step")
    kept = {}
    for steps in (3, 6, 12):
        problem = live(np.random.default_rng(13), graph, steps=steps)
        kept[steps] = bptt(graph, *problem).diagnostics.bytes_kept
    assert kept[12] - kept[6] == 2 * (kept[6] - kept[3])


# ---------------------------------------------------------------- what is refused


def feedforward(*middle):
    return SpikingGraph((Node("in", ("input",), Dense(4)), *middle, Node("readout", ("a",), Dense(2))), (4,))


@pytest.mark.parametrize(
    ("middle", "message"),
    [
        (
            (Node("a", ("b",), Dense(4), delayed=True),),
            "expected one input among the nodes that are not delayed",
        ),
        (
            (
                Node("l", ("p",), Dense(4), delayed=True),
                Node("p", ("in",), Population()),
                Node("a", ("l",), Dense(4), delayed=True),
            ),
            "expected one input among the nodes that are not delayed, got",
        ),
        (
            (
                Node("l", ("a",), Dense(4), delayed=True),
                Node("s", ("l",), Sum()),
                Node("a", ("s",), Population()),
            ),
            "expected an input that is not delayed",
        ),
        (
            (
                Node("l", ("a",), Dense(3), delayed=True),
                Node("s", ("in", "l"), Sum()),
                Node("a", ("s",), Population()),
            ),
            "expected inputs of one shape",
        ),
        (
            (Node("a", ("in",), Dense(4), prefix="in"),),
            r"expected parameters of its own for each node, got \['in.bias', 'in.weight'\] of 'a' twice",
        ),
    ],
)
def test_graphs_with_delays_that_are_none_are_refused(middle, message):
    with pytest.raises(ValueError, match=message):
        feedforward(*middle)


def test_only_linear_operators_are_delayed():
    for what in (Population(), Sum(), MaxPool(2), BatchNormalisation(over="step")):
        with pytest.raises(ValueError, match="delayed: expected a linear operator to be delayed"):
            Node("a", ("input",), what, delayed=True)
    with pytest.raises(TypeError, match="delayed"):
        Node("a", ("input",), Dense(2), delayed=1)


def test_joint_normalisation_is_refused_step_by_step_and_delays_layer_by_layer():
    graph = feedforward(
        Node("norm", ("in",), BatchNormalisation()),
        Node("p", ("norm",), Population()),
        Node("loop", ("p",), Dense(4), delayed=True),
        Node("a", ("loop", "p"), Sum()),
    )
    rng = np.random.default_rng(14)
    problem = graph, graph.initialise(rng), rng.random((3, 2, 4)), [0, 1]
    for run in (bptt, lambda *p: whole(p)):
        with pytest.raises(ValueError, match="node 'norm': expected statistics of each step"):
            run(*problem)
    with pytest.raises(ValueError, match=r"edges\.feedback: expected names among \['loop'\], got 'p'"):
        graph.with_edges(feedback={"p": False})
    with pytest.raises(ValueError, match=r"edges\.leak: expected names among \['p'\], got 'loop'"):
        Edges(leak={"loop": False}) and graph.with_edges(leak={"loop": False})
