"""O1: for each operator OTTT is the gradient of the unrolled graph with one leak left, that of what it feeds."""

from __future__ import annotations

import numpy as np

from refsnn.models.edges import Edges
from validation.claims.ottt.problems import (
    BUILDS,
    EXACT,
    Problem,
    branching,
    errors,
    live,
    oracle_errors,
    some,
)
from validation.ledger import Measured, claim, require


def only_leak(problem: Problem, population: str | None) -> Edges:
    """Every edge of time cut but the leak of one population."""
    others = {name: False for name in problem.graph.populations if name != population}
    return Edges(leak=others, reset=False, feedback=False)


@claim(
    "ottt/O1",
    r"For every operator $k$ OTTT's gradient is the surrogate gradient of the unrolled graph from which all edges of time are cut "
    r"but the leak of the population that $W_k$ feeds (the read-out: none): with `exact_local` all parameters, with `paper` the "
    r"weights and gains below the read-out.",
    source="Xiao 2022, Eqs. 3-5; specification, section 4.1",
    metric="largest relative error of a parameter to BPTT along the edges left and to the affine-spike oracle; dense, standardised, IF, several leaks, branches, recurrent, convolutions, feedback convolution; compiled and plain",
    relation="<=",
    bound=EXACT,
    control="the graphs without that leak too",
)
def one_leak_left(rng: np.random.Generator) -> Measured:
    by_bptt, by_oracle, controls = [], [], []
    for build in (*BUILDS, branching):
        problem = live(rng, build)
        exact = {backend: problem.online("exact_local", backend) for backend in ("cpu", "plain")}
        paper, oracle = problem.online("paper"), problem.oracle()
        checked = []
        for population in (*problem.graph.populations, None):
            edges, names = only_leak(problem, population), problem.leaves(population)
            truth = some(problem.along(edges), names)
            for found in exact.values():
                by_bptt += errors(found, truth)
            by_oracle += oracle_errors(rng, some(exact["cpu"], names), oracle, edges)
            checked += names
            if population is not None:
                traced = problem.leaves(population, ("weight", "gain"))
                by_bptt += errors(paper, some(truth, traced))
                without = problem.through_time(leak=False, reset=False, feedback=False)
                controls.append(max(errors(without, truth)))
        require(sorted(checked) == sorted(problem.parameters), f"not all parameters were checked: {checked}")
    details = {"to BPTT along the edges left": max(by_bptt), "to the affine-spike oracle": max(by_oracle)}
    return Measured(max(by_bptt + by_oracle), min(controls), details)
