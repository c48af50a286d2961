"""Random live spiking graphs of every build that online learning treats, and the ways to measure their gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.ottt import ottt
from refsnn.algorithms.trace_rules import TraceRule
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.models.builders.assembly import Assembly
from refsnn.models.builders.dense import dense_network
from refsnn.models.builders.vgg import vgg, vgg_feedback
from refsnn.models.contract import Parameters
from refsnn.models.edges import Edges
from refsnn.models.operators.dense import Dense
from refsnn.models.spiking_graph import Population, SpikingGraph, Sum
from refsnn.oracles.affine_graph import AffineGraph
from validation.ledger import VacuousError
from validation.nets import relative_errors

EXACT = 1e-12  # what float64 leaves of an equality; observed errors stay near 1e-15
APART = 1e-2  # what must differ differs by more than this
RATES = (0.03, 0.7)  # of every population
MARGIN = 1e-6  # no order of summation moves a spike that is so far from its threshold
STEPS, BATCH = 6, 3

# surrogates without far tails, and slopes that keep them wide: what must differ does not coincide because
# psi is nearly 0 at every neuron that spikes
SMOOTH = ("sigmoid", "arctan", "fast_sigmoid")


@dataclass(frozen=True)
class Problem:
    """A network with parameters, input and labels, ready for any algorithm."""

    graph: SpikingGraph
    parameters: Parameters
    inputs: Any
    targets: np.ndarray

    @property
    def arguments(self) -> tuple[SpikingGraph, Parameters, Any, np.ndarray]:
        return self.graph, self.parameters, self.inputs, self.targets

    @property
    def last(self) -> str:
        """The last population."""
        return list(self.graph.populations)[-1]

    def with_inputs(self, inputs: Any) -> Problem:
        return replace(self, inputs=inputs)

    def with_neuron(self, **changes: Any) -> Problem:
        """All neurons changed."""
        nodes = [
            replace(node, what=replace(node.what, neuron=replace(node.what.neuron, **changes)))
            if node.name in self.graph.populations
            else node
            for node in self.graph.nodes
        ]
        return replace(self, graph=replace(self.graph, nodes=tuple(nodes)))

    def online(self, preset: str | TraceRule = "paper", backend: str = "cpu") -> Parameters:
        """OTTT's gradients."""
        return ottt(*self.arguments, preset=preset, backend=backend).gradients

    def through_time(self, **switches: Any) -> Parameters:
        """BPTT's gradients along the edges that are left."""
        return self.along(Edges(**switches))

    def along(self, edges: Edges) -> Parameters:
        """BPTT's gradients along these edges."""
        return bptt(replace(self.graph, edges=edges), *self.arguments[1:]).gradients

    def oracle(self) -> AffineGraph:
        """The affine-spike oracle."""
        return AffineGraph(*self.arguments)

    def leaves(self, population: str | None, kinds: Iterable[str] = ("weight", "gain", "bias")) -> list[str]:
        """Parameters of the operators that feed a population; None asks for the read-out's."""
        return [
            name
            for name in self.parameters
            if fed_by(name) == population and name.rsplit(".", 1)[1] in tuple(kinds)
        ]


def fed_by(parameter: str) -> str | None:
    """The population whose currents a parameter adds to, by its name; the read-out feeds none."""
    if parameter.startswith("readout"):
        return None
    return "layer.1" if parameter.startswith("feedback") else ".".join(parameter.split(".")[:2])


def random_neuron(rng: np.random.Generator, **fields: Any) -> SpikingNeuron:
    """Leak, threshold and surrogate drawn; soft reset, detached, as in the paper, unless said otherwise."""
    drawn = {
        "leak": float(rng.uniform(0.4, 0.9)),
        "threshold": float(rng.uniform(0.7, 1.3)),
        "surrogate": Surrogate(
            str(rng.choice(SMOOTH)), slope=float(rng.uniform(1, 3)), height=float(rng.uniform(0.6, 1))
        ),
    }
    return SpikingNeuron(**(drawn | fields))


def dense(rng: np.random.Generator, **fields: Any) -> SpikingGraph:
    """Three layers, plain weights."""
    return dense_network((6, 8, 7, 6, 4), random_neuron(rng, **fields))


def standardised(rng: np.random.Generator, **fields: Any) -> SpikingGraph:
    """Three layers, standardised weights, scaled spikes, dropout: the paper's."""
    return dense_network(
        (6, 8, 7, 6, 4), random_neuron(rng, **fields), standardise=True, scale=2.74, dropout=0.2
    )


def integrate_and_fire(rng: np.random.Generator, **fields: Any) -> SpikingGraph:
    """Three layers that do not leak."""
    return dense_network((6, 8, 7, 6, 4), random_neuron(rng, **{"leak": 1.0} | fields))


def heterogeneous(rng: np.random.Generator, **fields: Any) -> SpikingGraph:
    """Three layers, each with a leak of its own."""
    neurons = [random_neuron(rng, **{"leak": leak} | fields) for leak in (0.3, 0.6, 0.9)]
    return dense_network((6, 8, 7, 6, 4), neurons)


def recurrent(rng: np.random.Generator, **fields: Any) -> SpikingGraph:
    """Two layers that read themselves a step later."""
    return dense_network((6, 8, 7, 4), random_neuron(rng, **fields), recurrent=True, dropout=0.2)


def images(rng: np.random.Generator, **fields: Any) -> SpikingGraph:
    """Three convolutions with plain weights, average pooling, and bins that overlap before the read-out."""
    return vgg((3, "pool", 4, 4), 4, (2, 6, 6), bins=2, neuron=random_neuron(rng, **fields))


def feedback(rng: np.random.Generator, **fields: Any) -> SpikingGraph:
    """VGG-F in small: standardised convolutions, feedback from the last to the first."""
    return vgg_feedback(
        4, (2, 4, 4), plan=(3, "pool", 4, 4), dropout=0.2, neuron=random_neuron(rng, **fields)
    )


def branching(rng: np.random.Generator, **fields: Any) -> SpikingGraph:
    """One population that feeds two of different leaks, whose spikes meet under a fourth: a trace for each leak."""
    leaks = {1: 0.5, 2: 0.3, 3: 0.9, 4: 0.7}
    net = Assembly()
    for index, (width, source) in {1: (8, "input"), 2: (6, "layer.1"), 3: (6, "layer.1")}.items():
        net.add(f"layer.{index}.current", Dense(width), source, prefix=f"layer.{index}")
        net.add(f"layer.{index}", Population(random_neuron(rng, **{"leak": leaks[index]} | fields)))
    net.add("both", Sum(), "layer.2", "layer.3")
    net.add("layer.4.current", Dense(6), prefix="layer.4")
    net.add("layer.4", Population(random_neuron(rng, **{"leak": leaks[4]} | fields)))
    net.add("readout", Dense(4))
    return net.graph((6,))


FEED_FORWARD = (dense, standardised, integrate_and_fire, heterogeneous, images)
LOOPED = (recurrent, feedback)
BUILDS = FEED_FORWARD + LOOPED


def live(
    rng: np.random.Generator,
    build: Any,
    steps: int = STEPS,
    batch: int = BATCH,
    rates: tuple[float, float] = RATES,
    **fields: Any,
) -> Problem:
    """A build with random parameters and time-varying input, drawn again until every population fires.

    Raises
    ------
    VacuousError
        If none did in 200 tries, or came as close to a threshold as rounding.
    """
    for _ in range(200):
        graph = build(rng, **fields).with_loss(loss_over="each_step", squared_share=0.2)
        graph = graph.with_dropout(rng, batch)
        parameters = random_parameters(rng, graph)
        inputs = 2 * rng.random((steps, batch, *graph.input_shape))
        problem = Problem(graph, parameters, inputs, rng.integers(graph.classes, size=batch))
        if is_live(problem, rates):
            return problem
    raise VacuousError(f"no live network of the build {build.__name__!r} in 200 tries")


def random_parameters(rng: np.random.Generator, graph: SpikingGraph) -> Parameters:
    """Currents of the order of the threshold; no parameter is 0 or 1."""
    parameters = graph.initialise(rng, gain=1.5, bias_mean=0.3, bias_deviation=0.2)
    for name, value in parameters.items():
        if name.endswith("gain"):
            parameters[name] = value * rng.uniform(0.8, 1.2, value.shape)
    return parameters


def is_live(problem: Problem, rates: tuple[float, float] = RATES) -> bool:
    """Whether every population fires, no potential is so near its threshold that rounding decides, and weights learn.

    Silent inputs, or dropout, may leave a weight without any product of an error and a spike at the same step.
    """
    cut = problem.graph.with_edges(leak=False, feedback=False)
    result = bptt(cut, *problem.arguments[1:])
    happened = result.diagnostics
    assert happened.spike_rates is not None
    assert happened.margin is not None
    delayed = [node.parameter_prefix for node in problem.graph.delayed] if len(problem.inputs) == 1 else []
    weights = [name for name in result.gradients if name.endswith(".weight")]
    return (
        happened.margin > MARGIN
        and all(rates[0] < rate < rates[1] for rate in happened.spike_rates.values())
        and all(result.gradients[w].any() for w in weights if w.rsplit(".", 1)[0] not in delayed)
    )


def some(gradients: Mapping[str, np.ndarray], names: Iterable[str]) -> Parameters:
    """The gradients of these parameters."""
    return {name: gradients[name] for name in names}


def errors(found: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray]) -> list[float]:
    """Relative error of each leaf of the truth alone."""
    return list(relative_errors(found, truth).values())


ENTRIES = 20  # up to so many an oracle takes entry by entry


def oracle_errors(
    rng: np.random.Generator, found: Mapping[str, np.ndarray], oracle: AffineGraph, edges: Edges | None = None
) -> list[float]:
    """Relative error of each leaf to the oracle: all entries of a small one, of others along two directions.

    Along a standard normal d the error <G - truth, d> is of the size of |G - truth|.
    """
    measured = []
    for name, value in found.items():
        size = float(np.linalg.norm(value))
        if size < 1e-12:
            raise VacuousError(f"the gradient of {name} is {size:.1e}")
        if value.size <= ENTRIES:
            measured += errors(found, oracle.gradient(edges, [name]))
            continue
        for _ in range(2):
            direction = rng.standard_normal(value.shape)
            slope = oracle.derivative({name: direction}, edges)
            measured.append(abs(float((value * direction).sum()) - slope) / size)
    return measured
