"""Run a NIR graph step by step under a stated discretisation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.nir.discretisation import Arithmetic, Discretisation, arithmetic_of, discretisation_of
from refsnn.nir.graph import Edge, NirGraph
from refsnn.nir.maps import Map, step_map
from refsnn.nir.neurons import NeuronStep
from refsnn.nir.nodes import Node

MOST_BYTES = 2**31  # of what a run may record
_NEAR = 1e-6  # relative: how far a delay may be from a whole number of steps


@dataclass(frozen=True)
class GraphRun:
    """What a graph did, and how it was stepped.

    Attributes
    ----------
    dt : float
        Length of a step in seconds.
    discretisation : Discretisation
        How each neuron was stepped.
    arithmetic : Arithmetic
        In which numbers.
    late_edges : tuple of (str, str)
        Edges that carried the values of the step before.
    outputs : dict of str to ndarray, (T, B, ...)
        What arrived at each Output.
    drives, currents, potentials, spikes : dict of str to ndarray, (T, B, ...)
        For each recorded neuron: what its edges brought, the current that drove it (behind its synapse),
        its potential at the end of the step, and its spikes.
    margin : dict of str to float
        Smallest |h - v_threshold| of each node that fires: how far a spike was from going the other way.
    """

    dt: float
    discretisation: Discretisation
    arithmetic: Arithmetic
    late_edges: tuple[Edge, ...]
    outputs: dict[str, np.ndarray]
    drives: dict[str, np.ndarray]
    currents: dict[str, np.ndarray]
    potentials: dict[str, np.ndarray]
    spikes: dict[str, np.ndarray]
    margin: dict[str, float]

    def rates(self) -> dict[str, float]:
        """Mean spikes per neuron and step of each node that fires."""
        return {name: float(spikes.mean()) for name, spikes in self.spikes.items()}

    def describe(self) -> str:
        """How it was stepped, in lines for people."""
        late = ", ".join(f"{a} -> {b}" for a, b in self.late_edges) or "none"
        return (
            f"dt = {self.dt:g} s; {self.discretisation.describe()}\n{self.arithmetic.describe()}\n"
            f"edges one step late: {late}"
        )


def run_graph(
    graph: NirGraph,
    inputs: Any,
    *,
    dt: float,
    discretisation: Discretisation | str = "forward_euler",
    arithmetic: Arithmetic | str = "float64",
    record: Iterable[str] | None = None,
    unit: float = 1.0,
) -> GraphRun:
    """Step a graph through an input.

    Inputs hold through a step: a spike is a current of 1 for the length of it.  So a LIF neuron gains
    r dt/tau by one, and an IF neuron r dt; a graph of IF neurons only has no unit of time: take dt = 1.

    Parameters
    ----------
    graph : NirGraph
        The graph.
    inputs : array_like, (T, B, ...), or mapping of str to such
        Spikes or currents for the only Input, or for each by name; floats, booleans or integers.
    dt : float
        Length of a step in seconds.
    discretisation : Discretisation or str
        How to step the neurons.
    arithmetic : Arithmetic or str
        In which numbers.
    record : iterable of str, optional
        Neurons whose traces are kept; all by default.
    unit : float
        All potentials are computed in units of 1 / unit, and recorded so; Outputs of spikes do not change.

    Returns
    -------
    GraphRun

    Raises
    ------
    TypeError, ValueError
        For inputs of wrong shape or with NaN, delays that are no whole number of steps, steps too long for
        the discretisation, names that are no neurons, traces too large to keep.

    Examples
    --------
    >>> nodes = {
    ...     "in": Node("Input", {"shape": [1]}),
    ...     "if": Node("IF", {"r": [1.0], "v_threshold": [1.5]}),
    ...     "out": Node("Output", {"shape": [1]}),
    ... }
    >>> graph = NirGraph(nodes, [("in", "if"), ("if", "out")])
    >>> run = run_graph(graph, np.ones((4, 1, 1)), dt=1.0)
    >>> run.outputs["out"][:, 0, 0], run.potentials["if"][:, 0, 0]
    (array([0., 1., 0., 1.]), array([1., 0., 1., 0.]))
    """
    checks.instance("graph", graph, NirGraph, "what refsnn.nir.read_graph returns")
    dt = checks.number("dt", dt, 0, low_open=True)
    unit = checks.number("unit", unit, 0, low_open=True)
    how, numbers = discretisation_of(discretisation), arithmetic_of(arithmetic)
    dtype = np.dtype(numbers.dtype)
    given = checked_inputs(graph, inputs, dtype)
    steps, batch = next(iter(given.values())).shape[:2]
    kept = _kept(graph, record, steps * batch * dtype.itemsize)
    stepper = _Stepper(graph, batch, dt, how, numbers, unit)
    traces: dict[str, dict[str, list[np.ndarray]]] = {
        what: {name: [] for name in kept} for what in ("drives", "currents", "potentials")
    }
    traces["spikes"] = {name: [] for name in kept if graph.nodes[name].fires}
    outputs: dict[str, list[np.ndarray]] = {name: [] for name in graph.outputs}
    for t in range(steps):
        values = stepper.advance({name: value[t] for name, value in given.items()})
        for name in outputs:
            outputs[name].append(values[name])
        for name in kept:
            neurons = stepper.neurons[name]
            traces["drives"][name].append(stepper.arrived[name])
            traces["currents"][name].append(neurons.current)
            traces["potentials"][name].append(neurons.shown())
            if graph.nodes[name].fires:
                traces["spikes"][name].append(neurons.spikes)
    margin = {name: neurons.margin for name, neurons in stepper.neurons.items() if graph.nodes[name].fires}
    stacked = {what: {name: np.stack(rows) for name, rows in by.items()} for what, by in traces.items()}
    ends = {name: np.stack(rows) for name, rows in outputs.items()}
    return GraphRun(dt, how, numbers, graph.late_edges, ends, margin=margin, **stacked)


class _Stepper:
    """All that changes from step to step."""

    def __init__(
        self,
        graph: NirGraph,
        batch: int,
        dt: float,
        how: Discretisation,
        numbers: Arithmetic,
        unit: float,
    ) -> None:
        self._graph, dtype = graph, np.dtype(numbers.dtype)
        self.neurons: dict[str, NeuronStep] = {}
        self.arrived: dict[str, np.ndarray] = {}
        self._maps: dict[str, Map] = {}
        self._delays: dict[str, _Delay] = {}
        self._late: dict[str, np.ndarray] = {}
        self._late_edges = set(graph.late_edges)
        self._sources = {name: graph.sources(name) for name in graph.order}
        silent: dict[str, np.ndarray] = {}
        for name in graph.order:
            node, shape = graph.nodes[name], graph.shapes[name]
            if node.is_neuron:
                with _named(name):
                    self.neurons[name] = NeuronStep(node, (batch, *shape), dt, how, numbers, unit)
            elif node.kind == "Delay":
                with _named(name):
                    self._delays[name] = _Delay(node, (batch, *shape), dt, dtype)
            else:
                shape = graph.shapes[self._sources[name][0]] if self._sources[name] else shape
                self._maps[name] = step_map(_rounded(node, numbers), shape, dtype)
        # before the first step: neurons, delays and inputs at 0
        for name in graph.order:
            silent[name] = np.zeros((batch, *graph.shapes[name]), dtype)
        for name in graph.order:
            sources = self._sources[name]
            if name in self._maps and sources:
                silent[name] = self._maps[name](np.sum([silent[source] for source in sources], axis=0))
        for source, _ in graph.late_edges:
            self._late[source] = silent[source]

    def advance(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One step through all nodes."""
        graph, values = self._graph, dict(inputs)
        for name, delay in self._delays.items():
            if delay.shortest:
                values[name] = delay.read(None)
        for name in graph.order:
            if name in values:
                continue
            late = self._late_edges
            parts = [self._late[a] if (a, name) in late else values[a] for a in self._sources[name]]
            total = parts[0] if len(parts) == 1 else np.sum(parts, axis=0)
            if name in self.neurons:
                self.arrived[name] = total
                values[name] = self.neurons[name].advance(total)
            elif name in self._delays:
                values[name] = self._delays[name].read(total)
            else:
                values[name] = self._maps[name](total)
        for name, delay in self._delays.items():
            if delay.shortest:
                delay.write(np.sum([values[source] for source in self._sources[name]], axis=0))
        self._late = {source: values[source] for source in self._late}
        return values


class _Delay:
    """A ring of past values; each neuron reads its own number of steps back."""

    def __init__(self, node: Node, shape: tuple[int, ...], dt: float, dtype: np.dtype) -> None:
        exact = node.values["delay"].astype(np.float64) / dt
        self._steps = np.broadcast_to(np.rint(exact).astype(int), shape[1:])
        off = np.abs(exact - np.rint(exact))
        if (off > _NEAR * np.maximum(exact, 1)).any():
            worst = exact.flat[int(off.argmax())]
            raise ValueError(
                f"delay: expected whole numbers of steps of dt = {dt:g} s, got {worst:g} steps; choose dt so "
                "that all delays are"
            )
        self.shortest = int(self._steps.min()) > 0  # whether it can give before it gets
        length = int(self._steps.max()) + 1
        if length * int(np.prod(shape)) * dtype.itemsize > MOST_BYTES:
            raise ValueError(f"delay: expected fewer steps to remember, got {length - 1} of dt = {dt:g} s")
        self._ring = np.zeros((length, *shape), dtype)
        self._at = 0

    def write(self, values: np.ndarray) -> None:
        """Remember the values of this step and go on to the next."""
        self._ring[self._at] = values
        self._at = (self._at + 1) % len(self._ring)

    def read(self, values: np.ndarray | None) -> np.ndarray:
        """What was given `steps` ago; with values, those of this step are remembered first."""
        if values is not None:
            self._ring[self._at] = values
        places = (self._at - self._steps) % len(self._ring)
        read = np.take_along_axis(self._ring, places[None, None], axis=0)[0]
        if values is not None:
            self._at = (self._at + 1) % len(self._ring)
        return read


def checked_inputs(graph: NirGraph, inputs: Any, dtype: np.dtype) -> dict[str, np.ndarray]:
    """Inputs by name, (T, B, ...), in the working dtype.

    Parameters
    ----------
    graph : NirGraph
        The graph.
    inputs : array_like or mapping of str to such
        For its only Input, or for each.
    dtype : dtype
        To compute in.

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    TypeError, ValueError
        For missing or unknown names, wrong shapes, unequal lengths, NaN.

    Examples
    --------
    >>> nodes = {"in": Node("Input", {"shape": [2]}), "out": Node("Output", {"shape": [2]})}
    >>> graph = NirGraph(nodes, [("in", "out")])
    >>> checked_inputs(graph, np.ones((3, 1, 2), bool), np.dtype(float))["in"].dtype
    dtype('float64')
    """
    if not isinstance(inputs, Mapping):
        if len(graph.inputs) != 1:
            raise TypeError(f"inputs: expected a dict with arrays for {list(graph.inputs)}, got one array")
        inputs = {graph.inputs[0]: inputs}
    if set(inputs) != set(graph.inputs):
        raise ValueError(f"inputs: expected arrays for {list(graph.inputs)}, got {list(inputs)}")
    found: dict[str, np.ndarray] = {}
    for name in graph.inputs:
        label = f"inputs[{name!r}]"
        array = checks.as_numpy(label, inputs[name])
        if array.dtype.kind in "biu":
            array = array.astype(dtype)
        found[name] = checks.float_array(label, array, ("T", "B", *graph.shapes[name])).astype(dtype)
    if len({array.shape[:2] for array in found.values()}) != 1:
        raise ValueError(
            f"inputs: expected the same steps and batch for all, got "
            f"{ {name: array.shape[:2] for name, array in found.items()} }"
        )
    return found


def _kept(graph: NirGraph, record: Iterable[str] | None, each: int) -> list[str]:
    """Names of neurons to record, if there is room for them."""
    names = list(graph.neurons if record is None else record)
    unknown = [name for name in names if name not in graph.neurons]
    if unknown:
        raise ValueError(f"record: expected neurons among {list(graph.neurons)}, got {unknown}")
    traced = sum(int(np.prod(graph.shapes[name])) for name in names)
    size = each * (4 * traced + sum(int(np.prod(graph.shapes[name])) for name in graph.outputs))
    if size > MOST_BYTES:
        raise ValueError(
            f"record: expected traces of at most {MOST_BYTES / 2**30:g} GiB, got {size / 2**30:.1f} GiB; "
            "name fewer nodes, or run fewer steps"
        )
    return names


def _rounded(node: Node, numbers: Arithmetic) -> Node:
    """With weights in whole multiples of 1 / weight_steps, where the arithmetic has such."""
    if not numbers.weight_steps or "weight" not in node.values:
        return node
    weight = node.values["weight"].astype(np.float64)
    rounded = np.rint(weight * numbers.weight_steps) / numbers.weight_steps
    return Node(node.kind, {**node.values, "weight": rounded}, node.metadata)


class _named:
    """Say at which node an error came up."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ValueError):
            message = str(error)
            # what concerns the call, not the node, keeps its beginning
            if not message.startswith(("dt:", "arithmetic:")):
                raise ValueError(f"node {self._name!r}: {message}") from None
