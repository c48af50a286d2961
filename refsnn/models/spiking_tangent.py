"""The tangent of one time step of a spiking graph, along the same edges of time as the adjoint."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.contract import Parameters, State
from refsnn.models.edges import Edges
from refsnn.models.operators.normalisation import (
    BatchNormalisation,
    BatchRecord,
    normalised_vjp,
    per_channel,
)
from refsnn.models.operators.operator import Weights
from refsnn.models.operators.pooling import MaxPool
from refsnn.models.spiking_nodes import INPUT, Population, Sum, linear_operator
from refsnn.models.spiking_step import Tape
from refsnn.models.spiking_structure import SpikingStructure


def push_forward(
    graph: SpikingStructure,
    weights: dict[str, Weights],
    tape: Tape,
    tangent: State,
    parameter_tangent: Parameters,
    edges: Edges,
) -> tuple[State, np.ndarray]:
    """The tangent of `advance`; tangents may have one axis in front (directions).

    Parameters
    ----------
    graph, weights
        As in `advance`.
    tape : Tape
        Of the step.
    tangent : dict of str to ndarray
        Of the state before the step.
    parameter_tangent : dict of str to ndarray
        Of the parameters.
    edges : Edges
        Which edges of time are used.

    Returns
    -------
    following : dict of str to ndarray
        Tangent of the recurrent entries of the state after it.
    outputs : ndarray, (..., B, classes)
        Tangent of y_t.
    """
    moved: dict[str, np.ndarray] = {INPUT: np.zeros_like(tape.values[INPUT])}
    following: State = {}
    zero = tape.outputs.dtype.type(0)
    for node in graph.nodes:
        own, name = weights.get(node.name, {}), node.name
        dimensions = len(graph.shapes[node.inputs[0]]) + 1
        if isinstance(node.what, Population):
            potential = tangent[f"{name}.potential"] if edges.has_leak(name) else zero
            moved[name], following[f"{name}.potential"] = _through_neurons(
                edges.neuron(name, node.what.neuron), tape, name, moved[node.inputs[0]], potential
            )
        elif isinstance(node.what, Sum):
            read = [moved[source] for source in node.inputs]
            moved[name] = sum(read[1:], start=read[0])
        elif isinstance(node.what, BatchNormalisation):
            local = graph.weights(parameter_tangent, node)
            moved[name] = _through_normalisation(own, tape.records[name], moved[node.inputs[0]], local)
        elif isinstance(node.what, MaxPool):
            through = partial(node.what.linear, tape.records[name])
            moved[name] = each_direction(through, moved[node.inputs[0]], dimensions)
        else:
            operator, local = linear_operator(node), graph.weights(parameter_tangent, node)
            source = tangent[f"{name}.before"] if node.delayed else moved[node.inputs[0]]
            if node.delayed and not (tape.started and edges.has_feedback(name)):
                source = np.zeros_like(source)
            moved[name] = each_direction(partial(operator.linear, own), source, dimensions)
            if local:
                started = source.dtype.type(tape.started if node.delayed else 1)
                moved[name] = moved[name] + started * operator.tangent(own, local, tape.read(node))
    for node in graph.delayed:
        following[f"{node.name}.before"] = moved[node.inputs[0]]
    outputs = moved[graph.readout.name]
    if graph.readout_leak:
        outputs = outputs + outputs.dtype.type(graph.readout_leak) * tangent["readout.potential"]
        following["readout.potential"] = outputs
    return following, outputs


def _through_neurons(
    neuron: SpikingNeuron, tape: Tape, name: str, current: np.ndarray, potential: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Tangents of spikes and of the potential: psi dh and dv/dh dh, dh = dI + leak dv."""
    h = tape.charged[name]
    leak, threshold, reset_value, attached, slope, height, one = neuron.constants(h.dtype)
    _, _, _, reset_slope, surrogate = neuron.equations
    psi = surrogate(h - threshold, slope, height, one)
    dv_dh = reset_slope(h, tape.values[name], attached * psi, threshold, reset_value, one)
    charged = current + leak * potential
    return psi * charged, dv_dh * charged


def _through_normalisation(
    own: Weights, record: BatchRecord, current: np.ndarray, local: Weights
) -> np.ndarray:
    """gamma dI^ + dgamma I^ + dbeta; the Jacobian of I^ is symmetric."""
    dimensions = record.normal.ndim
    normal = each_direction(
        lambda one: normalised_vjp(one, record.normal, record.spread), current, dimensions
    )
    spread = (..., None, slice(None), *(None,) * (dimensions - 2))
    change = local["gamma"][spread] * record.normal + local["beta"][spread]
    return per_channel(own["gamma"], record.normal) * normal + change


def each_direction(
    function: Callable[[np.ndarray], np.ndarray], values: np.ndarray, dimensions: int
) -> np.ndarray:
    """A function of (B, ...) on tangents (..., B, ...), one direction after the other.

    Parameters
    ----------
    function : callable
        Of arrays with `dimensions` axes.
    values : ndarray
        With as many axes, or one more in front.
    dimensions : int
        Axes of one value.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> each_direction(lambda one: 2 * one, np.ones((3, 1, 2)), dimensions=2).shape
    (3, 1, 2)
    """
    if values.ndim == dimensions:
        return function(values)
    return np.stack([function(np.ascontiguousarray(one)) for one in values])
