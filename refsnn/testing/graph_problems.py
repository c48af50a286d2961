"""Live spiking graph networks on manifolds, from a seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn.algorithms.differentiation_via_manifold import differentiation_via_manifold
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.manifold.graph import Graph
from refsnn.models.manifold.heads import NodeClasses
from refsnn.models.manifold.inputs import GraphInputs
from refsnn.models.manifold.manifold import Factor, Manifold
from refsnn.models.manifold.network import ManifoldSpikingNetwork
from refsnn.testing.errors import VacuousCheck
from refsnn.testing.problems import Problem

_TRIES = 300


def graph_problem(
    seed: int,
    space: tuple[tuple[float, int], ...] = ((-1.0, 3),),
    tangent: str = "transport",
    nodes: int = 8,
    layers: int = 2,
    steps: int = 5,
    neuron: SpikingNeuron | None = None,
    **options: Any,
) -> Problem:
    """Random nodes, edges, features and labels; every block fires, and no point is far out.

    Parameters
    ----------
    seed : int
        Of all arrays.
    space : tuple of (float, int)
        Curvature and dimension of each factor.
    tangent : {"transport", "project", "ambient"}
        How vectors get to a point.
    nodes, layers, steps : int
        Of graph and network.
    neuron : SpikingNeuron, optional
        Of all blocks.
    **options
        Of the network.

    Returns
    -------
    Problem
        `inputs` are `GraphInputs`, `targets` is the head.

    Raises
    ------
    VacuousCheck
        If no draw was alive.

    Examples
    --------
    >>> graph_problem(0).inputs.nodes
    8
    """
    made_by = (
        f"graph_problem(seed={seed}, space={space}, tangent={tangent!r}, nodes={nodes}, layers={layers}, "
        f"steps={steps}, neuron={neuron!r}{''.join(f', {key}={value!r}' for key, value in options.items())})"
    )
    neuron = neuron or SpikingNeuron(leak=1.0, threshold=0.3, fires=">")
    manifold = Manifold(tuple(Factor(kappa, dimension) for kappa, dimension in space))
    network = ManifoldSpikingNetwork(
        5,
        manifold,
        3,
        layers=layers,
        tangent=tangent,
        neuron=neuron,
        steps=steps,
        **{"step_size": 0.2} | options,
    )
    rng = np.random.default_rng(seed)
    for _ in range(_TRIES):
        graph = Graph.undirected(nodes, *np.nonzero(np.triu(rng.random((nodes, nodes)) < 0.4, 1)))
        features, parameters = np.abs(rng.standard_normal((nodes, 5))), network.initialise(rng)
        inputs = GraphInputs.of(graph, features, layers)
        head = NodeClasses(rng.integers(0, 3, nodes), np.arange(nodes))
        result = differentiation_via_manifold(network, parameters, inputs, head, backend="plain")
        run, alive = result.run, [np.abs(value).max() > 1e-6 for value in result.gradients.values()]
        fires = all(0.1 < float(rate.mean()) < 0.9 for rate in run.rates)
        if fires and run.margin > 1e-6 and all(alive) and np.abs(run.points[-1]).max() < 20:
            return Problem(network, parameters, inputs, head, made_by)
    raise VacuousCheck(f"no live network in {_TRIES} draws: {made_by}")
