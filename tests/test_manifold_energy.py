"""Energies by hand: three counts of a forward pass, and that of a network without spikes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from graph_network_cases import BACKENDS, draw

from refsnn.models.manifold.energy import Energy, convolution_energy, energy, spike_counts
from refsnn.models.manifold.graph import Graph
from refsnn.models.manifold.inputs import GraphInputs
from refsnn.models.manifold.manifold import euclidean
from refsnn.models.manifold.maps import ExactMaps
from refsnn.models.manifold.network import ManifoldSpikingNetwork
from refsnn.models.manifold.run import forward


def spikes_by_hand(case):
    """Loops over blocks, steps, nodes and columns."""
    network, ahat = case.network, case.inputs.graph.normalised().scipy().toarray()
    neuron, counts = network.neuron, []
    heard = np.repeat((ahat @ case.inputs.features)[None], network.steps, axis=0)
    for layer in range(network.layers + 1):
        current = heard @ case.parameters[f"layer.{layer}.weight"].T
        fired = np.zeros_like(current)
        for node in range(current.shape[1]):
            for column in range(current.shape[2]):
                potential = 0.0
                for t in range(network.steps):
                    potential = neuron.leak * potential + network.gain * current[t, node, column]
                    if potential > neuron.threshold:
                        fired[t, node, column] = 1
                        potential -= neuron.threshold
        counts.append(int(fired.sum()))
        heard = ahat @ fired
    return counts


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", [{}, {"layers": 1}, {"layers": 0}, {"tangent": "ambient"}, {"gain": 1.7}])
def test_spikes_of_all_blocks(options, backend):
    case = draw(3, **options)
    found = spike_counts(case.network, case.parameters, case.inputs, case.run().run, backend)
    assert found.tolist() == spikes_by_hand(case)
    assert found.dtype == np.int64
    assert found.min() > 0


def test_spikes_in_single_precision_and_with_the_published_maps():
    case = draw(3, tangent="ambient")
    inputs = GraphInputs.of(case.inputs.graph, case.inputs.features, 2, np.float32)
    parameters = {name: array.astype(np.float32) for name, array in case.parameters.items()}
    narrow = replace(case, inputs=inputs, parameters=parameters)
    expected = spikes_by_hand(case)
    assert spike_counts(case.network, parameters, inputs, narrow.run().run).tolist() == expected
    official = case.changed(compat="official")
    assert spike_counts(*official.arguments[:3], official.run().run).tolist() == expected


def test_learned_curvature_and_classifier_do_not_spike():
    case = draw(3, learn_curvature=True)
    counts = spike_counts(*case.arguments[:3], case.run().run)
    assert counts.tolist() == spikes_by_hand(case)


def test_a_run_of_another_network():
    case, other = draw(3), draw(3, layers=1)
    with pytest.raises(ValueError, match="run: expected rates of 2 blocks, got 1"):
        spike_counts(*case.arguments[:3], other.run().run)


def counted(classes=3, layers=2):
    """N = 3, F = 4, D = 2, four directed edges, one of them a loop."""
    network = ManifoldSpikingNetwork(4, euclidean(2), classes, layers=layers)
    return network, GraphInputs.of(Graph(3, [0, 1, 2, 2], [1, 0, 2, 1]), np.ones((3, 4)), layers)


def test_three_counts_by_hand():
    found = energy(*counted(), [10, 7, 5])
    assert found.paper == pytest.approx(4.6 * 10 + 3.7 * 12)
    encoder, blocks = 4.6 * (4 / 2 * 2 + 10 + 6), 3.7 * (7 + 6) + 3.7 * (5 + 6)
    assert found.official == pytest.approx(encoder + blocks + 2 * 3 * 2 * 3)
    assert found.full == pytest.approx(encoder + blocks + 4.6 * 3 * 4 * 2 + 4.6 * 3 * 2 * 3)


def test_counts_without_a_classifier_and_without_layers():
    found = energy(*counted(classes=0, layers=0), [10])
    assert found == Energy(
        pytest.approx(46.0), pytest.approx(4.6 * (4 + 10 + 6)), pytest.approx(4.6 * (4 + 10 + 6 + 24))
    )


def test_dropped_edges_count_still():
    network, inputs = counted()
    rng = np.random.default_rng(0)
    noisy = inputs.with_noise(rng, network.width, drop_edge=0.9)
    assert energy(network, noisy, [1, 1, 1]) == energy(network, inputs, [1, 1, 1])


@pytest.mark.parametrize(
    ("spikes", "kind", "message"),
    [
        ([1, 2], ValueError, r"spikes: expected 3 counts, one a block, none negative, got \[1, 2\]"),
        ([1, 2, -1], ValueError, "spikes: expected 3 counts"),
        ([1.0, 2.0, 3.0], TypeError, r"spikes: expected counts \(integers\), got dtype float64"),
        ([[1, 2, 3]], ValueError, "spikes: expected 3 counts"),
    ],
)
def test_bad_spikes(spikes, kind, message):
    with pytest.raises(kind, match=message):
        energy(*counted(), spikes)


def test_a_network_without_spikes():
    # N d_in d_out + |E| d_out of each layer
    products = 3 * 4 * 2 + 5 * 2 + 3 * 2 * 6 + 5 * 6
    assert convolution_energy(3, 5, [4, 2, 6]) == pytest.approx(4.6 * products)
    assert convolution_energy(1, 0, [1, 1]) == pytest.approx(4.6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, [1, 1]), "nodes: expected"),
        ((1, -1, [1, 1]), "edges: expected"),
        ((1, 1, [1]), "widths: expected"),
    ],
)
def test_bad_convolutions(arguments, message):
    with pytest.raises(ValueError, match=message):
        convolution_energy(*arguments)


def test_the_last_neuron_runs_only_where_it_is_asked_for():
    case = draw(3)
    run = forward(*case.arguments[:3], ExactMaps(case.network.manifold))
    assert len(run.rates) == case.network.layers
