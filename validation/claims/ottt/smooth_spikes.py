"""O3: with smooth spikes there is a true gradient, and without resets one spiking layer's OTTT is just that.

The passes of the package run here on neurons whose spike is the sigmoid itself: `smooth_kernels` stands in the
place of the compiled ones.  The truth comes from another run of the network, by the complex step.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from refsnn.algorithms.forward_in_time import ForwardInTime
from refsnn.algorithms.ottt import trace_rule
from refsnn.algorithms.stepwise import stepwise_gradient
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import SMOOTH_SPIKES, Surrogate
from refsnn.kernels.plain import spiking
from refsnn.models.builders.dense import dense_network
from refsnn.models.contract import Parameters, zeros_like
from refsnn.models.spiking_graph import SpikingGraph
from refsnn.oracles.affine_graph import smooth_graph_loss
from refsnn.oracles.complex_step import complex_step_gradient
from refsnn.oracles.finite_differences import five_point_gradient
from validation.claims.ottt.problems import APART, Problem, errors, live, some
from validation.ledger import Measured, claim, require
from validation.nets import relative_errors

HIDDEN = ["layer.1.weight", "layer.1.gain", "layer.1.bias"]
READOUT = ["readout.weight", "readout.bias"]


def smooth_kernels(reset: bool) -> ModuleType:
    """Kernels whose neurons give smooth spikes, and are reset by them or not at all."""

    def forward(
        neuron: SpikingNeuron, current: Any, potential: Any, charged: np.ndarray, spikes: np.ndarray
    ) -> None:
        leak, threshold, reset_value, _, slope, height, one = neuron.constants(potential.dtype)
        for t in range(len(current)):
            charged[t] = leak * potential + current[t]
            spikes[t] = SMOOTH_SPIKES[neuron.surrogate.shape](charged[t] - threshold, slope, height, one)
            potential[:] = charged[t] - (threshold * spikes[t] if reset else 0)

    kernels = ModuleType("smooth")
    kernels.forward, kernels.backward = forward, spiking.backward  # type: ignore[attr-defined]
    return kernels


def smooth_problem(rng: np.random.Generator, standardise: bool) -> Problem:
    """One hidden layer of neurons with the sigmoid, whose potentials come near their threshold."""

    def build(rng: np.random.Generator) -> SpikingGraph:
        slope = float(rng.uniform(2, 5))
        neuron = SpikingNeuron(
            leak=float(rng.uniform(0.6, 0.9)),
            threshold=float(rng.uniform(0.7, 1.3)),
            surrogate=Surrogate("sigmoid", slope, height=slope / 4),  # its integral is the logistic function
        )
        return dense_network((5, 6, 3), neuron, standardise=standardise)

    return live(rng, build, rates=(0.15, 0.7))


def online(problem: Problem, preset: str, reset: bool) -> Parameters:
    """OTTT on smooth spikes."""
    graph, parameters, inputs, targets = problem.arguments
    network = ForwardInTime(
        graph, trace_rule(preset), parameters, len(targets), len(inputs), smooth_kernels(reset)
    )
    gradients = zeros_like(parameters)
    for t in range(len(inputs)):
        for name, share in network.step(parameters, inputs[t], targets).items():
            gradients[name] += share
    return gradients


def truth_of(problem: Problem, reset: bool) -> Parameters:
    """The true gradient by the complex step; central differences must agree."""
    graph, parameters, inputs, targets = problem.arguments

    def loss(moved: Parameters) -> Any:
        return smooth_graph_loss(graph, moved, inputs, targets, reset)

    truth = complex_step_gradient(loss, parameters)
    for name, apart in relative_errors(five_point_gradient(loss, parameters), truth).items():
        require(apart <= 1e-7, f"{name}: central differences are {apart:.1e} from the complex step")
    return truth


def saturated(truth: Parameters) -> bool:
    """Whether the smooth spikes are nearly constant: then resets are, too, and there is nothing to see."""
    hidden, readout = (float(np.abs(truth[f"{layer}.bias"]).max()) for layer in ("layer.1", "readout"))
    return hidden < 0.03 * readout


@claim(
    "ottt/O3",
    r"With smooth spikes $s=\sigma(\alpha(u-V_{th}))$, no reset, one such layer and a read-out without memory, `exact_local` is the "
    r"true gradient of the loss, in all parameters.",
    source="specification, O3",
    metric="largest relative error of a parameter to the complex step, plain and standardised weights",
    relation="<=",
    bound=1e-13,
    control="the preset `paper`: its biases and its read-out's weight",
)
def true_gradient(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for standardise in (False, True):
        problem = smooth_problem(rng, standardise)
        truth = truth_of(problem, reset=False)
        values += errors(online(problem, "exact_local", reset=False), truth)
        wrong = ["layer.1.bias", "readout.weight"]
        controls += errors(online(problem, "paper", reset=False), some(truth, wrong))
    return Measured(max(values), min(controls))


@claim(
    "ottt/O3.reset",
    r"With a smooth reset, alive in the forward pass, the hidden layer's gradients are no longer the true ones; the read-out's "
    r"are, and full BPTT's are all.",
    source="specification, O3",
    metric="smallest relative error of the hidden layer's weight, gain and bias, plain and standardised weights",
    relation=">=",
    bound=APART,
    control="full BPTT on the same smooth run",
)
def live_smooth_reset(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for standardise in (False, True):
        problem = smooth_problem(rng, standardise)
        truth = truth_of(problem, reset=True)
        while saturated(truth):
            problem = smooth_problem(rng, standardise)
            truth = truth_of(problem, reset=True)
        found = online(problem, "exact_local", reset=True)
        values += errors(found, some(truth, [name for name in HIDDEN if name in truth]))
        readout = max(errors(found, some(truth, READOUT)))
        require(readout <= 1e-13, f"the read-out's gradient is off by {readout:.1e}")
        graph = problem.graph.with_edges(reset=True)
        whole = stepwise_gradient(graph, *problem.arguments[1:], smooth_kernels(reset=True)).gradients
        through_time = max(errors(whole, truth))
        require(through_time <= 1e-13, f"full BPTT is off by {through_time:.1e}")
        controls.append(through_time)
    return Measured(min(values), max(controls))
