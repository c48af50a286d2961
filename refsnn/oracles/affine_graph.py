"""The affine-spike oracle for spiking graphs: any nodes, any edges of time cut, either loss.

The surrogate gradient is the true derivative of a network whose spikes are affine around a nominal run,

    s_t = s0_t + psi(h0_t) (h_t - h0_t),

see `affine_spike`.  A cut edge carries what it carried in the nominal run, which no parameter moves:

    leak      h_t = leak v0_{t-1} + I_t
    reset     v_t = reset(h_t, s0_t)
    feedback  a delayed node reads what its input was at t - 1 in the nominal run

The complex step takes the derivative to the last digit.  `smooth_graph_loss` is the other way to a true
derivative: the network itself with smooth spikes, so that psi is their derivative and nothing is replaced.
Shared with what is checked: forward equations, forward maps of operators, and psi.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.equations.spiking import StepConstants
from refsnn.equations.surrogates import SMOOTH_SPIKES
from refsnn.models.contract import Parameters
from refsnn.models.edges import Edges
from refsnn.models.operators.normalisation import BatchNormalisation
from refsnn.models.operators.pooling import MaxPool
from refsnn.models.spiking_graph import INPUT, Node, Population, SpikingGraph, Sum
from refsnn.models.spiking_nodes import linear_operator
from refsnn.oracles.complex_step import complex_step_derivative, complex_step_gradient

Values = list[dict[str, np.ndarray]]  # of every node, by step


class AffineGraph:
    """A spiking graph whose spikes are affine around one nominal run.

    Parameters
    ----------
    graph : SpikingGraph
        The network; small, for every parameter is a run of its own.
    parameters, inputs, targets
        As in `refsnn.algorithms.bptt.bptt`, float64.

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range, and for batch normalisation over the whole sequence in a
        graph with delayed nodes.

    Examples
    --------
    >>> from refsnn.algorithms.bptt import bptt
    >>> from refsnn.models.builders.dense import dense_network
    >>> graph = dense_network((2, 3, 2), recurrent=True).with_edges(feedback=False)
    >>> rng = np.random.default_rng(0)
    >>> arguments = graph.initialise(rng, gain=3.0), rng.random((4, 1, 2)), [1]
    >>> truth = AffineGraph(graph, *arguments).gradient()["layer.1.weight"]
    >>> bool(np.allclose(bptt(graph, *arguments).gradients["layer.1.weight"], truth, rtol=1e-12))
    True
    """

    def __init__(self, graph: SpikingGraph, parameters: Parameters, inputs: Any, targets: Any) -> None:
        self.graph = graph
        self.parameters, self.inputs, self.targets = _checked(graph, parameters, inputs, targets)
        self.nominal = _Spiking()
        self.nominal.values = _values(graph, self.parameters, self.inputs, self.nominal)

    def loss(self, parameters: Parameters, edges: Edges | None = None) -> Any:
        """Loss of the affine network; at the nominal parameters that of the spiking one.

        Parameters
        ----------
        parameters : dict of str to ndarray
            Real or complex.
        edges : Edges, optional
            Which edges of time are live; those of the graph by default.

        Returns
        -------
        complex or float

        Raises
        ------
        ValueError
            For edges that name what the graph does not have.
        """
        edges = self.graph.edges if edges is None else edges
        edges.check(self.graph.populations, [node.name for node in self.graph.delayed])
        values = _values(self.graph, parameters, self.inputs, _Affine(self.nominal, edges))
        return _loss(self.graph, values, self.targets)

    def gradient(self, edges: Edges | None = None, names: Iterable[str] | None = None) -> Parameters:
        """Surrogate gradient along the live edges, entry by entry.

        Parameters
        ----------
        edges : Edges, optional
            As in `loss`.
        names : iterable of str, optional
            Of which parameters; of all by default.

        Returns
        -------
        dict of str to ndarray
        """
        chosen = {name: self.parameters[name] for name in (self.parameters if names is None else names)}
        return complex_step_gradient(lambda moved: self.loss(self.parameters | moved, edges), chosen)

    def derivative(self, direction: Mapping[str, np.ndarray], edges: Edges | None = None) -> float:
        """Derivative along a direction, in one run.

        Parameters
        ----------
        direction : mapping of str to ndarray
            Of some parameters; the others stay.
        edges : Edges, optional
            As in `loss`.

        Returns
        -------
        float
        """

        def along(length: complex) -> Any:
            moved = {name: self.parameters[name] + length * change for name, change in direction.items()}
            return self.loss(self.parameters | moved, edges)

        return float(complex_step_derivative(along, 0.0))


def smooth_graph_loss(
    graph: SpikingGraph, parameters: Parameters, inputs: Any, targets: Any, reset: bool = True
) -> Any:
    """Loss of the network with smooth spikes s = integral of psi, no edge cut and no derivative replaced.

    Parameters
    ----------
    graph : SpikingGraph
        The network; its `edges` and `detach_reset` play no part.
    parameters : dict of str to ndarray
        float64, or complex for a complex step.
    inputs, targets
        As in `refsnn.algorithms.bptt.bptt`.
    reset : bool
        Whether the smooth spike resets the potential, or nothing does.

    Returns
    -------
    complex or float

    Raises
    ------
    TypeError, ValueError
        For bad arguments, and for a surrogate without a smooth spike.

    Examples
    --------
    >>> from refsnn.models.builders.dense import dense_network
    >>> graph = dense_network((2, 3, 2))
    >>> rng = np.random.default_rng(0)
    >>> parameters, inputs = graph.initialise(rng, gain=3.0), rng.random((4, 1, 2))
    >>> loss = lambda moved: smooth_graph_loss(graph, moved, inputs, [1])
    >>> complex_step_gradient(loss, parameters)["layer.1.weight"].shape
    (3, 2)
    """
    real = {name: np.real(value) for name, value in parameters.items()}
    _, inputs, targets = _checked(graph, real, inputs, targets)
    for name, population in graph.populations.items():
        checks.choice(f"surrogate of {name!r}", population.neuron.surrogate.shape, SMOOTH_SPIKES)
    return _loss(graph, _values(graph, parameters, inputs, _Smooth(reset)), targets)


def _checked(
    graph: SpikingGraph, parameters: Parameters, inputs: Any, targets: Any
) -> tuple[Parameters, Any, np.ndarray]:
    """The arguments as arrays, in float64."""
    checks.instance("graph", graph, SpikingGraph, "dense_network((64, 32, 10))")
    parameters, inputs, targets = graph.check_arrays(parameters, inputs, targets)
    dtype = next(iter(parameters.values())).dtype
    if dtype != np.float64:
        raise TypeError(
            f"parameters: expected float64, got {dtype}; an oracle needs all its digits, cast them up"
        )
    together = [name for name, operator in graph.normalisations.items() if operator.over == "sequence"]
    if together and graph.delayed:
        raise ValueError(
            f"graph: expected statistics of each step beside delayed nodes, got {together} over the whole "
            "sequence; take BatchNormalisation(over='step')"
        )
    return parameters, inputs, targets


class _Spiking:
    """Neurons with a threshold; keeps what they did under (name, step)."""

    def __init__(self) -> None:
        self.values: Values = []
        self.charged: dict[tuple[str, int], Any] = {}
        self.slopes: dict[tuple[str, int], Any] = {}
        self.potentials: dict[tuple[str, int], Any] = {}
        self.maxima: dict[tuple[str, int], Any] = {}

    def population(self, node: Node, t: int, current: np.ndarray) -> np.ndarray:
        """s_t of I_t; charge, fire, reset."""
        assert isinstance(node.what, Population)
        neuron, at = node.what.neuron, (node.name, t)
        equations, constants = neuron.equations, neuron.constants(np.float64)
        leak, threshold, reset_value, _, _, _, one = constants
        before = self.before(node, t) if t else reset_value
        charged = equations.charge(before, current, leak, reset_value, one)
        spikes = self.spikes(node, t, charged, constants)
        in_reset = self.in_reset(node, t, spikes)
        self.charged[at] = charged
        self.potentials[at] = equations.reset(charged, in_reset, threshold, reset_value, one)
        return spikes

    def before(self, node: Node, t: int) -> Any:
        """v_{t-1} as h_t sees it."""
        return self.potentials[node.name, t - 1]

    def spikes(self, node: Node, t: int, charged: np.ndarray, constants: StepConstants) -> np.ndarray:
        """s_t; with it the slope that stands for its derivative."""
        assert isinstance(node.what, Population)
        _, threshold, _, _, slope, height, one = constants
        equations = node.what.neuron.equations
        self.slopes[node.name, t] = equations.surrogate(charged - threshold, slope, height, one)
        return equations.fire(charged, threshold, one)

    def in_reset(self, node: Node, t: int, spikes: np.ndarray) -> Any:
        """s_t as the reset sees it."""
        return spikes

    def fed_back(self, node: Node, t: int, values: Values) -> np.ndarray:
        """What a delayed node reads at t."""
        return values[t - 1][node.inputs[0]]

    def maximum(self, node: Node, t: int, read: np.ndarray) -> np.ndarray:
        """Of each window."""
        assert isinstance(node.what, MaxPool)
        outputs, self.maxima[node.name, t] = node.what.forward(read)
        return outputs


class _Affine(_Spiking):
    """Neurons with affine spikes around a nominal run, cut edges held at it."""

    def __init__(self, nominal: _Spiking, edges: Edges) -> None:
        super().__init__()
        self.nominal, self.edges = nominal, edges

    def before(self, node: Node, t: int) -> Any:
        run = self if _live(self.edges.leak, node.name, True) else self.nominal
        return run.potentials[node.name, t - 1]

    def spikes(self, node: Node, t: int, charged: np.ndarray, constants: StepConstants) -> np.ndarray:
        at = node.name, t
        return self._nominal_spikes(node, t) + self.nominal.slopes[at] * (charged - self.nominal.charged[at])

    def in_reset(self, node: Node, t: int, spikes: np.ndarray) -> Any:
        assert isinstance(node.what, Population)
        attached = not node.what.neuron.detach_reset
        return spikes if _live(self.edges.reset, node.name, attached) else self._nominal_spikes(node, t)

    def fed_back(self, node: Node, t: int, values: Values) -> np.ndarray:
        run = values if _live(self.edges.feedback, node.name, True) else self.nominal.values
        return run[t - 1][node.inputs[0]]

    def maximum(self, node: Node, t: int, read: np.ndarray) -> np.ndarray:
        # spikes tie, and rounding of affine ones must not choose: the pixels of the nominal run
        assert isinstance(node.what, MaxPool)
        return node.what.linear(self.nominal.maxima[node.name, t], read)

    def _nominal_spikes(self, node: Node, t: int) -> np.ndarray:
        return self.nominal.values[t][node.name]


class _Smooth(_Spiking):
    """Neurons whose spikes are smooth, with a reset by them or without any."""

    def __init__(self, reset: bool) -> None:
        super().__init__()
        self.reset = reset

    def spikes(self, node: Node, t: int, charged: np.ndarray, constants: StepConstants) -> np.ndarray:
        assert isinstance(node.what, Population)
        _, threshold, _, _, slope, height, one = constants
        return SMOOTH_SPIKES[node.what.neuron.surrogate.shape](charged - threshold, slope, height, one)

    def in_reset(self, node: Node, t: int, spikes: np.ndarray) -> Any:
        return spikes if self.reset else 0 * spikes


def _values(graph: SpikingGraph, parameters: Parameters, inputs: Any, neurons: _Spiking) -> Values:
    """What every node gives at every step, with the neurons at hand."""
    values: Values = [{INPUT: inputs[t]} for t in range(len(inputs))]
    weights = graph.prepared(parameters)
    for t, node in _order(graph, len(values)):
        own, now = weights.get(node.name, {}), values[t]
        if node.name in now:  # done with the first step
            continue
        if node.delayed:
            silent = np.zeros((len(now[INPUT]), *graph.shapes[node.name]))
            before = neurons.fed_back(node, t, values) if t else None
            now[node.name] = silent if before is None else linear_operator(node).forward(own, before)
        elif isinstance(node.what, Population):
            now[node.name] = neurons.population(node, t, now[node.inputs[0]])
        elif isinstance(node.what, Sum):
            now[node.name] = np.add.reduce([now[name] for name in node.inputs])
        elif isinstance(node.what, MaxPool):
            now[node.name] = neurons.maximum(node, t, now[node.inputs[0]])
        elif isinstance(node.what, BatchNormalisation):
            steps = values if node.what.over == "sequence" else [now]
            read = np.concatenate([step[node.inputs[0]] for step in steps])
            outputs = node.what.forward(own, read)[0]
            for step, share in zip(steps, np.split(outputs, len(steps)), strict=True):
                step[node.name] = share
        else:
            now[node.name] = linear_operator(node).forward(own, now[node.inputs[0]])
    return values


def _order(graph: SpikingGraph, steps: int) -> Iterator[tuple[int, Node]]:
    """Step by step where something is delayed; else node by node, as statistics of a sequence need it."""
    if graph.delayed:
        return ((t, node) for t in range(steps) for node in graph.nodes)
    return ((t, node) for node in graph.nodes for t in range(steps))


def _loss(graph: SpikingGraph, values: Values, targets: np.ndarray) -> Any:
    """l(mean_t y_t) or (1/T) sum_t l(y_t), y_t = readout_leak y_{t-1} + o_t."""
    outputs: list[Any] = []
    for now in values:
        memory = graph.readout_leak * outputs[-1] if outputs else 0.0
        outputs.append(memory + now[graph.readout.name])
    if graph.loss_over == "each_step":
        return sum(graph.loss_of(output, targets) for output in outputs) / len(outputs)
    return graph.loss_of(sum(outputs[1:], start=outputs[0]) / len(outputs), targets)


def _live(switch: bool | Mapping[str, bool] | None, name: str, default: bool) -> bool:
    """A switch of `Edges` for one name."""
    value = switch.get(name) if isinstance(switch, Mapping) else switch
    return default if value is None else value
