"""Grade a recorded trace: which discretisation made it, in which numbers, and how far it is from the truth.

A trace is what one neuron did on some platform: input, potential and spike of each step.  It is compared with
the exact solution and with every discretisation, in every unit that platforms use for potentials:

    volts                graph units, as the file of the graph has them
    threshold            v / v_threshold: the threshold is 1
    input                v tau / (r dt): one input adds 1
    fixed                v 2^14: Loihi's integers

The discretisation that comes nearest, with all its spikes in the same steps, is run again in each arithmetic.
Nothing is told by the name of a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.nir.discretisation import ARITHMETICS, DISCRETISATIONS, UNIT
from refsnn.nir.exact import ExactSolution, exact_solution
from refsnn.nir.graph import NirGraph
from refsnn.nir.nodes import Node
from refsnn.nir.run import GraphRun, run_graph
from refsnn.nir.traces import Trace

SAME = 1e-6  # of the threshold: a trace within it, with equal spikes, was made by that discretisation


@dataclass(frozen=True)
class Distance:
    """How far a trace is from one solution.

    Attributes
    ----------
    name : str
        Of the discretisation, or "exact".
    arithmetic : str
        In which numbers it was computed; empty for the exact solution.
    unit : str
        In which the potentials come nearest.
    potential : float
        max |v - v'|, as a share of the threshold.
    same_spikes : bool
        Whether each step has the same spikes.
    first_spikes : tuple of int
        The first steps in which that solution fires.
    """

    name: str
    arithmetic: str
    unit: str
    potential: float
    same_spikes: bool
    first_spikes: tuple[int, ...]


@dataclass(frozen=True)
class Grade:
    """What a trace was found to be.

    Attributes
    ----------
    trace : Trace
        What was graded.
    exact : Distance
        From the exact solution.
    discretisations : tuple of Distance
        From each discretisation in float64, nearest first: those with the trace's spikes before others.
    arithmetics : tuple of Distance
        From the nearest discretisation in each arithmetic that it can be computed in, nearest first.
    nearest : Distance
        The smallest of all: what the trace is, if it is identified.
    margin : float
        Smallest |h - v_threshold| of the nearest discretisation in float64, as a share of the threshold.
        Where it is large, ">" and ">=" cannot be told apart by this trace.
    """

    trace: Trace
    exact: Distance
    discretisations: tuple[Distance, ...]
    arithmetics: tuple[Distance, ...]
    nearest: Distance
    margin: float

    @property
    def identified(self) -> bool:
        """Whether the trace is that solution: same spikes, and potentials within `SAME` of the threshold."""
        return self.nearest.same_spikes and self.nearest.potential <= SAME

    @property
    def what(self) -> str:
        """Name of the solution that made the trace, or that is nearest."""
        return self.nearest.name

    @property
    def arithmetic(self) -> str:
        """Name of the arithmetic that comes nearest; empty for the exact solution."""
        return self.nearest.arithmetic

    @property
    def unit(self) -> str:
        """In which the trace's potentials come nearest to what made it."""
        return self.nearest.unit

    @property
    def difference(self) -> float:
        """Largest difference of potentials from what is nearest, as a share of the threshold."""
        return self.nearest.potential

    @property
    def runner_up(self) -> Distance:
        """The nearest discretisation among the others, in float64."""
        return next(entry for entry in self.discretisations if entry.name != self.what)


def lif_of(graph: NirGraph) -> str:
    """Name of the LIF of a graph with one neuron.

    Raises
    ------
    ValueError
        If it has another neuron, or more than one.

    Examples
    --------
    >>> nodes = {"in": Node("Input", {"shape": [1]}), "out": Node("Output", {"shape": [1]})}
    >>> lif_of(NirGraph(nodes, [("in", "out")]))
    Traceback (most recent call last):
    ...
    ValueError: graph: expected one LIF neuron to grade traces of, got none
    """
    neurons = graph.neurons
    if len(neurons) == 1 and graph.nodes[neurons[0]].kind == "LIF" and graph.shapes[neurons[0]] == (1,):
        return neurons[0]
    kinds = ", ".join(f"{graph.nodes[name].kind} {graph.shapes[name]}" for name in neurons) or "none"
    raise ValueError(f"graph: expected one LIF neuron to grade traces of, got {kinds}")


def grade_trace(trace: Trace, graph: NirGraph, *, dt: float = 1e-4) -> Grade:
    """Say which discretisation of a graph made a trace.

    Parameters
    ----------
    trace : Trace
        From `read_trace`.
    graph : NirGraph
        With one LIF neuron, which the platform ran.
    dt : float
        Length of a step in seconds.

    Returns
    -------
    Grade

    Raises
    ------
    TypeError, ValueError
        For a graph with other neurons, or a trace without any input.

    Examples
    --------
    >>> nodes = {
    ...     "in": Node("Input", {"shape": [1]}),
    ...     "lif": Node("LIF", {"tau": [0.01], "r": [8.0], "v_leak": [0.0], "v_threshold": [1.0]}),
    ...     "out": Node("Output", {"shape": [1]}),
    ... }
    >>> graph = NirGraph(nodes, [("in", "lif"), ("lif", "out")])
    >>> inputs = (np.random.default_rng(0).random(60) < 0.5).astype(float)
    >>> run = run_graph(graph, inputs[:, None, None], dt=1e-3, discretisation="exponential_euler")
    >>> trace = Trace("mine", inputs, run.potentials["lif"].ravel(), run.spikes["lif"].ravel(), "float64")
    >>> grade = grade_trace(trace, graph, dt=1e-3)
    >>> grade.what, grade.arithmetic, grade.difference
    ('exponential_euler', 'float64', 0.0)
    """
    checks.instance("trace", trace, Trace, "what read_trace returns")
    lif_of(graph)
    grader = _Grader(trace, graph, checks.number("dt", dt, 0, low_open=True))
    found = sorted((grader.of_run(run) for run in grader.runs.values()), key=_order)
    tried = [entry for entry in found if entry.same_spikes] or found[:1]
    numbers = [other for entry in tried for other in grader.in_numbers(entry, fixed=False)]
    if trace.stored == "integer":
        # they round so coarsely that another discretisation may come nearer in floats: all are tried
        numbers += [other for entry in found for other in grader.in_numbers(entry, fixed=True)]
    numbers.sort(key=_order)
    exact = grader.of_solution()
    nearest = min(*numbers, exact, key=_order)
    best = found[0].name if nearest is exact else nearest.name
    same = tuple(entry for entry in numbers if entry.name == best)
    return Grade(trace, exact, tuple(found), same, nearest, grader.margin(best))


class _Grader:
    """One trace beside the solutions for its input."""

    def __init__(self, trace: Trace, graph: NirGraph, dt: float) -> None:
        self._trace, self._graph, self._dt = trace, graph, dt
        self._inputs, self._lif = scaled_inputs(trace), lif_of(graph)
        self._units = units_of(graph.nodes[self._lif], dt)
        self._threshold = float(graph.nodes[self._lif].values["v_threshold"].reshape(()))
        self.runs = _runs(graph, self._inputs.tobytes(), dt)

    def of_solution(self) -> Distance:
        """From the exact solution."""
        truth = _solution(self._graph, self._inputs.tobytes(), self._dt)
        return self._distance("exact", "", truth.potential, truth.spikes, self._units)

    def of_run(self, run: GraphRun) -> Distance:
        """From a discretisation in float64, in the unit that suits it best."""
        potential, spikes = run.potentials[self._lif].ravel(), run.spikes[self._lif].ravel()
        return self._distance(run.discretisation.name, "float64", potential, spikes, self._units)

    def margin(self, name: str) -> float:
        """Of a discretisation, as a share of the threshold."""
        return self.runs[name].margin[self._lif] / self._threshold

    def in_numbers(self, entry: Distance, fixed: bool) -> list[Distance]:
        """The discretisation of `entry` in integers, or in each of the floats in the unit of the trace."""
        found = []
        for numbers in ARITHMETICS.values():
            if numbers.fixed != fixed:
                continue
            unit = "fixed" if numbers.fixed else entry.unit
            factor = self._units[unit]
            scale = 1.0 if numbers.fixed else factor
            try:
                run = run_graph(
                    self._graph,
                    self._inputs[:, None, None],
                    dt=self._dt,
                    discretisation=DISCRETISATIONS[entry.name],
                    arithmetic=numbers,
                    unit=scale,
                )
            except ValueError as error:
                if str(error).startswith("arithmetic:"):  # not for such leaks, or such neurons
                    continue
                raise
            potential = run.potentials[self._lif].ravel().astype(np.float64) / scale
            spikes = run.spikes[self._lif].ravel()
            found.append(self._distance(entry.name, numbers.name, potential, spikes, {unit: factor}))
        return found

    def _distance(
        self, name: str, arithmetic: str, potential: np.ndarray, spikes: np.ndarray, units: dict[str, float]
    ) -> Distance:
        size, unit = min(
            (float(np.abs(self._trace.potential / scale - potential).max()) / self._threshold, unit)
            for unit, scale in units.items()
        )
        same = bool((spikes == self._trace.spikes).all())
        return Distance(name, arithmetic, unit, size, same, tuple(np.flatnonzero(spikes)[:4].tolist()))


def scaled_inputs(trace: Trace) -> np.ndarray:
    """The input column, divided by its only level where it has one beside 0: some record w x, not x.

    Parameters
    ----------
    trace : Trace
        From `read_trace`.

    Returns
    -------
    ndarray, (T,)

    Raises
    ------
    ValueError
        If nothing ever enters: then all solutions are alike.

    Examples
    --------
    >>> scaled_inputs(Trace("mine", np.array([0.0, 0.04]), np.zeros(2), np.zeros(2), "integer"))
    array([0., 1.])
    """
    levels = np.unique(trace.inputs[trace.inputs != 0])
    if not len(levels):
        raise ValueError(f"{trace.name}: expected an input in some step, got none; nothing can be told by it")
    return trace.inputs / levels[0] if len(levels) == 1 else trace.inputs.copy()


def units_of(node: Node, dt: float) -> dict[str, float]:
    """Units that platforms record potentials in, as multiples of the graph's.

    Parameters
    ----------
    node : Node
        The LIF.
    dt : float
        Length of a step in seconds.

    Returns
    -------
    dict of str to float

    Examples
    --------
    >>> node = Node("LIF", {"tau": [0.01], "r": [1.0], "v_leak": [0.0], "v_threshold": [0.5]})
    >>> units_of(node, 1e-3)
    {'volts': 1.0, 'threshold': 2.0, 'input': 10.0, 'fixed': 16384.0}
    """
    tau, r, threshold = (float(node.values[name].reshape(())) for name in ("tau", "r", "v_threshold"))
    units = {"volts": 1.0, "threshold": 1 / threshold, "input": tau / (r * dt), "fixed": float(UNIT)}
    return {name: unit for name, unit in units.items() if unit > 0}


def _order(distance: Distance) -> tuple[bool, float]:
    return not distance.same_spikes, distance.potential


@lru_cache(maxsize=8)
def _runs(graph: NirGraph, inputs: bytes, dt: float) -> dict[str, GraphRun]:
    """Each discretisation once, in float64; traces of one input share them."""
    values = np.frombuffer(inputs)[:, None, None]
    return {
        name: run_graph(graph, values, dt=dt, discretisation=recipe)
        for name, recipe in DISCRETISATIONS.items()
        if recipe.current in ("updated", "decayed")  # others differ from these behind a synapse only
    }


@lru_cache(maxsize=8)
def _solution(graph: NirGraph, inputs: bytes, dt: float) -> ExactSolution:
    lif = lif_of(graph)
    run: Any = run_graph(graph, np.frombuffer(inputs)[:, None, None], dt=dt)
    return exact_solution(graph.nodes[lif], run.drives[lif].ravel(), dt)
