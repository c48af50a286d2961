"""N8: batch normalisation step by step, and what the official code keeps of it: the last step, eps twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.rate_backpropagation import MODES, rate_backpropagation
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.contract import Parameters
from refsnn.models.operators.normalisation import BatchNormalisation
from refsnn.models.spiking_graph import SpikingGraph
from refsnn.models.spiking_nodes import linear_operator
from validation.claims.rate_backpropagation.equalities import EXACT, SMOOTH, random_neuron
from validation.claims.rate_backpropagation.graphs import Problem, live, one_hidden
from validation.ledger import Measured, claim, require
from validation.nets import RESETS, relative_errors, worst_error

GAMMA, WEIGHT, EPSILON = "layer.1.norm.gamma", "layer.1.weight", BatchNormalisation().epsilon


def normalised_by_step(neuron: SpikingNeuron) -> SpikingGraph:
    """The network of X2 with the statistics of each step."""
    graph = one_hidden(neuron)
    step, joint = BatchNormalisation(over="step"), BatchNormalisation()
    nodes = tuple(replace(node, what=step) if node.what == joint else node for node in graph.nodes)
    require(nodes != graph.nodes, "no normalisation was changed")
    return replace(graph, nodes=nodes)


def variance_of_currents(problem: Problem) -> np.ndarray:
    """sigma^2 of each channel; all steps are alike."""
    graph, parameters, inputs, _ = problem
    node = graph.nodes[0]
    currents = linear_operator(node).forward(graph.prepared(parameters)[node.name], inputs[0])
    return currents.var(axis=(0, 2, 3))


def stepwise(problem: Problem, option: str, mode: str) -> Parameters:
    """Rate-based gradients at the scale of BPTT."""
    return rate_backpropagation(
        *problem, mode=mode, scale="bptt", step_statistics=option, backend="plain"
    ).gradients


@claim(
    "rate_backpropagation/N8",
    r"Keeping the last step's statistics and adding $\varepsilon$ twice, as the official single-step code does, breaks the "
    r"equality X2, though every step has the same statistics: $\nabla\gamma$ is too short by "
    r"$\sqrt{(\sigma^2+\varepsilon)/(\sigma^2+2\varepsilon)}$, channel by channel, and the convolution's weight is off by the order "
    r"of $\varepsilon/\sigma^2$; $\beta$ and the readout stay exact. The mean over steps, or each step alone, keeps X2.",
    source="official code; specification, N8",
    metric=r"largest deviation of $\nabla\gamma$ from that ratio times BPTT's, in units of the largest component, four resets, both modes",
    relation="<=",
    bound=EXACT,
    control="the mean over steps in the place of the last step",
)
def last_step_alone(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for base in RESETS:
        problem = live(rng, normalised_by_step(random_neuron(rng, base, SMOOTH)), static=True)
        # normalised anyway: weights of any length do, and short ones show the second epsilon
        problem[1][WEIGHT] = problem[1][WEIGHT] / np.sqrt(2 * variance_of_currents(problem).max())
        variance = variance_of_currents(problem)
        ratio = np.sqrt((variance + EPSILON) / (variance + 2 * EPSILON))
        truth = bptt(*problem, backend="plain").gradients
        for mode in MODES:
            found = {option: stepwise(problem, option, mode) for option in ("last", "mean", "exact")}
            for option in ("mean", "exact"):
                error = worst_error(found[option], truth)
                require(error <= EXACT, f"{mode}, {option}: relative error {error:.1e}")
            errors = relative_errors(found["last"], truth)
            others = {name: error for name, error in errors.items() if name not in (GAMMA, WEIGHT)}
            require(max(others.values()) <= EXACT, f"{mode}: more than gamma and the weight is off: {others}")
            share = errors[WEIGHT] / float((EPSILON / variance).mean())
            require(0.1 < share < 10, f"{mode}: the weight is off by {share:.2g} times epsilon over variance")
            for into, option in ((values, "last"), (controls, "mean")):
                off = np.abs(found[option][GAMMA] - ratio * truth[GAMMA]).max()
                into.append(float(off / np.abs(truth[GAMMA]).max()))
        reset = f"{base.reset}, {'detached' if base.detach_reset else 'attached'}"
        details[f"{reset}: relative error of the convolution's weight"] = errors[WEIGHT]
    return Measured(max(values), min(controls), details)
