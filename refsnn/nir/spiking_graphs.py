"""Spiking networks of refsnn as NIR graphs, and back: dense connections, LIF and IF neurons, linear read-out.

A `SpikingNeuron` is stepped as h_t = leak v_{t-1} + (1 - leak) v_reset + I_t.  Forward Euler of a NIR neuron
is the same with

    leak = 1 - dt/tau,    I = r dt/tau (W s + b)     so that    tau = dt / (1 - leak),    r = tau / dt,

and an IF neuron (leak 1) has r = 1/dt.  NIR keeps neither the reset nor the comparison nor dt: they are
returned beside the graph, as a discretisation.  What refsnn delays by one step is a Delay of dt in NIR.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.operators.dense import Dense
from refsnn.models.spiking_graph import INPUT, Population, SpikingGraph, Sum, check_graph
from refsnn.models.spiking_graph import Node as GraphNode
from refsnn.nir.discretisation import Discretisation, discretisation_of
from refsnn.nir.graph import Edge, NirGraph
from refsnn.nir.nodes import Node

OUTPUT = "output"
_NEAR = 1e-9  # relative: neurons of one node with leaks as near as this have one leak


def to_nir(graph: SpikingGraph, parameters: Any, *, dt: float) -> tuple[NirGraph, Discretisation]:
    """A spiking network as a NIR graph, with the discretisation under which it does the same.

    Parameters
    ----------
    graph : SpikingGraph
        Of `Dense` without standardised weights, `Population`, `Sum`, and a read-out.
    parameters : dict of str to ndarray
        As `graph.parameter_shapes()` says.
    dt : float
        Length of a step in seconds; any, since refsnn counts in steps.

    Returns
    -------
    NirGraph
        Whose Output gives the read-out of each step.
    Discretisation
        Reset and comparison of its neurons.

    Raises
    ------
    TypeError, ValueError
        For nodes that NIR has no name for, and neurons with different resets or comparisons.

    Examples
    --------
    >>> from refsnn.models.builders.dense import dense_network
    >>> network = dense_network((4, 8, 3), SpikingNeuron(leak=0.5))
    >>> parameters = network.initialise(np.random.default_rng(0))
    >>> graph, how = to_nir(network, parameters, dt=1e-3)
    >>> graph.nodes["layer.1"].values["tau"][0].item(), how.reset
    (0.002, 'subtract')
    """
    check_graph(graph)
    parameters = checks.parameters("parameters", parameters, graph.parameter_shapes())
    dt = checks.number("dt", dt, 0, low_open=True)
    nodes = {INPUT: Node("Input", {"shape": list(graph.input_shape)})}
    edges: list[Edge] = []
    given: dict[str, list[str]] = {INPUT: [INPUT]}  # a sum is several sources
    for entry in graph.nodes:
        if not isinstance(entry.what, Sum):
            given[entry.name] = [entry.name]
    for entry in graph.nodes:  # a delayed node may stand before what it reads, a sum does not
        if isinstance(entry.what, Sum):
            given[entry.name] = [source for name in entry.inputs for source in given[name]]
    for entry in graph.nodes:
        if isinstance(entry.what, Sum):
            continue
        sources = [source for name in entry.inputs for source in given[name]]
        if entry.delayed:
            wait = f"{entry.name}.delay"
            nodes[wait] = Node("Delay", {"delay": np.full(graph.shapes[entry.inputs[0]], dt)})
            edges += [(source, wait) for source in sources]
            sources = [wait]
        nodes[entry.name] = _as_nir(graph, entry, parameters, dt)
        edges += [(source, entry.name) for source in sources]
    last = graph.nodes[-1].name
    shape = graph.shapes[last]
    if graph.readout_leak:
        nodes["readout.potential"] = Node(
            "LI", _leaky(shape, graph.readout_leak, 0.0, dt, _dtype(parameters))
        )
        edges += [(source, "readout.potential") for source in given[last]]
        given[last] = ["readout.potential"]
    nodes[OUTPUT] = Node("Output", {"shape": list(shape)})
    edges += [(source, OUTPUT) for source in given[last]]
    return NirGraph(nodes, edges), _common_discretisation(graph)


def from_nir(
    graph: NirGraph, *, dt: float, discretisation: Discretisation | str
) -> tuple[SpikingGraph, dict[str, np.ndarray]]:
    """A NIR graph as a spiking network of refsnn: what can be expressed in both.

    Gains and leak potentials go into weights and biases: W' = g W, b' = g b + (1 - leak)(v_leak - v_reset),
    without v_reset under a reset by subtraction.

    Parameters
    ----------
    graph : NirGraph
        One flat Input, Linear or Affine before each LIF or IF, one Output behind Linear, Affine or LI.
    dt : float
        Length of a step in seconds.
    discretisation : Discretisation or str
        Resets in the same step, nothing late but recurrent edges.

    Returns
    -------
    SpikingGraph
        With the default loss; its surrogate is the default of `SpikingNeuron`.
    dict of str to ndarray
        Its parameters, float64.

    Raises
    ------
    TypeError, ValueError
        Naming the node that refsnn has no place for.

    Examples
    --------
    >>> from refsnn.models.builders.dense import dense_network
    >>> network = dense_network((4, 8, 3), SpikingNeuron(leak=0.5))
    >>> parameters = network.initialise(np.random.default_rng(0))
    >>> graph, how = to_nir(network, parameters, dt=1e-3)
    >>> again, same = from_nir(graph, dt=1e-3, discretisation=how)
    >>> bool((same["layer.1.weight"] == parameters["layer.1.weight"]).all())
    True
    """
    checks.instance("graph", graph, NirGraph, "what refsnn.nir.read_graph returns")
    dt = checks.number("dt", dt, 0, low_open=True)
    how = discretisation_of(discretisation)
    if how.reset_step != "same" or how.input_delay or how.spike_delay:
        raise ValueError(
            "discretisation: expected resets in the same step and nothing late, as SpikingNeuron has it, got "
            f"{how.describe()}"
        )
    return _Translation(graph, dt, how).result()


class _Translation:
    """One NIR graph on its way to a spiking graph."""

    def __init__(self, graph: NirGraph, dt: float, how: Discretisation) -> None:
        self._graph, self._dt, self._how = graph, dt, how
        self._nodes: list[GraphNode] = []
        self._parameters: dict[str, np.ndarray] = {}
        self._leak = 0.0

    def result(self) -> tuple[SpikingGraph, dict[str, np.ndarray]]:
        graph = self._graph
        if len(graph.inputs) != 1 or len(graph.outputs) != 1 or len(graph.shapes[graph.inputs[0]]) != 1:
            raise ValueError("graph: expected one flat Input and one Output, got others")
        for name in graph.order:
            node = graph.nodes[name]
            if node.fires:
                self._population(name, node)
            elif node.kind not in ("Input", "Output", "Linear", "Affine", "LI", "Delay"):
                raise ValueError(
                    f"node {name!r}: expected Linear, Affine, LIF, IF, LI or Delay, got {node.kind}, which a "
                    "SpikingGraph of dense layers has not"
                )
        self._readout()
        for name, node in graph.nodes.items():
            if node.kind in ("Linear", "Affine") and name not in [entry.name for entry in self._nodes]:
                raise ValueError(f"node {name!r}: expected it to lead to a neuron or the Output, got neither")
        network = SpikingGraph(
            tuple(self._nodes),
            input_shape=graph.shapes[graph.inputs[0]],
            readout_leak=self._leak,
        )
        return network, {name: self._parameters[name] for name in network.parameter_shapes()}

    def _population(self, name: str, node: Node) -> None:
        leak, gain = self._leak_and_gain(name, node)
        threshold, reset = (self._common(name, node, field) for field in ("v_threshold", "v_reset"))
        hard = self._how.reset == "value"
        rest = node.values.get("v_leak", np.zeros(1)).astype(float)
        if not hard and reset:
            raise ValueError(f"node {name!r}: v_reset: expected 0 with a reset by subtraction, got {reset:g}")
        offset = (1 - leak) * (rest - reset)
        source = self._currents(name, gain, offset)
        neuron = SpikingNeuron(
            leak=leak,
            threshold=threshold,
            reset="hard" if hard else "soft",
            reset_value=reset,
            fires=self._how.fires,
        )
        self._nodes.append(GraphNode(name, (source,), Population(neuron)))

    def _readout(self) -> None:
        """What leads to the Output: linear nodes, or an LI behind such."""
        (output,) = self._graph.outputs
        sources = self._graph.sources(output)
        node = self._graph.nodes[sources[0]]
        if len(sources) == 1 and node.kind == "LI":
            self._leak, gain = self._leak_and_gain(sources[0], node)
            self._currents(sources[0], gain, (1 - self._leak) * node.values["v_leak"].astype(float))
        else:
            self._currents(output, np.ones(1), np.zeros(1))

    def _currents(self, name: str, gain: np.ndarray, offset: np.ndarray) -> str:
        """Dense nodes for all that leads to `name`, and their sum; its name."""
        names, biased = [], False
        for source in self._graph.sources(name):
            node = self._graph.nodes[source]
            if node.kind not in ("Linear", "Affine") or node.values["weight"].ndim != 2:
                raise ValueError(
                    f"node {source!r}: expected Linear or Affine before {name!r}, got {node.kind}"
                )
            if [b for a, b in self._graph.edges if a == source] != [name]:
                raise ValueError(f"node {source!r}: expected one edge from it, got several")
            reads, delayed = self._read_by(source, (source, name) in self._graph.late_edges)
            weight = gain[:, None] * node.values["weight"].astype(float)
            bias = gain * node.values.get("bias", np.zeros(1)).astype(float)
            if delayed and bias.any():
                raise ValueError(
                    f"node {source!r}: bias: expected none on a late edge, got one: NIR gives it at the "
                    "first step too, a delayed node of refsnn does not"
                )
            with_bias = not delayed and (node.kind == "Affine" or bool(offset.any() and not biased))
            prefix = node.metadata.get("prefix")
            entry = GraphNode(source, (reads,), Dense(len(weight), with_bias=with_bias), prefix, delayed)
            self._parameters[f"{entry.parameter_prefix}.weight"] = weight
            if with_bias:
                total = bias + (0 if biased else offset)
                self._parameters[f"{entry.parameter_prefix}.bias"] = np.broadcast_to(
                    total, len(weight)
                ).copy()
                biased = True
            self._nodes.append(entry)
            names.append(source)
        if offset.any() and not biased:
            raise ValueError(
                f"node {name!r}: v_leak: expected a connection without delay to bear it as a bias"
            )
        if len(names) == 1 and not self._nodes[-1].delayed:
            return names[0]
        total_name = f"{name}.total"
        self._nodes.append(GraphNode(total_name, tuple(names), Sum()))
        return total_name

    def _read_by(self, name: str, late: bool) -> tuple[str, bool]:
        """What a linear node reads, and whether one step late."""
        sources = self._graph.sources(name)
        if len(sources) != 1:
            raise ValueError(f"node {name!r}: expected one edge to a connection, got {len(sources)}")
        node = self._graph.nodes[sources[0]]
        if node.kind == "Delay":
            steps = node.values["delay"].astype(float) / self._dt
            if late or np.abs(steps - 1).max() > _NEAR or len(self._graph.sources(sources[0])) != 1:
                raise ValueError(
                    f"node {sources[0]!r}: expected a delay of one step behind one node, got others"
                )
            sources, late = self._graph.sources(sources[0]), True
            node = self._graph.nodes[sources[0]]
        if not (node.kind == "Input" or node.fires):
            raise ValueError(f"node {name!r}: expected it to read the Input or spikes, got {node.kind}")
        return INPUT if node.kind == "Input" else sources[0], late

    def _leak_and_gain(self, name: str, node: Node) -> tuple[float, np.ndarray]:
        r = np.broadcast_to(node.values["r"].astype(float), self._graph.shapes[name])
        if "tau" not in node.values:
            if "tau_mem" in node.values:
                raise ValueError(f"node {name!r}: expected LIF or IF, got {node.kind}: refsnn has no synapse")
            return 1.0, r * self._dt
        share = self._dt / self._common(name, node, "tau")
        if self._how.leak == "euler" and share > 1:
            raise ValueError(
                f"dt: expected at most tau of node {name!r} with forward Euler, got {self._dt:g}"
            )
        leak = 1 - share if self._how.leak == "euler" else float(np.exp(-share))
        return leak, r * (share if self._how.gain == "euler" else -np.expm1(-share))

    def _common(self, name: str, node: Node, field: str) -> float:
        """The one value of all neurons of a node."""
        values = node.values[field].astype(float)
        low, high = float(values.min()), float(values.max())
        if high - low > _NEAR * max(abs(low), abs(high)):
            raise ValueError(
                f"node {name!r}: {field}: expected one value for all neurons of a Population, got "
                f"{low:g} to {high:g}"
            )
        return low


def _as_nir(graph: SpikingGraph, entry: GraphNode, parameters: dict[str, np.ndarray], dt: float) -> Node:
    what, shape = entry.what, graph.shapes[entry.name]
    if isinstance(what, Population):
        neuron = what.neuron
        reset = np.full(shape, neuron.reset_value, _dtype(parameters))
        bounds = {"v_threshold": np.full(shape, neuron.threshold, reset.dtype), "v_reset": reset}
        if neuron.leak == 1:
            return Node("IF", {"r": np.full(shape, 1 / dt, reset.dtype), **bounds})
        return Node("LIF", {**_leaky(shape, neuron.leak, neuron.reset_value, dt, reset.dtype), **bounds})
    if not isinstance(what, Dense) or what.standardise:
        raise ValueError(
            f"node {entry.name!r}: expected Dense without standardised weights, Population or Sum, got "
            f"{what!r}"
        )
    if entry.delayed and what.with_bias:
        raise ValueError(
            f"node {entry.name!r}: expected no bias in a delayed connection: NIR gives it at the first step "
            "too"
        )
    values = {"weight": parameters[f"{entry.parameter_prefix}.weight"]}
    if what.with_bias:
        values["bias"] = parameters[f"{entry.parameter_prefix}.bias"]
    return Node("Affine" if what.with_bias else "Linear", values, {"prefix": entry.parameter_prefix})


def _leaky(
    shape: tuple[int, ...], leak: float, rest: float, dt: float, dtype: np.dtype
) -> dict[str, np.ndarray]:
    """tau, r, v_leak of a leak per step."""
    tau = dt / (1 - leak)
    return {
        "tau": np.full(shape, tau, dtype),
        "r": np.full(shape, tau / dt, dtype),
        "v_leak": np.full(shape, rest, dtype),
    }


def _dtype(parameters: dict[str, np.ndarray]) -> np.dtype:
    return next(iter(parameters.values())).dtype


def _common_discretisation(graph: SpikingGraph) -> Discretisation:
    neurons = [entry.what.neuron for entry in graph.nodes if isinstance(entry.what, Population)]
    kinds = {(neuron.reset, neuron.fires) for neuron in neurons} or {("soft", ">=")}
    if len(kinds) > 1:
        raise ValueError(f"graph: expected one reset and one comparison for all neurons, got {sorted(kinds)}")
    reset, fires = kinds.pop()
    return Discretisation("refsnn", fires=fires, reset="subtract" if reset == "soft" else "value")
