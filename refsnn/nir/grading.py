"""Grade a recorded trace: which discretisation made it, in which numbers, and how far it is from the truth.

A trace is what one neuron did on some platform: input, potential and spike of each step.  It is compared with
the exact solution and with every discretisation, in every unit that platforms use for potentials and for
inputs (`refsnn.nir.units`).  Differences are shares of v_threshold - v_reset, which is above 0 whatever the
signs are.  The discretisation that comes nearest, with all its spikes in the same steps, is run again in each
arithmetic.  Where several solutions come as near, all are told.  Nothing is told by the name of a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.nir.discretisation import ARITHMETICS, DISCRETISATIONS, Arithmetic, Discretisation
from refsnn.nir.exact import ExactSolution, exact_solution
from refsnn.nir.graph import NirGraph
from refsnn.nir.run import GraphRun, run_graph
from refsnn.nir.traces import Trace
from refsnn.nir.units import Unit, counted_from, scaled_inputs, units_of

# as shares of v_threshold - v_reset
SAME = 1e-6  # a trace within it, with equal spikes, was made by that discretisation
ROUNDING = 1e-12  # of float64, over a trace: nearer is no nearer
FARTHER = 10.0  # a solution this many times farther than the nearest is another one


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
        max |v - v'|, as a share of v_threshold - v_reset.
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
        Two that differ from these behind a synapse only, exact_propagator and forward_euler_late_current,
        are not among them.
    arithmetics : tuple of Distance
        From the nearest discretisation in each arithmetic that it can be computed in, nearest first.
    nearest : Distance
        The smallest of all: what the trace is, if it is identified and nothing else is `also` as near.
    margin : float
        Smallest |h - v_threshold| of the nearest discretisation in float64, as a share of
        v_threshold - v_reset.  Where it is large, ">" and ">=" cannot be told apart by this trace.
    also : tuple of Distance
        Other solutions that this trace cannot tell from the nearest, each in the numbers that suit it best;
        empty where it is not identified.
    left_out : tuple of str
        Discretisations that do not exist for such a neuron: forward Euler where dt is above tau.
    divided_by : float
        By what the input column was divided: its only level, or 1.
    """

    trace: Trace
    exact: Distance
    discretisations: tuple[Distance, ...]
    arithmetics: tuple[Distance, ...]
    nearest: Distance
    margin: float
    also: tuple[Distance, ...] = ()
    left_out: tuple[str, ...] = ()
    divided_by: float = 1.0

    @property
    def identified(self) -> bool:
        """Whether the trace is a known solution: same spikes, and potentials within `SAME`."""
        return _known(self.nearest)

    @property
    def one_of(self) -> tuple[str, ...]:
        """Names of the solutions that may have made the trace, the nearest first; empty if none did."""
        return (self.what, *(entry.name for entry in self.also)) if self.identified else ()

    @property
    def computed_in(self) -> tuple[str, ...]:
        """Names of the arithmetics in which the nearest solution comes as near; empty for the exact one."""
        if not self.arithmetic:
            return ()
        return tuple(entry.arithmetic for entry in self.arithmetics if _as_near(entry, self.nearest))

    @property
    def what(self) -> str:
        """Name of the solution that is nearest; where `one_of` has several, the first of them."""
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
        """Largest difference of potentials from what is nearest, as a share of v_threshold - v_reset."""
        return self.nearest.potential

    @property
    def runner_up(self) -> Distance | None:
        """The nearest discretisation in float64 that did not make the trace; None where all did."""
        names = self.one_of or (self.what,)
        return next((entry for entry in self.discretisations if entry.name not in names), None)


def lif_of(graph: NirGraph) -> str:
    """Name of the LIF of a graph with one neuron.

    Raises
    ------
    ValueError
        If it has another neuron, or more than one.

    Examples
    --------
    >>> from refsnn.nir import Node
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
    >>> from refsnn.nir import Node
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
    dt = checks.number("dt", dt, 0, low_open=True)
    grades, refused = [], []
    for divided_by, inputs in scaled_inputs(trace).items():
        try:
            grades.append(_Grader(trace, graph, dt, divided_by, inputs).grade())
        except ValueError as error:  # such as too many spikes in a step, for an input of that size
            refused.append(error)
    if not grades:
        raise refused[0]
    return min(grades, key=lambda grade: _order(grade.nearest))


class _Grader:
    """One trace beside the solutions for its input."""

    def __init__(self, trace: Trace, graph: NirGraph, dt: float, divided_by: float, inputs: np.ndarray):
        self._trace, self._graph, self._dt = trace, graph, dt
        self._inputs, self._divided_by, self._lif = inputs, divided_by, lif_of(graph)
        node = graph.nodes[self._lif]
        self._units = units_of(node, dt)
        # a node is refused whose threshold is not above its reset
        self._range = float((node.values["v_threshold"] - node.values["v_reset"]).reshape(()))
        self._runs = _runs(graph, inputs.tobytes(), dt)

    def grade(self) -> Grade:
        """All distances, and the nearest of them."""
        found = sorted((self._of_run(run) for run in self._runs.values()), key=_order)
        tried = [entry for entry in found if entry.same_spikes]
        tried = tried or [entry for entry in found if _as_near(entry, found[0])]
        numbers = [other for entry in tried for other in self._in_numbers(entry, fixed=False)]
        if self._trace.stored == "integer":
            # they round so coarsely that another discretisation may come nearer in floats: all are tried
            numbers += [other for entry in found for other in self._in_numbers(entry, fixed=True)]
        numbers.sort(key=_order)
        exact = self._of_solution()
        nearest = min(*numbers, exact, key=_order)
        best = found[0].name if nearest is exact else nearest.name
        others: dict[str, Distance] = {}
        for entry in sorted([*numbers, exact], key=_order):
            if entry.name != nearest.name and _known(entry) and _as_near(entry, nearest):
                others.setdefault(entry.name, entry)
        return Grade(
            self._trace,
            exact,
            tuple(found),
            tuple(entry for entry in numbers if entry.name == best),
            nearest,
            self._runs[best].margin[self._lif] / self._range,
            tuple(others.values()),
            tuple(recipe.name for recipe in _STEPPED if recipe.name not in self._runs),
            self._divided_by,
        )

    def _of_solution(self) -> Distance:
        """From the exact solution."""
        truth = _solution(self._graph, self._inputs.tobytes(), self._dt)
        return self._distance("exact", "", truth.potential, truth.spikes, self._units)

    def _of_run(self, run: GraphRun) -> Distance:
        """From a discretisation in float64, in the unit that suits it best."""
        potential, spikes = run.potentials[self._lif].ravel(), run.spikes[self._lif].ravel()
        return self._distance(run.discretisation.name, "float64", potential, spikes, self._units)

    def _in_numbers(self, entry: Distance, fixed: bool) -> list[Distance]:
        """The discretisation of `entry` in integers, or in each of the floats in the unit of the trace."""
        found = []
        for numbers in ARITHMETICS.values():
            if numbers.fixed != fixed:
                continue
            name = "fixed" if numbers.fixed else entry.unit
            unit = self._units[name]
            scale = 1.0 if numbers.fixed else unit.factor
            run = self._run_in(DISCRETISATIONS[entry.name], numbers, scale, unit.origin)
            if run is None:
                continue
            potential = run.potentials[self._lif].ravel().astype(np.float64) / scale + unit.origin
            spikes = run.spikes[self._lif].ravel()
            found.append(self._distance(entry.name, numbers.name, potential, spikes, {name: unit}))
        return found

    def _run_in(
        self, recipe: Discretisation, numbers: Arithmetic, scale: float, origin: float
    ) -> GraphRun | None:
        """None where the arithmetic is not for such leaks, or such neurons."""
        try:
            return run_graph(
                counted_from(self._graph, self._lif, origin),
                self._inputs[:, None, None],
                dt=self._dt,
                discretisation=recipe,
                arithmetic=numbers,
                unit=scale,
            )
        except ValueError as error:
            if str(error).startswith("arithmetic:"):
                return None
            raise

    def _distance(
        self, name: str, arithmetic: str, potential: np.ndarray, spikes: np.ndarray, units: dict[str, Unit]
    ) -> Distance:
        sizes = {
            unit: float(np.abs(how.in_graph_units(self._trace.potential) - potential).max()) / self._range
            for unit, how in units.items()
        }
        unit = min(sizes, key=lambda known: sizes[known])  # the first, where two are the same
        same = bool((spikes == self._trace.spikes).all())
        return Distance(name, arithmetic, unit, sizes[unit], same, tuple(np.flatnonzero(spikes)[:4].tolist()))


def _known(distance: Distance) -> bool:
    return distance.same_spikes and distance.potential <= SAME


def _as_near(distance: Distance, nearest: Distance) -> bool:
    """Whether the trace cannot tell a solution from the nearest one."""
    limit = max(ROUNDING, FARTHER * nearest.potential)
    return distance.same_spikes == nearest.same_spikes and distance.potential <= limit


def _order(distance: Distance) -> tuple[bool, float]:
    return not distance.same_spikes, distance.potential


# the others differ from these behind a synapse only
_STEPPED = tuple(recipe for recipe in DISCRETISATIONS.values() if recipe.current in ("updated", "decayed"))


@lru_cache(maxsize=8)
def _runs(graph: NirGraph, inputs: bytes, dt: float) -> dict[str, GraphRun]:
    """Each discretisation once, in float64; traces of one input share them."""
    values = np.frombuffer(inputs)[:, None, None]
    too_long = dt / float(graph.nodes[lif_of(graph)].values["tau"].reshape(())) > 1
    return {
        recipe.name: run_graph(graph, values, dt=dt, discretisation=recipe)
        for recipe in _STEPPED
        if not (too_long and recipe.leak == "euler")  # their leak would be below 0
    }


@lru_cache(maxsize=8)
def _solution(graph: NirGraph, inputs: bytes, dt: float) -> ExactSolution:
    lif = lif_of(graph)
    values = np.frombuffer(inputs)[:, None, None]
    run: Any = run_graph(graph, values, dt=dt, discretisation="exponential_euler")  # for steps of any length
    return exact_solution(graph.nodes[lif], run.drives[lif].ravel(), dt)
