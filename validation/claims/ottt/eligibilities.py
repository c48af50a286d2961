"""O5: e-prop's eligibilities and learning signals against OTTT and against the graph that both cut."""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn.algorithms.eprop import eprop
from refsnn.models.builders.dense import dense_network
from refsnn.models.contract import Parameters
from refsnn.models.spiking_graph import SpikingGraph
from validation.claims.ottt.problems import (
    APART,
    EXACT,
    Problem,
    errors,
    live,
    oracle_errors,
    random_neuron,
    some,
)
from validation.ledger import Measured, claim

INTO_LAYER = ["layer.1.weight", "layer.1.bias", "layer.1.recurrent.weight"]


def recurrent_layer(rng: np.random.Generator) -> SpikingGraph:
    """One layer that reads the input and itself; sums of currents are the graph's own."""
    return dense_network((5, 7, 3), random_neuron(rng), recurrent=True)


def with_leak(problem: Problem, leak: float) -> Problem:
    """The same with a leaky read-out."""
    graph = problem.graph.with_loss(readout_leak=leak)
    return Problem(graph, *problem.arguments[1:])


def local(problem: Problem, feedback: Any = None) -> Parameters:
    """E-prop's gradients."""
    return eprop(*problem.arguments, feedback=feedback).gradients


@claim(
    "ottt/O5",
    r"On one recurrent layer with a read-out without memory, e-prop with symmetric feedback ($B=W_{out}^\top$) is OTTT "
    r"(`exact_local`), in all parameters, and the gradient of the graph with resets and recurrence cut.",
    source="Bellec 2020; specification, O5",
    metric="largest relative error of a parameter",
    relation="<=",
    bound=EXACT,
    control="the gradient with the recurrence alive",
)
def eligibility_is_trace(rng: np.random.Generator) -> Measured:
    problem = live(rng, recurrent_layer)
    found = local(problem)
    edges = problem.graph.with_edges(reset=False, feedback=False).edges
    values = errors(found, problem.online("exact_local"))
    values += oracle_errors(rng, found, problem.oracle(), edges)
    recurrent = problem.through_time(reset=False, feedback=True)
    return Measured(max(values), max(errors(found, some(recurrent, INTO_LAYER))))


@claim(
    "ottt/O5.leaky_readout",
    r"With a leaky read-out $y[t]=\kappa y[t-1]+Ws[t]$ e-prop filters the eligibilities with $\kappa$ and is the gradient of the "
    r"graph with resets and recurrence cut; a trace with $\kappa$ makes OTTT's read-out exact, but not its layer.",
    source="Bellec 2020; specification, O5",
    metric="largest relative error: e-prop's parameters and OTTT's read-out to the affine-spike oracle and BPTT along the edges left",
    relation="<=",
    bound=EXACT,
    control="OTTT's parameters of the layer (`exact_local`)",
)
def leaky_readout(rng: np.random.Generator) -> Measured:
    problem = with_leak(live(rng, recurrent_layer), float(rng.uniform(0.5, 0.9)))
    found, instantaneous = local(problem), problem.online("exact_local")
    edges = problem.graph.with_edges(reset=False, feedback=False).edges
    truth = problem.along(edges)
    values = errors(found, truth) + oracle_errors(rng, found, problem.oracle(), edges)
    for preset in ("exact_local", "paper"):
        values += errors(problem.online(preset), some(truth, ["readout.weight"]))
    values += errors(instantaneous, some(truth, ["readout.bias"]))
    return Measured(max(values), min(errors(instantaneous, some(truth, INTO_LAYER))))


@claim(
    "ottt/O5.random",
    r"Random feedback $B$ in the place of $W_{out}^\top$ gives another gradient of the layer, and the same of the read-out.",
    source="Bellec 2020; specification, section 8",
    metric="smallest relative error of a parameter of the layer to symmetric feedback",
    relation=">=",
    bound=APART,
    control="$B=W_{out}^\\top$, given as an array; and the read-out with random feedback",
)
def random_feedback(rng: np.random.Generator) -> Measured:
    problem = live(rng, recurrent_layer)
    weight = problem.parameters["readout.weight"]
    truth, other = local(problem), local(problem, rng.standard_normal(weight.T.shape))
    same = errors(local(problem, weight.T.copy()), truth)
    same += errors(other, some(truth, ["readout.weight", "readout.bias"]))
    return Measured(min(errors(other, some(truth, INTO_LAYER))), max(same))
