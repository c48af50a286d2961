"""SLTT, which cuts every edge of time, and SLTT-K, which learns at K steps of T."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from refsnn.algorithms.ottt import ottt_online
from refsnn.algorithms.sltt import sltt
from refsnn.models.builders.vgg import vgg
from refsnn.models.contract import Parameters
from refsnn.models.spiking_graph import SpikingGraph
from validation.claims.ottt.problems import (
    EXACT,
    Problem,
    dense,
    errors,
    feedback,
    live,
    oracle_errors,
    random_neuron,
    recurrent,
    some,
    standardised,
)
from validation.ledger import Measured, claim, require


def normalised(rng: np.random.Generator) -> SpikingGraph:
    """Batch normalisation of each step, and maxima: what SLTT can treat and traces cannot."""
    return vgg(
        (3, "pool", 4),
        4,
        (2, 4, 4),
        normalisation="batch",
        over="step",
        pooling="max",
        neuron=random_neuron(rng),
    )


@claim(
    "ottt/SLTT",
    r"SLTT is the gradient of the graph with every edge of time cut, also with batch normalisation of each step and max "
    r"pooling, and the preset `sltt` of OTTT is the same.",
    source="Meng 2023; specification, sections 2.7 and 8",
    metric="largest relative error of a parameter to BPTT without edges of time and to the affine-spike oracle",
    relation="<=",
    bound=EXACT,
    control="the leak left alive",
)
def no_edge_of_time(rng: np.random.Generator) -> Measured:
    values, controls = [], []
    for build in (dense, standardised, recurrent, feedback, normalised):
        problem = live(rng, build, batch=4)
        found = sltt(*problem.arguments).gradients
        names = [
            name
            for name in found
            if not (build is normalised and name.endswith(".bias")) or name == "readout.bias"
        ]
        truth = some(problem.through_time(leak=False, feedback=False), names)
        values += errors(found, truth)
        edges = problem.graph.with_edges(leak=False, feedback=False).edges
        values += oracle_errors(rng, some(found, names), problem.oracle(), edges)
        if build is not normalised:
            values += errors(problem.online("sltt"), truth)
        leaky = problem.through_time(reset=False, feedback=False)
        controls.append(max(errors(leaky, truth)))
    return Measured(max(values), min(controls))


@claim(
    "ottt/SLTT-K",
    r"SLTT-K is the sum of SLTT's gradients of $K$ different steps, all choices equally likely, so that its expectation is $K/T$ of "
    r"SLTT's.",
    source="Meng 2023; specification, section 8",
    metric="largest relative error of a parameter: each draw to some choice of K steps, the mean over all choices to K/T of SLTT",
    relation="<=",
    bound=EXACT,
    control="the same mean against SLTT itself",
)
def expectation_of_sampled_steps(rng: np.random.Generator) -> Measured:
    problem = live(rng, dense, steps=4)
    whole, shares = sltt(*problem.arguments).gradients, steps_of(problem)
    values, controls, details = [], [], {}
    for chosen in (1, 2, 3):
        choices = list(combinations(range(4), chosen))
        sums = [{name: sum(shares[t][name] for t in choice) for name in whole} for choice in choices]
        counts, distinct, draws = np.zeros(len(choices)), {}, 120
        for _ in range(draws):
            found = sltt(*problem.arguments, learning_steps=chosen, rng=rng).gradients
            distances = [distance(found, one, whole) for one in sums]
            counts[np.argmin(distances)] += 1
            distinct[int(np.argmin(distances))] = found
            values.append(min(distances))
        require(len(distinct) == len(choices), f"of {len(choices)} choices {len(distinct)} were drawn")
        # each choice has the probability 1 / n: six standard deviations
        odd = np.abs(counts - draws / len(choices)).max() / np.sqrt(draws / len(choices))
        require(odd < 6, f"one choice is {odd:.1f} standard deviations off")
        mean = {name: np.mean([one[name] for one in distinct.values()], axis=0) for name in whole}
        expected = {name: chosen / 4 * value for name, value in whole.items()}
        values += errors(mean, expected)
        controls += errors(mean, whole)
        details[f"K = {chosen}: draws of each choice"] = ", ".join(str(int(count)) for count in counts)
    return Measured(max(values), min(controls), details)


def distance(found: Parameters, other: Parameters, whole: Parameters) -> float:
    """Largest distance in a parameter, relative to the whole gradient: one step alone may have none."""
    return max(
        float(np.linalg.norm(found[name] - other[name]) / np.linalg.norm(value))
        for name, value in whole.items()
    )


def steps_of(problem: Problem) -> list[Parameters]:
    """SLTT's gradient of each step."""
    shares: list[Parameters] = []

    def listen(parameters: Parameters, gradients: Parameters) -> Parameters:
        shares.append(gradients)
        return parameters

    ottt_online(*problem.arguments, listen, preset="sltt")
    return shares
