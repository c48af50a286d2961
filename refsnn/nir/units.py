"""Units of recorded traces: in which a platform shows potentials, and in which it shows inputs.

    volts                graph units, as the file of the graph has them
    threshold            v / v_threshold: the threshold is 1; only where v_threshold is above 0
    input                v tau / (|r| dt): one input adds 1, or takes 1 away
    fixed                v 2^14: Loihi's integers

A neuron that leaks to v_leak is the neuron of v - v_leak that leaks to 0, with threshold and reset moved by
the same.  Platforms that know no leak potential run that one, so where v_leak is not 0 the first three are
also tried with potentials counted from it ("threshold from v_leak": the threshold is 1, and rest is 0).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from refsnn.nir.discretisation import UNIT
from refsnn.nir.graph import NirGraph
from refsnn.nir.nodes import Node
from refsnn.nir.traces import Trace

FROM_LEAK = " from v_leak"


class Unit(NamedTuple):
    """What is recorded of a potential v: factor (v - origin).

    Attributes
    ----------
    factor : float
        Above 0.
    origin : float
        In units of the graph.
    """

    factor: float
    origin: float = 0.0

    def in_graph_units(self, recorded: np.ndarray) -> np.ndarray:
        """Potentials v of what was recorded."""
        return np.asarray(recorded, np.float64) / self.factor + self.origin


def units_of(node: Node, dt: float) -> dict[str, Unit]:
    """Units that platforms record potentials in.

    Parameters
    ----------
    node : Node
        The LIF.
    dt : float
        Length of a step in seconds.

    Returns
    -------
    dict of str to Unit

    Examples
    --------
    >>> values = {"tau": [0.01], "r": [1.0], "v_leak": [0.0], "v_threshold": [0.5]}
    >>> {name: unit.factor for name, unit in units_of(Node("LIF", values), 1e-3).items()}
    {'volts': 1.0, 'threshold': 2.0, 'input': 10.0, 'fixed': 16384.0}
    >>> volts = {"v_leak": [-0.065], "v_threshold": [-0.05], "v_reset": [-0.065]}
    >>> units_of(Node("LIF", values | volts), 1e-3)["threshold from v_leak"].origin
    -0.065
    """
    tau, r, leak, threshold = (
        float(node.values[name].reshape(())) for name in ("tau", "r", "v_leak", "v_threshold")
    )

    def counted_from(origin: float) -> dict[str, Unit]:
        found = {"volts": Unit(1.0, origin)}
        if threshold > origin:
            found["threshold"] = Unit(1 / (threshold - origin), origin)
        if r != 0:
            found["input"] = Unit(tau / (abs(r) * dt), origin)
        return found

    units = counted_from(0.0) | {"fixed": Unit(float(UNIT))}
    if leak != 0:
        units |= {name + FROM_LEAK: unit for name, unit in counted_from(leak).items()}
    return units


def counted_from(graph: NirGraph, name: str, origin: float) -> NirGraph:
    """The graph with the potentials of one neuron counted from an origin.

    Parameters
    ----------
    graph : NirGraph
        With an LIF of that name.
    name : str
        Of the neuron.
    origin : float
        In units of the graph; 0 gives the graph itself.

    Returns
    -------
    NirGraph
    """
    if origin == 0:
        return graph
    node = graph.nodes[name]
    moved = {
        field: np.asarray(node.values[field], np.float64) - origin
        for field in ("v_leak", "v_threshold", "v_reset")
    }
    return NirGraph(dict(graph.nodes) | {name: Node(node.kind, dict(node.values) | moved)}, graph.edges)


def scaled_inputs(trace: Trace) -> dict[float, np.ndarray]:
    """The input column as it is, and divided by its only level where it has one beside 0.

    Some platforms record w x and not x; but a level may also be a number of spikes, or a current.

    Parameters
    ----------
    trace : Trace
        From `read_trace`.

    Returns
    -------
    dict of float to ndarray, (T,)
        By what it was divided by.

    Raises
    ------
    ValueError
        If nothing ever enters: then all solutions are alike.

    Examples
    --------
    >>> scaled_inputs(Trace("mine", np.array([0.0, 0.04]), np.zeros(2), np.zeros(2), "integer"))
    {1.0: array([0.  , 0.04]), 0.04: array([0., 1.])}
    """
    levels = np.unique(trace.inputs[trace.inputs != 0])
    if not len(levels):
        raise ValueError(f"{trace.name}: expected an input in some step, got none; nothing can be told by it")
    found = {1.0: trace.inputs.copy()}
    if len(levels) == 1:
        found[float(levels[0])] = trace.inputs / levels[0]
    return found
