"""Differentiation via spikes: backpropagation through time of the same network, with a surrogate (Sun 2024).

The forward pass is that of `differentiation_via_manifold`; the gradient goes back through the points and, in
addition, through the spikes.  With mbar^l = eps ubar^l, and sbar^L = 0,                              (Eq. 11)

    xbar^l[t] = mbar^l / T + (adjoint of the neuron at sbar^l)[t]
    dL/dW^l = sum_t xbar^l[t]^T (Ahat^l s^{l-1}[t])
    sbar^{l-1}[t] = (Ahat^l)^T (xbar^l[t] W^l)

The last block's weights and the classifier's get the same gradient both ways: the last spikes are not used.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refsnn import checks
from refsnn.algorithms.differentiation_via_manifold import (
    ManifoldResult,
    checked,
    maps_of,
    through_manifold,
)
from refsnn.kernels import BACKENDS, spiking_kernels
from refsnn.models.contract import Parameters
from refsnn.models.manifold.graph import SparseMatrix
from refsnn.models.manifold.heads import Head
from refsnn.models.manifold.inputs import GraphInputs
from refsnn.models.manifold.network import ManifoldSpikingNetwork
from refsnn.models.manifold.run import ManifoldRun, forward


def differentiation_via_spikes(
    network: ManifoldSpikingNetwork,
    parameters: Parameters,
    inputs: GraphInputs,
    head: Head,
    *,
    backend: str = "cpu",
) -> ManifoldResult:
    """The gradient through points and spikes.

    Parameters
    ----------
    network : ManifoldSpikingNetwork
        The model; its neuron's surrogate stands for the derivative of a spike.
    parameters : dict of str to ndarray
        As `network.parameter_shapes()` says.
    inputs : GraphInputs
        Graph and features, with or without noise.
    head : Head
        The loss: `NodeClasses` or `Links`.
    backend : {"plain", "cpu", "cuda"}
        Which kernels.

    Returns
    -------
    ManifoldResult
        Potentials of all steps are in its run.

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range.
    FloatingPointError
        If a point, the loss or a gradient is not finite.

    Examples
    --------
    >>> from refsnn.models.manifold.graph import Graph
    >>> from refsnn.models.manifold.heads import NodeClasses
    >>> from refsnn.models.manifold.manifold import spherical
    >>> rng, graph = np.random.default_rng(0), Graph.undirected(4, [0, 1, 2], [1, 2, 3])
    >>> network = ManifoldSpikingNetwork(3, spherical(2), classes=2)
    >>> inputs = GraphInputs.of(graph, rng.random((4, 3)), layers=1)
    >>> result = differentiation_via_spikes(
    ...     network, network.initialise(rng), inputs, NodeClasses([0, 0, 1, 1], [0, 3])
    ... )
    >>> result.run.charged[0].shape
    (5, 4, 3)
    """
    checks.choice("backend", backend, BACKENDS)
    parameters, inputs, head = checked(network, parameters, inputs, head)
    maps = maps_of(network, parameters, backend, by_spikes=True)
    run = forward(network, parameters, inputs, maps, backend, keep=True)
    smooth = through_manifold(network, parameters, inputs, head, maps, run, backend)
    gradients = smooth.gradients | through_spikes(
        network, parameters, inputs, run, smooth.drive_gradients, backend
    )
    for name, value in gradients.items():
        if not np.isfinite(value).all():
            raise FloatingPointError(f"{name}: expected finite numbers, got others; take a smaller step_size")
    return replace(smooth, gradients=gradients)


def through_spikes(
    network: ManifoldSpikingNetwork,
    parameters: Parameters,
    inputs: GraphInputs,
    run: ManifoldRun,
    drive_gradients: list[np.ndarray],
    backend: str,
) -> Parameters:
    """dL/dW of the blocks below the last (Eq. 11).

    Parameters
    ----------
    network, parameters, inputs
        As checked.
    run : ManifoldRun
        A forward pass that kept its potentials.
    drive_gradients : list of ndarray, (N, D)
        dL/du^l through the points.
    backend : {"plain", "cpu", "cuda"}
        Which kernels.

    Returns
    -------
    dict of str to ndarray
        Of the blocks 0 .. L-1.
    """
    number = drive_gradients[0].dtype.type
    share = number(network.step_size) / number(network.steps)
    gradients: Parameters = {}
    transposed: dict[int, SparseMatrix] = {}
    # xbar of the last block: the same at all steps but for masks
    by_current = np.repeat((share * drive_gradients[-1])[None], network.steps, axis=0)
    for layer in range(network.layers, 0, -1):
        mask = inputs.masks[layer]
        if mask is not None:
            by_current = by_current * mask
        if layer < network.layers:
            heard = run.heard[layer - 1]
            assert heard is not None
            gradients[f"layer.{layer}.weight"] = np.einsum("tnd,tne->de", by_current, heard, optimize=True)
        adjacency = inputs.adjacencies[layer - 1]
        if id(adjacency) not in transposed:
            transposed[id(adjacency)] = adjacency.transposed()
        by_input = by_current @ parameters[f"layer.{layer}.weight"]
        by_spikes = transposed[id(adjacency)].propagate(by_input, backend)
        by_current = _through_neuron(network, run.charged[layer - 1], by_spikes, backend)
        by_current += share * drive_gradients[layer - 1]
    if network.layers:
        total = by_current.sum(axis=0)
        mask = inputs.masks[0]
        gradients["layer.0.weight"] = inputs.gathered.outer(total if mask is None else mask * total, backend)
    return gradients


def _through_neuron(
    network: ManifoldSpikingNetwork, charged: np.ndarray, by_spikes: np.ndarray, backend: str
) -> np.ndarray:
    """dL/dx[t] of one block from dL/ds[t]; the current enters with the factor `gain`."""
    flat = (network.steps, -1)
    adjoint = np.empty_like(charged)
    spiking_kernels(backend).backward(
        network.neuron,
        charged.reshape(flat),
        by_spikes.reshape(flat),
        np.zeros(charged[0].size, charged.dtype),
        adjoint.reshape(flat),
        0,
    )
    return adjoint if network.gain == 1 else adjoint.dtype.type(network.gain) * adjoint
