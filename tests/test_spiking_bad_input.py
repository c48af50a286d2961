"""What is refused of spiking graphs, at which door, and in which words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from refsnn.algorithms.bptt import bptt, bptt_over_steps
from refsnn.algorithms.eprop import eprop
from refsnn.algorithms.forward_mode import forward_mode, rtrl
from refsnn.algorithms.layerwise import check_leaks
from refsnn.algorithms.ottt import ottt, ottt_online
from refsnn.algorithms.rate_backpropagation import rate_backpropagation, simulate
from refsnn.algorithms.sltt import sltt
from refsnn.algorithms.temporal_galerkin import temporal_galerkin
from refsnn.algorithms.truncated_bptt import truncated_bptt
from refsnn.models.builders.dense import dense_network
from refsnn.models.contract import StaticInput
from refsnn.models.edges import Edges
from refsnn.models.operators.dense import Dense
from refsnn.models.operators.normalisation import BatchNormalisation
from refsnn.models.spiking_graph import Node, Population, SpikingGraph, Sum


def network(**options):
    return dense_network((4, 8, 3), **options)


def problem(graph, dtype=np.float64):
    rng = np.random.default_rng(0)
    parameters = graph.initialise(rng, dtype, gain=3.0)
    return parameters, rng.random((5, 2, 4)).astype(dtype), np.array([0, 2])


# -- what is no network -----------------------------------------------------------------------------------

GRAPH_DOORS = {
    "ottt": ottt,
    "ottt_online": lambda *a: ottt_online(*a, lambda p, g: p),
    "sltt": sltt,
    "eprop": eprop,
    "rate_backpropagation": rate_backpropagation,
    "rate, single step": lambda *a: rate_backpropagation(*a, mode="single_step"),
    "temporal_galerkin": lambda *a: temporal_galerkin(*a, n_modes=2),
    "simulate": lambda graph, p, x, y: simulate(graph, p, x),
}
MODEL_DOORS = {
    "bptt": bptt,
    "truncated_bptt": lambda *a: truncated_bptt(*a, window=2),
    "bptt_over_steps": bptt_over_steps,
    "rtrl": rtrl,
    "forward_mode": lambda *a: forward_mode(*a, a[1]),
}


@pytest.mark.parametrize("door", GRAPH_DOORS)
@pytest.mark.parametrize("wrong", ["dense", None, SpikingGraph, (4, 8, 3)])
def test_algorithms_of_graphs_take_nothing_else(door, wrong):
    with pytest.raises(TypeError, match=r"^graph: expected a SpikingGraph such as .*, got ") as caught:
        GRAPH_DOORS[door](wrong, *problem(network()))
    assert str(caught.value).endswith(f"got {wrong!r}")


@pytest.mark.parametrize("door", MODEL_DOORS)
@pytest.mark.parametrize("wrong", ["dense", None, SpikingGraph])
def test_algorithms_of_models_take_nothing_else(door, wrong):
    with pytest.raises(TypeError, match=r"^model: expected a Model such as dense_network.*, got ") as caught:
        MODEL_DOORS[door](wrong, *problem(network()))
    assert str(caught.value).endswith(f"got {wrong!r}")


# -- nodes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("a", "input", Dense(3)),
            r"^node 'a': inputs: expected a tuple of names, got 'input'; write \('input',\)$",
        ),
        (("a", None, Dense(3)), "^node 'a': inputs: expected a tuple of names, got None$"),
        (("a", (3,), Dense(3)), r"^node 'a': inputs: expected a tuple of names, got \(3,\)$"),
        (("a", ("input",), Population), "^node 'a': what: expected an operator .* got <class .*Population'>"),
        (("a", ("input",), "Dense"), "^node 'a': what: expected an operator .* got 'Dense'"),
        (("a", ("input",), None), "^node 'a': what: expected an operator .* got None"),
        ((1, ("input",), Dense(3)), '^name: expected a str such as "readout", got 1'),
        (("a", ("input",), Dense(3), 1), '^prefix: expected a str such as "layer.1", got 1'),
    ],
)
def test_nodes_of_other_parts(arguments, message):
    with pytest.raises(TypeError, match=message):
        Node(*arguments)


def test_a_delayed_read_out():
    nodes = (
        Node("a", ("input",), Population()),
        Node("readout", ("a",), Dense(3), delayed=True),
    )
    with pytest.raises(
        ValueError, match="last node, the read-out, not delayed, got a delayed one, 'readout'"
    ):
        SpikingGraph(nodes, (4,))
    with pytest.raises(ValueError, match="not delayed, got Population in 'a'"):
        SpikingGraph(nodes[:1], (4,))
    with pytest.raises(ValueError, match="not delayed, got none"):
        SpikingGraph((), (4,))


# -- options ------------------------------------------------------------------------------------------------


def test_unknown_options_are_named_with_those_that_there_are():
    with pytest.raises(
        TypeError, match="with_edges: expected options among 'leak', 'reset', 'feedback', got 'resets'"
    ):
        network().with_edges(resets=False)
    for option in ("loss", "nodes", "edges"):
        with pytest.raises(
            TypeError, match=f"with_loss: expected options among 'loss_function', .*, got '{option}'"
        ):
            network().with_loss(**{option: None})


def test_a_cut_leak_says_who_obeys_it():
    with pytest.raises(ValueError, match="BPTT, truncated BPTT and forward mode obey this switch"):
        check_leaks(Edges(leak=False))
    # and they do
    graph = network(recurrent=False)
    arguments = problem(graph)
    cut = graph.with_edges(leak=False)
    for run in (bptt, rtrl, lambda *a: truncated_bptt(*a, window=3)):
        whole, less = run(graph, *arguments).gradients, run(cut, *arguments).gradients
        assert np.abs(whole["layer.1.weight"] - less["layer.1.weight"]).max() > 1e-6


@pytest.mark.parametrize("update", ["sgd", None, 0.1])
def test_an_update_is_called(update):
    graph = network(loss_over="each_step")
    with pytest.raises(
        TypeError, match=r"^update: expected a callable \(parameters, gradients\) -> parameters, got "
    ):
        ottt_online(graph, *problem(graph), update)


def test_an_update_in_place_leaves_the_parameters_of_the_caller():
    graph = network(loss_over="each_step")
    parameters, *data = problem(graph)
    before = {name: value.copy() for name, value in parameters.items()}

    def in_place(parameters, gradients):
        for name, value in parameters.items():
            value -= 0.1 * gradients[name]
        return parameters

    def fresh(parameters, gradients):
        return {name: value - 0.1 * gradients[name] for name, value in parameters.items()}

    found = ottt_online(graph, parameters, *data, in_place).parameters
    for name, value in ottt_online(graph, before, *data, fresh).parameters.items():
        np.testing.assert_array_equal(parameters[name], before[name])
        np.testing.assert_array_equal(found[name], value)
        assert np.any(value != before[name])


# -- running statistics -------------------------------------------------------------------------------------


def normalised():
    """Two normalisations of different widths."""
    return SpikingGraph(
        (
            Node("in", ("input",), Dense(5)),
            Node("norm", ("in",), BatchNormalisation(over="step")),
            Node("layer.1", ("norm",), Population()),
            Node("up", ("layer.1",), Dense(6)),
            Node("top", ("up",), BatchNormalisation(over="step")),
            Node("layer.2", ("top",), Population()),
            Node("readout", ("layer.2",), Dense(3)),
        ),
        (4,),
    )


def spoilt(running, name, **arrays):
    return running | {name: running[name] | arrays}


RUNNING = {
    "no mapping": (lambda r: [r], TypeError, "^running: expected a dict from `initial_running`, got list"),
    "none": (lambda r: None, ValueError, r"^running: expected statistics of \['norm', 'top'\], got none"),
    "a missing one": (
        lambda r: {"norm": r["norm"]},
        ValueError,
        r"^running: expected statistics of \['top'\], got none; keep them while training",
    ),
    "an unknown one": (
        lambda r: r | {"nrom": r["norm"]},
        ValueError,
        r"^running: expected statistics of \['norm', 'top'\], got unknown \['nrom'\]",
    ),
    "no entries": (lambda r: r | {"top": 3}, TypeError, r"^running\['top'\]: expected a dict of arrays"),
    "a missing entry": (
        lambda r: r | {"top": {"mean": r["top"]["mean"]}},
        ValueError,
        r"^running\['top'\]: .* missing \['variance'\], unknown \[\]",
    ),
    "an unknown entry": (
        lambda r: spoilt(r, "top", var=np.ones(6)),
        ValueError,
        r"^running\['top'\]: .* missing \[\], unknown \['var'\]",
    ),
    "another width": (
        lambda r: spoilt(r, "top", mean=np.zeros(5)),
        ValueError,
        r"^running\['top'\]\['mean'\]: expected shape \(6,\), got \(5,\)",
    ),
    "NaN": (
        lambda r: spoilt(r, "norm", mean=np.full(5, np.nan)),
        ValueError,
        r"^running\['norm'\]\['mean'\]: expected finite numbers",
    ),
    "a negative variance": (
        lambda r: spoilt(r, "norm", variance=-np.ones(5)),
        ValueError,
        r"^running\['norm'\]\['variance'\]: expected numbers of at least 0, got -1.0",
    ),
    "another dtype": (
        lambda r: spoilt(r, "top", mean=np.zeros(6, np.float32)),
        TypeError,
        r"^running\['top'\]\['mean'\]: expected dtype float64 like the other arrays, got float32",
    ),
    "integers": (
        lambda r: spoilt(r, "norm", mean=np.zeros(5, int)),
        TypeError,
        r"^running\['norm'\]\['mean'\]: expected a float32 or float64 array, got dtype int64",
    ),
}


@pytest.mark.parametrize("bad", RUNNING)
def test_running_statistics_of_another_network(bad):
    spoil, error, message = RUNNING[bad]
    graph = normalised()
    parameters, inputs, labels = problem(graph)
    statistics = bptt(graph, parameters, inputs, labels).diagnostics.statistics
    running = graph.initial_running()
    graph.run(parameters, inputs, running=graph.updated_running(running, statistics))
    with pytest.raises(error, match=message):
        graph.run(parameters, inputs, running=spoil(running))
    with pytest.raises(error, match=message):
        graph.updated_running(spoil(running), statistics)


def test_running_statistics_have_the_dtype_of_the_parameters():
    graph = normalised()
    parameters, inputs, labels = problem(graph, np.float32)
    with pytest.raises(
        TypeError, match=r"running\['norm'\]\['mean'\]: expected dtype float32 .* got float64"
    ):
        graph.run(parameters, inputs, running=graph.initial_running())
    statistics = bptt(graph, parameters, inputs, labels).diagnostics.statistics
    with pytest.raises(TypeError, match=r"statistics\['norm'\]\.mean: expected dtype float64 .* got float32"):
        graph.updated_running(graph.initial_running(), statistics)


def test_without_normalisation_no_statistics_are_taken():
    graph = network()
    parameters, inputs, _ = problem(graph)
    norm = {"mean": np.zeros(8), "variance": np.ones(8)}
    with pytest.raises(ValueError, match=r"running: expected statistics of \[\], got unknown \['norm'\]"):
        graph.run(parameters, inputs, running={"norm": norm})


def with_field(**changes):
    return lambda s: s | {"top": replace(s["top"], **changes)}


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda s: None, TypeError, "^statistics: expected a mapping .* got NoneType; take the diagnostics"),
        (lambda s: {"norm": s["norm"]}, ValueError, r"^statistics: expected those of 'top', got \['norm'\]"),
        (lambda s: s | {"pot": s["top"]}, ValueError, r"^statistics: .* got unknown \['pot'\]"),
        (lambda s: s | {"top": 3}, TypeError, r"^statistics\['top'\]: expected BatchStatistics, got int"),
        (
            lambda s: s | {"top": s["norm"]},
            ValueError,
            r"^statistics\['top'\]\.mean: expected shape \(T, 6\)",
        ),
        (with_field(variance=-np.ones((5, 6))), ValueError, r"^statistics\['top'\]\.variance: .* at least 0"),
        (
            with_field(variance=np.ones((4, 6))),
            ValueError,
            r"variance: expected shape \(5, 6\), got \(4, 6\)",
        ),
        (with_field(entries=2.5), TypeError, r"^statistics\['top'\]\.entries: expected an integer"),
    ],
)
def test_statistics_of_another_batch(spoil, error, message):
    graph = normalised()
    statistics = bptt(graph, *problem(graph)).diagnostics.statistics
    with pytest.raises(error, match=message):
        graph.updated_running(graph.initial_running(), spoil(statistics))


# -- data ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss_function", "targets", "error", "message"),
    [
        (
            "cross_entropy",
            np.eye(3)[[0, 2]],
            ValueError,
            r"^targets: expected labels \(B,\) .*argmax, or loss_function='mean_squared_error'",
        ),
        ("cross_entropy", np.eye(3, dtype=int)[[0, 2]], ValueError, "argmax"),
        (
            "mean_squared_error",
            np.array([0, 2]),
            TypeError,
            r"^targets: expected one-hot \(B, classes\) floats .* dtype int64 .*numpy.eye\(3\)",
        ),
        ("mean_squared_error", [0, 2], TypeError, r"one-hot \(B, classes\) floats"),
        ("mean_squared_error", [[0.0], [0.0, 2.0]], TypeError, "^targets: expected something NumPy can read"),
        ("cross_entropy", None, TypeError, "^targets: expected integer class labels, got None$"),
        ("cross_entropy", "cat", TypeError, "^targets: expected integer class labels, got 'cat'$"),
        ("mean_squared_error", None, TypeError, "^targets: expected a float32 or float64 array, got None$"),
    ],
)
def test_targets_of_the_other_loss(loss_function, targets, error, message):
    graph = network(loss_function=loss_function)
    parameters, inputs, _ = problem(graph)
    with pytest.raises(error, match=message):
        bptt(graph, parameters, inputs, targets)


@pytest.mark.parametrize(
    ("inputs", "ending"),
    [
        (None, "got None"),
        ("spikes", "got 'spikes'"),
        (object(), "got a object"),
        (np.array([None, 1.0]), "got dtype object"),
    ],
)
def test_what_is_no_array_gets_no_advice_how_to_convert_it(inputs, ending):
    graph = network()
    parameters, _, labels = problem(graph)
    with pytest.raises(TypeError, match=r"^inputs: expected a float32 or float64 array, ") as caught:
        bptt(graph, parameters, inputs, labels)
    assert str(caught.value).endswith(ending)


@pytest.mark.parametrize(
    ("steps", "error"), [(0, ValueError), (-1, ValueError), (2.5, TypeError), ("3", TypeError)]
)
def test_a_static_input_has_steps(steps, error):
    with pytest.raises(error, match=r"^steps: expected an integer"):
        StaticInput(np.ones((2, 4)), steps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_of_masks_is_no_matter(dtype):
    graph = network(dropout=0.3)
    arguments = problem(graph, dtype)
    one, other = (
        bptt(graph.with_dropout(np.random.default_rng(3), 2, drawn), *arguments)
        for drawn in (np.float32, np.float64)
    )
    for name, value in one.gradients.items():
        assert value.dtype == other.gradients[name].dtype == dtype
        np.testing.assert_allclose(other.gradients[name], value, rtol=1e-6, atol=1e-7)
    assert np.abs(one.gradients["layer.1.weight"]).max() > 1e-4


def test_a_sum_is_made_first():
    with pytest.raises(TypeError, match=r"what: expected an operator such as Dense\(10\), Population\(\)"):
        Node("a", ("input",), Sum)
