"""Spiking networks of refsnn and NIR graphs: there and back, and the same spikes on both sides."""

from __future__ import annotations

from dataclasses import replace

import nir_cases as cases
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.builders.dense import dense_network
from refsnn.nir import Discretisation, NirGraph, Node, from_nir, read_graph, run_graph, to_nir, write_graph

DT = 2e-3


def network(seed, reset="soft", fires=">=", recurrent=False, leak=0.7, **fields):
    """A small live network with parameters and inputs."""
    value = -0.2 if reset == "hard" else 0.0
    neuron = SpikingNeuron(leak=leak, threshold=0.8, reset=reset, reset_value=value, fires=fires)
    graph = dense_network((5, 7, 6, 3), neuron, recurrent=recurrent, **fields)
    rng = np.random.default_rng(seed)
    parameters = graph.initialise(rng, gain=2.0)
    return graph, parameters, (rng.random((30, 4, 5)) < 0.5).astype(float)


@given(
    seed=st.integers(0, 2**32 - 1),
    reset=st.sampled_from(["soft", "hard"]),
    fires=st.sampled_from([">=", ">"]),
    recurrent=st.booleans(),
    leak=st.sampled_from([0.0, 0.3, 0.95, 1.0]),
    readout_leak=st.sampled_from([0.0, 0.6]),
)
@settings(max_examples=25, deadline=None)
def test_there_and_back(seed, reset, fires, recurrent, leak, readout_leak):
    graph, parameters, inputs = network(seed, reset, fires, recurrent, leak, readout_leak=readout_leak)
    there, how = to_nir(graph, parameters, dt=DT)
    run = run_graph(there, inputs, dt=DT, discretisation=how)
    if min(run.margin.values()) > 1e-9:  # one rounding of the leak may not decide over a spike
        wanted = graph.run(parameters, inputs, "plain")
        np.testing.assert_allclose(run.outputs["output"].mean(axis=0), wanted, rtol=0, atol=1e-10)
    again, back = from_nir(there, dt=DT, discretisation=how)
    assert set(back) == set(parameters)
    for name, value in parameters.items():
        np.testing.assert_allclose(back[name], value, rtol=1e-14, atol=0, err_msg=name)
    kinds = [type(node.what).__name__ for node in again.nodes]
    assert sorted(kinds) == sorted(type(node.what).__name__ for node in graph.nodes)
    assert set(again.populations) == set(graph.populations)
    there, here = ({node.name: node.what for node in one.nodes} for one in (again, graph))
    for name in graph.populations:
        found, wanted = there[name].neuron, here[name].neuron
        assert found.leak == pytest.approx(wanted.leak, abs=1e-15)
        assert replace(found, leak=wanted.leak) == wanted
    assert again.readout_leak == pytest.approx(readout_leak, abs=1e-15)


def test_the_networks_of_that_test_are_alive():
    for reset in ("soft", "hard"):
        for recurrent in (False, True):
            graph, parameters, inputs = network(3, reset, recurrent=recurrent)
            there, how = to_nir(graph, parameters, dt=DT)
            run = run_graph(there, inputs, dt=DT, discretisation=how)
            assert all(0.02 < rate < 0.9 for rate in run.rates().values()), run.rates()
            other = replace(how, reset="value" if how.reset == "subtract" else "subtract")
            changed = run_graph(there, inputs, dt=DT, discretisation=other)
            assert np.abs(changed.outputs["output"] - run.outputs["output"]).max() > 1e-3


def test_through_a_file(tmp_path):
    graph, parameters, inputs = network(1, recurrent=True)
    there, how = to_nir(graph, parameters, dt=DT)
    again, back = from_nir(read_graph(write_graph(tmp_path / "g.nir", there)), dt=DT, discretisation=how)
    np.testing.assert_allclose(
        again.run(back, inputs, "plain"), graph.run(parameters, inputs, "plain"), rtol=0, atol=1e-12
    )


def lif_graph(rng, **changed):
    """Affine, LIF, Linear, with gains and leak potentials that a SpikingGraph has not."""
    common = {name: np.full(6, value) for name, value in COMMON.items()}
    nodes = [
        Node("Affine", {"weight": 3 * rng.standard_normal((6, 4)), "bias": rng.standard_normal(6)}),
        cases.neuron("LIF", rng, (6,), **common | changed),
        Node("Linear", {"weight": rng.standard_normal((2, 6))}),
    ]
    return cases.chain(*nodes, shape=(4,), out=(2,))


COMMON = {"tau": 5e-3, "v_threshold": 0.4, "v_reset": -0.1}


@pytest.mark.parametrize("leak", ["euler", "exponential"])
def test_gains_and_leak_potentials_go_into_weights(leak):
    rng = np.random.default_rng(4)
    graph = lif_graph(rng)
    assert np.ptp(graph.nodes["n1"].values["r"]) > 0
    assert np.ptp(graph.nodes["n1"].values["v_leak"]) > 0
    how = Discretisation("mine", leak=leak, gain="exact" if leak == "exponential" else "euler")
    inputs = (rng.random((40, 3, 4)) < 0.4).astype(float)
    run = run_graph(graph, inputs, dt=1e-3, discretisation=how)
    assert 0.05 < run.rates()["n1"] < 0.8
    assert run.margin["n1"] > 1e-9
    network, parameters = from_nir(graph, dt=1e-3, discretisation=how)
    np.testing.assert_allclose(
        network.run(parameters, inputs, "plain"), run.outputs["out"].mean(axis=0), rtol=0, atol=1e-12
    )


def test_a_recurrent_graph_of_another_writer():
    """A circle without a Delay: the late edge becomes a delayed connection."""
    rng = np.random.default_rng(5)
    plain = lif_graph(rng)
    nodes = dict(plain.nodes) | {"loop": Node("Linear", {"weight": rng.standard_normal((6, 6))})}
    graph = NirGraph(nodes, [*plain.edges, ("n1", "loop"), ("loop", "n1")])
    inputs = (rng.random((40, 3, 4)) < 0.4).astype(float)
    run = run_graph(graph, inputs, dt=1e-3)
    network, parameters = from_nir(graph, dt=1e-3, discretisation="forward_euler")
    assert run.rates()["n1"] > 0.05
    np.testing.assert_allclose(
        network.run(parameters, inputs, "plain"), run.outputs["out"].mean(axis=0), rtol=0, atol=1e-12
    )


def test_what_has_no_place_on_the_other_side_is_refused():
    rng = np.random.default_rng(6)
    graph, line = lif_graph(rng), Node("Linear", {"weight": [[1.0]]})
    loop = Node("Affine", {"weight": rng.standard_normal((6, 6)), "bias": np.ones(6)})
    looped = NirGraph(dict(graph.nodes) | {"loop": loop}, [*graph.edges, ("n1", "loop"), ("loop", "n1")])
    mixed = lif_graph(rng, tau=rng.uniform(4e-3, 6e-3, 6))
    over = cases.chain(Node("Threshold", {"threshold": [0.5]}))
    cuba, bare = cases.chain(line, cases.neuron("CubaLIF")), cases.chain(line, cases.neuron("LIF"))
    for found, how, message in (
        (graph, "forward_euler_late_spike", "discretisation: expected resets in the same step and nothing"),
        (
            graph,
            "forward_euler_subtract",
            "node 'n1': v_reset: expected 0 with a reset by subtraction, got -",
        ),
        (mixed, "forward_euler", "node 'n1': tau: expected one value for all neurons"),
        (over, "forward_euler", "node 'n0': expected Linear, Affine, LIF, IF, LI or Delay, got Threshold"),
        (cuba, "forward_euler", "got CubaLIF: refsnn has no synapse"),
        (bare, "forward_euler", "node 'n1': expected Linear or Affine before 'out', got LIF"),
        (looped, "forward_euler", "node 'loop': bias: expected none on a late edge"),
    ):
        with pytest.raises(ValueError, match=message):
            from_nir(found, dt=1e-3, discretisation=how)


def test_networks_that_nir_cannot_say_are_refused():
    graph = dense_network((5, 7, 3), standardise=True)
    with pytest.raises(ValueError, match=r"node 'layer.1.current': expected Dense without standardised"):
        to_nir(graph, graph.initialise(np.random.default_rng(0)), dt=DT)
    graph = dense_network((5, 7, 6, 3), [SpikingNeuron(), SpikingNeuron(fires=">")])
    with pytest.raises(ValueError, match="graph: expected one reset and one comparison for all neurons"):
        to_nir(graph, graph.initialise(np.random.default_rng(0)), dt=DT)
    with pytest.raises(TypeError, match="graph: expected a SpikingGraph"):
        to_nir("dense", {}, dt=DT)
