"""Graph networks on manifolds for tests: drawn until their blocks fire, so that nothing is vacuous."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from refsnn.algorithms.differentiation_via_manifold import differentiation_via_manifold
from refsnn.algorithms.differentiation_via_spikes import differentiation_via_spikes
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.manifold.graph import Graph
from refsnn.models.manifold.heads import NodeClasses
from refsnn.models.manifold.inputs import GraphInputs
from refsnn.models.manifold.network import ManifoldSpikingNetwork, product_of

BACKENDS = ["plain", "cpu"]
BOTH = [differentiation_via_manifold, differentiation_via_spikes]
TANGENTS = ["transport", "project", "ambient"]
SPACES = [((-1.0, 3),), ((0.7, 3),), ((0.0, 4),), ((-0.5, 2), (1.0, 2)), ((-1.0, 1),)]


def neuron(**options):
    return SpikingNeuron(**{"leak": 1.0, "threshold": 0.3, "fires": ">"} | options)


@dataclass(frozen=True)
class Case:
    network: ManifoldSpikingNetwork
    parameters: dict
    inputs: GraphInputs
    head: object

    @property
    def arguments(self):
        return self.network, self.parameters, self.inputs, self.head

    def changed(self, **options):
        return replace(self, network=replace(self.network, **options))

    def run(self, algorithm=differentiation_via_manifold, **options):
        return algorithm(*self.arguments, **options)


def random_graph(rng, nodes, share=0.4):
    return Graph.undirected(nodes, *np.nonzero(np.triu(rng.random((nodes, nodes)) < share, 1)))


def draw(
    seed,
    space=SPACES[0],
    tangent="transport",
    *,
    nodes=8,
    features=5,
    classes=3,
    layers=2,
    dtype=np.float64,
    graph=None,
    head=None,
    **options,
):
    """Rates of all blocks that are heard in (.1, .9), and potentials away from the threshold."""
    rng = np.random.default_rng(seed)
    chosen = {"step_size": 0.2, "neuron": neuron(), "steps": 5} | options
    network = ManifoldSpikingNetwork(
        features, product_of(*space), classes, layers=layers, tangent=tangent, **chosen
    )
    for _ in range(500):
        made = random_graph(rng, nodes) if graph is None else graph
        given = np.abs(rng.standard_normal((made.nodes, features)))
        parameters = network.initialise(rng, dtype)
        inputs = GraphInputs.of(made, given, layers, dtype)
        loss = head or NodeClasses(rng.integers(0, max(classes, 1), made.nodes), np.arange(made.nodes))
        case = Case(network, parameters, inputs, loss)
        run = case.run().run
        if all(0.1 < rate.mean() < 0.9 for rate in run.rates) and run.margin > 1e-4:
            return case
    raise AssertionError("no network fires")


def assert_close(found, expected, tolerance, least=1e-7):
    """Leaf by leaf, relative to the leaf's largest entry."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        size = np.abs(value).max()
        assert size > least, f"no gradient of {name}"
        off = np.abs(found[name] - value).max() / size
        assert off <= tolerance, f"{name}: {off:.1e}"
