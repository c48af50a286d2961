"""X2, X13 and N7 on networks with convolutions, joint batch normalisation, pooling and residual sums."""

from __future__ import annotations

import numpy as np

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.layerwise import Pass
from refsnn.algorithms.rate_backpropagation import Rates, rate_backpropagation
from refsnn.algorithms.temporal_galerkin import temporal_galerkin
from refsnn.equations.spiking import SpikingNeuron
from refsnn.kernels import spiking_kernels
from refsnn.models.contract import Parameters
from refsnn.models.operators.convolution import Convolution2d
from refsnn.models.operators.dense import Dense
from refsnn.models.operators.normalisation import BatchNormalisation, normalised, statistics
from refsnn.models.operators.pooling import AdaptiveAveragePool, AveragePool
from refsnn.models.operators.reshaping import Flatten
from refsnn.models.spiking_graph import Node, Population, SpikingGraph, Sum
from validation.claims.rate_backpropagation.equalities import EXACT, SMOOTH, random_neuron
from validation.ledger import Measured, VacuousError, claim, require
from validation.nets import LIVE, RESETS, worst_error

STEPS = 5
Problem = tuple[SpikingGraph, Parameters, np.ndarray, np.ndarray]


def convolution(name: str, below: str) -> tuple[Node, Node]:
    """A convolution without bias, and the normalisation of its currents over time and batch."""
    return (
        Node(f"{name}.current", (below,), Convolution2d(4, 3, padding=1, with_bias=False), prefix=name),
        Node(f"{name}.norm", (f"{name}.current",), BatchNormalisation()),
    )


def readout(below: str) -> tuple[Node, ...]:
    """Mean of each map, flattened, and the classes."""
    return (
        Node("mean", (below,), AdaptiveAveragePool(2)),
        Node("flat", ("mean",), Flatten()),
        Node("readout", ("flat",), Dense(5)),
    )


def one_hidden(neuron: SpikingNeuron) -> SpikingGraph:
    """Convolution, normalisation, neurons, average pooling, read-out."""
    nodes = (*convolution("layer.1", "input"), Node("layer.1", ("layer.1.norm",), Population(neuron)))
    return SpikingGraph((*nodes, *readout("layer.1")), (2, 6, 6))


def residual(neuron: SpikingNeuron) -> SpikingGraph:
    """A stem, and a block whose shortcut is added before the neurons."""
    return SpikingGraph(
        (
            *convolution("stem", "input"),
            Node("stem", ("stem.norm",), Population(neuron)),
            Node("pool", ("stem",), AveragePool(2)),
            *convolution("block.1", "pool"),
            Node("block.1", ("block.1.norm",), Population(neuron)),
            *convolution("block.2", "block.1"),
            Node("sum", ("block.2.norm", "pool"), Sum()),
            Node("block", ("sum",), Population(neuron)),
            *readout("block"),
        ),
        (2, 8, 8),
    )


def live(rng: np.random.Generator, graph: SpikingGraph, static: bool) -> Problem:
    """Parameters and data with which every population fires."""
    for _ in range(100):
        parameters = graph.initialise(rng, gain=2.5)
        for name in parameters:
            if name.endswith((".gamma", ".beta")):
                parameters[name] = parameters[name] + rng.uniform(0, 0.5, parameters[name].shape)
        inputs = rng.random((STEPS, 3, *graph.input_shape))
        if static:
            inputs[:] = inputs[0]
        problem = graph, parameters, inputs, rng.integers(graph.classes, size=3)
        fired = bptt(*problem, backend="plain").diagnostics.spike_rates.values()
        if all(LIVE[0] < rate < LIVE[1] for rate in fired):
            return problem
    raise VacuousError(f"no graph with rates in {LIVE} in 100 tries")


def rates(problem: Problem) -> Parameters:
    """Rate-based gradients at the scale of BPTT."""
    return rate_backpropagation(*problem, scale="bptt", backend="plain").gradients


@claim(
    "rate_backpropagation/X2.norm",
    r"With one hidden layer and input constant in time rate-based backpropagation is BPTT, also with a convolution, batch "
    r"normalisation over time and batch, and average pooling.",
    source="specification, X2",
    metric="largest relative error over parameters, four resets with random neurons",
    relation="<=",
    bound=EXACT,
    control="the same networks with input that changes at every step",
)
def one_hidden_layer_with_normalisation(rng: np.random.Generator) -> Measured:
    errors: dict[bool, list[float]] = {True: [], False: []}
    for base in RESETS:
        graph = one_hidden(random_neuron(rng, base, SMOOTH))
        for static, found in errors.items():
            problem = live(rng, graph, static)
            found.append(worst_error(rates(problem), bptt(*problem, backend="plain").gradients))
    return Measured(max(errors[True]), min(errors[False]))


@claim(
    "rate_backpropagation/X13.norm",
    r"The temporal Galerkin family interpolates with batch normalisation, average pooling and residual sums too: $K=1$ "
    r"mode is rate-based backpropagation, $K=T$ modes of any orthonormal basis are BPTT.",
    source="specification, section 3.7 (beyond the paper)",
    metric="largest relative error over parameters of both ends, four resets",
    relation="<=",
    bound=EXACT,
    control=r"$K=T-1$ modes against BPTT",
)
def galerkin_ends_with_normalisation(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for base in RESETS:
        problem = live(rng, residual(random_neuron(rng, base, SMOOTH)), static=False)
        truth = bptt(*problem, backend="plain").gradients

        def modes(count: int, basis: np.ndarray | None = None, problem: Problem = problem) -> Parameters:
            return temporal_galerkin(*problem, n_modes=count, basis=basis, backend="plain").gradients

        random_basis = np.linalg.qr(rng.standard_normal((STEPS, STEPS)))[0]
        values += [worst_error(modes(STEPS, basis), truth) for basis in (None, random_basis)]
        values.append(worst_error(modes(1), rates(problem)))
        controls.append(worst_error(modes(STEPS - 1), truth))
    return Measured(max(values), min(controls))


@claim(
    "rate_backpropagation/N7",
    r"The rate pass must normalise with the variance of the spike-driven currents of all steps, not with that of their "
    r"averages $c$, which is smaller: only then is $\tilde c = \mathbb{E}[\tilde I_t]$.",
    source="specification, N7 and section 3.5",
    metric=r"largest difference between the normalised average current and the average normalised current, "
    r"with $\mathrm{var}(c)$",
    relation=">=",
    bound=1e-2,
    control=r"$\sigma^2$ of the currents themselves",
)
def variance_of_the_average(rng: np.random.Generator) -> Measured:
    graph, parameters, inputs, _ = live(rng, residual(random_neuron(rng, RESETS[0], SMOOTH)), static=False)
    run = Pass(graph, parameters, Rates(len(inputs), np.dtype(float), spiking_kernels("plain")))
    run.up(inputs)
    kept, average = run.normalised["block.1.norm"], run.value("block.1.current")[0]
    truth = kept.normal[0]  # the time mean of what was normalised on the way up
    variance = statistics(average)[1]
    require(bool((variance < kept.variance[0]).all()), "the averages vary as much as the currents")
    wrong = normalised(average, kept.mean[0], variance + 1e-5)
    right = normalised(average, kept.mean[0], kept.spread[0])
    return Measured(float(np.abs(wrong - truth).max()), float(np.abs(right - truth).max()))
