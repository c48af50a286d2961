"""Networks to JSON and back, and what is refused on the way."""

from __future__ import annotations

import json
import os
from dataclasses import fields, replace
from math import pi

import numpy as np
import pytest

from refsnn import network_files
from refsnn.algorithms.bptt import bptt
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import SURROGATES, Surrogate
from refsnn.models.edges import Edges
from refsnn.models.operators import convolution, dense, dropout, normalisation, pooling, reshaping
from refsnn.models.operators.operator import Operator
from refsnn.models.spiking_graph import Node, Population, SpikingGraph, Sum
from refsnn.network_files import BUILDERS, CLASSES, build, describe, load_network, save_network

# values that are no defaults, and need all their digits
NEURON = SpikingNeuron(0.1 + 0.2, 1.25, "hard", -1 / 3, False, ">", Surrogate("arctan", pi, 1 / 7))
SMALL = {"channels": [3, 4], "blocks": [1, 2], "image": [2, 8, 8], "classes": 3}
PLAN = {"plan": [4, "pool", 5], "image": [2, 8, 8], "classes": 3}
ARGUMENTS = {
    "dense_network": {"widths": [4, 8, 6, 3], "recurrent": [2], "dropout": 0.25, "standardise": True},
    "vgg": PLAN | {"normalisation": "sws", "pooling": "max", "feedback": True, "bins": None},
    "vgg_sws": PLAN | {"dropout": 0.1},
    "vgg_feedback": PLAN,
    "vgg11": PLAN,
    "vgg_dvs": PLAN | {"over": "step"},
    "resnet18": SMALL,
    "resnet19": SMALL | {"hidden": 5},
    "preactivation_resnet34": SMALL | {"image": [2, 16, 16]},
    "sew_resnet34": SMALL | {"image": [2, 16, 16]},
    "nf_resnet34": SMALL | {"image": [2, 16, 16], "alpha": 0.3},
}


def every_operator() -> SpikingGraph:
    """One network with each operator in it, none with defaults only."""
    return SpikingGraph(
        (
            Node("conv", ("input",), convolution.Convolution2d(4, 3, 2, 1, 2, False, True, "plain"), "c"),
            Node("norm", ("conv",), normalisation.BatchNormalisation(0.3, 1e-3, "step")),
            Node("back", ("kappa",), convolution.Convolution2d(4, 1), delayed=True),
            Node("total", ("norm", "back"), Sum()),
            Node("spikes", ("total",), Population(NEURON)),
            Node("dropped", ("spikes",), dropout.Dropout(0.1)),
            Node("average", ("dropped",), pooling.AveragePool(3, 1, 1, "plain")),
            Node("max", ("average",), pooling.MaxPool(2, None, 1, "split", "plain")),
            Node("up", ("max",), reshaping.Upsample(2)),
            Node("bins", ("up",), pooling.AdaptiveAveragePool(4)),
            Node("scale", ("bins",), reshaping.Scale(2.74)),
            Node("kappa", ("scale",), reshaping.LearnableScale()),
            Node("flat", ("kappa",), reshaping.Flatten()),
            Node("readout", ("flat",), dense.Dense(3, False, True)),
        ),
        (2, 8, 8),
        "cross_entropy",
        "each_step",
        0.1,
        0.3,
        Edges({"spikes": True}, {"spikes": False}, {"back": False}),
    )


def test_every_operator_comes_back(tmp_path):
    graph = every_operator()
    assert {type(node.what).__name__ for node in graph.nodes} == set(CLASSES)
    assert load_network(save_network(tmp_path / "network.json", graph)) == graph


def test_the_file_knows_every_operator_there_is():
    modules = (convolution, dense, dropout, normalisation, pooling, reshaping)
    found = {
        kind.__name__
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Operator) and not kind.__abstractmethods__
    }
    assert found | {"Population", "Sum"} == set(CLASSES)


def test_no_field_is_lost():
    """A field of a graph, a node, an operator, a neuron or a surrogate that is not written would be lost."""
    written = describe(every_operator())
    assert set(written) == {"format"} | {field.name for field in fields(SpikingGraph)}
    for node in written["nodes"]:
        assert set(node) == {field.name for field in fields(Node)}
        kind = CLASSES[node["what"]["class"]]
        assert set(node["what"]) == {"class"} | {field.name for field in fields(kind)} - {"mask"}
    neuron = next(node["what"]["neuron"] for node in written["nodes"] if node["name"] == "spikes")
    assert set(neuron) == {field.name for field in fields(SpikingNeuron)}
    assert set(neuron["surrogate"]) == {field.name for field in fields(Surrogate)}


@pytest.mark.parametrize("name", BUILDERS)
def test_builders(name, tmp_path):
    arguments = ARGUMENTS[name]
    options = {"loss_over": "each_step", "squared_share": 0.05, "readout_leak": 0.25}
    graph = BUILDERS[name](**arguments, neuron=NEURON, edges=Edges(reset=False), **options)
    neuron = {**vars(NEURON), "surrogate": vars(NEURON.surrogate)}
    written = {"builder": name, **arguments, "neuron": neuron, "edges": {"reset": False}, **options}
    assert build(json.loads(json.dumps(written))) == graph
    assert load_network(save_network(tmp_path / "network.json", graph)) == graph  # node by node


def test_the_network_that_comes_back_computes_the_same(tmp_path):
    graph = BUILDERS["nf_resnet34"](**ARGUMENTS["nf_resnet34"])
    back, rng = load_network(save_network(tmp_path / "network.json", graph)), np.random.default_rng(0)
    arguments = graph.initialise(rng), rng.random((3, 2, 2, 16, 16)), [0, 2]
    one, other = bptt(graph, *arguments), bptt(back, *arguments)
    assert max(abs(value).max() for value in one.gradients.values()) > 0
    assert all(np.array_equal(value, other.gradients[name]) for name, value in one.gradients.items())


def test_neurons_of_their_own_and_all_surrogates():
    names = sorted(SURROGATES)
    neurons = [{"leak": 0.1 * i, "surrogate": {"shape": name}} for i, name in enumerate(names)]
    graph = build({"builder": "dense_network", "widths": [2] * (len(names) + 2), "neuron": neurons})
    assert [p.neuron.surrogate.shape for p in graph.populations.values()] == names
    assert build(describe(graph)) == graph


def test_numbers_of_numpy_are_numbers():
    graph = BUILDERS["dense_network"]((np.int64(3), 4, 2), SpikingNeuron(np.float32(0.3)))
    assert build(json.loads(json.dumps(describe(graph)))) == graph


def test_a_mask_is_not_lost_silently():
    graph = BUILDERS["dense_network"]((3, 4, 2), dropout=0.5).with_dropout(np.random.default_rng(0), 2)
    with pytest.raises(ValueError, match=r"layer.1.dropped.*mask.*before `with_dropout`"):
        describe(graph)


def test_a_foreign_operator_is_refused():
    class Dense(dense.Dense):
        """The same name, another class."""

    graph = SpikingGraph((Node("readout", ("input",), Dense(2)),), (3,))
    with pytest.raises(TypeError, match=r"nodes\[0\] \('readout'\): expected one of .* got Dense"):
        describe(graph)


def minimal() -> dict:
    return json.loads(json.dumps(describe(BUILDERS["dense_network"]((4, 8, 3)))))


def changed(*path, to):
    """The minimal description with one entry set."""
    description = place = minimal()
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return description


def without(*path):
    description = place = minimal()
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return description


DENSE, NEURONS = ("nodes", 0, "what"), ("nodes", 1, "what", "neuron")


@pytest.mark.parametrize(
    ("description", "complaint"),
    [
        ([1], "network: expected names with values, got list"),
        ({}, "network: expected 'nodes' or 'builder'"),
        ({"widths": [4, 3]}, r"network: expected 'nodes' or 'builder', got \['widths'\]"),
        (
            changed("format", to="refsnn network 9"),
            "format: expected 'refsnn network 1', got 'refsnn network 9'",
        ),
        (changed("losses", to=1), "network: unknown 'losses'"),
        (without("input_shape"), "network: missing 'input_shape'"),
        (changed("nodes", to={}), "nodes: expected a list, got dict"),
        (changed("nodes", to=[]), "nodes: expected a linear operator as the last node"),
        (changed("nodes", 0, to="Dense"), r"nodes\[0\]: expected names with values, got str"),
        (changed("nodes", 0, "input", to=["input"]), r"nodes\[0\] \('layer.1.current'\): unknown 'input'"),
        (changed("nodes", 0, "inputs", to="input"), r"inputs: expected a list of names, got 'input'"),
        (changed("nodes", 0, "inputs", to=["layer.9"]), r"expected inputs among the nodes before it"),
        (changed("nodes", 0, "name", to=5), r"nodes\[0\]: name: expected a string, got 5"),
        (changed("nodes", 0, "prefix", to=5), r"prefix: expected a string, got 5"),
        (changed("nodes", 0, "delayed", to=1), r"delayed: expected a bool"),
        (without("nodes", 0, "what"), r"nodes\[0\] \('layer.1.current'\): missing 'what'"),
        (changed(*DENSE, "class", to="Dens"), r"class: expected one of .*'Dense'.* got 'Dens'"),
        (changed(*DENSE, "class", to=[]), r"class: expected one of"),
        (without(*DENSE, "class"), r"class: expected one of .* got None"),
        (changed(*DENSE, "units", to=3), r"Dense: unknown 'units'; expected names among 'width', "),
        (without(*DENSE, "width"), r"Dense: missing 'width'"),
        (
            changed(*DENSE, "width", to=8.0),
            r"'layer.1.current'\): Dense: width: expected an integer, got float",
        ),
        (changed(*NEURONS, to=0.5), r"Population: neuron: expected names with values, got float"),
        (changed(*NEURONS, "tau", to=0.5), r"Population: neuron: unknown 'tau'; expected names among 'leak'"),
        (changed(*NEURONS, "leak", to=1.5), r"neuron: leak: expected a finite number in \[0, 1\], got 1.5"),
        (changed(*NEURONS, "surrogate", "shape", to="step"), r"surrogate: shape: expected one of"),
        (changed(*NEURONS, "surrogate", "alpha", to=1), r"surrogate: unknown 'alpha'"),
        (changed("edges", "leek", to=True), "edges: unknown 'leek'; expected names among 'leak'"),
        (changed("edges", "leak", to={"layer.9": True}), "edges.leak: expected names among"),
        (changed("loss_over", to="time"), "loss_over: expected one of"),
        ({"builder": "dense", "widths": [4, 3]}, "builder: expected one of 'dense_network', .* got 'dense'"),
        ({"builder": "dense_network"}, "dense_network: missing 'widths'"),
        ({"builder": "dense_network", "widths": [4, 3], "nodes": []}, "dense_network: unknown 'nodes'"),
        (
            {"builder": "dense_network", "widths": [4, 3.5]},
            r"dense_network: widths\[1\]: expected an integer",
        ),
        ({"builder": "vgg11", "neuron": {"lambda": 0.5}}, "vgg11: neuron: unknown 'lambda'"),
        ({"builder": "vgg11", "neuron": [{}]}, "vgg11: neuron: expected a SpikingNeuron"),
        (
            {"builder": "dense_network", "widths": [4, 3], "neuron": {"leak": 2}},
            "^dense_network: neuron: leak: expected",
        ),
        (
            {"builder": "dense_network", "widths": [4, 3], "neuron": 3},
            "^dense_network: neuron: expected names with values, got int",
        ),
        ({"builder": "vgg11", "mask": None}, "vgg11: unknown 'mask'"),
        (
            changed("nodes", 0, "what", to={"class": "Dropout", "probability": 0.1, "mask": []}),
            "unknown 'mask'",
        ),
    ],
)
def test_bad_descriptions(description, complaint):
    with pytest.raises((TypeError, ValueError), match=complaint):
        build(description)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "expected a network as JSON"),
        (b"{", "expected a network as JSON"),
        (b"PK\x03\x04\xff\xfe", "expected a network as JSON.*comes before the one with arrays"),
        (b"[" * 100_000, "expected a network as JSON"),
        (b'{"builder": "vgg11", "builder": "vgg"}', "expected each name once, got 'builder'"),
        (b'{"builder": "dense_network", "widths": [3, 2], "scale": NaN}', "expected finite numbers, got NaN"),
        (
            b'{"builder": "dense_network", "widths": [3, 2], "scale": 1e999}',
            "scale: expected a finite number",
        ),
        (b'{"builder": "dense_network"}', "dense_network: missing 'widths'"),
    ],
)
def test_bad_files_are_named(content, complaint, tmp_path):
    path = tmp_path / "network.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=complaint) as caught:
        load_network(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json: expected a network file"):
        load_network(tmp_path / "none.json")
    with pytest.raises(FileNotFoundError, match="existing folder"):
        save_network(
            tmp_path / "none" / "network.json", build({"builder": "dense_network", "widths": [2, 2]})
        )


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "network.json"
    graph = BUILDERS["dense_network"]((4, 8, 3))
    save_network(path, graph)

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        save_network(path, replace(graph, loss_over="each_step"))
    assert load_network(path) == graph
    assert [entry.name for entry in tmp_path.iterdir()] == ["network.json"]


def test_the_example_of_the_module_is_a_network():
    """The two descriptions at the top of the module, word for word."""
    text = network_files.__doc__.split("\n\n")
    short, long = json.loads(text[1]), json.loads(text[2])
    assert "layer.1.recurrent.weight" in build(short).parameter_shapes()
    assert build(long).populations["layer.1"].neuron.surrogate.shape == "triangle"
