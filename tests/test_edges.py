"""Switches on the edges of time: what they mean for each name, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.edges import ALL_EDGES, Edges
from refsnn.models.operators.dense import Dense
from refsnn.models.spiking_graph import Node, Population, SpikingGraph, Sum

THROUGH, DETACHED = SpikingNeuron(detach_reset=False), SpikingNeuron(detach_reset=True)


def graph(**options):
    return SpikingGraph(
        (
            Node("in", ("input",), Dense(3)),
            Node("loop", ("layer",), Dense(3), delayed=True),
            Node("sum", ("in", "loop"), Sum()),
            Node("layer", ("sum",), Population(THROUGH)),
            Node("readout", ("layer",), Dense(2)),
        ),
        (4,),
        **options,
    )


def test_all_edges_are_live_unless_named():
    for edges in (ALL_EDGES, Edges(), Edges(leak={}, reset={}, feedback={})):
        assert edges.has_leak("a")
        assert edges.has_feedback("a")
        assert edges.neuron("a", THROUGH) == THROUGH
        assert edges.neuron("a", DETACHED) == DETACHED
    assert graph().edges == ALL_EDGES


def test_one_switch_for_all():
    edges = Edges(leak=False, feedback=False)
    assert not edges.has_leak("a")
    assert not edges.has_feedback("a")
    for neuron in (THROUGH, DETACHED):
        assert Edges(reset=True).neuron("a", neuron) == THROUGH
        assert Edges(reset=False).neuron("a", neuron) == DETACHED


def test_a_mapping_names_exceptions():
    edges = Edges(leak={"a": False, "b": True}, feedback={"c": False})
    assert [edges.has_leak(name) for name in "abc"] == [False, True, True]
    assert [edges.has_feedback(name) for name in "abc"] == [True, True, False]
    edges = Edges(reset={"a": True, "b": False, "c": None})
    for neuron in (THROUGH, DETACHED):
        assert edges.neuron("a", neuron) == THROUGH
        assert edges.neuron("b", neuron) == DETACHED
        assert edges.neuron("c", neuron) == neuron  # left to the neuron, as one that is not named
        assert edges.neuron("d", neuron) == neuron


def test_nothing_but_the_gradient_of_a_neuron_is_switched():
    neuron = SpikingNeuron(leak=0.7, threshold=1.3, reset="hard", reset_value=-0.1, detach_reset=False)
    assert Edges(reset=False).neuron("a", neuron) == replace(neuron, detach_reset=True)


def test_a_network_takes_switches():
    cut = graph().with_edges(leak=False, feedback={"loop": False})
    assert cut.edges == Edges(leak=False, feedback={"loop": False})
    assert cut.nodes == graph().nodes
    assert cut.with_edges().edges == cut.edges
    again = graph().with_edges(leak=False).with_edges(feedback=False)  # calls add up
    assert again.edges == Edges(leak=False, feedback=False)
    assert again.with_edges(leak=True).edges == Edges(feedback=False)
    assert replace(again, edges=Edges()).edges == ALL_EDGES
    assert cut.with_loss(loss_over="each_step").edges == cut.edges


@pytest.mark.parametrize("name", ["leak", "reset", "feedback"])
@pytest.mark.parametrize("value", ["yes", 1, 0.5, ["layer"], {"layer": 1}, {"layer": "no"}])
def test_other_kinds_are_refused(name, value):
    with pytest.raises(TypeError, match=f"{name}: expected True, False, or a mapping of names to them, got"):
        Edges(**{name: value})


@pytest.mark.parametrize("name", ["leak", "feedback"])
def test_only_a_reset_may_be_left_to_the_neuron(name):
    Edges(reset=None)
    for value in (None, {"layer": None}):
        with pytest.raises(TypeError, match=f"{name}: expected True, False"):
            Edges(**{name: value})


@pytest.mark.parametrize(
    "switches",
    [
        {"leak": False, "reset": True},
        {"leak": False, "reset": {"layer": True}},
        {"leak": {"layer": False}, "reset": {"layer": True}},
    ],
)
def test_a_reset_does_not_live_where_the_leak_is_cut(switches):
    with pytest.raises(ValueError, match="reset: expected False or None where leak=False, got"):
        Edges(**switches)
    Edges(leak={"layer": False}, reset={"other": True})
    Edges(leak={"layer": False}, reset=True)  # of the others
    Edges(leak=False, reset={"layer": False})


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"leak": {"sum": False}}, r"edges\.leak: expected names among \['layer'\], got 'sum'"),
        ({"reset": {"loop": False}}, r"edges\.reset: expected names among \['layer'\], got 'loop'"),
        ({"feedback": {"in": False}}, r"edges\.feedback: expected names among \['loop'\], got 'in'"),
    ],
)
def test_unknown_names_are_refused_by_the_network(switches, message):
    with pytest.raises(ValueError, match=message):
        graph(edges=Edges(**switches))
    with pytest.raises(ValueError, match=message):
        graph().with_edges(**switches)


def test_a_network_takes_edges_and_nothing_else():
    with pytest.raises(TypeError, match="edges: expected a"):
        graph(edges={"leak": False})
    with pytest.raises(
        TypeError, match="with_edges: expected options among 'leak', 'reset', 'feedback', got 'leaks'"
    ):
        graph().with_edges(leaks=False)
