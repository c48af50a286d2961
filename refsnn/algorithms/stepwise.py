"""BPTT of a spiking graph step after step: what a network with recurrent or feedback connections needs.

Forward, one step of all nodes at a time, its tape kept; backward in the other order, with p_{t+1} going
into step t along the edges that are left (Xiao 2022, one recursion for all methods):

    p_t = psi(h_t) e_t + leak * lambda dv/dh p_{t+1},    dL/dW = sum_t p_t z_t^T,
    e_t = (W of the nodes above)^T p_t of theirs + feedback * W_rec^T p_{t+1}.

It is `bptt_over_steps` with tapes in the place of states, and compiled neurons.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from refsnn.algorithms.readout import EachStepLoss
from refsnn.algorithms.result import BatchStatistics, Diagnostics, GradientResult
from refsnn.models.contract import Parameters, State, zeros_like
from refsnn.models.operators.normalisation import entries_of
from refsnn.models.spiking_graph import SpikingGraph
from refsnn.models.spiking_step import Tape, advance, pull_back


def stepwise_gradient(
    graph: SpikingGraph,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    kernels: ModuleType,
    window: int = 0,
) -> GradientResult:
    """Loss and its gradient along `graph.edges`.

    Parameters
    ----------
    graph : SpikingGraph
        The network, with or without delayed nodes.
    parameters, inputs, targets
        As `graph.check_arrays` wants them.
    kernels : module
        From `refsnn.kernels.spiking_kernels`.
    window : int
        Cut every edge of time every so many steps from the end; 0 nowhere.

    Returns
    -------
    GradientResult

    Raises
    ------
    TypeError, ValueError
        For bad arguments, and for normalisation over the whole sequence.
    """
    parameters, inputs, targets = graph.check_arrays(parameters, inputs, targets)
    steps, weights = len(inputs), graph.prepared(parameters)
    state = graph.initial_state(parameters, len(inputs[0]))
    loss, tapes, activity = EachStepLoss(graph, targets), [], Activity(graph)
    for t in range(steps):
        state, tape = advance(graph, weights, state, inputs[t], kernels)
        activity.add(tape)
        loss.add(tape.values[graph.readout.name][None], 1)
        tapes.append(tape.thinned(graph))

    adjoint, gradients = loss.adjoint(window), zeros_like(parameters)
    future: State = {}
    for t in reversed(range(steps)):
        # the read-out's own memory is in the adjoint already
        future.pop("readout.potential", None)
        future, share = pull_back(graph, weights, tapes[t], adjoint[t], future, kernels, graph.edges)
        for name, value in share.items():
            gradients[name] += value
        if window and (steps - t) % window == 0:
            future = {}
    return GradientResult(
        loss=loss.value(),
        gradients=gradients,
        diagnostics=Diagnostics(
            steps_executed=steps,
            bytes_kept=sum(tape.nbytes for tape in tapes),
            outputs=loss.outputs(),
            spike_rates=activity.rates(),
            margin=activity.margin,
            statistics=activity.statistics(),
        ),
    )


class Activity:
    """Firing rates and the margin of a run that goes step by step.

    Parameters
    ----------
    graph : SpikingGraph
        The network.
    """

    def __init__(self, graph: SpikingGraph) -> None:
        self.populations, self.sums, self.steps = graph.populations, dict.fromkeys(graph.populations, 0.0), 0
        self.margin: float | None = None
        self.seen: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {n: [] for n in graph.normalisations}
        self.entries: dict[str, int] = {}

    def add(self, tape: Tape) -> None:
        """One more step."""
        self.steps += 1
        for name, population in self.populations.items():
            h = tape.charged[name]
            self.sums[name] += float(tape.values[name].mean())
            closest = float(np.abs(h - h.dtype.type(population.neuron.threshold)).min())
            self.margin = closest if self.margin is None else min(self.margin, closest)
        for name, seen in self.seen.items():
            record = tape.records[name]
            seen.append((record.mean, record.variance))
            self.entries[name] = entries_of(record.normal)

    def rates(self) -> dict[str, float]:
        """Mean firing rate of each population."""
        return {name: total / self.steps for name, total in self.sums.items()}

    def statistics(self) -> dict[str, BatchStatistics]:
        """Of each normalisation, step by step."""
        found = {}
        for name, seen in self.seen.items():
            means, variances = zip(*seen, strict=True)
            found[name] = BatchStatistics(np.stack(means), np.stack(variances), self.entries[name])
        return found
