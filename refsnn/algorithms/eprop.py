"""E-prop for one recurrent layer (Bellec et al. 2020).  Gives up the edges of time that pass a spike.

Each synapse carries an eligibility, the local gradient of its neuron; a learning signal from the read-out
turns it into an update, and a leaky read-out filters it (kappa is its leak):

    e_ji[t] = psi_j[t] z^_i[t],    z^_i[t] = leak z^_i[t-1] + z_i[t],
    dL/dW_ji = sum_t L_j[t] e-_ji[t],    e-_ji[t] = kappa e-_ji[t-1] + e_ji[t],
    L_j[t] = sum_k B_jk dL[t]/dy_k.

z is the input for the weights of the input and the spikes of the step before for recurrent ones.  With
B = W_out^T and kappa = 0 these are OTTT's gradients; with kappa > 0 they are those of the graph without
resets and recurrence, which OTTT's are not.  Here the eligibilities are what the paper has, one number a
synapse and sample: a small network's business.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.algorithms.result import Diagnostics, GradientResult
from refsnn.algorithms.stepwise import Activity
from refsnn.kernels import spiking_kernels
from refsnn.models.contract import Parameters, zeros_like
from refsnn.models.operators.dense import Dense, through_standardisation
from refsnn.models.spiking_graph import INPUT, Node, SpikingGraph, Sum, check_graph
from refsnn.models.spiking_step import Tape, advance


def eprop(
    graph: SpikingGraph,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    *,
    feedback: Any = None,
    backend: str = "cpu",
) -> GradientResult:
    """Gradient by eligibilities and learning signals.

    Parameters
    ----------
    graph : SpikingGraph
        One population that reads dense maps of the input and, delayed, of itself, under a dense read-out;
        with `loss_over="each_step"`.
    parameters, inputs, targets
        As in `refsnn.algorithms.ottt.ottt`.
    feedback : ndarray, (n, classes), optional
        B; the transposed read-out weight by default ("symmetric").
    backend : {"plain", "cpu", "cuda"}
        Which kernels run the neurons.

    Returns
    -------
    GradientResult
        `bytes_kept` counts eligibilities.

    Raises
    ------
    TypeError, ValueError
        For bad arguments, and for a network of another build.

    Examples
    --------
    >>> from refsnn.algorithms.ottt import ottt
    >>> from refsnn.models.spiking_graph import Population
    >>> nodes = (
    ...     Node("in", ("input",), Dense(6)),
    ...     Node("recurrent", ("layer",), Dense(6, with_bias=False), delayed=True),
    ...     Node("current", ("in", "recurrent"), Sum()),
    ...     Node("layer", ("current",), Population()),
    ...     Node("readout", ("layer",), Dense(2)),
    ... )
    >>> graph = SpikingGraph(nodes, (4,), loss_over="each_step")
    >>> rng = np.random.default_rng(0)
    >>> arguments = graph.initialise(rng, gain=3.0), rng.random((5, 2, 4)), [0, 1]
    >>> local = eprop(graph, *arguments).gradients["recurrent.weight"]
    >>> online = ottt(graph, *arguments, preset="exact_local").gradients["recurrent.weight"]
    >>> bool(np.allclose(local, online, rtol=1e-12))
    True
    """
    learners, population = _parts(check_graph(graph))
    parameters, inputs, targets = graph.check_arrays(parameters, inputs, targets)
    steps, batch = len(inputs), len(inputs[0])
    dtype = next(iter(parameters.values())).dtype
    weights, kernels = graph.prepared(parameters), spiking_kernels(backend)
    width = graph.shapes[population][0]
    if feedback is None:
        feedback = weights[graph.readout.name]["used"].T
    else:
        feedback = checks.float_array("feedback", feedback, (width, graph.classes), dtype)
    leak, kappa = (dtype.type(v) for v in (graph.populations[population].neuron.leak, graph.readout_leak))
    state, activity = graph.initial_state(parameters, batch), Activity(graph)
    totals = {node.name: _Eligibility(graph, node, batch, dtype) for node in learners}
    readout_constant = dtype.type(0)
    output_trace = np.zeros((batch, width), dtype)
    readout_weight, readout_bias, loss = (
        np.zeros((graph.classes, width), dtype),
        np.zeros(graph.classes, dtype),
        0.0,
    )
    for t in range(steps):
        state, tape = advance(graph, weights, state, inputs[t], kernels)
        activity.add(tape)
        loss += float(graph.loss_of(tape.outputs, targets)) / steps
        error = graph.loss_of_gradient(tape.outputs, targets) / dtype.type(steps)
        signal = error @ feedback.T
        psi = _slopes(graph, population, tape)
        for eligibility in totals.values():
            eligibility.step(tape, psi, signal, leak, kappa)
        output_trace = kappa * output_trace + tape.values[population]
        readout_weight += error.T @ output_trace
        readout_constant = kappa * readout_constant + dtype.type(1)
        readout_bias += readout_constant * error.sum(axis=0)
    gradients = zeros_like(parameters)
    for node in learners:
        gradients |= totals[node.name].gradients(weights[node.name])
    prefix, own = graph.readout.parameter_prefix, weights[graph.readout.name]
    by_readout = through_standardisation(_dense(graph.readout).standardise, own, readout_weight)
    gradients |= {f"{prefix}.{name}": value for name, value in by_readout.items()}
    if "bias" in own:
        gradients[f"{prefix}.bias"] = readout_bias
    return GradientResult(
        loss=loss,
        gradients=gradients,
        diagnostics=Diagnostics(
            steps_executed=steps,
            bytes_kept=sum(eligibility.nbytes for eligibility in totals.values()),
            outputs=graph.outputs(parameters, state, steps),
            spike_rates=activity.rates(),
            margin=activity.margin,
        ),
    )


class _Eligibility:
    """e- of one dense map, and the sums that become its gradients."""

    def __init__(self, graph: SpikingGraph, node: Node, batch: int, dtype: np.dtype) -> None:
        (columns,), (rows,) = graph.shapes[node.inputs[0]], graph.shapes[node.name]
        self.node, self.prefix, self.step_number = node, node.parameter_prefix, 0
        self.trace, self.constant = np.zeros((batch, columns), dtype), dtype.type(0)
        self.weight, self.bias = np.zeros((batch, rows, columns), dtype), np.zeros((batch, rows), dtype)
        self.weight_sum, self.bias_sum = np.zeros((rows, columns), dtype), np.zeros(rows, dtype)

    def step(
        self, tape: Tape, psi: np.ndarray, signal: np.ndarray, leak: np.floating, kappa: np.floating
    ) -> None:
        """One more step of traces, eligibilities and sums."""
        self.trace = leak * self.trace + tape.read(self.node)
        started = self.trace.dtype.type(tape.started if self.node.delayed else 1)
        self.constant = leak * self.constant + started
        self.weight = kappa * self.weight + psi[:, :, None] * self.trace[:, None, :]
        self.bias = kappa * self.bias + psi * self.constant
        self.weight_sum += np.einsum("bj,bji->ji", signal, self.weight)
        self.bias_sum += (signal * self.bias).sum(axis=0)

    def gradients(self, weights: dict[str, np.ndarray]) -> Parameters:
        """Of the node's parameters."""
        own = through_standardisation(_dense(self.node).standardise, weights, self.weight_sum)
        if "bias" in weights:
            own["bias"] = self.bias_sum
        return {f"{self.prefix}.{name}": value for name, value in own.items()}

    @property
    def nbytes(self) -> int:
        """Bytes of trace and eligibilities."""
        return self.trace.nbytes + self.weight.nbytes + self.bias.nbytes


def _slopes(graph: SpikingGraph, population: str, tape: Tape) -> np.ndarray:
    neuron, h = graph.populations[population].neuron, tape.charged[population]
    constants = neuron.constants(h.dtype)
    return neuron.equations.surrogate(
        h - constants.threshold, constants.slope, constants.height, constants.one
    )


def _dense(node: Node) -> Dense:
    assert isinstance(node.what, Dense)  # seen to by _parts
    return node.what


def _parts(graph: SpikingGraph) -> tuple[list[Node], str]:
    """The dense maps into the one population, and its name."""
    learners = [node for node in graph.nodes[:-1] if graph.has_parameters(node)]
    fits = len(graph.populations) == 1 and graph.loss_over == "each_step"
    population = next(iter(graph.populations), "")
    others = [node.what for node in graph.nodes if node.name != population and node not in learners]
    # each map reaches the population by one way only, or its eligibility would count as often
    read = [name for node in graph.nodes[:-1] if node not in learners for name in node.inputs]
    fits = (
        fits
        and len(read) == len(set(read))
        and all(isinstance(node.what, Dense) for node in (*learners, graph.readout))
        and all(isinstance(what, Sum) for what in others[:-1])
        and all(node.inputs[0] == (population if node.delayed else INPUT) for node in learners)
        and graph.readout.inputs == (population,)
    )
    if not fits:
        raise ValueError(
            "graph: expected one population that reads dense maps of the input and, delayed, of itself, "
            "under a dense read-out with loss_over='each_step', got another network; take OTTT for those"
        )
    return learners, population
