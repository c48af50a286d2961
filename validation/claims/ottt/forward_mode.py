"""O4: forward mode on a recurrent layer; cut resets and recurrence collapse its influences to one trace a source."""

from __future__ import annotations

import numpy as np

from refsnn.algorithms.forward_in_time import ForwardInTime
from refsnn.algorithms.forward_mode import rtrl
from refsnn.algorithms.trace_rules import PRESETS
from refsnn.kernels import spiking_kernels
from refsnn.models.builders.dense import dense_network
from refsnn.models.operators.operator import Weights
from refsnn.models.spiking_graph import SpikingGraph
from refsnn.models.spiking_step import Products, Tape
from validation.claims.ottt.problems import (
    APART,
    EXACT,
    Problem,
    errors,
    fed_by,
    heterogeneous,
    live,
    oracle_errors,
    random_neuron,
    some,
    standardised,
)
from validation.ledger import Measured, claim

SWITCHES = [(reset, feedback) for reset in (True, False) for feedback in (True, False)]
NETWORKS = 4
INTO_LAYER = ["layer.1.weight", "layer.1.bias", "layer.1.recurrent.weight"]


def recurrent_layer(rng: np.random.Generator) -> SpikingGraph:
    """One layer that reads the input and itself."""
    return dense_network((4, 5, 3), random_neuron(rng), recurrent=True)


def forward_gradient(problem: Problem, reset: bool, feedback: bool) -> dict[str, np.ndarray]:
    """RTRL along these edges."""
    graph = problem.graph.with_edges(reset=reset, feedback=feedback)
    return rtrl(graph, *problem.arguments[1:]).gradients


@claim(
    "ottt/O4",
    r"On a recurrent layer forward mode (RTRL) with the same pseudo-derivative equals reverse mode for all four settings of the "
    r"reset and recurrence switches, and the affine-spike oracle; with both cut it is OTTT (`exact_local`).",
    source="specification, O4 and section 4.1, forward-mode form",
    metric="largest relative error of a parameter",
    relation="<=",
    bound=EXACT,
    control="forward mode with the switches of another setting",
)
def forward_is_reverse(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    problem = live(rng, recurrent_layer)
    oracle = problem.oracle()
    forward = {switches: forward_gradient(problem, *switches) for switches in SWITCHES}
    for (reset, feedback), found in forward.items():
        truth = problem.through_time(reset=reset, feedback=feedback)
        values += errors(found, truth)
        edges = problem.graph.with_edges(reset=reset, feedback=feedback).edges
        values += oracle_errors(rng, found, oracle, edges)
        others = [forward[other] for other in SWITCHES if other != (reset, feedback)]
        controls += [max(errors(other, truth)) for other in others]
    values += errors(problem.online("exact_local"), forward[False, False])
    return Measured(max(values), min(controls))


@claim(
    "ottt/O4.live",
    r"With the reset or the recurrence alive RTRL is not OTTT: a factor of the postsynaptic neuron breaks the rank one of the "
    r"influences.",
    source="specification, O4 (must fail)",
    metric="smallest, over the settings, of the largest relative error of a parameter of the recurrent layer, mean of four networks",
    relation=">=",
    bound=APART,
    control="both cut",
)
def collapse_needs_both_cuts(rng: np.random.Generator) -> Measured:
    distances: dict[tuple[bool, bool], list[float]] = {switches: [] for switches in SWITCHES}
    for _ in range(NETWORKS):
        problem = live(rng, recurrent_layer, rates=(0.1, 0.7))
        found = problem.online("exact_local")
        for switches, measured in distances.items():
            truth = some(forward_gradient(problem, *switches), INTO_LAYER)
            measured.append(max(errors(found, truth)))
    both_cut = distances.pop((False, False))
    means = {switches: float(np.mean(measured)) for switches, measured in distances.items()}
    details = {f"reset {reset}, recurrence {back}": value for (reset, back), value in means.items()}
    return Measured(min(means.values()), max(both_cut), details)


@claim(
    "ottt/O4.trace",
    r"The trace that a weight sees at $t$ is $\sum_{\tau\le t}\lambda^{t-\tau}z[\tau]$, the current spike with weight 1 and $\lambda$ "
    r"that of the neurons it feeds; for a delayed weight the sum ends at $t-1$.",
    source="Xiao 2022, Eq. 4; specification, O4 (brute force) and section 3",
    metric="largest relative error of a trace at any step: input, scaled and dropped spikes, recurrent, three leaks",
    relation="<=",
    bound=EXACT,
    control="the sum that ends one step earlier, or for a delayed weight later",
)
def brute_force_trace(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for build in (standardised, heterogeneous, recurrent_layer):
        problem = live(rng, build)
        right, wrong = trace_errors(problem)
        values.append(right)
        controls.append(wrong)
    return Measured(max(values), min(controls))


def trace_errors(problem: Problem) -> tuple[float, float]:
    """Largest error of what any weight sees, and the smallest with the sums shifted by one step."""
    graph, parameters, inputs, targets = problem.arguments
    network = ForwardInTime(
        graph, PRESETS["paper"], parameters, len(targets), len(inputs), spiking_kernels("plain")
    )
    learners = [node for node in graph.nodes if graph.has_parameters(node)]
    series: dict[str, list[np.ndarray]] = {node.name: [] for node in learners}
    seen: dict[str, list[np.ndarray]] = {node.name: [] for node in learners}
    products = network.products

    def recording(weights: dict[str, Weights], tape: Tape) -> Products:
        # what is read, and the trace of it, just before they meet the error
        for node in learners:
            series[node.name].append(tape.values[node.inputs[0]].copy())
            decay = network.decays[node.name]
            seen[node.name].append(network.traces.seen(node, decay, tape, weights).copy())
        return products(weights, tape)

    network.products = recording  # type: ignore[method-assign]
    for t in range(len(inputs)):
        network.step(parameters, inputs[t], targets)
    right, wrong = [], []
    for node in learners:
        feeds = fed_by(f"{node.parameter_prefix}.weight")
        # the read-out has no leak: that of the neurons before it
        leak = graph.populations[feeds if feeds in graph.populations else problem.last].neuron.leak
        z = np.array(series[node.name])
        for found, errors_of in ((1 if node.delayed else 0, right), (0 if node.delayed else 1, wrong)):
            sums = np.zeros_like(z)
            for t in range(len(z)):
                for earlier in range(t + 1 - found):
                    sums[t] += leak ** (t - found - earlier) * z[earlier]
            size = np.abs(sums).max()
            errors_of.append(float(np.abs(np.array(seen[node.name]) - sums).max() / size))
    return max(right), min(wrong)
