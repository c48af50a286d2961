"""What a spiking graph network says, without a gradient: classes of nodes, probabilities of links."""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.differentiation_via_manifold import finite_points, maps_of
from refsnn.kernels import BACKENDS
from refsnn.models.contract import Parameters
from refsnn.models.manifold.graph import incidence
from refsnn.models.manifold.heads import Links, logits, squared_distances, total_distance
from refsnn.models.manifold.inputs import GraphInputs
from refsnn.models.manifold.network import ManifoldSpikingNetwork
from refsnn.models.manifold.run import forward


def node_logits(
    network: ManifoldSpikingNetwork,
    parameters: Parameters,
    inputs: GraphInputs,
    head: str = "manifold",
    backend: str = "cpu",
) -> np.ndarray:
    """Logits of every node; the largest is its class.

    Parameters
    ----------
    network : ManifoldSpikingNetwork
        With a classifier.
    parameters : dict of str to ndarray
        As `network.parameter_shapes()` says.
    inputs : GraphInputs
        Without noise, where it is to be judged.
    head : {"manifold", "tangent"}
        What they are read from.
    backend : {"plain", "cpu", "cuda"}
        Which kernels.

    Returns
    -------
    ndarray, (N, C)

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range, and a network without classes.
    FloatingPointError
        If a point is not finite.

    Examples
    --------
    >>> from refsnn.models.manifold.graph import Graph
    >>> from refsnn.models.manifold.manifold import hyperbolic
    >>> rng, graph = np.random.default_rng(0), Graph.undirected(4, [0, 1, 2], [1, 2, 3])
    >>> network = ManifoldSpikingNetwork(3, hyperbolic(2), classes=2)
    >>> inputs = GraphInputs.of(graph, rng.random((4, 3)), layers=1)
    >>> node_logits(network, network.initialise(rng), inputs).argmax(axis=1).shape
    (4,)
    """
    checks.choice("backend", backend, BACKENDS)
    parameters, inputs = _checked(network, parameters, inputs)
    if not network.classes:
        raise ValueError("network: expected classes >= 1, got 0; for links take link_probabilities")
    maps = maps_of(network, parameters, backend)
    run = forward(network, parameters, inputs, maps, backend)
    finite_points(network, run)
    return logits(network, parameters, run, maps, head)


def link_probabilities(
    network: ManifoldSpikingNetwork,
    parameters: Parameters,
    inputs: GraphInputs,
    pairs: Any,
    *,
    radius: float = 2.0,
    temperature: float = 1.0,
    power: int = 1,
    product_distance: str = "l2",
    backend: str = "cpu",
) -> np.ndarray:
    """1 / (exp((d^p - r) / t) + 1) of pairs of nodes.

    Parameters
    ----------
    network, parameters, inputs
        As `node_logits`; a classifier is not needed.
    pairs : array_like of int, (2, E)
        Ends.
    radius, temperature, power, product_distance
        As of `Links`.
    backend : {"plain", "cpu", "cuda"}
        Which kernels.

    Returns
    -------
    ndarray, (E,)

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range.
    FloatingPointError
        If a point is not finite.
    """
    checks.choice("backend", backend, BACKENDS)
    parameters, inputs = _checked(network, parameters, inputs)
    asked = Links(pairs, pairs, radius, temperature, power, product_distance).check(network, inputs.nodes)
    run = forward(network, parameters, inputs, maps_of(network, parameters, backend), backend)
    finite_points(network, run)
    points = run.points[-1]
    ends = incidence(len(points), *asked.links)
    squares, _ = squared_distances(network.at(parameters), points, ends, backend)
    number = points.dtype.type
    energy = total_distance(squares, product_distance) ** power - number(radius)
    return np.exp(-np.logaddexp(0, energy / number(temperature)))


def _checked(network: Any, parameters: Any, inputs: Any) -> tuple[Parameters, GraphInputs]:
    checks.instance("network", network, ManifoldSpikingNetwork, "ManifoldSpikingNetwork(16, hyperbolic(4))")
    return network.check(parameters, inputs)
